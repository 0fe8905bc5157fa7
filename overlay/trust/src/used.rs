//! Which answers were given already: (lease, counter) with the highest count under it (RFC 7616 §3.4: nc must rise).
//!
//! Right answers only are remembered, so that guesses cost no place. Each is charged to the account that gave it, wherever it
//! did, and to the network that it came from: whoever answers too often is refused alone, for the table is one of promises.
//! Half of it is for answers that are given at home: what comes through other peers shuts no phone out of its home.
//!
//! Answers are kept under their lease: what was answered under a lease that is over is stale before it is looked for, so it
//! leaves in one piece, and an answer costs its counter, its count and who pays.

use crate::{
    brakes::Via,
    lease::{LEASE_LIFE, LeaseMac},
};
use dots_wire::{
    Timestamp,
    bounded::{Book, Cause, Limits, Standing},
};
use std::collections::{BTreeMap, VecDeque};

/// Nonces answered within 300 s: 600 a second (few in tests, which fill it). A place takes about 90 bytes.
const PLACES: usize = if cfg!(test) { 2_000 } else { 200_000 };
pub(crate) const LIMITS: Limits = Limits::new(PLACES * 90, PLACES).reserving([0, 500, 0, 0]);
/// Answers of an old lease that leave with each new one, so that no moment pays for all of them.
const LEAVING: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    First,
    /// This count, or a higher one, was there before.
    Replayed,
    /// This account, or the network that it answers from, has used up its share.
    OverShare,
}

/// The answers under one nonce.
struct Answers {
    is_home: bool,
    network: u64,
    account: u64,
    /// The highest count.
    count: u32,
}

impl Answers {
    fn cause(&self) -> Cause {
        // All are for accounts of this home, so the realm says nothing: an account is one, whichever network it answers from.
        // Each account has a share at home too, so it is not `Own`, who has none.
        let standing = if self.is_home { Standing::Trusted } else { Standing::Other };
        Cause { standing, network: self.network, realm: self.account, who: self.account }
    }
}

/// By counter.
type Answered = BTreeMap<u64, Answers>;

pub struct Used {
    leases: BTreeMap<LeaseMac, Answered>,
    /// When each lease was first answered under: it was given before, so it is stale when it leaves.
    by_age: VecDeque<(Timestamp, LeaseMac)>,
    leaving: VecDeque<Answered>,
    book: Book,
}

impl Default for Used {
    fn default() -> Used {
        let (leases, by_age, leaving) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Used { leases, by_age, leaving, book: Book::new(LIMITS) }
    }
}

impl Used {
    pub fn take(
        &mut self,
        now: Timestamp,
        (lease, counter, count): (LeaseMac, u64, u32),
        account: &str,
        via: &Via,
    ) -> Use {
        self.sweep(now);
        let answered = self.leases.get_mut(&lease);
        if let Some(answers) = answered.and_then(|answered| answered.get_mut(&counter)) {
            if answers.count >= count {
                return Use::Replayed;
            }
            answers.count = count;
            return Use::First;
        }
        let (is_home, network) = (via.is_home, via.network);
        let answers = Answers { is_home, network, account: Cause::name(account.as_bytes()), count };
        let (cause, weight) = (answers.cause(), self.book.weight(0));
        if self.book.admits(cause, weight).is_err() {
            return Use::OverShare;
        }
        self.book.charge(cause, weight);
        let answered = self.leases.entry(lease).or_insert_with(|| {
            self.by_age.push_back((now, lease));
            Answered::new()
        });
        answered.insert(counter, answers);
        Use::First
    }

    fn sweep(&mut self, now: Timestamp) {
        while let Some((_, lease)) = self.by_age.front().filter(|(at, _)| now.since(*at) > LEASE_LIFE) {
            self.leaving.extend(self.leases.remove(lease));
            self.by_age.pop_front();
        }
        for _ in 0..LEAVING {
            let Some(oldest) = self.leaving.front_mut() else { return };
            match oldest.pop_first() {
                Some((_, answers)) => self.book.discharge(answers.cause(), self.book.weight(0)),
                None => drop(self.leaving.pop_front()),
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.leases.values().chain(&self.leaving).map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::{Hash, SecretKey};
    use std::time::Duration;

    fn via(network: u64) -> Via {
        let serving = SecretKey::from_bytes(&[2; 32]).expect("a scalar").peer_id();
        Via { serving, is_home: false, source: Hash([1; 32]), network }
    }

    fn at_home(network: u64) -> Via {
        Via { is_home: true, ..via(network) }
    }

    #[test]
    fn counts_rise_and_are_forgotten_with_their_lease() {
        let (mut used, t0) = (Used::default(), Timestamp(1_000_000));
        let late = t0.plus(LEASE_LIFE + Duration::from_secs(1));
        for (why, at, counter, count, expected) in [
            ("first", t0, 1, 1, Use::First),
            ("again", t0, 1, 1, Use::Replayed),
            ("with a gap", t0, 1, 3, Use::First),
            ("in it", t0, 1, 2, Use::Replayed),
            ("another nonce of the lease", t0, 2, 1, Use::First),
            ("its lease is over, and the lease's check says so", late, 1, 1, Use::First),
        ] {
            assert_eq!(used.take(at, ([7; 16], counter, count), "a@a.net", &via(2)), expected, "{why}");
        }
        assert_eq!(used.len(), 1);
    }

    /// Attack 7: somebody answers as fast as he can. (why, who answers and whence)
    #[test]
    fn who_answers_without_end_is_refused_alone() {
        type Flood = fn(u64) -> (String, Via);
        let floods: [(&str, Flood, std::ops::Range<usize>); 5] = [
            ("one account through one peer", |_| ("eve@a.net".into(), via(2)), 400..600),
            ("one account through a thousand peers", |n| ("eve@a.net".into(), via(n % 1_000)), 400..600),
            ("many accounts through one network", |n| (format!("eve{n}@a.net"), via(2)), 800..950),
            ("one account at home", |_| ("eve@a.net".into(), at_home(9)), 900..1_100),
            ("one account at home from everywhere", |n| ("eve@a.net".into(), at_home(n)), 900..1_100),
        ];
        for (why, flood, share) in floods {
            let (mut used, t0) = (Used::default(), Timestamp(1_000_000));
            let mut take = |n: u64, who: &str, via: Via| used.take(t0, ([7; 16], n, 1), who, &via);
            let taken = (0..5_000).filter(|n| {
                let (who, via) = flood(*n);
                take(*n, &who, via) == Use::First
            });
            let taken = taken.count();
            assert!(share.contains(&taken), "{why}: {taken}");
            for n in 0..40 {
                let who = format!("phone{n}@a.net");
                assert_eq!(take(1_000_000 + n, &who, at_home(1)), Use::First, "{why}: at home");
                assert_eq!(take(2_000_000 + n, &who, via(5_000)), Use::First, "{why}: through another peer");
            }
        }
    }

    /// What a lease that is over held is given back to the last place, a few at a time, and a full table empties itself.
    #[test]
    fn places_come_back_when_a_lease_is_over() {
        let (mut used, t0) = (Used::default(), Timestamp(1_000_000));
        let name = |n: u64| format!("user{n}@a.net");
        let taken = (0..3_000)
            .filter(|n| used.take(t0, ([7; 16], *n, 1), &name(*n), &at_home(*n)) == Use::First)
            .count();
        assert!(taken > 1_700, "{taken}");
        let late = t0.plus(LEASE_LIFE + Duration::from_secs(1));
        for n in 0..400 {
            assert_ne!(used.take(late, ([8; 16], n, 1), &name(n), &at_home(n)), Use::Replayed);
        }
        assert!(used.leaving.is_empty());
        assert_eq!(used.book.bytes(), used.len() * used.book.weight(0));
        assert!(used.len() > 300, "{}", used.len());
    }
}
