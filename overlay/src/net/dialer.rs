//! NET-8: whom to dial, and when: bootstrap addresses for ever, neighbours until there are enough. Pure.

use super::limits::*;
use dots_wire::{PeerId, bounded::network_of};
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// One dial to begin.
#[derive(Debug, PartialEq, Eq)]
pub enum Dial {
    Peer(PeerId),
    /// A bootstrap address without a peer id: who answers there is not known before. The index names it.
    Bootstrap(usize, Multiaddr),
}

pub struct Dialer {
    me: PeerId,
    known: BTreeMap<PeerId, Known>,
    bootstrap: Vec<Bootstrap>,
    foreign: VecDeque<(Instant, PeerId)>,
    /// Where the last round ended, so that each peer has its turn.
    after: Option<PeerId>,
}

struct Known {
    addresses: Vec<Multiaddr>,
    /// A bootstrap peer: never forgotten, wanted beyond [`NEIGHBOURS`] too.
    keep: bool,
    /// We have been connected to it, in this life or, by our own list, in one before.
    met: bool,
    /// By our own dial.
    chosen: bool,
    connected: bool,
    pace: Pace,
}

impl Known {
    fn new(pace: Pace) -> Known {
        Known { addresses: Vec::new(), keep: false, met: false, chosen: false, connected: false, pace }
    }
}

struct Bootstrap {
    address: Multiaddr,
    /// Who answered there last.
    peer: Option<PeerId>,
    pace: Pace,
}

struct Pace {
    next: Instant,
    delay: Duration,
    dials: u32,
}

impl Pace {
    fn new(next: Instant, delay: Duration) -> Pace {
        Pace { next, delay, dials: 0 }
    }

    fn dialled(&mut self, now: Instant) {
        self.next = now + self.delay;
        self.delay = (self.delay * 2).min(REDIAL_MAX);
        self.dials = self.dials.saturating_add(1);
    }
}

impl Dialer {
    pub fn new(me: PeerId) -> Dialer {
        Dialer { me, known: BTreeMap::new(), bootstrap: Vec::new(), foreign: VecDeque::new(), after: None }
    }

    /// `peer`: as the address says, if it does.
    pub fn bootstrap(&mut self, now: Instant, address: Multiaddr, peer: Option<PeerId>) {
        match peer {
            Some(peer) if peer == self.me => {}
            Some(peer) => self.keep(now, peer, address),
            None => {
                self.bootstrap.push(Bootstrap { address, peer: None, pace: Pace::new(now, REDIAL_FIRST) })
            }
        }
    }

    /// `peer` answered at bootstrap address `index`.
    pub fn answered(&mut self, now: Instant, index: usize, peer: PeerId) {
        let Some(entry) = self.bootstrap.get_mut(index) else { return };
        entry.peer = Some(peer);
        let address = entry.address.clone();
        if peer != self.me {
            self.keep(now, peer, address);
        }
    }

    fn keep(&mut self, now: Instant, peer: PeerId, address: Multiaddr) {
        let pace = Pace::new(now, REDIAL_FIRST);
        let known = self.known.entry(peer);
        let known = known.or_insert(Known { keep: true, ..Known::new(pace) });
        known.keep = true;
        // The operator's own address stays in front.
        known.addresses.retain(|a| *a != address);
        known.addresses.insert(0, address);
        known.addresses.truncate(ADDRESSES_MAX);
    }

    /// Somebody said that `peer` listens at `addresses`. Returns whether we had not known of it.
    pub fn learn(
        &mut self,
        now: Instant,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) -> bool {
        if peer == self.me || self.is_foreign(now, peer) {
            return false;
        }
        let new = !self.known.contains_key(&peer);
        if new {
            if self.known.len() >= KNOWN_MAX && !self.forget_one() {
                return false;
            }
            let pace = Pace::new(now + self.turn(peer), REDIAL_FIRST);
            self.known.insert(peer, Known::new(pace));
        }
        let Some(known) = self.known.get_mut(&peer) else { return false };
        for address in addresses {
            if !known.addresses.contains(&address) {
                let at = usize::from(known.keep).min(known.addresses.len());
                known.addresses.insert(at, address);
            }
        }
        known.addresses.truncate(ADDRESSES_MAX);
        new
    }

    /// Makes room: of those that are not there, the one dialled in vain most often goes.
    fn forget_one(&mut self) -> bool {
        let absent = self.known.iter().filter(|(_, k)| !k.keep && !k.connected);
        let worst = absent.max_by_key(|(_, k)| k.pace.dials).map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.known.remove(&peer).is_some())
    }

    pub fn addresses(&self, peer: PeerId) -> Vec<Multiaddr> {
        self.known.get(&peer).map(|k| k.addresses.clone()).unwrap_or_default()
    }

    /// `peer` is connected and of our network.
    pub fn connected(&mut self, now: Instant, peer: PeerId) {
        self.foreign.retain(|(_, p)| *p != peer);
        if let Some(known) = self.known.get_mut(&peer) {
            known.connected = true;
            known.met = true;
            known.pace = Pace::new(now, REDIAL_FIRST);
        }
    }

    pub fn disconnected(&mut self, now: Instant, peer: PeerId) {
        let turn = self.turn(peer);
        if let Some(known) = self.known.get_mut(&peer) {
            known.connected = false;
            known.pace = Pace::new(now + turn, REDIAL_FIRST);
        }
    }

    /// We reached it ourselves.
    pub fn chose(&mut self, peer: PeerId) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.chosen = true;
        }
    }

    /// From the list of an earlier life: dialled at once.
    pub fn recall(&mut self, now: Instant, peer: PeerId, addresses: Vec<Multiaddr>) {
        self.learn(now, peer, addresses);
        if let Some(known) = self.known.get_mut(&peer) {
            (known.met, known.chosen) = (true, true);
            known.pace = Pace::new(now, REDIAL_FIRST);
        }
    }

    /// Whom to look for after the next start: those that are there, and those that we dialled, first; few of one network.
    pub fn remembered(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut met: Vec<(&PeerId, &Known)> =
            self.known.iter().filter(|(_, k)| k.met && !k.addresses.is_empty()).collect();
        met.sort_by_key(|(_, k)| (!k.connected, !k.chosen));
        let mut of_network: BTreeMap<Option<u64>, usize> = BTreeMap::new();
        met.retain(|(_, k)| {
            let count = of_network.entry(k.addresses.first().and_then(network)).or_default();
            *count += 1;
            *count <= REMEMBERED_PER_NETWORK
        });
        met.truncate(REMEMBERED_MAX);
        let few = |k: &Known| k.addresses.iter().take(ADDRESSES_REMEMBERED).cloned().collect();
        met.into_iter().map(|(peer, k)| (*peer, few(k))).collect()
    }

    /// `peer` is of another network.
    pub fn foreign(&mut self, now: Instant, peer: PeerId) {
        if self.known.get(&peer).is_some_and(|k| !k.keep) {
            self.known.remove(&peer);
        }
        self.foreign.retain(|(_, p)| *p != peer);
        self.foreign.push_back((now + FOREIGN_FOR, peer));
        if self.foreign.len() > FOREIGN_MAX {
            self.foreign.pop_front();
        }
    }

    pub fn is_foreign(&self, now: Instant, peer: PeerId) -> bool {
        self.foreign.iter().any(|(until, p)| *p == peer && *until > now)
    }

    /// What to dial now; `connected`: how many peers are.
    pub fn due(&mut self, now: Instant, connected: usize) -> Vec<Dial> {
        let mut due = Vec::new();
        for (index, entry) in self.bootstrap.iter_mut().enumerate() {
            let ours = entry.peer == Some(self.me);
            let connected = entry.peer.is_some_and(|p| self.known.get(&p).is_some_and(|k| k.connected));
            if !ours && !connected && entry.pace.next <= now && due.len() < DIALS_PER_TICK {
                entry.pace.dialled(now);
                due.push(Dial::Bootstrap(index, entry.address.clone()));
            }
        }
        let mut room = NEIGHBOURS.saturating_sub(connected);
        let after = self.after;
        let mut order: Vec<PeerId> = self.known.keys().copied().collect();
        let first = order.partition_point(|p| after.is_some_and(|a| *p <= a));
        order.rotate_left(first);
        for peer in order {
            let Some(known) = self.known.get_mut(&peer) else { continue };
            if known.connected || known.pace.next > now || due.len() >= DIALS_PER_TICK {
                continue;
            }
            if !known.keep {
                if known.pace.dials >= REDIALS {
                    self.known.remove(&peer);
                    continue;
                }
                if room == 0 {
                    continue;
                }
                room -= 1;
            }
            known.pace.dialled(now);
            self.after = Some(peer);
            due.push(Dial::Peer(peer));
        }
        due
    }

    fn turn(&self, peer: PeerId) -> Duration {
        if self.me < peer { REDIAL_FIRST } else { REDIAL_SECOND }
    }
}

/// Where an address is; names are one network together.
fn network(address: &Multiaddr) -> Option<u64> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(network_of(ip.into())),
        Protocol::Ip6(ip) => Some(network_of(ip.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    fn peer(n: u8) -> PeerId {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
    }
    fn address(n: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{n}").parse().expect("a multiaddr")
    }

    #[test]
    fn who_is_told_of_is_not_remembered_and_no_network_takes_the_whole_list() {
        let (now, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        let at =
            |net: u8, n: u8| format!("/ip4/192.0.{net}.{n}/tcp/1").parse::<Multiaddr>().expect("an address");
        for n in 2..60 {
            dialer.learn(now, peer(n), [at(1, n)]);
        }
        assert_eq!(dialer.remembered(), [], "told of, never met");
        for n in 2..60 {
            dialer.connected(now, peer(n));
        }
        assert_eq!(dialer.remembered().len(), REMEMBERED_PER_NETWORK);
        dialer.learn(now, peer(100), [at(2, 1)]);
        dialer.connected(now, peer(100));
        dialer.chose(peer(100));
        assert_eq!(
            dialer.remembered().first().map(|(p, _)| *p),
            Some(peer(100)),
            "whom we dialled comes first"
        );
        let mut next = Dialer::new(peer(1));
        for (peer, addresses) in dialer.remembered() {
            next.recall(now, peer, addresses);
        }
        assert_eq!(next.due(now, 0).len(), REMEMBERED_PER_NETWORK + 1, "all of them at once");
        assert_eq!(
            next.remembered().len(),
            REMEMBERED_PER_NETWORK + 1,
            "and not forgotten while they are away"
        );
    }

    #[test]
    fn bootstrap_peers_are_dialled_for_ever_and_ever_less_often() {
        let (start, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        dialer.bootstrap(start, address(1), Some(peer(2)));
        dialer.bootstrap(start, address(2), None);
        dialer.bootstrap(start, address(3), Some(peer(1)));
        let dials: Vec<usize> =
            (0..4 * 3600u64).map(|tick| dialer.due(start + TICK * tick as u32, NEIGHBOURS).len()).collect();
        assert_eq!(dials[0], 2, "both at once, never ourselves");
        let hour: usize = dials.iter().sum();
        assert!((2 * 120..2 * 130).contains(&hour), "{hour} dials in an hour");
        assert!(dials[dials.len() - 130..].iter().sum::<usize>() > 0);
    }

    #[test]
    fn an_address_that_turned_out_to_be_ours_is_left_alone() {
        let (start, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        dialer.bootstrap(start, address(2), None);
        assert_eq!(dialer.due(start, 0), [Dial::Bootstrap(0, address(2))]);
        dialer.answered(start, 0, peer(1));
        assert_eq!(dialer.due(start + REDIAL_MAX, 0), []);
    }

    #[test]
    fn neighbours_are_sought_until_there_are_enough_and_forgotten_in_the_end() {
        let (start, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        dialer.learn(start, peer(2), [address(2)]);
        let later = start + REDIAL_SECOND;
        assert_eq!(dialer.due(later, NEIGHBOURS), []);
        assert_eq!(dialer.due(later, NEIGHBOURS - 1), [Dial::Peer(peer(2))]);
        for n in 1..REDIALS {
            assert_eq!(dialer.due(later + REDIAL_MAX * n, 0), [Dial::Peer(peer(2))]);
        }
        assert_eq!(dialer.due(later + REDIAL_MAX * REDIALS, 0), []);
        assert!(dialer.addresses(peer(2)).is_empty());
    }

    #[test]
    fn strangers_fill_no_table_and_other_networks_are_not_dialled_again() {
        let (start, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        dialer.learn(start, peer(2), (0..100).map(address));
        assert_eq!(dialer.addresses(peer(2)).len(), ADDRESSES_MAX);
        dialer.foreign(start, peer(2));
        dialer.learn(start, peer(2), [address(2)]);
        assert_eq!(dialer.due(start + REDIAL_MAX, 0), []);
        dialer.learn(start + FOREIGN_FOR, peer(2), [address(2)]);
        assert_eq!(dialer.addresses(peer(2)), [address(2)]);
    }

    #[test]
    fn after_a_loss_the_smaller_id_dials_first() {
        let start = Instant::now();
        let (small, large) = (peer(1).min(peer(2)), peer(1).max(peer(2)));
        for (me, other, first) in [(small, large, true), (large, small, false)] {
            let mut dialer = Dialer::new(me);
            dialer.learn(start, other, [address(1)]);
            dialer.connected(start, other);
            dialer.disconnected(start, other);
            assert_eq!(!dialer.due(start + REDIAL_FIRST, 0).is_empty(), first);
            dialer.connected(start, other);
            assert_eq!(dialer.due(start + REDIAL_SECOND, 0), []);
        }
    }
}
