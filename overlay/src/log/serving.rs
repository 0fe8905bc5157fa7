//! Entries for whoever asks, and what we ask others for.

use super::chains::{Chains, Head, Kept};
use crate::records::Incarnation;
use dots_wire::{Now, PeerId};
use std::{cmp::Ordering, sync::Arc};

impl Chains {
    pub(super) fn held(&self, author: PeerId, seq: u64) -> Option<&Kept> {
        let chain = self.chains.get(&author)?;
        if let Some(before) = chain.before.as_ref().filter(|kept| kept.seq == seq) {
            return Some(before);
        }
        let first = chain.entries.front()?.seq;
        chain.entries.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// From where on `holder`, who tells of `head`, has something that we have not; `None`: nothing.
    pub fn missing(&self, now: Now, holder: PeerId, head: &Head) -> Option<u64> {
        if head.author == self.me {
            // Only a newer life of ours is news.
            return (head.incarnation > self.own).then_some(0);
        }
        if self.liars.contains(&head.author) || !head.shard.is_empty() {
            return None;
        }
        let Some(chain) = self.chains.get(&head.author) else {
            return self.has_place().then_some(0);
        };
        if !chain.bucket.has(now, self.quota(head.author), chain.waits_for) {
            return None;
        }
        // What others dropped its author has.
        let hole = |_: &PeerId| self.hole(now, head.author).map(|(_, from)| from);
        match head.incarnation.cmp(&chain.incarnation) {
            Ordering::Less => None,
            Ordering::Greater => Some(0),
            Ordering::Equal if head.seq >= chain.next => Some(chain.next),
            // The same place with another hash is what a liar looks like from afar.
            Ordering::Equal => match self.held(head.author, head.seq) {
                Some(held) if held.hash != head.hash => Some(head.seq),
                _ => Some(&holder).filter(|holder| **holder == head.author).and_then(hole),
            },
        }
    }

    /// Entries of one life from `from` on, up to `bytes_max`. Nothing where that one has gone: what is behind a gap helps nobody.
    pub fn range(
        &self,
        author: PeerId,
        incarnation: Incarnation,
        from: u64,
        bytes_max: usize,
    ) -> Vec<Arc<[u8]>> {
        let Some(chain) = self.chains.get(&author).filter(|c| c.incarnation >= incarnation) else {
            return Vec::new();
        };
        let from = if chain.incarnation > incarnation { 0 } else { from };
        let first = chain.entries.front().map_or(0, |kept| kept.seq);
        let before = chain.before.iter().filter(|kept| kept.seq == from);
        if from < first && !chain.is_whole {
            return Vec::new();
        }
        let mut bytes = 0;
        let fits = |e: &&Kept| {
            bytes += e.bytes.len();
            bytes <= bytes_max
        };
        let at = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX).min(chain.entries.len());
        let wanted = before.chain(chain.entries.range(at..));
        wanted.take_while(fits).map(|e| e.bytes.clone()).collect()
    }

    pub fn authors(&self) -> usize {
        self.chains.len()
    }

    pub fn is_convicted(&self, author: PeerId) -> bool {
        self.liars.contains(&author)
    }
}
