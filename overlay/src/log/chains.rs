//! Everybody's chains: which entries count, and in which order.
//!
//! An entry counts if it is signed, follows the one before it, and belongs to the highest incarnation of its author.
//! What is not in order is fetched; what contradicts itself is a proof against its author, and convicts it.
//!
//! ```text
//!            lower incarnation ─▶ Older        seq and hash known ─▶ Known
//!  bytes ──▶ signature, time ───▶ next seq? ──▶ New
//!                                    │ no: above ─▶ Gap       below, other hash ─▶ Equivocation
//! ```
//!
//! Here stands what is kept; the rooms around it are `order` (what follows what), `filling` (groups that come late), `room` (who
//! pays, and who gives way), `serving` (what others are told) and `proofs`.

use super::{
    Defence,
    liars::Liars,
    payers::Payers,
    quota::{Bucket, Cost, Realms},
    set_hash::SetHash,
};
use crate::records::{Entry, Event, Incarnation};
use dots_wire::{Hash, Label20, PeerId, Timestamp};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

/// Where a chain stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Head {
    pub author: PeerId,
    pub shard: String,
    pub incarnation: Incarnation,
    pub seq: u64,
    pub hash: Hash,
}

/// What became of an entry.
#[derive(Debug)]
pub enum Accepted {
    /// The next one. `restart`: it opens an incarnation, or is a checkpoint: what the author said before is void
    /// unless it says it again.
    New { entry: Arc<Entry>, restart: bool },
    /// An entry that we had in part. When all of an answer was accepted, [`Chains::take_filled`] tells what it brought.
    Filled { author: PeerId },
    /// `news`: others may still need it.
    Known { news: bool },
    /// Of an earlier life.
    Older,
    /// Entries from `from` on are missing before this one.
    Gap { author: PeerId, incarnation: Incarnation, from: u64 },
    /// The same, of an author that we hold nothing of: anybody can make up a key and a number, so it is not passed on.
    GapOfUnknown { author: PeerId, incarnation: Incarnation },
    /// Its author talks too much; it will be fetched when there is room for it.
    Throttled,
    /// These two entries cannot both be true: proof against their author. `mattered`: somebody stood for him.
    Equivocation { author: PeerId, mattered: bool, first: Arc<[u8]>, second: Arc<[u8]> },
    /// Our own key, in a newer life than this one.
    RunsTwice,
    /// Its author is convicted, or there are too many authors.
    Refused,
    /// Too early by our clock. Another clock may say otherwise, so nobody is to blame.
    Early,
    /// Not an entry, or badly signed: whoever passed it on did not check it.
    Invalid,
}

/// What is said again because it came late: in order, each with the time at which its author said it.
pub type Later = Vec<(Timestamp, Vec<Event>)>;

/// An entry, as it is passed on. What it says has been heard; only its bytes are still of use.
pub(super) struct Kept {
    pub seq: u64,
    pub hash: Hash,
    pub bytes: Arc<[u8]>,
}

impl Kept {
    pub fn read(&self) -> Entry {
        Entry::read(&self.bytes).expect("what is kept was read when it came").checked_before()
    }
}

pub(super) struct Chain {
    pub incarnation: Incarnation,
    /// The entry before the checkpoint with which `entries` begin, without what realms say: whoever was told another one of
    /// that number has a proof in it.
    pub before: Option<Kept>,
    /// The newest entries, without gaps.
    pub entries: VecDeque<Kept>,
    /// A reader may begin with the first of them: it opens a life or is a checkpoint.
    pub is_whole: bool,
    /// Numbers of those that are not whole and may be filled.
    pub holes: BTreeSet<u64>,
    /// Some more are not, and will not be filled.
    pub lacks: bool,
    /// Realms of which something came late, and from which entry on they are to be heard again.
    pub came: BTreeMap<Label20, u64>,
    /// What was dropped is not asked for before.
    pub fill_at: Option<Instant>,
    pub bytes: usize,
    pub next: u64,
    pub last: Hash,
    pub bucket: Bucket,
    /// What the entry takes that was throttled last: until there is room for it, nothing of this chain is fetched.
    pub waits_for: Cost,
    /// Bindings of his that a home granted and that live, as far as we know.
    pub paid_for: u32,
    /// When he came.
    pub serial: u64,
}

impl Chain {
    /// Without its oldest entry; the bytes that went.
    pub fn cut(&mut self) -> usize {
        let old = self.entries.pop_front().expect("a chain that is cut has two entries");
        self.holes.remove(&old.seq);
        let before = self.before.take().map_or(0, |kept| kept.bytes.len());
        self.is_whole = false;
        self.bytes -= old.bytes.len() + before;
        old.bytes.len() + before
    }
}

pub struct Chains {
    pub(super) me: PeerId,
    pub(super) own: Incarnation,
    pub(super) chains: BTreeMap<PeerId, Chain>,
    pub(super) liars: Liars,
    /// Liars that were forgotten for others and were not told yet.
    pub(super) pardoned: Vec<PeerId>,
    pub(super) trusted: BTreeSet<PeerId>,
    pub(super) realms: Realms,
    pub(super) bytes: usize,
    /// All heads as one hash; whose has changed since; and what of each is in it.
    pub(super) heads_sum: SetHash,
    pub(super) heads_changed: BTreeSet<PeerId>,
    pub(super) heads_summed: BTreeMap<PeerId, Hash>,
    pub(super) next_serial: u64,
    /// Authors for whom nobody pays, as they came.
    pub(super) unpaid: BTreeMap<u64, PeerId>,
    pub(super) payers: Payers,
    /// Chains that give way when there are too many bytes: all but our own.
    pub(super) by_bytes: BTreeSet<(usize, PeerId)>,
    /// Entries looked at, signatures checked, entries read again: what others' words have cost.
    pub(super) work: u64,
    pub(super) disarmed: Option<Defence>,
}

impl Chains {
    pub fn new(me: PeerId, own: Incarnation) -> Chains {
        Chains {
            me,
            own,
            chains: BTreeMap::new(),
            liars: Liars::default(),
            pardoned: Vec::new(),
            trusted: BTreeSet::new(),
            realms: Realms::default(),
            bytes: 0,
            heads_sum: SetHash::default(),
            heads_changed: BTreeSet::new(),
            heads_summed: BTreeMap::new(),
            next_serial: 0,
            unpaid: BTreeMap::new(),
            payers: Payers::default(),
            by_bytes: BTreeSet::new(),
            work: 0,
            disarmed: None,
        }
    }

    /// For a simulation.
    pub fn disarm(&mut self, defence: Defence) {
        self.disarmed = Some(defence);
    }

    pub fn set_own(&mut self, own: Incarnation) {
        self.own = own;
    }

    /// Steps taken since the start, for whoever pays for them.
    pub fn work(&self) -> u64 {
        self.work
    }
}
