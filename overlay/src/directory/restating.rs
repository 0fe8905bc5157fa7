//! What lapses: bindings that their author does not say again after a new start or a checkpoint (LOG-9), those of who lied,
//! and those whose time has come. And whose serving peer we are cut off from.

use super::{Directory, table::NEVER};
use dots_wire::{Label20, Now, PeerId};
use std::{collections::BTreeMap, time::Duration};

/// After a restart or a checkpoint an author has this long to say its bindings again.
pub const RESTATE: Duration = Duration::from_secs(30);

/// Realms of one author whose bindings are spared.
pub(crate) const SPARED_MAX: usize = 4_096;

impl Directory {
    /// LOG-9: `author` starts anew; what it does not say again lapses.
    pub fn restarts(&mut self, now: Now, author: PeerId) {
        self.spared.remove(&author);
        let serials: Vec<u64> = self.table.of_author(author).collect();
        for serial in serials {
            let held = self.table.get_mut(serial).expect("what is in an index is in the table");
            held.confirm_by = held.confirm_by.min(now.wall.plus(RESTATE));
        }
    }

    /// So many bindings will be said again.
    pub(super) fn restates(&mut self, author: PeerId, count: u32) {
        if self.has_author(author) {
            self.restating.insert(author, count);
        }
    }

    /// So many more bindings of a checkpoint were said again, or were and did not reach us. When all that it announced were
    /// said, what was not among them has gone.
    pub(super) fn restated(&mut self, author: PeerId, count: u32) {
        let Some(left) = self.restating.get_mut(&author) else { return };
        *left = left.saturating_sub(count);
        if *left > 0 {
            return;
        }
        self.restating.remove(&author);
        let is_unsaid = |serial: &u64| self.table.get(*serial).is_some_and(|held| held.confirm_by != NEVER);
        let unsaid: Vec<u64> = self.table.of_author(author).filter(is_unsaid).collect();
        for serial in unsaid {
            self.lapse(serial);
        }
        self.spared.remove(&author);
    }

    /// LOG-9a: of these realms the author said something that we do not have. So we do not know which of their bindings he did
    /// not say again.
    pub(super) fn spare(&mut self, author: PeerId, realms: &[Label20]) {
        if realms.is_empty() || !self.restating.contains_key(&author) {
            return;
        }
        let spared = self.spared.entry(author).or_default();
        spared.extend(realms.iter().take(SPARED_MAX.saturating_sub(spared.len())));
    }

    /// Not said again: it goes, unless it is spared. Then it counts for as long as its grant.
    fn lapse(&mut self, serial: u64) {
        let Some(held) = self.table.get(serial) else { return };
        let (author, realm) = (self.table.serving(held), self.table.realm(held));
        if self.spared.get(&author).is_some_and(|spared| spared.contains(&realm)) {
            self.table.get_mut(serial).expect("it was found").confirm_by = NEVER;
        } else {
            self.table.remove(serial);
        }
    }

    /// How many bindings that their homes granted live of each author.
    pub fn granted_by_author(&self) -> BTreeMap<PeerId, u32> {
        let mut granted = BTreeMap::new();
        for (_, held) in self.table.iter().filter(|(_, held)| held.is_granted()) {
            *granted.entry(self.table.serving(held)).or_default() += 1;
        }
        granted
    }

    /// Who lied is forgotten, for others who did.
    pub fn pardon(&mut self, author: PeerId) {
        self.liars.remove(&author);
    }

    /// Everything that `author` ever said is void: it lied. What it attested of others is not looked for: it is not shown, and
    /// not taken any more.
    pub fn drop_author(&mut self, author: PeerId) {
        let serials: Vec<u64> = self.table.of_author(author).collect();
        for serial in serials {
            self.table.remove(serial);
        }
        self.liars.insert(author);
    }

    /// No connection to `peer`: its phones are stale until it is back.
    pub fn set_dead(&mut self, peer: PeerId, dead: bool) {
        let changed = if dead && self.has_author(peer) {
            self.dead.insert(peer)
        } else {
            !dead && self.dead.remove(&peer)
        };
        if changed {
            let aors = self.table.of_author(peer).filter_map(|serial| Some(self.table.get(serial)?.aor_id));
            let aors: Vec<_> = aors.collect();
            self.table.changed.extend(aors);
        }
    }

    /// Drops what has ended. Call now and then; lookups do not show it anyway.
    pub fn sweep(&mut self, now: Now) {
        let rows = self.table.iter();
        let over = rows.filter(|(_, held)| held.until <= now.wall || held.confirm_by <= now.wall);
        let over: Vec<(u64, bool)> = over.map(|(serial, held)| (serial, held.until <= now.wall)).collect();
        for (serial, has_ended) in over {
            match has_ended {
                true => drop(self.table.remove(serial)),
                false => self.lapse(serial),
            }
        }
        self.revoked.sweep(now.wall);
        let gone: Vec<PeerId> = self.dead.iter().copied().filter(|peer| !self.has_author(*peer)).collect();
        self.dead.retain(|peer| !gone.contains(peer));
        let gone: Vec<PeerId> =
            self.restating.keys().copied().filter(|peer| !self.has_author(*peer)).collect();
        self.restating.retain(|peer, _| !gone.contains(peer));
        let gone: Vec<PeerId> = self.spared.keys().copied().filter(|peer| !self.has_author(*peer)).collect();
        self.spared.retain(|peer, _| !gone.contains(peer));
    }
}
