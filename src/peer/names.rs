//! Realm records: ours, signed anew each day, and those that we hear of.
//!
//! Peers tell each other the records that they know when they connect, and when one of their own is new. Whom to believe
//! is `dots_overlay::names`; what we came to believe is written down, so that a restart does not start the race anew.

use super::{
    Config, Output, Peer, Pending,
    messages::{LookupReply, LookupRequest, VERSION},
    notes::{self, Note},
    output::Stream,
};
use dots_overlay::{
    names::{Belief, Change},
    records::{
        Callers, RealmRecord, Serving,
        realm::{REALM_VERSION, VALID_MAX},
    },
    transport::{Protocol, RequestError},
};
use dots_wire::{Now, PeerId, Signed, decode, encode, hmac_sha256};
use std::time::Duration;

/// Realm records that one peer tells another at once.
pub const RECORDS_MAX: usize = 64;
/// Own records are signed anew this often; they are valid for seven times as long.
const RESIGN_AFTER: Duration = Duration::from_secs(24 * 3600);

impl Peer {
    /// Signs records of our own realms where the newest is older than a day. `true`: there are new ones.
    fn sign_own(&mut self, now: Now) -> bool {
        let Config { key, realm_key, realms, .. } = self.config.clone();
        let mut any = false;
        for name in realms {
            let change = self.realms.pin(&name, realm_key.public(), Belief::Own);
            self.remember(change);
            let known = self.realms.get(&name).and_then(|k| k.read());
            let homes = vec![key.peer_id()];
            let fresh = known.is_some_and(|r| {
                r.homes == homes
                    && r.valid_until > now.wall
                    && now.wall.plus(VALID_MAX).since(r.valid_until) < RESIGN_AFTER
            });
            if fresh {
                continue;
            }
            any = true;
            let record = RealmRecord {
                version: REALM_VERSION,
                name,
                key: realm_key.public(),
                seq: known.map_or(0, |r| r.seq.saturating_add(1)).max(now.wall.0),
                homes,
                serving: Serving::Any,
                callers: Callers::Any,
                aor_salt: hmac_sha256(realm_key.to_bytes().as_slice(), b"dots/aor-salt/1"),
                valid_until: now.wall.plus(VALID_MAX),
            };
            self.accept_realm(now, self.me, &record.sign(&realm_key));
        }
        any
    }

    /// Own records signed anew when a day has gone, and told to everybody.
    pub(super) fn refresh_names(&mut self, now: Now) {
        if self.sign_own(now) {
            for peer in self.neighbours.keys().copied().collect::<Vec<_>>() {
                self.exchange_names(peer);
            }
        }
    }

    pub(super) fn exchange_names(&mut self, peer: PeerId) {
        let body = encode(&LookupRequest::Realms { version: VERSION, records: self.records_to_tell() });
        let id = self.ask(Pending::Names { of: peer });
        self.request(id, peer, Protocol::Lookup, body);
    }

    /// Our own first.
    pub(super) fn records_to_tell(&self) -> Vec<Signed> {
        let own = |known: &dots_overlay::names::Known| known.belief == Belief::Own;
        let all = || self.realms.iter().filter_map(|(_, known)| Some((known, known.record.clone()?)));
        let first = all().filter(|(known, _)| own(known));
        let rest = all().filter(|(known, _)| !own(known));
        first.chain(rest).map(|(_, record)| record).take(RECORDS_MAX).collect()
    }

    pub(super) fn on_names_reply(&mut self, now: Now, from: PeerId, result: Result<Vec<u8>, RequestError>) {
        let reply = result.ok().and_then(|body| decode::<LookupReply>(&body).ok());
        if let Some(LookupReply::Realms { records }) = reply {
            for record in records.iter().take(RECORDS_MAX) {
                self.accept_realm(now, from, record);
            }
        }
    }

    /// A record that the authenticated peer `from` told us.
    pub(super) fn accept_realm(&mut self, now: Now, from: PeerId, record: &Signed) {
        match self.realms.accept(record, from, now.wall) {
            Ok(Some(change)) => {
                if let Change::Set(name, known) = &change {
                    if self.realms.wants_txt(name) {
                        let id = self.ask(Pending::Txt { name: name.clone() });
                        self.out.push_back(Output::LookupTxt { id, name: format!("_dots.{name}") });
                    }
                    if known.belief == Belief::Unclaimed {
                        tracing::info!(%name, key = %known.key, rivals = known.rivals.len(), %from, "heard a realm that nobody vouches for");
                    }
                }
                self.remember(Some(change));
            }
            Ok(None) => {}
            Err(why) => {
                self.count("realm_refused");
                tracing::debug!(%from, %why, "a realm record was not believed");
            }
        }
    }

    pub(super) fn on_txt(&mut self, _now: Now, id: u64, records: &[String]) {
        if let Some(Pending::Txt { name }) = self.answered(id) {
            let change = self.realms.heard_txt(&name, records);
            self.remember(change);
        }
    }

    /// Writes a change of belief down.
    fn remember(&mut self, change: Option<Change>) {
        if let Some(change) = change {
            let record = encode(&Note::Realm { version: notes::VERSION, change });
            self.append(Pending::Written, Stream::Realms, record, true);
        }
    }
}
