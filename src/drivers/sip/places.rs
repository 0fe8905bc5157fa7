//! The places that connections of phones take, and who makes room where all are taken.
//!
//! A connection costs a descriptor, and anybody may open one. What counts is what it has proved. On a *stranger's* no account
//! has answered a challenge yet; it may have to make room for a newcomer. One on which an account has stays.
//!
//! A network (an IPv4 address, the upper half of an IPv6 one) gets a quarter of the places: enough for a house behind one
//! NAT, too little to shut others out. At its share it pays for a newcomer with its own oldest stranger. Where the whole
//! table is full, the network with the most strangers pays with its oldest. So somebody who opens thousands of connections
//! takes the places from himself. Only what cannot be paid for is refused.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
};

/// One network gets this part of all places.
const NETWORK_PART: usize = 4;

/// Entries by the number of their connection; numbers grow, so the smallest is the oldest.
pub(super) struct Places<T> {
    most: usize,
    open: HashMap<u64, Place<T>>,
    networks: HashMap<IpAddr, Network>,
    /// Networks with strangers: how many, the oldest of them. The last one pays first.
    payers: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
    /// Newcomers that nobody could make room for.
    pub refused: u64,
    /// Strangers that made room.
    pub evicted: u64,
}

struct Place<T> {
    network: IpAddr,
    entry: T,
}

#[derive(Default)]
struct Network {
    places: usize,
    strangers: BTreeSet<u64>,
}

impl<T> Places<T> {
    pub fn new(most: usize) -> Places<T> {
        let (open, networks) = (HashMap::new(), HashMap::new());
        Places { most, open, networks, payers: BTreeSet::new(), refused: 0, evicted: 0 }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn get(&self, number: u64) -> Option<&T> {
        self.open.get(&number).map(|place| &place.entry)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.open.get_mut(&number).map(|place| &mut place.entry)
    }

    /// A place for a newcomer, who is a stranger; and who made room, if anybody had to. `Err`: there is none.
    pub fn take(&mut self, number: u64, remote: IpAddr, entry: T) -> Result<Option<T>, T> {
        let network = network_of(remote);
        let share = (self.most / NETWORK_PART).max(1);
        let at_share = self.networks.get(&network).filter(|held| held.places >= share);
        let payer = match at_share {
            Some(held) => held.strangers.first().copied(),
            None => self.payers.last().map(|(_, Reverse(oldest), _)| *oldest),
        };
        let mut paid = None;
        if at_share.is_some() || self.open.len() >= self.most {
            let Some(payer) = payer else {
                self.refused += 1;
                return Err(entry);
            };
            self.evicted += 1;
            paid = self.remove(payer);
        }
        let before = self.open.insert(number, Place { network, entry });
        assert!(before.is_none(), "the number of a connection is used once");
        self.change(network, |held| {
            held.places += 1;
            held.strangers.insert(number);
        });
        Ok(paid)
    }

    /// An account has answered a challenge on it.
    pub fn prove(&mut self, number: u64) {
        if let Some(network) = self.open.get(&number).map(|place| place.network) {
            self.change(network, |held| {
                held.strangers.remove(&number);
            });
        }
    }

    pub fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.open.remove(&number)?;
        self.change(place.network, |held| {
            held.places -= 1;
            held.strangers.remove(&number);
        });
        Some(place.entry)
    }

    /// Changes what a network holds, and where it stands among those that pay.
    fn change(&mut self, network: IpAddr, change: impl FnOnce(&mut Network)) {
        let held = self.networks.entry(network).or_default();
        if let Some(rank) = held.rank(network) {
            self.payers.remove(&rank);
        }
        change(held);
        if let Some(rank) = held.rank(network) {
            self.payers.insert(rank);
        }
        if held.places == 0 {
            self.networks.remove(&network);
        }
    }
}

impl Network {
    fn rank(&self, network: IpAddr) -> Option<(usize, Reverse<u64>, IpAddr)> {
        let oldest = self.strangers.first()?;
        Some((self.strangers.len(), Reverse(*oldest), network))
    }
}

/// What one stranger can have many addresses of: in IPv6 it is the lower half.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: who comes, and whose place was taken (`None`: a free one), or that there is none.
    #[derive(Debug, PartialEq)]
    enum Came {
        Free,
        InsteadOf(u64),
        Refused,
    }
    use Came::*;

    struct Hall {
        places: Places<u64>,
        next: u64,
    }

    fn hall(most: usize) -> Hall {
        Hall { places: Places::new(most), next: 0 }
    }

    impl Hall {
        fn comes(&mut self, from: &str) -> Came {
            self.next += 1;
            match self.places.take(self.next, from.parse().expect("an address"), self.next) {
                Ok(None) => Free,
                Ok(Some(payer)) => InsteadOf(payer),
                Err(_) => Refused,
            }
        }
    }

    #[test]
    fn a_network_at_its_quarter_pays_with_its_own_oldest_stranger() {
        let mut hall = hall(8);
        let came = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|from| hall.comes(from));
        assert_eq!(came, [Free, Free, InsteadOf(1), Free]);
        hall.places.prove(2);
        hall.places.prove(3);
        assert_eq!(hall.comes("192.0.2.1"), Refused, "both of its places are proved");
        hall.places.remove(2);
        assert_eq!(hall.comes("192.0.2.1"), Free);
    }

    #[test]
    fn the_lower_half_of_an_ipv6_address_is_one_network() {
        let mut hall = hall(8);
        let came =
            ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"].map(|from| hall.comes(from));
        assert_eq!(came, [Free, Free, InsteadOf(1), Free]);
    }

    #[test]
    fn a_full_table_takes_from_the_network_with_the_most_strangers() {
        let mut hall = hall(8);
        for from in [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.3",
            "192.0.2.4",
            "192.0.2.5",
            "192.0.2.6",
        ] {
            assert_eq!(hall.comes(from), Free);
        }
        assert_eq!(hall.comes("192.0.2.7"), InsteadOf(2), "of two with two the one with the older");
        assert_eq!(hall.comes("192.0.2.8"), InsteadOf(4));
        assert_eq!(hall.comes("192.0.2.9"), InsteadOf(1), "now all have one: the oldest");
    }

    #[test]
    fn what_has_proved_an_account_makes_room_for_nobody() {
        let mut hall = hall(4);
        for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            assert_eq!(hall.comes(from), Free);
            hall.places.prove(hall.next);
        }
        assert_eq!(hall.comes("192.0.2.5"), Refused);
        assert_eq!((hall.places.refused, hall.places.evicted, hall.places.len()), (1, 0, 4));
        hall.places.remove(2);
        hall.places.remove(2);
        assert_eq!(hall.comes("192.0.2.5"), Free);
        assert_eq!(hall.comes("192.0.2.6"), InsteadOf(6));
    }

    /// Thousands from a few addresses, while phones come and register: each phone gets its place and keeps it.
    #[test]
    fn a_flood_takes_places_only_from_itself() {
        let mut hall = hall(100);
        let mut phones = Vec::new();
        for round in 0..3_000_u32 {
            hall.comes(&format!("198.51.100.{}", round % 7));
            if round.is_multiple_of(100) {
                assert_ne!(hall.comes(&format!("192.0.2.{}", round / 100)), Refused);
                phones.push(hall.next);
            }
            // A phone needs its place for a while before it has proved its account.
            if let Some(phone) = phones.last().filter(|_| round % 100 == 50) {
                hall.places.prove(*phone);
            }
        }
        assert_eq!(phones.len(), 30);
        assert!(phones.iter().all(|phone| hall.places.get(*phone).is_some()));
        assert_eq!(hall.places.len(), 100);
        for number in 0..=hall.next {
            hall.places.remove(number);
        }
        assert!(hall.places.networks.is_empty() && hall.places.payers.is_empty(), "nothing is left behind");
    }
}
