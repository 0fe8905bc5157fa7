//! How much of one author's word we take (LOG-13, LOG-13a, LOG-13d). Keys cost nothing, so an author has little of his own; what is
//! replicated of him is what checked grants pay for: one grant pays for its binding and sixteen events more of its realm.
//!
//! ```text
//!   an entry ──▶ his own group, what he attests ── over? ─▶ the entry waits
//!            ──▶ each realm's group: own and pinned ─────▶ counts
//!                  paid for by its grants ──────────────▶ counts
//!                  a realm that we can judge ───────────▶ counts on credit, until it is judged
//!                  the rest, by half of what he has left ── over? ─▶ this group is dropped, the others count
//! ```
//!
//! So a realm whose phones say much at some serving peer silences neither that peer nor other realms there, and the first word of
//! a realm at a peer is judged before it is charged. What an author says of itself and what it attests about others have purses of
//! their own: a verifier that does its duty is not silenced for it.

use crate::records::entry::{Counts, NO_REALM};
use dots_wire::{
    Allowance, Label20, Now, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing},
};
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
/// Realms of which an author has something paid; each took a grant that somebody paid for.
pub(crate) const REALMS_MAX: usize = 16_384;
/// Events of one realm at one author that were taken and not judged yet, and realms that have such.
const OWED_MAX: u32 = 1_024;
pub(crate) const OWING_MAX: usize = 512;
/// Realms that can be judged here, and those of our own and of the operator's choice.
pub(crate) const KNOWN: Limits = Limits::new(8 * 1024 * 1024, 50_000);
pub(crate) const FAVOURED_MAX: usize = 10_000;

/// What an author takes for himself.
pub type Cost = Counts;

impl Cost {
    /// Anything signed that somebody has to look at.
    pub const ONE: Cost = Cost { events: 1, attests: 0 };

    /// Of an entry, what no realm pays for: one that says nothing is still one.
    pub fn own(counts: &[(Label20, Counts)]) -> Cost {
        let own = counts.iter().filter(|(realm, _)| *realm == NO_REALM).map(|(_, c)| c.events).sum();
        let attests = counts.iter().map(|(_, counts)| counts.attests).sum();
        Cost { events: if counts.is_empty() { 1 } else { own }, attests }
    }

    pub fn covers(self, other: Cost) -> bool {
        self.events >= other.events && self.attests >= other.attests
    }
}

/// What is believed of realms, as far as it decides what their words cost.
pub struct Realms {
    favoured: BTreeSet<Label20>,
    known: Cache<Label20, ()>,
}

impl Default for Realms {
    fn default() -> Realms {
        Realms { favoured: BTreeSet::new(), known: Cache::new(KNOWN) }
    }
}

impl Realms {
    pub fn favour(&mut self, realm: Label20) {
        if self.favoured.len() < FAVOURED_MAX {
            self.favoured.insert(realm);
        }
    }

    pub fn know(&mut self, realm: Label20) {
        if !self.known.contains(&realm) {
            self.known.insert(Cause::new(Standing::Other), realm, ());
        }
    }
}

/// Two purses that fill with time, what grants have paid, and what was taken on credit.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    events: TokenBucket,
    attests: TokenBucket,
    paid: BTreeMap<Label20, u32>,
    owed: BTreeMap<Label20, u32>,
}

impl Bucket {
    pub fn has(&self, now: Now, quota: Quota, cost: Cost) -> bool {
        // What costs nothing is never over.
        let has = |purse: &TokenBucket, allowance: Allowance, count: u32| {
            count == 0 || purse.has(now.mono, allowance, due(count, allowance))
        };
        has(&self.events, quota.events, cost.events) && has(&self.attests, quota.attests, cost.attests)
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
        let owed = self.owed.get(&realm).copied().unwrap_or_default();
        match owed.checked_sub(PER_GRANT) {
            Some(0) | None => drop(self.owed.remove(&realm)),
            Some(left) => drop(self.owed.insert(realm, left)),
        }
        if self.paid.len() >= REALMS_MAX && !self.paid.contains_key(&realm) {
            let least = self.paid.iter().min_by_key(|(_, paid)| **paid).map(|(realm, _)| *realm);
            least.map(|least| self.paid.remove(&least));
        }
        let gain = PER_GRANT.saturating_sub(owed);
        if gain > 0 {
            let paid = self.paid.entry(realm).or_default();
            *paid = paid.saturating_add(gain).min(PAID_MAX);
        }
    }

    /// Takes what the realms' groups cost. Gives back those that are over: neither paid for, nor of a realm that is judged soon,
    /// nor within half of what the author has left.
    pub fn take_groups(
        &mut self,
        now: Now,
        quota: Quota,
        realms: &Realms,
        groups: impl Iterator<Item = (Label20, Counts)>,
    ) -> BTreeSet<Label20> {
        let mut over = BTreeSet::new();
        let is_of_realm =
            |(realm, _): &(Label20, Counts)| *realm != NO_REALM && !realms.favoured.contains(realm);
        for (realm, Counts { events, .. }) in groups.filter(is_of_realm) {
            let paid = self.paid.get(&realm).copied().unwrap_or_default();
            let unpaid = events.saturating_sub(paid);
            let is_taken = unpaid == 0
                || (realms.known.contains(&realm) && self.owe(realm, unpaid))
                || self.spend(now, quota, unpaid);
            if !is_taken {
                over.insert(realm);
                continue;
            }
            if let Some(paid) = self.paid.get_mut(&realm) {
                *paid = paid.saturating_sub(events);
                if *paid == 0 {
                    self.paid.remove(&realm);
                }
            }
        }
        over
    }

    /// On credit: whoever has a grant for it pays when it was judged; what was refused stays owed. Nobody's debts keep another
    /// realm from having some: what to judge costs no more for a byte than any entry does.
    fn owe(&mut self, realm: Label20, events: u32) -> bool {
        let owed = self.owed.get(&realm).copied().unwrap_or_default().saturating_add(events);
        if owed > OWED_MAX {
            return false;
        }
        if self.owed.len() >= OWING_MAX && !self.owed.contains_key(&realm) {
            let most = self.owed.iter().max_by_key(|(_, owed)| **owed).map(|(realm, _)| *realm);
            most.map(|most| self.owed.remove(&most));
        }
        self.owed.insert(realm, owed);
        true
    }

    /// From the author's own purse, half of it at most.
    fn spend(&mut self, now: Now, quota: Quota, events: u32) -> bool {
        if self.events.has(now.mono, quota.events, 2.0 * f64::from(events)) {
            self.events.charge(now.mono, quota.events, f64::from(events));
            return true;
        }
        // Looked at for nothing. Never below zero: what is paid for passes all the same.
        if self.events.has(now.mono, quota.events, 1.0) {
            self.events.charge(now.mono, quota.events, 1.0);
        }
        false
    }
}

fn due(count: u32, allowance: Allowance) -> f64 {
    f64::from(count).min(allowance.burst)
}
