//! Names of realms, and which key we believe to own one (design: trust, realms).
//!
//! A self-certifying name says its own key. For any other name, until claims exist on a ledger, belief is: pinned by
//! the operator > DNS TXT > the first key heard from one of its homes. A second key never replaces the first silently:
//! it is kept as a rival, and the operator pins or forgets.
//!
//! ```text
//!   record ─▶ well formed, signed, timely? ─▶ name.dots: key fits? ─────────────▶ known
//!                                         └─▶ other name: key as believed? ─────▶ known
//!                                               │ none yet, from a home of it ──▶ known, unclaimed
//!                                               └ another key ──────────────────▶ rival, and what does DNS say?
//! ```
//!
//! Names are free to make up, so they compete for room by who brought them ([`announced`]).

mod accept;
mod announced;
pub(crate) mod dns;
#[cfg(test)]
mod tests;

use crate::records::{RealmRecord, realm::NAME_MAX};
pub use announced::{Brought, Teller};

use announced::Announced;
use dns::Dns;
use dots_wire::{Label20, PeerId, PublicKey, Signed, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Characters of the key's hash in a self-certifying name: 100 bits.
const NAME_CHARS: usize = 20;
/// Realms whose records we keep (few in tests, which fill it). At the limit what has expired goes, then a name of whoever has brought most.
pub(crate) const REALMS_MAX: usize = if cfg!(test) { 2_500 } else { 50_000 };
/// What these take with their records, which may have 4 KiB each.
pub(crate) const KNOWN_BYTES_MAX: usize = 16 << 20;
/// A realm beside its texts: its row, and its places in three indexes.
const ROW_BYTES: usize = 700;
/// Names that one peer can bring us on nothing but its word.
pub const UNCLAIMED_PER_PEER: usize = 16;
/// Names of one realm key that others can make us know: enough for who hosts the domains of many.
pub const NAMES_OF_KEY_MAX: usize = 64;
/// Self-certifying names that one peer can bring us.
pub const CERTIFIED_PER_PEER: usize = 1_000;
/// A newer record of one name is taken from others this often: each is written down.
const RENEWED_EVERY: Duration = Duration::from_secs(60);
/// Other keys that are listed for one name.
const RIVALS_MAX: usize = 8;
/// A record from further ahead than clocks may differ is refused.
const FUTURE_MAX: Duration = Duration::from_secs(60);

/// `<base32 of SHA-256(realm key), 20 characters>.dots`: owned by whoever holds the key, in no registry.
pub fn self_certifying(key: &PublicKey) -> String {
    let label = key.label().base32();
    format!("{}.dots", label.get(..NAME_CHARS).unwrap_or(&label))
}

/// What a DNS TXT record at `_dots.<name>` says to name `key`.
pub fn txt_value(key: &PublicKey) -> String {
    format!("dots-key-hash={}", dots_wire::sha256(&key.0))
}

/// REC-2: a DNS name as realms are written: lower case, labels of letters, digits and hyphens.
pub fn is_name(name: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    // An address is no name, and neither is what stands for a machine or a peer.
    let reserved =
        last.bytes().all(|b| b.is_ascii_digit()) || last == "localhost" || name.ends_with("peer.dots");
    name.len() <= NAME_MAX && name.split('.').all(label) && !reserved
}

/// Why we take a key for a name's owner; the stronger reason is the higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Belief {
    /// The first key heard.
    Unclaimed,
    Txt,
    Pinned,
    /// The name is the key's hash.
    SelfCertifying,
    /// This peer holds the realm key.
    Own,
}

impl Belief {
    pub fn as_str(self) -> &'static str {
        match self {
            Belief::Unclaimed => "unclaimed",
            Belief::Txt => "dns",
            Belief::Pinned => "pinned",
            Belief::SelfCertifying => "self-certifying",
            Belief::Own => "own",
        }
    }
}

/// What we know of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub key: PublicKey,
    pub belief: Belief,
    /// Who brought a name that is unclaimed or proves itself.
    pub announcer: Option<PeerId>,
    /// From which network, and whether it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought: Option<Brought>,
    /// The newest record; none for a pin that nobody has spoken for.
    pub record: Option<Signed>,
    pub rivals: Vec<PublicKey>,
    #[serde(skip)]
    read: Option<RealmRecord>,
    /// When a newer record last took the place of one.
    #[serde(skip)]
    renewed: Timestamp,
}

impl Known {
    fn bare(key: PublicKey, belief: Belief) -> Known {
        Known {
            key,
            belief,
            announcer: None,
            brought: None,
            record: None,
            rivals: Vec::new(),
            read: None,
            renewed: Timestamp(0),
        }
    }

    fn teller(&self) -> Option<Teller> {
        let brought = self.brought;
        self.announcer.map(|peer| Teller::from(peer).with(brought))
    }

    pub fn read(&self) -> Option<&RealmRecord> {
        self.read.as_ref()
    }

    /// Bytes that it takes under this name, with room for all rivals that it may get. By lengths, so that a copy weighs the same.
    fn weight(&self, name: &str) -> usize {
        let record = self.record.as_ref().map_or(0, |record| record.payload.len());
        let read = self.read.as_ref().map_or(0, RealmRecord::text_bytes);
        ROW_BYTES + 3 * name.len() + RIVALS_MAX * size_of::<PublicKey>() + record + read
    }
}

/// A change of belief, to be written down before it is acted on after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// All that is known of this name now.
    Set(String, Box<Known>),
    Forgotten(String),
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Known,
    /// To be written down.
    Changed(Vec<Change>),
    /// Another key has this name; DNS may know better. Ask, and call [`Realms::heard_txt`].
    AskDns(String),
}

/// Why a record is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is too long, or not a realm record of a version that we know")]
    Unreadable,
    #[error("it names no homes, too many peers, or no proper name")]
    Malformed,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is expired, or valid for too long")]
    Time,
    #[error("its key is not the one in its name")]
    NotItsName,
    #[error("we know a newer one")]
    Older,
    #[error("another key has this name; see `dots realms`")]
    Rival,
    #[error("a name that nobody vouches for counts only from a home of it")]
    NotFromHome,
    #[error("a newer one was taken less than a minute ago")]
    TooSoon,
    #[error("that peer has brought as many such names as it may")]
    TooMany,
    #[error("its key owns as many names as are remembered of one")]
    KeyHasMany,
    #[error("no more realms can be remembered")]
    Full,
}

#[derive(Default)]
pub struct Realms {
    known: BTreeMap<String, Known>,
    /// The names of each key that is believed.
    by_id: BTreeMap<Label20, BTreeSet<String>>,
    /// What all that is known weighs.
    bytes: usize,
    announced: Announced,
    dns: Dns,
    /// When the table was full last, and what had expired went.
    cleared: Timestamp,
}

impl Realms {
    /// Takes back what was written down.
    pub fn replay(&mut self, change: Change) {
        match change {
            Change::Set(name, known) => {
                let read = known.record.as_ref().and_then(|r| r.peek().ok());
                self.set(name, Known { read, ..*known });
            }
            Change::Forgotten(name) => self.remove(&name),
        }
    }

    /// Everything, as few changes: what a compacted journal holds.
    pub fn snapshot(&self) -> impl Iterator<Item = Change> {
        self.known.iter().map(|(name, known)| Change::Set(name.clone(), Box::new(known.clone())))
    }

    /// The operator (or this peer, of its own realm) says whose the name is. The key believed before becomes a rival.
    pub fn pin(&mut self, name: &str, key: PublicKey, belief: Belief) -> Option<Change> {
        let before = self.known.get(name);
        if before.is_some_and(|k| k.key == key && k.belief == belief) {
            return None;
        }
        let mut known = match before.cloned() {
            Some(known) if known.key == key => known,
            Some(known) => {
                let mut rivals = known.rivals;
                rivals.retain(|k| *k != key);
                add_rival(&mut rivals, known.key);
                Known { rivals, ..Known::bare(key, belief) }
            }
            None => Known::bare(key, belief),
        };
        known.belief = belief;
        (known.announcer, known.brought) = (None, None);
        Some(self.set(name.to_owned(), known))
    }

    /// Forgets a name, so that the next key heard counts. `None`: not known, or our own.
    pub fn forget(&mut self, name: &str) -> Option<Change> {
        self.known.get(name).filter(|k| k.belief != Belief::Own)?;
        self.remove(name);
        Some(Change::Forgotten(name.to_owned()))
    }

    /// Should DNS be asked about this name?
    pub fn wants_txt(&self, name: &str) -> bool {
        dns::can_know(name) && self.known.get(name).is_some_and(|k| k.belief <= Belief::Txt)
    }

    /// Records to tell others: none that has expired.
    pub fn tellable(&self, now: Timestamp) -> impl Iterator<Item = (&Known, &Signed)> {
        let live = move |known: &&Known| known.read().is_some_and(|r| r.valid_until > now);
        self.known.values().filter(live).filter_map(|known| Some((known, known.record.as_ref()?)))
    }

    /// The record to act by: believed and not expired.
    pub fn lookup(&self, name: &str, now: Timestamp) -> Option<&RealmRecord> {
        self.known.get(name)?.read().filter(|r| r.valid_until > now)
    }

    /// The records of this realm key to act by: one key may own several names.
    pub fn by_id(&self, realm: Label20, now: Timestamp) -> impl Iterator<Item = &RealmRecord> {
        let names = self.by_id.get(&realm).into_iter().flatten();
        names.filter_map(move |name| self.lookup(name, now))
    }

    /// The same, as it was signed.
    pub fn signed(&self, name: &str, now: Timestamp) -> Option<&Signed> {
        self.lookup(name, now)?;
        self.known.get(name)?.record.as_ref()
    }

    pub fn get(&self, name: &str) -> Option<&Known> {
        self.known.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Known)> {
        self.known.iter()
    }

    fn set(&mut self, name: String, known: Known) -> Change {
        self.uncount(&name);
        if let Some(teller) = known.teller() {
            self.announced.insert(teller, known.belief, &name, known.weight(&name));
        }
        self.bytes += known.weight(&name);
        self.by_id.entry(known.key.label()).or_default().insert(name.clone());
        self.known.insert(name.clone(), known.clone());
        Change::Set(name, Box::new(known))
    }

    fn remove(&mut self, name: &str) {
        self.uncount(name);
        self.known.remove(name);
    }

    /// Before `name` is changed or removed.
    fn uncount(&mut self, name: &str) {
        let Some(known) = self.known.get(name) else { return };
        let weight = known.weight(name);
        self.bytes = self.bytes.checked_sub(weight).expect("what is known was weighed");
        let id = known.key.label();
        if let Some(names) = self.by_id.get_mut(&id) {
            names.remove(name);
            if names.is_empty() {
                self.by_id.remove(&id);
            }
        }
        if let Some(teller) = known.teller() {
            self.announced.remove(teller, known.belief, name, weight);
        }
    }
}

fn add_rival(rivals: &mut Vec<PublicKey>, key: PublicKey) {
    if rivals.len() < RIVALS_MAX && !rivals.contains(&key) {
        rivals.push(key);
    }
}
