//! What our own log says of our phones. The log needs it again at each checkpoint and keeps no second copy.

use super::{Directory, Place, Short, table::Held};
use crate::records::Bind;
use dots_wire::{Hash, PeerId, Timestamp};
use std::collections::BTreeSet;

impl Directory {
    /// Our own bindings that live at this time, in the order in which they were said.
    pub fn own(&self, at: Timestamp) -> impl Iterator<Item = Bind> {
        self.table.own().filter(move |held| held.until > at).map(|held| self.said_in(held))
    }

    fn said_in(&self, held: &Held) -> Bind {
        let (aor_id, instance, until) = (held.aor_id, held.instance, held.until);
        Bind { aor_id, realm: self.table.realm(held), instance, until, grant: held.grant.clone() }
    }

    #[cfg(test)]
    pub fn own_len(&self) -> usize {
        self.table.own().len()
    }

    /// What `author` says of this phone, if that is here.
    pub fn bound(&self, author: PeerId, (aor_id, instance): (Hash, Hash)) -> Option<Bind> {
        let serial = self.table.find((aor_id, instance, author))?;
        self.table.get(serial).map(|held| self.said_in(held))
    }

    /// AORs of our own phones whose id begins so.
    pub fn own_aors(&self, aor: Short) -> BTreeSet<Hash> {
        let own = self.table.of_short(aor).filter(|(_, held)| held.place() == Place::Own);
        own.map(|(_, held)| held.aor_id).collect()
    }
}
