//! How much of one author's word we take. Authors are strangers until somebody says otherwise.

use dots_wire::Now;
use std::time::Instant;

/// What one author may say. The design's numbers are for authors without stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Events per minute in the long run; the rest of a chain waits and is fetched later.
    pub events_per_minute: u32,
    /// Events at once, so that a peer with that many phones can start.
    pub burst: u32,
    /// Bytes of its live bindings in the directory.
    pub live_bytes: usize,
}

/// LOG-13.
pub const STRANGER: Quota = Quota { events_per_minute: 100, burst: 1_000, live_bytes: 64 * 1024 };
/// For peers that the operator named (homes of pinned realms).
pub const TRUSTED: Quota = Quota { events_per_minute: 60_000, burst: 100_000, live_bytes: 64 * 1024 * 1024 };

/// A bucket that fills with time.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub fn full(now: Now, quota: Quota) -> Bucket {
        Bucket { tokens: f64::from(quota.burst), at: now.mono }
    }

    /// Takes `count`, or nothing. One entry larger than the whole bucket passes when it is full.
    pub fn take(&mut self, now: Now, quota: Quota, count: u32) -> bool {
        let burst = f64::from(quota.burst);
        let passed = now.mono.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * f64::from(quota.events_per_minute) / 60.0).min(burst);
        self.at = self.at.max(now.mono);
        let count = f64::from(count).min(burst);
        if self.tokens < count {
            return false;
        }
        self.tokens -= count;
        true
    }
}
