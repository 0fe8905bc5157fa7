//! Grants: a home's word that an account proved its password through a serving peer (REC-5 to REC-9).

use dots_wire::{Hash, Label20, PeerId, Signed, Timestamp};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::time::Duration;

pub const GRANT_DOMAIN: &str = "dots/grant/1";
pub const GRANT_VERSION: u8 = 1;
/// No grant lives longer.
pub const BIND_LIFE_MAX: Duration = Duration::from_secs(3600);
pub const CALL_LIFE_MAX: Duration = Duration::from_secs(60);

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permit {
    /// A registration of this phone (SHA-256 of its instance).
    Bind { instance: Hash },
    /// One request of this method to this target (SHA-256 of the canonical AOR).
    Call { method: String, target: Hash },
}

impl Permit {
    pub fn life_max(&self) -> Duration {
        match self {
            Permit::Bind { .. } => BIND_LIFE_MAX,
            Permit::Call { .. } => CALL_LIFE_MAX,
        }
    }
}

/// Whom a grant is about. Patterns for trunks will join; a reader that does not know one refuses the grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    Aor(Hash),
}

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
