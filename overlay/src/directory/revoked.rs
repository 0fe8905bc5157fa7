//! Revocations: "grants of this AOR from before this time are void". Anybody can say so; only a home's word is asked
//! for. One is of use as long as a grant from before it could live.

use super::{CLOCKS, LIFE_MAX};
use crate::records::Revoke;
use dots_wire::{Hash, PeerId, Timestamp, bounded::Standing};
use std::collections::{BTreeMap, BTreeSet};

/// In all; at the limit whoever has said most loses its oldest.
pub const REVOKED_MAX: usize = 100_000;
/// Of one stranger; then its oldest goes.
pub const PER_STRANGER_MAX: usize = 1_000;

#[derive(Default)]
pub struct Revoked {
    by_author: BTreeMap<PeerId, Said>,
    by_size: BTreeSet<(usize, PeerId)>,
    count: usize,
}

#[derive(Default)]
struct Said {
    before: BTreeMap<Hash, Timestamp>,
    by_time: BTreeSet<(Timestamp, Hash)>,
}

impl Revoked {
    pub fn insert(&mut self, wall: Timestamp, author: PeerId, standing: Standing, revoke: &Revoke) {
        let Revoke { aor_id, before } = *revoke;
        let known = self.before(aor_id, author);
        if before.since(wall) > CLOCKS || is_over(before, wall) || known >= Some(before) {
            return;
        }
        self.remove(author, aor_id);
        let said = self.by_author.get(&author).map_or(0, |s| s.before.len());
        if standing == Standing::Other && said >= PER_STRANGER_MAX {
            self.remove_oldest(author);
        } else if self.count >= REVOKED_MAX
            && let Some((_, largest)) = self.by_size.last().copied()
        {
            self.remove_oldest(largest);
        }
        self.resize(author, |said| {
            said.before.insert(aor_id, before);
            said.by_time.insert((before, aor_id));
        });
    }

    fn remove_oldest(&mut self, author: PeerId) {
        if let Some((_, aor_id)) = self.by_author.get(&author).and_then(|s| s.by_time.first().copied()) {
            self.remove(author, aor_id);
        }
    }

    fn remove(&mut self, author: PeerId, aor_id: Hash) {
        self.resize(author, |said| {
            if let Some(before) = said.before.remove(&aor_id) {
                said.by_time.remove(&(before, aor_id));
            }
        });
    }

    fn resize(&mut self, author: PeerId, change: impl FnOnce(&mut Said)) {
        let said = self.by_author.entry(author).or_default();
        let from = said.before.len();
        change(said);
        let to = said.before.len();
        self.count = self.count + to - from;
        self.by_size.remove(&(from, author));
        if to == 0 {
            self.by_author.remove(&author);
        } else {
            self.by_size.insert((to, author));
        }
    }

    pub fn before(&self, aor_id: Hash, author: PeerId) -> Option<Timestamp> {
        self.by_author.get(&author)?.before.get(&aor_id).copied()
    }

    /// Drops those that no grant is old enough for any more.
    pub fn sweep(&mut self, wall: Timestamp) {
        let over: Vec<(PeerId, Hash)> = self
            .by_author
            .iter()
            .flat_map(|(author, said)| {
                said.by_time.iter().map(move |(before, aor_id)| (*author, *before, *aor_id))
            })
            .filter(|(_, before, _)| is_over(*before, wall))
            .map(|(author, _, aor_id)| (author, aor_id))
            .collect();
        for (author, aor_id) in over {
            self.remove(author, aor_id);
        }
    }
}

/// Every grant from before it has ended.
pub fn is_over(before: Timestamp, wall: Timestamp) -> bool {
    before.plus(LIFE_MAX) <= wall
}
