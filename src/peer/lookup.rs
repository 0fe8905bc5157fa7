//! Where is this AOR? Own bindings are the SIP core's; this room answers for everybody else's.
//!
//! Order: the directory, the realm's homes, then the DHT. "No such user" is said only on a home's word; where nobody
//! can say, the user is merely unavailable.

use super::{
    Config, Output,
    api::TOO_BUSY,
    asks::{Elsewhere, LookupQuestion, Pending, Search, Silence, Waiting},
    auth::{self, AskedFor},
    bindings::{found_of, instance_hash, state_of},
    messages::{FoundBinding, LookupReply, LookupRequest, VERSION},
    met::Met,
    neighbours::Neighbours,
    outside::Outside,
    patience,
};
use dots_clients::types::{AttestInfo, LookupBinding, LookupInfo};
use dots_overlay::{
    core::OverlayCore,
    dht,
    directory::{Binding, Claim, Found, State},
    grant,
    liveness::{Detector, MemberState},
    log::Defence,
    names::{Belief, Realms},
    records::{Grant, Life, Permit, RealmRecord},
    transport::{InboundId, NetCommand, Protocol, RequestError},
};
use dots_sip::{
    address::realm_of,
    ids::AskId,
    input::{RemoteTarget, Resolution},
    registrar::{Bindings, Bound},
};
use dots_trust::{
    homes::Homes,
    judge::StoreDown,
    roaming::{Heard, Roaming},
};
use dots_wire::{
    Checked, Hash, Label20, Now, PeerId, Timestamp,
    bounded::{Cause, Standing, network_of},
    decode, encode, sha256,
};
use serde_bytes::ByteBuf;
use std::time::{Duration, Instant};

/// Homes asked, one after the other, for one AOR.
const HOMES_ASKED: usize = 2;
/// Serving peers taken from any one answer.
const PEERS_MAX: usize = 32;
/// Phones that answer ring together; peers that nobody can reach are tried after them.
const Q_LIVE: u16 = 1_000;
const Q_STALE: u16 = 1;

/// A serving peer that names no grant names no record either: it may be a home by one that we do not have.
const SEQ_UNSAID: u64 = u64::MAX;
/// So long after a start a home's "nobody is there" ends no search.
const UNSURE_FOR: Duration = Duration::from_secs(60);
/// Clocks of honest homes differ by less.
const CLOCKS: Duration = Duration::from_secs(60);

/// What is known of a binding that another peer says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This home of its realm says so.
    Granted {
        home: PeerId,
    },
    Refused,
    /// Nobody can say yet: a newer record than ours may name another home.
    Unknown,
}

/// One step of a search, with what it may look at. The searches themselves stand in the table of questions.
pub(super) struct Finder<'a> {
    pub now: Now,
    pub started: Now,
    pub me: PeerId,
    pub config: &'a Config,
    pub outside: &'a mut Outside,
    pub neighbours: &'a mut Neighbours,
    pub realms: &'a Realms,
    pub overlay: &'a OverlayCore,
    pub liveness: &'a Detector,
    pub roaming: &'a Roaming,
    pub asked_for: &'a AskedFor,
    pub met: &'a Met,
    /// Our own phones.
    pub phones: &'a Bindings,
    /// Signatures of grants that were checked before.
    pub checked: &'a mut Checked,
}

impl Finder<'_> {
    pub(super) fn on_resolve(&mut self, ask: AskId, aor: String) {
        if self.is_local(&aor) {
            return self.outside.account(Pending::Lookup(LookupQuestion::Own { ask, aor: aor.clone() }), aor);
        }
        let peers = self.directory_targets(&aor);
        // What is stale here its home may know better.
        if peers.iter().any(|target| target.q > Q_STALE) {
            return self.resolved(ask, Resolution::Peers(peers));
        }
        // A phone that is registered here rings without anybody being asked.
        if !self.phones.reachable(&aor, self.now.wall.0).is_empty() {
            return self.resolved(ask, Resolution::Offline);
        }
        if self.is_cut_off(&aor) {
            return self.resolved(ask, Resolution::Offline);
        }
        self.ask_homes(Waiting::Call(ask), aor, false);
    }

    /// LIVE-11a: nobody was reached where the directory says: its home may know better.
    pub(super) fn on_resolve_again(&mut self, ask: AskId, aor: String) {
        if self.is_local(&aor) {
            let peers = self.directory_targets(&aor);
            let none = peers.is_empty();
            return self.resolved(ask, if none { Resolution::Offline } else { Resolution::Peers(peers) });
        }
        self.ask_homes(Waiting::Call(ask), aor, true);
    }

    /// Starts with the homes of the AOR's realm; ends in [`Finder::found`].
    fn ask_homes(&mut self, who: Waiting, aor: String, is_again: bool) {
        // One that does not answer just now comes after the others.
        let is_there =
            |home| self.neighbours.contains(home) && self.liveness.state(home) != Some(MemberState::Suspect);
        let homes = Homes::of(self.realms, realm_of(&aor), self.me, self.now.wall, is_there);
        if !matches!(homes, Homes::Now(_)) {
            return self.found(who, &aor, None, Vec::new());
        }
        // The last is asked first; LIVE-10: nobody waits for one that is known not to answer.
        let doubted = |home: PeerId| self.liveness.state(home).is_some_and(|s| s != MemberState::Alive);
        let is_asked = |home: &PeerId| if is_again { !doubted(*home) } else { !self.is_gone(*home) };
        let there = homes.to_ask().iter().copied().filter(is_asked);
        let mut left: Vec<PeerId> = there.take(HOMES_ASKED).collect();
        left.reverse();
        self.ask_next(who, aor, left, Search { began: self.now.mono, is_again });
    }

    fn ask_next(&mut self, who: Waiting, aor: String, mut left: Vec<PeerId>, search: Search) {
        match left.pop() {
            Some(home) => {
                let shown = match who {
                    Waiting::Call(_) => self.asked_for.grant(self.config, self.realms, self.now, &aor),
                    Waiting::Api(_) => auth::operator_grant(self.config, self.realms, self.now, &aor),
                };
                let realm = shown
                    .as_ref()
                    .and_then(|(_, caller)| self.realms.signed(realm_of(caller), self.now.wall));
                let (realm, aor_asked) = (realm.cloned(), aor.clone());
                let grant = shown.map(|(grant, _)| ByteBuf::from(grant));
                let body = encode(&LookupRequest::Aor { version: VERSION, aor: aor_asked, grant, realm });
                let silence = Silence { home, since: self.now.mono, search };
                let is_connected = self.neighbours.contains(home);
                let end = patience::end_of(&silence, is_connected, left.is_empty());
                let asked = Pending::Lookup(LookupQuestion::Home { who, aor, left, home: silence });
                let id = self.outside.request(asked, home, Protocol::Lookup, body);
                if matches!(who, Waiting::Call(_)) {
                    let at = patience::next_look(self.now.mono, self.now.mono, end);
                    self.outside.asks.look_at(id, at);
                }
            }
            // A home that lives says more than what strangers hold, and the call has waited.
            None if search.is_again => self.found(who, &aor, None, Vec::new()),
            None => self.ask_dht(who, aor, search.began),
        }
    }

    fn resolved(&mut self, id: AskId, resolution: Resolution) {
        self.outside.sip(dots_sip::Input::Resolved { id, resolution });
    }

    /// Other peers that serve this AOR, best first.
    fn directory_targets(&mut self, aor: &str) -> Vec<RemoteTarget> {
        let found = self.believed(aor);
        let peers = found.iter().map(|f| (f.serving, if f.state == State::Stale { Q_STALE } else { Q_LIVE }));
        let mut peers: Vec<(PeerId, u16)> = peers.collect();
        if self.is_local(aor) {
            // Our own grants, where the log has not said it yet.
            peers.extend(self.granted_at(aor).map(|(serving, _)| (serving, Q_LIVE)));
        }
        self.targets(peers)
    }

    /// Each peer once, at its best, and never ourselves.
    fn targets(&mut self, peers: Vec<(PeerId, u16)>) -> Vec<RemoteTarget> {
        let mut best: Vec<(PeerId, u16)> = Vec::new();
        for (peer, q) in peers.into_iter().filter(|(peer, _)| *peer != self.me).take(PEERS_MAX) {
            match best.iter_mut().find(|(p, _)| *p == peer) {
                Some((_, known)) => *known = q.max(*known),
                None => best.push((peer, q)),
            }
        }
        // LIVE-10: who is known not to answer is not tried; others come before one that does not answer just now.
        best.retain(|(peer, _)| !self.is_gone(*peer));
        for (_, q) in best.iter_mut().filter(|(p, _)| self.liveness.state(*p) == Some(MemberState::Suspect)) {
            *q = Q_STALE;
        }
        best.into_iter().map(|(peer, q)| RemoteTarget { peer: self.neighbours.label(peer), q }).collect()
    }

    /// It is registered where nobody answers, and no home of its realm answers either: a search would only take time.
    fn is_cut_off(&mut self, aor: &str) -> bool {
        let Some(record) = self.realms.lookup(realm_of(aor), self.now.wall) else { return false };
        if !record.homes.iter().all(|home| self.is_gone(*home)) {
            return false;
        }
        let known = self.believed(aor);
        !known.is_empty() && known.iter().all(|found| self.is_gone(found.serving))
    }

    fn is_gone(&self, peer: PeerId) -> bool {
        self.liveness.state(peer).is_some_and(MemberState::is_gone)
    }

    /// Bindings of this AOR that the directory holds and whose grant is good: a serving peer may say what it likes in
    /// its log, only the home's word routes a call to it.
    fn believed(&mut self, aor: &str) -> Vec<Found> {
        let realms = self.realms;
        let Some(record) = realms.lookup(realm_of(aor), self.now.wall) else { return Vec::new() };
        let aor_id = record.aor_id(aor);
        let mut found = self.overlay.lookup(aor_id, record.id());
        // LOG-14: what nobody has judged, or nobody can yet, waits; it is not checked anew for each call. What was granted is, for
        // it may have been revoked since.
        found.retain(|f| {
            (f.is_granted || self.config.disarmed == Some(Defence::JudgedBefore))
                && self.is_granted(record, aor_id, f.serving, f.instance, f.grant.as_deref())
        });
        found
    }

    /// Where we, as the home, let this AOR's phones register, as far as the serving peer's log does not say it.
    fn granted_at(&self, aor: &str) -> impl Iterator<Item = (PeerId, Timestamp)> {
        let overlay = self.overlay;
        let heard = move |peer| Heard { head: overlay.head_hash(peer), in_part: overlay.hears_in_part(peer) };
        self.roaming.of(aor, self.now.wall, heard)
    }

    fn is_granted(
        &mut self,
        record: &RealmRecord,
        aor_id: Hash,
        serving: PeerId,
        instance: Hash,
        proof: Option<&[u8]>,
    ) -> bool {
        record.is_home(serving) || self.granted(record, (aor_id, instance, serving), proof).is_some()
    }

    /// The home's word on this binding, if it is good.
    fn granted(
        &mut self,
        record: &RealmRecord,
        (aor_id, instance, serving): Binding,
        proof: Option<&[u8]>,
    ) -> Option<Grant> {
        let overlay = self.overlay;
        let revoked = |aor, home| overlay.directory().revoked_before(aor, home);
        let grant = grant::verify(self.checked, proof?, serving, record, self.now.wall, revoked).ok()?;
        grant.allows_bind(aor_id, instance).then_some(grant)
    }

    pub(super) fn on_lookup_account(&mut self, asked: LookupQuestion, exists: Result<bool, StoreDown>) {
        // A store that cannot be read says nothing of anybody: not now.
        let Ok(exists) = exists else { return self.on_lookup_refused(asked) };
        match asked {
            LookupQuestion::Own { ask, .. } if !exists => self.resolved(ask, Resolution::Unknown),
            LookupQuestion::Own { ask, aor } => {
                let peers = self.directory_targets(&aor);
                match peers.is_empty() {
                    // We are the home, and have just started: others may know more.
                    true if self.is_unsure() && self.phones.reachable(&aor, self.now.wall.0).is_empty() => {
                        self.ask_dht(Waiting::Call(ask), aor, self.now.mono)
                    }
                    true => self.resolved(ask, Resolution::Offline),
                    false => self.resolved(ask, Resolution::Peers(peers)),
                }
            }
            LookupQuestion::Serve { inbound, aor, is_shown, .. } => {
                self.serve(inbound, &aor, is_shown.then_some(exists))
            }
            LookupQuestion::Api { api, aor } => self.reply_lookup(api, &aor, Some(exists), &[]),
            LookupQuestion::Home { .. } | LookupQuestion::Dht { .. } => {}
        }
    }

    /// There is no room for this question: a call gets 503, and so does whoever else waits.
    pub(super) fn on_lookup_refused(&mut self, asked: LookupQuestion) {
        match asked {
            LookupQuestion::Own { ask, .. }
            | LookupQuestion::Home { who: Waiting::Call(ask), .. }
            | LookupQuestion::Dht { who: Waiting::Call(ask), .. } => {
                self.resolved(ask, Resolution::Unavailable)
            }
            LookupQuestion::Home { who: Waiting::Api(api), .. }
            | LookupQuestion::Dht { who: Waiting::Api(api), .. }
            | LookupQuestion::Api { api, .. } => {
                self.outside.problem(api, 503, TOO_BUSY);
            }
            LookupQuestion::Serve { inbound, .. } => self.outside.refuse_request(inbound),
        }
    }

    /// A binding that another peer says it has: whatever we know of its realm decides.
    pub(super) fn judge(&mut self, claim: &Claim) -> Verdict {
        let (realms, now) = (self.realms, self.now.wall);
        let (serving, proof) = (claim.binding.2, claim.grant.as_deref());
        let mut newest = None;
        for record in realms.by_id(claim.realm, now) {
            if record.is_home(serving) {
                return Verdict::Granted { home: serving };
            }
            let granted = self.granted(record, claim.binding, proof);
            // The grant says when it ends, not who shows it.
            if let Some(grant) = granted.filter(|grant| claim.until <= grant.not_after) {
                return Verdict::Granted { home: grant.home };
            }
            let is_own = realms.get(&record.name).is_some_and(|known| known.belief == Belief::Own);
            // Of a realm of ours nobody has a newer record than we.
            newest = newest.max(Some(if is_own { u64::MAX } else { record.seq }));
        }
        let Some(newest) = newest else { return Verdict::Unknown };
        match proof.map_or(Some(SEQ_UNSAID), grant::claimed_seq) {
            // Records are numbered by the clock of their home: one from so far ahead will never come.
            Some(seq) if seq > newest && (proof.is_none() || seq <= now.plus(CLOCKS).0) => Verdict::Unknown,
            _ => Verdict::Refused,
        }
    }

    /// LOG-13: who is charged for what this home of the realm grants: the realm, behind the network in which we reach that very
    /// home, for names are free and addresses are not: a record may name honest homes beside its own. One that we do not reach
    /// pays with the network of whoever brought the realm's record; where we do not reach him either, it shares with all the
    /// others like it.
    pub(super) fn payer(&self, realm: Label20, home: PeerId) -> Cause {
        let newest = self.realms.by_id(realm, self.now.wall).max_by_key(|record| record.seq);
        let Some(record) = newest else { return Cause::new(Standing::Other) };
        let known = self.realms.get(&record.name);
        let belief = known.map(|known| known.belief);
        let standing = match belief {
            Some(Belief::Own) => Standing::Own,
            Some(Belief::Pinned) => Standing::Trusted,
            _ if self.met.is_met(&record.name, self.now) => Standing::Met,
            _ => Standing::Other,
        };
        let reached = |peer: PeerId| self.neighbours.get(peer)?.ip().map(network_of);
        let brought = || reached(known?.announcer?);
        let network = reached(home).or_else(brought).unwrap_or_default();
        Cause { standing, network, realm: 0, who: 0 }.of_realm(&realm.0)
    }

    /// After a start the logs of others are not here yet.
    fn is_unsure(&self) -> bool {
        self.neighbours.len() > 0 && self.now.mono.saturating_duration_since(self.started.mono) < UNSURE_FOR
    }

    /// The home's answer to another peer: what it believes, and its own phones, which its log may not name yet.
    fn serve(&mut self, inbound: InboundId, aor: &str, exists: Option<bool>) {
        let mut bindings: Vec<FoundBinding> = Vec::new();
        let own = self.phones.reachable(aor, self.now.wall.0);
        if let Some(until_ms) = own.iter().map(|b| b.expires_at_ms).max() {
            let state = |b: &Bound<'_>| {
                let found =
                    found_of(self.realms, self.overlay, self.now, self.me, aor, instance_hash(b.instance));
                state_of(b, found.as_ref())
            };
            let stale = own.iter().all(|b| state(b) == State::Stale);
            bindings.push(FoundBinding { serving: self.me, until_ms, stale });
        }
        let logged = self.believed(aor);
        let logged = logged.iter().map(|f| (f.serving, f.until, f.state == State::Stale));
        let granted: Vec<(PeerId, Timestamp)> = self.granted_at(aor).collect();
        for (serving, until, stale) in logged.chain(granted.into_iter().map(|(p, u)| (p, u, false))) {
            if !bindings.iter().any(|b| b.serving == serving) {
                bindings.push(FoundBinding { serving, until_ms: until.0, stale });
            }
        }
        bindings.sort_by_key(|b| b.stale);
        bindings.truncate(PEERS_MAX);
        let unsure = bindings.is_empty() && self.is_unsure();
        self.outside.respond(inbound, &LookupReply::Aor { exists, bindings, unsure });
    }

    /// LOOKUP-3: a peer asks where this AOR is, and is told only where we are its home; and whether there is such an account, only to who
    /// serves somebody who calls it, so that nobody can list accounts without being one.
    pub(super) fn on_peer_asks(
        &mut self,
        from: PeerId,
        inbound: InboundId,
        aor: String,
        grant: Option<&[u8]>,
    ) {
        if !self.is_local(&aor) {
            return self.outside.respond(inbound, &LookupReply::NotHome);
        }
        let is_shown = grant.is_some_and(|grant| self.is_called(from, &aor, grant));
        self.outside.account(
            Pending::Lookup(LookupQuestion::Serve { from, inbound, aor: aor.clone(), is_shown }),
            aor,
        );
    }

    /// Is this the grant of a call to `aor`, given to the peer that shows it?
    fn is_called(&mut self, from: PeerId, aor: &str, proof: &[u8]) -> bool {
        let Some(realm) = grant::claimed_realm(proof) else { return false };
        let (overlay, realms, now) = (self.overlay, self.realms, self.now.wall);
        let revoked = |aor, home| overlay.directory().revoked_before(aor, home);
        let target = sha256(aor.as_bytes());
        let calls = |r: &RealmRecord| {
            grant::hear(self.checked, proof, from, r, now, revoked)
                .is_ok_and(|h| matches!(h.grant().permit, Permit::Call { target: t, .. } if t == target))
        };
        realms.by_id(realm, now).any(calls)
    }

    pub(super) fn on_lookup_reply(&mut self, asked: LookupQuestion, result: Result<Vec<u8>, RequestError>) {
        let LookupQuestion::Home { who, aor, left, home: Silence { search, .. } } = asked else { return };
        match result.ok().and_then(|body| decode::<LookupReply>(&body).ok()) {
            // LOOKUP-3: a home that may be ignorant does not end the search.
            Some(LookupReply::Aor { exists, bindings, unsure: true })
                if bindings.is_empty() && exists != Some(false) && matches!(who, Waiting::Call(_)) =>
            {
                self.ask_next(who, aor, left, search)
            }
            Some(LookupReply::Aor { exists, bindings, .. }) => {
                let live = bindings.into_iter().filter(|b| b.until_ms > self.now.wall.0).take(PEERS_MAX);
                let live = live.map(|b| Elsewhere {
                    serving: b.serving,
                    instance: None,
                    until: Timestamp(b.until_ms),
                    q: if b.stale { Q_STALE } else { Q_LIVE },
                });
                self.found(who, &aor, exists, live.collect());
            }
            _ => self.ask_next(who, aor, left, search),
        }
    }

    /// No home answers: what do strangers hold under this name?
    fn ask_dht(&mut self, who: Waiting, aor: String, began: Instant) {
        let Some(key) = self.realms.lookup(realm_of(&aor), self.now.wall).map(|r| r.aor_id(&aor)) else {
            return self.found(who, &aor, None, Vec::new());
        };
        let id = self.outside.ask(Pending::Lookup(LookupQuestion::Dht { who, aor, found: Vec::new() }));
        if matches!(who, Waiting::Call(_)) {
            self.outside.asks.look_at(id, patience::end_of_dht(self.now.mono, began));
        }
        self.outside.put(Output::Net(NetCommand::DhtGet { id, key: key.0.to_vec() }));
    }

    pub(super) fn on_dht_value(&mut self, id: u64, value: &[u8]) {
        let Some(Pending::Lookup(LookupQuestion::Dht { aor, .. })) = self.outside.asks.get(id) else {
            return;
        };
        let Some(record) = self.realms.lookup(realm_of(aor), self.now.wall) else { return };
        let aor_id = record.aor_id(aor);
        let good: Vec<Elsewhere> = dht::read(value, aor_id, self.now.wall, self.checked)
            .into_iter()
            .filter(|b| self.is_granted(record, aor_id, b.serving, b.instance, b.grant.as_deref()))
            .map(|b| Elsewhere { serving: b.serving, instance: Some(b.instance), until: b.until, q: Q_LIVE })
            .collect();
        if let Some(Pending::Lookup(LookupQuestion::Dht { found, .. })) = self.outside.asks.get_mut(id) {
            found.extend(good);
            found.sort();
            found.dedup();
            found.truncate(PEERS_MAX);
        }
    }

    pub(super) fn on_dht_done(&mut self, id: u64) {
        if let Some(Pending::Lookup(LookupQuestion::Dht { who, aor, found })) = self.outside.asks.answered(id)
        {
            self.found(who, &aor, None, found);
        }
    }

    /// The end of a search beyond our own directory. `exists`: on a home's word.
    fn found(&mut self, who: Waiting, aor: &str, exists: Option<bool>, found: Vec<Elsewhere>) {
        match who {
            Waiting::Api(api) => self.reply_lookup(api, aor, exists, &found),
            Waiting::Call(ask) if exists == Some(false) => self.resolved(ask, Resolution::Unknown),
            Waiting::Call(ask) => {
                let mut peers: Vec<(PeerId, u16)> = found.into_iter().map(|f| (f.serving, f.q)).collect();
                let known = self.believed(aor);
                peers.extend(known.iter().map(|f| (f.serving, Q_STALE)));
                let peers = self.targets(peers);
                let none = peers.is_empty();
                self.resolved(ask, if none { Resolution::Offline } else { Resolution::Peers(peers) });
            }
        }
    }

    /// `dots lookup`: what we believe, and a home's word on whether the account exists.
    pub(super) fn on_api_lookup(&mut self, api: u64, aor: String) {
        if self.is_local(&aor) {
            return self.outside.account(Pending::Lookup(LookupQuestion::Api { api, aor: aor.clone() }), aor);
        }
        self.ask_homes(Waiting::Api(api), aor, false);
    }

    fn reply_lookup(&mut self, api: u64, aor: &str, exists: Option<bool>, elsewhere: &[Elsewhere]) {
        let me = self.me;
        let mut bindings: Vec<LookupBinding> = Vec::new();
        for b in self.phones.of(aor).filter(|b| b.expires_at_ms > self.now.wall.0) {
            let state =
                found_of(self.realms, self.overlay, self.now, self.me, aor, instance_hash(b.instance));
            bindings.push(LookupBinding {
                serving: me.to_string(),
                instance: b.instance.to_owned(),
                until_ms: b.expires_at_ms,
                source: "own".into(),
                state: state_of(&b, state.as_ref()).as_str().into(),
                attests: state.as_ref().map(attests).unwrap_or_default(),
            });
        }
        let found = self.believed(aor);
        bindings.extend(found.iter().filter(|f| f.serving != me).map(|f| LookupBinding {
            serving: f.serving.to_string(),
            instance: f.instance.to_string(),
            until_ms: f.until.0,
            source: "directory".into(),
            state: f.state.as_str().into(),
            attests: attests(f),
        }));
        let source = if exists.is_some() { "home" } else { "dht" };
        let known = |peer: PeerId| peer == me || found.iter().any(|f| f.serving == peer);
        bindings.extend(elsewhere.iter().filter(|f| !known(f.serving)).map(|f| LookupBinding {
            serving: f.serving.to_string(),
            instance: f.instance.map(|i| i.to_string()).unwrap_or_default(),
            until_ms: f.until.0,
            source: source.into(),
            state: if f.q == Q_STALE { State::Stale } else { State::Pending }.as_str().into(),
            attests: Vec::new(),
        }));
        self.outside.reply(api, &LookupInfo { aor: aor.to_owned(), exists, bindings });
    }

    pub(super) fn is_local(&self, aor: &str) -> bool {
        self.config.is_home(realm_of(aor))
    }
}

fn attests(found: &Found) -> Vec<AttestInfo> {
    let attest = |(by, at, life): &(PeerId, Timestamp, Life)| AttestInfo {
        by: by.to_string(),
        kind: "serving-alive".into(),
        at_ms: at.0,
        outcome: life.as_str().into(),
    };
    found.attested.iter().map(attest).collect()
}
