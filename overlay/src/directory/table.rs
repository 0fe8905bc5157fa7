//! Where bindings are kept, and who pays for the room.
//!
//! ```text
//!   own ─ a promise to our phones: bounded by the registrar, never refused here
//!   waiting ─ said, and judged by nobody yet: a small pool, charged to the neighbour that passed it on
//!   kept ─ a home said so: a cache with reserves by standing, charged to the network of the home, then to its realm
//! ```
//!
//! LOG-14, LOG-14b. A binding is a row under a serial number; the indexes hold that number. Peers and realms are numbers too, so that a row
//! costs some 150 bytes beside its grant.

use super::{Binding, numbers::Numbers, words::Words};
use dots_wire::{
    Hash, Label20, PeerId, SharedBytes, Timestamp,
    bounded::{Cache, Cause, Limits, Weight},
};
use std::collections::{BTreeMap, BTreeSet};

/// What homes granted: a million bindings. Own and pinned realms, and those that our phones talk to, have room that others
/// cannot take, and so have strangers, who share theirs.
pub const KEPT: Limits = Limits::new(108 * 1024 * 1024, 212_000).reserving([250, 200, 150, 150]);
/// What nobody has judged.
pub const WAITING: Limits = Limits::new(32 * 1024 * 1024, 50_000);
/// It is not asked to be said again.
pub const NEVER: Timestamp = Timestamp(u64::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Waiting,
    Kept,
    Own,
}

pub struct Held {
    pub aor_id: Hash,
    pub instance: Hash,
    pub until: Timestamp,
    pub said: Timestamp,
    /// Its author started anew: it counts until then unless it is said again.
    pub confirm_by: Timestamp,
    /// Shared with whoever shows it.
    pub grant: Option<SharedBytes>,
    pub words: Words,
    realm: u32,
    serving: u32,
    place: Place,
}

impl Held {
    pub fn place(&self) -> Place {
        self.place
    }

    /// A home of its realm said so, or it is our own.
    pub fn is_granted(&self) -> bool {
        self.place != Place::Waiting
    }
}

impl Weight for Box<Held> {
    fn heap_bytes(&self) -> usize {
        size_of::<Held>() + Words::BYTES_MAX + self.grant.heap_bytes()
    }
}

/// A binding that comes.
pub struct Row {
    pub realm: Label20,
    pub serving: PeerId,
    pub aor_id: Hash,
    pub instance: Hash,
    pub until: Timestamp,
    pub said: Timestamp,
    pub grant: Option<SharedBytes>,
    pub words: Words,
}

/// The beginning of an id in an index: whose id it is, the row says.
pub type Short = u64;

pub fn short(id: &Hash) -> Short {
    id.0.iter().take(8).fold(0, |n, byte| (n << 8) | u64::from(*byte))
}

pub struct Table {
    own: BTreeMap<u64, Box<Held>>,
    waiting: Cache<u64, Box<Held>>,
    kept: Cache<u64, Box<Held>>,
    by_aor: BTreeSet<(Short, u64)>,
    /// Of others: ours are all in `own`.
    by_author: BTreeSet<(u32, u64)>,
    waiting_of: BTreeSet<(u32, u64)>,
    pub peers: Numbers<PeerId>,
    realms: Numbers<Label20>,
    next_serial: u64,
    /// AORs whose answer may have changed.
    pub changed: BTreeSet<Hash>,
}

impl Table {
    pub fn new(kept: Limits, waiting: Limits) -> Table {
        Table {
            own: BTreeMap::new(),
            waiting: Cache::new(waiting),
            kept: Cache::new(kept),
            by_aor: BTreeSet::new(),
            by_author: BTreeSet::new(),
            waiting_of: BTreeSet::new(),
            peers: Numbers::default(),
            realms: Numbers::default(),
            next_serial: 0,
            changed: BTreeSet::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.own.len() + self.waiting.len() + self.kept.len()
    }

    pub fn get(&self, serial: u64) -> Option<&Held> {
        let own = self.own.get(&serial);
        own.or_else(|| self.kept.get(&serial)).or_else(|| self.waiting.get(&serial)).map(Box::as_ref)
    }

    /// For changes that leave the weight as it is; words were weighed before they came.
    pub fn get_mut(&mut self, serial: u64) -> Option<&mut Held> {
        if let Some(held) = self.own.get_mut(&serial) {
            return Some(held);
        }
        if let Some(held) = self.kept.get_mut(&serial) {
            return Some(held);
        }
        self.waiting.get_mut(&serial).map(Box::as_mut)
    }

    pub fn find(&self, (aor_id, instance, serving): Binding) -> Option<u64> {
        let serving = self.peers.of(&serving)?;
        let is_it = |(_, held): &(u64, &Held)| held.instance == instance && held.serving == serving;
        self.of_aor(aor_id).find(is_it).map(|(serial, _)| serial)
    }

    /// Of every realm: an aor_id means something only within one.
    pub fn of_aor(&self, aor_id: Hash) -> impl Iterator<Item = (u64, &Held)> {
        self.of_short(short(&aor_id)).filter(move |(_, held)| held.aor_id == aor_id)
    }

    /// Of every AOR whose id begins so: nearly always one.
    pub fn of_short(&self, aor: Short) -> impl Iterator<Item = (u64, &Held)> {
        let serials = self.by_aor.range((aor, 0)..=(aor, u64::MAX)).map(|(_, serial)| *serial);
        serials.map(|serial| (serial, self.get(serial).expect("what is in an index is in the table")))
    }

    /// What our own log says, in the order in which it was said.
    pub fn own(&self) -> impl ExactSizeIterator<Item = &Held> {
        self.own.values().map(Box::as_ref)
    }

    pub fn of(&self, aor_id: Hash, realm: Label20) -> impl Iterator<Item = (u64, &Held)> {
        let realm = self.realms.of(&realm);
        self.of_aor(aor_id).filter(move |(_, held)| Some(held.realm) == realm)
    }

    /// Bindings of one author, the oldest first.
    pub fn of_author(&self, author: PeerId) -> impl Iterator<Item = u64> {
        let number = self.peers.of(&author);
        let range = number.map(|n| self.by_author.range((n, 0)..=(n, u64::MAX)));
        let others = range.into_iter().flatten().map(|(_, serial)| *serial);
        // Ours have one author.
        let own = self.own.first_key_value().filter(|(_, held)| Some(held.serving) == number);
        own.into_iter().flat_map(|_| self.own.keys().copied()).chain(others)
    }

    /// Up to `max` bindings of a realm that nobody has judged, after this serial.
    pub fn waiting_of(&self, realm: Label20, after: u64, max: usize) -> impl Iterator<Item = u64> {
        let number = self.realms.of(&realm);
        let range = number.map(|n| self.waiting_of.range((n, after.saturating_add(1))..=(n, u64::MAX)));
        range.into_iter().flatten().take(max).map(|(_, serial)| *serial)
    }

    pub fn binding(&self, held: &Held) -> Binding {
        (held.aor_id, held.instance, self.serving(held))
    }

    pub fn serving(&self, held: &Held) -> PeerId {
        self.peers.name(held.serving)
    }

    pub fn realm(&self, held: &Held) -> Label20 {
        self.realms.name(held.realm)
    }

    /// In order of their serials within each place.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Held)> {
        let rows = self.own.iter().chain(self.kept.iter()).chain(self.waiting.iter());
        rows.map(|(serial, held)| (*serial, held.as_ref()))
    }

    /// `None`: there is no room for it. The caller has removed the same binding before.
    pub fn insert(&mut self, place: Place, cause: Cause, row: Row) -> Option<u64> {
        self.next_serial += 1;
        let serial = self.next_serial;
        let Row { realm, serving, aor_id, instance, until, said, grant, words } = row;
        let (realm, serving) = (self.realms.hold(realm), self.peers.hold(serving));
        let confirm_by = NEVER;
        let held =
            Box::new(Held { aor_id, instance, until, said, confirm_by, grant, words, realm, serving, place });
        self.by_aor.insert((short(&aor_id), serial));
        if place != Place::Own {
            self.by_author.insert((serving, serial));
        }
        if place == Place::Waiting {
            self.waiting_of.insert((realm, serial));
        }
        self.changed.insert(aor_id);
        self.put(place, cause, serial, held).then_some(serial)
    }

    fn put(&mut self, place: Place, cause: Cause, serial: u64, mut held: Box<Held>) -> bool {
        let cache = match place {
            Place::Own => return self.own.insert(serial, held).is_none(),
            Place::Waiting => &mut self.waiting,
            Place::Kept => &mut self.kept,
        };
        let (aor_id, realm, serving) = (held.aor_id, held.realm, held.serving);
        let words = std::mem::take(&mut held.words);
        let inserted = cache.insert(cause, serial, held);
        for (serial, held) in inserted.evicted {
            self.forget(serial, &held);
        }
        match self.get_mut(serial) {
            Some(held) => held.words = words,
            None => {
                words.release(&mut self.peers);
                self.unindex(serial, aor_id, realm, serving, place);
            }
        }
        inserted.is_stored
    }

    /// A home said so: from now on its realm pays. `false`: its realm has no room for it, and it is gone.
    pub fn keep(&mut self, serial: u64, cause: Cause) -> bool {
        let Some(mut held) = self.waiting.remove(&serial) else { return true };
        self.waiting_of.remove(&(held.realm, serial));
        held.place = Place::Kept;
        self.put(Place::Kept, cause, serial, held)
    }

    /// `false`: it is not here.
    pub fn remove(&mut self, serial: u64) -> bool {
        let held = self.own.remove(&serial);
        let held = held.or_else(|| self.kept.remove(&serial)).or_else(|| self.waiting.remove(&serial));
        held.inspect(|held| self.forget(serial, held)).is_some()
    }

    fn forget(&mut self, serial: u64, held: &Held) {
        held.words.release(&mut self.peers);
        self.unindex(serial, held.aor_id, held.realm, held.serving, held.place);
    }

    fn unindex(&mut self, serial: u64, aor_id: Hash, realm: u32, serving: u32, place: Place) {
        let was_there = self.by_aor.remove(&(short(&aor_id), serial))
            && (place == Place::Own || self.by_author.remove(&(serving, serial)));
        debug_assert!(was_there, "a row stands in both indexes");
        self.waiting_of.remove(&(realm, serial));
        self.realms.release(realm);
        self.peers.release(serving);
        self.changed.insert(aor_id);
    }

    #[cfg(test)]
    pub fn assert_empty(&self) {
        assert_eq!(self.len(), 0);
        assert!(self.by_aor.is_empty() && self.by_author.is_empty() && self.waiting_of.is_empty());
        assert!(self.realms.is_empty() && self.peers.is_empty(), "the books agree");
    }
}
