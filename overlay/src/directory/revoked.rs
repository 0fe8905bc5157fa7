//! Revocations (LOG-18): "grants of this AOR from before this time are void". Anybody can say so; only a home's word is asked
//! for. One is of use as long as a grant from before it could live.
//!
//! LOG-18. Who is a home of what realm is not known here. So room is shared: own and trusted homes have theirs, and of all others
//! whoever brought most loses the oldest of the author that has said most.

use super::{CLOCKS, LIFE_MAX, Source};
use crate::records::Revoke;
use dots_wire::{
    Hash, PeerId, Timestamp,
    bounded::{Cache, Cause, Limits},
};

/// A hundred thousand.
pub const REVOKED: Limits = Limits::new(8 * 1024 * 1024, 32_768).reserving([200, 300, 0, 0]);

pub struct Revoked {
    before: Cache<(PeerId, Hash), Timestamp>,
}

impl Revoked {
    pub fn with_room(limits: Limits) -> Revoked {
        Revoked { before: Cache::new(limits) }
    }

    pub fn insert(&mut self, wall: Timestamp, author: PeerId, source: Source, revoke: &Revoke) {
        let Revoke { aor_id, before } = *revoke;
        let known = self.before(aor_id, author);
        if before.since(wall) > CLOCKS || is_over(before, wall) || known >= Some(before) {
            return;
        }
        let network = Cause::name(&source.from.to_bytes());
        let cause = Cause { network, ..Cause::new(source.standing) }.by(&author.to_bytes());
        self.before.insert(cause, (author, aor_id), before);
    }

    pub fn before(&self, aor_id: Hash, author: PeerId) -> Option<Timestamp> {
        self.before.get(&(author, aor_id)).copied()
    }

    /// Drops those that no grant is old enough for any more.
    pub fn sweep(&mut self, wall: Timestamp) {
        self.before.retain(|_, before| !is_over(*before, wall));
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.before.len()
    }
}

/// Every grant from before it has ended.
pub fn is_over(before: Timestamp, wall: Timestamp) -> bool {
    before.plus(LIFE_MAX) <= wall
}
