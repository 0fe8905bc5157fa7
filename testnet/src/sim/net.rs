//! A network that is slow, loses things, and breaks: what `overlay/net` promises its cores, and no more.
//!
//! - a request that is lost, or whose answer is, ends in a time-out after five seconds;
//! - a stream carries its frames in order while it is up; what is in flight when it breaks is lost;
//! - gossip floods hop by hop, each hop loses some, and only what a core accepts is passed on;
//! - the DHT asks the few peers closest to a key.

use super::{Event, World};
use dots::peer::Input;
use dots_overlay::transport::{NetCommand, NetEvent, Protocol, RequestError, Verdict};
use dots_wire::{Hash, sha256};
use rand::Rng;
use std::{collections::BTreeMap, time::Duration};

/// One way between two peers, in milliseconds.
const LATENCY_MS: std::ops::RangeInclusive<u64> = 1..=80;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A search that waits for somebody who does not answer.
const QUERY_MAX: Duration = Duration::from_secs(5);
/// What gossipsub, a stream and QUIC add to a message; one that says that it has a message; and to how many that is said.
const CARRIER_BYTES: usize = 40;
const IDONTWANT_BYTES: usize = 40;
const MESH: usize = 6;
/// Peers that hold a DHT value.
const CLOSEST: usize = 3;
/// A dead process is noticed after at most this (its sockets are reset, or its path goes silent).
const NOTICED_MS: std::ops::RangeInclusive<u64> = 10..=3_000;

/// What a test may break on purpose, to see that a checker notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// No word of this protocol ever arrives.
    Mutes(Protocol),
    /// Nothing of the log arrives: no gossip, no ranges.
    HidesLog,
}

#[derive(Default)]
pub struct Net {
    /// Of 1.
    pub loss: f64,
    pub fault: Fault,
    links: BTreeMap<(usize, usize), Link>,
    asked: BTreeMap<u64, Asked>,
    pipes: BTreeMap<u64, Pipe>,
    /// (host, stream) -> pipe.
    ends: BTreeMap<(usize, u64), u64>,
    gossip: BTreeMap<(usize, u64), (usize, Vec<u8>)>,
    /// Who has a message, and since when.
    seen: BTreeMap<(usize, Hash), Duration>,
    next: u64,
}

/// Two hosts, the lower index first.
#[derive(Default)]
struct Link {
    up: bool,
    /// What each side was told last.
    told: [bool; 2],
    /// Counts ups and downs.
    generation: u64,
}

struct Asked {
    from: usize,
    life: u32,
    to: usize,
    id: u64,
    answered: bool,
}

struct Pipe {
    ends: [(usize, u64); 2],
    /// When the last frame toward each end arrives.
    last: [Duration; 2],
    closed_by: [bool; 2],
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    pub fn latency(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(LATENCY_MS))
    }

    fn is_lost(&mut self) -> bool {
        let loss = self.net.loss;
        self.rng.random_bool(loss)
    }

    pub fn is_up(&self, a: usize, b: usize) -> bool {
        self.net.links.get(&pair(a, b)).is_some_and(|l| l.up)
    }

    /// So many bytes of a message go from one host to another, with what carries them.
    fn travels(&mut self, from: usize, to: usize, bytes: usize) {
        let bytes = (bytes + CARRIER_BYTES) as u64;
        *self.hosts[from].counts.entry("sim_bytes").or_default() += bytes;
        *self.hosts[to].counts.entry("sim_bytes").or_default() += bytes;
    }

    fn id(&mut self) -> u64 {
        self.net.next += 1;
        self.net.next
    }

    /// To the process that runs at `to` now; another life will not hear it.
    pub(super) fn tell(&mut self, to: usize, after: Duration, event: NetEvent) {
        let life = self.hosts[to].life;
        self.schedule(after, Event::Input { host: to, life, input: Input::Net(event) });
    }

    /// A connection comes up, unless one of the two is not there.
    pub fn connect(&mut self, a: usize, b: usize) {
        if a == b || !self.hosts[a].is_running() || !self.hosts[b].is_running() || self.is_up(a, b) {
            return;
        }
        // A restarted process may be back before the old connection is noticed to be dead: then it is replaced, and
        // the other side hears of no end.
        let is_silent = self.rng.random_bool(0.5);
        let (low, high) = pair(a, b);
        let told = {
            let link = self.net.links.entry((low, high)).or_default();
            link.up = true;
            link.generation += 1;
            std::mem::replace(&mut link.told, [true, true])
        };
        self.note(|| format!("net {low}={high} up"));
        self.changed();
        for (side, (me, other)) in [(low, high), (high, low)].into_iter().enumerate() {
            let peer = self.hosts[other].id;
            if told[side] {
                self.close_pipes(me, other);
                if is_silent {
                    continue;
                }
                self.tell(me, Duration::ZERO, NetEvent::Disconnected { peer });
            }
            self.tell(me, Duration::from_millis(1), NetEvent::Connected { peer });
        }
    }

    /// The connection breaks; what is in flight is lost.
    pub fn disconnect(&mut self, a: usize, b: usize) {
        let Some(link) = self.net.links.get_mut(&pair(a, b)).filter(|l| l.up) else { return };
        link.up = false;
        link.generation += 1;
        let generation = link.generation;
        self.note(|| format!("net {a}={b} down"));
        self.changed();
        for (me, other) in [(a, b), (b, a)] {
            let ms = self.rng.random_range(NOTICED_MS);
            let ms = if self.rng.random_bool(0.7) { ms.min(50) } else { ms };
            self.schedule(Duration::from_millis(ms), Event::LinkDown { me, other, generation });
        }
    }

    /// One side notices.
    pub(super) fn on_link_down(&mut self, me: usize, other: usize, generation: u64) {
        let (low, _) = pair(me, other);
        let Some(link) = self.net.links.get_mut(&pair(me, other)) else { return };
        let told = &mut link.told[usize::from(me != low)];
        if link.generation != generation || !std::mem::replace(told, false) {
            return;
        }
        self.close_pipes(me, other);
        let peer = self.hosts[other].id;
        self.tell(me, Duration::ZERO, NetEvent::Disconnected { peer });
    }

    pub(super) fn lose_host(&mut self, host: usize) {
        for other in 0..self.hosts.len() {
            if other != host {
                self.disconnect(host, other);
            }
        }
        // A new process was told nothing.
        for ((low, high), link) in &mut self.net.links {
            for (side, who) in [*low, *high].into_iter().enumerate() {
                link.told[side] &= who != host;
            }
        }
        self.net.gossip.retain(|(h, _), _| *h != host);
        self.net.seen.retain(|(h, _), _| *h != host);
    }

    fn close_pipes(&mut self, me: usize, other: usize) {
        let of = |p: &Pipe| p.ends.iter().any(|e| e.0 == me) && p.ends.iter().any(|e| e.0 == other);
        let gone: Vec<u64> = self.net.pipes.iter().filter(|(_, p)| of(p)).map(|(id, _)| *id).collect();
        for id in gone {
            self.break_pipe(id);
        }
    }

    /// Breaks a random stream, if there is one.
    pub fn break_a_stream(&mut self) {
        let all: Vec<u64> = self.net.pipes.keys().copied().collect();
        if !all.is_empty() {
            let id = all[self.rng.random_range(0..all.len())];
            self.note(|| format!("net stream {id} breaks"));
            self.break_pipe(id);
        }
    }

    fn break_pipe(&mut self, id: u64) {
        let Some(pipe) = self.net.pipes.remove(&id) else { return };
        for (side, (host, stream)) in pipe.ends.into_iter().enumerate() {
            self.net.ends.remove(&(host, stream));
            if !pipe.closed_by[side] {
                self.tell(host, Duration::from_millis(1), NetEvent::StreamClosed { stream });
            }
        }
    }

    /// What the peer at `me` asks of the network.
    pub fn command(&mut self, me: usize, command: NetCommand) {
        match command {
            NetCommand::Request { id, peer, protocol, body } => {
                let to = self.host_of(peer);
                self.request(me, id, to, protocol, body);
            }
            NetCommand::Respond { id, body } => self.respond(me, id, body),
            // A host that is dead has lost its connections already.
            NetCommand::Disconnect { peer } => {
                let hung = self.host_of(peer).filter(|other| self.hosts[*other].is_hung);
                if let Some(other) = hung {
                    self.disconnect(me, other);
                }
            }
            NetCommand::OpenStream { peer } => self.open_stream(me, peer),
            NetCommand::StreamSend { stream, frame } => self.stream_send(me, stream, frame),
            NetCommand::StreamClose { stream } => self.stream_close(me, stream),
            NetCommand::Publish { body } => {
                self.net.seen.insert((me, sha256(&body)), self.at);
                self.flood(me, None, &body);
            }
            NetCommand::GossipVerdict { id, verdict } => {
                let known = self.net.gossip.remove(&(me, id));
                if let Some((from, body)) = known.filter(|_| verdict == Verdict::Forward) {
                    self.flood(me, Some(from), &body);
                }
            }
            NetCommand::DhtGet { id, key } => self.dht_get(me, id, &key),
            NetCommand::DhtPut { key, value, .. } => self.dht_put(me, key, value),
            NetCommand::DhtStore { key, value, .. } => {
                self.hosts[me].dht.insert(key, value);
            }
        }
    }

    fn request(&mut self, me: usize, id: u64, to: Option<usize>, protocol: Protocol, body: Vec<u8>) {
        self.watch.request(protocol, &body);
        let Some(to) = to.filter(|to| self.is_up(me, *to)) else {
            let result = Err(RequestError::Unreachable);
            let after = self.latency();
            return self.tell(me, after, NetEvent::Response { id, result });
        };
        let inbound = self.id();
        let life = self.hosts[me].life;
        self.net.asked.insert(inbound, Asked { from: me, life, to, id, answered: false });
        self.schedule(REQUEST_TIMEOUT, Event::RequestTimeout { inbound });
        let muted = match self.net.fault {
            Fault::Mutes(p) => p == protocol,
            Fault::HidesLog => protocol == Protocol::Log,
            Fault::None => false,
        };
        self.travels(me, to, body.len());
        if self.is_lost() || muted {
            return self.note(|| format!("net {me}>{to} {protocol:?} lost"));
        }
        let after = self.latency();
        self.note(|| format!("net {me}>{to} {protocol:?} {inbound}"));
        let peer = self.hosts[me].id;
        self.tell(to, after, NetEvent::Request { peer, protocol, id: inbound, body });
    }

    fn respond(&mut self, me: usize, inbound: u64, body: Option<Vec<u8>>) {
        if let Some(body) = &body {
            self.watch.response(body);
        }
        let lost = self.is_lost();
        let after = self.latency();
        // It may have timed out, or its asker is dead.
        let Some(asked) = self.net.asked.get_mut(&inbound) else { return };
        assert_eq!(asked.to, me, "a peer answers what it was not asked");
        assert!(!asked.answered, "a peer answers {inbound} twice");
        asked.answered = true;
        let (from, life, id) = (asked.from, asked.life, asked.id);
        self.travels(me, from, body.as_ref().map_or(0, Vec::len));
        if lost || !self.is_up(me, from) {
            return;
        }
        self.net.asked.remove(&inbound);
        let event = NetEvent::Response { id, result: body.ok_or(RequestError::Refused) };
        self.schedule(after, Event::Input { host: from, life, input: Input::Net(event) });
    }

    pub(super) fn on_request_timeout(&mut self, inbound: u64) {
        if let Some(Asked { from, life, id, .. }) = self.net.asked.remove(&inbound) {
            let event = NetEvent::Response { id, result: Err(RequestError::Timeout) };
            self.schedule(Duration::ZERO, Event::Input { host: from, life, input: Input::Net(event) });
        }
    }

    fn open_stream(&mut self, me: usize, peer: dots_wire::PeerId) {
        let after = self.latency();
        let Some(to) = self.host_of(peer).filter(|to| self.is_up(me, *to)) else {
            return self.tell(me, after, NetEvent::StreamRefused { peer });
        };
        let (pipe, ours, theirs) = (self.id(), self.id(), self.id());
        let at = self.at + after;
        let new = Pipe { ends: [(me, ours), (to, theirs)], last: [at; 2], closed_by: [false; 2] };
        self.net.pipes.insert(pipe, new);
        self.net.ends.insert((me, ours), pipe);
        self.net.ends.insert((to, theirs), pipe);
        let from = self.hosts[me].id;
        self.tell(me, after, NetEvent::StreamOpened { peer, stream: ours, outbound: true });
        self.tell(to, after, NetEvent::StreamOpened { peer: from, stream: theirs, outbound: false });
    }

    fn stream_send(&mut self, me: usize, stream: u64, frame: Vec<u8>) {
        let after = self.latency();
        let Some((id, side)) = self.end(me, stream) else { return };
        let at = self.at + after;
        let Some(pipe) = self.net.pipes.get_mut(&id).filter(|p| !p.closed_by[side]) else { return };
        *self.hosts[me].counts.entry("sim_frames").or_default() += 1;
        let (to, there) = pipe.ends[1 - side];
        pipe.last[1 - side] = pipe.last[1 - side].max(at);
        let after = pipe.last[1 - side].saturating_sub(self.at);
        self.schedule(after, Event::Frame { pipe: id, host: to, stream: there, frame });
    }

    pub(super) fn on_frame(&mut self, pipe: u64, host: usize, stream: u64, frame: Vec<u8>) {
        let Some((_, side)) = self.end(host, stream) else { return };
        if self.net.pipes.get(&pipe).is_some_and(|p| !p.closed_by[side]) {
            self.feed(host, Input::Net(NetEvent::StreamFrame { stream, frame }));
        }
    }

    fn stream_close(&mut self, me: usize, stream: u64) {
        let Some((id, side)) = self.end(me, stream) else { return };
        let Some(pipe) = self.net.pipes.get_mut(&id) else { return };
        pipe.closed_by[side] = true;
        let after = pipe.last[1 - side].saturating_sub(self.at) + Duration::from_micros(1);
        self.schedule(after, Event::PipeEnds { pipe: id });
    }

    pub(super) fn on_pipe_ends(&mut self, pipe: u64) {
        self.break_pipe(pipe);
    }

    fn end(&self, host: usize, stream: u64) -> Option<(u64, usize)> {
        let id = *self.net.ends.get(&(host, stream))?;
        let side = self.net.pipes.get(&id)?.ends.iter().position(|e| *e == (host, stream))?;
        Some((id, side))
    }

    fn flood(&mut self, me: usize, but: Option<usize>, body: &[u8]) {
        self.watch.gossip(body);
        let name = sha256(body);
        for to in 0..self.hosts.len() {
            if Some(to) == but || !self.is_up(me, to) || self.is_lost() || self.net.fault == Fault::HidesLog {
                continue;
            }
            // Who has it has said so.
            let told = self.at.saturating_sub(Duration::from_millis(*LATENCY_MS.end()));
            if but.is_some() && self.net.seen.get(&(to, name)).is_some_and(|since| *since <= told) {
                continue;
            }
            self.travels(me, to, body.len());
            let (after, life) = (self.latency(), self.hosts[to].life);
            self.schedule(after, Event::Gossip { from: me, to, life, body: body.to_vec() });
        }
    }

    pub(super) fn on_gossip(&mut self, from: usize, to: usize, body: Vec<u8>) {
        let name = (to, sha256(&body));
        if self.net.seen.contains_key(&name) {
            return;
        }
        self.net.seen.insert(name, self.at);
        // It tells its mesh that it wants no second copy.
        let mesh: Vec<usize> = (0..self.hosts.len()).filter(|h| self.is_up(to, *h)).take(MESH).collect();
        mesh.into_iter().for_each(|other| self.travels(to, other, IDONTWANT_BYTES));
        let id = self.id();
        self.net.gossip.insert((to, id), (from, body.clone()));
        let from = self.hosts[from].id;
        self.feed(to, Input::Net(NetEvent::Gossip { from, id, body }));
    }

    /// The closest hosts to a key that `me` can reach, itself among them.
    fn closest(&self, me: usize, key: &[u8]) -> Vec<usize> {
        let key = sha256(key).0;
        let distance = |h: usize| {
            let id = sha256(&self.hosts[h].id.to_bytes()).0;
            std::array::from_fn::<u8, 32, _>(|i| id[i] ^ key[i])
        };
        let mut near: Vec<usize> = (0..self.hosts.len()).filter(|h| *h == me || self.is_up(me, *h)).collect();
        near.sort_by_key(|h| distance(*h));
        near.truncate(CLOSEST);
        near
    }

    fn dht_put(&mut self, me: usize, key: Vec<u8>, value: Vec<u8>) {
        let from = self.hosts[me].id;
        for to in self.closest(me, &key) {
            if to != me {
                self.travels(me, to, value.len());
            }
            if to != me && self.is_lost() {
                continue;
            }
            let held = self.hosts[to].dht.get(&key).cloned();
            let after = if to == me { Duration::ZERO } else { self.latency() };
            self.tell(to, after, NetEvent::DhtOffer { from, key: key.clone(), value: value.clone(), held });
        }
    }

    fn dht_get(&mut self, me: usize, id: u64, key: &[u8]) {
        for from in self.closest(me, key) {
            let value = self.hosts[from].dht.get(key).filter(|_| !self.hosts[from].is_hung).cloned();
            if let Some(value) = value.filter(|_| !self.is_lost()) {
                let after = self.latency();
                self.tell(me, after, NetEvent::DhtValue { id, value });
            }
        }
        let is_waited_for = self.closest(me, key).into_iter().any(|host| self.hosts[host].is_hung);
        let after = if is_waited_for { QUERY_MAX } else { Duration::from_millis(200) };
        self.tell(me, after, NetEvent::DhtDone { id });
    }
}
