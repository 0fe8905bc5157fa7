//! Two entries of one number are a proof against their author (LOG-7).

use super::chains::{CONVICTED_MAX, Chains};
use crate::records::{Entry, Unverified};
use dots_wire::PeerId;

impl Chains {
    /// Somebody shows two entries: is that a proof? Convicts their author if so. A proof against somebody of whom we
    /// hold nothing proves nothing: keys cost nothing to make up.
    pub fn check_proof(&mut self, first: &[u8], second: &[u8]) -> Option<PeerId> {
        let author = Entry::read(first)?.header().author;
        if author != self.me() && self.head(author).is_none() {
            return None;
        }
        self.convict_by(first, second)
    }

    /// The same for a proof from our own disk: its author was known when it was written.
    pub fn convict_by(&mut self, first: &[u8], second: &[u8]) -> Option<PeerId> {
        let (a, b) = (Entry::read(first)?, Entry::read(second)?);
        let place = |e: &Unverified| {
            let h = e.header();
            (h.author, h.incarnation, h.shard.clone(), h.seq)
        };
        if place(&a) != place(&b) || a.hash() == b.hash() {
            return None;
        }
        let author = a.header().author;
        if self.convicted.contains(&author) || self.convicted.len() >= CONVICTED_MAX {
            return None;
        }
        a.verify()?;
        b.verify()?;
        if author != self.me() {
            self.convict(author);
        }
        Some(author)
    }

    pub(super) fn convict(&mut self, author: PeerId) {
        self.convicted.insert(author);
        self.forget(author);
    }
}
