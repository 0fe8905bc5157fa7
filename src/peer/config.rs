//! What a peer is made from: its keys and names, and what its segments held.

use dots_overlay::log::Defence;
use dots_sip::{Serve, address::Addressing, auth::DigestOffer, registrar::Brief};
use dots_wire::{PublicKey, SecretKey};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone)]
pub struct Config {
    pub network: String,
    pub key: SecretKey,
    pub realm_key: SecretKey,
    /// Signs route tokens; survives restarts.
    pub token_key: [u8; 32],
    /// Realms that this peer is home of, the default one first; never empty.
    pub realms: Vec<String>,
    /// Names that the operator vouches for.
    pub trusted: Vec<(String, PublicKey)>,
    /// Hosts that mean this peer: listen and advertised addresses, the host name. Lower-case, without port.
    pub own_hosts: Vec<String>,
    /// What Via and Record-Route name instead of the local address, `host:port`.
    pub advertise: Option<String>,
    /// What the phones of our realms are offered, where it is not both algorithms.
    pub digest: BTreeMap<String, DigestOffer>,
    /// What becomes of a registration for less than the minimum.
    pub brief: Brief,
    /// Realms of ours whose accounts may register Contacts at other hosts.
    pub contacts_any: BTreeSet<String>,
    /// Whose phones may register and call here.
    pub serve: Serve,
    /// Ports at which this peer listens, for whatever: no phone makes us send there.
    pub ports: BTreeSet<u16>,
    /// Shown by `status`.
    pub sip: Vec<String>,
    pub p2p: Vec<String>,
    pub http: String,
    /// For a simulation: a defence that was not built.
    pub disarmed: Option<Defence>,
}

impl Config {
    /// Which digest answers we take as a home of `realm`.
    pub fn digest_of(&self, realm: &str) -> DigestOffer {
        self.digest.get(realm).copied().unwrap_or_default()
    }

    pub fn is_home(&self, realm: &str) -> bool {
        self.realms.iter().any(|r| r == realm)
    }

    /// What addresses mean here.
    pub(super) fn addressing(&self, aliases: &BTreeMap<String, String>) -> Addressing {
        Addressing {
            own_hosts: self.own_hosts.iter().cloned().collect(),
            default_realm: self.realms.first().cloned().unwrap_or_default(),
            local_realms: self.realms.iter().cloned().collect(),
            aliases: aliases.clone(),
        }
    }
}

/// The records of each segment stream, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub bindings: Vec<Vec<u8>>,
    pub realms: Vec<Vec<u8>>,
    pub log: Vec<Vec<u8>>,
    pub receipts: Vec<Vec<u8>>,
    /// Accounts that ever got another password or were removed, and when (UTC ms). It may have been while the peer stood
    /// still, or just before it died: then its log and its binding journal do not know.
    pub changed: BTreeMap<String, u64>,
}
