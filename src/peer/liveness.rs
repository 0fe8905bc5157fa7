//! Who is alive, and what follows from it: whose bindings are stale, which link is given up, and that we go.
//!
//! The detector asks and judges ([`dots_overlay::liveness`]); this room carries its questions out and its verdicts to the
//! rooms that act on them.

use super::{Output, Peer, Pending};
use dots_overlay::{
    liveness::{LiveReply, LiveRequest, LivenessOutput, MemberState},
    transport::{InboundId, NetCommand, Protocol, RequestError},
};
use dots_wire::{Now, PeerId, bounded::network_of, encode};
use std::net::IpAddr;

impl Peer {
    /// `/dots/live/2`.
    pub(super) fn on_live_request(&mut self, now: Now, peer: PeerId, id: InboundId, body: &[u8]) {
        match LiveRequest::read(body) {
            Ok(ask) => self.liveness.on_ask(now, peer, id, ask),
            Err(_) => {
                self.outside.count("bad_peer_message");
                self.outside.refuse_request(id);
            }
        }
    }

    pub(super) fn on_live_reply(&mut self, now: Now, id: u64, result: Result<Vec<u8>, RequestError>) {
        let reply = match result {
            Ok(body) => LiveReply::read(&body).map_err(|_| false),
            // Whoever refuses is there.
            Err(RequestError::Refused) => Ok(LiveReply::Silent),
            Err(error) => Err(error == RequestError::Unreachable),
        };
        self.liveness.on_reply(now, id, reply);
    }

    /// The address at which a neighbour was seen; one that we dialled is one that we chose.
    pub(super) fn on_live_seen(&mut self, peer: PeerId, address: &str, dialled: bool) {
        let ip: Option<IpAddr> = address.split('/').nth(2).and_then(|ip| ip.parse().ok());
        self.liveness.on_chosen(peer, ip.filter(|_| dialled).map(network_of));
    }

    pub(super) fn on_liveness_output(&mut self, now: Now, output: LivenessOutput) {
        match output {
            LivenessOutput::Ask { id, peer, ask } => {
                self.outside.request(Pending::Liveness(id), peer, Protocol::Live, encode(&ask));
            }
            LivenessOutput::Reply { inbound, reply } => self.outside.respond(inbound, &reply),
            LivenessOutput::State { peer, state } => self.on_state(now, peer, state),
            LivenessOutput::Clock { peer, time } => self.namer(now).hear_clock(peer, time.0),
            LivenessOutput::RunsTwice => self.stop_twice(),
            LivenessOutput::Count(name) => self.outside.count(name),
        }
    }

    fn on_state(&mut self, now: Now, peer: PeerId, state: MemberState) {
        tracing::debug!(%peer, ?state, "a peer's state has changed");
        self.overlay.set_dead(now, peer, state != MemberState::Alive);
        // One that said goodbye still ends what it began, and closes its connections itself.
        if state == MemberState::Dead {
            // Who waits for it need not; and a connection that is left over from this life is not used in the next.
            self.links.give_up(now, peer);
            self.outside.put(Output::Net(NetCommand::Disconnect { peer }));
        }
    }

    pub(super) fn stop_twice(&mut self) {
        let why = "this peer's key runs somewhere else too: stop one of the two, or give this one a new data directory";
        self.outside.put(Output::Fatal(why.to_owned()));
    }
}
