//! A token bucket: so much per second, so much at once.

use std::time::{Duration, Instant};

/// What one may do: tokens per second, and tokens at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    pub per_second: f64,
    pub burst: f64,
}

impl Allowance {
    pub const fn new(per_second: f64, burst: f64) -> Allowance {
        Allowance { per_second, burst }
    }
}

/// Full at first. It says what was spent, so a fresh one needs no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenBucket {
    /// Tokens that are missing, as of `at`.
    spent: f64,
    at: Option<Instant>,
}

impl TokenBucket {
    /// Takes `tokens`, or nothing where there are not so many.
    pub fn take(&mut self, now: Instant, allowance: Allowance, tokens: f64) -> bool {
        let spent = self.spent(now, allowance);
        (self.spent, self.at) = (spent, Some(now));
        if spent + tokens > allowance.burst {
            return false;
        }
        self.spent = spent + tokens;
        true
    }

    /// Is there as much now? Takes nothing.
    pub fn has(&self, now: Instant, allowance: Allowance, tokens: f64) -> bool {
        self.spent(now, allowance) + tokens <= allowance.burst
    }

    /// Takes tokens whether they are there or not: what has happened has happened.
    pub fn charge(&mut self, now: Instant, allowance: Allowance, tokens: f64) {
        (self.spent, self.at) = (self.spent(now, allowance) + tokens, Some(now));
    }

    /// As good as new: nothing is lost when it is forgotten.
    pub fn is_full(&self, now: Instant, allowance: Allowance) -> bool {
        self.spent(now, allowance) <= 0.0
    }

    /// Until `tokens` are there.
    pub fn wait(&self, now: Instant, allowance: Allowance, tokens: f64) -> Duration {
        let missing = self.spent(now, allowance) + tokens - allowance.burst;
        Duration::from_secs_f64((missing / allowance.per_second).max(0.0))
    }

    fn spent(&self, now: Instant, allowance: Allowance) -> f64 {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (self.spent - passed.as_secs_f64() * allowance.per_second).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut bucket, t0) = (TokenBucket::default(), Instant::now());
        let allowance = Allowance::new(10.0, 5.0);
        assert_eq!((0..20).filter(|_| bucket.take(t0, allowance, 1.0)).count(), 5);
        assert!(!bucket.has(t0, allowance, 1.0));
        assert_eq!(bucket.wait(t0, allowance, 1.0), Duration::from_millis(100));
        let later = t0 + Duration::from_millis(350);
        assert_eq!((0..20).filter(|_| bucket.take(later, allowance, 1.0)).count(), 3);
        assert!(bucket.is_full(later + Duration::from_secs(1), allowance));
        assert!(!bucket.take(t0, allowance, 1.0), "a clock that steps back gives nothing");
    }

    #[test]
    fn what_has_happened_is_charged_beyond_the_burst() {
        let (mut bucket, t0) = (TokenBucket::default(), Instant::now());
        let allowance = Allowance::new(1.0, 2.0);
        bucket.charge(t0, allowance, 10.0);
        assert!(!bucket.take(t0 + Duration::from_secs(8), allowance, 1.0));
        assert!(bucket.take(t0 + Duration::from_secs(9), allowance, 1.0));
    }
}
