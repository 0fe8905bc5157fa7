//! An account as it is kept: digests, never a password.

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

pub const VERSION: u8 = 1;

/// HA1 = H(username ":" realm ":" password), lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Digests {
    pub sha256: String,
    pub md5: String,
}

/// One account. A phone hashes the user name that was typed into it: `alice`, `alice@a.net`, or, where it wants the
/// escape of a URI, `alice%40a.net` (design: own hosts). Record version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Account {
    pub version: u8,
    /// Canonical AOR, `alice@office.example`; the realm in it is the digest realm.
    pub aor: String,
    pub short: Digests,
    pub full: Digests,
    pub escaped: Digests,
    /// May this account register at other peers?
    pub roaming: bool,
    /// UTC ms of the last password change: grants from before are void.
    pub changed_at_ms: u64,
}

impl Account {
    /// What a phone has hashed that spells its user name so.
    pub fn digests_of(&self, username: &str) -> Option<&Digests> {
        Some(match (username.contains('@'), username.contains("%40")) {
            (true, _) => &self.full,
            (false, true) => &self.escaped,
            (false, false) => &self.short,
        })
    }

    /// The same password and rights, whenever they were given: nothing that was proved or granted is void.
    pub fn is_as(&self, other: &Account) -> bool {
        *self == Account { changed_at_ms: self.changed_at_ms, ..other.clone() }
    }
}
