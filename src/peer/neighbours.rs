//! The peers that we are connected to, and what was seen of them: address, clock, round-trip time. Also the way back from
//! the label of a peer, which is all that SIP knows, to its key.

use dots_sip::hop::PeerLabel;
use dots_wire::{
    PeerId, Timestamp,
    bounded::{Cache, Cause, Limits, Standing},
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

/// Peers whose label we can turn into a PeerId. At the limit the oldest of a peer that we are not connected to goes.
const LABELS_MAX: usize = 100_000;
/// A clock that differs from the median of its neighbours' by so much makes grants fail.
const CLOCK_WARNING: Duration = Duration::from_secs(10);
/// The operator reads it once in this time, however often neighbours tell theirs.
const CLOCK_WARNED_FOR: Duration = Duration::from_secs(600);
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
    /// Its clock minus ours, ms, when it last told the time.
    pub clock_ahead_ms: Option<i128>,
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
    clock_warned: Option<Timestamp>,
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours {
            connected: BTreeMap::new(),
            labels: BTreeMap::new(),
            labels_by_age: VecDeque::new(),
            other_versions: Cache::new(OTHER_VERSIONS),
            clock_warned: None,
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
            clock_ahead_ms: None,
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

    pub fn seen(&mut self, peer: PeerId, address: String, agent: String, rtt: Option<Duration>) {
        if let Some(n) = self.connected.get_mut(&peer) {
            (n.address, n.agent) = (address, agent);
            n.rtt = rtt.or(n.rtt);
        }
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

    /// The peer told the time: the median of all is what our clock is measured by. Returns a warning for the log, now and then:
    /// anybody may tell his time as often as he likes, and `dots status` shows what is so.
    pub fn clock_told(&mut self, peer: PeerId, time_ms: u64, now: Timestamp) -> Option<String> {
        let neighbour = self.connected.get_mut(&peer)?;
        neighbour.clock_ahead_ms = Some(i128::from(time_ms) - i128::from(now.0));
        let warned_lately = |at: Timestamp| now.since(at) < CLOCK_WARNED_FOR && at <= now;
        if self.clock_warned.is_some_and(warned_lately) {
            return None;
        }
        self.clock_warning().inspect(|_| self.clock_warned = Some(now))
    }

    pub fn clock_warning(&self) -> Option<String> {
        let mut ahead: Vec<i128> = self.connected.values().filter_map(|n| n.clock_ahead_ms).collect();
        ahead.sort_unstable();
        let median = *ahead.get(ahead.len() / 2)?;
        let seconds = median.unsigned_abs() / 1_000;
        let way = if median > 0 { "behind" } else { "ahead of" };
        (seconds >= CLOCK_WARNING.as_secs().into()).then(|| {
            format!(
                "this machine's clock is {seconds} s {way} its neighbours': grants will fail, set the clock"
            )
        })
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

    #[test]
    fn our_clock_is_measured_by_the_median() {
        let mut n = Neighbours::default();
        for (who, ahead_ms) in [(1, 0), (2, 30_000), (3, 31_000)] {
            n.connected(peer(who), Timestamp(0));
            n.clock_told(peer(who), 1_000_000 + ahead_ms, Timestamp(1_000_000));
        }
        let warning = n.clock_warning().expect("two of three say so");
        assert!(warning.contains("30 s behind"), "{warning}");
        let said = |n: &mut Neighbours, at: u64| {
            (0..1_000).filter(|_| n.clock_told(peer(3), at + 31_000, Timestamp(at)).is_some()).count()
        };
        assert_eq!(said(&mut n, 1_000_001), 0, "it was said, and a neighbour does not write our log");
        assert_eq!(said(&mut n, 1_000_000 + 600_000), 1);
        n.disconnected(peer(3));
        n.clock_told(peer(2), 1_000_000, Timestamp(1_000_000));
        assert_eq!(n.clock_warning(), None);
        assert_eq!(
            n.clock_told(peer(9), 9_000_000, Timestamp(0)),
            None,
            "a stranger's clock counts for nothing"
        );
    }
}
