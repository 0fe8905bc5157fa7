//! The SIP core: transactions, registrar and proxy behind one `handle`.
//!
//! ```text
//!  bytes -> receive.rs -> (retransmission, ACK, CANCEL, response) -> transaction tables
//!                      -> register.rs   REGISTER
//!                      -> initial.rs    a request outside a dialog: who is it, where to
//!                      -> dialog.rs     a request with a To tag: by route token only
//!  forward.rs writes what leaves, context.rs gathers what comes back, response.rs passes it on.
//!  table.rs holds the transactions and answers, memory.rs what is remembered of dialogs and told of calls.
//! ```
//!
//! Questions (is this the password, where is this user, is it written down) leave as outputs with an id and come back
//! as inputs with that id; nothing here waits.

mod context;
mod dialog;
mod forward;
mod initial;
mod memory;
mod pinging;
mod receive;
mod register;
mod response;
mod table;

use crate::{
    Flow, Input, Output,
    address::Addressing,
    auth::DigestOffer,
    input::{AskId, PeerLabel},
    message::Message,
    ping::Pings,
    registrar::{Bindings, ExpiryRules},
    token::Side,
};
use context::Context;
use hmac::Mac as _;
use memory::Dialog;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};
use table::{ClientMachine, ClientTx, ServerMachine, ServerTx};

/// Transactions of each kind at once; beyond it new requests get 503.
const TRANSACTIONS_MAX: usize = 100_000;
/// RFC 3261 §16.6 step 11: longer than three minutes.
pub const TIMER_C: Duration = Duration::from_secs(185);
/// A peer says 100 at once; one that does not within this time hangs.
const TRYING_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default)]
pub struct Config {
    pub addressing: Addressing,
    /// Our label and so our host on the overlay leg: `p<label>.peer.dots`.
    pub label: PeerLabelOrEmpty,
    /// What Via and Record-Route name instead of the local address, `host[:port]`.
    pub advertise: Option<String>,
    pub expiry: ExpiryRules,
    /// What the phones of these realms are offered; of others [`DigestOffer::Both`].
    pub digest: BTreeMap<String, DigestOffer>,
}

impl Config {
    fn digest_of(&self, realm: &str) -> DigestOffer {
        self.digest.get(realm).copied().unwrap_or_default()
    }
}

/// A label; empty by default, for a core that has no overlay.
pub type PeerLabelOrEmpty = std::sync::Arc<str>;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub mono: Instant,
    /// UTC, ms.
    pub wall_ms: u64,
}

/// Of transactions that are our own business: pings.
const NO_CONTEXT: u64 = 0;

/// Where a message came from or goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    Phone(Flow),
    Peer(PeerLabel),
}

impl Hop {
    fn is_reliable(&self) -> bool {
        match self {
            Hop::Phone(flow) => flow.transport.is_reliable(),
            Hop::Peer(_) => true,
        }
    }
}

/// Branch, sent-by and method (ACK and INVITE share one): RFC 3261 §17.2.3.
type ServerKey = (String, String, String);
/// Our branch and the method.
type ClientKey = (String, String);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Server(ServerKey),
    Client(ClientKey),
    /// No 100 from a peer.
    Trying(ClientKey),
    C(u64),
}

/// What an answer with this id continues.
enum Ask {
    Challenge { key: ServerKey, www: bool, stale: bool },
    Register { key: ServerKey, register: crate::registrar::Register, aor: String, nonce: String },
    Journal { key: ServerKey, headers: Vec<(&'static str, String)> },
    Request { key: ServerKey, caller: String, target: String, nonce: String },
    Resolve { key: ServerKey, side: Side, info: CallInfo },
}

#[derive(Clone, Debug)]
pub(crate) struct CallInfo {
    pub caller: String,
    pub callee: String,
    pub vouch: Option<crate::auth::Vouch>,
}

pub struct Core {
    config: Config,
    token_key: [u8; 32],
    rng: ChaCha20Rng,
    bindings: Bindings,
    servers: BTreeMap<ServerKey, ServerTx>,
    clients: BTreeMap<ClientKey, ClientTx>,
    contexts: BTreeMap<u64, Context>,
    timers: BTreeSet<(Instant, Timer)>,
    deadlines: BTreeMap<Timer, Instant>,
    asks: BTreeMap<AskId, Ask>,
    dialogs: BTreeMap<(String, String), Dialog>,
    dialog_order: VecDeque<(String, String)>,
    pings: Pings,
    draining: bool,
    next_id: u64,
    /// What the clocks said at the last `handle`.
    clock: Option<Now>,
    out: VecDeque<Output>,
}

/// The host that stands for a peer on the overlay leg.
fn host_of(label: &str) -> String {
    format!("p{label}.peer.dots")
}

impl Core {
    /// `token_key` signs route tokens and survives restarts; `seed` makes every random choice repeatable.
    pub fn new(config: Config, token_key: [u8; 32], seed: u64) -> Core {
        Core {
            config,
            token_key,
            rng: ChaCha20Rng::seed_from_u64(seed),
            bindings: Bindings::new(),
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            contexts: BTreeMap::new(),
            timers: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            asks: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            dialog_order: VecDeque::new(),
            pings: Pings::default(),
            draining: false,
            next_id: 0,
            clock: None,
            out: VecDeque::new(),
        }
    }

    /// Takes one input. Drain [`Core::poll_output`] before the next.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.clock = Some(now);
        match input {
            Input::Message { flow, bytes } => self.on_bytes(now, Hop::Phone(flow), bytes, None),
            Input::Overlay { from, bytes, caller } => self.on_bytes(now, Hop::Peer(from), bytes, caller),
            Input::FlowClosed { flow } => {
                self.bindings.flow_closed(&flow);
                self.on_hop_down(now, &Hop::Phone(flow));
            }
            Input::OverlayDown { peer } => self.on_hop_down(now, &Hop::Peer(peer)),
            Input::OverlayRefused { bytes } => self.on_not_queued(now, bytes),
            Input::Unbind { aor } => self.on_unbind(&aor),
            Input::Challenge { id, result } => self.on_challenge(now, id, result),
            Input::Verified { id, result } => self.on_verified(now, id, result),
            Input::Journaled { id } => self.on_journaled(now, id),
            Input::Resolved { id, resolution } => self.on_resolved(now, id, resolution),
            Input::Restore { binding } => {
                if !self.bindings.restore(binding) {
                    self.count("bindings_not_restored");
                }
            }
            Input::Drain => self.draining = true,
            Input::Ping { id, aor, instance } => self.on_ping(now, id, &aor, &instance),
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let expiry = self
            .bindings
            .next_expiry_ms()
            .zip(self.clock)
            .map(|(at, clock)| clock.mono + Duration::from_millis(at.saturating_sub(clock.wall_ms)));
        [self.timers.first().map(|(at, _)| *at), expiry, self.pings.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.clock = Some(now);
        while let Some((at, timer)) = self.timers.first().cloned() {
            if at > now.mono {
                break;
            }
            self.timers.pop_first();
            self.deadlines.remove(&timer);
            match timer {
                Timer::Server(key) => self.on_server_deadline(now, key),
                Timer::Client(key) => self.on_client_deadline(now, key),
                Timer::Trying(key) => self.on_no_trying(now, &key),
                Timer::C(context) => self.on_timer_c(now, context),
            }
        }
        for change in self.bindings.expire(now.wall_ms) {
            self.out.push_back(Output::Expired { change });
        }
        for id in self.pings.expire(now.mono) {
            self.out.push_back(Output::Pinged { id, alive: false });
        }
    }

    /// Own hosts, realms or aliases changed.
    pub fn set_addressing(&mut self, addressing: Addressing) {
        self.config.addressing = addressing;
    }

    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// Does no phone wait for an answer? What only waits for repetitions of an answer given may be cut.
    pub fn is_idle(&self) -> bool {
        self.contexts.values().all(|context| context.answered) && self.asks.is_empty()
    }

    /// Is no transaction of a forwarded request left?
    pub fn is_quiet(&self) -> bool {
        self.contexts.is_empty() && self.asks.is_empty()
    }

    fn ask(&mut self, what: Ask) -> AskId {
        self.next_id += 1;
        self.asks.insert(self.next_id, what);
        self.next_id
    }

    fn random_text(&mut self) -> String {
        data_encoding::HEXLOWER.encode(&self.rng.random::<[u8; 8]>())
    }

    fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.random_text())
    }

    fn own_host(&self) -> String {
        host_of(&self.config.label)
    }

    /// Two passes of one request with one target bear the same mark (RFC 5393 §4.2): a loop. It ends our branch, under
    /// our key, so that only we can tell.
    fn loop_mark(&self, request: &Message) -> String {
        let mut mac =
            hmac::Hmac::<sha2::Sha256>::new_from_slice(&self.token_key).expect("HMAC takes any key");
        let (cseq, method) = request.cseq().unwrap_or_default();
        let tag = request.from().and_then(|f| f.tag()).unwrap_or_default();
        let uri = request.uri().unwrap_or_default();
        let call_id = request.call_id().unwrap_or_default();
        // Peers of one realm may share the key; each is a hop of its own.
        for part in ["loop", &self.config.label, uri, tag, call_id, method, &cseq.to_string()] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        let hash = mac.finalize().into_bytes();
        data_encoding::HEXLOWER.encode(hash.get(..4).unwrap_or_default())
    }

    /// `host:port` that stands for us toward this flow.
    fn sent_by(&self, flow: &Flow) -> String {
        self.config.advertise.clone().unwrap_or_else(|| flow.local.to_string())
    }

    fn count(&mut self, name: &'static str) {
        self.out.push_back(Output::Count(name));
    }

    fn send(&mut self, hop: &Hop, bytes: Vec<u8>, grant: Option<std::sync::Arc<[u8]>>, initial: bool) {
        self.out.push_back(match hop {
            Hop::Phone(flow) => Output::Send { flow: *flow, bytes },
            Hop::Peer(peer) => Output::SendPeer { peer: peer.clone(), bytes, grant, initial },
        });
    }
}
