//! Entries and events of the log (docs/spec/1-log.md, LOG-1 to LOG-9).
//!
//! Signed is a small header; the events hang on it by a Merkle root, so one event can be proved without the others.
//! Events travel as the bytes that the author hashed: an event that this version does not know is kept and passed on.

use dots_wire::{Hash, Label20, PeerId, SecretKey, Signed, Timestamp, decode, encode, merkle_root, sha256};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::sync::Arc;

pub const ENTRY_DOMAIN: &str = "dots/entry/1";
pub const PING_DOMAIN: &str = "dots/ping/1";
pub const VERSION: u8 = 1;
/// LOG-3: an entry with its signature, so that two fit into one gossip message.
pub const ENTRY_MAX: usize = 48 * 1024;
/// Events in one entry; the smallest event is about this fraction of it.
pub const EVENTS_MAX: usize = 1_024;
/// One event: room for a grant with its Merkle path, and no more.
pub const EVENT_MAX: usize = 4 * 1024;

/// One life of an author: when its process started, and a random number so that two are never equal. Later is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize_tuple, Deserialize_tuple)]
pub struct Incarnation {
    pub started: Timestamp,
    pub random: u64,
}

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

/// What an author says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Bind(Bind),
    Unbind(Unbind),
    Presence(Presence),
    Attest(Attest),
    Revoke(Revoke),
    Checkpoint(Checkpoint),
}

/// "This phone is registered here." The author is the serving peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Bind {
    pub aor_id: Hash,
    pub realm: Label20,
    pub instance: Hash,
    /// The end of the grant.
    pub until: Timestamp,
    /// The home's word; none where the author is the home.
    pub grant: Option<ByteBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Unbind {
    pub aor_id: Hash,
    pub instance: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Presence {
    pub aor_id: Hash,
    pub owner: PeerId,
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttestKind {
    ServingAlive,
    PhoneSigned,
    CalleeSeen,
}

/// "I had this binding pinged, and this came back." The author is the verifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Attest {
    pub kind: AttestKind,
    /// The serving peer's signed [`PingOutcome`].
    pub proof: Signed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Life {
    /// The phone answered, whatever it said.
    Alive,
    /// It answered before, and did not now.
    Silent,
    /// It has never answered an OPTIONS; some phones do not.
    Unpingable,
    /// Not registered here (any more).
    Gone,
}

impl Life {
    pub fn as_str(self) -> &'static str {
        match self {
            Life::Alive => "alive",
            Life::Silent => "silent",
            Life::Unpingable => "unpingable",
            Life::Gone => "gone",
        }
    }
}

/// The serving peer's signed answer to a verifier's challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PingOutcome {
    pub version: u8,
    pub serving: PeerId,
    pub verifier: PeerId,
    pub aor_id: Hash,
    pub instance: Hash,
    pub challenge: Hash,
    pub life: Life,
    pub time: Timestamp,
}

/// Grants for this AOR from before this time are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Revoke {
    pub aor_id: Hash,
    pub before: Timestamp,
}

/// The author's live bindings, sorted by (aor_id, instance), as a Merkle root over their [`Event::Bind`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Checkpoint {
    pub root: Hash,
    pub count: u32,
}

/// As it travels and is stored.
#[derive(Serialize_tuple, Deserialize_tuple)]
struct Wire {
    header: Signed,
    events: Vec<ByteBuf>,
}

/// An entry, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub header: Header,
    /// Those that this version knows, in order.
    pub events: Vec<Event>,
    /// SHA-256 of the signed header.
    pub hash: Hash,
    pub bytes: Arc<[u8]>,
}

impl Entry {
    /// Signs `events` (each an encoded [`Event`]) under `header`, whose count and root are filled in here.
    pub fn seal(key: &SecretKey, mut header: Header, events: Vec<Vec<u8>>) -> Entry {
        header.count = events.len() as u32;
        header.events_root = merkle_root(&events);
        let signed = Signed::new(key, ENTRY_DOMAIN, &header);
        let hash = sha256(&signed.payload);
        let read = events.iter().filter_map(|e| decode(e).ok()).collect();
        let wire = Wire { header: signed, events: events.into_iter().map(ByteBuf::from).collect() };
        Entry { header, events: read, hash, bytes: encode(&wire).into() }
    }

    /// Reads all but the signature: `None` where it is not an entry or its events are not those of its header.
    pub fn read(bytes: &[u8]) -> Option<Unverified> {
        if bytes.len() > ENTRY_MAX {
            return None;
        }
        let wire: Wire = decode(bytes).ok()?;
        let header: Header = wire.header.peek().ok()?;
        let fits = header.version == VERSION
            && wire.events.len() <= EVENTS_MAX
            && wire.events.len() == header.count as usize
            && wire.events.iter().all(|e| e.len() <= EVENT_MAX)
            && merkle_root(&wire.events) == header.events_root;
        if !fits {
            return None;
        }
        let events = wire.events.iter().filter_map(|e| decode(e).ok()).collect();
        let hash = sha256(&wire.header.payload);
        Some(Unverified { signed: wire.header, entry: Entry { header, events, hash, bytes: bytes.into() } })
    }

    /// The first event is a checkpoint: a reader may start here (LOG-8).
    pub fn is_checkpoint(&self) -> bool {
        matches!(self.events.first(), Some(Event::Checkpoint(_)))
    }
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
    pub fn verify(self) -> Option<Entry> {
        self.signed.verify(&self.entry.header.author.0, ENTRY_DOMAIN).ok()?;
        Some(self.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let grant = Some(ByteBuf::from([5, 6]));
        vec![
            Event::Bind(Bind { aor_id, realm: Label20([4; 20]), instance, until: Timestamp(5), grant }),
            Event::Unbind(Unbind { aor_id, instance }),
            Event::Presence(Presence { aor_id, owner: key.peer_id(), version: 6 }),
            Event::Attest(Attest { kind: AttestKind::ServingAlive, proof }),
            Event::Revoke(Revoke { aor_id, before: Timestamp(7) }),
            Event::Checkpoint(Checkpoint { root: Hash([8; 32]), count: 9 }),
        ]
    }

    /// A change here is a new version of the record, or a CHANGELOG line before the first release.
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
        assert_eq!(entry.events, events(&key));
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
        let newer = Header { version: VERSION + 1, ..header(&key) };
        assert!(Entry::read(&Entry::seal(&key, newer, Vec::new()).bytes).is_none());
        for event in events(&key) {
            crate::hostile::attack("event", &encode(&event), |b| decode::<Event>(b).is_ok());
        }
    }

    const GOLDEN_LEN: usize = 822;
    const GOLDEN_ENTRY: &str = "02b13f7dd8c4ee6b45df986985c9edc1307c84bb29747a47767faa52ecb8cc5a";
    const GOLDEN_UNBIND: &str = "82582001010101010101010101010101010101010101010101010101010101010101015820\
                                 0202020202020202020202020202020202020202020202020202020202020202";
}
