//! For which authors which realm has paid first, so that a full table of authors takes from the realm that fills it.

use dots_wire::{Label20, PeerId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Payers {
    by_serial: BTreeMap<u64, Label20>,
    /// Of each realm its authors, as they came.
    authors: BTreeMap<Label20, BTreeMap<u64, PeerId>>,
    /// The realms by how many authors they have paid for.
    by_count: BTreeSet<(usize, Label20)>,
}

impl Payers {
    /// `serial`: when the author came.
    pub fn insert(&mut self, serial: u64, author: PeerId, realm: Label20) {
        self.remove(serial);
        self.by_serial.insert(serial, realm);
        self.change(realm, |authors| authors.insert(serial, author));
    }

    pub fn remove(&mut self, serial: u64) {
        if let Some(realm) = self.by_serial.remove(&serial) {
            self.change(realm, |authors| authors.remove(&serial));
        }
    }

    /// The author that came first of those for whom the realm with the most has paid.
    pub fn first_of_most(&self) -> Option<PeerId> {
        let (_, realm) = self.by_count.last()?;
        self.authors.get(realm)?.values().next().copied()
    }

    fn change<R>(&mut self, realm: Label20, change: impl FnOnce(&mut BTreeMap<u64, PeerId>) -> R) {
        let authors = self.authors.entry(realm).or_default();
        self.by_count.remove(&(authors.len(), realm));
        change(authors);
        match authors.len() {
            0 => drop(self.authors.remove(&realm)),
            count => drop(self.by_count.insert((count, realm))),
        }
        debug_assert_eq!(self.authors.len(), self.by_count.len(), "each realm stands in both");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    fn author(n: u8) -> PeerId {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
    }

    #[test]
    fn the_realm_that_pays_for_most_gives_way_and_its_first_author_goes() {
        let (honest, greedy) = (Label20([9; 20]), Label20([1; 20]));
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
        assert_eq!(payers.first_of_most(), Some(author(1)), "an author has one payer");
        payers.remove(1);
        payers.remove(5);
        payers.remove(5);
        assert_eq!(payers.first_of_most(), None);
    }
}
