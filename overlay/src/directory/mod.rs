//! The directory: who is where, computed from everybody's logs.
//!
//! It believes nothing: a binding here is what its serving peer *says*. The grant is held with it, and whoever routes a
//! call checks that first. What the directory adds is what others attest: pending, verified, unpingable, stale.
//!
//! Anybody can say anything about anybody's public aor_id, so words compete for room by what is known of them:
//!
//! ```text
//!   own ─ never refused    trusted author    granted: the peer has checked the home's word    not judged: oldest goes first
//! ```
//!
//! An aor_id means something only within its realm: a realm that an attacker made up can grant what it likes for the
//! aor_id of somebody else, and takes no room from that one's own realm.
//!
//! **Invariant:** the same entries and the same judgements give the same directory, whatever came between entries of
//! different authors, as long as there is room.

#[cfg(test)]
mod attacks;
mod revoked;
mod room;
mod shown;
#[cfg(test)]
mod tests;

use crate::records::{
    Attest, Bind, Event, Life, PingOutcome, Said, entry::NO_REALM, event::PING_DOMAIN, grant::BIND_LIFE_MAX,
};
use dots_wire::{Hash, Label20, Now, PeerId, Timestamp, encode};
use revoked::Revoked;
pub use revoked::is_over;
use room::Strangers;
pub use shown::{Found, State};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Bindings in all. Strangers together have a quarter of this (design: quotas).
pub const BINDINGS_MAX: usize = 1_000_000;
/// Bindings of one AOR: phones of one person.
pub const PER_AOR_MAX: usize = 32;
/// Bindings of one AOR at one serving peer.
pub const PER_AUTHOR_MAX: usize = 8;
/// No grant ends later than this, give or take a clock.
pub const LIFE_MAX: Duration = BIND_LIFE_MAX.saturating_add(CLOCKS);
/// Clocks of honest peers differ by less.
const CLOCKS: Duration = Duration::from_secs(60);
/// Bytes of one author's bindings that nobody has judged yet. What a home granted is charged to nobody but its realm's
/// share of the room, so a serving peer is as large as the realms that roam there.
const UNJUDGED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Verifiers whose word on one binding is kept.
const ATTESTS_MAX: usize = 8;
/// After a restart or a checkpoint an author has this long to say its bindings again.
pub const RESTATE: Duration = Duration::from_secs(30);

/// One binding: (aor_id, instance, serving peer).
pub type Binding = (Hash, Hash, PeerId);

/// Whose word it is; the higher goes before the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Stranger,
    /// A home of our realm or of a pinned one.
    Trusted,
    Own,
}

/// Whose word it is, for the room that it may take.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub standing: Standing,
}

struct Held {
    bind: Bind,
    bytes: usize,
    words: BTreeMap<PeerId, (Timestamp, Life)>,
    /// Its author started anew: it counts until then unless it is said again.
    confirm_by: Option<Timestamp>,
    said: Timestamp,
    standing: Standing,
    /// The peer has checked the grant. Its own word needs none.
    granted: bool,
    /// Later is higher.
    serial: u64,
}

impl Held {
    /// What goes last when room is short. Nothing makes room for itself among its equals, but for words that nobody
    /// has judged: there the oldest goes.
    fn rank(&self) -> (Standing, bool) {
        (self.standing, self.granted)
    }
}

/// An AOR: its public name within its realm.
type Aor = (Hash, Label20);
type Phone = (Hash, PeerId);

pub struct Directory {
    /// [`BINDINGS_MAX`], less in tests.
    room: usize,
    by_aor: BTreeMap<Aor, BTreeMap<Phone, Held>>,
    by_author: BTreeMap<PeerId, Author>,
    count: usize,
    next_serial: u64,
    strangers: Strangers,
    unjudged: BTreeMap<Label20, BTreeMap<u64, Binding>>,
    dead: BTreeSet<PeerId>,
    revoked: Revoked,
    changed: BTreeSet<Hash>,
    /// Convicted: as many as the log convicts.
    liars: BTreeSet<PeerId>,
}

#[derive(Default)]
struct Author {
    /// (aor_id, instance) -> realm
    phones: BTreeMap<(Hash, Hash), Label20>,
    /// Of those that nobody has judged.
    unjudged_bytes: usize,
    /// Bindings that follow its last checkpoint, said again; when all have come, the rest is void.
    restating: Option<u32>,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory::with_room(BINDINGS_MAX)
    }
}

impl Directory {
    fn with_room(room: usize) -> Directory {
        Directory {
            room,
            by_aor: BTreeMap::new(),
            by_author: BTreeMap::new(),
            count: 0,
            next_serial: 0,
            strangers: Strangers::default(),
            unjudged: BTreeMap::new(),
            dead: BTreeSet::new(),
            revoked: Revoked::default(),
            changed: BTreeSet::new(),
            liars: BTreeSet::new(),
        }
    }

    /// What an author says, in order. Gives back how many bindings were refused.
    pub fn apply(&mut self, now: Now, said: Said<'_>, share: Share) -> usize {
        let author = said.author;
        let (mut refused, mut bound) = (0, said.dropped);
        for event in said.events {
            match event {
                Event::Bind(bind) => {
                    refused += usize::from(!self.bind(now, author, bind, said.time, share));
                    bound += 1;
                }
                Event::Unbind(u) => {
                    self.remove(author, u.aor_id, u.instance);
                }
                Event::Attest(attest) => self.attest(author, attest),
                Event::Revoke(revoke) => {
                    self.revoked.insert(now.wall, author, share.standing, revoke);
                }
                // Its root is for proofs.
                Event::Checkpoint(checkpoint) => {
                    if let Some(account) = self.by_author.get_mut(&author) {
                        account.restating = Some(checkpoint.count);
                    }
                }
                // Presence has its own room.
                Event::Presence(_) => {}
            }
        }
        // Not before the whole entry was heard: its events come realm by realm, not as they were said.
        self.restated(author, bound);
        refused
    }

    fn bind(&mut self, now: Now, author: PeerId, bind: &Bind, said: Timestamp, share: Share) -> bool {
        if bind.until <= now.wall {
            return true;
        }
        let own = share.standing == Standing::Own;
        let bytes = encode(bind).len();
        let place = (bind.aor_id, bind.instance);
        let waiting = self.by_author.get(&author).map_or(0, |a| a.unjudged_bytes);
        let excessive = bind.until.since(now.wall) > LIFE_MAX || waiting + bytes > UNJUDGED_BYTES_MAX;
        if !own && (excessive || !self.make_room(author, bind, share.standing)) {
            return false;
        }
        let words = self.remove(author, bind.aor_id, bind.instance).map(|h| h.words).unwrap_or_default();
        let account = self.by_author.entry(author).or_default();
        if !own {
            account.unjudged_bytes += bytes;
        }
        account.phones.insert(place, bind.realm);
        self.count += 1;
        self.next_serial += 1;
        let (serial, standing) = (self.next_serial, share.standing);
        let binding = (bind.aor_id, bind.instance, author);
        if !own {
            self.unjudged.entry(bind.realm).or_default().insert(serial, binding);
        }
        if standing == Standing::Stranger {
            self.strangers.insert(serial, binding);
        }
        let held =
            Held { bind: bind.clone(), bytes, words, confirm_by: None, said, standing, granted: own, serial };
        self.by_aor.entry((bind.aor_id, bind.realm)).or_default().insert((bind.instance, author), held);
        self.changed.insert(bind.aor_id);
        true
    }

    /// Room for one more of another author, or for one that it had already.
    fn make_room(&mut self, author: PeerId, bind: &Bind, standing: Standing) -> bool {
        if let Some(held) = self.held(bind.aor_id, bind.instance, author)
            && held.bind.realm == bind.realm
        {
            return true;
        }
        if let Some(phones) = self.by_aor.get(&(bind.aor_id, bind.realm)) {
            if phones.keys().filter(|(_, serving)| *serving == author).count() >= PER_AUTHOR_MAX {
                return false;
            }
            if phones.len() >= PER_AOR_MAX {
                let Some(((instance, serving), last)) =
                    phones.iter().min_by_key(|(_, h)| (h.rank(), h.serial))
                else {
                    return false;
                };
                let gives_way = last.rank() < (standing, false) || last.rank() == (Standing::Stranger, false);
                if !gives_way {
                    return false;
                }
                let (instance, serving) = (*instance, *serving);
                self.remove(serving, bind.aor_id, instance);
            }
        }
        let full = match standing {
            Standing::Stranger => self.strangers.len() >= self.room / 4,
            Standing::Trusted | Standing::Own => self.count >= self.room,
        };
        if !full {
            return true;
        }
        let victim = self.strangers.oldest_unjudged(author).or_else(|| {
            let peer = self.strangers.largest(author, standing)?;
            let ((aor_id, instance), _) = self.by_author.get(&peer)?.phones.last_key_value()?;
            Some((*aor_id, *instance, peer))
        });
        let Some((aor_id, instance, serving)) = victim else { return false };
        self.remove(serving, aor_id, instance).is_some()
    }

    fn held(&self, aor_id: Hash, instance: Hash, serving: PeerId) -> Option<&Held> {
        let realm = self.by_author.get(&serving)?.phones.get(&(aor_id, instance))?;
        self.by_aor.get(&(aor_id, *realm))?.get(&(instance, serving))
    }

    fn held_mut(&mut self, aor_id: Hash, instance: Hash, serving: PeerId) -> Option<&mut Held> {
        let realm = self.by_author.get(&serving)?.phones.get(&(aor_id, instance))?;
        self.by_aor.get_mut(&(aor_id, *realm))?.get_mut(&(instance, serving))
    }

    fn remove(&mut self, author: PeerId, aor_id: Hash, instance: Hash) -> Option<Held> {
        let account = self.by_author.get_mut(&author)?;
        let realm = account.phones.remove(&(aor_id, instance))?;
        let phones = self.by_aor.get_mut(&(aor_id, realm))?;
        let held = phones.remove(&(instance, author))?;
        if phones.is_empty() {
            self.by_aor.remove(&(aor_id, realm));
        }
        if !held.granted {
            account.unjudged_bytes -= held.bytes;
        }
        if account.phones.is_empty() {
            self.by_author.remove(&author);
        }
        self.count -= 1;
        self.changed.insert(aor_id);
        self.judged(realm, held.serial);
        if held.standing == Standing::Stranger {
            self.strangers.remove(held.serial, author);
        }
        Some(held)
    }

    /// Nobody needs to judge it (any more).
    fn judged(&mut self, realm: Label20, serial: u64) {
        if let Some(waiting) = self.unjudged.get_mut(&realm) {
            waiting.remove(&serial);
            if waiting.is_empty() {
                self.unjudged.remove(&realm);
            }
        }
    }

    /// The peer has checked the home's word on this binding, and it is good. `false`: it is not here.
    pub fn granted(&mut self, aor_id: Hash, instance: Hash, serving: PeerId) -> bool {
        let Some(held) = self.held_mut(aor_id, instance, serving) else { return false };
        let was_granted = std::mem::replace(&mut held.granted, true);
        let (realm, serial, bytes) = (held.bind.realm, held.serial, held.bytes);
        if !was_granted {
            let account = self.by_author.get_mut(&serving).expect("a binding's author has an account");
            account.unjudged_bytes -= bytes;
        }
        self.judged(realm, serial);
        self.strangers.granted(serial);
        true
    }

    /// The peer has checked, and no home said so.
    pub fn refused(&mut self, aor_id: Hash, instance: Hash, serving: PeerId) {
        self.remove(serving, aor_id, instance);
    }

    /// Up to `max` bindings of a realm that nobody has judged, after this serial, with theirs.
    pub fn unjudged(&self, realm: Label20, after: u64, max: usize) -> Vec<(u64, Binding, Option<Vec<u8>>)> {
        let Some(waiting) = self.unjudged.get(&realm) else { return Vec::new() };
        let grant = |(aor_id, instance, serving): Binding| {
            self.held(aor_id, instance, serving)?.bind.grant.as_ref().map(|g| g.to_vec())
        };
        let later = waiting.range(after.saturating_add(1)..).take(max);
        later.map(|(serial, binding)| (*serial, *binding, grant(*binding))).collect()
    }

    /// The verifier's word counts only with the serving peer's signature on what was seen, and never its own.
    fn attest(&mut self, verifier: PeerId, attest: &Attest) {
        let Ok(outcome) = attest.proof.peek::<PingOutcome>() else { return };
        if outcome.verifier != verifier || outcome.serving == verifier || self.liars.contains(&verifier) {
            return;
        }
        let Some(held) = self.held_mut(outcome.aor_id, outcome.instance, outcome.serving) else { return };
        let full = held.words.len() >= ATTESTS_MAX && !held.words.contains_key(&verifier);
        let older = held.words.get(&verifier).is_some_and(|(at, _)| *at >= outcome.time);
        if full || older || attest.proof.verify(&outcome.serving.0, PING_DOMAIN).is_err() {
            return;
        }
        held.words.insert(verifier, (outcome.time, outcome.life));
        self.changed.insert(outcome.aor_id);
    }

    /// LOG-9: `author` starts anew; what it does not say again lapses.
    pub fn restarts(&mut self, now: Now, author: PeerId) {
        let Some(account) = self.by_author.get(&author) else { return };
        for ((aor_id, instance), realm) in &account.phones {
            let phones = self.by_aor.get_mut(&(*aor_id, *realm));
            if let Some(held) = phones.and_then(|phones| phones.get_mut(&(*instance, author))) {
                held.confirm_by.get_or_insert(now.wall.plus(RESTATE));
            }
        }
    }

    /// So many more bindings of a checkpoint were said again, or were and did not reach us.
    fn restated(&mut self, author: PeerId, count: u32) {
        if let Some(left) = self.by_author.get_mut(&author).and_then(|a| a.restating.as_mut()) {
            *left = left.saturating_sub(count);
        }
        self.restatement_ends(author);
    }

    /// LOG-9: all that the checkpoint announced was said; what was not among it has gone.
    fn restatement_ends(&mut self, author: PeerId) {
        let Some(account) = self.by_author.get_mut(&author).filter(|a| a.restating == Some(0)) else {
            return;
        };
        account.restating = None;
        let phones: Vec<((Hash, Hash), Label20)> = account.phones.iter().map(|(p, r)| (*p, *r)).collect();
        for ((aor_id, instance), realm) in phones {
            let held = self.by_aor.get(&(aor_id, realm)).and_then(|phones| phones.get(&(instance, author)));
            if held.is_some_and(|h| h.confirm_by.is_some()) {
                self.remove(author, aor_id, instance);
            }
        }
    }

    /// Everything that `author` ever said is void: it lied.
    pub fn drop_author(&mut self, author: PeerId) {
        let phones = self.by_author.get(&author).map(|a| a.phones.clone()).unwrap_or_default();
        for (aor_id, instance) in phones.into_keys() {
            self.remove(author, aor_id, instance);
        }
        // What it attested of others is not looked for: it is not shown, and not taken any more.
        self.liars.insert(author);
    }

    /// No connection to `peer`: its phones are stale until it is back.
    pub fn set_dead(&mut self, peer: PeerId, dead: bool) {
        let changed = if dead && self.by_author.contains_key(&peer) {
            self.dead.insert(peer)
        } else {
            !dead && self.dead.remove(&peer)
        };
        if changed && let Some(account) = self.by_author.get(&peer) {
            self.changed.extend(account.phones.keys().map(|(aor_id, _)| *aor_id));
        }
    }

    /// Drops what has ended. Call now and then; lookups do not show it anyway.
    pub fn sweep(&mut self, now: Now) {
        let over = |h: &Held| h.bind.until <= now.wall || h.confirm_by.is_some_and(|at| at <= now.wall);
        let gone: Vec<(PeerId, Hash, Hash)> = self
            .by_aor
            .iter()
            .flat_map(|((aor, _), phones)| phones.iter().map(move |((i, a), h)| (*a, *aor, *i, h)))
            .filter(|(_, _, _, h)| over(h))
            .map(|(author, aor, instance, _)| (author, aor, instance))
            .collect();
        for (author, aor_id, instance) in gone {
            self.remove(author, aor_id, instance);
        }
        self.revoked.sweep(now.wall);
        let by_author = &self.by_author;
        self.dead.retain(|p| by_author.contains_key(p));
    }

    pub fn holds(&self, aor_id: Hash, instance: Hash, serving: PeerId) -> bool {
        self.held(aor_id, instance, serving).is_some()
    }

    /// The realm of a binding, for what is said about it.
    pub fn realm_of(&self, (aor_id, instance, serving): Binding) -> Label20 {
        self.held(aor_id, instance, serving).map_or(NO_REALM, |held| held.bind.realm)
    }

    /// Held, and its grant was checked when it came.
    pub fn is_granted(&self, aor_id: Hash, instance: Hash, serving: PeerId) -> bool {
        self.held(aor_id, instance, serving).is_some_and(|h| h.granted)
    }

    /// Live bindings of one author, for its DHT records.
    pub fn of_author(&self, author: PeerId, aor_id: Hash) -> impl Iterator<Item = &Bind> {
        let phones = self.by_author.get(&author).into_iter().flat_map(move |account| {
            account.phones.range((aor_id, Hash([0; 32]))..=(aor_id, Hash([u8::MAX; 32])))
        });
        phones.filter_map(move |((_, instance), _)| Some(&self.held(aor_id, *instance, author)?.bind))
    }

    /// Does this author have bindings here?
    pub fn has_author(&self, author: PeerId) -> bool {
        self.by_author.contains_key(&author)
    }

    /// `home` says that grants of this AOR from before this time are void. Anybody can say so in its own log; ask
    /// only for homes of the AOR's realm.
    pub fn revoked_before(&self, aor_id: Hash, home: PeerId) -> Option<Timestamp> {
        self.revoked.before(aor_id, home)
    }

    /// AORs whose answer may have changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Hash> {
        std::mem::take(&mut self.changed)
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
