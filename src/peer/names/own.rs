//! Our own records, signed anew each day, and what the operator says of names.

use super::{
    super::{
        neighbours::Neighbour,
        notes::{self, Note},
    },
    Namer, Wanted,
};
use dots_clients::types::Changed;
use dots_overlay::{
    names::{Belief, Change, Known, is_name},
    records::{
        Callers, RealmRecord, Serving,
        realm::{HOMES_MAX, REALM_VERSION, VALID_MAX},
    },
};
use dots_wire::{PeerId, PublicKey, hmac_sha256};
use std::time::Duration;

/// Own records are signed anew this often; they are valid for seven times as long.
const RESIGN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// No record is valid further ahead than clocks may differ.
const SKEW_MAX: Duration = Duration::from_secs(60);

impl Namer<'_> {
    /// Signs records of our own realms where the newest is older than a day. `true`: there are new ones.
    fn sign_own(&mut self) -> bool {
        let config = self.config;
        let (key, realm_key) = (&config.key, &config.realm_key);
        let mut any = false;
        for name in &config.realms {
            let change = self.realms.pin(name, realm_key.public(), Belief::Own);
            self.remember(change);
            let known = self.realms.get(name).and_then(Known::read);
            let fresh = known.is_some_and(|r| {
                // A record from a time when our clock was ahead is one that all others refuse.
                let timely = r.valid_until > self.now.wall
                    && r.valid_until <= self.now.wall.plus(VALID_MAX + SKEW_MAX);
                r.is_home(key.peer_id())
                    && timely
                    && self.now.wall.plus(VALID_MAX).since(r.valid_until) < RESIGN_AFTER
            });
            if fresh {
                continue;
            }
            any = true;
            // Other homes of this realm, which hold the same key, stay in.
            let mut homes = known.map(|r| r.homes.clone()).unwrap_or_default();
            if !homes.contains(&key.peer_id()) {
                homes.truncate(HOMES_MAX - 1);
                homes.push(key.peer_id());
            }
            let record = RealmRecord {
                version: REALM_VERSION,
                name: name.clone(),
                key: realm_key.public(),
                seq: known.map_or(0, |r| r.seq.saturating_add(1)).max(self.now.wall.0),
                homes,
                serving: known.map_or(Serving::Any, |r| r.serving.clone()),
                callers: known.map_or(Callers::Any, |r| r.callers),
                aor_salt: hmac_sha256(realm_key.to_bytes().as_slice(), b"dots/aor-salt/1"),
                valid_until: self.now.wall.plus(VALID_MAX),
            };
            self.accept(self.me, &record.sign(realm_key), Wanted::Here);
        }
        any
    }

    /// Own records signed anew when a day has gone, and told to everybody.
    pub fn refresh_names(&mut self) {
        if self.sign_own() {
            for peer in self.neighbours.iter().map(|(peer, _)| peer).collect::<Vec<_>>() {
                self.exchange_names(peer, 0);
            }
            return;
        }
        let due =
            |n: &Neighbour| n.names_again.filter(|(at, _)| *at <= self.now.mono).map(|(_, tries)| tries);
        let due: Vec<(PeerId, u32)> =
            self.neighbours.iter().filter_map(|(peer, n)| Some((peer, due(n)?))).collect();
        for (peer, tries) in due {
            self.exchange_names(peer, tries + 1);
        }
    }

    /// `--trust-realm` is `dots realms pin`, said at each start.
    pub fn pin_trusted(&mut self) {
        for (name, key) in &self.config.trusted {
            let change = self.realms.pin(name, *key, Belief::Pinned);
            self.remember(change);
        }
        let known: Vec<Known> = self.realms.iter().map(|(_, known)| known.clone()).collect();
        for known in &known {
            self.trust_homes(known);
        }
    }

    /// `dots realms pin`.
    pub fn on_pin(&mut self, api: u64, name: &str, key: &str) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let key = hex::decode(key).ok().and_then(|b| <[u8; 33]>::try_from(b).ok());
        let Some(key) = key.filter(|_| is_name(&name)) else {
            let error = "expected a realm's name and its key, 66 hex digits as `dots realms` prints it";
            return self.outside.problem(api, 400, error);
        };
        if self.config.is_home(&name) {
            return self.outside.problem(api, 400, format!("{name} is this peer's own realm"));
        }
        let existed = self.realms.get(&name).is_some();
        match self.realms.pin(&name, PublicKey(key), Belief::Pinned) {
            Some(change) => {
                self.believed(&change);
                if let Change::Set(_, known) = &change {
                    self.trust_homes(known);
                }
                let note = Note::Realm { version: notes::VERSION, change };
                self.outside.note(api, &note, existed);
            }
            None => self.outside.reply(api, &Changed { existed }),
        }
    }

    /// `dots realms forget`.
    pub fn on_forget(&mut self, api: u64, name: &str) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match self.realms.forget(&name) {
            Some(change) => {
                self.believed(&change);
                let note = Note::Realm { version: notes::VERSION, change };
                self.outside.note(api, &note, true);
            }
            None => self.outside.problem(api, 404, format!("{name}: no such realm, or this peer's own")),
        }
    }
}
