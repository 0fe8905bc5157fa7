//! What every room of the peer may ask of the world around it, and nothing of any other room: outputs, questions, chance.
//!
//! A room gets this beside its own state and its event. What it wants of the SIP core is put down here too and fed by the
//! composition when the room has returned, so that no room calls into a core while another is at work.

use super::{
    Output, Stream,
    api::Reply,
    asks::{Asks, Pending},
    notes::Note,
};
use dots_overlay::transport::{InboundId, NetCommand, Protocol};
use dots_wire::{Hash, PeerId, encode};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use std::collections::VecDeque;

pub(super) struct Outside {
    pub rng: ChaCha20Rng,
    pub asks: Asks,
    out: VecDeque<Output>,
    for_sip: VecDeque<dots_sip::Input>,
}

impl Outside {
    pub fn new(rng: ChaCha20Rng) -> Outside {
        Outside { rng, asks: Asks::default(), out: VecDeque::new(), for_sip: VecDeque::new() }
    }

    pub fn put(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// An input of the SIP core.
    pub fn sip(&mut self, input: dots_sip::Input) {
        self.for_sip.push_back(input);
    }

    pub fn poll_sip(&mut self) -> Option<dots_sip::Input> {
        self.for_sip.pop_front()
    }

    /// A question under way; its id goes to the driver and comes back with the answer.
    pub fn ask(&mut self, what: Pending) -> u64 {
        self.asks.ask(what)
    }

    /// Asks a peer.
    pub fn request(&mut self, what: Pending, peer: PeerId, protocol: Protocol, body: Vec<u8>) -> u64 {
        let id = self.ask(what);
        self.put(Output::Net(NetCommand::Request { id, peer, protocol, body }));
        id
    }

    /// Answers a peer.
    pub fn respond<T: Serialize>(&mut self, id: InboundId, reply: &T) {
        self.put(Output::Net(NetCommand::Respond { id, body: Some(encode(reply)) }));
    }

    pub fn refuse_request(&mut self, id: InboundId) {
        self.put(Output::Net(NetCommand::Respond { id, body: None }));
    }

    /// Looks an account up.
    pub fn account(&mut self, what: Pending, aor: String) {
        let id = self.ask(what);
        self.put(Output::GetAccount { id, aor });
    }

    pub fn append(&mut self, what: Pending, stream: Stream, record: Vec<u8>, sync: bool) {
        let token = self.asks.append(what);
        self.put(Output::Append { token, stream, record, sync });
    }

    /// Answers a caller of the HTTP API with one of `dots_clients::types`.
    pub fn reply(&mut self, id: u64, body: &impl Serialize) {
        self.put(Output::Api { id, reply: Reply::good(body) });
    }

    /// Tells a caller of the HTTP API in one sentence why not.
    pub fn problem(&mut self, id: u64, status: u16, error: impl Into<String>) {
        self.put(Output::Api { id, reply: Reply::problem(status, error) });
    }

    /// Writes down what an operator says; the caller of the API is answered when it is durable.
    pub fn note(&mut self, api: u64, note: &Note, existed: bool) {
        self.append(Pending::Noted { api, existed }, Stream::Realms, encode(note), true);
    }

    pub fn count(&mut self, name: &'static str) {
        self.put(Output::Count(name));
    }

    pub fn random_hash(&mut self) -> Hash {
        Hash(self.rng.random())
    }
}
