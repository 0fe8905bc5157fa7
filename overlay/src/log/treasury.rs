//! What a checked grant is worth. A grant pays for its binding and sixteen events more of the author who serves it
//! ([`super::quota::PER_GRANT`]); but a self-certifying realm is as free as a key, and its home signs as many as it likes.
//! So a grant says who is charged: the network in which we reached that home, and in it the realm. Our own realms, and those
//! that the operator vouches for, are not counted.

use dots_wire::{
    Allowance, Now, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing},
};

/// Grants of one realm: as many phones as a large one has, at once, and renewals at 80 % of an hour.
const OF_REALM: Allowance = Allowance::new(10.0, 25_000.0);
/// Of all realms of one network.
const OF_NETWORK: Allowance = Allowance::new(20.0, 50_000.0);
/// Realms and networks that were granted something lately. One that makes room for others starts anew.
pub(crate) const PURSES: Limits = Limits::new(2 * 1024 * 1024, 10_000);

pub struct Treasury {
    /// By network and realm; realm 0 is the network as a whole.
    purses: Cache<(u64, u64), TokenBucket>,
}

impl Default for Treasury {
    fn default() -> Treasury {
        Treasury { purses: Cache::new(PURSES) }
    }
}

impl Treasury {
    /// A grant was checked, and this cause is charged for it: does it pay?
    pub fn pays(&mut self, now: Now, cause: Cause) -> bool {
        if cause.standing <= Standing::Trusted {
            return true;
        }
        let (of_realm, of_network) = ((cause.network, cause.realm.max(1)), (cause.network, 0));
        let purse = |key| self.purses.get(&key).copied().unwrap_or_default();
        let (mut realm, mut network) = (purse(of_realm), purse(of_network));
        let pays = network.has(now.mono, OF_NETWORK, 1.0) && realm.take(now.mono, OF_REALM, 1.0);
        if pays {
            network.take(now.mono, OF_NETWORK, 1.0);
            self.put(cause, of_realm, realm);
            self.put(Cause { realm: 0, ..cause }, of_network, network);
        }
        pays
    }

    fn put(&mut self, cause: Cause, key: (u64, u64), purse: TokenBucket) {
        match self.purses.get_mut(&key) {
            Some(held) => *held = purse,
            None => drop(self.purses.insert(cause, key, purse)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::Timestamp;
    use std::time::{Duration, Instant};

    #[test]
    fn a_realm_that_grants_without_end_pays_for_what_a_large_one_needs() {
        let (mut treasury, mut now) =
            (Treasury::default(), Now { mono: Instant::now(), wall: Timestamp(1_000_000) });
        let realm = |standing, network, realm| Cause { standing, network, realm, who: 0 };
        let paid = |treasury: &mut Treasury, now, cause, times: usize| {
            (0..times).filter(|_| treasury.pays(now, cause)).count()
        };
        let crowd = realm(Standing::Other, 1, 1);
        assert_eq!(paid(&mut treasury, now, crowd, 100_000), 25_000);
        // Names are free: many of one network are no more than two.
        let many: usize =
            (2..100).map(|n| paid(&mut treasury, now, realm(Standing::Other, 1, n), 1_000)).sum();
        assert_eq!(many, 25_000);
        assert_eq!(paid(&mut treasury, now, realm(Standing::Other, 2, 7), 20_000), 20_000, "another network");
        assert_eq!(paid(&mut treasury, now, realm(Standing::Own, 1, 8), 100_000), 100_000);
        now.mono += Duration::from_secs(10);
        assert_eq!(paid(&mut treasury, now, crowd, 1_000), 100, "and a little as time goes on");
    }
}
