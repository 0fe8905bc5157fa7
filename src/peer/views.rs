//! What the HTTP API sees and may change. Bodies are the JSON of `dots_clients::types`.

use super::{
    Output, Peer, Pending, Stream,
    account::Account,
    api::{Reply, Request},
    notes::{Note, VERSION},
};
use dots_wire::{Now, encode};
use serde_json::{Value, json};

/// Aliases a peer may have.
const ALIASES_MAX: usize = 10_000;

impl Peer {
    pub(super) fn on_api(&mut self, now: Now, id: u64, request: Request) {
        match request {
            Request::Status => self.reply(id, 200, self.status()),
            Request::Bindings => self.reply(id, 200, self.binding_list(now)),
            Request::Lookup { aor } => {
                self.on_api_lookup(now, id, aor.strip_prefix("sip:").unwrap_or(&aor).to_owned());
            }
            Request::Calls => self.reply(id, 200, json!(self.calls.list())),
            // No overlay, so no other peers and no receipts.
            Request::Peers | Request::Receipts { .. } => self.reply(id, 200, json!([])),
            Request::AccountPut { account } => self.put_account(id, account),
            Request::AccountRemove { aor } => {
                let ask = self.ask(Pending::Account { api: id, what: "removed" });
                self.out.push_back(Output::RemoveAccount { id: ask, aor });
            }
            Request::Aliases => {
                let rows = self.aliases.iter().map(|(a, t)| json!({ "alias": a, "target": t }));
                self.reply(id, 200, rows.collect());
            }
            Request::AliasPut { alias, target } => self.put_alias(id, alias, target),
            Request::AliasRemove { alias } => self.remove_alias(id, alias),
            Request::Realms => self.reply(id, 200, self.realm_list()),
            Request::RealmPin { .. } | Request::RealmForget { .. } => {
                self.reply(id, 501, json!({ "error": "this version knows no realms but its own" }));
            }
        }
    }

    pub(super) fn reply(&mut self, id: u64, status: u16, body: Value) {
        self.out.push_back(Output::Api { id, reply: Reply { status, body } });
    }

    pub(super) fn on_account_stored(&mut self, id: u64, existed: bool) {
        if let Some(Pending::Account { api, what }) = self.pending.remove(&id) {
            let status = if what == "removed" && !existed { 404 } else { 200 };
            let body = match status {
                404 => json!({ "error": "no such account" }),
                _ => json!({ "existed": existed }),
            };
            self.reply(api, status, body);
        }
    }

    fn put_account(&mut self, id: u64, account: Account) {
        if !account.aor.rsplit_once('@').is_some_and(|(_, realm)| self.config.is_home(realm)) {
            let error =
                format!("{}: this peer is not home of that realm; start it with --realm", account.aor);
            return self.reply(id, 400, json!({ "error": error }));
        }
        let ask = self.ask(Pending::Account { api: id, what: "stored" });
        self.out.push_back(Output::PutAccount { id: ask, account });
    }

    fn put_alias(&mut self, id: u64, alias: String, target: String) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+*#._-".contains(c);
        let target = target.strip_prefix("sip:").unwrap_or(&target).to_owned();
        if alias.is_empty() || alias.len() > 64 || !alias.chars().all(plain) || !target.contains('@') {
            let error = "an alias is a short user name or number, its target is sip:user@realm";
            return self.reply(id, 400, json!({ "error": error }));
        }
        if self.aliases.len() >= ALIASES_MAX && !self.aliases.contains_key(&alias) {
            return self.reply(id, 400, json!({ "error": "too many aliases" }));
        }
        self.aliases.insert(alias.clone(), target.clone());
        let body = json!({ "alias": alias, "target": target });
        self.note(id, &Note::Alias { version: VERSION, alias, target }, body);
    }

    fn remove_alias(&mut self, id: u64, alias: String) {
        if self.aliases.remove(&alias).is_none() {
            return self.reply(id, 404, json!({ "error": format!("{alias}: no such alias") }));
        }
        let body = json!({ "alias": alias });
        self.note(id, &Note::AliasGone { version: VERSION, alias }, body);
    }

    /// Writes it down; the HTTP answer comes when it is durable.
    fn note(&mut self, api: u64, note: &Note, body: Value) {
        self.sip.set_addressing(super::config::addressing(&self.config, &self.aliases));
        let token = self.ask(Pending::Noted { api, body });
        let record = encode(note);
        self.out.push_back(Output::Append { token, stream: Stream::Realms, record, sync: true });
    }

    fn status(&self) -> Value {
        json!({
            "peer_id": self.me.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "network": self.config.network,
            "default_realm": self.config.realms.first(),
            "realms": self.config.realms,
            "started_at_ms": self.started.wall.0,
            "sip": self.config.sip,
            "p2p": [],
            "http": self.config.http,
            "peers": 0,
            "bindings": self.sip.bindings().len(),
            "directory": 0,
            "calls_active": self.calls.up(),
            "receipts": 0,
            "warnings": [],
        })
    }

    fn binding_list(&self, now: Now) -> Value {
        let bindings = self.sip.bindings();
        let row = |b: &dots_sip::registrar::Binding| {
            let state = if bindings.is_reachable(&b.aor, &b.instance) { "pending" } else { "stale" };
            json!({
                "aor": b.aor,
                "instance": b.instance,
                "contact": b.contact,
                "flow": format!("{} {}", b.flow.transport.as_str(), b.flow.remote),
                "q": b.q,
                "expires_at_ms": b.expires_at_ms,
                "state": state,
            })
        };
        bindings.iter().filter(|b| b.expires_at_ms > now.wall.0).map(row).collect()
    }

    fn realm_list(&self) -> Value {
        let own = dots_overlay::names::self_certifying(&self.config.realm_key.public());
        let row = |name: &String| {
            json!({
                "name": name,
                "key": self.config.realm_key.public().to_string(),
                "belief": if *name == own { "self-certifying" } else { "own" },
                "homes": [self.me.to_string()],
                "seq": 0,
                "valid_until_ms": 0,
                "rivals": [],
            })
        };
        self.config.realms.iter().map(row).collect()
    }
}
