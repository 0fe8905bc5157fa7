//! What a peer is made from: its keys and names, and what its segments held.

use super::{
    Peer, auth::Auth, bindings, calls::Calls, journal, names::Asking, neighbours::Neighbours, notes,
    notes::Said, outside::Outside, rate::Buckets,
};
use dots_ledger::core::ReceiptCore;
use dots_overlay::{
    core::OverlayCore,
    link::Links,
    names::{Belief, Realms},
    records::grant::BIND_LIFE_MAX,
};
use dots_sip::{
    address::{Addressing, realm_of},
    auth::DigestOffer,
    core::Core as Sip,
    registrar::{Binding, Brief, ExpiryRules},
};
use dots_wire::{Now, PublicKey, SecretKey, Timestamp};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
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
    /// Ports at which this peer listens, for whatever: no phone makes us send there.
    pub ports: BTreeSet<u16>,
    /// Shown by `status`.
    pub sip: Vec<String>,
    pub p2p: Vec<String>,
    pub http: String,
}

impl Config {
    /// Which digest answers we take as a home of `realm`.
    pub fn digest_of(&self, realm: &str) -> DigestOffer {
        self.digest.get(realm).copied().unwrap_or_default()
    }

    pub fn is_home(&self, realm: &str) -> bool {
        self.realms.iter().any(|r| r == realm)
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

pub(super) fn build(config: Config, recovered: Recovered, mut rng: ChaCha20Rng, now: Now) -> Peer {
    let me = config.key.peer_id();
    let Said { aliases, mut realms } = notes::replay(&recovered.realms);
    forget_former_realms(&mut realms, &config);
    let mut sip = sip_core(&config, &aliases, rng.random());
    let (mut live, skipped) = journal::replay(&recovered.bindings, now.wall.0);
    if skipped > 0 {
        tracing::warn!(skipped, "records of the binding journal could not be read");
    }
    live.retain(|binding| !is_voided(now, binding, &config, &recovered.changed));
    for binding in &live {
        sip.handle(super::sip_now(now), dots_sip::Input::Restore { binding: binding.clone() });
    }
    let mut overlay = OverlayCore::new(config.key.clone(), config.network.clone(), rng.random(), now);
    overlay.restore(now, &recovered.log);
    let receipts = ReceiptCore::new(config.key.clone(), config.network.clone(), &recovered.receipts, now);
    let mut peer = Peer {
        me,
        links: Links::new(me, rng.random()),
        overlay,
        receipts,
        realms,
        auth: Auth::new(&config, &mut rng),
        asking: Asking::default(),
        calls: Calls::default(),
        published: bindings::Published::new(recovered.bindings.len()),
        aliases,
        neighbours: Neighbours::default(),
        dns_asked: BTreeMap::new(),
        rates: Buckets::default(),
        housekeeping_at: now.mono + super::HOUSEKEEPING,
        started: now,
        sip,
        config,
        outside: Outside::new(rng),
    };
    peer.pin_trusted(now);
    peer.refresh_names(now);
    // Older ones void only grants that have ended anyway.
    let since = now.wall.minus(BIND_LIFE_MAX).0;
    for (aor, changed) in recovered.changed.iter().filter(|(_, changed)| **changed > since) {
        // A clock that was ahead must not void what is granted from now on.
        peer.revoke(now, aor, Timestamp(*changed).min(now.wall));
    }
    // A new life restates what the log of the last one said.
    for binding in &live {
        let (published, mut log, _) = peer.publishing(now);
        published.publish_binding(&mut log, binding);
    }
    peer.overlay.open(now);
    peer.pump(now);
    peer
}

/// Was this registration of an account of ours proved with a password that is none any more? A home takes each proof for
/// [`BIND_LIFE_MAX`], so the end says when it was given.
fn is_voided(now: Now, binding: &Binding, config: &Config, changed: &BTreeMap<String, u64>) -> bool {
    let own = config.is_home(realm_of(&binding.aor));
    let changed = changed.get(&binding.aor).filter(|_| own);
    let end = Timestamp(binding.granted_until_ms);
    // An end that is too far away was given by a clock that was ahead: nobody can say what it proves.
    changed.is_some_and(|at| end < Timestamp(*at).plus(BIND_LIFE_MAX) || end > now.wall.plus(BIND_LIFE_MAX))
}

/// A realm that was ours at the last start and is not now is a name like any other.
fn forget_former_realms(realms: &mut Realms, config: &Config) {
    let former: Vec<(String, PublicKey)> = realms
        .iter()
        .filter(|(name, known)| known.belief == Belief::Own && !config.is_home(name))
        .map(|(name, known)| (name.clone(), known.key))
        .collect();
    for (name, key) in former {
        realms.pin(&name, key, Belief::Pinned);
        realms.forget(&name);
    }
}

impl Peer {
    pub(super) fn on_own_hosts(&mut self, hosts: Vec<String>) {
        self.config.own_hosts = hosts;
        self.readdress();
    }

    /// Own hosts or aliases have changed.
    pub(super) fn readdress(&mut self) {
        self.sip.set_addressing(addressing(&self.config, &self.aliases));
    }
}

fn addressing(config: &Config, aliases: &BTreeMap<String, String>) -> Addressing {
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
        digest: config.digest.clone(),
        expiry: ExpiryRules { brief: config.brief, ..ExpiryRules::default() },
        ports: config.ports.clone(),
        contacts_any: config.contacts_any.clone(),
    };
    Sip::new(sip, config.token_key, seed)
}
