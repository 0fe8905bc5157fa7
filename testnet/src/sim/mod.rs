//! The simulator: whole peers, their phones, disks and network in one thread, in virtual time, from one seed.
//!
//! ```text
//!   scenario ──▶ World ── one event after the other, by time ──┬─▶ Phone (a small SIP phone over lossy UDP)
//!                  ▲                                           ├─▶ Host: dots::peer::Peer, the composition that ships
//!                  │                                           ├─▶ Net: latency, loss, broken connections
//!                  └── what each of them says in return ◀──────┴─▶ Disk: slow, torn by a crash
//!   checkers ◀── after the run: do all agree, is anything lost, did anybody contradict itself?
//! ```
//!
//! Nothing of a peer is mocked: a [`World`] does what `src/drivers/runtime.rs` does, with other drivers. One seed gives one
//! run, event by event, so that `DOTS_SEED=n` replays what failed. Clocks: all peers share one monotonic clock; their wall
//! clocks differ by up to [`SKEW_MS_MAX`].
//!
//! **Invariant:** no real clock, no thread, no unordered map.

pub mod adversaries;
pub mod checkers;
pub mod disk;
mod drive;
mod host;
pub mod liar;
pub mod liveness;
pub mod net;
pub mod phone;
pub mod scenario;
mod watch;

pub use host::Host;

use dots::peer::{Input, api};
use dots_wire::{Now, PeerId, Timestamp};
use net::Net;
use phone::Phone;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};
use watch::Watch;

/// Wall clocks differ from the true time by at most this.
pub const SKEW_MS_MAX: i64 = 2_000;
/// True wall time at the start of every run.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// One way between a phone and a peer.
const SIP_LATENCY_MS: std::ops::RangeInclusive<u64> = 1..=30;
/// Events remembered for the report of a failure.
const TRACE_MAX: usize = 400;
/// No single input makes a peer say more than this.
const OUTPUTS_MAX: usize = 20_000;
/// Events under way at once: more means that something feeds itself.
const EVENTS_MAX: usize = 200_000;

/// What happens at a moment that is known already.
enum Event {
    Input { host: usize, life: u32, input: Input },
    Frame { pipe: u64, host: usize, stream: u64, frame: Vec<u8> },
    PipeEnds { pipe: u64 },
    Gossip { from: usize, to: usize, life: u32, body: Vec<u8> },
    RequestTimeout { inbound: u64 },
    LinkDown { me: usize, other: usize, generation: u64 },
    Connect { a: usize, b: usize },
    Written { host: usize, life: u32, stream: dots::peer::Stream, token: u64 },
    AccountPut { host: usize, life: u32, id: u64, account: dots_trust::account::Account },
    AccountGone { host: usize, life: u32, id: u64, aor: String },
    ToPhone { phone: usize, from: SocketAddr, bytes: Vec<u8> },
    Restart { host: usize },
}

pub struct World {
    pub rng: ChaCha8Rng,
    base: Instant,
    /// Since the start.
    pub at: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    next_api: u64,
    pub hosts: Vec<Host>,
    pub phones: Vec<Phone>,
    pub net: Net,
    /// Of 1, between phones and peers.
    pub sip_loss: f64,
    watch: Watch,
    /// When a binding, a connection or a process last changed.
    pub changed_at: Duration,
    trace: VecDeque<(Duration, String)>,
    trace_all: bool,
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            rng: ChaCha8Rng::seed_from_u64(seed),
            base: Instant::now(),
            at: Duration::ZERO,
            queue: BTreeMap::new(),
            next_event: 0,
            next_api: 0,
            hosts: Vec::new(),
            phones: Vec::new(),
            net: Net::default(),
            sip_loss: 0.0,
            watch: Watch::default(),
            changed_at: Duration::ZERO,
            trace: VecDeque::new(),
            trace_all: std::env::var_os("DOTS_TRACE").is_some(),
        }
    }

    /// Both clocks as this host reads them.
    pub fn now(&self, host: usize) -> Now {
        let ms = EPOCH_MS + u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX);
        let wall = Timestamp(ms.saturating_add_signed(self.hosts[host].skew_ms));
        Now { mono: self.base + self.at, wall }
    }

    /// Something happened that the directory has to follow.
    fn changed(&mut self) {
        self.changed_at = self.at;
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.next_event += 1;
        assert!(self.queue.len() < EVENTS_MAX, "too much is under way at once");
        self.queue.insert((self.at + after, self.next_event), event);
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let text = text();
        if self.trace_all {
            eprintln!("{:>10.3} {text}", self.at.as_secs_f64());
        }
        if self.trace.len() >= TRACE_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back((self.at, text));
    }

    /// The last `count` events, for the report of a failure.
    pub fn last_events(&self, count: usize) -> String {
        let skip = self.trace.len().saturating_sub(count);
        self.trace.iter().skip(skip).map(|(at, t)| format!("{:>10.3} {t}\n", at.as_secs_f64())).collect()
    }

    pub fn host_of(&self, peer: PeerId) -> Option<usize> {
        self.hosts.iter().position(|h| h.id == peer)
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.at + time);
    }

    pub fn run_until(&mut self, end: Duration) {
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            self.at = self.at.max(at);
            self.step();
        }
        self.at = self.at.max(end);
    }

    /// Runs until `done`, or `limit` has passed: then `false`.
    pub fn run_while(&mut self, limit: Duration, mut more: impl FnMut(&mut World) -> bool) -> bool {
        let end = self.at + limit;
        while more(self) {
            match self.next_at().filter(|at| *at <= end) {
                Some(at) => self.at = self.at.max(at),
                None => return false,
            }
            self.step();
        }
        true
    }

    fn next_at(&self) -> Option<Duration> {
        let awake = self.hosts.iter().filter(|h| !h.is_hung);
        let peers = awake.filter_map(|h| h.peer.as_ref()?.poll_timeout());
        let peers = peers.map(|at| at.saturating_duration_since(self.base)).min();
        let phones = self.phones.iter().filter_map(Phone::poll_timeout).min();
        let queue = self.queue.first_key_value().map(|((at, _), _)| *at);
        [peers, phones, queue].into_iter().flatten().min()
    }

    /// Everything that is due now: queued events first, then timers.
    fn step(&mut self) {
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.at) {
            let event = entry.remove();
            self.happen(event);
        }
        for host in 0..self.hosts.len() {
            let now = self.now(host);
            let at = &mut self.hosts[host];
            let Some(peer) = at.peer.as_mut().filter(|_| !at.is_hung) else { continue };
            if peer.poll_timeout().is_some_and(|at| at <= now.mono) {
                peer.handle_timeout(now);
                self.drain(host);
            }
        }
        for phone in 0..self.phones.len() {
            if self.phones[phone].poll_timeout().is_some_and(|at| at <= self.at) {
                let at = self.at;
                self.phones[phone].handle_timeout(at);
                self.carry(phone);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input { host, life, input } if self.lives(host, life) => self.feed(host, input),
            Event::Frame { pipe, host, stream, frame } => self.on_frame(pipe, host, stream, frame),
            Event::PipeEnds { pipe } => self.on_pipe_ends(pipe),
            Event::Gossip { from, to, life, body } if self.lives(to, life) => self.on_gossip(from, to, body),
            Event::RequestTimeout { inbound } => self.on_request_timeout(inbound),
            Event::LinkDown { me, other, generation } => self.on_link_down(me, other, generation),
            Event::Connect { a, b } => self.connect(a, b),
            Event::Written { host, life, stream, token } if self.lives(host, life) => {
                if let Some(record) = self.hosts[host].disk.acknowledge(stream) {
                    self.watch.append(stream, record);
                }
                self.feed(host, Input::Appended { token });
            }
            Event::AccountPut { host, life, id, account } if self.lives(host, life) => {
                let existed = self.hosts[host].disk.put_account(account);
                self.feed(host, Input::AccountStored { id, existed });
            }
            Event::AccountGone { host, life, id, aor } if self.lives(host, life) => {
                let wall = self.now(host).wall.0;
                let existed = self.hosts[host].disk.remove_account(aor, wall);
                self.feed(host, Input::AccountStored { id, existed });
            }
            Event::ToPhone { phone, .. } if self.phones[phone].is_gone => {}
            Event::ToPhone { phone, from, bytes } => {
                let at = self.at;
                self.note(|| format!("sip phone {phone} < {}", first_line(&bytes)));
                self.phones[phone].handle(at, from, bytes);
                self.carry(phone);
            }
            Event::Restart { host } => self.start(host),
            // For a process that is dead.
            Event::Input { .. }
            | Event::Gossip { .. }
            | Event::Written { .. }
            | Event::AccountPut { .. }
            | Event::AccountGone { .. } => {}
        }
    }

    fn lives(&self, host: usize, life: u32) -> bool {
        self.hosts[host].life == life && self.hosts[host].is_running()
    }

    /// Gives one input to a host, and carries out what its peer says.
    pub fn feed(&mut self, host: usize, input: Input) {
        let now = self.now(host);
        // What comes while a process stands still is too old when it goes on.
        if self.hosts[host].is_hung {
            return;
        }
        match (&mut self.hosts[host].peer, input) {
            (Some(peer), input) => {
                peer.handle(now, input);
                self.drain(host);
            }
            // A host without a peer is a test's: it reads what comes.
            (None, Input::Net(event)) => self.hosts[host].heard.push_back(event),
            (None, _) => {}
        }
    }

    /// Asks a peer's HTTP API; `None`: no answer within `limit`.
    pub fn ask(&mut self, host: usize, request: api::Request, limit: Duration) -> Option<api::Reply> {
        let id = self.put_question(host, request);
        self.run_while(limit, |w| !w.hosts[host].replies.contains_key(&id));
        self.hosts[host].replies.remove(&id)
    }

    /// The same without waiting: the answer will be in `replies`.
    pub fn put_question(&mut self, host: usize, request: api::Request) -> u64 {
        self.next_api += 1;
        let id = self.next_api;
        self.feed(host, Input::Api { id, request });
        id
    }

    /// Two peers that are not connected meet only after `time`, whatever is planned.
    pub fn hold_apart(&mut self, a: usize, b: usize, time: Duration) {
        let meets = |event: &Event| matches!(event, Event::Connect { a: x, b: y } if (*x, *y) == (a, b) || (*x, *y) == (b, a));
        self.queue.retain(|_, event| !meets(event));
        self.schedule(time, Event::Connect { a, b });
    }

    /// Breaks the connection of two peers for `time`.
    pub fn interrupt(&mut self, a: usize, b: usize, time: Duration) {
        self.disconnect(a, b);
        self.schedule(time, Event::Connect { a, b });
    }
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line).into_owned();
    if text.starts_with("SIP/2.0") {
        let whole = String::from_utf8_lossy(bytes);
        let cseq = whole.lines().find(|l| l.starts_with("CSeq")).unwrap_or_default().to_owned();
        return format!("{text} ({cseq})");
    }
    text
}
