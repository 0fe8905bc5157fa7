//! The peers that we are connected to, and what was seen of them: address, clock, round-trip time. Also the way back from
//! the label of a peer, which is all that SIP knows, to its key.

use super::clock::{Ahead, Clock, Sample};
use dots_sip::hop::PeerLabel;
use dots_wire::{
    Now, PeerId, Timestamp,
    bounded::{Cache, Cause, Limits, Standing, network_of},
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

/// Peers whose label we can turn into a PeerId. At the limit the oldest of a peer that we are not connected to goes.
const LABELS_MAX: usize = 100_000;
/// Peers of another version of this program, and how long each is counted: the driver does not dial it before that.
const OTHER_VERSIONS: Limits = Limits::new(256 * 1024, 1_000);
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
    labels: BTreeMap<PeerLabel, PeerId>,
    labels_by_age: VecDeque<PeerLabel>,
    /// When each was met last.
    other_versions: Cache<PeerId, Instant>,
    clock: Clock,
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours {
            connected: BTreeMap::new(),
            labels: BTreeMap::new(),
            labels_by_age: VecDeque::new(),
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
        self.label(peer);
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
        let label: PeerLabel = peer.0.label().base32().into();
        if self.labels.insert(label.clone(), peer).is_none() {
            self.labels_by_age.push_back(label.clone());
        }
        for _ in LABELS_MAX..self.labels_by_age.len() {
            let Some(oldest) = self.labels_by_age.pop_front() else { break };
            match self.labels.get(&oldest) {
                Some(peer) if self.connected.contains_key(peer) => self.labels_by_age.push_back(oldest),
                _ => {
                    self.labels.remove(&oldest);
                }
            }
        }
        debug_assert_eq!(self.labels.len(), self.labels_by_age.len(), "each label has one age");
        label
    }

    pub fn of_label(&self, label: &PeerLabel) -> Option<PeerId> {
        self.labels.get(label).copied()
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
