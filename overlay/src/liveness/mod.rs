//! Who is alive: a failure detector in the manner of SWIM, with the self-doubt of Lifeguard (docs/spec/11-liveness.md).
//!
//! Each peer probes its neighbours in turn. Whoever does not answer is probed again, and three others are asked to try: what
//! it showed them, only it can have shown. Two steps without an answer make it *suspect* here, 2.9 s make it *dead*.
//! Everything that comes from a peer is life, whatever it is.
//!
//! Nobody is believed about somebody else. What others say of a death makes us probe at once; only our own probe makes it
//! dead here, or the word of two neighbours of different networks whom we chose to dial ourselves. That a peer leaves, and
//! that it lives, is said by nobody but itself: both words are signed, and say in which of its lives.
//!
//! A machine that stood still sees everybody silent. A timer that fires late says so: probes under way begin anew, and for a
//! while we take twice as long to judge.
//!
//! Nothing here reads a clock or a socket. Questions go out as values with a number; their answers come back under it.

mod hearsay;
pub mod limits;
mod member;
pub mod message;
mod news;
mod probing;
#[cfg(test)]
mod tests;

pub use member::MemberState;
pub use message::{LiveReply, LiveRequest};

use crate::{records::Incarnation, transport::InboundId};
use dots_wire::{Now, PeerId, SecretKey, Signed, Timers, Timestamp, TokenBucket};
use limits::*;
use member::Member;
use message::{Generation, Notice, NoticeKind};
use news::Bulletin;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// What the detector asks of whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LivenessOutput {
    /// Put this to `peer`, dialling it if need be; call [`Detector::on_reply`] with the number.
    Ask {
        id: u64,
        peer: PeerId,
        ask: LiveRequest,
    },
    /// Answer [`Detector::on_ask`].
    Reply {
        inbound: InboundId,
        reply: LiveReply,
    },
    /// What `peer` is to us has changed.
    State {
        peer: PeerId,
        state: MemberState,
    },
    /// The time at `peer`, as it says.
    Clock {
        peer: PeerId,
        time: Timestamp,
    },
    /// Our key has a later life than this one, somewhere else, and says so: stop.
    RunsTwice,
    Count(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The next neighbour's turn.
    Round,
    /// A probe's next question, or its end.
    Step(PeerId),
    /// A peer did not keep its promise to be heard by now.
    Promise(PeerId),
    /// A dead peer is probed again.
    Again(PeerId),
    Sweep,
}

/// What an answer is for.
enum Asked {
    Hello(PeerId, Instant),
    Probe(PeerId, Instant),
    Reach { target: PeerId, nonce: u64, since: Instant },
    Told(Instant),
}

pub struct Detector {
    key: SecretKey,
    me: PeerId,
    network: String,
    life: Generation,
    own_secret: [u8; 32],
    rng: ChaCha8Rng,
    members: BTreeMap<PeerId, Member>,
    /// Neighbours in the order of their turns.
    turns: VecDeque<PeerId>,
    timers: Timers<Timer>,
    asks: BTreeMap<u64, Asked>,
    /// What we ask for others: theirs, and by number when it was asked. A table of its own, for strangers fill it.
    shows: BTreeMap<u64, (InboundId, Instant)>,
    next_id: u64,
    news: Bulletin,
    /// The latest life of each key, in that key's own words; ours too.
    words: BTreeMap<PeerId, Signed>,
    refutations: TokenBucket,
    agains: TokenBucket,
    unwell_until: Option<Instant>,
    is_credulous: bool,
    out: VecDeque<LivenessOutput>,
}

/// How often what nobody waits for is forgotten.
const SWEEP: Duration = Duration::from_secs(10);

impl Detector {
    /// `incarnation`: of the log; a later start is a later life. `seed` makes every random choice repeatable.
    pub fn new(key: SecretKey, network: String, incarnation: Incarnation, seed: u64, now: Now) -> Detector {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut timers = Timers::default();
        timers.set(Timer::Sweep, now.mono + SWEEP);
        Detector {
            me: key.peer_id(),
            key,
            network,
            life: Generation { incarnation, count: 0 },
            own_secret: rng.random(),
            rng,
            members: BTreeMap::new(),
            turns: VecDeque::new(),
            timers,
            asks: BTreeMap::new(),
            shows: BTreeMap::new(),
            next_id: 0,
            news: Bulletin::default(),
            words: BTreeMap::new(),
            refutations: TokenBucket::default(),
            agains: TokenBucket::default(),
            unwell_until: None,
            is_credulous: false,
            out: VecDeque::new(),
        }
    }

    /// For the tests of the adversaries, which must succeed then: believes whatever anybody says, signed or not.
    pub fn credulous(mut self) -> Detector {
        self.is_credulous = true;
        self
    }

    /// `None`: nothing is known of it.
    pub fn state(&self, peer: PeerId) -> Option<MemberState> {
        self.members.get(&peer).map(|m| m.state)
    }

    /// When anything came from `peer` last.
    pub fn heard_at(&self, peer: PeerId) -> Option<Instant> {
        self.members.get(&peer).map(|m| m.heard)
    }

    pub fn neighbours(&self) -> usize {
        self.turns.len()
    }

    /// The first connection to `peer` is up.
    pub fn on_connected(&mut self, now: Now, peer: PeerId) {
        if peer == self.me || !self.make_room(peer) {
            return;
        }
        let member = self.members.entry(peer).or_insert_with(|| Member::new(now.mono));
        (member.secret, member.exchanged) = (None, None);
        let is_new = !std::mem::replace(&mut member.connected, true);
        if is_new {
            // A random place in the round: not all peers that know each other ask the same one at once.
            let at = self.rng.random_range(0..=self.turns.len());
            self.turns.insert(at, peer);
        }
        self.alive(now, peer);
        self.hello(now.mono, peer);
        if self.timers.deadline(&Timer::Round).is_none() {
            self.timers.set(Timer::Round, now.mono + self.pause());
        }
    }

    /// We dialled `peer` ourselves, at an address of this network; or we did not.
    pub fn on_chosen(&mut self, peer: PeerId, network: Option<u64>) {
        if let Some(member) = self.members.get_mut(&peer) {
            member.chosen = network;
        }
    }

    /// The last connection to `peer` is gone. It is asked at once, by a new one.
    pub fn on_disconnected(&mut self, now: Now, peer: PeerId) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        (member.connected, member.chosen) = (false, None);
        self.turns.retain(|p| *p != peer);
        self.timers.cancel(&Timer::Promise(peer));
        if self.turns.is_empty() {
            self.timers.cancel(&Timer::Round);
        }
        if !member.state.is_gone() {
            self.set_state(peer, MemberState::Suspect);
            self.begin_probe(now, peer, true);
        }
    }

    /// LIVE-1: something came from `peer`, whatever it was.
    pub fn heard(&mut self, now: Now, peer: PeerId) {
        // What was on its way when it said goodbye is no return.
        if self.members.get(&peer).is_some_and(|m| m.state != MemberState::Left) {
            self.alive(now, peer);
        }
    }

    /// Somebody waits for `peer` in vain since then: is it there? What waits was a question of ours too.
    pub fn suspect(&mut self, now: Now, peer: PeerId, since: Instant) {
        if peer == self.me || !self.make_room(peer) {
            return;
        }
        let member = self.members.entry(peer).or_insert_with(|| Member::new(now.mono));
        if !member.state.is_gone() {
            self.begin_probe(now, peer, true);
            if let Some(member) = self.members.get_mut(&peer)
                && member.heard < since
                && let Some(probe) = &mut member.probe
            {
                probe.since = probe.since.min(since);
            }
        }
    }

    /// LIVE-7: this process ends: the neighbours are told, so that nobody waits for us.
    pub fn leave(&mut self, now: Now) {
        let word = Notice::sign(&self.key, &self.network, self.life, NoticeKind::Left);
        for peer in self.turns.clone() {
            let id = self.number(Asked::Told(now.mono));
            let ask = LiveRequest::Hello { version: message::VERSION, word: word.clone() };
            self.out.push_back(LivenessOutput::Ask { id, peer, ask });
        }
        self.count("live_left");
    }

    pub fn poll_output(&mut self) -> Option<LivenessOutput> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.poll_timeout()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        if self.timers.poll_timeout().is_some_and(|at| now.mono.saturating_duration_since(at) > LATE) {
            self.stood_still(now);
        }
        while let Some(timer) = self.timers.expired(now.mono) {
            match timer {
                Timer::Round => self.next_turn(now),
                Timer::Step(peer) => self.step(now, peer),
                Timer::Promise(peer) => self.begin_probe(now, peer, false),
                Timer::Again(peer) => self.ask_again(now, peer),
                Timer::Sweep => self.sweep(now),
            }
        }
    }

    /// LIVE-8: this machine did nothing for a while: that nobody answered is its own doing.
    fn stood_still(&mut self, now: Now) {
        self.unwell_until = Some(now.mono + UNWELL);
        self.count("live_stood_still");
        let probed: Vec<PeerId> =
            self.members.iter().filter(|(_, m)| m.probe.is_some()).map(|(p, _)| *p).collect();
        for peer in probed {
            if let Some(probe) = self.members.get_mut(&peer).and_then(|m| m.probe.as_mut()) {
                (probe.since, probe.steps) = (now.mono, 0);
                self.timers.set(Timer::Step(peer), now.mono);
            }
        }
        // Promises were kept, for all we know.
        for peer in self.turns.clone() {
            if self.timers.cancel(&Timer::Promise(peer)) {
                self.timers.set(Timer::Promise(peer), now.mono + UNWELL);
            }
        }
    }

    /// It lives: whatever was said or asked about that is settled.
    fn alive(&mut self, now: Now, peer: PeerId) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        member.heard = now.mono;
        member.again = AGAIN;
        member.accusers.clear();
        if member.probe.take().is_some() {
            self.timers.cancel(&Timer::Step(peer));
        }
        if member.state != MemberState::Alive {
            self.timers.cancel(&Timer::Again(peer));
            self.news.forget(|news| {
                matches!(news, message::Hearsay::Suspect { peer: p, .. } | message::Hearsay::Dead { peer: p, .. } if *p == peer)
            });
            self.set_state(peer, MemberState::Alive);
        }
    }

    fn set_state(&mut self, peer: PeerId, state: MemberState) {
        let Some(member) = self.members.get_mut(&peer).filter(|m| m.state != state) else { return };
        member.state = state;
        self.count(match state {
            MemberState::Alive => "live_back",
            MemberState::Suspect => "live_suspect",
            MemberState::Dead => "live_dead",
            MemberState::Left => "live_goodbyes",
        });
        self.out.push_back(LivenessOutput::State { peer, state });
    }

    fn number(&mut self, asked: Asked) -> u64 {
        self.next_id += 1;
        if self.asks.len() >= ASKS_MAX {
            self.asks.pop_first();
        }
        self.asks.insert(self.next_id, asked);
        self.next_id
    }

    /// The number of a question for somebody else. A target that lives answers at once; where many wait in vain, those who have waited
    /// longest are told so.
    fn number_for(&mut self, now: Instant, inbound: InboundId) -> u64 {
        if self.shows.len() >= SHOWS_MAX
            && let Some((_, (longest, _))) = self.shows.pop_first()
        {
            self.out.push_back(LivenessOutput::Reply { inbound: longest, reply: LiveReply::Silent });
            self.count("live_help_displaced");
        }
        self.next_id += 1;
        self.shows.insert(self.next_id, (inbound, now));
        self.next_id
    }

    /// Is there room for one more peer, or is it known?
    fn make_room(&mut self, peer: PeerId) -> bool {
        if self.members.len() < MEMBERS_MAX || self.members.contains_key(&peer) {
            return true;
        }
        let absent = self.members.iter().filter(|(_, m)| !m.connected);
        let oldest = absent.min_by_key(|(_, m)| m.heard).map(|(p, _)| *p);
        if let Some(oldest) = oldest {
            self.forget(oldest);
        }
        oldest.is_some()
    }

    fn forget(&mut self, peer: PeerId) {
        self.members.remove(&peer);
        self.words.remove(&peer);
        for timer in [Timer::Step(peer), Timer::Promise(peer), Timer::Again(peer)] {
            self.timers.cancel(&timer);
        }
    }

    fn sweep(&mut self, now: Now) {
        self.timers.set(Timer::Sweep, now.mono + SWEEP);
        let old = |since: &Instant| now.mono.saturating_duration_since(*since) >= ASK_PATIENCE;
        self.asks.retain(|_, asked| match asked {
            Asked::Hello(_, since) | Asked::Probe(_, since) | Asked::Told(since) => !old(since),
            Asked::Reach { since, .. } => !old(since),
        });
        self.shows.retain(|_, (_, since)| !old(since));
        let forgotten = |m: &Member| {
            !m.connected && m.probe.is_none() && now.mono.saturating_duration_since(m.heard) >= FORGET
        };
        let gone: Vec<PeerId> = self.members.iter().filter(|(_, m)| forgotten(m)).map(|(p, _)| *p).collect();
        for peer in gone {
            self.forget(peer);
        }
    }

    fn count(&mut self, name: &'static str) {
        self.out.push_back(LivenessOutput::Count(name));
    }
}
