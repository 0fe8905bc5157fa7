//! The serving peer's side of a ping: one OPTIONS to the phone for all verifiers that ask at about the same time, and a
//! signed word for each.
//!
//! Any peer may ask, and names of peers are free. So what came of a ping is remembered for ten seconds and told to whoever asks
//! meanwhile, with the time at which it was so: a phone is not rung at as fast as it answers. And places for pings are shared:
//! when all are taken, whoever has most of them loses his oldest.

use crate::{
    records::{Life, PingOutcome, event::PING_DOMAIN},
    transport::InboundId,
};
use dots_wire::{
    Hash, Now, PeerId, SecretKey, Signed,
    bounded::{Cache, Cause, Limits, Weight},
    decode, encode,
};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

pub const VERSION: u8 = 1;
/// Pings under way; verifiers that wait for one of them.
const PINGS_MAX: usize = 256;
const WAITING_MAX: usize = 8;
/// Phones known to answer OPTIONS; one that makes room for others may be called unpingable once.
const ANSWERED: Limits = Limits::new(16 * 1024 * 1024, 200_000);
/// What came of the last ping of a phone is told again for this long.
const FRESH: Duration = Duration::from_secs(10);
const LATELY: Limits = Limits::new(1024 * 1024, 8_192);
/// The SIP core gives up on an OPTIONS earlier than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// LOG-20: what a verifier asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Question {
    pub version: u8,
    pub aor_id: Hash,
    pub instance: Hash,
    pub challenge: Hash,
}

/// A ping to run: answer with [`Pinger::on_pinged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    pub id: u64,
    pub aor_id: Hash,
    pub instance: Hash,
}

struct Running {
    phone: (Hash, Hash),
    /// Who asked first.
    began: PeerId,
    /// It has registered at another peer: we want to know ourselves whether it is still here.
    has_moved: bool,
    since: Instant,
    waiting: Vec<(PeerId, InboundId, Hash)>,
}

pub struct Pinger {
    key: SecretKey,
    running: BTreeMap<u64, Running>,
    /// By [`short`].
    answered: Cache<u64, ()>,
    /// What came of it last; by [`short`] too.
    lately: Cache<u64, Outcome>,
    next_id: u64,
    pings: VecDeque<Ping>,
    replies: VecDeque<(InboundId, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy)]
struct Outcome {
    at: Now,
    life: Life,
}

impl Weight for Outcome {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A phone in eight bytes. Two that share them are both taken for one that answers.
fn short((aor_id, instance): (Hash, Hash)) -> u64 {
    Cause::name(&[aor_id.0, instance.0].concat())
}

impl Pinger {
    pub fn new(key: SecretKey) -> Pinger {
        Pinger {
            key,
            running: BTreeMap::new(),
            answered: Cache::new(ANSWERED),
            lately: Cache::new(LATELY),
            next_id: 0,
            pings: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    /// `verifier` asks; `is_ours` says whether we serve that phone.
    pub fn on_request(
        &mut self,
        now: Now,
        verifier: PeerId,
        inbound: InboundId,
        body: &[u8],
        is_ours: impl Fn(Hash, Hash) -> bool,
    ) {
        let question = decode::<Question>(body).ok().filter(|q| q.version == VERSION);
        let Some(q) = question else { return self.replies.push_back((inbound, None)) };
        let phone = (q.aor_id, q.instance);
        if !is_ours(q.aor_id, q.instance) {
            let word = self.word(now, phone, verifier, q.challenge, Life::Gone);
            return self.replies.push_back((inbound, Some(word)));
        }
        // LOG-21: asked again so soon, the answer is the same, and of the same time.
        let fresh = |o: &Outcome| now.mono.saturating_duration_since(o.at.mono) < FRESH;
        if let Some(Outcome { at, life }) = self.lately.get(&short(phone)).copied().filter(fresh) {
            let word = self.word(at, phone, verifier, q.challenge, life);
            return self.replies.push_back((inbound, Some(word)));
        }
        if let Some(running) = self.running.values_mut().find(|r| r.phone == phone) {
            if running.waiting.len() < WAITING_MAX {
                running.waiting.push((verifier, inbound, q.challenge));
            } else {
                self.replies.push_back((inbound, None));
            }
            return;
        }
        if self.running.len() >= PINGS_MAX && !self.make_room(verifier) {
            return self.replies.push_back((inbound, None));
        }
        self.next_id += 1;
        let waiting = vec![(verifier, inbound, q.challenge)];
        self.running.insert(
            self.next_id,
            Running { phone, began: verifier, has_moved: false, since: now.mono, waiting },
        );
        self.pings.push_back(Ping { id: self.next_id, aor_id: q.aor_id, instance: q.instance });
    }

    /// Ends the oldest ping of whoever has most of them under way; `false`: that is the one who asks.
    fn make_room(&mut self, verifier: PeerId) -> bool {
        let mut held: BTreeMap<PeerId, usize> = BTreeMap::new();
        for running in self.running.values() {
            *held.entry(running.began).or_default() += 1;
        }
        let most = held.iter().max_by_key(|(_, count)| **count).map(|(peer, count)| (*peer, *count));
        let Some((peer, count)) = most else { return false };
        if held.get(&verifier).copied().unwrap_or_default() + 1 >= count {
            return false;
        }
        let oldest = self.running.iter().find(|(_, r)| r.began == peer).map(|(id, _)| *id);
        let ended = oldest.and_then(|id| self.running.remove(&id));
        ended.is_some_and(|running| {
            self.replies.extend(running.waiting.into_iter().map(|(_, inbound, _)| (inbound, None)));
            true
        })
    }

    /// A phone of ours has just registered: a silence from before says nothing of it.
    pub fn on_bound(&mut self, aor_id: Hash, instance: Hash) {
        let phone = short((aor_id, instance));
        if self.lately.get(&phone).is_some_and(|outcome| outcome.life != Life::Alive) {
            self.lately.remove(&phone);
        }
    }

    /// LOG-17: a phone of ours has registered elsewhere. Is it still here?
    pub fn on_moved(&mut self, now: Now, aor_id: Hash, instance: Hash) {
        let (me, phone) = (self.key.peer_id(), (aor_id, instance));
        if let Some(running) = self.running.values_mut().find(|r| r.phone == phone) {
            running.has_moved = true;
            return;
        }
        if self.running.len() < PINGS_MAX || self.make_room(me) {
            self.next_id += 1;
            let running = Running { phone, began: me, has_moved: true, since: now.mono, waiting: Vec::new() };
            self.running.insert(self.next_id, running);
            self.pings.push_back(Ping { id: self.next_id, aor_id, instance });
        }
    }

    /// [`Ping`] `id` has ended. Gives back the phone if it has moved, and is not here any more.
    pub fn on_pinged(&mut self, now: Now, id: u64, alive: bool) -> Option<(Hash, Hash)> {
        let running = self.running.remove(&id)?;
        let life = match (alive, self.answered.contains(&short(running.phone))) {
            (true, true) => Life::Alive,
            (true, false) => {
                self.answered.insert(Cause::OWN, short(running.phone), ());
                Life::Alive
            }
            (false, true) => Life::Silent,
            (false, false) => Life::Unpingable,
        };
        self.lately.insert(Cause::OWN, short(running.phone), Outcome { at: now, life });
        for (verifier, inbound, challenge) in running.waiting {
            let word = self.word(now, running.phone, verifier, challenge, life);
            self.replies.push_back((inbound, Some(word)));
        }
        (running.has_moved && !alive).then_some(running.phone)
    }

    fn word(&self, now: Now, phone: (Hash, Hash), verifier: PeerId, challenge: Hash, life: Life) -> Vec<u8> {
        let outcome = PingOutcome {
            version: VERSION,
            serving: self.key.peer_id(),
            verifier,
            aor_id: phone.0,
            instance: phone.1,
            challenge,
            life,
            time: now.wall,
        };
        encode(&Signed::new(&self.key, PING_DOMAIN, &outcome))
    }

    pub fn poll_ping(&mut self) -> Option<Ping> {
        self.pings.pop_front()
    }

    pub fn poll_reply(&mut self) -> Option<(InboundId, Option<Vec<u8>>)> {
        self.replies.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.running.values().map(|r| r.since + PATIENCE).min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        let lost: Vec<u64> =
            self.running.iter().filter(|(_, r)| r.since + PATIENCE <= now.mono).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(running) = self.running.remove(&id) {
                self.replies.extend(running.waiting.into_iter().map(|(_, inbound, _)| (inbound, None)));
            }
        }
    }
}
