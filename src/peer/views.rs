//! What the HTTP API sees and may change. Bodies are the JSON of `dots_clients::types`.

use super::{
    Output, Peer, Pending, Stream,
    account::Account,
    api::Request,
    bindings::{instance_hash, state_of},
    notes::{Note, VERSION},
};
use dots_overlay::{
    directory::State,
    names::{Belief, is_name},
    records::{Event, Revoke},
};
use dots_sip::address::{Addressing, realm_of};
use dots_wire::{Now, PublicKey, Timestamp, encode};
use serde_json::{Value, json};

/// Aliases a peer may have.
const ALIASES_MAX: usize = 10_000;

impl Peer {
    pub(super) fn on_api(&mut self, now: Now, id: u64, request: Request) {
        match request {
            Request::Status => self.outside.reply(id, 200, self.status(now)),
            Request::Bindings => self.outside.reply(id, 200, self.binding_list(now)),
            Request::Lookup { aor } => {
                self.finder(now).on_api_lookup(id, aor.strip_prefix("sip:").unwrap_or(&aor).to_owned());
            }
            Request::Calls => self.outside.reply(id, 200, json!(self.calls.list())),
            Request::Peers => self.outside.reply(id, 200, self.peer_list(now)),
            Request::Receipts { verify } => self.outside.reply(id, 200, self.receipt_list(verify)),
            Request::AccountPut { account } => self.put_account(id, account),
            Request::AccountRemove { aor } => {
                let ask = self.outside.ask(Pending::Account { api: id, aor: aor.clone(), removed: true });
                self.outside.put(Output::RemoveAccount { id: ask, aor });
            }
            Request::Aliases => {
                let rows = self.aliases.iter().map(|(a, t)| json!({ "alias": a, "target": t }));
                self.outside.reply(id, 200, rows.collect());
            }
            Request::AliasPut { alias, target } => self.put_alias(id, alias, target),
            Request::AliasRemove { alias } => self.remove_alias(id, alias),
            Request::Realms => self.outside.reply(id, 200, self.realm_list()),
            Request::RealmPin { name, key } => self.pin_realm(id, &name, &key),
            Request::RealmForget { name } => self.forget_realm(id, &name),
        }
    }

    pub(super) fn on_account_stored(&mut self, now: Now, id: u64, existed: bool) {
        let Some(Pending::Account { api, aor, removed }) = self.outside.asks.answered(id) else { return };
        if existed {
            self.revoke(now, &aor, now.wall);
            self.auth.roaming.forget(&aor, None);
            // Whoever is registered with the old password is not any more.
            self.outside.sip(dots_sip::Input::Unbind { aor: aor.clone() });
        }
        match removed && !existed {
            true => self.outside.reply(api, 404, json!({ "error": format!("there is no account {aor}") })),
            false => self.outside.reply(api, 200, json!({ "existed": existed })),
        }
    }

    /// A new password, or none: grants given for the old one are void everywhere.
    pub(super) fn revoke(&mut self, now: Now, aor: &str, before: Timestamp) {
        let realm = realm_of(aor);
        if let Some(record) = self.realms.lookup(realm, now.wall) {
            let revoke = Revoke { aor_id: record.aor_id(aor), before };
            self.overlay.append(now, Event::Revoke(revoke));
        }
    }

    pub(super) fn on_account_failed(&mut self, id: u64) {
        if let Some(Pending::Account { api, aor, .. }) = self.outside.asks.answered(id) {
            let error = format!("{aor}: the account store could not write it; see the log");
            self.outside.reply(api, 500, json!({ "error": error }));
        }
    }

    fn put_account(&mut self, id: u64, account: Account) {
        if !self.config.is_home(realm_of(&account.aor)) {
            let error =
                format!("{}: this peer is not home of that realm; start it with --realm", account.aor);
            return self.outside.reply(id, 400, json!({ "error": error }));
        }
        let ask = self.outside.ask(Pending::Account { api: id, aor: account.aor.clone(), removed: false });
        self.outside.put(Output::PutAccount { id: ask, account });
    }

    fn put_alias(&mut self, id: u64, alias: String, target: String) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+*#._-".contains(c);
        let uri = if target.contains(':') { target } else { format!("sip:{target}") };
        let canonical = Addressing::default().canonical_aor(&uri);
        let named = !alias.is_empty() && alias.len() <= 64 && alias.chars().all(plain);
        let Some(target) = canonical.ok().filter(|_| named) else {
            let error = "an alias is a short user name or number, its target is sip:user@realm";
            return self.outside.reply(id, 400, json!({ "error": error }));
        };
        if self.aliases.len() >= ALIASES_MAX && !self.aliases.contains_key(&alias) {
            return self.outside.reply(id, 400, json!({ "error": "too many aliases" }));
        }
        let body = json!({ "existed": self.aliases.insert(alias.clone(), target.clone()).is_some() });
        self.note(id, &Note::Alias { version: VERSION, alias, target }, body);
    }

    fn remove_alias(&mut self, id: u64, alias: String) {
        if self.aliases.remove(&alias).is_none() {
            return self.outside.reply(id, 404, json!({ "error": format!("{alias}: no such alias") }));
        }
        let body = json!({ "existed": true });
        self.note(id, &Note::AliasGone { version: VERSION, alias }, body);
    }

    /// Writes it down; the HTTP answer comes when it is durable.
    fn note(&mut self, api: u64, note: &Note, body: Value) {
        self.readdress();
        self.outside.append(Pending::Noted { api, body }, Stream::Realms, encode(note), true);
    }

    fn status(&self, now: Now) -> Value {
        json!({
            "peer_id": self.me.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "network": self.config.network,
            "default_realm": self.config.realms.first(),
            "realms": self.config.realms,
            "started_at_ms": self.started.wall.0,
            "sip": self.config.sip,
            "p2p": self.config.p2p,
            "http": self.config.http,
            "peers": self.neighbours.len(),
            "old_peers": self.neighbours.other_versions(now.mono),
            "bindings": self.sip.bindings().len(),
            "directory": self.overlay.len(),
            "calls_active": self.calls.up(),
            "receipts": self.receipts.count(),
            "warnings": self.warnings(),
        })
    }

    fn binding_list(&self, now: Now) -> Value {
        let bindings = self.sip.bindings();
        let row = |b: &dots_sip::registrar::Binding| {
            let said =
                state_of(&self.realms, &self.overlay, now, self.me, &b.aor, instance_hash(&b.instance));
            let state = match bindings.is_reachable(&b.aor, &b.instance) {
                true => said.map_or(State::Pending, |f| f.state),
                false => State::Stale,
            };
            json!({
                "aor": b.aor,
                "instance": b.instance,
                "contact": b.contact,
                "flow": format!("{} {}", b.flow.transport.as_str(), b.flow.remote),
                "q": b.q,
                "expires_at_ms": b.expires_at_ms,
                "state": state.as_str(),
            })
        };
        bindings.iter().filter(|b| b.expires_at_ms > now.wall.0).map(row).collect()
    }

    fn peer_list(&self, now: Now) -> Value {
        let row = |(peer, n): (dots_wire::PeerId, &super::neighbours::Neighbour)| {
            let homes = self.realms.iter().filter(|(_, known)| {
                known.read().is_some_and(|r| r.valid_until > now.wall && r.is_home(peer))
            });
            json!({
                "peer_id": peer.to_string(),
                "addresses": [n.address],
                "connected": true,
                "agent": n.agent,
                "since_ms": n.since.0,
                "rtt_us": n.rtt.and_then(|d| u64::try_from(d.as_micros()).ok()),
                "realms": homes.map(|(name, _)| name).collect::<Vec<_>>(),
                "log_seq": self.overlay.head(peer),
            })
        };
        self.neighbours.iter().map(row).collect()
    }

    fn realm_list(&self) -> Value {
        let row = |(name, known): (&String, &dots_overlay::names::Known)| {
            let record = known.read();
            let homes = record.map(|r| r.homes.iter().map(ToString::to_string).collect::<Vec<_>>());
            json!({
                "name": name,
                "key": known.key.to_string(),
                "belief": known.belief.as_str(),
                "homes": homes.unwrap_or_default(),
                "seq": record.map_or(0, |r| r.seq),
                "valid_until_ms": record.map_or(0, |r| r.valid_until.0),
                "rivals": known.rivals.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        self.realms.iter().map(row).collect()
    }

    fn pin_realm(&mut self, id: u64, name: &str, key: &str) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let key = hex::decode(key).ok().and_then(|b| <[u8; 33]>::try_from(b).ok());
        let Some(key) = key.filter(|_| is_name(&name)) else {
            let error = "expected a realm's name and its key, 66 hex digits as `dots realms` prints it";
            return self.outside.reply(id, 400, json!({ "error": error }));
        };
        if self.config.is_home(&name) {
            return self.outside.reply(
                id,
                400,
                json!({ "error": format!("{name} is this peer's own realm") }),
            );
        }
        let existed = self.realms.get(&name).is_some();
        match self.realms.pin(&name, PublicKey(key), Belief::Pinned) {
            Some(change) => {
                let note = Note::Realm { version: VERSION, change };
                self.note(id, &note, json!({ "existed": existed }));
            }
            None => self.outside.reply(id, 200, json!({ "existed": existed })),
        }
    }

    fn forget_realm(&mut self, id: u64, name: &str) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match self.realms.forget(&name) {
            Some(change) => {
                let note = Note::Realm { version: VERSION, change };
                self.note(id, &note, json!({ "existed": true }));
            }
            None => {
                let error = format!("{name}: no such realm, or this peer's own");
                self.outside.reply(id, 404, json!({ "error": error }));
            }
        }
    }

    fn receipt_list(&self, verify: bool) -> Value {
        let row = |r: dots_ledger::core::ReceiptView| {
            let checked = verify.then(|| r.check());
            json!({
                "call_id": r.call_id.to_string(),
                "state": r.state.to_string(),
                "originating": r.originating.to_string(),
                "terminating": r.terminating.to_string(),
                "start_ms": r.start_ms,
                "duration_ms": r.duration_ms,
                "cause": r.cause.map(|c| c.to_string()).unwrap_or_default(),
                "verified": checked.as_ref().map(Result::is_ok),
                "error": checked.and_then(Result::err).map(|e| e.to_string()),
            })
        };
        self.receipts.list().map(row).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let rival = |(name, known): (&String, &dots_overlay::names::Known)| {
            (!known.rivals.is_empty()).then(|| {
                format!("another key says that it owns {name}: see `dots realms`, then pin or forget it")
            })
        };
        self.realms.iter().filter_map(rival).chain(self.neighbours.clock_warning()).collect()
    }
}
