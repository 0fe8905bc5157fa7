//! Which answers were given already: (lease, counter) with the highest count under it (RFC 7616 §3.4: nc must rise).
//!
//! Right answers only are remembered, so that guesses cost no place. Each is charged to the account that gave it and the
//! serving peer that brought it: whoever answers too often is refused alone, for the table is one of promises.

use crate::lease::{LEASE_LIFE, LeaseMac};
use dots_wire::{
    PeerId, Timestamp,
    bounded::{Cause, Limits, Promises, Standing, Weight},
};
use std::collections::VecDeque;

/// Nonces answered within 300 s: 600 a second (few in tests, which fill it). A place takes about 200 bytes.
const PLACES: usize = if cfg!(test) { 2_000 } else { 200_000 };
const LIMITS: Limits = Limits::new(PLACES * 200, PLACES);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(LeaseMac, u64);

impl Weight for Key {
    fn heap_bytes(&self) -> usize {
        0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    First,
    /// This count, or a higher one, was there before.
    Replayed,
    /// This account, or this serving peer, has used up its share.
    OverShare,
}

pub struct Used {
    counts: Promises<Key, u32>,
    by_age: VecDeque<(Timestamp, Key)>,
}

impl Default for Used {
    fn default() -> Used {
        Used { counts: Promises::new(LIMITS), by_age: VecDeque::new() }
    }
}

impl Used {
    pub fn take(
        &mut self,
        now: Timestamp,
        (lease, counter, count): (LeaseMac, u64, u32),
        account: &str,
        serving: PeerId,
    ) -> Use {
        // First used later than it was leased, so it is stale when it leaves.
        while self.by_age.front().is_some_and(|(at, _)| now.since(*at) > LEASE_LIFE) {
            if let Some((_, old)) = self.by_age.pop_front() {
                self.counts.remove(&old);
            }
        }
        let key = Key(lease, counter);
        if let Some(seen) = self.counts.get_mut(&key) {
            if *seen >= count {
                return Use::Replayed;
            }
            *seen = count;
            return Use::First;
        }
        let cause = Cause { network: Cause::name(&serving.to_bytes()), ..Cause::new(Standing::Other) };
        match self.counts.insert(cause.by(account.as_bytes()), key, count) {
            Ok(_) => {
                self.by_age.push_back((now, key));
                Use::First
            }
            Err(_) => Use::OverShare,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;
    use std::time::Duration;

    fn peer(n: u8) -> PeerId {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
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
            assert_eq!(used.take(at, ([7; 16], counter, count), "a@a.net", peer(2)), expected, "{why}");
        }
        assert_eq!(used.counts.len(), 1);
    }

    /// Attack 7: one account holder answers as fast as he can.
    #[test]
    fn one_who_answers_without_end_is_refused_alone() {
        let (mut used, t0) = (Used::default(), Timestamp(1_000_000));
        let eve = |used: &mut Used, n| used.take(t0, ([7; 16], n, 1), "eve@a.net", peer(2));
        let taken = (0..3_000).filter(|n| eve(&mut used, *n) == Use::First).count();
        assert!((900..1_500).contains(&taken), "{taken}");
        for (n, serving) in [(1_000_000, peer(2)), (1_000_001, peer(3))] {
            assert_eq!(used.take(t0, ([8; 16], n, 1), "alice@a.net", serving), Use::First);
        }
    }
}
