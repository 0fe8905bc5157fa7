//! The serving side of a brake: whose answers are worth a question to their home (AUTH-6a).
//!
//! A home brakes by what it sees, which is the serving peer. So that one guesser does not spend what a home allows to all
//! phones here, his serving peer stops him first: after three wrong answers for accounts of one realm a network of phones has
//! one try in ten seconds. An address from which an account was right of late is asked about all the same: an office with
//! one old password in it is no guesser. And what a home answers to one peer in a second has an end, also for right answers: so no
//! network of phones asks for more than a part of it.

use crate::lease::place;
use dots_wire::{
    Allowance, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, network_of},
};
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

const WRONG: Allowance = Allowance::new(0.1, 3.0);
pub(crate) const BUCKETS: Limits = Limits::new(4 << 20, 25_000);
/// Accounts that were right, each at an address.
pub(crate) const RIGHT: Limits = Limits::new(8 << 20, 50_000);
const RIGHT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Questions that one network of phones makes us ask of homes: half of what one home answers.
const ASKED: Allowance = Allowance::new(1_000.0, 2_000.0);
pub(crate) const ASKING: Limits = Limits::new(1 << 20, 8_192);

pub struct Visitors {
    /// By network and realm.
    wrong: Cache<(u64, u64), TokenBucket>,
    /// By account and address.
    right: Cache<u64, Instant>,
    /// By network.
    asked: Cache<u64, TokenBucket>,
}

impl Default for Visitors {
    fn default() -> Visitors {
        Visitors { wrong: Cache::new(BUCKETS), right: Cache::new(RIGHT), asked: Cache::new(ASKING) }
    }
}

impl Visitors {
    /// Is the answer of a phone at this address for `account` to be returned to its home?
    pub fn may_ask(&mut self, now: Instant, account: &str, phone: IpAddr) -> bool {
        let lately = |at: &Instant| now.saturating_duration_since(*at) < RIGHT_FOR;
        let bucket = self.wrong.get(&(network_of(phone), realm(account)));
        let is_heard = bucket.is_none_or(|bucket| bucket.has(now, WRONG, 1.0))
            || self.right.get(&at(account, phone)).is_some_and(lately);
        is_heard && self.take(now, phone)
    }

    fn take(&mut self, now: Instant, phone: IpAddr) -> bool {
        let network = network_of(phone);
        if let Some(bucket) = self.asked.get_mut(&network) {
            return bucket.take(now, ASKED, 1.0);
        }
        let mut bucket = TokenBucket::default();
        let may = bucket.take(now, ASKED, 1.0);
        self.asked.insert(Cause::new(Standing::Other).from(phone), network, bucket);
        may
    }

    pub fn was_wrong(&mut self, now: Instant, account: &str, phone: IpAddr) {
        let key = (network_of(phone), realm(account));
        if let Some(bucket) = self.wrong.get_mut(&key) {
            return bucket.charge(now, WRONG, 1.0);
        }
        let mut bucket = TokenBucket::default();
        bucket.charge(now, WRONG, 1.0);
        self.wrong.insert(Cause::new(Standing::Other).from(phone), key, bucket);
    }

    pub fn was_right(&mut self, now: Instant, account: &str, phone: IpAddr) {
        let cause = Cause::new(Standing::Other).from(phone).by(account.as_bytes());
        self.right.insert(cause, at(account, phone), now);
    }

    /// Forgets buckets that are full again.
    pub fn sweep(&mut self, now: Instant) {
        self.wrong.retain(|_, bucket| !bucket.is_full(now, WRONG));
        self.asked.retain(|_, bucket| !bucket.is_full(now, ASKED));
    }
}

fn realm(account: &str) -> u64 {
    Cause::name(account.rsplit_once('@').map_or(account, |(_, realm)| realm).as_bytes())
}

fn at(account: &str, phone: IpAddr) -> u64 {
    Cause::name(&[account.as_bytes(), &[0], &place(phone)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// AUTH-6a.
    #[test]
    fn a_guesser_is_stopped_and_the_phones_beside_him_are_not() {
        let (mut visitors, t0) = (Visitors::default(), Instant::now());
        let (eve, office) = (ip("192.0.2.9"), ip("192.0.2.7"));
        visitors.was_right(t0, "alice@a.test", office);
        let mut asked = 0;
        for tick in 0..600u32 {
            let now = t0 + Duration::from_millis(100) * tick;
            let name = format!("name{tick}@a.test");
            if visitors.may_ask(now, &name, eve) {
                asked += 1;
                visitors.was_wrong(now, &name, eve);
            }
            assert!(visitors.may_ask(now, "alice@a.test", office), "she was right there");
            assert!(visitors.may_ask(now, "carol@a.test", ip("198.51.100.1")), "another network");
            assert!(visitors.may_ask(now, "carol@b.test", office), "another realm");
        }
        assert!((8..=10).contains(&asked), "{asked} in a minute");
        let later = t0 + Duration::from_secs(200);
        visitors.sweep(later);
        assert!(visitors.wrong.is_empty() && visitors.may_ask(later, "new@a.test", eve));
    }

    /// Right answers are no guesses; but what a home answers to this peer is for all who sit here.
    #[test]
    fn one_network_asks_for_half_of_what_a_home_answers() {
        let (mut visitors, t0) = (Visitors::default(), Instant::now());
        let mut asked = 0;
        for tick in 0..10_000u32 {
            let now = t0 + Duration::from_millis(1) * tick;
            for n in 0..3 {
                let address = ip(&format!("192.0.2.{n}"));
                asked += u32::from(visitors.may_ask(now, &format!("{n}@a.test"), address));
            }
            assert!(visitors.may_ask(now, "alice@a.test", ip("198.51.100.1")), "another network");
        }
        assert!((11_900..=12_100).contains(&asked), "{asked} in ten seconds");
        visitors.sweep(t0 + Duration::from_secs(60));
        assert!(visitors.asked.is_empty());
    }

    #[test]
    fn one_network_flushes_nobody_elses_bucket() {
        let (mut visitors, t0) = (Visitors::default(), Instant::now());
        for _ in 0..3 {
            visitors.was_wrong(t0, "x@a.test", ip("192.0.2.9"));
        }
        for n in 0..60_000u32 {
            visitors.was_wrong(t0, &format!("x@{n}.test"), ip("198.51.100.1"));
        }
        assert!(!visitors.may_ask(t0, "y@a.test", ip("192.0.2.9")));
    }
}
