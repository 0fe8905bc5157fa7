//! What lapses: bindings that their author does not say again after a new start or a checkpoint (LOG-9), those of who lied,
//! and those whose time has come. And whose serving peer we are cut off from.

use super::{Directory, table::NEVER};
use dots_wire::{Now, PeerId};
use std::time::Duration;

/// After a restart or a checkpoint an author has this long to say its bindings again.
pub const RESTATE: Duration = Duration::from_secs(30);

impl Directory {
    /// LOG-9: `author` starts anew; what it does not say again lapses.
    pub fn restarts(&mut self, now: Now, author: PeerId) {
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
            self.table.remove(serial);
        }
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
        let over: Vec<u64> = over.map(|(serial, _)| serial).collect();
        for serial in over {
            self.table.remove(serial);
        }
        self.revoked.sweep(now.wall);
        let gone: Vec<PeerId> = self.dead.iter().copied().filter(|peer| !self.has_author(*peer)).collect();
        self.dead.retain(|peer| !gone.contains(peer));
        let gone: Vec<PeerId> =
            self.restating.keys().copied().filter(|peer| !self.has_author(*peer)).collect();
        self.restating.retain(|peer, _| !gone.contains(peer));
    }
}
