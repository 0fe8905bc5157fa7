//! Realms that our phones have to do with: one of theirs was registered here, or called one of ours or was called. Their word
//! stands above a stranger's where room is short. Not on disk: after a start they are met again.

use dots_wire::{
    Now,
    bounded::{Cache, Cause, Limits, Standing},
};
use std::time::{Duration, Instant};

/// Names with when they were met last.
const REALMS: Limits = Limits::new(1024 * 1024, 5_000);
/// So long ago is a stranger again.
const FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

pub struct Met {
    realms: Cache<String, Instant>,
}

impl Default for Met {
    fn default() -> Met {
        Met { realms: Cache::new(REALMS) }
    }
}

impl Met {
    /// A phone that proved its account is here, or a call between one of theirs and one of ours was answered.
    pub fn meet(&mut self, realm: &str, now: Now) {
        match self.realms.get_mut(realm) {
            Some(at) => *at = now.mono,
            None => drop(self.realms.insert(Cause::new(Standing::Other), realm.to_owned(), now.mono)),
        }
    }

    pub fn is_met(&self, realm: &str, now: Now) -> bool {
        self.realms.get(realm).is_some_and(|at| now.mono.saturating_duration_since(*at) < FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::Timestamp;

    #[test]
    fn who_was_met_is_known_for_a_week() {
        let (mut met, mut now) = (Met::default(), Now { mono: Instant::now(), wall: Timestamp(0) });
        met.meet("a.test", now);
        assert!(met.is_met("a.test", now) && !met.is_met("b.test", now));
        now.mono += FOR;
        assert!(!met.is_met("a.test", now));
    }
}
