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

use super::quota::{Bucket, Cost, Quota, STRANGER, TRUSTED};
use crate::records::{Entry, Incarnation, Unverified};
use dots_wire::{Hash, Now, PeerId, encode, merkle_root};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// LOG-6: a record from further ahead is refused.
pub const FUTURE_MAX: Duration = Duration::from_secs(60);
/// Authors whose chains we hold (design: to about 10,000 peers every peer knows every peer).
pub const AUTHORS_MAX: usize = 10_000;
/// Entries kept per author, to serve others and to catch contradictions; an author makes a checkpoint well before.
const CHAIN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Entries kept in all; above, a chain that grows keeps its newest entry only.
const TOTAL_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Authors known to have lied. Each was an author of ours before; at the limit no more are convicted, and none is let
/// back in.
pub const CONVICTED_MAX: usize = 10_000;
/// An entry that we have already is passed on only while it is news to others.
const NEWS: Duration = Duration::from_secs(60);
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
    /// Not an entry, badly signed, or from the future: whoever passed it on did not check it.
    Invalid,
}

struct Chain {
    incarnation: Incarnation,
    /// The newest entries, without gaps.
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    next: u64,
    last: Hash,
    bucket: Bucket,
    /// What the entry takes that was throttled last: until there is room for it, nothing of this chain is fetched.
    waits_for: Cost,
}

pub struct Chains {
    me: PeerId,
    own: Incarnation,
    chains: BTreeMap<PeerId, Chain>,
    pub(super) convicted: BTreeSet<PeerId>,
    trusted: BTreeSet<PeerId>,
    bytes: usize,
    root: Option<Hash>,
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
        }
    }

    pub fn set_own(&mut self, own: Incarnation) {
        self.own = own;
    }

    pub fn trust(&mut self, peer: PeerId) {
        if self.trusted.len() < TRUSTED_MAX {
            self.trusted.insert(peer);
        }
    }

    pub fn is_trusted(&self, author: PeerId) -> bool {
        self.trusted.contains(&author)
    }

    pub fn quota(&self, author: PeerId) -> Quota {
        if author == self.me || self.is_trusted(author) { TRUSTED } else { STRANGER }
    }

    /// An entry from outside. Cheap checks come first; a signature is checked once.
    pub fn accept(&mut self, now: Now, bytes: &[u8]) -> Accepted {
        let Some(entry) = Entry::read(bytes) else { return Accepted::Invalid };
        let header = entry.header();
        if header.time.since(now.wall) > FUTURE_MAX || !header.shard.is_empty() {
            return Accepted::Invalid;
        }
        let author = header.author;
        if self.convicted.contains(&author) {
            return Accepted::Refused;
        }
        if author == self.me {
            return self.accept_own(entry);
        }
        let Some(chain) = self.chains.get(&author) else {
            if self.chains.len() >= AUTHORS_MAX {
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
        let cost = Cost::of(&entry);
        let mut bucket =
            self.chains.get(&author).map_or_else(|| Bucket::full(now, quota), |chain| chain.bucket);
        let taken = bucket.take(now, quota, cost);
        if let Some(chain) = self.chains.get_mut(&author) {
            chain.bucket = bucket;
            chain.waits_for = if taken { Cost::ONE } else { cost };
        }
        if !taken {
            return Accepted::Throttled;
        }
        let entry = Arc::new(entry);
        self.put(entry.clone(), bucket, restart);
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

    fn put(&mut self, entry: Arc<Entry>, bucket: Bucket, restart: bool) {
        let header = &entry.header;
        let chain = self.chains.entry(header.author).or_insert_with(|| Chain {
            incarnation: header.incarnation,
            entries: VecDeque::new(),
            bytes: 0,
            next: 0,
            last: Hash([0; 32]),
            bucket,
            waits_for: Cost::ONE,
        });
        if restart {
            self.bytes -= chain.bytes;
            chain.bytes = 0;
            chain.entries.clear();
        }
        chain.incarnation = header.incarnation;
        chain.next = header.seq.saturating_add(1);
        chain.last = entry.hash;
        chain.bytes += entry.bytes.len();
        self.bytes += entry.bytes.len();
        chain.entries.push_back(entry);
        while chain.entries.len() > 1 && (chain.bytes > CHAIN_BYTES_MAX || self.bytes > TOTAL_BYTES_MAX) {
            if let Some(old) = chain.entries.pop_front() {
                chain.bytes -= old.bytes.len();
                self.bytes -= old.bytes.len();
            }
        }
        self.root = None;
    }

    /// An entry with a number that we have already.
    fn compare(&mut self, now: Now, entry: Unverified) -> Accepted {
        let author = entry.header().author;
        let known = Accepted::Known { news: now.wall.since(entry.header().time) < NEWS };
        let Some(held) = self.held(author, entry.header().seq) else { return known };
        if held.hash == entry.hash() {
            return known;
        }
        if self.convicted.len() >= CONVICTED_MAX {
            return Accepted::Refused;
        }
        let first = held.bytes.clone();
        let Some(second) = entry.verify() else { return Accepted::Invalid };
        self.convict(author);
        Accepted::Equivocation { author, first, second: second.bytes }
    }

    fn held(&self, author: PeerId, seq: u64) -> Option<&Arc<Entry>> {
        let chain = self.chains.get(&author)?;
        let first = chain.entries.front()?.header.seq;
        chain.entries.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    fn accept_own(&mut self, entry: Unverified) -> Accepted {
        if entry.header().incarnation <= self.own {
            return Accepted::Older;
        }
        if entry.verify().is_some() { Accepted::RunsTwice } else { Accepted::Invalid }
    }

    /// An entry of ours that is on disk: from now on others may have it.
    pub fn put_own(&mut self, now: Now, entry: Arc<Entry>) {
        let restart = entry.header.seq == 0 || entry.is_checkpoint();
        self.put(entry, Bucket::full(now, TRUSTED), restart);
    }

    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    pub(super) fn forget(&mut self, author: PeerId) {
        if let Some(chain) = self.chains.remove(&author) {
            self.bytes -= chain.bytes;
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

    /// From where on `head` has something that we have not; `None`: nothing.
    pub fn missing(&self, now: Now, head: &Head) -> Option<u64> {
        if head.author == self.me {
            // Only a newer life of ours is news.
            return (head.incarnation > self.own).then_some(0);
        }
        if self.convicted.contains(&head.author) || !head.shard.is_empty() {
            return None;
        }
        let Some(chain) = self.chains.get(&head.author) else {
            return (self.chains.len() < AUTHORS_MAX).then_some(0);
        };
        if !chain.bucket.has(now, self.quota(head.author), chain.waits_for) {
            return None;
        }
        match head.incarnation.cmp(&chain.incarnation) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Greater => Some(0),
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
        let fits = |e: &&Arc<Entry>| {
            bytes += e.bytes.len();
            bytes <= bytes_max
        };
        let wanted = chain.entries.iter().skip_while(|e| e.header.seq < from);
        wanted.take_while(fits).map(|e| e.bytes.clone()).collect()
    }

    pub fn authors(&self) -> usize {
        self.chains.len()
    }

    pub fn is_convicted(&self, author: PeerId) -> bool {
        self.convicted.contains(&author)
    }
}
