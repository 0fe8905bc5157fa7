//! What the HTTP API sees of a peer: the types of `dots_clients::types`, made from what the rooms hold. It changes nothing.

use super::{
    Config,
    bindings::{found_of, instance_hash, state_of},
    calls::Calls,
    neighbours::{Neighbour, Neighbours},
};
use dots_clients::types::{BindingInfo, PeerInfo, RealmInfo, ReceiptInfo, Status};
use dots_ledger::core::{ReceiptCore, ReceiptView};
use dots_overlay::{
    core::OverlayCore,
    names::{Known, Realms},
};
use dots_sip::registrar::{Bindings, Bound};
use dots_wire::{Now, PeerId};

/// All that may be looked at.
pub(super) struct Views<'a> {
    pub now: Now,
    pub started: Now,
    pub me: PeerId,
    pub config: &'a Config,
    pub phones: &'a Bindings,
    pub overlay: &'a OverlayCore,
    pub realms: &'a Realms,
    pub neighbours: &'a Neighbours,
    pub calls: &'a Calls,
    pub receipts: &'a ReceiptCore,
}

impl Views<'_> {
    pub fn status(&self) -> Status {
        let config = self.config;
        Status {
            peer_id: self.me.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: config.network.clone(),
            default_realm: config.realms.first().cloned().unwrap_or_default(),
            realms: config.realms.clone(),
            started_at_ms: self.started.wall.0,
            sip: config.sip.clone(),
            p2p: config.p2p.clone(),
            http: config.http.clone(),
            peers: self.neighbours.len() as u64,
            old_peers: self.neighbours.other_versions(self.now.mono) as u64,
            bindings: self.phones.len() as u64,
            directory: self.overlay.len() as u64,
            calls_active: self.calls.up() as u64,
            receipts: self.receipts.count() as u64,
            warnings: self.warnings(),
        }
    }

    pub fn bindings(&self) -> Vec<BindingInfo> {
        let row = |b: Bound<'_>| {
            let found =
                found_of(self.realms, self.overlay, self.now, self.me, b.aor, instance_hash(b.instance));
            let state = state_of(&b, found.as_ref());
            BindingInfo {
                aor: b.aor.to_string(),
                instance: b.instance.to_string(),
                contact: b.contact.to_string(),
                flow: format!("{} {}", b.flow.transport.as_str(), b.flow.remote),
                q: b.q,
                expires_at_ms: b.expires_at_ms,
                state: state.as_str().to_owned(),
            }
        };
        self.phones.iter().filter(|b| b.expires_at_ms > self.now.wall.0).map(row).collect()
    }

    pub fn peers(&self) -> Vec<PeerInfo> {
        let row = |(peer, n): (PeerId, &Neighbour)| {
            let homes = self.realms.iter().filter(|(_, known)| {
                known.read().is_some_and(|r| r.valid_until > self.now.wall && r.is_home(peer))
            });
            PeerInfo {
                peer_id: peer.to_string(),
                addresses: vec![n.address.clone()],
                connected: true,
                agent: n.agent.clone(),
                since_ms: n.since.0,
                rtt_us: n.rtt.and_then(|d| u64::try_from(d.as_micros()).ok()),
                realms: homes.map(|(name, _)| name.clone()).collect(),
                log_seq: self.overlay.head(peer),
            }
        };
        self.neighbours.iter().map(row).collect()
    }

    pub fn realms(&self) -> Vec<RealmInfo> {
        let row = |(name, known): (&String, &Known)| {
            let record = known.read();
            let homes = record.map(|r| r.homes.iter().map(ToString::to_string).collect());
            RealmInfo {
                name: name.clone(),
                key: known.key.to_string(),
                belief: known.belief.as_str().to_owned(),
                homes: homes.unwrap_or_default(),
                seq: record.map_or(0, |r| r.seq),
                valid_until_ms: record.map_or(0, |r| r.valid_until.0),
                rivals: known.rivals.iter().map(ToString::to_string).collect(),
            }
        };
        self.realms.iter().map(row).collect()
    }

    /// `verify`: check both signatures and every rule of each.
    pub fn receipts(&self, verify: bool) -> Vec<ReceiptInfo> {
        let row = |r: ReceiptView| {
            let checked = verify.then(|| r.check());
            ReceiptInfo {
                call_id: r.call_id.to_string(),
                state: r.state.to_string(),
                originating: r.originating.to_string(),
                terminating: r.terminating.to_string(),
                start_ms: r.start_ms,
                duration_ms: r.duration_ms,
                cause: r.cause.map(|c| c.to_string()).unwrap_or_default(),
                verified: checked.as_ref().map(Result::is_ok),
                error: checked.and_then(Result::err).map(|e| e.to_string()),
            }
        };
        self.receipts.list().map(row).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let rival = |(name, known): (&String, &Known)| {
            (!known.rivals.is_empty()).then(|| {
                format!("another key says that it owns {name}: see `dots realms`, then pin or forget it")
            })
        };
        self.realms.iter().filter_map(rival).chain(self.neighbours.clock_warning(self.now)).collect()
    }
}
