//! What each cause holds of a table of promises, and whether it may hold more.
//!
//! A cause is admitted while it holds no more than a multiple of what is still free (dynamic thresholds, Choudhury and
//! Hahne 1998): alone it may take most of the table, beside others less, and something always stays free for one who holds
//! little. The multiple is checked for the network, for the realm wherever it comes from, and for the account: many networks
//! of one realm weigh no more than the realm, many realms of one network no more than the network. The book knows no entries, so whoever keeps them in a form of
//! his own gives back exactly what he charged.

use super::{Cause, Limits, Standing};
use std::collections::BTreeMap;

/// How many times the free room a network, a realm, and one account or neighbour may hold. A network that is alone reaches
/// 8/9 of what its standing may use, an account 1/2.
const MULTIPLES: [usize; 3] = [8, 8, 1];

/// Whose share is used up, for a status with Retry-After and for a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverShare {
    Standing,
    Network,
    Realm,
    Who,
}

/// What is held below one node of the path; the levels below it are 0.
type Node = (u8, Cause);

pub struct Book {
    limits: Limits,
    /// Not of one's own, who has no share.
    held: BTreeMap<Node, usize>,
    used: [usize; Standing::COUNT],
}

impl Book {
    pub fn new(limits: Limits) -> Book {
        assert!(limits.reserved() <= limits.bytes, "reserves are parts of the table");
        Book { limits, held: BTreeMap::new(), used: [0; Standing::COUNT] }
    }

    /// Bytes charged, of all causes together.
    pub fn bytes(&self) -> usize {
        self.used.iter().sum()
    }

    pub fn used(&self, standing: Standing) -> usize {
        self.used[standing as usize]
    }

    /// What an entry of `own_bytes` (all that it is made of, heap included) is charged.
    pub fn weight(&self, own_bytes: usize) -> usize {
        self.limits.charge(own_bytes)
    }

    /// May this cause hold an entry of this [`Book::weight`] more?
    pub fn admits(&self, cause: Cause, weight: usize) -> Result<(), OverShare> {
        let others = Standing::ALL.iter().filter(|s| **s != cause.standing);
        let held: usize = others.map(|s| self.used(*s).max(self.limits.reserve(*s))).sum();
        let free = self.limits.bytes.saturating_sub(held + self.used(cause.standing));
        let Some(free) = free.checked_sub(weight) else { return Err(OverShare::Standing) };
        // One's own realms wait for nobody: the operator knows his phones.
        if cause.standing == Standing::Own {
            return Ok(());
        }
        for (node, multiple) in path(cause).into_iter().zip(MULTIPLES) {
            let held = self.held.get(&node).copied().unwrap_or_default();
            if held + weight > free.saturating_mul(multiple) {
                return Err(match node.0 {
                    0 => OverShare::Network,
                    1 => OverShare::Realm,
                    _ => OverShare::Who,
                });
            }
        }
        Ok(())
    }

    pub fn charge(&mut self, cause: Cause, weight: usize) {
        self.used[cause.standing as usize] += weight;
        if cause.standing != Standing::Own {
            for node in path(cause) {
                *self.held.entry(node).or_default() += weight;
            }
        }
    }

    pub fn discharge(&mut self, cause: Cause, weight: usize) {
        let used = &mut self.used[cause.standing as usize];
        *used = used.checked_sub(weight).expect("what is given back was charged");
        if cause.standing == Standing::Own {
            return;
        }
        for node in path(cause) {
            let held = self.held.get_mut(&node).expect("every charge has its nodes");
            *held = held.checked_sub(weight).expect("what is given back was charged");
            if *held == 0 {
                self.held.remove(&node);
            }
        }
    }

    /// What all nodes of one level hold.
    #[cfg(test)]
    pub(super) fn at_level(&self, level: u8) -> usize {
        self.held.iter().filter(|((l, _), _)| *l == level).map(|(_, bytes)| bytes).sum()
    }
}

fn path(cause: Cause) -> [Node; 3] {
    // A realm and an account are what they are in every network; a level that does not apply is one below its network.
    let realm = if cause.realm == 0 { cause } else { Cause { network: 0, ..cause } };
    let who = if cause.who == 0 { cause } else { realm };
    [(0, Cause { realm: 0, who: 0, ..cause }), (1, Cause { who: 0, ..realm }), (2, who)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_one_wherever_it_comes_from() {
        let mut book = Book::new(Limits::new(1 << 20, 1_024));
        let weight = book.weight(10);
        let from = |network: u64, realm: &str, who: u64| Cause {
            network,
            who,
            ..Cause::new(Standing::Other).of_realm(realm.as_bytes())
        };
        let mut held = 0;
        for n in 1..4_000 {
            let cause = from(n, "flood.test", n);
            match book.admits(cause, weight) {
                Ok(()) => {
                    book.charge(cause, weight);
                    held += 1;
                }
                Err(why) => assert_eq!(why, OverShare::Realm),
            }
        }
        assert!((880..930).contains(&held), "eight ninths: {held}");
        assert_eq!(book.admits(from(7, "guest.test", 1), weight), Ok(()));
        // Causes that know only their network are not all one realm.
        let mut book = Book::new(Limits::new(1 << 20, 1_024));
        for network in 1..900 {
            let cause = Cause { network, ..Cause::new(Standing::Other) };
            assert_eq!(book.admits(cause, weight), Ok(()));
            book.charge(cause, weight);
        }
    }

    #[test]
    fn what_was_charged_is_given_back_to_the_last_byte() {
        let mut book = Book::new(Limits::new(64 * 1_024, 64).reserving([500, 0, 0, 0]));
        let stranger = Cause::new(Standing::Other).of_realm(b"a.test").by(b"alice");
        let weight = book.weight(10);
        assert_eq!(weight, 1_024, "never less than its part of the table");
        for cause in [Cause::OWN, stranger, stranger] {
            assert_eq!(book.admits(cause, weight), Ok(()));
            book.charge(cause, weight);
        }
        assert_eq!((book.used(Standing::Own), book.used(Standing::Other)), (1_024, 2_048));
        for cause in [stranger, Cause::OWN, stranger] {
            book.discharge(cause, weight);
        }
        assert!(book.bytes() == 0 && book.held.is_empty());
    }
}
