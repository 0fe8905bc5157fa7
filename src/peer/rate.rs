//! What one peer may ask of us per second. A bucket per (peer, kind) that fills with time; an empty one refuses. What costs a
//! signature without anybody's grant has a bucket per network besides.

use dots_overlay::transport::Protocol;
use dots_wire::{
    Allowance, PeerId, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight},
};
use std::time::Instant;

/// Buckets that are not full. One that makes room for others starts full again; many names of one peer are cut by the
/// number of connections.
pub(crate) const BUCKETS: Limits = Limits::new(4 * 1024 * 1024, 20_000);

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

/// LOG-23: binds of DHT offers that are looked at for one network, each up to a check of a signature: less than a hundredth of
/// a core. One peer puts 20 AORs per second at most.
const OFFERED: Allowance = Allowance::new(100.0, 1_000.0);
pub(crate) const NETWORKS: Limits = Limits::new(512 * 1024, 4_096);

pub struct Buckets {
    used: Cache<(PeerId, Kind), TokenBucket>,
    of_networks: Cache<u64, TokenBucket>,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets { used: Cache::new(BUCKETS), of_networks: Cache::new(NETWORKS) }
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

    /// May this network have so many binds more looked at?
    pub fn take_of_network(&mut self, now: Instant, network: u64, binds: f64) -> bool {
        if let Some(bucket) = self.of_networks.get_mut(&network) {
            return bucket.take(now, OFFERED, binds);
        }
        let mut bucket = TokenBucket::default();
        let taken = bucket.take(now, OFFERED, binds);
        self.of_networks.insert(Cause { network, ..Cause::new(Standing::Other) }, network, bucket);
        taken
    }

    /// Forgets buckets that are full again.
    pub fn sweep(&mut self, now: Instant) {
        self.used.retain(|(_, kind), bucket| !bucket.is_full(now, kind.allowance()));
        self.of_networks.retain(|_, bucket| !bucket.is_full(now, OFFERED));
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

    #[test]
    fn many_names_of_one_network_have_one_share_of_checks() {
        let (mut buckets, t0) = (Buckets::default(), Instant::now());
        let seconds = 10u64;
        let passed = (0..10_000u64)
            .filter(|n| buckets.take_of_network(t0 + Duration::from_millis(n * seconds / 10), 7, 8.0))
            .count();
        assert!((245..=255).contains(&passed), "1,000 at once and 100 per second, by eight: {passed}");
        assert!(buckets.take_of_network(t0, 8, 8.0), "another network has its own");
        buckets.sweep(t0 + Duration::from_secs(60));
        assert!(buckets.of_networks.is_empty());
    }
}
