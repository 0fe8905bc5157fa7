//! A peer as it was when its segments were last written: what they say is taken back, in an order that leaves nobody believed
//! whose password has changed.

use super::{
    Config, Peer, Recovered, aliases::Aliases, auth::Auth, bindings::Published, calls::Calls, journal,
    met::Met, names::Asking, neighbours::Neighbours, notes, notes::Said, outside::Outside, rate::Buckets,
};
use dots_ledger::core::ReceiptCore;
use dots_overlay::{
    core::OverlayCore,
    grant::Shown,
    link::Links,
    liveness::Detector,
    names::{Belief, Realms},
    records::grant::BIND_LIFE_MAX,
};
use dots_sip::{
    address::realm_of,
    core::{Core as Sip, Serve},
    registrar::{Binding, ExpiryRules},
};
use dots_trust::accounts::is_void;
use dots_wire::{Checked, Now, PublicKey, Timestamp};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use std::collections::BTreeMap;

pub(super) fn build(config: Config, recovered: Recovered, mut rng: ChaCha20Rng, now: Now) -> Peer {
    let me = config.key.peer_id();
    let Said { aliases, mut realms, been } = notes::replay(&recovered.realms);
    forget_former_realms(&mut realms, &config);
    let mut sip = sip_core(&config, &aliases, rng.random());
    let (mut live, skipped) = journal::replay(&recovered.bindings, now.wall.0);
    if skipped > 0 {
        tracing::warn!(skipped, "records of the binding journal could not be read");
    }
    live.retain(|binding| !is_voided(now, binding, &config, &recovered.changed));
    // The others are not said again by the log of this life, so their homes look for them elsewhere.
    live.retain(|binding| config.serve == Serve::All || config.is_home(realm_of(&binding.aor)));
    for binding in &live {
        sip.handle(super::sip_now(now), dots_sip::Input::Restore { binding: Box::new(binding.clone()) });
    }
    let mut overlay = OverlayCore::new(config.key.clone(), config.network.clone(), rng.random(), now);
    overlay.restore(now, &recovered.log);
    if let Some(defence) = config.disarmed {
        overlay.disarm(defence);
    }
    let liveness =
        Detector::new(config.key.clone(), config.network.clone(), overlay.incarnation(), rng.random(), now);
    let receipts = ReceiptCore::new(config.key.clone(), config.network.clone(), &recovered.receipts, now);
    let mut peer = Peer {
        me,
        links: Links::new(me, rng.random()),
        overlay,
        liveness,
        receipts,
        realms,
        checked: Checked::default(),
        shown: Shown::default(),
        auth: Auth::new(&config, &mut rng),
        asking: Asking::default(),
        met: Met::default(),
        calls: Calls::default(),
        published: Published::new(recovered.bindings.len()),
        aliases: Aliases::new(aliases),
        neighbours: Neighbours::default(),
        rates: Buckets::default(),
        housekeeping_at: now.mono + super::HOUSEKEEPING,
        started: now,
        sip,
        config,
        outside: Outside::new(rng),
    };
    for familiar in been.values() {
        peer.auth.judge.recall(now.wall, familiar);
    }
    peer.namer(now).pin_trusted();
    peer.namer(now).refresh_names();
    // Older ones void only grants that have ended anyway.
    let since = now.wall.minus(BIND_LIFE_MAX).0;
    for (aor, changed) in recovered.changed.iter().filter(|(_, changed)| **changed > since) {
        // A clock that was ahead must not void what is granted from now on.
        peer.accounts(now).revoke(aor, Timestamp(*changed).min(now.wall));
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

/// Was this registration of an account of ours proved with a password that is none any more?
fn is_voided(now: Now, binding: &Binding, config: &Config, changed: &BTreeMap<String, u64>) -> bool {
    let own = config.is_home(realm_of(&binding.aor));
    let changed = changed.get(&*binding.aor).filter(|_| own);
    let end = Timestamp(binding.granted_until_ms);
    changed.is_some_and(|at| is_void(now.wall, end, Timestamp(*at)))
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

fn sip_core(config: &Config, aliases: &BTreeMap<String, String>, seed: u64) -> Sip {
    let label = config.key.public().label().base32();
    let sip = dots_sip::core::Config {
        addressing: config.addressing(aliases),
        label: label.as_str().into(),
        advertise: config.advertise.clone(),
        digest: config.digest.clone(),
        expiry: ExpiryRules { brief: config.brief, ..ExpiryRules::default() },
        ports: config.ports.clone(),
        contacts_any: config.contacts_any.clone(),
        serve: config.serve,
    };
    Sip::new(sip, config.token_key, seed)
}
