//! Realms that our own phones have called. Their word stands above a stranger's where room is short. Whoever calls us, or
//! lets phones of a free realm register here, has met nobody by that: names cost nothing. Not on disk: after a start they
//! are met again.
//!
//! [`caller`] says who pays for what a caller makes us keep.

use super::neighbours::Neighbours;
use dots_overlay::names::{Belief, Realms};
use dots_sip::address::realm_of;
use dots_wire::{
    Now, PeerId,
    bounded::{Cache, Cause, Limits, Standing, network_of},
};
use std::time::{Duration, Instant};

/// Names with when they were met last.
pub(crate) const REALMS: Limits = Limits::new(1024 * 1024, 5_000);
/// So long ago is a stranger again.
const FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

pub struct Met {
    realms: Cache<String, Instant>,
}

impl Default for Met {
    fn default() -> Met {
        Met { realms: Cache::new(REALMS) }
    }
}

impl Met {
    /// The account `who` of ours has called an account of `realm`, and was answered. It is the newest of his from now on: one
    /// phone that calls everybody forgets its own acquaintances, the oldest first, and nobody else's.
    pub fn meet(&mut self, who: &str, realm: &str, now: Now) {
        self.realms.insert(Cause::new(Standing::Own).by(who.as_bytes()), realm.to_owned(), now.mono);
    }

    pub fn is_met(&self, realm: &str, now: Now) -> bool {
        self.realms.get(realm).is_some_and(|at| now.mono.saturating_duration_since(*at) < FOR)
    }
}

/// The account `aor`, which calls, behind the network of the peer that it calls `through`. Our own realms know shares too, each
/// account its own, and have a reserve: so they are not [`Standing::Own`], who knows none.
pub fn caller(
    (realms, met, neighbours): (&Realms, &Met, &Neighbours),
    now: Now,
    aor: &str,
    through: Option<PeerId>,
) -> Cause {
    let realm = realm_of(aor);
    let standing = match realms.get(realm).map(|known| known.belief) {
        Some(Belief::Own) => Standing::Trusted,
        Some(Belief::Pinned) => Standing::Met,
        _ if met.is_met(realm, now) => Standing::Met,
        _ => Standing::Other,
    };
    let ip = through.and_then(|peer| neighbours.get(peer)?.ip());
    let network = ip.map_or(0, network_of);
    Cause { network, ..Cause::new(standing) }.of_realm(realm.as_bytes()).by(aor.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::Timestamp;

    fn start() -> (Met, Now) {
        (Met::default(), Now { mono: Instant::now(), wall: Timestamp(0) })
    }

    #[test]
    fn who_was_met_is_known_for_a_week_after_the_last_call() {
        let (mut met, mut now) = start();
        met.meet("alice@o.test", "a.test", now);
        assert!(met.is_met("a.test", now) && !met.is_met("b.test", now));
        now.mono += FOR / 2;
        met.meet("alice@o.test", "a.test", now);
        now.mono += FOR / 2;
        assert!(met.is_met("a.test", now), "said again");
        now.mono += FOR;
        assert!(!met.is_met("a.test", now));
    }

    #[test]
    fn one_phone_that_calls_everybody_flushes_its_own() {
        let (mut met, now) = start();
        met.meet("alice@o.test", "a.test", now);
        for n in 0..20_000 {
            met.meet("wild@o.test", &format!("{n}.test"), now);
            if n % 1_000 == 0 {
                met.meet("wild@o.test", "b.test", now);
            }
        }
        assert!(met.is_met("a.test", now), "another phone's");
        assert!(met.is_met("b.test", now), "and what is used is renewed, not flushed");
        assert!(!met.is_met("0.test", now) && met.realms.len() <= 5_000);
    }
}
