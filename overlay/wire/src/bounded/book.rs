//! What each cause holds of a table of promises, and whether it may hold more.
//!
//! A cause is admitted while it holds no more than a multiple of what is still free (dynamic thresholds, Choudhury and
//! Hahne 1998): alone it may take most of the table, beside others less, and something always stays free for one who holds
//! little. The multiple is checked for the network, for the realm wherever it comes from, and for the account: many networks
//! of one realm weigh no more than the realm, many realms of one network no more than the network. The book knows no entries, so whoever keeps them in a form of
//! his own gives back exactly what he charged.

use super::{Cause, Limits, Standing};
use crate::sha256;
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

/// Bytes held by each node of one level: networks, realms, accounts or neighbours. There may be as many as there are entries, so
/// each is named by 64 bits.
type Level = BTreeMap<u64, usize>;

pub struct Book {
    limits: Limits,
    /// Not of one's own, who has no share.
    held: [Level; 3],
    used: [usize; Standing::COUNT],
}

impl Book {
    pub fn new(limits: Limits) -> Book {
        assert!(limits.reserved() <= limits.bytes, "reserves are parts of the table");
        Book { limits, held: Default::default(), used: [0; Standing::COUNT] }
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
        let levels = [OverShare::Network, OverShare::Realm, OverShare::Who];
        for (((level, node), multiple), why) in self.held.iter().zip(path(cause)).zip(MULTIPLES).zip(levels) {
            let held = level.get(&node).copied().unwrap_or_default();
            if held + weight > free.saturating_mul(multiple) {
                return Err(why);
            }
        }
        Ok(())
    }

    pub fn charge(&mut self, cause: Cause, weight: usize) {
        self.used[cause.standing as usize] += weight;
        if cause.standing != Standing::Own {
            for (level, node) in self.held.iter_mut().zip(path(cause)) {
                *level.entry(node).or_default() += weight;
            }
        }
    }

    pub fn discharge(&mut self, cause: Cause, weight: usize) {
        let used = &mut self.used[cause.standing as usize];
        *used = used.checked_sub(weight).expect("what is given back was charged");
        if cause.standing == Standing::Own {
            return;
        }
        for (level, node) in self.held.iter_mut().zip(path(cause)) {
            let held = level.get_mut(&node).expect("every charge has its nodes");
            *held = held.checked_sub(weight).expect("what is given back was charged");
            if *held == 0 {
                level.remove(&node);
            }
        }
    }

    /// What all nodes of one level hold.
    #[cfg(test)]
    pub(super) fn at_level(&self, level: usize) -> usize {
        self.held[level].values().sum()
    }
}

/// The nodes of a path, the network first. A realm and an account are what they are in every network; a level that does not apply
/// is one below its network. Whoever makes two names collide pays for both.
fn path(cause: Cause) -> [u64; 3] {
    let standing = cause.standing as u64;
    // A network is short (see `network_of`): it and its standing are one number, of every level. Strangers' requests wait with
    // no more than that, and nothing is hashed for them: it was 25,000 instructions of a REGISTER without SHA in hardware.
    let network = cause.network ^ (standing << 56);
    let realm = match cause.realm {
        0 => network,
        realm => name([standing, 0, realm, 0]),
    };
    let who = match (cause.realm, cause.who) {
        (0, 0) => network,
        (realm, who) => {
            let below = if realm == 0 || who == 0 { cause.network } else { 0 };
            name([standing, below, realm, who])
        }
    };
    [network, realm, who]
}

fn name(parts: [u64; 4]) -> u64 {
    let hash = sha256(&parts.map(u64::to_be_bytes).concat());
    hash.0.iter().take(8).fold(0, |n, byte| (n << 8) | u64::from(*byte))
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
        assert!(book.bytes() == 0 && book.held.iter().all(BTreeMap::is_empty));
    }
}
