//! Entries and events of the log (docs/spec/1-log.md, LOG-1 to LOG-9).
//!
//! Signed is a small header; the events hang on it by Merkle roots: one over the events of each realm, one over these. So a
//! reader may keep some realms' events and drop others: what is left of a dropped group is its root, the header still
//! proves the rest, and the chain is checked by headers alone. What the author says for himself (checkpoints, revocations)
//! cannot be dropped, so that nobody who passes an entry on decides what of it is heard.
//!
//! An entry has one form for each choice of groups: other bytes of the same value are refused, so that nobody makes many
//! messages of one.
//!
//! Events travel as the bytes that the author hashed: an event that this version does not know is kept and passed on.

use super::event::{Event, Revoke, Said};
use dots_wire::{Hash, Label20, PeerId, SecretKey, Signed, Timestamp, decode, encode, merkle_root, sha256};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub const ENTRY_DOMAIN: &str = "dots/entry/2";
pub const VERSION: u8 = 2;
/// LOG-3: an entry with its signature, so that two fit into one gossip message.
pub const ENTRY_MAX: usize = 48 * 1024;
/// Events in one entry; the smallest event is about this fraction of it.
pub const EVENTS_MAX: usize = 1_024;
/// What a group adds to its events: its realm, its counts, the CBOR around them.
pub const GROUP_BYTES: usize = 48;
/// The realm of what an author says for himself: checkpoints, revocations, what he saw of others' phones.
pub const NO_REALM: Label20 = Label20([0; 20]);
/// One event: room for a grant with its Merkle path, and no more.
pub const EVENT_MAX: usize = 4 * 1024;

/// One life of an author: when its process started, and a random number so that two are never equal. Later is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize_tuple, Deserialize_tuple)]
pub struct Incarnation {
    pub started: Timestamp,
    pub random: u64,
}

/// LOG-2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Header {
    pub version: u8,
    pub author: PeerId,
    pub incarnation: Incarnation,
    /// A prefix of aor_id in bits, `0` and `1`; empty while the network is small.
    pub shard: String,
    pub seq: u64,
    /// [`Entry::hash`] of the entry before; zeros for the first.
    pub prev: Hash,
    pub time: Timestamp,
    pub count: u32,
    pub events_root: Hash,
}

/// As it travels and is stored.
#[derive(Serialize_tuple, Deserialize_tuple)]
struct Wire {
    header: Signed,
    groups: Vec<Group>,
}

/// LOG-1a: the events of one realm. Groups are sorted by realm, and each realm has one.
#[derive(Serialize_tuple, Deserialize_tuple)]
struct Group {
    realm: Label20,
    events: Kept,
}

#[derive(Serialize, Deserialize)]
enum Kept {
    All(Vec<ByteBuf>),
    /// A reader dropped them: so many there were, under this root.
    Root(u32, Hash),
}

impl Group {
    fn count(&self) -> usize {
        match &self.events {
            Kept::All(events) => events.len(),
            Kept::Root(count, _) => usize::try_from(*count).unwrap_or(usize::MAX),
        }
    }

    fn events(&self) -> &[ByteBuf] {
        match &self.events {
            Kept::All(events) => events,
            Kept::Root(..) => &[],
        }
    }

    fn dropped_count(&self) -> u32 {
        match &self.events {
            Kept::All(_) => 0,
            Kept::Root(count, _) => *count,
        }
    }

    fn dropped(&self) -> Group {
        let (count, root) = self.totals();
        Group { realm: self.realm, events: Kept::Root(count, root) }
    }

    /// Those that this version knows, and that say something in this group.
    fn known(&self) -> Vec<Event> {
        let events = self.events().iter().filter_map(|e| decode::<Event>(e).ok());
        events.filter(|event| event.counts_in(self.realm)).collect()
    }

    fn totals(&self) -> (u32, Hash) {
        match &self.events {
            Kept::All(events) => (u32::try_from(events.len()).unwrap_or(u32::MAX), merkle_root(events)),
            Kept::Root(count, root) => (*count, *root),
        }
    }

    /// What the header's root stands on.
    fn leaf(&self) -> Vec<u8> {
        let (count, root) = self.totals();
        encode(&(self.realm, count, root))
    }
}

fn root_of(groups: &[Group]) -> Hash {
    let leaves: Vec<Vec<u8>> = groups.iter().map(Group::leaf).collect();
    merkle_root(&leaves)
}

fn grouped(events: impl IntoIterator<Item = (Label20, Vec<u8>)>) -> Vec<Group> {
    let mut by_realm: BTreeMap<Label20, Vec<ByteBuf>> = BTreeMap::new();
    for (realm, bytes) in events {
        by_realm.entry(realm).or_default().push(ByteBuf::from(bytes));
    }
    by_realm.into_iter().map(|(realm, events)| Group { realm, events: Kept::All(events) }).collect()
}

/// LOG-2, LOG-8: the root over encoded events, realm by realm, each realm's in the order in which they come.
pub fn root_by_realm(events: impl IntoIterator<Item = (Label20, Vec<u8>)>) -> Hash {
    root_of(&grouped(events))
}

/// What a realm's group in an entry takes of its author's purses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u32,
    /// What the author saw of others' phones.
    pub attests: u32,
}

impl Counts {
    fn of(known: &[Event], count: usize) -> Counts {
        let attests = known.iter().filter(|event| matches!(event, Event::Attest(_))).count();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Counts { events: number(count.saturating_sub(attests)), attests: number(attests) }
    }
}

/// An entry, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub header: Header,
    /// Those that are here and that this version knows, in order.
    pub events: Vec<Event>,
    /// How many were dropped on the way here, and of which realms.
    pub dropped: u32,
    pub lost: Vec<Label20>,
    /// Of each realm that has events here, how many.
    pub counts: Vec<(Label20, Counts)>,
    /// SHA-256 of the signed header.
    pub hash: Hash,
    pub bytes: Arc<[u8]>,
}

impl Entry {
    /// Signs `events` (each an encoded [`Event`]) under `header`, whose count and root are filled in here.
    pub fn seal(key: &SecretKey, header: Header, events: Vec<Vec<u8>>) -> Entry {
        let realm = |bytes: &[u8]| decode::<Event>(bytes).map_or(NO_REALM, |event| event.realm());
        let events = events.into_iter().map(|bytes| (realm(&bytes), bytes)).collect();
        Entry::seal_grouped(key, header, events)
    }

    /// The same of events whose realm the author knows. Within a realm they keep their order.
    pub fn seal_grouped(key: &SecretKey, mut header: Header, events: Vec<(Label20, Vec<u8>)>) -> Entry {
        header.count = u32::try_from(events.len()).expect("an entry holds at most EVENTS_MAX events");
        let groups = grouped(events);
        header.events_root = root_of(&groups);
        let signed = Signed::new(key, ENTRY_DOMAIN, &header);
        let hash = sha256(&signed.payload);
        Entry::of(header, hash, &Wire { header: signed, groups })
    }

    fn of(header: Header, hash: Hash, wire: &Wire) -> Entry {
        let lost = wire.groups.iter().filter(|group| group.dropped_count() > 0);
        let lost: Vec<Label20> = lost.map(|group| group.realm).collect();
        let dropped = wire.groups.iter().map(Group::dropped_count).sum();
        let here = wire.groups.iter().filter(|group| group.dropped_count() == 0);
        let of_realms: Vec<(Label20, Vec<Event>, usize)> =
            here.map(|group| (group.realm, group.known(), group.count())).collect();
        let counts = of_realms.iter().map(|(realm, known, count)| (*realm, Counts::of(known, *count)));
        let counts = counts.collect();
        let events = of_realms.into_iter().flat_map(|(_, known, _)| known).collect();
        Entry { header, events, dropped, lost, counts, hash, bytes: encode(wire).into() }
    }

    /// Reads all but the signature: `None` where it is not an entry or its events are not those of its header.
    pub fn read(bytes: &[u8]) -> Option<Unverified> {
        if bytes.len() > ENTRY_MAX {
            return None;
        }
        let wire: Wire = decode(bytes).ok()?;
        let header: Header = wire.header.peek().ok()?;
        let count = wire.groups.iter().fold(0usize, |n, g| n.saturating_add(g.count()));
        let fits = header.version == VERSION
            && count <= EVENTS_MAX
            && count == header.count as usize
            && wire.groups.iter().all(|g| g.count() > 0 && (g.realm != NO_REALM || g.dropped_count() == 0))
            && wire.groups.is_sorted_by(|one, next| one.realm < next.realm)
            && wire.groups.iter().flat_map(Group::events).all(|e| e.len() <= EVENT_MAX)
            && root_of(&wire.groups) == header.events_root;
        if !fits {
            return None;
        }
        let hash = sha256(&wire.header.payload);
        let entry = Entry::of(header, hash, &wire);
        // LOG-1: one value, one form.
        (*entry.bytes == *bytes).then_some(Unverified { signed: wire.header, entry })
    }

    fn wire(&self) -> Wire {
        decode(&self.bytes).expect("an entry was read from its bytes")
    }

    /// LOG-1b: the same entry with the events of these realms left out: its header, its hash and its place in the chain are as
    /// they were. `None`: there is nothing of theirs in it that may go.
    pub fn without(&self, realms: &BTreeSet<Label20>) -> Option<Entry> {
        let mut wire = self.wire();
        let mut is_smaller = false;
        for group in wire.groups.iter_mut().filter(|g| g.realm != NO_REALM && realms.contains(&g.realm)) {
            is_smaller |= !group.events().is_empty();
            *group = group.dropped();
        }
        // What is left out may be named by more bytes than it had: an entry longer than any that is read is none.
        let rest = is_smaller.then(|| Entry::of(self.header.clone(), self.hash, &wire));
        rest.filter(|entry| entry.bytes.len() <= ENTRY_MAX)
    }

    /// The same entry with what `other`, the same with other groups left out, has of it, and the realms that came.
    /// `None`: nothing.
    pub fn filled(&self, other: &Entry) -> Option<(Entry, BTreeSet<Label20>)> {
        assert_eq!(self.hash, other.hash, "one entry is filled with itself");
        let (mut wire, others) = (self.wire(), other.wire().groups);
        debug_assert_eq!(wire.groups.len(), others.len(), "one root, the same groups");
        let mut came = BTreeSet::new();
        for (group, other) in wire.groups.iter_mut().zip(others) {
            if group.dropped_count() > other.dropped_count() {
                came.insert(group.realm);
                *group = other;
            }
        }
        // Two parts, each short enough to be read, may belong to a header whose whole is not: it is filled no further.
        let whole = (!came.is_empty()).then(|| (Entry::of(self.header.clone(), self.hash, &wire), came));
        whole.filter(|(entry, _)| entry.bytes.len() <= ENTRY_MAX)
    }

    /// LOG-1b: without what realms say in it, where any of that may go: its header, and what its author says for himself.
    pub fn bare(self) -> Entry {
        let realms = self.counts.iter().map(|(realm, _)| *realm).collect();
        self.without(&realms).unwrap_or(self)
    }

    pub fn said(&self) -> Said<'_> {
        let (author, time) = (self.header.author, self.header.time);
        Said { author, time, events: &self.events, dropped: self.dropped, lost: &self.lost }
    }

    /// What it says of these realms.
    pub fn events_of(&self, realms: &BTreeSet<Label20>) -> Vec<Event> {
        let mut groups = self.wire().groups;
        groups.retain(|g| realms.contains(&g.realm));
        groups.iter().flat_map(Group::known).collect()
    }

    /// The first event is a checkpoint: a reader may start here (LOG-8).
    pub fn is_checkpoint(&self) -> bool {
        matches!(self.events.first(), Some(Event::Checkpoint(_)))
    }
}

/// Whose entry it is, and of which life, in any version of this format: what an older one on our disk still says.
pub fn life_of(bytes: &[u8]) -> Option<(PeerId, Incarnation)> {
    #[derive(Deserialize_tuple)]
    struct Outer {
        header: Signed,
        #[serde(rename = "events")]
        _events: serde::de::IgnoredAny,
    }
    let outer: Outer = decode(bytes).ok()?;
    let header: Header = outer.header.peek().ok()?;
    Some((header.author, header.incarnation))
}

/// An entry whose signature was not looked at yet.
pub struct Unverified {
    signed: Signed,
    entry: Entry,
}

impl Unverified {
    /// To decide whether the signature is worth checking.
    pub fn header(&self) -> &Header {
        &self.entry.header
    }
    pub fn hash(&self) -> Hash {
        self.entry.hash
    }
    pub fn bytes(&self) -> &[u8] {
        &self.entry.bytes
    }
    /// What it says there is in it, and for whom.
    pub fn counts(&self) -> &[(Label20, Counts)] {
        &self.entry.counts
    }
    /// Nothing of it was dropped.
    pub fn is_whole(&self) -> bool {
        self.entry.dropped == 0
    }
    /// Of an entry whose signature need not be looked at: our own, from our own disk.
    pub fn events(&self) -> &[Event] {
        &self.entry.events
    }
    pub fn is_checkpoint(&self) -> bool {
        self.entry.is_checkpoint()
    }
    pub fn revokes(&self) -> impl Iterator<Item = &Revoke> {
        self.entry.events.iter().filter_map(|e| if let Event::Revoke(r) = e { Some(r) } else { None })
    }
    /// Of an entry whose signature was looked at before it was kept.
    pub fn checked_before(self) -> Entry {
        self.entry
    }
    pub fn verify(self) -> Option<Entry> {
        self.signed.verify(&self.entry.header.author.0, ENTRY_DOMAIN).ok()?;
        Some(self.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{
        Attest, AttestKind, Bind, Checkpoint, Life, PingOutcome, Presence, Unbind, event::PING_DOMAIN,
    };

    fn header(key: &SecretKey) -> Header {
        Header {
            version: VERSION,
            author: key.peer_id(),
            incarnation: Incarnation { started: Timestamp(1_000), random: 7 },
            shard: String::new(),
            seq: 3,
            prev: Hash([9; 32]),
            time: Timestamp(2_000),
            count: 0,
            events_root: Hash([0; 32]),
        }
    }

    fn events(key: &SecretKey) -> Vec<Event> {
        let (aor_id, instance) = (Hash([1; 32]), Hash([2; 32]));
        let outcome = PingOutcome {
            version: VERSION,
            serving: key.peer_id(),
            verifier: key.peer_id(),
            aor_id,
            instance,
            challenge: Hash([3; 32]),
            life: Life::Alive,
            time: Timestamp(4),
        };
        let proof = Signed::new(key, PING_DOMAIN, &outcome);
        let grant = Some(vec![5, 6].into());
        vec![
            Event::Bind(Bind { aor_id, realm: Label20([4; 20]), instance, until: Timestamp(5), grant }),
            Event::Unbind(Unbind { aor_id, instance }),
            Event::Presence(Presence { aor_id, owner: key.peer_id(), version: 6 }),
            Event::Attest(Attest { kind: AttestKind::ServingAlive, proof }),
            Event::Revoke(Revoke { aor_id, before: Timestamp(7) }),
            Event::Checkpoint(Checkpoint { root: Hash([8; 32]), count: 9 }),
        ]
    }

    fn bind(realm: u8, n: u8) -> Event {
        let (aor_id, instance) = (Hash([n; 32]), Hash([2; 32]));
        let realm = Label20([realm; 20]);
        Event::Bind(Bind { aor_id, realm, instance, until: Timestamp(5), grant: None })
    }

    /// LOG-1, LOG-2. A change here is a new version of the record, or a CHANGELOG line before the first release.
    #[test]
    fn golden_bytes() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let entry = Entry::seal(&key, header(&key), events(&key).iter().map(encode).collect());
        assert_eq!(entry.bytes.len(), GOLDEN_LEN);
        assert_eq!(sha256(&entry.bytes).to_string(), GOLDEN_ENTRY);
        let unbind = Unbind { aor_id: Hash([1; 32]), instance: Hash([2; 32]) };
        assert_eq!(hex::encode(encode(&unbind)), GOLDEN_UNBIND);
        let read = Entry::read(&entry.bytes).and_then(Unverified::verify);
        assert_eq!(read.as_ref(), Some(&entry));
        let mut grouped = events(&key);
        grouped[..].rotate_left(1);
        assert_eq!(entry.events, grouped, "the author's own come first");
    }

    #[test]
    fn a_changed_byte_is_another_entry_or_none() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let entry = Entry::seal(&key, header(&key), events(&key).iter().map(encode).collect());
        for at in 0..entry.bytes.len() {
            let mut bytes = entry.bytes.to_vec();
            bytes[at] ^= 1;
            assert_eq!(Entry::read(&bytes).and_then(Unverified::verify), None, "byte {at}");
        }
    }

    #[test]
    fn an_entry_is_read_whole_or_not_at_all() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let entry = Entry::seal(&key, header(&key), events(&key).iter().map(encode).collect());
        crate::hostile::attack("entry", &entry.bytes, |b| Entry::read(b).is_some());
        let left = entry.without(&[Label20([4; 20])].into()).expect("a realm is in it");
        crate::hostile::attack("entry-without", &left.bytes, |b| Entry::read(b).is_some());
        let newer = Header { version: VERSION + 1, ..header(&key) };
        assert!(Entry::read(&Entry::seal(&key, newer, Vec::new()).bytes).is_none());
        for event in events(&key) {
            crate::hostile::attack("event", &encode(&event), |b| decode::<Event>(b).is_ok());
        }
    }

    /// LOG-1, LOG-1a, LOG-1b.
    #[test]
    fn a_group_is_dropped_and_the_rest_is_still_proved() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let said = [bind(9, 1), bind(4, 2), bind(9, 3)];
        let entry = Entry::seal(&key, header(&key), said.iter().map(encode).collect());
        assert_eq!(entry.events, [bind(4, 2), bind(9, 1), bind(9, 3)], "by realm, in order");
        let left = entry.without(&[Label20([9; 20])].into()).expect("it is there");
        assert_eq!((left.hash, left.events.clone()), (entry.hash, vec![bind(4, 2)]));
        assert!(left.bytes.len() < entry.bytes.len());
        let read = Entry::read(&left.bytes).and_then(Unverified::verify);
        assert_eq!(read.as_ref(), Some(&left), "whoever gets it can check it");
        assert_eq!(left.without(&[Label20([9; 20]), Label20([1; 20])].into()), None, "nothing more to drop");
        assert_eq!((left.dropped, entry.dropped), (2, 0));
        let none = left.without(&[Label20([4; 20])].into()).expect("the last group");
        assert!(Entry::read(&none.bytes).and_then(Unverified::verify).is_some_and(|e| e.events.is_empty()));
    }

    #[test]
    fn what_was_dropped_is_filled_in_by_the_same_entry_and_by_nothing_else() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let said = [bind(9, 1), bind(4, 2), bind(9, 3)];
        let entry = Entry::seal(&key, header(&key), said.iter().map(encode).collect());
        let (four, nine) = (Label20([4; 20]), Label20([9; 20]));
        let of_four = entry.without(&[nine].into()).expect("it is there");
        let of_nine = entry.without(&[four].into()).expect("it is there");
        assert_eq!(of_four.filled(&of_nine), Some((entry.clone(), [nine].into())));
        assert_eq!(of_nine.filled(&entry), Some((entry.clone(), [four].into())));
        assert_eq!(of_four.filled(&of_four), None);
        assert_eq!(entry.filled(&of_four), None, "there is nothing to fill");
        assert_eq!(entry.events_of(&[nine].into()), [bind(9, 1), bind(9, 3)]);
    }

    /// LOG-1a: else whoever passes an entry on would choose which revocations are heard.
    #[test]
    fn what_an_author_says_for_himself_cannot_be_dropped() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let entry = Entry::seal(&key, header(&key), events(&key).iter().map(encode).collect());
        assert_eq!(entry.without(&[NO_REALM].into()), None);
        let mut wire = entry.wire();
        wire.groups[0] = wire.groups[0].dropped();
        assert!(Entry::read(&encode(&wire)).is_none());
    }

    #[test]
    fn an_event_in_a_group_that_is_not_its_own_says_nothing() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let revoke = Event::Revoke(Revoke { aor_id: Hash([1; 32]), before: Timestamp(7) });
        let said = [bind(9, 1), revoke, bind(4, 2)].map(|e| (Label20([4; 20]), encode(&e)));
        let entry = Entry::seal_grouped(&key, header(&key), said.into());
        assert_eq!((entry.events.as_slice(), entry.header.count), (&[bind(4, 2)][..], 3));
    }

    /// LOG-3.
    #[test]
    fn what_is_longer_than_an_entry_or_an_event_is_none() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let is_read =
            |events: Vec<Vec<u8>>| Entry::read(&Entry::seal(&key, header(&key), events).bytes).is_some();
        assert!(is_read(vec![vec![b'x'; EVENT_MAX]]) && !is_read(vec![vec![b'x'; EVENT_MAX + 1]]));
        assert!(is_read(vec![vec![1]; EVENTS_MAX]) && !is_read(vec![vec![1]; EVENTS_MAX + 1]));
        assert!(is_read(vec![vec![b'x'; 4_000]; 12]) && !is_read(vec![vec![b'x'; 4_000]; 13]));
    }

    /// LOG-1. Whoever can write one entry in many ways can make many messages of one, each signed by its author.
    #[test]
    fn an_entry_is_written_in_one_way() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let entry = Entry::seal(&key, header(&key), vec![encode(&bind(4, 1))]);
        let mut long = entry.bytes.to_vec();
        assert_eq!(long[0], 0x82, "an array of two");
        long.splice(0..1, [0x98, 2]);
        assert!(decode::<Wire>(&long).is_ok(), "CBOR has another way");
        assert!(Entry::read(&long).is_none());
    }

    /// LOG-5: an entry of the first release, as its segments hold it: not read, but its life is known.
    #[test]
    fn an_entry_of_the_first_format_is_skipped_and_its_life_is_not_lost() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let events: Vec<ByteBuf> = events(&key).iter().map(|e| ByteBuf::from(encode(e))).collect();
        let first = Header { version: 1, count: 6, events_root: merkle_root(&events), ..header(&key) };
        let bytes = encode(&(Signed::new(&key, "dots/entry/1", &first), events));
        assert!(Entry::read(&bytes).is_none());
        assert_eq!(life_of(&bytes), Some((key.peer_id(), first.incarnation)));
        assert_eq!(life_of(b"junk"), None);
    }

    const GOLDEN_LEN: usize = 878;
    const GOLDEN_ENTRY: &str = "d1e0cbb41d2d4e80b22b79f0e8cd71cb2263587b03b7beede843457b69ba17aa";
    const GOLDEN_UNBIND: &str = "82582001010101010101010101010101010101010101010101010101010101010101015820\
                                 0202020202020202020202020202020202020202020202020202020202020202";
}
