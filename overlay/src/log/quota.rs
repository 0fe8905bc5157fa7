//! How much of one author's word we take. Keys cost nothing, so an author has little of his own; what is replicated of him
//! is what checked grants pay for: one grant pays for its binding and sixteen events more.
//!
//! What an author says of itself and what it attests about others have purses of their own: a verifier that does its
//! duty is not silenced for it.

use crate::records::{Entry, Event};
use dots_wire::Now;
use std::time::Instant;

/// What one author may say. The design's numbers are for authors without stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub events: Rate,
    pub attests: Rate,
}

/// So many per minute in the long run; the rest of a chain waits and is fetched later. `burst` at once, so that a peer
/// with that many phones can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: u32,
    pub burst: u32,
}

/// LOG-13.
pub const STRANGER: Quota =
    Quota { events: Rate { per_minute: 100, burst: 1_000 }, attests: Rate { per_minute: 200, burst: 1_000 } };
/// For homes of our own and of pinned realms.
pub const TRUSTED: Quota = Quota {
    events: Rate { per_minute: 60_000, burst: 100_000 },
    attests: Rate { per_minute: 6_000, burst: 10_000 },
};

/// What an entry takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub events: u32,
    pub attests: u32,
}

impl Cost {
    /// Anything signed that somebody has to look at.
    pub const ONE: Cost = Cost { events: 1, attests: 0 };

    pub fn of(entry: &Entry) -> Cost {
        let attests = entry.events.iter().filter(|e| matches!(e, Event::Attest(_))).count();
        let attests = u32::try_from(attests).unwrap_or(u32::MAX);
        let events = entry.header.count.saturating_sub(attests);
        Cost { events: if attests == 0 { events.max(1) } else { events }, attests }
    }
}

/// Two purses that fill with time.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    events: Purse,
    attests: Purse,
    /// Events that grants have paid for.
    paid: u32,
}

/// What one checked grant pays for: its binding, and what the phone does with it later.
pub const PER_GRANT: u32 = 17;
/// Events paid and not yet said; more says nothing of what he will need.
const PAID_MAX: u32 = 1_000_000;

impl Bucket {
    pub fn full(now: Now, quota: Quota) -> Bucket {
        Bucket { events: Purse::full(now, quota.events), attests: Purse::full(now, quota.attests), paid: 0 }
    }

    pub fn has(&self, now: Now, quota: Quota, cost: Cost) -> bool {
        let unpaid = cost.events.saturating_sub(self.paid);
        self.events.level(now, quota.events) >= due(unpaid, quota.events)
            && self.attests.level(now, quota.attests) >= due(cost.attests, quota.attests)
    }

    /// A grant of his was checked.
    pub fn pay(&mut self) {
        self.paid = self.paid.saturating_add(PER_GRANT).min(PAID_MAX);
    }

    /// Takes `cost`, or nothing. One entry larger than a whole purse passes when that is full.
    pub fn take(&mut self, now: Now, quota: Quota, cost: Cost) -> bool {
        let has = self.has(now, quota, cost);
        if has {
            let paid = cost.events.min(self.paid);
            self.paid -= paid;
            self.events.take(now, quota.events, cost.events - paid);
            self.attests.take(now, quota.attests, cost.attests);
        }
        has
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Purse {
    tokens: f64,
    at: Instant,
}

impl Purse {
    pub fn full(now: Now, rate: Rate) -> Purse {
        Purse { tokens: f64::from(rate.burst), at: now.mono }
    }

    fn level(&self, now: Now, rate: Rate) -> f64 {
        let passed = now.mono.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + passed * f64::from(rate.per_minute) / 60.0).min(f64::from(rate.burst))
    }

    /// `false`: there is not enough, and nothing was taken.
    pub fn take(&mut self, now: Now, rate: Rate, count: u32) -> bool {
        let (level, due) = (self.level(now, rate), due(count, rate));
        if level < due {
            return false;
        }
        *self = Purse { tokens: level - due, at: self.at.max(now.mono) };
        true
    }
}

fn due(count: u32, rate: Rate) -> f64 {
    f64::from(count.min(rate.burst))
}
