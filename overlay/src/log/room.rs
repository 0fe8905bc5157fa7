//! Who has room for a log here, and who gives way: keys cost nothing, and neither do realms, so no table of them fails closed.

use super::{
    Defence,
    chains::Chains,
    payers::Payer,
    quota::{Quota, STRANGER, TRUSTED},
};
use dots_wire::{Label20, PeerId, bounded::Cause};
use std::collections::BTreeMap;

/// Authors whose chains we hold (design: to about 10,000 peers every peer knows every peer). At the limit the one goes that
/// came first and for whom no checked grant pays, then one of the network and realm that pay for most.
pub const AUTHORS_MAX: usize = 10_000;
/// Bytes kept of an author for whom a grant pays, to serve others and to catch contradictions. He makes a checkpoint well before
/// he has said his live bindings twice, and with these this grows.
const CHAIN_BYTES_MAX: usize = 8 * 1024 * 1024;
const CHAIN_BYTES_PER_BINDING: usize = 4 * 1024;
/// LOG-13b: of an author for whom no grant pays, briefly and little; a little more until his bindings had time to be judged.
const UNPAID_BYTES_MAX: usize = 64 * 1024;
const UNJUDGED_BYTES_MAX: usize = 512 * 1024;
/// Entries kept in all; above, unpaid authors go, then the longest chains lose their oldest entries.
pub(crate) const TOTAL_BYTES_MAX: usize = 120 * 1024 * 1024;
/// Peers that the operator named.
const TRUSTED_MAX: usize = 1_000;

impl Chains {
    pub fn trust(&mut self, peer: PeerId) {
        if self.trusted.len() < TRUSTED_MAX {
            self.trusted.insert(peer);
            if let Some(chain) = self.chains.get(&peer) {
                self.unpaid.remove(&chain.serial);
                self.payers.remove(chain.serial);
            }
        }
    }

    pub fn is_trusted(&self, author: PeerId) -> bool {
        self.trusted.contains(&author)
    }

    pub fn quota(&self, author: PeerId) -> Quota {
        if author == self.me || self.is_trusted(author) { TRUSTED } else { STRANGER }
    }

    /// LOG-13d: our own realm, or one that the operator vouches for: what is said of it is never over.
    pub fn favour(&mut self, realm: Label20) {
        self.realms.favour(realm);
    }

    /// What is said of this realm can be judged: it is judged before it is charged.
    pub fn know(&mut self, realm: Label20) {
        if self.disarmed != Some(Defence::JudgedFirst) {
            self.realms.know(realm);
        }
    }

    /// A grant of one of this author's bindings was checked and is good, and `cause` pays for it.
    pub fn pay(&mut self, author: PeerId, realm: Label20, cause: Cause) {
        self.know(realm);
        let Some(chain) = self.chains.get_mut(&author) else { return };
        chain.bucket.pay(realm);
        chain.paid_for = chain.paid_for.saturating_add(1);
        let serial = chain.serial;
        self.unpaid.remove(&serial);
        if author != self.me && !self.trusted.contains(&author) {
            let Cause { standing, network, .. } = cause;
            self.payers.insert(serial, author, Payer { standing, network, realm });
        }
    }

    /// So many granted bindings live of each author. Whose have all ended is nobody's to pay for, and as new as he who comes now.
    pub fn lapse(&mut self, live: &BTreeMap<PeerId, u32>) {
        let mut long = Vec::new();
        for (author, chain) in &mut self.chains {
            chain.paid_for = live.get(author).copied().unwrap_or_default();
            if chain.paid_for == 0 && self.payers.contains(chain.serial) {
                self.payers.remove(chain.serial);
                self.next_serial += 1;
                chain.serial = self.next_serial;
                self.unpaid.insert(chain.serial, *author);
            }
            if chain.paid_for == 0 && chain.bytes > UNPAID_BYTES_MAX {
                long.push(*author);
            }
        }
        for author in long {
            if self.bytes_max(author, 0) == UNJUDGED_BYTES_MAX {
                self.cut_to(author, UNPAID_BYTES_MAX);
            }
        }
    }

    /// One author more: he is the newest of those for whom nobody has paid.
    pub(super) fn make_place(&mut self, author: PeerId) {
        if self.chains.len() >= AUTHORS_MAX
            && let Some(first) = self.gives_way()
        {
            self.forget(first);
        }
        self.next_serial += 1;
        if author != self.me && !self.is_trusted(author) {
            self.unpaid.insert(self.next_serial, author);
        }
    }

    /// Who makes room for one more author.
    fn gives_way(&self) -> Option<PeerId> {
        self.unpaid.values().next().copied().or_else(|| self.payers.first_of_most())
    }

    pub(super) fn has_place(&self) -> bool {
        let is_disarmed = self.disarmed == Some(Defence::AuthorsGiveWay);
        self.chains.len() < AUTHORS_MAX || (!is_disarmed && self.gives_way().is_some())
    }

    /// LOG-13b.
    fn bytes_max(&self, author: PeerId, paid_for: u32) -> usize {
        let is_paid =
            paid_for > 0 || self.trusted.contains(&author) || self.disarmed == Some(Defence::UnpaidAreShort);
        let for_bindings =
            usize::try_from(paid_for).unwrap_or(usize::MAX).saturating_mul(CHAIN_BYTES_PER_BINDING);
        match is_paid {
            // What we write ourselves is bounded where it is written.
            _ if author == self.me => usize::MAX,
            true => CHAIN_BYTES_MAX.max(for_bindings),
            false => UNJUDGED_BYTES_MAX,
        }
    }

    /// A chain that is longer than what is kept of its author loses its oldest entries.
    pub(super) fn cut_to_size(&mut self, author: PeerId) {
        let Some(paid_for) = self.chains.get(&author).map(|chain| chain.paid_for) else { return };
        self.cut_to(author, self.bytes_max(author, paid_for));
    }

    fn cut_to(&mut self, author: PeerId, bytes_max: usize) {
        let Some(chain) = self.chains.get_mut(&author) else { return };
        let before = chain.bytes;
        while chain.entries.len() > 1 && chain.bytes > bytes_max {
            self.bytes -= chain.cut();
        }
        let after = chain.bytes;
        self.resized(author, before, after);
    }

    /// Too many bytes: first whoever nobody has paid for, then the oldest of the longest chain. Never our own.
    pub(super) fn make_room(&mut self, newcomer: PeerId) {
        while self.bytes > TOTAL_BYTES_MAX {
            let unpaid = self.unpaid.values().find(|author| **author != newcomer).copied();
            if let Some(author) = unpaid {
                self.forget(author);
                continue;
            }
            let Some((bytes, author)) = self.by_bytes.last().copied() else { return };
            let chain = self.chains.get_mut(&author).expect("what is in the index is in the table");
            if chain.entries.len() <= 1 {
                return;
            }
            self.bytes -= chain.cut();
            let left = chain.bytes;
            self.resized(author, bytes, left);
        }
    }

    pub(super) fn resized(&mut self, author: PeerId, from: usize, to: usize) {
        if author != self.me {
            self.by_bytes.remove(&(from, author));
            self.by_bytes.insert((to, author));
        }
    }

    pub(super) fn forget(&mut self, author: PeerId) {
        if let Some(chain) = self.chains.remove(&author) {
            self.bytes -= chain.bytes;
            self.unpaid.remove(&chain.serial);
            self.payers.remove(chain.serial);
            self.by_bytes.remove(&(chain.bytes, author));
        }
        self.head_changes(author);
    }

    /// For whom somebody stands: the operator, or a realm that grants him bindings.
    pub(super) fn matters(&self, author: PeerId) -> bool {
        let is_paid = |serial: u64| self.payers.contains(serial);
        self.trusted.contains(&author) || self.chains.get(&author).is_some_and(|c| is_paid(c.serial))
    }

    /// What is kept of this author.
    #[cfg(test)]
    pub fn bytes_of(&self, author: PeerId) -> usize {
        self.chains.get(&author).map_or(0, |chain| chain.bytes)
    }
}
