//! Realm records: a realm's key names the peers that hold its accounts (docs/spec/2-records.md, REC-1 to REC-4).

use dots_wire::{Hash, Label20, PeerId, PublicKey, SecretKey, Signed, Timestamp, hmac_sha256};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::time::Duration;

pub const REALM_DOMAIN: &str = "dots/realm/1";
pub const REALM_VERSION: u8 = 1;
/// Peers that hold one realm's accounts.
pub const HOMES_MAX: usize = 8;
/// A record is signed anew each day and is void after this.
pub const VALID_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Peers that a realm lists as serving besides its homes.
pub const LISTED_MAX: usize = 64;
/// A record that is longer is not looked at.
pub const RECORD_MAX: usize = 4 * 1024;
/// A name, as DNS bounds it.
pub const NAME_MAX: usize = 253;

/// Which peers may serve this realm's phones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serving {
    Any,
    /// Homes and these.
    Listed(Vec<PeerId>),
    Homes,
}

/// Whose calls reach this realm's phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Callers {
    Any,
    /// Realms that the home has had a call with, or pinned.
    Known,
    Realm,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct RealmRecord {
    pub version: u8,
    /// Lower case, without a dot at its end.
    pub name: String,
    pub key: PublicKey,
    /// Higher is newer.
    pub seq: u64,
    pub homes: Vec<PeerId>,
    pub serving: Serving,
    pub callers: Callers,
    /// Turns an AOR into the name that log, DHT and gossip use for it. Public now, can be restricted later.
    pub aor_salt: Hash,
    pub valid_until: Timestamp,
}

impl RealmRecord {
    /// What it points to.
    pub fn text_bytes(&self) -> usize {
        let listed = if let Serving::Listed(peers) = &self.serving { peers.len() } else { 0 };
        self.name.len() + (self.homes.len() + listed) * size_of::<PeerId>()
    }

    pub fn sign(&self, realm_key: &SecretKey) -> Signed {
        Signed::new(realm_key, REALM_DOMAIN, self)
    }

    /// The realm as log events name it.
    pub fn id(&self) -> Label20 {
        self.key.label()
    }

    /// `aor`: canonical, `user@realm`.
    pub fn aor_id(&self, aor: &str) -> Hash {
        hmac_sha256(&self.aor_salt.0, aor.as_bytes())
    }

    pub fn is_home(&self, peer: PeerId) -> bool {
        self.homes.contains(&peer)
    }

    /// May `peer` serve phones of this realm?
    pub fn may_serve(&self, peer: PeerId) -> bool {
        self.is_home(peer)
            || match &self.serving {
                Serving::Any => true,
                Serving::Listed(peers) => peers.contains(&peer),
                Serving::Homes => false,
            }
    }

    /// May somebody of the realm `caller` call here? "Known" is for the home to judge; others let it pass to it.
    pub fn may_call(&self, caller: &str) -> bool {
        self.callers != Callers::Realm || caller == self.name
    }
}
