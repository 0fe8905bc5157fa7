//! What one peer may ask of us per second. A bucket per (peer, kind) that fills with time; an empty one refuses. Names of peers are
//! free, so all peers of one network together have no more than a few: one machine with many keys is heard as often as these.

use dots_overlay::transport::Protocol;
use dots_wire::{
    Allowance, PeerId, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight},
};
use std::{collections::BTreeMap, time::Instant};

/// Buckets that are not full. One that makes room for others starts full again; many names of one peer are cut by the
/// number of connections.
pub(crate) const BUCKETS: Limits = Limits::new(4 * 1024 * 1024, 20_000);
/// So many peers of one network, each asking as much as it may.
const PEERS_PER_NETWORK: f64 = 16.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Requests outside a dialog over the SIP link.
    Initial,
    /// Realm records, each.
    Realm,
    /// Any frame on the SIP link.
    Leg,
    /// Lists of realm records: a question of a few bytes for 48 KiB.
    RealmList,
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
            Kind::RealmList => Allowance::new(0.5, 20.0),
            Kind::Leg => Allowance::new(5_000.0, 10_000.0),
            Kind::Gossip => Allowance::new(500.0, 2_000.0),
            Kind::Request(protocol) => protocol.allowance(),
        }
    }

    fn of_network(self) -> Allowance {
        let Allowance { per_second, burst } = self.allowance();
        Allowance::new(per_second * PEERS_PER_NETWORK, burst * PEERS_PER_NETWORK)
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
    /// Of all its peers together.
    shared: Cache<(u64, Kind), TokenBucket>,
    of_networks: Cache<u64, TokenBucket>,
    /// Of whoever is connected.
    networks: BTreeMap<PeerId, u64>,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets {
            used: Cache::new(BUCKETS),
            shared: Cache::new(NETWORKS),
            of_networks: Cache::new(NETWORKS),
            networks: BTreeMap::new(),
        }
    }
}

impl Buckets {
    /// `peer` is connected from this network.
    pub fn seen(&mut self, peer: PeerId, network: u64) {
        self.networks.insert(peer, network);
    }

    pub fn gone(&mut self, peer: PeerId) {
        self.networks.remove(&peer);
    }

    /// May `peer` do one more of these now?
    pub fn take(&mut self, now: Instant, peer: PeerId, kind: Kind) -> bool {
        // A frame of an open stream and a probe cost us next to nothing, and many die at once.
        let is_alone = matches!(kind, Kind::Leg | Kind::Request(Protocol::Live));
        self.take_own(now, peer, kind) && (is_alone || self.take_shared(now, peer, kind))
    }

    fn take_shared(&mut self, now: Instant, peer: PeerId, kind: Kind) -> bool {
        let network = self.networks.get(&peer).copied().unwrap_or_default();
        let allowance = kind.of_network();
        if let Some(bucket) = self.shared.get_mut(&(network, kind)) {
            return bucket.take(now, allowance, 1.0);
        }
        let mut bucket = TokenBucket::default();
        let taken = bucket.take(now, allowance, 1.0);
        self.shared.insert(Cause { network, ..Cause::new(Standing::Other) }, (network, kind), bucket);
        taken
    }

    fn take_own(&mut self, now: Instant, peer: PeerId, kind: Kind) -> bool {
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
        self.shared.retain(|(_, kind), bucket| !bucket.is_full(now, kind.of_network()));
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
    fn many_keys_of_one_machine_ask_no_more_than_a_few_and_others_do_not_notice() {
        let peer = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id();
        let kinds =
            [Kind::Gossip, Kind::Realm, Kind::RealmList, Kind::Initial, Kind::Request(Protocol::Verify)];
        for kind in kinds {
            let (mut buckets, t0) = (Buckets::default(), Instant::now());
            let Allowance { burst, .. } = kind.allowance();
            for n in 1..=64 {
                buckets.seen(peer(n), 7);
            }
            buckets.seen(peer(65), 8);
            let mut passed = 0;
            for n in 1..=64 {
                passed += (0..burst as usize + 10).filter(|_| buckets.take(t0, peer(n), kind)).count();
            }
            assert_eq!(passed as f64, PEERS_PER_NETWORK * burst, "{kind:?}");
            assert!(buckets.take(t0, peer(65), kind), "another network");
            // A new key of the same place brings nothing new.
            buckets.seen(peer(66), 7);
            assert!(!buckets.take(t0, peer(66), kind));
            (1..=66).for_each(|n| buckets.gone(peer(n)));
            assert!(buckets.networks.is_empty());
        }
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
