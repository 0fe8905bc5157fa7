//! Ping verification: is the phone really there? Asked by peers that gain nothing from a lie.
//!
//! ```text
//!  verifier                         serving peer                 phone
//!     │── challenge (/dots/verify/1) ──▶│── OPTIONS ───────────────▶│
//!     │                                 │◀── any response, or none ─│
//!     │◀── PingOutcome, signed ─────────│
//!     └─ Attest into its own log
//! ```
//!
//! No verifier contacts a phone. Who verifies what is drawn by hash: the three known peers closest to
//! H(aor_id | epoch), so nobody chooses its own judges for long. The closest looks at a new binding at once, the others later and
//! all of them now and then; what they find is said only where it changes what the directory shows.

pub(crate) mod serving;
#[cfg(test)]
mod tests;
mod watch;

pub use serving::{Asker, Pinger, Question, Sign};
pub use watch::Watch;

use crate::records::{Attest, AttestKind, Event, Life, PingOutcome, event::PING_DOMAIN};
use dots_wire::{
    Allowance, Hash, Now, PeerId, Signed, Timers, Timestamp, TokenBucket,
    bounded::{Cache, Cause, Limits},
    decode, encode, sha256,
};
use rand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// LOG-19: verifiers of one binding.
pub const VERIFIERS: usize = 3;
/// The draw changes this often.
const EPOCH: Duration = Duration::from_secs(3600);
/// Bindings that this peer watches. Each is charged to its realm at its serving peer: whoever has bound most is watched least.
pub(crate) const WATCHED: Limits = Limits::new(8 * 1024 * 1024, 50_000);
/// Challenges under way.
pub(crate) const ASKED_MAX: usize = 32;
/// Challenges in all, so that what we attest stays under what others let an author attest (LOG-13).
const ASKS: Allowance = Allowance::new(3.0, 900.0);
/// A new binding is looked at by the first verifier after this much and up to twice that: its serving peer's log has then spread.
const FIRST: Duration = Duration::from_millis(100);
/// LOG-21a: by the others after this much: by then the first has spoken, and what they find is seldom news.
const LATER: Duration = Duration::from_secs(10);
/// LOG-21: then again about this often; where nothing came of it sooner.
const AGAIN: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(30);
/// A challenge that nobody answers is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// An outcome is from now, give or take a clock.
const SKEW: Duration = Duration::from_secs(60);

/// A binding: (aor_id, instance, serving).
pub type Watched = (Hash, Hash, PeerId);
/// Its row in the directory, by which it is remembered here.
pub type Row = u64;

pub struct Challenge {
    pub id: u64,
    pub peer: PeerId,
    pub body: Vec<u8>,
}

struct Asked {
    row: Row,
    what: Watched,
    challenge: Hash,
    since: Instant,
}

/// The verifier's side.
pub struct Verifier {
    me: PeerId,
    due: Timers<Row>,
    watched: Cache<Row, ()>,
    asked: BTreeMap<u64, Asked>,
    purse: TokenBucket,
    next_id: u64,
    out: VecDeque<Challenge>,
}

impl Verifier {
    pub fn new(me: PeerId) -> Verifier {
        Verifier {
            me,
            due: Timers::default(),
            watched: Cache::new(WATCHED),
            asked: BTreeMap::new(),
            purse: TokenBucket::default(),
            next_id: 0,
            out: VecDeque::new(),
        }
    }

    /// A binding of another peer is there, and its home says so. `cause`: the realm, and the peer that serves it. `place`: ours
    /// among its verifiers.
    pub fn on_granted(&mut self, now: Now, row: Row, cause: Cause, place: Option<usize>, rng: &mut impl Rng) {
        if self.due.deadline(&row).is_some() {
            return;
        }
        let watched = self.watched.insert(cause, row, ());
        for (other, ()) in watched.evicted {
            self.due.cancel(&other);
        }
        if watched.is_stored {
            let after = match place {
                Some(0) => FIRST,
                Some(_) => LATER,
                None => AGAIN,
            };
            self.schedule(now, row, after, rng);
        }
    }

    /// Nothing stands in this row any more, or nothing that is watched.
    fn leave(&mut self, row: Row) {
        self.watched.remove(&row);
    }

    fn schedule(&mut self, now: Now, row: Row, after: Duration, rng: &mut impl Rng) {
        // It was pushed out while it was asked about.
        if !self.watched.contains(&row) {
            return;
        }
        // Spread, so that three verifiers of a thousand bindings do not ask at once.
        self.due.set(row, now.mono + after + after.mul_f64(rng.random::<f64>()));
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.due.poll_timeout().filter(|_| self.asked.len() < ASKED_MAX);
        let patience = self.asked.values().map(|a| a.since + PATIENCE).min();
        next.into_iter().chain(patience).min()
    }

    /// Asks about what is due, if it is still bound and we are among its verifiers of this epoch. `peers`: all that we
    /// are connected to. `binding`: what stands in a row; `None`: nothing that a home granted.
    pub fn handle_timeout(
        &mut self,
        now: Now,
        rng: &mut impl Rng,
        peers: &BTreeSet<PeerId>,
        binding: impl Fn(Row) -> Option<Watched>,
    ) {
        let lost: Vec<u64> =
            self.asked.iter().filter(|(_, a)| a.since + PATIENCE <= now.mono).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(asked) = self.asked.remove(&id) {
                self.schedule(now, asked.row, SOON, rng);
            }
        }
        while self.asked.len() < ASKED_MAX {
            let Some(row) = self.due.expired(now.mono) else { return };
            let Some(what) = binding(row) else {
                self.leave(row);
                continue;
            };
            if !peers.contains(&what.2) || place_of(self.me, peers, &what, now.wall).is_none() {
                self.schedule(now, row, AGAIN, rng);
            } else if self.purse.take(now.mono, ASKS, 1.0) {
                self.ask(now, row, what, rng);
            } else {
                self.schedule(now, row, SOON, rng);
            }
        }
    }

    fn ask(&mut self, now: Now, row: Row, what: Watched, rng: &mut impl Rng) {
        let challenge = Hash(rng.random());
        let (aor_id, instance, peer) = what;
        self.next_id += 1;
        self.asked.insert(self.next_id, Asked { row, what, challenge, since: now.mono });
        let body = encode(&Question { version: serving::VERSION, aor_id, instance, challenge });
        self.out.push_back(Challenge { id: self.next_id, peer, body });
    }

    pub fn poll_challenge(&mut self) -> Option<Challenge> {
        self.out.pop_front()
    }

    /// The answer to [`Challenge`] `id`; what we may then attest.
    pub fn on_response(
        &mut self,
        now: Now,
        id: u64,
        body: Option<&[u8]>,
        rng: &mut impl Rng,
    ) -> Option<(Watched, Life, Event)> {
        let asked = self.asked.remove(&id)?;
        let checked = body.and_then(|b| self.check(now, &asked, b));
        let Some((proof, life)) = checked else {
            // No answer is not the phone's silence: its serving peer may be busy or gone.
            self.schedule(now, asked.row, SOON, rng);
            return None;
        };
        match life {
            Life::Alive | Life::Unpingable | Life::Silent => self.schedule(now, asked.row, AGAIN, rng),
            Life::Gone => self.leave(asked.row),
        }
        Some((asked.what, life, Event::Attest(Attest { kind: AttestKind::ServingAlive, proof })))
    }

    fn check(&self, now: Now, asked: &Asked, body: &[u8]) -> Option<(Signed, Life)> {
        let proof: Signed = decode(body).ok()?;
        let outcome: PingOutcome = proof.peek().ok()?;
        let (aor_id, instance, serving) = asked.what;
        let fits = outcome.version == serving::VERSION
            && outcome.serving == serving
            && outcome.verifier == self.me
            && (outcome.aor_id, outcome.instance) == (aor_id, instance)
            && outcome.challenge == asked.challenge
            && outcome.time.since(now.wall).max(now.wall.since(outcome.time)) <= SKEW;
        if !fits || proof.verify(&serving.0, PING_DOMAIN).is_err() {
            return None;
        }
        Some((proof, outcome.life))
    }
}

/// How many of `peers`, the serving peer aside, are closer than `me` to the binding's place in this epoch; `None`: so many that we
/// are no verifier of it.
pub fn place_of(me: PeerId, peers: &BTreeSet<PeerId>, what: &Watched, wall: Timestamp) -> Option<usize> {
    let epoch = wall.0 / u64::try_from(EPOCH.as_millis()).unwrap_or(u64::MAX);
    let place = sha256(&[&what.0.0[..], &epoch.to_be_bytes()].concat());
    let distance = |p: &PeerId| {
        let at = sha256(&p.to_bytes());
        Hash(std::array::from_fn(|i| at.0[i] ^ place.0[i]))
    };
    let mine = distance(&me);
    let closer = peers.iter().filter(|p| **p != what.2 && **p != me && distance(p) < mine).count();
    (me != what.2 && closer < VERIFIERS).then_some(closer)
}
