//! Two entries of one number are a proof against their author (LOG-7).

use super::chains::Chains;
use crate::records::{Entry, Unverified};
use dots_wire::PeerId;

/// What two entries are that somebody shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Of a lie of this author. `mattered`: somebody stood for him.
    Of { author: PeerId, mattered: bool },
    /// Known already, or of somebody unknown.
    NotNeeded,
    /// None: whoever passed it on did not check it.
    False,
}

impl Chains {
    /// Somebody shows two entries: is that a proof? Convicts their author if so. A proof against somebody of whom we
    /// hold nothing proves nothing: keys cost nothing to make up.
    pub fn check_proof(&mut self, first: &[u8], second: &[u8]) -> Proof {
        let Some(author) = Entry::read(first).map(|entry| entry.header().author) else { return Proof::False };
        if (author != self.me && self.head(author).is_none()) || self.liars.contains(&author) {
            return Proof::NotNeeded;
        }
        let mattered = self.matters(author);
        match self.proved(first, second) {
            None => Proof::False,
            Some(author) => {
                if author != self.me {
                    self.convict(author);
                }
                Proof::Of { author, mattered }
            }
        }
    }

    /// The same for a proof from our own disk: its author was known when it was written, and mattered.
    pub fn convict_by(&mut self, first: &[u8], second: &[u8]) -> Option<PeerId> {
        let author = self.proved(first, second)?;
        if author != self.me {
            self.pardoned.extend(self.liars.insert(author, true));
            self.forget(author);
        }
        Some(author)
    }

    fn proved(&mut self, first: &[u8], second: &[u8]) -> Option<PeerId> {
        let (a, b) = (Entry::read(first)?, Entry::read(second)?);
        let place = |e: &Unverified| {
            let h = e.header();
            (h.author, h.incarnation, h.shard.clone(), h.seq)
        };
        if place(&a) != place(&b) || a.hash() == b.hash() {
            return None;
        }
        let author = a.header().author;
        if self.liars.contains(&author) {
            return None;
        }
        self.work += 2;
        a.verify()?;
        b.verify()?;
        Some(author)
    }

    /// LOG-7a.
    pub(super) fn convict(&mut self, author: PeerId) {
        let mattered = self.matters(author);
        self.pardoned.extend(self.liars.insert(author, mattered));
        self.forget(author);
    }

    /// Who was convicted and is forgotten for others: of keys that nobody pays for only the newest are known.
    pub fn take_pardoned(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.pardoned)
    }
}
