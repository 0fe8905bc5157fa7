//! For which authors which realm pays, so that a full table of authors takes from whoever fills it: first from the standing that
//! owes us least, in it from the network in which we reach the homes that pay for most (names and keys are free, addresses are
//! not), in that from the realm that pays for most, and there the author that came first.

use dots_wire::{Label20, PeerId, bounded::Standing};
use std::collections::{BTreeMap, BTreeSet};

/// Whose grant it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Payer {
    pub standing: Standing,
    /// In which we reached the realm's home.
    pub network: u64,
    pub realm: Label20,
}

#[derive(Default)]
pub struct Payers {
    by_serial: BTreeMap<u64, Payer>,
    /// Of each payer its authors, as they came.
    authors: BTreeMap<Payer, BTreeMap<u64, PeerId>>,
    /// How many authors a network pays for.
    networks: BTreeMap<(Standing, u64), usize>,
    /// The same, the heaviest last; and in each network its realms.
    by_network: BTreeSet<(Standing, usize, u64)>,
    by_realm: BTreeSet<(Standing, u64, usize, Label20)>,
}

impl Payers {
    /// A grant was checked. Of two that pay for one author the one counts that pays for fewer: else whoever fills the table would
    /// take an author with him by one phone there. `serial`: when the author came.
    pub fn insert(&mut self, serial: u64, author: PeerId, payer: Payer) {
        match self.by_serial.get(&serial) {
            Some(held) if *held == payer || self.weight(held) <= self.weight_with_one_more(&payer) => return,
            _ => {}
        }
        self.remove(serial);
        self.by_serial.insert(serial, payer);
        self.change(payer, |authors| authors.insert(serial, author));
    }

    pub fn remove(&mut self, serial: u64) {
        if let Some(payer) = self.by_serial.remove(&serial) {
            self.change(payer, |authors| authors.remove(&serial));
        }
    }

    pub fn contains(&self, serial: u64) -> bool {
        self.by_serial.contains_key(&serial)
    }

    /// Who gives way.
    pub fn first_of_most(&self) -> Option<PeerId> {
        let (standing, _, network) = *self.by_network.last()?;
        let all =
            (standing, network, 0, Label20([0; 20]))..=(standing, network, usize::MAX, Label20([255; 20]));
        let (.., realm) = *self.by_realm.range(all).next_back()?;
        self.authors.get(&Payer { standing, network, realm })?.values().next().copied()
    }

    fn weight(&self, payer: &Payer) -> (Standing, usize, usize) {
        let of_network = self.networks.get(&(payer.standing, payer.network)).copied().unwrap_or_default();
        (payer.standing, of_network, self.authors.get(payer).map_or(0, BTreeMap::len))
    }

    fn weight_with_one_more(&self, payer: &Payer) -> (Standing, usize, usize) {
        let (standing, of_network, of_realm) = self.weight(payer);
        (standing, of_network + 1, of_realm + 1)
    }

    fn change<R>(&mut self, payer: Payer, change: impl FnOnce(&mut BTreeMap<u64, PeerId>) -> R) {
        let Payer { standing, network, realm } = payer;
        let authors = self.authors.entry(payer).or_default();
        let before = authors.len();
        change(authors);
        let after = authors.len();
        if after == 0 {
            self.authors.remove(&payer);
        }
        self.by_realm.remove(&(standing, network, before, realm));
        if after > 0 {
            self.by_realm.insert((standing, network, after, realm));
        }
        let of_network = self.networks.entry((standing, network)).or_default();
        self.by_network.remove(&(standing, *of_network, network));
        *of_network = *of_network + after - before;
        match *of_network {
            0 => drop(self.networks.remove(&(standing, network))),
            count => drop(self.by_network.insert((standing, count, network))),
        }
        debug_assert_eq!(self.authors.len(), self.by_realm.len(), "each payer stands in both");
        debug_assert_eq!(self.networks.len(), self.by_network.len(), "each network stands in both");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    fn author(n: u8) -> PeerId {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
    }

    fn payer(network: u64, realm: u8) -> Payer {
        Payer { standing: Standing::Other, network, realm: Label20([realm; 20]) }
    }

    #[test]
    fn the_realm_that_pays_for_most_gives_way_and_its_first_author_goes() {
        let (honest, greedy) = (payer(1, 9), payer(1, 1));
        let mut payers = Payers::default();
        assert_eq!(payers.first_of_most(), None);
        payers.insert(1, author(1), honest);
        for n in 2..6 {
            payers.insert(u64::from(n), author(n), greedy);
        }
        for n in 2..5 {
            assert_eq!(payers.first_of_most(), Some(author(n)));
            payers.remove(u64::from(n));
        }
        payers.insert(5, author(5), honest);
        payers.remove(1);
        payers.remove(5);
        payers.remove(5);
        assert_eq!(payers.first_of_most(), None);
        assert!(payers.networks.is_empty() && payers.by_realm.is_empty());
    }

    /// Realms are free: a hundred of one network that pay for one author each are that network's hundred.
    #[test]
    fn many_realms_of_one_network_weigh_as_one() {
        let mut payers = Payers::default();
        payers.insert(1, author(1), payer(7, 200));
        payers.insert(2, author(2), payer(7, 200));
        for n in 3..100 {
            payers.insert(u64::from(n), author(n), payer(4, n));
        }
        for _ in 3..97 {
            let first = payers.first_of_most().expect("somebody gives way");
            assert!(first != author(1) && first != author(2));
            let serial = (3..100).find(|n| author(*n) == first).expect("one of the crowd");
            payers.remove(u64::from(serial));
        }
    }

    #[test]
    fn who_owes_us_least_gives_way_and_an_author_is_his_lightest_payers() {
        let mut payers = Payers::default();
        let met = Payer { standing: Standing::Met, ..payer(1, 1) };
        (1..5).for_each(|n| payers.insert(n, author(1 + n as u8), met));
        payers.insert(9, author(9), payer(2, 2));
        assert_eq!(payers.first_of_most(), Some(author(9)), "strangers before those we know");
        // A crowd's phone at an honest author does not make him one of the crowd.
        for order in [true, false] {
            let (crowd, own) = (payer(5, 5), payer(6, 6));
            let mut payers = Payers::default();
            (10..20).for_each(|n| payers.insert(n, author(n as u8), crowd));
            let both = if order { [crowd, own] } else { [own, crowd] };
            both.into_iter().for_each(|payer| payers.insert(1, author(1), payer));
            assert_eq!(payers.by_serial.get(&1), Some(&own));
        }
    }
}
