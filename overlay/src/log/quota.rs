//! How much of one author's word we take (LOG-13, LOG-13a, LOG-13d). Keys cost nothing, so an author has little of his own; what is replicated of
//! him is what checked grants pay for: one grant pays for its binding and sixteen events more of its realm.
//!
//! ```text
//!   an entry ──▶ his own group, what he attests ── over? ─▶ the entry waits
//!            ──▶ each realm's group: paid for by its grants, the rest by half of what he has left
//!                                                ── over? ─▶ this group is dropped, the others count
//! ```
//!
//! So a realm whose phones say much at some serving peer silences neither that peer nor other realms there. What an author says
//! of itself and what it attests about others have purses of their own: a verifier that does its duty is not silenced for it.

use crate::records::{
    Entry,
    entry::{Counts, NO_REALM},
};
use dots_wire::{Allowance, Label20, Now, TokenBucket};
use std::collections::{BTreeMap, BTreeSet};

/// What one author may say; the rest of a chain waits and is fetched later. `burst` at once, so that a peer with that many
/// phones can start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    pub events: Allowance,
    pub attests: Allowance,
}

/// LOG-13.
pub const STRANGER: Quota =
    Quota { events: Allowance::new(100.0 / 60.0, 1_000.0), attests: Allowance::new(200.0 / 60.0, 1_000.0) };
/// LOG-13c: for homes of our own and of pinned realms.
pub const TRUSTED: Quota =
    Quota { events: Allowance::new(1_000.0, 100_000.0), attests: Allowance::new(100.0, 10_000.0) };
/// What one checked grant pays for: its binding, and what the phone does with it later.
pub const PER_GRANT: u32 = 17;
/// Events paid and not yet said; more says nothing of what he will need.
const PAID_MAX: u32 = 1_000_000;
/// Realms of which an author has something paid.
const REALMS_MAX: usize = 256;

/// What an author takes for himself.
pub type Cost = Counts;

impl Cost {
    /// Anything signed that somebody has to look at.
    pub const ONE: Cost = Cost { events: 1, attests: 0 };

    /// Of an entry, what no realm pays for: one that says nothing is still one.
    pub fn own(entry: &Entry) -> Cost {
        let own = entry.counts.iter().filter(|(realm, _)| *realm == NO_REALM).map(|(_, c)| c.events).sum();
        let attests = entry.counts.iter().map(|(_, counts)| counts.attests).sum();
        Cost { events: if entry.counts.is_empty() { 1 } else { own }, attests }
    }
}

/// Two purses that fill with time, and what grants have paid.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    events: TokenBucket,
    attests: TokenBucket,
    paid: BTreeMap<Label20, u32>,
}

impl Bucket {
    pub fn has(&self, now: Now, quota: Quota, cost: Cost) -> bool {
        self.events.has(now.mono, quota.events, due(cost.events, quota.events))
            && self.attests.has(now.mono, quota.attests, due(cost.attests, quota.attests))
    }

    /// Takes `cost`, or nothing. One entry larger than a whole purse passes when that is full.
    pub fn take(&mut self, now: Now, quota: Quota, cost: Cost) -> bool {
        let has = self.has(now, quota, cost);
        if has {
            self.events.charge(now.mono, quota.events, due(cost.events, quota.events));
            self.attests.charge(now.mono, quota.attests, due(cost.attests, quota.attests));
        }
        has
    }

    /// A grant of this realm was checked.
    pub fn pay(&mut self, realm: Label20) {
        if self.paid.len() >= REALMS_MAX && !self.paid.contains_key(&realm) {
            let least = self.paid.iter().min_by_key(|(_, paid)| **paid).map(|(realm, _)| *realm);
            least.map(|least| self.paid.remove(&least));
        }
        let paid = self.paid.entry(realm).or_default();
        *paid = paid.saturating_add(PER_GRANT).min(PAID_MAX);
    }

    /// Takes what the realms' groups cost. Gives back those that are over: neither paid for, nor within half of what the
    /// author has left.
    pub fn take_groups(
        &mut self,
        now: Now,
        quota: Quota,
        groups: impl Iterator<Item = (Label20, Counts)>,
    ) -> BTreeSet<Label20> {
        let mut over = BTreeSet::new();
        for (realm, Counts { events, .. }) in groups.filter(|(realm, _)| *realm != NO_REALM) {
            let paid = self.paid.get(&realm).copied().unwrap_or_default();
            let unpaid = events.saturating_sub(paid);
            if unpaid > 0 && !self.events.has(now.mono, quota.events, 2.0 * f64::from(unpaid)) {
                // Looked at for nothing. Never below zero: what is paid for passes all the same.
                if self.events.has(now.mono, quota.events, 1.0) {
                    self.events.charge(now.mono, quota.events, 1.0);
                }
                over.insert(realm);
                continue;
            }
            self.events.charge(now.mono, quota.events, f64::from(unpaid));
            if let Some(paid) = self.paid.get_mut(&realm) {
                *paid = paid.saturating_sub(events);
            }
        }
        self.paid.retain(|_, paid| *paid > 0);
        over
    }
}

fn due(count: u32, allowance: Allowance) -> f64 {
    f64::from(count).min(allowance.burst)
}
