//! What one peer may ask of us per second. A bucket per (peer, kind) that fills with time; an empty one refuses.

use dots_overlay::transport::Protocol;
use dots_wire::{
    Allowance, PeerId, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight},
};
use std::time::Instant;

/// Buckets that are not full. One that makes room for others starts full again; many names of one peer are cut by the
/// number of connections.
const BUCKETS: Limits = Limits::new(4 * 1024 * 1024, 20_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Requests outside a dialog over the SIP link.
    Initial,
    /// Realm records, each.
    Realm,
    /// Any frame on the SIP link.
    Leg,
    /// Gossip and DHT offers.
    Gossip,
    /// A request; its row says how many.
    Request(Protocol),
}

impl Kind {
    /// An honest peer with a few thousand phones stays well below; a flood stops here, before it costs a signature or a
    /// disk access.
    fn allowance(self) -> Allowance {
        match self {
            Kind::Initial => Allowance::new(500.0, 1_000.0),
            Kind::Realm => Allowance::new(20.0, 500.0),
            Kind::Leg => Allowance::new(5_000.0, 10_000.0),
            Kind::Gossip => Allowance::new(500.0, 2_000.0),
            Kind::Request(protocol) => protocol.allowance(),
        }
    }
}

impl Weight for Kind {
    fn heap_bytes(&self) -> usize {
        0
    }
}

pub struct Buckets {
    used: Cache<(PeerId, Kind), TokenBucket>,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets { used: Cache::new(BUCKETS) }
    }
}

impl Buckets {
    /// May `peer` do one more of these now?
    pub fn take(&mut self, now: Instant, peer: PeerId, kind: Kind) -> bool {
        let allowance = kind.allowance();
        if let Some(bucket) = self.used.get_mut(&(peer, kind)) {
            return bucket.take(now, allowance, 1.0);
        }
        let mut bucket = TokenBucket::default();
        let taken = bucket.take(now, allowance, 1.0);
        self.used.insert(Cause::new(Standing::Other).by(&peer.to_bytes()), (peer, kind), bucket);
        taken
    }

    /// Forgets buckets that are full again.
    pub fn sweep(&mut self, now: Instant) {
        self.used.retain(|(_, kind), bucket| !bucket.is_full(now, kind.allowance()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;
    use std::time::Duration;

    #[test]
    fn a_flood_is_cut_and_a_neighbour_is_not() {
        let peer = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id();
        let mut buckets = Buckets::default();
        let t0 = Instant::now();
        let passed = (0..5_000).filter(|_| buckets.take(t0, peer(1), Kind::Initial)).count();
        assert_eq!(passed, 1_000);
        assert!(buckets.take(t0, peer(2), Kind::Initial));
        assert!(buckets.take(t0, peer(1), Kind::Request(Protocol::Lookup)));
        assert!(buckets.take(t0 + Duration::from_millis(10), peer(1), Kind::Initial));
        buckets.sweep(t0 + Duration::from_secs(60));
        assert!(buckets.used.is_empty());
    }
}
