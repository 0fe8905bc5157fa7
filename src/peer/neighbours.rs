//! The peers that we are connected to, and what was seen of them: address, clock, round-trip time. Also the way back from
//! the label of a peer, which is all that SIP knows, to its key.

use super::clock::{Ahead, Clock, Sample};
use dots_sip::hop::PeerLabel;
use dots_wire::{
    Now, PeerId, Timestamp,
    bounded::{Cache, Cause, Limits, Standing, network_of},
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Peers whose label we can turn into a PeerId. What was used last goes last; half is for those that we are connected to.
pub(crate) const LABELS: Limits = Limits::new(8 << 20, 32_768).reserving([500, 0, 0, 0]);
/// Peers of another version of this program, and how long each is counted: the driver does not dial it before that.
pub(crate) const OTHER_VERSIONS: Limits = Limits::new(256 * 1024, 1_000);
const OTHER_VERSION_FOR: Duration = Duration::from_secs(15 * 60);

/// A peer that we are connected to.
#[derive(Clone, Debug)]
pub struct Neighbour {
    pub since: Timestamp,
    /// Multiaddr, as the network told last.
    pub address: String,
    pub agent: String,
    pub rtt: Option<Duration>,
    /// We dialled it: we chose it, it did not choose us.
    pub dialled: bool,
    /// Its clock minus ours, ms, when it last told the time.
    clock_ahead: Option<Ahead>,
    /// It has not answered with its realm records: when to ask again, and how often that was done.
    pub names_again: Option<(Instant, u32)>,
}

impl Neighbour {
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.split('/').nth(2)?.parse().ok()
    }
}

pub struct Neighbours {
    connected: BTreeMap<PeerId, Neighbour>,
    labels: Cache<String, PeerId>,
    /// When each was met last.
    other_versions: Cache<PeerId, Instant>,
    clock: Clock,
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours {
            connected: BTreeMap::new(),
            labels: Cache::new(LABELS),
            other_versions: Cache::new(OTHER_VERSIONS),
            clock: Clock::default(),
        }
    }
}

impl Neighbours {
    pub fn connected(&mut self, peer: PeerId, now: Timestamp) {
        let fresh = Neighbour {
            since: now,
            address: String::new(),
            agent: String::new(),
            rtt: None,
            dialled: false,
            clock_ahead: None,
            names_again: None,
        };
        self.connected.entry(peer).or_insert(fresh);
        self.other_versions.remove(&peer);
        self.remember(peer, peer.0.label().base32());
    }

    /// `peer` speaks only another version of our protocols. It is no neighbour.
    pub fn other_version(&mut self, peer: PeerId, now: Instant) {
        self.other_versions.insert(Cause::new(Standing::Other), peer, now);
    }

    /// How many of these were met lately.
    pub fn other_versions(&self, now: Instant) -> usize {
        let lately = |at: &Instant| now.saturating_duration_since(*at) < OTHER_VERSION_FOR;
        self.other_versions.iter().filter(|(_, at)| lately(at)).count()
    }

    pub fn disconnected(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
    }

    /// `dialled`: by us, at that address.
    pub fn seen(
        &mut self,
        peer: PeerId,
        address: String,
        agent: String,
        rtt: Option<Duration>,
        dialled: bool,
    ) {
        if let Some(n) = self.connected.get_mut(&peer) {
            n.dialled |= dialled;
            (n.address, n.agent) = (address, agent);
            n.rtt = rtt.or(n.rtt);
        }
    }

    /// No peer was met since the start.
    pub fn is_nobody_known(&self) -> bool {
        self.connected.is_empty() && self.labels.is_empty()
    }

    pub fn contains(&self, peer: PeerId) -> bool {
        self.connected.contains_key(&peer)
    }

    pub fn get(&self, peer: PeerId) -> Option<&Neighbour> {
        self.connected.get(&peer)
    }

    pub fn get_mut(&mut self, peer: PeerId) -> Option<&mut Neighbour> {
        self.connected.get_mut(&peer)
    }

    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.connected.iter().map(|(peer, neighbour)| (*peer, neighbour))
    }

    pub fn len(&self) -> usize {
        self.connected.len()
    }

    /// The peer told the time.
    pub fn clock_told(&mut self, peer: PeerId, time_ms: u64, now: Now) {
        if let Some(neighbour) = self.connected.get_mut(&peer) {
            neighbour.clock_ahead = Some(Ahead::told(time_ms, now));
        }
    }

    /// Looked at once a second, and said in the log where it changes: no message of a neighbour writes there.
    pub fn watch_clock(&mut self, now: Now) {
        let samples: Vec<Sample> = self.clock_samples(now).collect();
        if let Some(line) = self.clock.watch(now, &samples) {
            tracing::warn!("{line}");
        }
    }

    fn clock_samples(&self, now: Now) -> impl Iterator<Item = Sample> {
        self.connected.values().filter_map(move |n| {
            let network = n.ip().map(network_of).filter(|_| n.dialled);
            Some(Sample { ahead_ms: n.clock_ahead?.now(now), network })
        })
    }

    /// Is our clock wrong, on the word of enough peers that we chose?
    pub fn is_clock_off(&self, now: Now) -> bool {
        self.clock.is_off(now)
    }

    pub fn clock_warning(&self, now: Now) -> Option<String> {
        self.clock.warning(now)
    }

    /// The label of `peer`, remembered so that it can be turned back.
    pub fn label(&mut self, peer: PeerId) -> PeerLabel {
        let label = peer.0.label().base32();
        if !self.connected.contains_key(&peer) || !self.labels.contains::<str>(&label) {
            self.remember(peer, label.clone());
        }
        label.into()
    }

    /// As the newest of those that it stands among.
    fn remember(&mut self, peer: PeerId, label: String) {
        let connected = self.connected.get(&peer);
        let standing = if connected.is_some() { Standing::Own } else { Standing::Other };
        let network = connected.and_then(Neighbour::ip).map_or(0, network_of);
        self.labels.insert(Cause { network, ..Cause::new(standing) }, label, peer);
    }

    pub fn of_label(&self, label: &PeerLabel) -> Option<PeerId> {
        self.labels.get::<str>(label).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    fn peer(n: u8) -> PeerId {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
    }

    #[test]
    fn a_label_leads_back_to_its_peer_connected_or_not() {
        let mut n = Neighbours::default();
        let label = n.label(peer(1));
        assert_eq!(n.of_label(&label), Some(peer(1)));
        n.connected(peer(1), Timestamp(5));
        n.disconnected(peer(1));
        assert_eq!(n.of_label(&label), Some(peer(1)));
        assert!(!n.contains(peer(1)));
    }

    /// Bindings of others name as many serving peers as somebody makes up.
    #[test]
    fn labels_of_strangers_push_out_none_of_a_neighbour() {
        let mut n = Neighbours::default();
        n.connected(peer(1), Timestamp(5));
        let made_up = |n: u32| {
            let mut key = [2; 33];
            key[1..5].copy_from_slice(&n.to_be_bytes());
            PeerId(dots_wire::PublicKey(key))
        };
        let labels: Vec<_> = (0..50_000).map(|who| n.label(made_up(who))).collect();
        assert_eq!(n.of_label(&peer(1).0.label().base32().into()), Some(peer(1)));
        assert_eq!((n.of_label(&labels[0]), n.of_label(&labels[49_999])), (None, Some(made_up(49_999))));
        assert!(n.labels.bytes() <= LABELS.bytes);
    }

    #[test]
    fn peers_of_another_version_are_counted_while_they_are_about() {
        let (mut n, t0) = (Neighbours::default(), Instant::now());
        for who in [1, 2, 1] {
            n.other_version(peer(who), t0);
        }
        assert_eq!(n.other_versions(t0), 2);
        n.connected(peer(1), Timestamp(0));
        assert_eq!(n.other_versions(t0), 1, "it was updated");
        assert_eq!(n.other_versions(t0 + OTHER_VERSION_FOR), 0);
    }
}
