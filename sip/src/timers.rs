//! Deadlines in one ordered set. Each owner keeps the moment of its own deadline and hands it back when that changes, so no
//! stale timer can exist and no second index is needed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Deadlines that nobody waits for come together, so that not each of them costs a look at the clock and a turn of the loop.
const TOGETHER: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    /// From here on time is cut into pieces.
    base: Option<Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    pub fn new() -> Timers<K> {
        Timers { due: BTreeSet::new(), base: None }
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

    /// The next moment from `at` on at which others end too: for what only waits to be forgotten (timers D, J, K, L, M).
    pub fn together(&mut self, at: Instant) -> Instant {
        let base = self.base.map_or(at, |base| base.min(at));
        self.base = Some(base);
        let pieces = (at - base).as_nanos().div_ceil(TOGETHER.as_nanos());
        base + TOGETHER * u32::try_from(pieces).unwrap_or(u32::MAX)
    }

    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first key whose time has come. It stays in the set until its owner sets another deadline.
    pub fn due(&self, now: Instant) -> Option<K> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_ends_together_and_never_early() {
        let (mut timers, start) = (Timers::<u8>::new(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        for (asked, given) in
            [(5_000, 5_000), (5_001, 5_250), (5_250, 5_250), (32_000, 32_000), (32_001, 32_250)]
        {
            assert_eq!(timers.together(at(asked)), at(given), "{asked}");
        }
        let odd = at(5_250) + Duration::from_nanos(1);
        assert_eq!(timers.together(odd), at(5_500));
        assert_eq!(timers.together(at(100)), at(100), "earlier than any before");
        assert_eq!(timers.together(at(5_001)), at(5_100));
    }
}
