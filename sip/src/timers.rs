//! Deadlines in one ordered set. Each owner keeps the moment of its own deadline and hands it back when that changes, so no
//! stale timer can exist and no second index is needed.

use std::{collections::BTreeSet, time::Instant};

#[derive(Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Timers<K> {
    pub fn new() -> Timers<K> {
        Timers { due: BTreeSet::new() }
    }

    /// Moves the deadline of `key`; `slot` is where its owner keeps it.
    pub fn set(&mut self, key: K, slot: &mut Option<Instant>, at: Option<Instant>) {
        if *slot == at {
            return;
        }
        if let Some(old) = slot.take() {
            let was_there = self.due.remove(&(old, key));
            debug_assert!(was_there, "a deadline that its owner knows is in the set");
        }
        if let Some(at) = at {
            self.due.insert((at, key));
        }
        *slot = at;
    }

    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first key whose time has come. It stays in the set until its owner sets another deadline.
    pub fn due(&self, now: Instant) -> Option<K> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, key)| *key)
    }
}
