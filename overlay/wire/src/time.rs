//! Two clocks, named: an `Instant` drives timers, a `Timestamp` is signed.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// UTC, milliseconds since 1970. What records are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub fn plus(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
    pub fn minus(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
    /// Time from `earlier` to `self`; zero where it is not earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks at one moment; the first argument of every `handle`.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic: timers and durations.
    pub mono: Instant,
    /// Wall clock: what is signed and shown.
    pub wall: Timestamp,
}
