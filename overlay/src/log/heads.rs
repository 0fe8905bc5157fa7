//! Where each chain stands, and one hash for all of that (LOG-11a).

use super::chains::{Chains, Head};
use crate::records::Incarnation;
use dots_wire::{Hash, PeerId, encode, sha256};
use std::ops::Bound;

/// Changes that wait for the next root; nobody asked for one so long.
const CHANGED_MAX: usize = 20_000;

impl Chains {
    /// Sorted by author.
    pub fn heads(&self) -> impl Iterator<Item = Head> + '_ {
        self.chains.keys().filter_map(|author| self.head_of(*author))
    }

    /// Those of the authors above this one.
    pub fn heads_above(&self, after: Option<PeerId>) -> impl Iterator<Item = Head> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let above = self.chains.range((from, Bound::Unbounded));
        above.filter_map(|(author, _)| self.head_of(*author))
    }

    fn head_of(&self, author: PeerId) -> Option<Head> {
        let chain = self.chains.get(&author)?;
        let (incarnation, seq) = (chain.incarnation, chain.next.saturating_sub(1));
        Some(Head { author, shard: String::new(), incarnation, seq, hash: chain.last })
    }

    /// The number of the newest entry of this author.
    pub fn head(&self, author: PeerId) -> Option<u64> {
        self.chains.get(&author).map(|chain| chain.next.saturating_sub(1))
    }

    /// Which entry that is: numbers come again in another life.
    pub fn head_hash(&self, author: PeerId) -> Option<Hash> {
        self.chains.get(&author).map(|chain| chain.last)
    }

    /// Groups of his newest entries were dropped on the way here, or by us.
    pub fn is_in_part(&self, author: PeerId) -> bool {
        self.chains.get(&author).is_some_and(|chain| chain.lacks || !chain.holes.is_empty())
    }

    /// How far we hold this author's chain.
    pub fn place(&self, author: PeerId) -> Option<(Incarnation, u64)> {
        self.chains.get(&author).map(|chain| (chain.incarnation, chain.next))
    }

    /// LOG-11a: one hash for all heads: equal roots mean that there is nothing to tell. It costs what has changed since.
    pub fn root(&mut self) -> Hash {
        self.sum_heads();
        debug_assert_eq!(self.heads_summed.len(), self.chains.len(), "each head is in the root once");
        self.heads_sum.root()
    }

    fn sum_heads(&mut self) {
        for author in std::mem::take(&mut self.heads_changed) {
            if let Some(summed) = self.heads_summed.remove(&author) {
                self.heads_sum.remove(&summed);
            }
            if let Some(head) = self.head_of(author) {
                let member = sha256(&encode(&head));
                self.heads_sum.insert(&member);
                self.heads_summed.insert(author, member);
            }
        }
    }

    /// The root is of this head no more, or now.
    pub(super) fn head_changes(&mut self, author: PeerId) {
        self.heads_changed.insert(author);
        if self.heads_changed.len() >= CHANGED_MAX {
            self.sum_heads();
        }
    }
}
