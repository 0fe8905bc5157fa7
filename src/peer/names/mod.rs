//! Realm records: ours, signed anew each day, and those that we hear of.
//!
//! Peers tell each other the records that they know when they connect, and when one of their own is new. Whom to believe
//! is `dots_trust::names`; what we came to believe is written down, so that a restart does not start the race anew.
//! `own` signs our records and hears the operator, `belief` takes in what others say; what is exchanged stands here.

mod belief;
mod own;

use super::{
    Config,
    asks::Pending,
    messages::{LookupReply, LookupRequest, VERSION},
    neighbours::Neighbours,
    outside::Outside,
    rate::{Buckets, Kind},
};
use dots_overlay::{
    core::OverlayCore,
    names::{Belief, Realms, is_name},
    transport::{Protocol, RequestError},
};
use dots_sip::address::realm_of;
use dots_trust::homes::Homes;
use dots_wire::{
    Allowance, Hash, Now, PeerId, Signed, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing},
    decode, encode, sha256,
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
/// A neighbour that does not answer with its records is asked again after this, doubled each time.
const ASK_AGAIN: Duration = Duration::from_millis(1_500);
const ASK_AGAIN_MAX: u32 = 6;

/// Questions about realms that were asked, and what we know in short.
pub(super) struct Asking {
    asked: Cache<(String, PeerId), Instant>,
    questions: TokenBucket,
    digest: Option<(Instant, Hash)>,
    /// Names that DNS was asked about, and when.
    dns_asked: Cache<String, Instant>,
}

impl Default for Asking {
    fn default() -> Asking {
        Asking {
            asked: Cache::new(ASKED),
            questions: TokenBucket::default(),
            digest: None,
            dns_asked: Cache::new(belief::DNS_NAMES),
        }
    }
}

/// One step of the exchange of names, with what it may look at and change.
pub(super) struct Namer<'a> {
    pub now: Now,
    pub me: PeerId,
    pub config: &'a Config,
    pub asking: &'a mut Asking,
    pub realms: &'a mut Realms,
    pub outside: &'a mut Outside,
    pub neighbours: &'a mut Neighbours,
    /// Hears whose records are known, and whose homes may say more.
    pub overlay: &'a mut OverlayCore,
    pub rates: &'a mut Buckets,
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

impl Namer<'_> {
    /// Tells a neighbour our records, and asks for its own. `tries`: how often that was in vain.
    pub fn exchange_names(&mut self, peer: PeerId, tries: u32) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            let wait = ASK_AGAIN * (1 << tries.min(ASK_AGAIN_MAX));
            neighbour.names_again = (tries < ASK_AGAIN_MAX).then(|| (self.now.mono + wait, tries));
        }
        let digest = self.names_digest();
        // Our own only: the rest is for who asks, and only where it differs (attack 8).
        let records = self.records_to_tell(digest);
        let body =
            encode(&LookupRequest::Realms { version: VERSION, records, digest, time_ms: self.now.wall.0 });
        self.outside.request(Pending::Names { of: peer }, peer, Protocol::Lookup, body);
    }

    /// LOOKUP-1: our own first; then, where the other knows something else (`theirs`), what is pinned or proved by DNS, and the rest
    /// from a place chosen at random, so that nobody's names come before all others (attack 15).
    pub fn records_to_tell(&mut self, theirs: Hash) -> Vec<Signed> {
        let differs = theirs != self.names_digest();
        let from = self.outside.rng.random_range(0..1 << 30);
        let all: Vec<(Belief, &Signed)> =
            self.realms.tellable(self.now.wall).map(|(k, r)| (k.belief, r)).collect();
        let of = |wanted: fn(Belief) -> bool| all.iter().filter(move |(belief, _)| wanted(*belief));
        let own = of(|b| b == Belief::Own);
        let vouched = of(|b| matches!(b, Belief::Pinned | Belief::Txt));
        let rest: Vec<_> = of(|b| !matches!(b, Belief::Own | Belief::Pinned | Belief::Txt)).collect();
        let turned = rest.iter().cycle().skip(from % rest.len().max(1)).take(rest.len()).copied();
        let others = vouched.chain(turned).filter(|_| differs);
        fitting(own.chain(others).map(|(_, record)| *record))
    }

    /// Who asks by name is told what we believe, each record once.
    pub fn records_named(&self, names: &[String]) -> Vec<Signed> {
        let known =
            names.iter().take(NAMES_ASKED_MAX).filter_map(|name| self.realms.signed(name, self.now.wall));
        fitting(known)
    }

    /// All that we know of realms that are not ours, in 32 bytes.
    fn names_digest(&mut self) -> Hash {
        let age = |at: Instant| self.now.mono.saturating_duration_since(at);
        if let Some((at, digest)) = self.asking.digest.filter(|(at, _)| age(*at) < DIGEST_AGE) {
            debug_assert!(at <= self.now.mono);
            return digest;
        }
        let mut text = Vec::new();
        for (known, _) in self.realms.tellable(self.now.wall).filter(|(known, _)| known.belief != Belief::Own)
        {
            if let Some(record) = known.read() {
                text.extend_from_slice(record.name.as_bytes());
                text.push(0);
                text.extend_from_slice(&record.seq.to_be_bytes());
            }
        }
        let digest = sha256(&text);
        self.asking.digest = Some((self.now.mono, digest));
        digest
    }

    /// Records that `from` told, charged one by one: each may cost a signature check.
    pub fn hear_records(&mut self, from: PeerId, records: &[Signed]) {
        for record in records.iter().take(RECORDS_MAX) {
            if !self.rates.take(self.now.mono, from, Kind::Realm) {
                return self.outside.count("peer_throttled");
            }
            self.accept(from, record);
        }
    }

    /// What a neighbour's clock said: the median of all is what ours is measured by.
    pub fn hear_clock(&mut self, from: PeerId, time_ms: u64) {
        self.outside.count("clocks_told");
        if let Some(warning) = self.neighbours.clock_told(from, time_ms, self.now.wall) {
            tracing::warn!("{warning}");
        }
    }

    /// LOOKUP-4: nobody is home of this realm, as far as we know: its former homes may have a newer record, or neighbours one. `false`:
    /// nobody is asked, or all were a moment ago and did not know. One realm by its name, so that whoever makes us ask makes
    /// us send little (attack 8).
    pub fn ask_for_realm(&mut self, realm: &str) -> bool {
        if !is_name(realm) || self.config.is_home(realm) {
            return false;
        }
        let is_connected = |home| self.neighbours.contains(home);
        let homes = Homes::of(self.realms, realm, self.me, self.now.wall, is_connected);
        let mut peers = homes.to_ask_for_record().to_vec();
        let is_former = !peers.is_empty();
        if !is_former {
            let neighbours: Vec<PeerId> = self.neighbours.iter().map(|(peer, _)| peer).collect();
            let from = self.outside.rng.random_range(0..1 << 30);
            let turned = neighbours.iter().cycle().skip(from % neighbours.len().max(1));
            peers.extend(turned.take(NEIGHBOURS_ASKED.min(neighbours.len())));
        }
        let mut asks = false;
        for peer in peers {
            asks |= self.ask_named(realm, peer);
        }
        asks || is_former
    }

    /// The caller's realm is to be resolved: what nobody here has heard of is asked for.
    pub fn wants_realm_of(&mut self, aor: &str) {
        if self.realms.lookup(realm_of(aor), self.now.wall).is_none() {
            self.ask_for_realm(realm_of(aor));
        }
    }

    fn ask_named(&mut self, realm: &str, peer: PeerId) -> bool {
        let key = (realm.to_owned(), peer);
        let recent = |at: &Instant| self.now.mono.saturating_duration_since(*at) < ASK_REALM_AGAIN;
        let may = !self.asking.asked.get(&key).is_some_and(recent)
            && self.asking.questions.take(self.now.mono, QUESTIONS, 1.0);
        if may {
            let cause = Cause::new(Standing::Other).of_realm(realm.as_bytes());
            self.asking.asked.insert(cause, key, self.now.mono);
            let body = encode(&LookupRequest::Named { version: VERSION, names: vec![realm.to_owned()] });
            self.outside.request(Pending::Names { of: peer }, peer, Protocol::Lookup, body);
        }
        may
    }

    pub fn on_names_reply(&mut self, from: PeerId, result: Result<Vec<u8>, RequestError>) {
        let reply = result.ok().and_then(|body| decode::<LookupReply>(&body).ok());
        if let Some(LookupReply::Realms { records, time_ms }) = reply {
            if let Some(neighbour) = self.neighbours.get_mut(from) {
                neighbour.names_again = None;
            }
            self.hear_clock(from, time_ms);
            self.hear_records(from, &records);
        }
    }
}
