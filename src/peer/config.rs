//! What a peer is made from: its keys and names, and what its segments held.

use super::{
    Peer,
    calls::Calls,
    home::Home,
    journal,
    notes::{Note, VERSION},
};
use dots_overlay::nonce::Minter;
use dots_sip::{address::Addressing, core::Core as Sip};
use dots_wire::{Now, SecretKey, decode};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone)]
pub struct Config {
    pub network: String,
    pub key: SecretKey,
    pub realm_key: SecretKey,
    /// Signs route tokens; survives restarts.
    pub token_key: [u8; 32],
    /// Realms that this peer is home of, the default one first; never empty.
    pub realms: Vec<String>,
    /// Hosts that mean this peer: listen and advertised addresses, the host name. Lower-case, without port.
    pub own_hosts: Vec<String>,
    /// What Via and Record-Route name instead of the local address, `host:port`.
    pub advertise: Option<String>,
    /// Shown by `status`.
    pub sip: Vec<String>,
    pub http: String,
}

impl Config {
    pub fn is_home(&self, realm: &str) -> bool {
        self.realms.iter().any(|r| r == realm)
    }
}

/// The records of each segment stream, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub bindings: Vec<Vec<u8>>,
    pub realms: Vec<Vec<u8>>,
}

pub(super) fn build(config: Config, recovered: Recovered, mut rng: ChaCha20Rng, now: Now) -> Peer {
    let aliases = aliases(&recovered.realms);
    let mut sip = sip_core(&config, &aliases, rng.random());
    let (live, skipped) = journal::replay(&recovered.bindings, now.wall.0);
    if skipped > 0 {
        tracing::warn!(skipped, "records of the binding journal could not be read");
    }
    for binding in live {
        sip.handle(super::sip_now(now), dots_sip::Input::Restore { binding });
    }
    let mut peer = Peer {
        me: config.key.peer_id(),
        home: Home::new(Minter::new(&config.key)),
        calls: Calls::default(),
        aliases,
        pending: BTreeMap::new(),
        next_id: 0,
        housekeeping_at: now.mono,
        started: now,
        out: VecDeque::new(),
        sip,
        config,
        rng,
    };
    peer.pump(now);
    peer
}

fn aliases(records: &[Vec<u8>]) -> BTreeMap<String, String> {
    let mut aliases = BTreeMap::new();
    for record in records {
        match decode::<Note>(record) {
            Ok(Note::Alias { version: VERSION, alias, target }) => {
                aliases.insert(alias, target);
            }
            Ok(Note::AliasGone { version: VERSION, alias }) => {
                aliases.remove(&alias);
            }
            Ok(_) | Err(_) => tracing::warn!("a record of the realms stream could not be read"),
        }
    }
    aliases
}

pub(super) fn addressing(config: &Config, aliases: &BTreeMap<String, String>) -> Addressing {
    Addressing {
        own_hosts: config.own_hosts.iter().cloned().collect(),
        default_realm: config.realms.first().cloned().unwrap_or_default(),
        local_realms: config.realms.iter().cloned().collect(),
        aliases: aliases.clone(),
    }
}

fn sip_core(config: &Config, aliases: &BTreeMap<String, String>, seed: u64) -> Sip {
    let label = config.key.public().label().base32();
    let sip = dots_sip::core::Config {
        addressing: addressing(config, aliases),
        label: label.as_str().into(),
        advertise: config.advertise.clone(),
        ..dots_sip::core::Config::default()
    };
    Sip::new(sip, config.token_key, seed)
}
