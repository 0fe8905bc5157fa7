//! When to put: off the hot path, once per AOR for a burst of changes, and not more often than the DHT can bear.
//!
//! An AOR is named by the beginning of its id here, for there is one for each account that has a phone: whoever makes two ids
//! begin alike has both put at one time.

use crate::directory::{Short, short};
use dots_wire::{Hash, Now, Timers};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// LOG-24: changes of one AOR within this time make one put.
const COALESCE: Duration = Duration::from_secs(2);
/// Between two puts of one AOR.
const PER_AOR: Duration = Duration::from_secs(30);
/// A live AOR is put again this often: holders come and go.
const REFRESH: Duration = Duration::from_secs(1_200);
/// Between any two puts.
const GAP: Duration = Duration::from_millis(50);
/// AORs that wait or are kept alive. There are no more than bindings of our own phones, which their own table has admitted, and
/// those that have gone since their last put; so this is never reached.
pub(crate) const AORS_MAX: usize = 160_000;

#[derive(Default)]
pub struct Puts {
    /// Without anybody there is nowhere to put: what is due waits for the first neighbour.
    has_neighbours: bool,
    due: Timers<Short>,
    /// Put so lately that the next must wait: few, for there is a gap between any two.
    last: BTreeMap<Short, Instant>,
    by_age: VecDeque<(Instant, Short)>,
    next_at: Option<Instant>,
}

impl Puts {
    pub fn set_neighbours(&mut self, any: bool) {
        self.has_neighbours = any;
    }

    /// Our bindings of `aor_id` changed.
    pub fn changed(&mut self, now: Now, aor_id: Hash) {
        self.forget_rested(now);
        let aor = short(&aor_id);
        let rested = self.last.get(&aor).map_or(now.mono, |at| *at + PER_AOR);
        self.plan(aor, (now.mono + COALESCE).max(rested));
    }

    fn plan(&mut self, aor: Short, at: Instant) {
        let is_later = self.due.deadline(&aor).is_some_and(|planned| planned <= at);
        let is_full = self.due.len() >= AORS_MAX && self.due.deadline(&aor).is_none();
        if !is_later && !is_full {
            self.due.set(aor, at);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let at = self.due.poll_timeout().filter(|_| self.has_neighbours)?;
        Some(self.next_at.map_or(at, |gap| gap.max(at)))
    }

    /// The AOR to put now. If there is anything to put, say so with [`Puts::put`].
    pub fn take_due(&mut self, now: Now) -> Option<Short> {
        if self.poll_timeout()? > now.mono {
            return None;
        }
        self.due.expired(now.mono)
    }

    pub fn put(&mut self, now: Now, aor: Short) {
        self.forget_rested(now);
        self.next_at = Some(now.mono + GAP);
        self.last.insert(aor, now.mono);
        self.by_age.push_back((now.mono, aor));
        self.plan(aor, now.mono + REFRESH);
    }

    /// Nobody needs it just now.
    pub fn rest(&mut self, now: Now, aor: Short) {
        self.plan(aor, now.mono + REFRESH);
    }

    fn forget_rested(&mut self, now: Now) {
        while let Some((at, aor)) = self.by_age.front().copied().filter(|(at, _)| *at + PER_AOR <= now.mono) {
            self.by_age.pop_front();
            if self.last.get(&aor) == Some(&at) {
                self.last.remove(&aor);
            }
        }
    }
}
