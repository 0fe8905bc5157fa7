//! What one peer may ask of us per second. A bucket per (peer, kind) that fills with time; an empty one refuses.

use dots_wire::PeerId;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Buckets that are not full. At the limit a peer without one is refused: somebody is trying many names.
const BUCKETS_MAX: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Requests outside a dialog over the SIP link.
    Initial,
    /// Nonces and answers that a home is asked to mint and judge.
    Auth,
    /// "Where is this AOR".
    Lookup,
    /// Realm records, each.
    Realm,
    /// Any frame on the SIP link.
    Leg,
    /// Heads and ranges of logs.
    Log,
    /// Pings of our phones.
    Verify,
    /// Receipts' messages.
    Receipt,
    /// Gossip and DHT offers.
    Gossip,
}

impl Kind {
    /// (per second, at once). An honest peer with a few thousand phones stays well below; a flood stops here, before
    /// it costs a signature or a disk access.
    fn allowance(self) -> (f64, f64) {
        match self {
            Kind::Initial => (500.0, 1_000.0),
            Kind::Auth => (2_000.0, 4_000.0),
            Kind::Lookup => (500.0, 1_000.0),
            Kind::Realm => (20.0, 500.0),
            Kind::Leg => (5_000.0, 10_000.0),
            Kind::Log => (50.0, 200.0),
            Kind::Verify => (200.0, 2_000.0),
            Kind::Receipt => (1_000.0, 5_000.0),
            Kind::Gossip => (500.0, 2_000.0),
        }
    }
}

#[derive(Default)]
pub struct Buckets {
    used: BTreeMap<(PeerId, Kind), (f64, Instant)>,
}

impl Buckets {
    /// May `peer` do one more of these now?
    pub fn take(&mut self, now: Instant, peer: PeerId, kind: Kind) -> bool {
        let (rate, burst) = kind.allowance();
        if self.used.len() >= BUCKETS_MAX && !self.used.contains_key(&(peer, kind)) {
            return false;
        }
        let (level, at) = self.used.entry((peer, kind)).or_insert((0.0, now));
        *level = (*level - now.saturating_duration_since(*at).as_secs_f64() * rate).max(0.0);
        *at = now;
        if *level + 1.0 > burst {
            return false;
        }
        *level += 1.0;
        true
    }

    /// Forgets buckets that are full again.
    pub fn sweep(&mut self, now: Instant) {
        self.used.retain(|(_, kind), (level, at)| {
            let (rate, _) = kind.allowance();
            now.saturating_duration_since(*at) < Duration::from_secs_f64(*level / rate)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    #[test]
    fn a_flood_is_cut_and_a_neighbour_is_not() {
        let peer = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id();
        let mut buckets = Buckets::default();
        let t0 = Instant::now();
        let passed = (0..5_000).filter(|_| buckets.take(t0, peer(1), Kind::Initial)).count();
        assert_eq!(passed, 1_000);
        assert!(buckets.take(t0, peer(2), Kind::Initial));
        assert!(buckets.take(t0, peer(1), Kind::Lookup));
        assert!(buckets.take(t0 + Duration::from_millis(10), peer(1), Kind::Initial));
        buckets.sweep(t0 + Duration::from_secs(60));
        assert!(buckets.used.is_empty());
    }
}
