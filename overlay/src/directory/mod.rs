//! The directory: who is where, computed from everybody's logs.
//!
//! It believes nothing: a binding here is what its serving peer *says*. The grant is held with it, and whoever routes a
//! call checks that first. What the directory adds is what others attest: pending, verified, unpingable, stale.
//!
//! Anybody can say anything about anybody's public aor_id, and keys cost nothing. So what is said waits in a small pool, at
//! the expense of the neighbour that passed it on, until the peer has checked the home's grant; from then on the realm
//! pays for it, with what room it has ([`table`]). A replica is a cache: whoever is pushed out of it is still found
//! through his home.
//!
//! An aor_id means something only within its realm: a realm that an attacker made up can grant what it likes for the
//! aor_id of somebody else, and takes no room from that one's own realm.
//!
//! **Invariant:** the same entries and the same judgements give the same directory, whatever came between entries of
//! different authors, as long as there is room.

#[cfg(test)]
mod attacks;
mod numbers;
mod own;
pub(crate) mod restating;
pub(crate) mod revoked;
mod shown;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod words;

use crate::records::{Bind, Event, Said, entry::NO_REALM, grant::BIND_LIFE_MAX};
use dots_wire::{
    Hash, Label20, Now, PeerId, SharedBytes, Timestamp,
    bounded::{Cause, Limits, Standing},
};
use revoked::Revoked;
pub use revoked::is_over;
pub use shown::{Found, News, State};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use table::{Held, Place, Row, Table};
pub use table::{Short, short};

/// Bindings of one AOR: phones of one person.
pub const PER_AOR_MAX: usize = 32;
/// Bindings of one AOR at one serving peer.
pub const PER_AUTHOR_MAX: usize = 8;
/// No grant ends later than this, give or take a clock.
pub const LIFE_MAX: Duration = BIND_LIFE_MAX.saturating_add(CLOCKS);
/// Clocks of honest peers differ by less.
const CLOCKS: Duration = Duration::from_secs(60);

/// One binding: (aor_id, instance, serving peer).
pub type Binding = (Hash, Hash, PeerId);

/// A binding that another peer says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub binding: Binding,
    pub realm: Label20,
    /// No later than the grant ends: else it is not what the home said.
    pub until: Timestamp,
    pub grant: Option<SharedBytes>,
    /// It was judged before, and is only said again.
    pub is_granted: bool,
}

/// Who says it, and who brought it.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Of the author: ourselves, a home of our own or of a pinned realm, or anybody.
    pub standing: Standing,
    /// The neighbour that passed it on: until somebody has judged it, he pays.
    pub from: PeerId,
}

pub struct Directory {
    table: Table,
    /// Claims that were not told yet.
    claims: Vec<Claim>,
    /// Bindings that follow an author's last checkpoint, said again; when all have come, the rest is void.
    restating: BTreeMap<PeerId, u32>,
    /// Realms whose part in that did not reach us: their bindings do not lapse for it.
    spared: BTreeMap<PeerId, BTreeSet<Label20>>,
    dead: BTreeSet<PeerId>,
    revoked: Revoked,
    /// Convicted: as many as the log convicts.
    liars: BTreeSet<PeerId>,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory::with_room(table::KEPT, table::WAITING)
    }
}

impl Directory {
    fn with_room(kept: Limits, waiting: Limits) -> Directory {
        Directory {
            table: Table::new(kept, waiting),
            claims: Vec::new(),
            restating: BTreeMap::new(),
            spared: BTreeMap::new(),
            dead: BTreeSet::new(),
            revoked: Revoked::with_room(revoked::REVOKED),
            liars: BTreeSet::new(),
        }
    }

    /// What an author says, in order. Gives back how many bindings were refused; claims are to be judged
    /// ([`Directory::take_claims`]).
    pub fn apply(&mut self, now: Now, said: Said<'_>, source: Source) -> usize {
        let author = said.author;
        let (mut refused, mut bound) = (0, said.dropped);
        for event in said.events {
            match event {
                Event::Bind(bind) => {
                    refused += usize::from(!self.bind(now, author, bind, said.time, source));
                    bound += 1;
                }
                Event::Unbind(u) => {
                    self.remove((u.aor_id, u.instance, author));
                }
                Event::Attest(attest) => self.attest(author, attest),
                Event::Revoke(revoke) => {
                    self.revoked.insert(now.wall, author, source, revoke);
                }
                // Its root is for proofs.
                Event::Checkpoint(checkpoint) => self.restates(author, checkpoint.count),
                // Presence has its own room.
                Event::Presence(_) => {}
            }
        }
        self.spare(author, said.lost);
        // Not before the whole entry was heard: its events come realm by realm, not as they were said.
        self.restated(author, bound);
        refused
    }

    fn bind(&mut self, now: Now, author: PeerId, bind: &Bind, said: Timestamp, source: Source) -> bool {
        if bind.until <= now.wall {
            return true;
        }
        let own = source.standing == Standing::Own;
        if !own && bind.until.since(now.wall) > LIFE_MAX {
            return false;
        }
        let binding = (bind.aor_id, bind.instance, author);
        let serial = self.table.find(binding);
        if let Some(serial) = serial.filter(|serial| self.is_same_word(*serial, bind)) {
            // A grant is checked once. Said again it costs nobody anything, and pays for nothing.
            let held = self.table.get_mut(serial).expect("it was found");
            // LOG-14: the grant says when it ends. Who is the home says so himself.
            if !own && bind.grant.is_some() && bind.until > held.until {
                return false;
            }
            (held.until, held.said, held.confirm_by) = (bind.until, said, table::NEVER);
            self.table.changed.insert(bind.aor_id);
            if !own {
                let (realm, until, grant) = (bind.realm, bind.until, bind.grant.clone());
                self.claims.push(Claim { binding, realm, until, grant, is_granted: true });
            }
            return true;
        }
        let words = match serial {
            Some(serial) => {
                let held = self.table.get_mut(serial).expect("it was found");
                let words = std::mem::take(&mut held.words);
                self.table.remove(serial);
                words
            }
            None if own || self.has_place(author, bind) => words::Words::default(),
            None => return false,
        };
        let (realm, aor_id, instance, until) = (bind.realm, bind.aor_id, bind.instance, bind.until);
        let grant = bind.grant.clone();
        let row = Row { realm, serving: author, aor_id, instance, until, said, grant: grant.clone(), words };
        if own {
            return self.table.insert(Place::Own, Cause::OWN, row).is_some();
        }
        let cause = Cause::new(Standing::Other).by(&source.from.to_bytes());
        let is_held = self.table.insert(Place::Waiting, cause, row).is_some();
        if is_held {
            self.claims.push(Claim { binding, realm, until, grant, is_granted: false });
        }
        is_held
    }

    /// Said before with the same grant, and judged.
    fn is_same_word(&self, serial: u64, bind: &Bind) -> bool {
        self.table.get(serial).is_some_and(|held| {
            held.is_granted() && held.grant == bind.grant && self.table.realm(held) == bind.realm
        })
    }

    /// LOG-14a: one person's phones are few. At the limit the oldest word goes that nobody has judged.
    fn has_place(&mut self, author: PeerId, bind: &Bind) -> bool {
        let phones: Vec<(u64, &Held)> = self.table.of(bind.aor_id, bind.realm).collect();
        if phones.iter().filter(|(_, held)| self.table.serving(held) == author).count() >= PER_AUTHOR_MAX {
            return false;
        }
        let others = phones.iter().filter(|(_, held)| held.place() != Place::Own);
        if others.clone().count() < PER_AOR_MAX {
            return true;
        }
        let oldest = others.filter(|(_, held)| !held.is_granted()).map(|(serial, _)| *serial).min();
        oldest.is_some_and(|serial| self.table.remove(serial))
    }

    fn held(&self, binding: Binding) -> Option<&Held> {
        self.table.get(self.table.find(binding)?)
    }

    fn remove(&mut self, binding: Binding) -> bool {
        self.table.find(binding).is_some_and(|serial| self.table.remove(serial))
    }

    /// Bindings that came and that the peer is to judge by what is believed of their realms.
    pub fn take_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.claims)
    }

    /// The peer has checked the home's word on this binding, and it is good: `cause` pays from now on. `false`: it is not
    /// here, was granted already, or that realm has no room for it.
    pub fn granted(&mut self, binding: Binding, cause: Cause) -> bool {
        let waiting = |serial: &u64| self.table.get(*serial).is_some_and(|held| !held.is_granted());
        let Some(serial) = self.table.find(binding).filter(waiting) else { return false };
        self.table.keep(serial, cause)
    }

    /// The peer has checked, and no home said so.
    pub fn refused(&mut self, binding: Binding) {
        self.remove(binding);
    }

    /// Up to `max` claims of a realm that nobody has judged, after this serial, with theirs.
    pub fn unjudged(&self, realm: Label20, after: u64, max: usize) -> Vec<(u64, Claim)> {
        let claim = |serial: u64| {
            let held = self.table.get(serial).expect("what is in an index is in the table");
            let binding = self.table.binding(held);
            let (until, grant) = (held.until, held.grant.clone());
            (serial, Claim { binding, realm, until, grant, is_granted: false })
        };
        self.table.waiting_of(realm, after, max).map(claim).collect()
    }

    /// The row of a binding that a home granted, and the binding in it.
    pub fn row_of(&self, binding: Binding) -> Option<u64> {
        let is_granted = |row: &u64| self.table.get(*row).is_some_and(Held::is_granted);
        self.table.find(binding).filter(is_granted)
    }
    pub fn in_row(&self, row: u64) -> Option<Binding> {
        let held = self.table.get(row).filter(|held| held.is_granted())?;
        Some(self.table.binding(held))
    }

    pub fn holds(&self, binding: Binding) -> bool {
        self.held(binding).is_some()
    }

    /// The realm of a binding, for what is said about it.
    pub fn realm_of(&self, binding: Binding) -> Label20 {
        self.held(binding).map_or(NO_REALM, |held| self.table.realm(held))
    }

    /// Held, and its grant was checked when it came.
    pub fn is_granted(&self, binding: Binding) -> bool {
        self.held(binding).is_some_and(Held::is_granted)
    }

    /// Bindings of one author under one AOR, for its DHT records.
    pub fn of_author(&self, author: PeerId, aor_id: Hash) -> impl Iterator<Item = Bind> {
        let rows = self.table.of_aor(aor_id).filter(move |(_, held)| self.table.serving(held) == author);
        rows.map(move |(_, held)| Bind {
            aor_id,
            realm: self.table.realm(held),
            instance: held.instance,
            until: held.until,
            grant: held.grant.clone(),
        })
    }

    /// Does this author have bindings here?
    pub fn has_author(&self, author: PeerId) -> bool {
        self.table.of_author(author).next().is_some()
    }

    /// `home` says that grants of this AOR from before this time are void. Anybody can say so in its own log; ask
    /// only for homes of the AOR's realm.
    pub fn revoked_before(&self, aor_id: Hash, home: PeerId) -> Option<Timestamp> {
        self.revoked.before(aor_id, home)
    }

    /// AORs whose answer may have changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Hash> {
        std::mem::take(&mut self.table.changed)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
