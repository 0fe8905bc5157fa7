//! Grants: a home's word that an account proved its password through a serving peer (REC-5 to REC-9).

use dots_wire::{Hash, Label20, PeerId, Signed, Timestamp};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::time::Duration;

pub const GRANT_DOMAIN: &str = "dots/grant/2";
pub const GRANT_VERSION: u8 = 2;
/// No grant lives longer.
pub const BIND_LIFE_MAX: Duration = Duration::from_secs(3600);
pub const CALL_LIFE_MAX: Duration = Duration::from_secs(60);

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permit {
    /// A registration of this phone (SHA-256 of its instance).
    Bind { instance: Hash },
    /// One request of this method. `signed`: SHA-256 of what the phone answered (digest-uri, 0, nonce, 0, nc in decimal), or
    /// 32 random bytes where the home serves it itself; `target`: SHA-256 of the canonical AOR that it became.
    Call { method: String, signed: Hash, target: Hash },
}

impl Permit {
    pub fn life_max(&self) -> Duration {
        match self {
            Permit::Bind { .. } => BIND_LIFE_MAX,
            Permit::Call { .. } => CALL_LIFE_MAX,
        }
    }
}

/// Whom a grant is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    Aor(Hash),
    /// Whom a trunk may speak for: users that begin so. Reserved: no home gives such a grant yet, and no reader believes it.
    Trunk {
        prefix: String,
    },
}

/// REC-6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Grant {
    pub version: u8,
    pub permit: Permit,
    pub scope: Scope,
    pub realm: Label20,
    pub realm_seq: u64,
    pub home: PeerId,
    pub serving: PeerId,
    /// By the home's clock.
    pub time: Timestamp,
    pub not_after: Timestamp,
}

/// One signature for many grants: the Merkle root over their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct GrantRoot {
    pub version: u8,
    pub home: PeerId,
    pub root: Hash,
    pub count: u32,
}

/// A grant as it travels: its bytes, their place under the root, and the signed root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct GrantProof {
    pub grant: ByteBuf,
    pub index: u32,
    pub path: Vec<Hash>,
    pub root: Signed,
}

/// Forwards of one call, each of which is charged to the account that forwards.
pub const ON_BEHALF_MAX: usize = 5;
pub const ON_BEHALF_DOMAIN: &str = "dots/on-behalf/2";

/// Why a request goes on to somebody else than its caller asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    Forward,
    Group,
    Pickup,
    Stored,
}

/// The second part of a grant: the home of the account that was called sends the request on. What the caller proved stays
/// beside it. Reserved: it is read and bounded, and nobody honours it yet (REC-10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct OnBehalf {
    pub version: u8,
    /// The account that forwards.
    pub aor_id: Hash,
    pub realm: Label20,
    pub home: PeerId,
    /// SHA-256 of the caller's grant, or of the part before this one.
    pub of: Hash,
    /// SHA-256 of the next target's canonical AOR.
    pub next: Hash,
    pub reason: Reason,
    pub not_after: Timestamp,
}
