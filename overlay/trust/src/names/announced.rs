//! Who brought which names. Both kinds that a peer can bring on nobody's word but its own are counted, so that one
//! peer cannot fill the table. What somebody here has asked for counts for nobody: else whoever tells a peer a thousand names
//! would leave it nothing to say of the one that is wanted. When the table is full, the network that has brought most gives way
//! first, asked or not: keys are free, addresses are not.

use super::{Belief, CERTIFIED_PER_PEER, UNCLAIMED_PER_PEER};
use dots_wire::{PeerId, bounded::Cause};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::collections::{BTreeMap, BTreeSet};

/// Who tells a record.
#[derive(Clone, Copy, Debug)]
pub struct Teller {
    pub peer: PeerId,
    /// In which we reach it; where that is not known it is a network of its own.
    pub network: Option<u64>,
    /// We have asked for this name, for somebody here wants it.
    pub is_asked: bool,
}

/// What is written down of it, beside the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Brought {
    pub network: u64,
    pub is_asked: bool,
}

impl From<PeerId> for Teller {
    fn from(peer: PeerId) -> Teller {
        Teller { peer, network: None, is_asked: false }
    }
}

impl Teller {
    pub fn network(&self) -> u64 {
        self.network.unwrap_or_else(|| Cause::name(&self.peer.to_bytes()))
    }

    pub fn brought(&self) -> Option<Brought> {
        let is_more = self.network.is_some() || self.is_asked;
        is_more.then(|| Brought { network: self.network(), is_asked: self.is_asked })
    }

    pub fn with(self, brought: Option<Brought>) -> Teller {
        match brought {
            Some(Brought { network, is_asked }) => Teller { network: Some(network), is_asked, ..self },
            None => self,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Announced {
    by_peer: BTreeMap<PeerId, Names>,
    /// With what they weigh.
    by_network: BTreeMap<u64, (usize, BTreeSet<String>)>,
}

/// Names that nobody had asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    unclaimed: BTreeSet<String>,
    certified: BTreeSet<String>,
}

impl Names {
    fn of(&mut self, belief: Belief) -> &mut BTreeSet<String> {
        if belief == Belief::SelfCertifying { &mut self.certified } else { &mut self.unclaimed }
    }
}

impl Announced {
    /// May this peer bring one more that nobody asked for?
    pub fn may(&self, peer: PeerId, belief: Belief) -> bool {
        self.by_peer.get(&peer).is_none_or(|names| match belief {
            Belief::SelfCertifying => names.certified.len() < CERTIFIED_PER_PEER,
            _ => names.unclaimed.len() < UNCLAIMED_PER_PEER,
        })
    }

    pub fn insert(&mut self, teller: Teller, belief: Belief, name: &str, weight: usize) {
        if !teller.is_asked {
            self.by_peer.entry(teller.peer).or_default().of(belief).insert(name.to_owned());
        }
        let (bytes, names) = self.by_network.entry(teller.network()).or_default();
        *bytes += weight;
        names.insert(name.to_owned());
    }

    pub fn remove(&mut self, teller: Teller, belief: Belief, name: &str, weight: usize) {
        if let Some(names) = self.by_peer.get_mut(&teller.peer) {
            names.of(belief).remove(name);
            if names.unclaimed.is_empty() && names.certified.is_empty() {
                self.by_peer.remove(&teller.peer);
            }
        }
        let network = teller.network();
        if let Some((bytes, names)) = self.by_network.get_mut(&network) {
            *bytes = bytes.checked_sub(weight).expect("what was brought was weighed");
            names.remove(name);
            if names.is_empty() {
                self.by_network.remove(&network);
            }
        }
    }

    /// A name of the network that has brought most bytes, if the newcomer's would not then have more than it.
    pub fn of_largest(&self, newcomer: u64, weight: usize) -> Option<String> {
        let mine = self.by_network.get(&newcomer).map_or(0, |(bytes, _)| *bytes);
        let (bytes, names) = self.by_network.values().max_by_key(|(bytes, _)| *bytes)?;
        names.last().filter(|_| mine + weight < *bytes).cloned()
    }
}
