//! The serving peer's side of a ping: one OPTIONS to the phone for all verifiers that ask at about the same time, and a
//! signed word for each.
//!
//! It also looks itself, so that a phone that vanished is not called verified until somebody happens to ask ([`super::watch`]).
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
/// Pings under way for others, and of our own accord: as many as 20,000 phones make that are all silent.
pub(crate) const PINGS_MAX: usize = 256;
const LOOKS_MAX: usize = 2_048;
/// Verifiers that wait for one of them.
pub(crate) const WAITING_MAX: usize = 8;
/// Phones known to answer OPTIONS; one that makes room for others may be called unpingable once.
pub(crate) const ANSWERED: Limits = Limits::new(6 * 1024 * 1024, 75_000);
/// What came of the last ping of a phone is told again for this long.
const FRESH: Duration = Duration::from_secs(10);
pub(crate) const LATELY: Limits = Limits::new(1024 * 1024, 8_192);
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

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// We do, now and then: not of a phone whose connection stands.
    Watch,
    /// We do, for the phone has registered elsewhere.
    Moved,
    Verifier(PeerId),
}

/// What came of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Life,
    Silence,
    /// Nothing can be sent to it: its connection is gone.
    Unreachable,
    /// It was not asked: there was no room, or no need.
    NotAsked,
}

/// A ping to run: answer with [`Pinger::on_pinged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    pub id: u64,
    pub aor_id: Hash,
    pub instance: Hash,
    pub asker: Asker,
}

/// A ping that has ended.
pub struct Ended {
    pub phone: (Hash, Hash),
    /// It registered elsewhere, and is not here any more.
    pub has_moved: bool,
    /// `None`: it was not asked.
    pub life: Option<Life>,
    pub is_unreachable: bool,
}

struct Running {
    phone: (Hash, Hash),
    /// Who asked first.
    began: Asker,
    /// It has registered at another peer: we want to know ourselves whether it is still here.
    has_moved: bool,
    since: Instant,
    waiting: Vec<(PeerId, InboundId, Hash)>,
}

pub struct Pinger {
    key: SecretKey,
    running: BTreeMap<u64, Running>,
    /// Of these, by [`short`]: one of each phone.
    by_phone: BTreeMap<u64, u64>,
    /// Of these, of our own accord.
    looks: usize,
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
            by_phone: BTreeMap::new(),
            looks: 0,
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
        if let Some(running) = self.of_phone(phone) {
            if running.waiting.len() < WAITING_MAX {
                running.waiting.push((verifier, inbound, q.challenge));
            } else {
                self.replies.push_back((inbound, None));
            }
            return;
        }
        if self.running.len() - self.looks >= PINGS_MAX && !self.make_room(verifier) {
            return self.replies.push_back((inbound, None));
        }
        self.begin(now, phone, Asker::Verifier(verifier), vec![(verifier, inbound, q.challenge)]);
    }

    fn of_phone(&mut self, phone: (Hash, Hash)) -> Option<&mut Running> {
        let id = self.by_phone.get(&short(phone))?;
        self.running.get_mut(id).filter(|running| running.phone == phone)
    }

    fn begin(
        &mut self,
        now: Now,
        phone: (Hash, Hash),
        asker: Asker,
        waiting: Vec<(PeerId, InboundId, Hash)>,
    ) {
        self.next_id += 1;
        let has_moved = asker == Asker::Moved;
        let running = Running { phone, began: asker, has_moved, since: now.mono, waiting };
        self.running.insert(self.next_id, running);
        self.by_phone.insert(short(phone), self.next_id);
        self.looks += usize::from(!matches!(asker, Asker::Verifier(_)));
        let (aor_id, instance) = phone;
        self.pings.push_back(Ping { id: self.next_id, aor_id, instance, asker });
    }

    fn end(&mut self, id: u64) -> Option<Running> {
        let running = self.running.remove(&id)?;
        let name = short(running.phone);
        if self.by_phone.get(&name) == Some(&id) {
            self.by_phone.remove(&name);
        }
        if !matches!(running.began, Asker::Verifier(_)) {
            self.looks = self.looks.checked_sub(1).expect("each look was counted");
        }
        Some(running)
    }

    /// Ends the oldest ping of whoever has most of them under way; `false`: that is the one who asks.
    fn make_room(&mut self, verifier: PeerId) -> bool {
        let mut held: BTreeMap<PeerId, usize> = BTreeMap::new();
        let verifier_of = |running: &Running| match running.began {
            Asker::Verifier(peer) => Some(peer),
            Asker::Watch | Asker::Moved => None,
        };
        for peer in self.running.values().filter_map(verifier_of) {
            *held.entry(peer).or_default() += 1;
        }
        let most = held.iter().max_by_key(|(_, count)| **count).map(|(peer, count)| (*peer, *count));
        let Some((peer, count)) = most else { return false };
        if held.get(&verifier).copied().unwrap_or_default() + 1 >= count {
            return false;
        }
        let oldest = self.running.iter().find(|(_, r)| verifier_of(r) == Some(peer)).map(|(id, _)| *id);
        let ended = oldest.and_then(|id| self.end(id));
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
        match self.of_phone((aor_id, instance)) {
            Some(running) => running.has_moved = true,
            None => drop(self.look(now, (aor_id, instance), Asker::Moved)),
        }
    }

    /// We want to know ourselves. `false`: there is no room just now; one that is under way tells us too.
    pub fn look(&mut self, now: Now, phone: (Hash, Hash), asker: Asker) -> bool {
        debug_assert!(!matches!(asker, Asker::Verifier(_)), "others ask by a question");
        let is_under_way = self.of_phone(phone).is_some();
        if !is_under_way && self.looks < LOOKS_MAX {
            self.begin(now, phone, asker, Vec::new());
            return true;
        }
        is_under_way
    }

    /// [`Ping`] `id` has ended.
    pub fn on_pinged(&mut self, now: Now, id: u64, sign: Sign) -> Option<Ended> {
        let running = self.end(id)?;
        let (phone, name) = (running.phone, short(running.phone));
        let life = match (sign, self.answered.contains(&name)) {
            (Sign::NotAsked, _) => {
                // Whoever waits is told nothing: that we did not ask is not the phone's silence.
                self.replies.extend(running.waiting.into_iter().map(|(_, inbound, _)| (inbound, None)));
                return Some(Ended { phone, has_moved: false, life: None, is_unreachable: false });
            }
            (Sign::Life, true) => Life::Alive,
            (Sign::Life, false) => {
                self.answered.insert(Cause::OWN, name, ());
                Life::Alive
            }
            (Sign::Unreachable, _) | (Sign::Silence, true) => Life::Silent,
            (Sign::Silence, false) => Life::Unpingable,
        };
        // Verifiers seldom ask just after we looked ourselves.
        if running.began != Asker::Watch || !running.waiting.is_empty() {
            self.lately.insert(Cause::OWN, short(running.phone), Outcome { at: now, life });
        }
        for (verifier, inbound, challenge) in running.waiting {
            let word = self.word(now, running.phone, verifier, challenge, life);
            self.replies.push_back((inbound, Some(word)));
        }
        let has_moved = running.has_moved && life != Life::Alive;
        Some(Ended { phone, has_moved, life: Some(life), is_unreachable: sign == Sign::Unreachable })
    }

    /// LOG-15a: what we say ourselves of a phone of ours, for the log.
    pub fn own_word(&self, now: Now, phone: (Hash, Hash), life: Life) -> Signed {
        Signed::new(
            &self.key,
            PING_DOMAIN,
            &self.outcome(now, phone, self.key.peer_id(), Hash([0; 32]), life),
        )
    }

    fn word(&self, now: Now, phone: (Hash, Hash), verifier: PeerId, challenge: Hash, life: Life) -> Vec<u8> {
        encode(&Signed::new(&self.key, PING_DOMAIN, &self.outcome(now, phone, verifier, challenge, life)))
    }

    fn outcome(
        &self,
        now: Now,
        phone: (Hash, Hash),
        verifier: PeerId,
        challenge: Hash,
        life: Life,
    ) -> PingOutcome {
        PingOutcome {
            version: VERSION,
            serving: self.key.peer_id(),
            verifier,
            aor_id: phone.0,
            instance: phone.1,
            challenge,
            life,
            time: now.wall,
        }
    }

    pub fn poll_ping(&mut self) -> Option<Ping> {
        self.pings.pop_front()
    }

    pub fn poll_reply(&mut self) -> Option<(InboundId, Option<Vec<u8>>)> {
        self.replies.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        // In the order of their begin.
        self.running.first_key_value().map(|(_, running)| running.since + PATIENCE)
    }

    pub fn handle_timeout(&mut self, now: Now) {
        let is_lost = |(_, r): &(&u64, &Running)| r.since + PATIENCE <= now.mono;
        let lost: Vec<u64> = self.running.iter().take_while(is_lost).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(running) = self.end(id) {
                self.replies.extend(running.waiting.into_iter().map(|(_, inbound, _)| (inbound, None)));
            }
        }
    }
}
