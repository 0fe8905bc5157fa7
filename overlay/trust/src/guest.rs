//! The serving side: challenges for phones, from leases of their homes (design §3.4).
//!
//! AUTH-1: a serving peer never sees a password. It makes nonces from the lease of a realm's home, one lease for all phones, without
//! asking and without remembering what it gave; and it returns an answer to the home whose lease it names. At home it is the
//! same, with the home as its own serving peer.
//!
//! ```text
//!   challenge ─ a fresh lease? ─ yes ─▶ nonce          (older than 120 s: ask for the next beside it)
//!                              └ no ──▶ wait, at most 2 s, in a place charged to the phone's network ─▶ nonce | "not now"
//! ```

use crate::lease::{Lease, LeaseMac, Nonce, Stamp};
use dots_wire::{
    PeerId,
    bounded::{Cache, Cause, Limits, Promises, Standing, Weight},
};
use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

/// A lease that is older is renewed, and one that is older still is not used: the phone needs the rest of its 300 s.
const RENEW_AFTER: Duration = Duration::from_secs(120);
const USE_UNTIL: Duration = Duration::from_secs(200);
/// Answers come back under a lease for so long.
const REMEMBER: Duration = Duration::from_secs(330);
/// A home that takes no answer under a lease has started anew, or was shown an answer twice. Which it was nobody says, so the next
/// lease is asked for, but not more often than this.
const DOUBT_AFTER: Duration = Duration::from_secs(1);
/// A home that gave none is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long a phone waits for the home's answer.
const WAIT: Duration = Duration::from_secs(2);
/// Leases of one realm that answers may name: several homes, the last one and the next.
const LEASES_MAX: usize = 8;
pub(crate) const REALMS: Limits = Limits::new(4 << 20, 4_096);
pub(crate) const WAITING: Limits = Limits::new(1 << 20, 4_096);

/// What a phone gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    Nonce(String),
    /// It comes back with [`Guest::leased`] or [`Guest::poll_expired`].
    Waits,
    /// Its network waits in too many places.
    Refused,
}

pub struct Guest<Id> {
    stamp: Stamp,
    realms: Cache<String, Realm>,
    waiting: Promises<u64, Waiter<Id>>,
    by_age: VecDeque<(Instant, u64)>,
    last: u64,
}

#[derive(Default)]
struct Realm {
    /// Newest last.
    leases: Vec<(Instant, PeerId, Lease)>,
    /// From the newest no more nonces are made.
    is_doubted: bool,
    is_asking: bool,
    ask_after: Option<Instant>,
}

impl Weight for Realm {
    fn heap_bytes(&self) -> usize {
        LEASES_MAX * size_of::<(Instant, PeerId, Lease)>()
    }
}

struct Waiter<Id> {
    id: Id,
    realm: String,
    phone: IpAddr,
}

impl<Id> Weight for Waiter<Id> {
    fn heap_bytes(&self) -> usize {
        self.realm.len()
    }
}

impl<Id> Guest<Id> {
    pub fn new(stamp: Stamp) -> Guest<Id> {
        let (realms, waiting) = (Cache::new(REALMS), Promises::new(WAITING));
        Guest { stamp, realms, waiting, by_age: VecDeque::new(), last: 0 }
    }

    /// A nonce of `realm` for the phone at this address.
    pub fn challenge(&mut self, now: Instant, realm: &str, phone: IpAddr, id: Id) -> Offer {
        if let Some(nonce) = self.nonce(now, realm, phone) {
            return Offer::Nonce(nonce);
        }
        let cause = Cause::new(Standing::Other).from(phone);
        self.last += 1;
        match self.waiting.insert(cause, self.last, Waiter { id, realm: realm.to_owned(), phone }) {
            Ok(_) => {
                self.by_age.push_back((now + WAIT, self.last));
                Offer::Waits
            }
            Err(_) => Offer::Refused,
        }
    }

    fn nonce(&mut self, now: Instant, realm: &str, phone: IpAddr) -> Option<String> {
        let known = self.realms.get(realm)?;
        let (at, _, lease) = *known.leases.last()?;
        let is_fresh = now.saturating_duration_since(at) < USE_UNTIL && !known.is_doubted;
        is_fresh.then(|| self.stamp.nonce(&lease, phone))
    }

    /// Is it time to ask for a lease, for a phone at this address? At most one question per realm is under way.
    pub fn wants_lease(&mut self, now: Instant, realm: &str, phone: IpAddr) -> bool {
        if !self.realms.contains(realm) {
            let cause = Cause::new(Standing::Other).from(phone).of_realm(realm.as_bytes());
            if !self.realms.insert(cause, realm.to_owned(), Realm::default()).is_stored {
                return false;
            }
        }
        let Some(known) = self.realms.get_mut(realm) else { return false };
        let is_young =
            |(at, _, _): &(Instant, PeerId, Lease)| now.saturating_duration_since(*at) < RENEW_AFTER;
        let wants = !known.is_asking
            && known.ask_after.is_none_or(|at| at <= now)
            && (known.is_doubted || !known.leases.last().is_some_and(is_young));
        known.is_asking |= wants;
        wants
    }

    /// The home has answered, or not. Whoever waited for this realm, with a nonce or without.
    pub fn leased(
        &mut self,
        now: Instant,
        realm: &str,
        home: PeerId,
        lease: Option<Lease>,
    ) -> Vec<(Id, Option<String>)> {
        if let Some(known) = self.realms.get_mut(realm) {
            known.is_asking = false;
            known.ask_after = lease.is_none().then(|| now + ASK_AGAIN);
            if let Some(lease) = lease {
                known.leases.retain(|(at, _, _)| now.saturating_duration_since(*at) < REMEMBER);
                if known.leases.len() >= LEASES_MAX {
                    known.leases.remove(0);
                }
                known.leases.push((now, home, lease));
                known.is_doubted = false;
            }
        }
        let theirs = self.waiting.iter().filter(|(_, w)| w.realm == realm).map(|(n, _)| *n);
        let mut served = Vec::new();
        for number in theirs.collect::<Vec<_>>() {
            if let Some(Waiter { id, phone, .. }) = self.waiting.remove(&number) {
                served.push((id, self.nonce(now, realm, phone)));
            }
        }
        while self.by_age.front().is_some_and(|(_, number)| !self.waiting.contains(number)) {
            self.by_age.pop_front();
        }
        served
    }

    /// Whoever has waited long enough.
    pub fn poll_expired(&mut self, now: Instant) -> Option<Id> {
        while let Some((_, number)) = self.by_age.front().copied().filter(|(at, _)| *at <= now) {
            self.by_age.pop_front();
            if let Some(waiter) = self.waiting.remove(&number) {
                return Some(waiter.id);
            }
        }
        None
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.by_age.front().map(|(at, _)| *at)
    }

    /// The home whose lease this nonce names, if we gave it to this very phone. `None`: an old one, or another's.
    pub fn judge_of(&self, realm: &str, nonce: &str, phone: IpAddr) -> Option<PeerId> {
        let nonce = Nonce::read(nonce)?;
        // Garbage names no lease: nothing is hashed for it.
        let mut leases = self.realms.get(realm)?.leases.iter();
        let (_, home, _) = leases.find(|(_, _, lease)| *lease == nonce.lease)?;
        self.stamp.is_given_to(&nonce, phone).then_some(*home)
    }

    /// Did we give this nonce to the phone at this address?
    pub fn is_given_to(&self, nonce: &str, phone: IpAddr) -> bool {
        Nonce::read(nonce).is_some_and(|nonce| self.stamp.is_given_to(&nonce, phone))
    }

    /// Its home took no answer with this nonce: it was started anew, or the answer was there before. Nothing more is made from
    /// its lease. What was made may be right all the same and is passed on: else whoever repeats his own answer would shut out
    /// all phones of his realm.
    pub fn doubt(&mut self, now: Instant, realm: &str, nonce: &str) {
        let named: Option<LeaseMac> = Nonce::read(nonce).map(|nonce| nonce.lease.mac());
        let Some(known) = self.realms.get_mut(realm) else { return };
        known.is_doubted |= known.leases.last().is_some_and(|(at, _, lease)| {
            Some(lease.mac()) == named && now.saturating_duration_since(*at) >= DOUBT_AFTER
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Lessor;
    use dots_wire::{SecretKey, Timestamp};

    fn key(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar")
    }
    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }
    fn lease(n: u8) -> Option<Lease> {
        Some(Lessor::new(&key(1), [1; 16]).lease(key(2).peer_id(), Timestamp(1), [n; 8]))
    }
    fn guest() -> Guest<u32> {
        Guest::new(Stamp::new(&key(2), [3; 16]))
    }

    /// AUTH-1, AUTH-7.
    #[test]
    fn one_lease_serves_all_phones() {
        let (mut guest, t0, home) = (guest(), Instant::now(), key(1).peer_id());
        let phones = [ip("192.0.2.1"), ip("192.0.2.2")];
        for (id, phone) in (1..).zip(phones) {
            assert_eq!(guest.challenge(t0, "b.test", phone, id), Offer::Waits);
        }
        assert!(guest.wants_lease(t0, "b.test", phones[0]));
        assert!(!guest.wants_lease(t0, "b.test", phones[1]), "one question at a time");
        let served = guest.leased(t0, "b.test", home, lease(7));
        assert_eq!(
            served.iter().map(|(id, nonce)| (*id, nonce.is_some())).collect::<Vec<_>>(),
            [(1, true), (2, true)]
        );
        for n in 0..1_000 {
            assert!(matches!(guest.challenge(t0, "b.test", phones[0], n), Offer::Nonce(_)));
            assert!(!guest.wants_lease(t0, "b.test", phones[0]));
        }
        let nonce = served[0].1.as_deref().expect("a nonce");
        assert_eq!(guest.judge_of("b.test", nonce, phones[0]), Some(home));
        assert_eq!(guest.judge_of("b.test", nonce, phones[1]), None, "given to another address");
        assert_eq!(guest.judge_of("c.test", nonce, phones[0]), None, "of another realm");
        assert_eq!(guest.poll_timeout(), None, "nobody waits");
    }

    #[test]
    fn a_lease_is_renewed_in_time_and_forgotten_when_its_home_was_started_anew() {
        let (mut guest, t0, home, phone) = (guest(), Instant::now(), key(1).peer_id(), ip("192.0.2.1"));
        assert!(guest.wants_lease(t0, "b.test", phone));
        guest.leased(t0, "b.test", home, lease(1));
        let Offer::Nonce(first) = guest.challenge(t0, "b.test", phone, 1) else { panic!("a nonce") };
        let old = t0 + RENEW_AFTER;
        assert!(matches!(guest.challenge(old, "b.test", phone, 2), Offer::Nonce(_)), "still good");
        assert!(guest.wants_lease(old, "b.test", phone));
        guest.leased(old, "b.test", home, None);
        assert!(!guest.wants_lease(old, "b.test", phone), "not at once again");
        assert!(guest.wants_lease(old + ASK_AGAIN, "b.test", phone));
        guest.leased(old + ASK_AGAIN, "b.test", home, lease(2));
        assert_eq!(guest.judge_of("b.test", &first, phone), Some(home), "an answer to the one before");
        let Offer::Nonce(second) = guest.challenge(old, "b.test", phone, 3) else { panic!("a nonce") };
        let late = old + ASK_AGAIN + DOUBT_AFTER;
        guest.doubt(late, "b.test", &second);
        assert_eq!(guest.challenge(late, "b.test", phone, 4), Offer::Waits, "nothing is made of it");
        assert!(guest.wants_lease(late, "b.test", phone));
        let served = guest.leased(late, "b.test", home, lease(3));
        assert!(matches!(&served[..], [(4, Some(_))]));
    }

    /// Whoever repeats his own answer, which his home calls stale, takes no nonce from the phones beside him.
    #[test]
    fn a_repeated_answer_shuts_nobody_out() {
        for every in [1, 20, 150] {
            let (mut guest, t0, home, phone) = (guest(), Instant::now(), key(1).peer_id(), ip("192.0.2.1"));
            let (mut leases, mut own, mut waiting) = (0, None::<String>, VecDeque::new());
            for tick in 0..1_000u32 {
                let now = t0 + Duration::from_millis(20) * tick;
                if guest.wants_lease(now, "b.test", phone) {
                    leases += 1;
                    guest.leased(now, "b.test", home, lease(leases));
                }
                // The one who repeats himself, and honest phones that take half a second to answer.
                if let Some(nonce) = own.as_ref().filter(|_| tick % every == 0) {
                    guest.doubt(now, "b.test", nonce);
                }
                if let Offer::Nonce(nonce) = guest.challenge(now, "b.test", phone, tick) {
                    waiting.push_back((tick + 25, nonce.clone()));
                    own = Some(nonce);
                }
                while let Some((_, nonce)) = waiting.pop_front_if(|(due, _)| *due <= tick) {
                    let judge = guest.judge_of("b.test", &nonce, phone);
                    assert_eq!(judge, Some(home), "{tick}, every {every}: no answer is lost");
                }
            }
            assert!(waiting.len() >= 24, "nobody is kept waiting for a nonce");
            assert!(leases <= 21, "{leases}: one a second at most");
        }
    }

    #[test]
    fn who_waits_is_told_after_two_seconds_and_a_flood_waits_alone() {
        let (mut guest, t0) = (guest(), Instant::now());
        let flood = (0..10_000)
            .filter(|n| guest.challenge(t0, "b.test", ip("192.0.2.1"), *n) == Offer::Waits)
            .count();
        assert!(flood < 4_096, "{flood}");
        assert_eq!(guest.challenge(t0, "b.test", ip("198.51.100.1"), 77_777), Offer::Waits);
        assert_eq!(guest.poll_expired(t0 + WAIT - Duration::from_millis(1)), None);
        assert_eq!(guest.poll_timeout(), Some(t0 + WAIT));
        let told: Vec<u32> = std::iter::from_fn(|| guest.poll_expired(t0 + WAIT)).collect();
        assert_eq!((told.len(), told.last()), (flood + 1, Some(&77_777)));
        assert!(guest.waiting.is_empty());
    }
}
