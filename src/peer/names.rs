//! Realm records: ours, signed anew each day, and those that we hear of.
//!
//! Peers tell each other the records that they know when they connect, and when one of their own is new. Whom to believe
//! is `dots_overlay::names`; what we came to believe is written down, so that a restart does not start the race anew.

use super::{
    Config, Output, Peer, Pending,
    messages::{LookupReply, LookupRequest, VERSION},
    neighbours::Neighbour,
    notes::{self, Note},
    output::Stream,
    rate::Kind,
};
use dots_overlay::{
    names::{Belief, Change, Heard, Known, is_name},
    records::{
        Callers, RealmRecord, Serving,
        realm::{HOMES_MAX, REALM_VERSION, VALID_MAX},
    },
    transport::{Protocol, RequestError},
};
use dots_wire::{
    Allowance, Hash, Now, PeerId, Signed, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing},
    decode, encode, hmac_sha256, sha256,
};
use rand::Rng;
use std::time::{Duration, Instant};

/// Realm records that one peer tells another at once; a request holds 64 KiB.
pub const RECORDS_MAX: usize = 64;
/// Names that one question may hold.
const NAMES_ASKED_MAX: usize = 8;
/// Questions about a realm, all together; about one realm a peer is asked once a minute.
const QUESTIONS: Allowance = Allowance::new(20.0, 200.0);
const ASK_REALM_AGAIN: Duration = Duration::from_secs(60);
const ASKED: Limits = Limits::new(2 << 20, 16_384);
/// Neighbours asked about a realm that we know nothing of.
const NEIGHBOURS_ASKED: usize = 3;
/// What we know is summed up anew after this.
const DIGEST_AGE: Duration = Duration::from_secs(10);
const RECORDS_BYTES_MAX: usize = 48 * 1024;
/// Neighbours that hear of a newer record from us; they pass it on.
const NEWS_MAX: usize = 8;
/// Own records are signed anew this often; they are valid for seven times as long.
const RESIGN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// No record is valid further ahead than clocks may differ.
const SKEW_MAX: Duration = Duration::from_secs(60);
/// Questions to DNS at once, names remembered that were asked about, and the time between two about one name.
const DNS_ASKED_MAX: usize = 16;
const DNS_NAMES_MAX: usize = 1_000;
const DNS_AGAIN: Duration = Duration::from_secs(600);
/// A neighbour that does not answer with its records is asked again after this, doubled each time.
const ASK_AGAIN: Duration = Duration::from_millis(1_500);
const ASK_AGAIN_MAX: u32 = 6;

/// Questions about realms under way, and what we know in short.
pub(super) struct Asking {
    asked: Cache<(String, PeerId), Instant>,
    questions: TokenBucket,
    digest: Option<(Instant, Hash)>,
}

impl Default for Asking {
    fn default() -> Asking {
        Asking { asked: Cache::new(ASKED), questions: TokenBucket::default(), digest: None }
    }
}

/// As many as one message holds.
fn fitting<'a>(records: impl Iterator<Item = &'a Signed>) -> Vec<Signed> {
    let mut bytes = 0;
    let fits = |record: &&Signed| {
        bytes += record.payload.len() + 80;
        bytes <= RECORDS_BYTES_MAX
    };
    records.take(RECORDS_MAX).take_while(fits).cloned().collect()
}

impl Peer {
    /// Signs records of our own realms where the newest is older than a day. `true`: there are new ones.
    fn sign_own(&mut self, now: Now) -> bool {
        let Config { key, realm_key, realms, .. } = self.config.clone();
        let mut any = false;
        for name in realms {
            let change = self.realms.pin(&name, realm_key.public(), Belief::Own);
            self.remember(now, change);
            let known = self.realms.get(&name).and_then(|k| k.read());
            let fresh = known.is_some_and(|r| {
                // A record from a time when our clock was ahead is one that all others refuse.
                let timely = r.valid_until > now.wall && r.valid_until <= now.wall.plus(VALID_MAX + SKEW_MAX);
                r.is_home(key.peer_id())
                    && timely
                    && now.wall.plus(VALID_MAX).since(r.valid_until) < RESIGN_AFTER
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
                name,
                key: realm_key.public(),
                seq: known.map_or(0, |r| r.seq.saturating_add(1)).max(now.wall.0),
                homes,
                serving: known.map_or(Serving::Any, |r| r.serving.clone()),
                callers: known.map_or(Callers::Any, |r| r.callers),
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
            for peer in self.neighbours.iter().map(|(peer, _)| peer).collect::<Vec<_>>() {
                self.exchange_names(now, peer, 0);
            }
            return;
        }
        let due = |n: &Neighbour| n.names_again.filter(|(at, _)| *at <= now.mono).map(|(_, tries)| tries);
        let due: Vec<(PeerId, u32)> =
            self.neighbours.iter().filter_map(|(peer, n)| Some((peer, due(n)?))).collect();
        for (peer, tries) in due {
            self.exchange_names(now, peer, tries + 1);
        }
    }

    /// Tells a neighbour our records, and asks for its own. `tries`: how often that was in vain.
    pub(super) fn exchange_names(&mut self, now: Now, peer: PeerId, tries: u32) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            let wait = ASK_AGAIN * (1 << tries.min(ASK_AGAIN_MAX));
            neighbour.names_again = (tries < ASK_AGAIN_MAX).then(|| (now.mono + wait, tries));
        }
        let digest = self.names_digest(now);
        // Our own only: the rest is for who asks, and only where it differs (attack 8).
        let records = self.records_to_tell(now, digest);
        let body = encode(&LookupRequest::Realms { version: VERSION, records, digest, time_ms: now.wall.0 });
        self.outside.request(Pending::Names { of: peer }, peer, Protocol::Lookup, body);
    }

    /// LOOKUP-1: our own first; then, where the other knows something else (`theirs`), what is pinned or proved by DNS, and the rest
    /// from a place chosen at random, so that nobody's names come before all others (attack 15).
    pub(super) fn records_to_tell(&mut self, now: Now, theirs: Hash) -> Vec<Signed> {
        let differs = theirs != self.names_digest(now);
        let from = self.outside.rng.random_range(0..1 << 30);
        let all: Vec<(Belief, &Signed)> =
            self.realms.tellable(now.wall).map(|(k, r)| (k.belief, r)).collect();
        let of = |wanted: fn(Belief) -> bool| all.iter().filter(move |(belief, _)| wanted(*belief));
        let own = of(|b| b == Belief::Own);
        let vouched = of(|b| matches!(b, Belief::Pinned | Belief::Txt));
        let rest: Vec<_> = of(|b| !matches!(b, Belief::Own | Belief::Pinned | Belief::Txt)).collect();
        let turned = rest.iter().cycle().skip(from % rest.len().max(1)).take(rest.len()).copied();
        let others = vouched.chain(turned).filter(|_| differs);
        fitting(own.chain(others).map(|(_, record)| *record))
    }

    /// Who asks by name is told what we believe, each record once.
    pub(super) fn records_named(&self, now: Now, names: &[String]) -> Vec<Signed> {
        let known = names.iter().take(NAMES_ASKED_MAX).filter_map(|name| self.realms.signed(name, now.wall));
        fitting(known)
    }

    /// All that we know of realms that are not ours, in 32 bytes.
    fn names_digest(&mut self, now: Now) -> Hash {
        let age = |at: Instant| now.mono.saturating_duration_since(at);
        if let Some((at, digest)) = self.asking.digest.filter(|(at, _)| age(*at) < DIGEST_AGE) {
            debug_assert!(at <= now.mono);
            return digest;
        }
        let mut text = Vec::new();
        for (known, _) in self.realms.tellable(now.wall).filter(|(known, _)| known.belief != Belief::Own) {
            if let Some(record) = known.read() {
                text.extend_from_slice(record.name.as_bytes());
                text.push(0);
                text.extend_from_slice(&record.seq.to_be_bytes());
            }
        }
        let digest = sha256(&text);
        self.asking.digest = Some((now.mono, digest));
        digest
    }

    /// `--trust-realm` is `dots realms pin`, said at each start.
    pub(super) fn pin_trusted(&mut self, now: Now) {
        for (name, key) in self.config.trusted.clone() {
            let change = self.realms.pin(&name, key, Belief::Pinned);
            self.remember(now, change);
        }
        let known: Vec<Known> = self.realms.iter().map(|(_, known)| known.clone()).collect();
        for known in &known {
            self.trust_homes(known);
        }
    }

    /// Records that `from` told, charged one by one: each may cost a signature check.
    pub(super) fn hear_records(&mut self, now: Now, from: PeerId, records: &[Signed]) {
        for record in records.iter().take(RECORDS_MAX) {
            if !self.rates.take(now.mono, from, Kind::Realm) {
                return self.outside.count("peer_throttled");
            }
            self.accept_realm(now, from, record);
        }
    }

    /// What a neighbour's clock said: the median of all is what ours is measured by.
    pub(super) fn hear_clock(&mut self, now: Now, from: PeerId, time_ms: u64) {
        if let Some(warning) = self.neighbours.clock_told(from, time_ms, now.wall) {
            tracing::warn!("{warning}");
        }
    }

    /// LOOKUP-4: nobody is home of this realm, as far as we know: its former homes may have a newer record, or neighbours one. `false`:
    /// nobody is asked, or all were a moment ago and did not know. One realm by its name, so that whoever makes us ask makes
    /// us send little (attack 8).
    pub(super) fn ask_for_realm(&mut self, now: Now, realm: &str) -> bool {
        if !is_name(realm) || self.config.is_home(realm) {
            return false;
        }
        let me = self.me;
        let known = self.realms.get(realm);
        let mut peers: Vec<PeerId> = known.and_then(Known::read).map(|r| r.homes.clone()).unwrap_or_default();
        peers.retain(|home| *home != me);
        let is_former = !peers.is_empty();
        if !is_former {
            let neighbours: Vec<PeerId> = self.neighbours.iter().map(|(peer, _)| peer).collect();
            let from = self.outside.rng.random_range(0..1 << 30);
            let turned = neighbours.iter().cycle().skip(from % neighbours.len().max(1));
            peers.extend(turned.take(NEIGHBOURS_ASKED.min(neighbours.len())));
        }
        let mut asks = false;
        for peer in peers {
            asks |= self.ask_named(now, realm, peer);
        }
        asks || is_former
    }

    fn ask_named(&mut self, now: Now, realm: &str, peer: PeerId) -> bool {
        let key = (realm.to_owned(), peer);
        let recent = |at: &Instant| now.mono.saturating_duration_since(*at) < ASK_REALM_AGAIN;
        let may = !self.asking.asked.get(&key).is_some_and(recent)
            && self.asking.questions.take(now.mono, QUESTIONS, 1.0);
        if may {
            let cause = Cause::new(Standing::Other).of_realm(realm.as_bytes());
            self.asking.asked.insert(cause, key, now.mono);
            let body = encode(&LookupRequest::Named { version: VERSION, names: vec![realm.to_owned()] });
            self.outside.request(Pending::Names { of: peer }, peer, Protocol::Lookup, body);
        }
        may
    }

    pub(super) fn on_names_reply(&mut self, now: Now, from: PeerId, result: Result<Vec<u8>, RequestError>) {
        let reply = result.ok().and_then(|body| decode::<LookupReply>(&body).ok());
        if let Some(LookupReply::Realms { records, time_ms }) = reply {
            if let Some(neighbour) = self.neighbours.get_mut(from) {
                neighbour.names_again = None;
            }
            self.hear_clock(now, from, time_ms);
            self.hear_records(now, from, &records);
        }
    }

    /// A record that the authenticated peer `from` told us.
    pub(super) fn accept_realm(&mut self, now: Now, from: PeerId, record: &Signed) {
        match self.realms.accept(record, from, now.wall) {
            Ok(Heard::Changed(changes)) => {
                for change in changes {
                    if let Change::Set(name, known) = &change {
                        self.ask_dns(now, name);
                        if known.belief == Belief::Unclaimed {
                            let rivals = known.rivals.len();
                            tracing::info!(%name, key = %known.key, rivals, %from, "heard a realm that nobody vouches for");
                        }
                        self.trust_homes(known);
                        self.pass_on(from, known);
                    }
                    self.remember(now, Some(change));
                }
            }
            Ok(Heard::AskDns(name)) => self.ask_dns(now, &name),
            Ok(Heard::Known) => {}
            Err(why) => {
                self.outside.count("realm_refused");
                tracing::debug!(%from, %why, "a realm record was not believed");
            }
        }
    }

    /// Whose is the name, by DNS? Few at once, and seldom about one name: anybody can make us ask.
    fn ask_dns(&mut self, now: Now, name: &str) {
        self.dns_asked.retain(|_, at| now.mono.saturating_duration_since(*at) < DNS_AGAIN);
        let may = self.dns_asked.len() < DNS_NAMES_MAX
            && !self.dns_asked.contains_key(name)
            && self.realms.wants_txt(name)
            && self.outside.asks.dns_questions() < DNS_ASKED_MAX;
        if may {
            self.dns_asked.insert(name.to_owned(), now.mono);
            let id = self.outside.ask(Pending::Txt { name: name.to_owned() });
            self.outside.put(Output::LookupTxt { id, name: format!("_dots.{name}") });
        }
    }

    /// Homes of realms that are ours or that the operator vouches for may say more in their logs than strangers.
    pub(super) fn trust_homes(&mut self, known: &Known) {
        if let (Belief::Own | Belief::Pinned, Some(record)) = (known.belief, known.read()) {
            for home in record.homes.clone() {
                self.overlay.trust(home);
            }
        }
    }

    /// A record that is newer than ours: neighbours that are not the home's may not have it either.
    fn pass_on(&mut self, from: PeerId, known: &Known) {
        let Some(record) = known.record.clone().filter(|_| from != self.me) else { return };
        let body = encode(&LookupRequest::News { version: VERSION, record });
        let others: Vec<PeerId> =
            self.neighbours.iter().map(|(peer, _)| peer).filter(|p| *p != from).take(NEWS_MAX).collect();
        for peer in others {
            self.outside.request(Pending::Told, peer, Protocol::Lookup, body.clone());
        }
    }

    pub(super) fn on_txt(&mut self, now: Now, id: u64, records: &[String]) {
        if let Some(Pending::Txt { name }) = self.outside.asks.answered(id) {
            let change = self.realms.heard_txt(&name, records, now.wall);
            self.remember(now, change);
        }
    }

    /// Writes a change of belief down.
    fn remember(&mut self, now: Now, change: Option<Change>) {
        if let Some(change) = change {
            // What we know is another thing now, and so is its digest.
            self.asking.digest = None;
            if let Change::Set(_, known) = &change {
                self.overlay.realm_known(now, known.key.label());
            }
            let record = encode(&Note::Realm { version: notes::VERSION, change });
            self.outside.append(Pending::Written, Stream::Realms, record, true);
        }
    }
}
