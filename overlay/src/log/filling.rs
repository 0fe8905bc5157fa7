//! Groups that were dropped on the way here and come later (LOG-1b). What was said of their realms since is said again, so that
//! nothing comes back that has ended meanwhile: that means reading entries again, so it is done once for all that one answer
//! brought, for few entries of a chain, and the next time is the later the more there was to read.

use super::chains::{Accepted, Chain, Chains, Later};
use crate::records::{Incarnation, Unverified, entry::Counts};
use dots_wire::{Label20, Now, PeerId};
use std::time::Duration;

/// Entries of one chain that are asked for again; what is beyond comes with the next checkpoint.
pub const HOLES_MAX: usize = 64;
/// What an author must have left before we ask him for what was dropped.
const FILL: super::quota::Cost = super::quota::Cost { events: 200, attests: 0 };
/// For each entry that was read again: reading takes less than a hundredth of it.
const PAUSE: Duration = Duration::from_millis(10);

impl Chain {
    pub fn add_hole(&mut self, seq: u64) {
        match self.holes.len() < HOLES_MAX {
            true => drop(self.holes.insert(seq)),
            false => self.lacks = true,
        }
    }
}

impl Chains {
    /// LOG-1b: the rest of an entry.
    pub(super) fn fill(&mut self, now: Now, entry: Unverified) -> Accepted {
        let (author, seq) = (entry.header().author, entry.header().seq);
        let nothing = Accepted::Known { news: false };
        let quota = self.quota(author);
        let Some(chain) = self.chains.get_mut(&author).filter(|chain| chain.holes.contains(&seq)) else {
            return nothing;
        };
        self.work += 1;
        let Some(entry) = entry.verify() else { return Accepted::Invalid };
        let first = chain.entries.front().map_or(seq, |e| e.seq);
        let at = usize::try_from(seq - first).expect("an entry that is held has a place");
        let held = chain.entries.get_mut(at).expect("a hole is an entry that is held");
        self.work += 1;
        let before = held.read();
        let is_new = |(realm, _): &(Label20, Counts)| before.counts.iter().all(|(held, _)| held != realm);
        let new = entry.counts.iter().copied().filter(is_new);
        let over = chain.bucket.take_groups(now, quota, &self.realms, new);
        let entry = entry.without(&over).unwrap_or(entry);
        let Some((filled, realms)) = before.filled(&entry) else { return nothing };
        if filled.dropped == 0 {
            chain.holes.remove(&seq);
        }
        for realm in realms {
            let from = chain.came.entry(realm).or_insert(seq);
            *from = seq.min(*from);
        }
        let bytes_before = chain.bytes;
        chain.bytes = chain.bytes - held.bytes.len() + filled.bytes.len();
        self.bytes = self.bytes - held.bytes.len() + filled.bytes.len();
        held.bytes = filled.bytes;
        let bytes = chain.bytes;
        self.resized(author, bytes_before, bytes);
        Accepted::Filled { author }
    }

    /// After an answer: what came late, with all that was said of the same realms since, in order.
    pub fn take_filled(&mut self, now: Now, author: PeerId) -> Later {
        let Some(chain) = self.chains.get_mut(&author).filter(|chain| !chain.came.is_empty()) else {
            return Vec::new();
        };
        let came = std::mem::take(&mut chain.came);
        let first = came.values().min().copied().unwrap_or_default();
        let (mut later, mut reads) = (Vec::new(), 0);
        for kept in chain.entries.iter().skip_while(|kept| kept.seq < first) {
            reads += 1;
            let entry = kept.read();
            let realms =
                came.iter().filter(|(_, from)| **from <= kept.seq).map(|(realm, _)| *realm).collect();
            let events = entry.events_of(&realms);
            if !events.is_empty() {
                later.push((entry.header.time, events));
            }
        }
        self.work += u64::from(reads);
        chain.fill_at = Some(now.mono + PAUSE * reads);
        self.cut_to_size(author);
        self.make_room(author);
        later
    }

    /// The first entry of this author that we hold in part: he has the rest.
    pub fn hole(&self, now: Now, author: PeerId) -> Option<(Incarnation, u64)> {
        let chain = self.chains.get(&author)?;
        let is_due = chain.fill_at.is_none_or(|at| at <= now.mono);
        let may = is_due && chain.bucket.has(now, self.quota(author), FILL);
        Some((chain.incarnation, *chain.holes.first().filter(|_| may)?))
    }
}
