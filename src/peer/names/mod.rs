//! Realm records: ours, signed anew each day, and those that we hear of.
//!
//! Peers tell each other the records that they know when they connect, and when one of their own is new. Whom to believe
//! is `dots_trust::names`; what we came to believe is written down, so that a restart does not start the race anew.
//! `own` signs our records and hears the operator, `belief` takes in what others say, `search` is what became of the realms
//! that were asked for; what is exchanged stands here.

pub(crate) mod belief;
mod own;
pub(crate) mod search;

use super::{
    Config,
    asks::Pending,
    messages::{LookupReply, LookupRequest, VERSION},
    met::Met,
    neighbours::Neighbours,
    outside::Outside,
    rate::{Buckets, Kind},
};
pub(super) use belief::Wanted;
use dots_overlay::{
    core::OverlayCore,
    names::{Belief, Realms, Refused, is_name},
    records::RealmRecord,
    transport::{Protocol, RequestError},
};
use dots_sip::address::realm_of;
use dots_sip::ids::AskId;
use dots_trust::homes::Homes;
use dots_wire::{
    Allowance, Hash, Now, PeerId, Signed, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight, network_of},
    decode, encode, sha256,
};
use rand::Rng;
pub(super) use search::Verdict;
use search::{Said, Searches};
use std::time::{Duration, Instant};

/// Realm records that one peer tells another at once; a request holds 64 KiB.
pub const RECORDS_MAX: usize = 64;
/// Names that one question may hold.
const NAMES_ASKED_MAX: usize = 8;
/// Searches for realms that one network of phones makes us begin, one account that calls, all accounts of its realm, and all that call
/// from its network; those that did lately.
const SEARCHES: Allowance = Allowance::new(1.0, 30.0);
const SEARCHES_OF_CALLER: Allowance = Allowance::new(0.5, 10.0);
const SEARCHES_OF_REALM: Allowance = Allowance::new(5.0, 50.0);
const SEARCHES_OF_PLACE: Allowance = Allowance::new(5.0, 50.0);
pub(crate) const SEARCHING: Limits = Limits::new(512 * 1024, 4_096);
/// Neighbours asked about a realm that we know nothing of.
const NEIGHBOURS_ASKED: usize = 8;
/// Homes asked that a neighbour's record names.
const HOMES_ASKED: usize = 2;
/// What we know is summed up anew after this.
const DIGEST_AGE: Duration = Duration::from_secs(10);
const RECORDS_BYTES_MAX: usize = 48 * 1024;
/// A neighbour that does not answer with its records is asked again after this, doubled each time.
const ASK_AGAIN: Duration = Duration::from_millis(1_500);
const ASK_AGAIN_MAX: u32 = 6;

/// Questions about realms that were asked, and what we know in short.
pub(super) struct Asking {
    pub searches: Searches,
    searching: Cache<Purse, TokenBucket>,
    /// Realms that nobody here uses and that are passed on all the same, by the network that told them.
    news: Cache<u64, TokenBucket>,
    digest: Option<(Instant, Hash)>,
    /// Names that DNS was asked about, and when.
    dns_asked: Cache<String, Instant>,
}

/// Who makes us search.
#[derive(Clone, Copy)]
pub(super) enum Searcher<'a> {
    /// A phone of this network, which has proved nothing.
    Phone(u64),
    /// An account, which has, and its network; none: nobody knows any more which.
    Caller(Option<(&'a str, u64)>),
}

/// A bucket of searches, by what it is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purse {
    Network(u64),
    Place(u64),
    Realm(u64),
    Account(u64),
}

impl Weight for Purse {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Purse {
    fn allowance(self) -> Allowance {
        match self {
            Purse::Network(_) => SEARCHES,
            Purse::Place(_) => SEARCHES_OF_PLACE,
            Purse::Realm(_) => SEARCHES_OF_REALM,
            Purse::Account(_) => SEARCHES_OF_CALLER,
        }
    }

    fn cause(self) -> Cause {
        let stranger = Cause::new(Standing::Other);
        match self {
            Purse::Network(network) | Purse::Place(network) => Cause { network, ..stranger },
            Purse::Realm(realm) => Cause { realm, ..stranger },
            Purse::Account(who) => Cause { who, ..stranger },
        }
    }
}

impl Searcher<'_> {
    /// Every bucket must have something left: accounts are free, and so are realms, each as free as a key.
    fn purses(self) -> Vec<Purse> {
        match self {
            Searcher::Phone(network) => vec![Purse::Network(network)],
            Searcher::Caller(caller) => {
                let (aor, network) = caller.unwrap_or_default();
                vec![
                    Purse::Account(Cause::name(aor.as_bytes())),
                    Purse::Realm(Cause::name(realm_of(aor).as_bytes())),
                    Purse::Place(network),
                ]
            }
        }
    }
}

impl Default for Asking {
    fn default() -> Asking {
        Asking {
            searches: Searches::default(),
            searching: Cache::new(SEARCHING),
            news: Cache::new(belief::NEWS_TOLD),
            digest: None,
            dns_asked: Cache::new(belief::DNS_NAMES),
        }
    }
}

impl Asking {
    fn may_search(&self, now: Instant, searcher: Searcher<'_>) -> bool {
        let has = |purse: &Purse| {
            let bucket = self.searching.get(purse);
            bucket.is_none_or(|bucket| bucket.has(now, purse.allowance(), 1.0))
        };
        searcher.purses().iter().all(has)
    }

    fn search_begun(&mut self, now: Instant, searcher: Searcher<'_>) {
        for purse in searcher.purses() {
            if let Some(bucket) = self.searching.get_mut(&purse) {
                bucket.charge(now, purse.allowance(), 1.0);
                continue;
            }
            let mut bucket = TokenBucket::default();
            bucket.charge(now, purse.allowance(), 1.0);
            self.searching.insert(purse.cause(), purse, bucket);
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
    pub met: &'a Met,
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
        // Our own only: the rest is for who asks, and only where it differs.
        let records = self.records_to_tell(digest);
        let body =
            encode(&LookupRequest::Realms { version: VERSION, records, digest, time_ms: self.now.wall.0 });
        self.outside.request(Pending::Names { of: peer, wanted: None }, peer, Protocol::Lookup, body);
    }

    /// LOOKUP-1: our own first; then, where the other knows something else (`theirs`), what is pinned or proved by DNS, and the rest
    /// from a place chosen at random, so that nobody's names come before all others.
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
            self.accept(from, record, Wanted::No);
        }
    }

    /// The record of a caller's realm, which came with his request. The call needs it: it costs who tells it none of its names.
    /// Nobody has vouched for the request yet, so it counts as any other record does (a signature, a write), and is news to
    /// nobody else.
    pub fn hear_of_caller(&mut self, from: PeerId, realm: &str, record: &Signed) {
        if !record.peek::<RealmRecord>().is_ok_and(|read| read.name == realm) {
            return;
        }
        if !self.rates.take(self.now.mono, from, Kind::Realm) {
            return self.outside.count("peer_throttled");
        }
        self.accept(from, record, Wanted::ByCall);
    }

    /// What a neighbour's clock said: the median of all is what ours is measured by.
    pub fn hear_clock(&mut self, from: PeerId, time_ms: u64) {
        self.outside.count("clocks_told");
        self.neighbours.clock_told(from, time_ms, self.now);
    }

    /// LOOKUP-4: nobody is home of this realm, as far as we know: its former homes may have a newer record, or neighbours one. One
    /// realm by its name, so that whoever makes us ask makes us send little.
    pub fn ask_for_realm(&mut self, realm: &str, searcher: Searcher<'_>) -> Verdict {
        if !is_name(realm) || self.config.is_home(realm) || self.is_alone() {
            return Verdict::NobodyKnows;
        }
        if self.asking.may_search(self.now.mono, searcher) && self.asking.searches.begin(self.now, realm) {
            self.asking.search_begun(self.now.mono, searcher);
            let is_connected = |home| self.neighbours.contains(home);
            let homes = Homes::of(self.realms, realm, self.me, self.now.wall, is_connected);
            let mut peers = homes.to_ask_for_record().to_vec();
            if peers.is_empty() {
                let neighbours: Vec<PeerId> = self.neighbours.iter().map(|(peer, _)| peer).collect();
                let from = self.outside.rng.random_range(0..1 << 30);
                let turned = neighbours.iter().cycle().skip(from % neighbours.len().max(1));
                peers.extend(turned.take(NEIGHBOURS_ASKED.min(neighbours.len())));
            }
            for peer in peers {
                self.ask_named(realm, peer);
            }
        }
        self.asking.searches.verdict(realm)
    }

    /// Nobody else was ever heard of: what this peer does not know nobody knows.
    fn is_alone(&self) -> bool {
        self.neighbours.is_nobody_known() && self.realms.iter().all(|(_, known)| known.belief == Belief::Own)
    }

    /// A call to `aor`, whose realm nobody here has heard of, waits until it is found or nobody knows it. `false`: it need not.
    pub fn wait_for_realm_of(&mut self, id: AskId, aor: &str, caller: Option<(String, u64)>) -> bool {
        let realm = realm_of(aor);
        let caller = caller.as_ref().map(|(aor, network)| (aor.as_str(), *network));
        let waits = self.realms.lookup(realm, self.now.wall).is_none()
            && self.ask_for_realm(realm, Searcher::Caller(caller)) == Verdict::UnderWay;
        if waits {
            self.asking.searches.wait(self.now, id, aor.to_owned(), realm);
        }
        waits
    }

    fn ask_named(&mut self, realm: &str, peer: PeerId) {
        if peer != self.me && self.asking.searches.ask(realm, peer) {
            let body = encode(&LookupRequest::Named { version: VERSION, names: vec![realm.to_owned()] });
            let asked = Pending::Names { of: peer, wanted: Some(realm.to_owned()) };
            self.outside.request(asked, peer, Protocol::Lookup, body);
        }
    }

    /// `wanted`: the realm that it was asked for by name.
    pub fn on_names_reply(
        &mut self,
        from: PeerId,
        wanted: Option<&str>,
        result: Result<Vec<u8>, RequestError>,
    ) {
        let reply = result.ok().and_then(|body| decode::<LookupReply>(&body).ok());
        let reply = match reply {
            Some(LookupReply::Realms { records, time_ms }) => Some((records, time_ms)),
            _ => None,
        };
        if let Some((_, time_ms)) = reply {
            self.hear_clock(from, time_ms);
        }
        let Some(realm) = wanted else {
            if let Some((records, _)) = reply {
                if let Some(neighbour) = self.neighbours.get_mut(from) {
                    neighbour.names_again = None;
                }
                self.hear_records(from, &records);
            }
            return;
        };
        let said = match reply {
            None => Said::NoAnswer,
            Some((records, _)) => self.hear_wanted(from, realm, &records),
        };
        self.asking.searches.said(realm, from, said);
        self.go_on(realm);
    }

    /// What a peer that was asked for this realm told of it.
    fn hear_wanted(&mut self, from: PeerId, realm: &str, records: &[Signed]) -> Said {
        let is_wanted =
            |record: &&Signed| record.peek::<RealmRecord>().is_ok_and(|record| record.name == realm);
        let Some(record) = records.iter().take(NAMES_ASKED_MAX).find(is_wanted) else { return Said::Nothing };
        if !self.rates.take(self.now.mono, from, Kind::Realm) {
            self.outside.count("peer_throttled");
            return Said::NoAnswer;
        }
        // From its home it would count: a hint whom to ask.
        if self.accept(from, record, Wanted::Here) == Some(Refused::NotFromHome)
            && let Ok(read) = record.peek::<RealmRecord>()
        {
            let network = self.network(from);
            self.asking.searches.hint(realm, read.key, &read.homes, network);
        }
        Said::Something
    }

    /// Asks the homes that neighbours have named, or lets those go who wait for a search that is over.
    fn go_on(&mut self, realm: &str) {
        for home in self.asking.searches.choose(self.now, realm).into_iter().take(HOMES_ASKED) {
            self.ask_named(realm, home);
        }
        if !self.asking.searches.is_searched(realm) {
            self.asking.searches.release(realm);
        }
    }

    pub fn on_timeout(&mut self) {
        self.asking.searches.on_timeout(self.now);
    }

    /// Searches that wait for one neighbour too long go on without it.
    pub fn look_after_searches(&mut self) {
        for realm in self.asking.searches.late(self.now) {
            self.go_on(&realm);
        }
    }

    fn network(&self, peer: PeerId) -> u64 {
        let ip = self.neighbours.get(peer).and_then(|neighbour| neighbour.ip());
        ip.map_or_else(|| Cause::name(&peer.to_bytes()), network_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches that this one makes us begin at once.
    fn begun(asking: &mut Asking, now: Instant, searcher: Searcher<'_>, wanted: usize) -> usize {
        let mut begun = 0;
        while begun < wanted && asking.may_search(now, searcher) {
            asking.search_begun(now, searcher);
            begun += 1;
        }
        begun
    }

    #[test]
    fn who_calls_made_up_realms_without_end_stops_nobody_elses_search() {
        let (mut asking, now) = (Asking::default(), Instant::now());
        fn caller(aor: &str, network: u64) -> Searcher<'_> {
            Searcher::Caller(Some((aor, network)))
        }
        assert_eq!(begun(&mut asking, now, caller("eve@free.test", 1), 1_000), 10, "one account");
        // Her thousand accounts of one free realm.
        let mut all = 0;
        for n in 0..1_000 {
            let aor = format!("eve{n}@free.test");
            all += begun(&mut asking, now, caller(&aor, 100 + n), 10);
        }
        assert_eq!(all, 40, "and all accounts of her realm");
        // And her thousand realms.
        all = 0;
        for n in 0..1_000 {
            let aor = format!("eve@free{n}.test");
            all += begun(&mut asking, now, caller(&aor, 2), 10);
        }
        assert_eq!(all, 50, "all who call from her network");
        assert_eq!(begun(&mut asking, now, caller("alice@a.test", 3), 5), 5, "somebody else");
        assert_eq!(begun(&mut asking, now, Searcher::Phone(7), 100), 30);
        assert_eq!(begun(&mut asking, now, Searcher::Phone(8), 5), 5);
        assert_eq!(begun(&mut asking, now + Duration::from_secs(20), caller("eve@free.test", 1), 100), 10);
    }
}
