//! NET-8: whom to dial, and when: bootstrap addresses for ever, neighbours until there are enough. Pure.
//!
//! Anybody can tell of anybody, and keys cost nothing. So what a peer says of itself, and where we reached it, stands before what
//! others tell of it, who have a few places behind that; and half of all neighbours are peers that we dialled, however many come to us.

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
    /// Where we reached it, and what it says of itself.
    addresses: Vec<Multiaddr>,
    /// What others tell of it.
    told: Vec<Multiaddr>,
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
        let (addresses, told) = (Vec::new(), Vec::new());
        Known { addresses, told, keep: false, met: false, chosen: false, connected: false, pace }
    }

    fn has(&self, address: &Multiaddr) -> bool {
        self.addresses.contains(address)
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

    /// Somebody tells that `peer` listens at `addresses`. Returns whether we had not known of it.
    pub fn learn(
        &mut self,
        now: Instant,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) -> bool {
        let is_new = !self.known.contains_key(&peer);
        let Some(known) = self.known(now, peer) else { return false };
        for address in addresses {
            if !known.has(&address) && !known.told.contains(&address) {
                known.told.insert(0, address);
            }
        }
        known.told.truncate(TOLD_MAX);
        is_new
    }

    /// `peer` says itself that it listens at `addresses`, or we reached it there.
    pub fn shown(&mut self, now: Instant, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        let Some(known) = self.known(now, peer) else { return };
        for address in addresses {
            if !known.has(&address) {
                let at = usize::from(known.keep).min(known.addresses.len());
                known.addresses.insert(at, address);
            }
        }
        known.addresses.truncate(ADDRESSES_MAX);
        let addresses = &known.addresses;
        known.told.retain(|address| !addresses.contains(address));
    }

    /// `None`: it is none of ours, or there is no room for it.
    fn known(&mut self, now: Instant, peer: PeerId) -> Option<&mut Known> {
        if peer == self.me || self.is_foreign(now, peer) {
            return None;
        }
        if !self.known.contains_key(&peer) {
            if self.known.len() >= KNOWN_MAX && !self.forget_one() {
                return None;
            }
            let pace = Pace::new(now + self.turn(peer), REDIAL_FIRST);
            self.known.insert(peer, Known::new(pace));
        }
        self.known.get_mut(&peer)
    }

    /// Makes room: of those that are not there, one that we never met goes first, then the one dialled in vain most often.
    fn forget_one(&mut self) -> bool {
        let absent = self.known.iter().filter(|(_, k)| !k.keep && !k.connected);
        let worst = absent.max_by_key(|(_, k)| (!k.met, k.pace.dials)).map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.known.remove(&peer).is_some())
    }

    /// Where to look for it, best first.
    pub fn addresses(&self, peer: PeerId) -> Vec<Multiaddr> {
        let known = self.known.get(&peer).into_iter();
        known.flat_map(|k| k.addresses.iter().chain(&k.told)).cloned().collect()
    }

    /// How many more neighbours we want, of `connected` that there are: who came to us fills half of the places at most.
    pub fn wanted(&self, connected: usize) -> usize {
        let chosen = self.known.values().filter(|k| k.connected && k.chosen).count();
        let came = connected.saturating_sub(chosen).min(NEIGHBOURS / 2);
        NEIGHBOURS.saturating_sub(chosen + came)
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
        self.shown(now, peer, addresses);
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
        let mut room = self.wanted(connected);
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
        assert_eq!(dialer.remembered(), [], "met, but nobody said where it is who must know");
        for n in 2..60 {
            dialer.shown(now, peer(n), [at(1, n)]);
        }
        assert_eq!(dialer.remembered().len(), REMEMBERED_PER_NETWORK);
        dialer.shown(now, peer(100), [at(2, 1)]);
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
        let all = |dialer: &mut Dialer| {
            for n in 100..100 + NEIGHBOURS as u8 / 2 {
                dialer.shown(start, peer(n), [address(n.into())]);
                dialer.chose(peer(n));
                dialer.connected(start, peer(n));
            }
        };
        let mut sated = Dialer::new(peer(1));
        sated.learn(start, peer(2), [address(2)]);
        all(&mut sated);
        assert_eq!(sated.due(later, NEIGHBOURS), []);
        assert_eq!(sated.due(later, NEIGHBOURS - 1), [Dial::Peer(peer(2))]);
        for n in 0..REDIALS {
            assert_eq!(dialer.due(later + REDIAL_MAX * n, 0), [Dial::Peer(peer(2))]);
        }
        assert_eq!(dialer.due(later + REDIAL_MAX * REDIALS, 0), []);
        assert!(dialer.addresses(peer(2)).is_empty());
    }

    #[test]
    fn strangers_fill_no_table_and_other_networks_are_not_dialled_again() {
        let (start, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        dialer.learn(start, peer(2), (0..100).map(address));
        assert_eq!(dialer.addresses(peer(2)).len(), TOLD_MAX);
        dialer.shown(start, peer(2), (0..100).map(address));
        assert_eq!(dialer.addresses(peer(2)).len(), ADDRESSES_MAX, "what was told is among them");
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

    #[test]
    fn what_others_tell_of_a_peer_hides_no_address_at_which_it_was_reached_and_is_not_written_down() {
        let (now, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        dialer.shown(now, peer(2), [address(2)]);
        dialer.connected(now, peer(2));
        for n in 10..200 {
            dialer.learn(now, peer(2), [address(n)]);
        }
        assert_eq!(dialer.addresses(peer(2)).first(), Some(&address(2)));
        assert_eq!(dialer.addresses(peer(2)).len(), 1 + TOLD_MAX);
        assert_eq!(dialer.remembered(), [(peer(2), vec![address(2)])]);
        // A crowd that others tell of pushes nobody out whom we have met.
        dialer.disconnected(now, peer(2));
        for _ in 0..REDIALS - 1 {
            dialer.due(now + REDIAL_MAX, 0);
        }
        for n in 0..3 * KNOWN_MAX as u32 {
            dialer.learn(now, crowd(n), [address(3)]);
        }
        assert_eq!(dialer.known.len(), KNOWN_MAX);
        assert_eq!(dialer.addresses(peer(2)).first(), Some(&address(2)));
    }

    #[test]
    fn however_many_come_to_us_half_of_our_neighbours_are_peers_that_we_dialled() {
        let (now, mut dialer) = (Instant::now(), Dialer::new(peer(1)));
        for n in 0..NEIGHBOURS as u32 {
            dialer.shown(now, crowd(n), [address(3)]);
            dialer.connected(now, crowd(n));
        }
        for n in 0..40 {
            dialer.recall(now, peer(2 + n), vec![address((2 + n).into())]);
        }
        let mut chosen = 0;
        for tick in 0..20 {
            for dial in dialer.due(now + TICK * tick, NEIGHBOURS + chosen) {
                let Dial::Peer(peer) = dial else { panic!("{dial:?}") };
                dialer.chose(peer);
                dialer.connected(now, peer);
                chosen += 1;
            }
        }
        assert_eq!(chosen, NEIGHBOURS / 2, "and no more than that");
        assert_eq!(dialer.wanted(NEIGHBOURS + chosen), 0);
    }

    fn crowd(n: u32) -> PeerId {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
    }
}
