//! Who brought which names. Both kinds that a peer can bring on nobody's word but its own are counted, so that one
//! peer cannot fill the table; and whoever has brought most gives way first.

use super::{Belief, CERTIFIED_PER_PEER, UNCLAIMED_PER_PEER};
use dots_wire::PeerId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Announced {
    by_peer: BTreeMap<PeerId, Names>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    unclaimed: BTreeSet<String>,
    certified: BTreeSet<String>,
}

impl Names {
    fn of(&mut self, belief: Belief) -> &mut BTreeSet<String> {
        if belief == Belief::SelfCertifying { &mut self.certified } else { &mut self.unclaimed }
    }

    fn len(&self) -> usize {
        self.unclaimed.len() + self.certified.len()
    }
}

impl Announced {
    /// May this peer bring one more?
    pub fn may(&self, peer: PeerId, belief: Belief) -> bool {
        self.by_peer.get(&peer).is_none_or(|names| match belief {
            Belief::SelfCertifying => names.certified.len() < CERTIFIED_PER_PEER,
            _ => names.unclaimed.len() < UNCLAIMED_PER_PEER,
        })
    }

    pub fn insert(&mut self, peer: PeerId, belief: Belief, name: &str) {
        self.by_peer.entry(peer).or_default().of(belief).insert(name.to_owned());
    }

    pub fn remove(&mut self, peer: PeerId, belief: Belief, name: &str) {
        let Some(names) = self.by_peer.get_mut(&peer) else { return };
        names.of(belief).remove(name);
        if names.len() == 0 {
            self.by_peer.remove(&peer);
        }
    }

    /// A name of whoever has brought most, if `newcomer` would not then have more than it.
    pub fn of_largest(&self, newcomer: PeerId) -> Option<String> {
        let mine = self.by_peer.get(&newcomer).map_or(0, Names::len);
        let largest = self.by_peer.values().max_by_key(|names| names.len())?;
        let name = largest.certified.last().or(largest.unclaimed.last());
        name.filter(|_| mine + 1 < largest.len()).cloned()
    }
}
