//! Who was caught lying. For good, where a grant had paid for his log or the operator had named him; of keys that nobody paid for
//! the newest only, since everybody has as many of these as he likes: a full table of them must let no other liar go.

use dots_wire::PeerId;
use std::collections::{BTreeSet, VecDeque};

/// Each stood for something once: as many as authors are held, since the start of this peer.
pub const FOR_GOOD_MAX: usize = 10_000;
/// Keys for which nobody had paid; the oldest goes, and is caught again if he lies again.
pub const MADE_UP_MAX: usize = 10_000;

#[derive(Default)]
pub struct Liars {
    for_good: BTreeSet<PeerId>,
    made_up: BTreeSet<PeerId>,
    order: VecDeque<PeerId>,
}

impl Liars {
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.for_good.contains(peer) || self.made_up.contains(peer)
    }

    /// Gives back whom it forgets for this one.
    pub fn insert(&mut self, peer: PeerId, mattered: bool) -> Option<PeerId> {
        if mattered && self.for_good.len() < FOR_GOOD_MAX {
            self.for_good.insert(peer);
            return None;
        }
        if self.contains(&peer) {
            return None;
        }
        let oldest = if self.order.len() >= MADE_UP_MAX { self.order.pop_front() } else { None };
        oldest.map(|oldest| self.made_up.remove(&oldest));
        self.made_up.insert(peer);
        self.order.push_back(peer);
        debug_assert_eq!(self.made_up.len(), self.order.len(), "each stands in both");
        // Who became one for good since is not pardoned.
        oldest.filter(|oldest| !self.contains(oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::PublicKey;

    fn peer(n: u32) -> PeerId {
        let mut bytes = [2; 33];
        bytes[1..5].copy_from_slice(&n.to_be_bytes());
        PeerId(PublicKey(bytes))
    }

    /// Ten thousand free keys that contradict themselves.
    #[test]
    fn made_up_liars_fill_no_table_that_others_need() {
        let mut liars = Liars::default();
        assert_eq!(liars.insert(peer(0), true), None);
        for n in 1..=20_000 {
            let forgotten = liars.insert(peer(n), false);
            assert_eq!(forgotten, n.checked_sub(MADE_UP_MAX as u32).filter(|n| *n > 0).map(peer));
            assert!(liars.contains(&peer(n)));
        }
        assert!(liars.contains(&peer(0)), "who mattered is not forgotten");
        assert_eq!(liars.insert(peer(30_000), true), None, "and there is room for another who does");
    }

    #[test]
    fn who_is_known_takes_no_second_place() {
        let mut liars = Liars::default();
        (0..3).for_each(|_| assert_eq!(liars.insert(peer(1), false), None));
        assert_eq!(liars.order.len(), 1);
        assert_eq!(liars.insert(peer(1), true), None);
        (2..=10_001).for_each(|n| assert_eq!(liars.insert(peer(n), false), None));
        assert!(liars.contains(&peer(1)), "convicted for good meanwhile");
    }
}
