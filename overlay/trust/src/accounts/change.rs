//! The change log of accounts: each change has a number, and what was proved before a change of the password is void.
//!
//! Changes are the records of the stream `accounts`, which is never rewritten; so a change's number is its record's place in
//! the stream, from 1, and an old data directory has numbers as a new one has. A second home reads what has changed since the
//! number that it has.

use crate::{account::Account, records::grant::BIND_LIFE_MAX};
use dots_wire::{Timestamp, decode, encode};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Tombstone {
    pub version: u8,
    pub aor: String,
    /// UTC ms.
    pub removed_at_ms: u64,
}

/// One change, of a version that we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new account, or another password or other rights.
    Put(Account),
    Removed(Tombstone),
}

impl Change {
    pub fn removed(aor: &str, removed_at_ms: u64) -> Change {
        Change::Removed(Tombstone { version: VERSION, aor: aor.to_owned(), removed_at_ms })
    }

    pub fn read(record: &[u8]) -> Option<Change> {
        if let Ok(account) = decode::<Account>(record) {
            return Some(Change::Put(account));
        }
        let tombstone = decode::<Tombstone>(record).ok()?;
        (tombstone.version == VERSION).then_some(Change::Removed(tombstone))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Change::Put(account) => encode(account),
            Change::Removed(tombstone) => encode(tombstone),
        }
    }

    pub fn aor(&self) -> &str {
        match self {
            Change::Put(account) => &account.aor,
            Change::Removed(tombstone) => &tombstone.aor,
        }
    }

    /// UTC ms.
    pub fn at_ms(&self) -> u64 {
        match self {
            Change::Put(account) => account.changed_at_ms,
            Change::Removed(tombstone) => tombstone.removed_at_ms,
        }
    }
}

/// DISK-9a: numbers of changes. Every record counts, also one of a later version that we cannot read: the next reader may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    last: u64,
}

impl Numbers {
    /// The number of the next record.
    pub fn take(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The newest change; 0 before the first.
    pub fn last(self) -> u64 {
        self.last
    }
}

/// Accounts that got another password or were removed, and when (UTC ms), the last time of each: whoever proved the password
/// before then has proved nothing. A new account voids nothing, so it is not among them.
#[derive(Debug, Default)]
pub struct Voided {
    seen: BTreeSet<String>,
    at: BTreeMap<String, u64>,
}

impl Voided {
    /// Changes come in the order of their numbers.
    pub fn hear(&mut self, change: &Change) {
        let is_new = matches!(change, Change::Put(_)) && self.seen.insert(change.aor().to_owned());
        if !is_new {
            self.at.insert(change.aor().to_owned(), change.at_ms());
        }
    }

    pub fn into_times(self) -> BTreeMap<String, u64> {
        self.at
    }
}

/// Was this proved with a password that is none any more? A home takes each proof for [`BIND_LIFE_MAX`], so its end says when it
/// was given.
pub fn is_void(now: Timestamp, end: Timestamp, changed: Timestamp) -> bool {
    // An end that is too far away was given by a clock that was ahead: nobody can say what it proves.
    end < changed.plus(BIND_LIFE_MAX) || end > now.plus(BIND_LIFE_MAX)
}
