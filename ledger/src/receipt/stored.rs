//! What the segment stream `receipts` holds: each record is all that the state behind it needs (RCPT-11).

use super::{EndCause, Facts, HalfSigned, Refusal, Sealed, VERSION, Whole};
use dots_wire::{Hash, Timestamp, decode, encode};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// A call was answered.
    Open(OpenNote),
    /// It ended; our measurement, not yet claimed.
    End(EndNote),
    /// Our claim: on disk before it leaves.
    Claim(ClaimNote),
    /// Our signature, and both claims that it stands on: on disk before it leaves.
    Half(HalfNote),
    /// Both signatures.
    Whole(WholeNote),
    /// Nothing more will be said or asked about it.
    Close(CloseNote),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct OpenNote {
    pub facts: Facts,
    pub start: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct EndNote {
    pub call_id: Hash,
    pub duration_ms: Option<u64>,
    pub cause: Option<EndCause>,
    /// When, by our wall clock.
    pub ended: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ClaimNote {
    pub own: Sealed,
    pub ended: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct HalfNote {
    pub own: Sealed,
    pub theirs: Sealed,
    pub half: HalfSigned,
    pub ended: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct WholeNote {
    pub whole: Whole,
    /// The other side is known to hold it too.
    pub is_told: bool,
    pub ended: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CloseNote {
    pub call_id: Hash,
    pub why: Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Close {
    /// The other side holds the whole receipt.
    Told,
    Refused(Refusal),
    /// Nobody answered for [`crate::limits::RETRY_FOR`].
    Lapsed,
}

#[derive(Serialize_tuple)]
struct Out<'a> {
    version: u8,
    stored: &'a Stored,
}

#[derive(Deserialize_tuple)]
struct In {
    version: u8,
    stored: Stored,
}

impl Stored {
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&Out { version: VERSION, stored: self })
    }

    pub fn read(bytes: &[u8]) -> Option<Stored> {
        let read: In = decode(bytes).ok()?;
        (read.version == VERSION).then_some(read.stored)
    }
}
