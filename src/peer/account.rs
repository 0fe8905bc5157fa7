//! An account as it is kept: digests, never a password.

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// HA1 = H(username ":" realm ":" password), lower-case hex; four, because phones send `user` or `user@realm`
/// as their user name (design: accounts). Record version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Account {
    pub version: u8,
    /// Canonical AOR, `alice@office.example`; the realm in it is the digest realm.
    pub aor: String,
    pub ha1_sha256: String,
    pub ha1_md5: String,
    pub ha1_sha256_full: String,
    pub ha1_md5_full: String,
    /// May this account register at other peers?
    pub roaming: bool,
    /// UTC ms of the last password change: grants from before are void.
    pub changed_at_ms: u64,
}
