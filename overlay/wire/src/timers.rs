//! One deadline per timer: setting it replaces the old one, so no stale timer can fire.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

pub struct Timers<T> {
    by_time: BTreeSet<(Instant, T)>,
    deadlines: BTreeMap<T, Instant>,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { by_time: BTreeSet::new(), deadlines: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Timers<T> {
    pub fn set(&mut self, timer: T, at: Instant) {
        self.cancel(&timer);
        self.by_time.insert((at, timer.clone()));
        self.deadlines.insert(timer, at);
        debug_assert_eq!(self.by_time.len(), self.deadlines.len(), "each timer has one deadline");
    }

    /// `false`: it was not running.
    pub fn cancel(&mut self, timer: &T) -> bool {
        let Some(at) = self.deadlines.remove(timer) else { return false };
        let was_there = self.by_time.remove(&(at, timer.clone()));
        debug_assert!(was_there, "a deadline stands in both indexes");
        true
    }

    pub fn deadline(&self, timer: &T) -> Option<Instant> {
        self.deadlines.get(timer).copied()
    }

    /// The next deadline of all.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// A timer whose deadline has come, the earliest first; it runs no longer.
    pub fn expired(&mut self, now: Instant) -> Option<T> {
        if self.poll_timeout()? > now {
            return None;
        }
        let (at, timer) = self.by_time.pop_first()?;
        let deadline = self.deadlines.remove(&timer);
        debug_assert_eq!(deadline, Some(at), "a deadline stands in both indexes");
        Some(timer)
    }

    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn a_timer_that_is_set_again_fires_once_at_its_new_time() {
        let (mut timers, t0) = (Timers::default(), Instant::now());
        let after = |ms| t0 + Duration::from_millis(ms);
        timers.set("a", after(10));
        timers.set("b", after(20));
        timers.set("a", after(30));
        assert_eq!(timers.poll_timeout(), Some(after(20)));
        assert_eq!(timers.expired(after(10)), None);
        assert_eq!(timers.expired(after(40)), Some("b"));
        assert!(timers.cancel(&"a") && !timers.cancel(&"a"));
        assert_eq!((timers.expired(after(40)), timers.poll_timeout()), (None, None));
    }

    proptest! {
        #[test]
        fn what_fires_is_what_was_set_last(steps in proptest::collection::vec((0u8..8, 0u64..100, any::<bool>()), 0..60)) {
            let (mut timers, t0) = (Timers::default(), Instant::now());
            let mut model = BTreeMap::new();
            for (timer, ms, sets) in steps {
                let at = t0 + Duration::from_millis(ms);
                if sets {
                    timers.set(timer, at);
                    model.insert(timer, at);
                } else {
                    prop_assert_eq!(timers.cancel(&timer), model.remove(&timer).is_some());
                }
                prop_assert_eq!(timers.poll_timeout(), model.values().min().copied());
            }
            let mut last = t0;
            while let Some(timer) = timers.expired(t0 + Duration::from_secs(1)) {
                let at = model.remove(&timer).expect("set and not cancelled");
                prop_assert!(at >= last);
                last = at;
            }
            prop_assert!(model.is_empty() && timers.is_empty());
        }
    }
}
