//! What follows what: an entry comes and is the next one, or known, or over a gap, or a lie.

use super::{
    Defence,
    chains::{Accepted, Chain, Chains, Kept},
    quota::{Bucket, Cost},
};
use crate::records::{Entry, Unverified};
use dots_wire::{Hash, Now};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// LOG-6: a record from further ahead is ignored.
pub const FUTURE_MAX: Duration = Duration::from_secs(90);
/// LOG-6: one from further ahead is not passed on. What is passed on its readers take, whose clocks are not ours.
pub const FORWARD_MAX: Duration = Duration::from_secs(60);
/// An entry that we have already is passed on only while it is news to others.
const NEWS: Duration = Duration::from_secs(60);
/// Of the entry before a checkpoint, what its author said for himself.
const BEFORE_BYTES_MAX: usize = 4 * 1024;

impl Chains {
    /// LOG-10: an entry that was gossiped. It is whole, as its author wrote it: of one with groups left out there could be
    /// as many as there are choices of groups.
    pub fn accept_whole(&mut self, now: Now, bytes: &[u8]) -> Accepted {
        self.work += 1;
        match Entry::read(bytes) {
            Some(entry) if entry.is_whole() => self.accept_read(now, entry, false),
            _ => Accepted::Invalid,
        }
    }

    /// An entry from outside that we asked for. Cheap checks come first; a signature is checked once.
    pub fn accept(&mut self, now: Now, bytes: &[u8]) -> Accepted {
        self.work += 1;
        Entry::read(bytes).map_or(Accepted::Invalid, |entry| self.accept_read(now, entry, true))
    }

    fn accept_read(&mut self, now: Now, entry: Unverified, may_fill: bool) -> Accepted {
        let header = entry.header();
        // LOG-6.
        if header.time.since(now.wall) > FUTURE_MAX {
            return Accepted::Early;
        }
        // Of a network that has grown beyond what we follow: not our business, and no fault.
        if !header.shard.is_empty() {
            return Accepted::Refused;
        }
        let author = header.author;
        if self.liars.contains(&author) {
            return Accepted::Refused;
        }
        if author == self.me {
            return self.accept_own(entry);
        }
        let Some(chain) = self.chains.get(&author) else {
            if !self.has_place() {
                return Accepted::Refused;
            }
            return self.start(now, entry);
        };
        if header.incarnation < chain.incarnation {
            return Accepted::Older;
        }
        if header.incarnation > chain.incarnation {
            return self.start(now, entry);
        }
        if header.seq < chain.next {
            return self.compare(now, entry, may_fill);
        }
        let is_next = header.seq == chain.next;
        let follows = is_next && header.prev == chain.last;
        // A checkpoint is a new beginning over a gap, but not beside an entry that it does not name.
        if !follows && (is_next || !entry.is_checkpoint()) {
            // A wrong `prev` at the right number means that one of the two before it is a lie: fetch that one.
            let from = if is_next { chain.next.saturating_sub(1) } else { chain.next };
            return self.gap(now, entry, from);
        }
        let restart = entry.is_checkpoint();
        self.extend(now, entry, restart)
    }

    /// The first entry of a life that we hear of.
    fn start(&mut self, now: Now, entry: Unverified) -> Accepted {
        let header = entry.header();
        if header.seq != 0 && !entry.is_checkpoint() {
            return self.gap(now, entry, 0);
        }
        if header.seq == 0 && header.prev != Hash([0; 32]) {
            return Accepted::Invalid;
        }
        self.extend(now, entry, true)
    }

    fn extend(&mut self, now: Now, entry: Unverified, restart: bool) -> Accepted {
        let author = entry.header().author;
        let quota = self.quota(author);
        let cost = Cost::own(entry.counts());
        // What was throttled once costs no signature again. Only a signed entry may say what the chain waits for.
        if let Some(chain) = self.chains.get(&author)
            && chain.waits_for.covers(cost)
            && !chain.bucket.has(now, quota, cost)
        {
            return Accepted::Throttled;
        }
        let Some(entry) = self.checked(entry) else { return Accepted::Invalid };
        let mut fresh = Bucket::default();
        let chain = self.chains.get_mut(&author);
        let mut waits_for = Cost::ONE;
        let (bucket, waits_for) = match chain {
            Some(chain) => (&mut chain.bucket, &mut chain.waits_for),
            None => (&mut fresh, &mut waits_for),
        };
        if !bucket.take(now, quota, cost) {
            *waits_for = cost;
            return Accepted::Throttled;
        }
        *waits_for = Cost::ONE;
        if self.disarmed == Some(Defence::RealmsPay) {
            let events = entry.counts.iter().map(|(_, counts)| counts.events).sum();
            if !bucket.take(now, quota, Cost { events, attests: 0 }) {
                return Accepted::Throttled;
            }
        }
        let over = bucket.take_groups(now, quota, &self.realms, entry.counts.iter().copied());
        let entry = Arc::new(entry.without(&over).unwrap_or(entry));
        self.put(&entry, fresh, restart);
        Accepted::New { entry, restart }
    }

    /// LOG-12e: only a signed entry makes us ask for what is before it, and only when there is room for that.
    fn gap(&mut self, now: Now, entry: Unverified, from: u64) -> Accepted {
        let (author, incarnation) = (entry.header().author, entry.header().incarnation);
        let quota = self.quota(author);
        let Some(chain) = self.chains.get(&author) else {
            return self
                .checked(entry)
                .map_or(Accepted::Invalid, |_| Accepted::GapOfUnknown { author, incarnation });
        };
        if !chain.bucket.has(now, quota, chain.waits_for) {
            return Accepted::Throttled;
        }
        if self.checked(entry).is_none() {
            return Accepted::Invalid;
        }
        let chain = self.chains.get_mut(&author).expect("it was there a moment ago");
        chain.bucket.take(now, quota, Cost::ONE);
        Accepted::Gap { author, incarnation, from }
    }

    /// LOG-13b: kept for others. A chain that a grant pays for is never cut behind its newest checkpoint, for without that nobody
    /// could begin it.
    fn put(&mut self, entry: &Entry, bucket: Bucket, restart: bool) {
        let header = &entry.header;
        let author = header.author;
        if !self.chains.contains_key(&author) {
            self.make_place(author);
        }
        let serial = self.next_serial;
        let chain = self.chains.entry(header.author).or_insert_with(|| Chain {
            incarnation: header.incarnation,
            before: None,
            entries: VecDeque::new(),
            is_whole: false,
            holes: BTreeSet::new(),
            lacks: false,
            came: BTreeMap::new(),
            fill_at: None,
            bytes: 0,
            next: 0,
            last: Hash([0; 32]),
            bucket,
            waits_for: Cost::ONE,
            paid_for: 0,
            serial,
        });
        let bytes_before = chain.bytes;
        if restart {
            self.bytes -= chain.bytes;
            let goes_on = chain.incarnation == header.incarnation && chain.last == header.prev;
            chain.before = chain.entries.pop_back().filter(|_| goes_on).and_then(bare);
            chain.bytes = chain.before.as_ref().map_or(0, |kept| kept.bytes.len());
            self.bytes += chain.bytes;
            chain.entries.clear();
            chain.holes.clear();
            chain.lacks = false;
            chain.came.clear();
            chain.is_whole = true;
        }
        chain.incarnation = header.incarnation;
        chain.next = header.seq.saturating_add(1);
        chain.last = entry.hash;
        chain.bytes += entry.bytes.len();
        self.bytes += entry.bytes.len();
        chain.entries.push_back(Kept { seq: header.seq, hash: entry.hash, bytes: entry.bytes.clone() });
        if entry.dropped > 0 {
            chain.add_hole(header.seq);
        }
        let bytes = chain.bytes;
        self.resized(author, bytes_before, bytes);
        self.cut_to_size(author);
        self.head_changes(author);
        self.make_room(author);
    }

    /// An entry with a number that we have already. It is passed on only where it is, byte for byte, the one whose
    /// signature was checked.
    fn compare(&mut self, now: Now, entry: Unverified, may_fill: bool) -> Accepted {
        let author = entry.header().author;
        let Some(held) = self.held(author, entry.header().seq) else {
            return Accepted::Known { news: false };
        };
        if *held.bytes == *entry.bytes() {
            return Accepted::Known { news: now.wall.since(entry.header().time) < NEWS };
        }
        if held.hash == entry.hash() {
            // Whoever needs the rest asks for it: what is gossiped is not counted, and each filling reads much again.
            return if may_fill { self.fill(now, entry) } else { Accepted::Known { news: false } };
        }
        let first = held.bytes.clone();
        let Some(second) = self.checked(entry) else { return Accepted::Invalid };
        let mattered = self.matters(author);
        self.convict(author);
        Accepted::Equivocation { author, mattered, first, second: second.bytes }
    }

    fn accept_own(&mut self, entry: Unverified) -> Accepted {
        if entry.header().incarnation <= self.own {
            return Accepted::Older;
        }
        if self.checked(entry).is_some() { Accepted::RunsTwice } else { Accepted::Invalid }
    }

    /// An entry of ours that is on disk: from now on others may have it.
    pub fn put_own(&mut self, entry: &Entry) {
        let restart = entry.header.seq == 0 || entry.is_checkpoint();
        self.put(entry, Bucket::default(), restart);
    }

    fn checked(&mut self, entry: Unverified) -> Option<Entry> {
        self.work += 1;
        entry.verify()
    }
}

/// An entry without its realms' groups, where that is short.
fn bare(kept: Kept) -> Option<Kept> {
    let bytes = kept.read().bare().bytes;
    (bytes.len() <= BEFORE_BYTES_MAX).then_some(Kept { bytes, ..kept })
}
