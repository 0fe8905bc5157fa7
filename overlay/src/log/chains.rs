//! Everybody's chains: which entries count, and in which order.
//!
//! An entry counts if it is signed, follows the one before it, and belongs to the highest incarnation of its author.
//! What is not in order is fetched; what contradicts itself is a proof against its author, and convicts it for good.
//!
//! ```text
//!            lower incarnation ─▶ Older        seq and hash known ─▶ Known
//!  bytes ──▶ signature, time ───▶ next seq? ──▶ New
//!                                    │ no: above ─▶ Gap       below, other hash ─▶ Equivocation
//! ```

use super::{
    Defence,
    payers::Payers,
    quota::{Bucket, Cost, Quota, STRANGER, TRUSTED},
};
use crate::records::{Entry, Event, Incarnation, Unverified, entry::Counts};
use dots_wire::{Hash, Label20, Now, PeerId, Timestamp, encode, merkle_root};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// LOG-6: a record from further ahead is refused.
pub const FUTURE_MAX: Duration = Duration::from_secs(60);
/// Authors whose chains we hold (design: to about 10,000 peers every peer knows every peer). At the limit the one goes that
/// came first and for whom no checked grant has paid, then one of the realm that has paid for most: keys cost nothing, and
/// neither do realms, so a table of them must not fail closed.
pub const AUTHORS_MAX: usize = 10_000;
/// Entries kept per author, to serve others and to catch contradictions; an author makes a checkpoint well before.
const CHAIN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// LOG-13b: of an author for whom no grant has paid yet, briefly and little.
const UNPAID_BYTES_MAX: usize = 64 * 1024;
/// Entries kept in all; above, unpaid authors go, then the longest chains lose their oldest entries.
const TOTAL_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Authors known to have lied. Each was an author of ours before; at the limit no more are convicted, and none is let
/// back in.
pub const CONVICTED_MAX: usize = 10_000;
/// An entry that we have already is passed on only while it is news to others.
const NEWS: Duration = Duration::from_secs(60);
/// What an author must have left before we ask him for what was dropped.
const FILL: Cost = Cost { events: 200, attests: 0 };
/// Peers that the operator named.
const TRUSTED_MAX: usize = 1_000;

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
    /// An entry that we had in part: what is new in it, and what was said of the same realms since, in order.
    Filled { author: PeerId, later: Vec<(Timestamp, Vec<Event>)> },
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
    /// These two entries cannot both be true: proof against their author.
    Equivocation { author: PeerId, first: Arc<[u8]>, second: Arc<[u8]> },
    /// Our own key, in a newer life than this one.
    RunsTwice,
    /// Its author is convicted, or there are too many authors.
    Refused,
    /// Too early by our clock. Another clock may say otherwise, so nobody is to blame.
    Early,
    /// Not an entry, or badly signed: whoever passed it on did not check it.
    Invalid,
}

/// An entry, as it is passed on. What it says has been heard; only its bytes are still of use.
struct Kept {
    seq: u64,
    hash: Hash,
    bytes: Arc<[u8]>,
}

impl Kept {
    fn read(&self) -> Entry {
        Entry::read(&self.bytes).expect("what is kept was read when it came").checked_before()
    }
}

struct Chain {
    incarnation: Incarnation,
    /// The newest entries, without gaps.
    entries: VecDeque<Kept>,
    /// Numbers of those that are not whole.
    holes: BTreeSet<u64>,
    bytes: usize,
    next: u64,
    last: Hash,
    bucket: Bucket,
    /// What the entry takes that was throttled last: until there is room for it, nothing of this chain is fetched.
    waits_for: Cost,
    /// A grant of his was checked.
    is_paid: bool,
    /// When he came.
    serial: u64,
}

impl Chain {
    /// Without its oldest entry; the bytes that went.
    fn cut(&mut self) -> usize {
        let old = self.entries.pop_front().expect("a chain that is cut has two entries");
        self.holes.remove(&old.seq);
        self.bytes -= old.bytes.len();
        old.bytes.len()
    }
}

pub struct Chains {
    me: PeerId,
    own: Incarnation,
    chains: BTreeMap<PeerId, Chain>,
    pub(super) convicted: BTreeSet<PeerId>,
    trusted: BTreeSet<PeerId>,
    bytes: usize,
    root: Option<Hash>,
    next_serial: u64,
    /// Authors for whom nobody has paid, as they came.
    unpaid: BTreeMap<u64, PeerId>,
    payers: Payers,
    /// Chains that give way when there are too many bytes: all but our own.
    by_bytes: BTreeSet<(usize, PeerId)>,
    disarmed: Option<Defence>,
}

impl Chains {
    pub fn new(me: PeerId, own: Incarnation) -> Chains {
        Chains {
            me,
            own,
            chains: BTreeMap::new(),
            convicted: BTreeSet::new(),
            trusted: BTreeSet::new(),
            bytes: 0,
            root: None,
            next_serial: 0,
            unpaid: BTreeMap::new(),
            payers: Payers::default(),
            by_bytes: BTreeSet::new(),
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

    /// LOG-10: an entry that was gossiped. It is whole, as its author wrote it: of one with groups left out there could be
    /// as many as there are choices of groups.
    pub fn accept_whole(&mut self, now: Now, bytes: &[u8]) -> Accepted {
        match Entry::read(bytes) {
            Some(entry) if entry.is_whole() => self.accept_read(now, entry),
            _ => Accepted::Invalid,
        }
    }

    /// An entry from outside. Cheap checks come first; a signature is checked once.
    pub fn accept(&mut self, now: Now, bytes: &[u8]) -> Accepted {
        Entry::read(bytes).map_or(Accepted::Invalid, |entry| self.accept_read(now, entry))
    }

    fn accept_read(&mut self, now: Now, entry: Unverified) -> Accepted {
        let header = entry.header();
        if header.time.since(now.wall) > FUTURE_MAX {
            return Accepted::Early;
        }
        // Of a network that has grown beyond what we follow: not our business, and no fault.
        if !header.shard.is_empty() {
            return Accepted::Refused;
        }
        let author = header.author;
        if self.convicted.contains(&author) {
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
            return self.compare(now, entry);
        }
        let follows = header.seq == chain.next && header.prev == chain.last;
        if !follows && !entry.is_checkpoint() {
            // A wrong `prev` at the right number means that one of the two before it is a lie: fetch that one.
            let from = if header.seq == chain.next { chain.next.saturating_sub(1) } else { chain.next };
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
        let Some(entry) = entry.verify() else { return Accepted::Invalid };
        let cost = Cost::own(&entry);
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
        let over = bucket.take_groups(now, quota, entry.counts.iter().copied());
        let entry = Arc::new(entry.without(&over).unwrap_or(entry));
        self.put(&entry, fresh, restart);
        Accepted::New { entry, restart }
    }

    /// Only a signed entry makes us ask for what is before it, and only when there is room for that.
    fn gap(&mut self, now: Now, entry: Unverified, from: u64) -> Accepted {
        let (author, incarnation) = (entry.header().author, entry.header().incarnation);
        let quota = self.quota(author);
        let Some(chain) = self.chains.get_mut(&author) else {
            return entry
                .verify()
                .map_or(Accepted::Invalid, |_| Accepted::GapOfUnknown { author, incarnation });
        };
        if !chain.bucket.has(now, quota, chain.waits_for) {
            return Accepted::Throttled;
        }
        if entry.verify().is_none() {
            return Accepted::Invalid;
        }
        chain.bucket.take(now, quota, Cost::ONE);
        Accepted::Gap { author, incarnation, from }
    }

    fn put(&mut self, entry: &Entry, bucket: Bucket, restart: bool) {
        let header = &entry.header;
        let author = header.author;
        if !self.chains.contains_key(&author) {
            self.make_place(author);
        }
        let serial = self.next_serial;
        let chain = self.chains.entry(header.author).or_insert_with(|| Chain {
            incarnation: header.incarnation,
            entries: VecDeque::new(),
            holes: BTreeSet::new(),
            bytes: 0,
            next: 0,
            last: Hash([0; 32]),
            bucket,
            waits_for: Cost::ONE,
            is_paid: false,
            serial,
        });
        let bytes_before = chain.bytes;
        if restart {
            self.bytes -= chain.bytes;
            chain.bytes = 0;
            chain.entries.clear();
            chain.holes.clear();
        }
        chain.incarnation = header.incarnation;
        chain.next = header.seq.saturating_add(1);
        chain.last = entry.hash;
        chain.bytes += entry.bytes.len();
        self.bytes += entry.bytes.len();
        if entry.dropped > 0 {
            chain.holes.insert(entry.header.seq);
        }
        chain.entries.push_back(Kept { seq: header.seq, hash: entry.hash, bytes: entry.bytes.clone() });
        let spares = chain.is_paid
            || author == self.me
            || self.trusted.contains(&author)
            || self.disarmed == Some(Defence::UnpaidAreShort);
        let bytes_max = if spares { CHAIN_BYTES_MAX } else { UNPAID_BYTES_MAX };
        while chain.entries.len() > 1 && chain.bytes > bytes_max {
            self.bytes -= chain.cut();
        }
        let bytes = chain.bytes;
        self.resized(author, bytes_before, bytes);
        self.root = None;
        self.make_room(author);
    }

    /// One author more: he is the newest of those for whom nobody has paid.
    fn make_place(&mut self, author: PeerId) {
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

    fn has_place(&self) -> bool {
        let is_disarmed = self.disarmed == Some(Defence::AuthorsGiveWay);
        self.chains.len() < AUTHORS_MAX || (!is_disarmed && self.gives_way().is_some())
    }

    /// Too many bytes: first whoever nobody has paid for, then the oldest of the longest chain. Never our own.
    fn make_room(&mut self, newcomer: PeerId) {
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

    fn resized(&mut self, author: PeerId, from: usize, to: usize) {
        if author != self.me {
            self.by_bytes.remove(&(from, author));
            self.by_bytes.insert((to, author));
        }
    }

    /// A grant of one of this author's bindings was checked, and is good.
    pub fn pay(&mut self, author: PeerId, realm: Label20) {
        if let Some(chain) = self.chains.get_mut(&author) {
            chain.bucket.pay(realm);
            if !chain.is_paid {
                chain.is_paid = true;
                self.unpaid.remove(&chain.serial);
                if author != self.me && !self.trusted.contains(&author) {
                    self.payers.insert(chain.serial, author, realm);
                }
            }
        }
    }

    /// An entry with a number that we have already. It is passed on only where it is, byte for byte, the one whose
    /// signature was checked.
    fn compare(&mut self, now: Now, entry: Unverified) -> Accepted {
        let author = entry.header().author;
        let Some(held) = self.held(author, entry.header().seq) else {
            return Accepted::Known { news: false };
        };
        if *held.bytes == *entry.bytes() {
            return Accepted::Known { news: now.wall.since(entry.header().time) < NEWS };
        }
        if held.hash == entry.hash() {
            return self.fill(now, entry);
        }
        if self.convicted.len() >= CONVICTED_MAX {
            return Accepted::Refused;
        }
        let first = held.bytes.clone();
        let Some(second) = entry.verify() else { return Accepted::Invalid };
        self.convict(author);
        Accepted::Equivocation { author, first, second: second.bytes }
    }

    /// LOG-1b: groups that were dropped on the way here have come. What was said later of these realms is said again, so
    /// that nothing comes back that has ended since.
    fn fill(&mut self, now: Now, entry: Unverified) -> Accepted {
        let (author, seq) = (entry.header().author, entry.header().seq);
        let nothing = Accepted::Known { news: false };
        let Some(chain) = self.chains.get_mut(&author) else { return nothing };
        if !chain.holes.contains(&seq) {
            return nothing;
        }
        let Some(entry) = entry.verify() else { return Accepted::Invalid };
        let quota = if self.trusted.contains(&author) { TRUSTED } else { STRANGER };
        let first = chain.entries.front().map_or(seq, |e| e.seq);
        let at = usize::try_from(seq - first).expect("an entry that is held has a place");
        let held = chain.entries.get_mut(at).expect("looked at by the caller");
        let before = held.read();
        let is_new = |(realm, _): &(Label20, Counts)| before.counts.iter().all(|(held, _)| held != realm);
        let over = chain.bucket.take_groups(now, quota, entry.counts.iter().copied().filter(is_new));
        let entry = entry.without(&over).unwrap_or(entry);
        let Some((filled, realms)) = before.filled(&entry) else { return nothing };
        if filled.dropped == 0 {
            chain.holes.remove(&seq);
        }
        let bytes_before = chain.bytes;
        chain.bytes = chain.bytes - held.bytes.len() + filled.bytes.len();
        self.bytes = self.bytes - held.bytes.len() + filled.bytes.len();
        held.bytes = filled.bytes;
        let said = |kept: &Kept| {
            let entry = kept.read();
            (entry.header.time, entry.events_of(&realms))
        };
        let later = chain.entries.range(at..).map(said).collect();
        let bytes = chain.bytes;
        self.resized(author, bytes_before, bytes);
        self.make_room(author);
        Accepted::Filled { author, later }
    }

    fn held(&self, author: PeerId, seq: u64) -> Option<&Kept> {
        let chain = self.chains.get(&author)?;
        let first = chain.entries.front()?.seq;
        chain.entries.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    fn accept_own(&mut self, entry: Unverified) -> Accepted {
        if entry.header().incarnation <= self.own {
            return Accepted::Older;
        }
        if entry.verify().is_some() { Accepted::RunsTwice } else { Accepted::Invalid }
    }

    /// An entry of ours that is on disk: from now on others may have it.
    pub fn put_own(&mut self, entry: &Entry) {
        let restart = entry.header.seq == 0 || entry.is_checkpoint();
        self.put(entry, Bucket::default(), restart);
    }

    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    pub(super) fn forget(&mut self, author: PeerId) {
        if let Some(chain) = self.chains.remove(&author) {
            self.bytes -= chain.bytes;
            self.unpaid.remove(&chain.serial);
            self.payers.remove(chain.serial);
            self.by_bytes.remove(&(chain.bytes, author));
        }
        self.root = None;
    }

    /// Sorted by author.
    pub fn heads(&self) -> impl Iterator<Item = Head> + '_ {
        self.chains.iter().map(|(author, chain)| Head {
            author: *author,
            shard: String::new(),
            incarnation: chain.incarnation,
            seq: chain.next.saturating_sub(1),
            hash: chain.last,
        })
    }

    /// The number of the newest entry of this author.
    pub fn head(&self, author: PeerId) -> Option<u64> {
        self.chains.get(&author).map(|chain| chain.next.saturating_sub(1))
    }

    /// Which entry that is: numbers come again in another life.
    pub fn head_hash(&self, author: PeerId) -> Option<Hash> {
        self.chains.get(&author).map(|chain| chain.last)
    }

    /// How far we hold this author's chain.
    pub fn place(&self, author: PeerId) -> Option<(Incarnation, u64)> {
        self.chains.get(&author).map(|chain| (chain.incarnation, chain.next))
    }

    /// One hash for all heads: equal roots mean that there is nothing to tell.
    pub fn root(&mut self) -> Hash {
        if let Some(root) = self.root {
            return root;
        }
        let leaves: Vec<Vec<u8>> = self.heads().map(|h| encode(&h)).collect();
        let root = merkle_root(&leaves);
        self.root = Some(root);
        root
    }

    /// The first entry of this author that we hold in part: he has the rest.
    pub fn hole(&self, now: Now, author: PeerId) -> Option<(Incarnation, u64)> {
        let chain = self.chains.get(&author)?;
        let quota = self.quota(author);
        if !chain.bucket.has(now, quota, FILL) {
            return None;
        }
        Some((chain.incarnation, *chain.holes.first()?))
    }

    /// From where on `holder`, who tells of `head`, has something that we have not; `None`: nothing.
    pub fn missing(&self, now: Now, holder: PeerId, head: &Head) -> Option<u64> {
        if head.author == self.me {
            // Only a newer life of ours is news.
            return (head.incarnation > self.own).then_some(0);
        }
        if self.convicted.contains(&head.author) || !head.shard.is_empty() {
            return None;
        }
        let Some(chain) = self.chains.get(&head.author) else {
            return self.has_place().then_some(0);
        };
        if !chain.bucket.has(now, self.quota(head.author), chain.waits_for) {
            return None;
        }
        match head.incarnation.cmp(&chain.incarnation) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Greater => Some(0),
            // What others dropped its author has.
            std::cmp::Ordering::Equal if holder == head.author && !chain.holes.is_empty() => {
                chain.holes.first().copied()
            }
            std::cmp::Ordering::Equal if head.seq >= chain.next => Some(chain.next),
            // The same place with another hash is what a liar looks like from afar.
            std::cmp::Ordering::Equal => self
                .held(head.author, head.seq)
                .is_some_and(|held| held.hash != head.hash)
                .then_some(head.seq),
        }
    }

    /// Entries of one life from `from` on, up to `bytes_max`; where older ones are gone, from the oldest that is held.
    pub fn range(
        &self,
        author: PeerId,
        incarnation: Incarnation,
        from: u64,
        bytes_max: usize,
    ) -> Vec<Arc<[u8]>> {
        let Some(chain) = self.chains.get(&author).filter(|c| c.incarnation >= incarnation) else {
            return Vec::new();
        };
        let from = if chain.incarnation > incarnation { 0 } else { from };
        let mut bytes = 0;
        let fits = |e: &&Kept| {
            bytes += e.bytes.len();
            bytes <= bytes_max
        };
        let wanted = chain.entries.iter().skip_while(|e| e.seq < from);
        wanted.take_while(fits).map(|e| e.bytes.clone()).collect()
    }

    pub fn authors(&self) -> usize {
        self.chains.len()
    }

    pub fn is_convicted(&self, author: PeerId) -> bool {
        self.convicted.contains(&author)
    }
}
