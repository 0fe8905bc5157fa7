//! The directory: who is where, computed from everybody's logs.
//!
//! It believes nothing: a binding here is what its serving peer *says*. The grant is held with it, and whoever routes a
//! call checks that first. What the directory adds is what others attest: pending, verified, unpingable, stale.
//!
//! **Invariant:** the same entries give the same directory, whatever came between entries of different authors.

#[cfg(test)]
mod tests;

use crate::records::{Attest, Bind, Entry, Event, Life, PingOutcome, entry::PING_DOMAIN};
use dots_wire::{Hash, Label20, Now, PeerId, Timestamp, encode};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Bindings in all.
pub const BINDINGS_MAX: usize = 1_000_000;
/// Bindings of one AOR: phones of one person.
pub const PER_AOR_MAX: usize = 32;
/// Verifiers whose word on one binding is kept.
const ATTESTS_MAX: usize = 8;
/// After a restart or a checkpoint an author has this long to say its bindings again.
pub const RESTATE: Duration = Duration::from_secs(30);
/// A binding is stale by the word of this many verifiers.
const STALE_WORDS: usize = 2;
/// AORs with a revocation; at the limit the oldest word goes.
const REVOKED_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Another peer has seen the phone answer.
    Verified,
    /// Nobody has looked yet.
    Pending,
    /// It never answers pings; some phones do not.
    Unpingable,
    /// It stopped answering, or its serving peer is gone.
    Stale,
}

/// One binding, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub serving: PeerId,
    pub instance: Hash,
    pub realm: Label20,
    pub until: Timestamp,
    pub state: State,
    /// Who has seen it alive, and when; newest word of each.
    pub attested: Vec<(PeerId, Timestamp)>,
    /// The home's word, unchecked. None: the serving peer says that it is the home.
    pub grant: Option<Vec<u8>>,
}

struct Held {
    bind: Bind,
    bytes: usize,
    words: BTreeMap<PeerId, (Timestamp, Life)>,
    /// Its author started anew: it counts until then unless it is said again.
    confirm_by: Option<Timestamp>,
    said: Timestamp,
}

type Phone = (Hash, PeerId);

#[derive(Default)]
pub struct Directory {
    by_aor: BTreeMap<Hash, BTreeMap<Phone, Held>>,
    by_author: BTreeMap<PeerId, Author>,
    count: usize,
    dead: BTreeSet<PeerId>,
    revoked: BTreeMap<(Hash, PeerId), Timestamp>,
    changed: BTreeSet<Hash>,
}

#[derive(Default)]
struct Author {
    phones: BTreeSet<(Hash, Hash)>,
    bytes: usize,
    /// Bindings that follow its last checkpoint, said again; when all have come, the rest is void.
    restating: Option<u32>,
}

impl Directory {
    /// A new entry of its author, in order. `live_bytes`: how much this author may have here. Gives back how many
    /// bindings there was no room for.
    pub fn apply(&mut self, now: Now, entry: &Entry, restart: bool, live_bytes: usize) -> usize {
        let author = entry.header.author;
        if restart {
            self.await_restatement(author, now);
        }
        let mut refused = 0;
        for event in &entry.events {
            match event {
                Event::Bind(bind) => {
                    refused += usize::from(!self.bind(now, author, bind, entry.header.time, live_bytes));
                    self.restated(author);
                }
                Event::Unbind(u) => self.remove(author, u.aor_id, u.instance),
                Event::Attest(attest) => self.attest(author, attest),
                Event::Revoke(revoke) => {
                    if self.revoked.len() >= REVOKED_MAX {
                        self.revoked.pop_first();
                    }
                    self.revoked.insert((revoke.aor_id, author), revoke.before);
                }
                // Its root is for proofs.
                Event::Checkpoint(checkpoint) => {
                    if let Some(account) = self.by_author.get_mut(&author) {
                        account.restating = Some(checkpoint.count);
                    }
                    self.restatement_ends(author);
                }
                // Presence has its own room.
                Event::Presence(_) => {}
            }
        }
        refused
    }

    fn bind(&mut self, now: Now, author: PeerId, bind: &Bind, said: Timestamp, live_bytes: usize) -> bool {
        if bind.until <= now.wall {
            return true;
        }
        let bytes = encode(bind).len();
        let account = self.by_author.entry(author).or_default();
        let phones = self.by_aor.entry(bind.aor_id).or_default();
        let key = (bind.instance, author);
        let before = phones.get(&key).map_or(0, |h| h.bytes);
        let is_new = before == 0;
        let no_room = account.bytes - before + bytes > live_bytes
            || (is_new && (self.count >= BINDINGS_MAX || phones.len() >= PER_AOR_MAX));
        if no_room {
            return false;
        }
        account.bytes = account.bytes - before + bytes;
        account.phones.insert((bind.aor_id, bind.instance));
        self.count += usize::from(is_new);
        let words = phones.remove(&key).map(|h| h.words).unwrap_or_default();
        phones.insert(key, Held { bind: bind.clone(), bytes, words, confirm_by: None, said });
        self.changed.insert(bind.aor_id);
        true
    }

    fn remove(&mut self, author: PeerId, aor_id: Hash, instance: Hash) {
        let Some(phones) = self.by_aor.get_mut(&aor_id) else { return };
        if let Some(held) = phones.remove(&(instance, author)) {
            self.count -= 1;
            self.changed.insert(aor_id);
            if let Some(account) = self.by_author.get_mut(&author) {
                account.bytes -= held.bytes;
                account.phones.remove(&(aor_id, instance));
            }
        }
        if phones.is_empty() {
            self.by_aor.remove(&aor_id);
        }
    }

    /// The verifier's word counts only with the serving peer's signature on what was seen, and never its own.
    fn attest(&mut self, verifier: PeerId, attest: &Attest) {
        let Ok(outcome) = attest.proof.peek::<PingOutcome>() else { return };
        if outcome.verifier != verifier || outcome.serving == verifier {
            return;
        }
        let Some(held) = self
            .by_aor
            .get_mut(&outcome.aor_id)
            .and_then(|phones| phones.get_mut(&(outcome.instance, outcome.serving)))
        else {
            return;
        };
        let full = held.words.len() >= ATTESTS_MAX && !held.words.contains_key(&verifier);
        let older = held.words.get(&verifier).is_some_and(|(at, _)| *at >= outcome.time);
        if full || older || attest.proof.verify(&outcome.serving.0, PING_DOMAIN).is_err() {
            return;
        }
        held.words.insert(verifier, (outcome.time, outcome.life));
        self.changed.insert(outcome.aor_id);
    }

    fn await_restatement(&mut self, author: PeerId, now: Now) {
        let Some(account) = self.by_author.get(&author) else { return };
        for (aor_id, instance) in &account.phones {
            let held = self.by_aor.get_mut(aor_id).and_then(|phones| phones.get_mut(&(*instance, author)));
            if let Some(held) = held {
                held.confirm_by.get_or_insert(now.wall.plus(RESTATE));
            }
        }
    }

    /// One more binding of a checkpoint was said again.
    fn restated(&mut self, author: PeerId) {
        if let Some(left) = self.by_author.get_mut(&author).and_then(|a| a.restating.as_mut()) {
            *left = left.saturating_sub(1);
        }
        self.restatement_ends(author);
    }

    /// LOG-9: all that the checkpoint announced was said; what was not among it has gone.
    fn restatement_ends(&mut self, author: PeerId) {
        let Some(account) = self.by_author.get_mut(&author).filter(|a| a.restating == Some(0)) else {
            return;
        };
        account.restating = None;
        let phones: Vec<(Hash, Hash)> = account.phones.iter().copied().collect();
        for (aor_id, instance) in phones {
            let held = self.by_aor.get(&aor_id).and_then(|phones| phones.get(&(instance, author)));
            if held.is_some_and(|h| h.confirm_by.is_some()) {
                self.remove(author, aor_id, instance);
            }
        }
    }

    /// Everything that `author` ever said is void: it lied.
    pub fn drop_author(&mut self, author: PeerId) {
        let phones = self.by_author.get(&author).map(|a| a.phones.clone()).unwrap_or_default();
        for (aor_id, instance) in phones {
            self.remove(author, aor_id, instance);
        }
        self.by_author.remove(&author);
        for (aor_id, phones) in &mut self.by_aor {
            for held in phones.values_mut() {
                if held.words.remove(&author).is_some() {
                    self.changed.insert(*aor_id);
                }
            }
        }
    }

    /// No connection to `peer`: its phones are stale until it is back.
    pub fn set_dead(&mut self, peer: PeerId, dead: bool) {
        let changed = if dead && self.by_author.contains_key(&peer) {
            self.dead.insert(peer)
        } else {
            !dead && self.dead.remove(&peer)
        };
        if changed && let Some(account) = self.by_author.get(&peer) {
            self.changed.extend(account.phones.iter().map(|(aor_id, _)| *aor_id));
        }
    }

    /// Drops what has ended. Call now and then; lookups do not show it anyway.
    pub fn sweep(&mut self, now: Now) {
        let over = |h: &Held| h.bind.until <= now.wall || h.confirm_by.is_some_and(|at| at <= now.wall);
        let gone: Vec<(PeerId, Hash, Hash)> = self
            .by_aor
            .iter()
            .flat_map(|(aor, phones)| phones.iter().map(move |((i, a), h)| (*a, *aor, *i, h)))
            .filter(|(_, _, _, h)| over(h))
            .map(|(author, aor, instance, _)| (author, aor, instance))
            .collect();
        for (author, aor_id, instance) in gone {
            self.remove(author, aor_id, instance);
        }
        self.by_author.retain(|_, a| !a.phones.is_empty());
        let by_author = &self.by_author;
        self.dead.retain(|p| by_author.contains_key(p));
    }

    /// What is known of this AOR: best state first, then the newest, then by peer.
    pub fn lookup(&self, now: Now, aor_id: Hash) -> Vec<Found> {
        let Some(phones) = self.by_aor.get(&aor_id) else { return Vec::new() };
        let mut found: Vec<Found> = phones
            .iter()
            .filter(|(_, h)| h.bind.until > now.wall && h.confirm_by.is_none_or(|at| at > now.wall))
            .map(|((instance, serving), held)| self.show(*serving, *instance, held))
            .collect();
        // LOG-17: one phone at two peers. A stale one gives way to a newer grant; otherwise both stay.
        let all = found.clone();
        found.retain(|f| {
            f.state != State::Stale
                || !all
                    .iter()
                    .any(|o| o.instance == f.instance && o.serving != f.serving && o.until > f.until)
        });
        found.sort_by(|a, b| {
            (a.state, b.until, a.serving, a.instance).cmp(&(b.state, a.until, b.serving, b.instance))
        });
        found
    }

    fn show(&self, serving: PeerId, instance: Hash, held: &Held) -> Found {
        let attested =
            held.words.iter().filter(|(_, (_, l))| *l == Life::Alive).map(|(p, (at, _))| (*p, *at));
        Found {
            serving,
            instance,
            realm: held.bind.realm,
            until: held.bind.until,
            state: self.state(serving, held),
            attested: attested.collect(),
            grant: held.bind.grant.as_ref().map(|g| g.to_vec()),
        }
    }

    fn state(&self, serving: PeerId, held: &Held) -> State {
        if self.dead.contains(&serving) {
            return State::Stale;
        }
        let words = |life: Life| held.words.values().filter(move |(_, l)| *l == life);
        let alive = words(Life::Alive).map(|(at, _)| *at).max();
        let gone = words(Life::Silent).chain(words(Life::Gone)).filter(|(at, _)| Some(*at) > alive);
        // A word from before the binding was last said is about another moment of it.
        if gone.filter(|(at, _)| *at >= held.said).count() >= STALE_WORDS {
            return State::Stale;
        }
        if alive.is_some() {
            State::Verified
        } else if words(Life::Unpingable).next().is_some() {
            State::Unpingable
        } else {
            State::Pending
        }
    }

    pub fn holds(&self, aor_id: Hash, instance: Hash, serving: PeerId) -> bool {
        self.by_aor.get(&aor_id).is_some_and(|phones| phones.contains_key(&(instance, serving)))
    }

    /// Live bindings of one author, for its DHT records.
    pub fn of_author(&self, author: PeerId, aor_id: Hash) -> impl Iterator<Item = &Bind> {
        let phones = self.by_aor.get(&aor_id).into_iter().flatten();
        phones.filter(move |((_, serving), _)| *serving == author).map(|(_, held)| &held.bind)
    }

    /// `home` says that grants of this AOR from before this time are void. Anybody can say so in its own log; ask
    /// only for homes of the AOR's realm.
    pub fn revoked_before(&self, aor_id: Hash, home: PeerId) -> Option<Timestamp> {
        self.revoked.get(&(aor_id, home)).copied()
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
