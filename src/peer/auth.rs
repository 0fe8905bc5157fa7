//! Challenges, answers and grants: what crosses between the SIP core, `/dots/auth/2` and the rooms of `dots-trust`.
//!
//! ```text
//!   phone ─ REGISTER ─▶ nonce from a lease of its home (ours: made here) … answer
//!              given to that very address? ─▶ home of its realm? yes ─▶ judge, account store
//!                                                                no ──▶ /dots/auth/2 ─▶ grant
//! ```
//!
//! A password never leaves its phone, and its digest never leaves the home: a serving peer returns the phone's answer to
//! the home whose lease it names, and gets a grant that is worth nothing to anybody else. Nothing is decided here.

use super::{
    Config,
    account::Account,
    asks::{AuthQuestion, Pending},
    messages::{AuthReply, AuthRequest, VERSION},
    neighbours::Neighbours,
    notes::{self, Note},
    output::Stream,
    outside::Outside,
};
use dots_overlay::{
    core::OverlayCore,
    grant::{self, GrantBatcher},
    names::Realms,
    records::{
        Grant, Permit, Scope,
        grant::{BIND_LIFE_MAX, GRANT_VERSION},
    },
    transport::{InboundId, Protocol, RequestError},
};
use dots_sip::{
    address::realm_of,
    auth::{AuthFailure, Challenge, Purpose, Vouch},
    ids::AskId,
};
use dots_trust::{
    answer::Answer,
    brakes::Via,
    guest::{Guest, Offer},
    homes::Homes,
    judge::{Admitted, Judge, Refused, StoreDown},
    lease::{Lease, Lessor, Stamp, place},
    roaming::Roaming,
    visitors::Visitors,
};
use dots_wire::{
    Checked, Hash, Now, PeerId,
    bounded::{Cache, Cause, Limits, Standing, Weight, network_of},
    decode, encode, hmac_sha256, sha256,
};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use serde_bytes::ByteBuf;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// What this peer keeps of challenges and grants.
pub(super) struct Auth {
    pub judge: Judge,
    pub guest: Guest<AskId>,
    pub roaming: Roaming,
    /// Phones of other realms, and what their homes said of their answers.
    pub visitors: Visitors,
    pub asked_for: AskedFor,
    /// Grants for other peers, each with the request that waits for it.
    granting: GrantBatcher<InboundId>,
}

impl Auth {
    pub fn new(config: &Config, rng: &mut ChaCha20Rng) -> Auth {
        Auth {
            judge: Judge::new(Lessor::new(&config.key, rng.random())),
            guest: Guest::new(Stamp::new(&config.key, rng.random())),
            roaming: Roaming::default(),
            visitors: Visitors::default(),
            asked_for: AskedFor::default(),
            granting: GrantBatcher::default(),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.granting.poll_timeout().into_iter().chain(self.guest.poll_timeout()).min()
    }
}

/// One step of an authentication, with what it may look at.
pub(super) struct Authenticator<'a> {
    pub now: Now,
    pub me: PeerId,
    pub config: &'a Config,
    pub auth: &'a mut Auth,
    pub outside: &'a mut Outside,
    pub neighbours: &'a Neighbours,
    pub realms: &'a Realms,
    pub overlay: &'a OverlayCore,
    pub checked: &'a mut Checked,
}

impl Authenticator<'_> {
    /// The phone at this address needs a challenge of a realm that has a home.
    pub fn on_challenge(&mut self, id: AskId, realm: String, phone: IpAddr) {
        if self.auth.guest.wants_lease(self.now.mono, &realm, phone) {
            self.ask_lease(&realm, phone);
        }
        match self.auth.guest.challenge(self.now.mono, &realm, phone, id) {
            Offer::Nonce(nonce) => self.challenged(id, Ok(Challenge { realm, nonce })),
            Offer::Waits => {}
            Offer::Refused => {
                self.outside.count("challenges_refused");
                self.challenged(id, Err(AuthFailure::Unavailable));
            }
        }
    }

    pub fn challenged(&mut self, id: AskId, result: Result<Challenge, AuthFailure>) {
        self.outside.sip(dots_sip::Input::Challenge { id, result });
    }

    /// The home to ask for this realm.
    pub fn home_of(&self, realm: &str) -> Option<PeerId> {
        let is_connected = |home| self.neighbours.contains(home);
        Homes::of(self.realms, realm, self.me, self.now.wall, is_connected).to_ask().first().copied()
    }

    fn ask_lease(&mut self, realm: &str, phone: IpAddr) {
        if self.config.is_home(realm) {
            let lease = self.auth.judge.lease(self.me, self.now.wall, self.outside.rng.random());
            return self.leased(realm, self.me, Some(lease));
        }
        let Some(home) = self.home_of(realm) else { return self.leased(realm, self.me, None) };
        let body = encode(&AuthRequest::Lease { version: VERSION, realm: realm.to_owned() });
        let asked = Pending::Auth(AuthQuestion::Lease { realm: realm.to_owned(), home, phone });
        self.outside.request(asked, home, Protocol::Auth, body);
    }

    fn leased(&mut self, realm: &str, home: PeerId, lease: Option<Lease>) {
        for (id, nonce) in self.auth.guest.leased(self.now.mono, realm, home, lease) {
            let challenge = nonce.map(|nonce| Challenge { realm: realm.to_owned(), nonce });
            self.challenged(id, challenge.ok_or(AuthFailure::Unavailable));
        }
    }

    pub fn on_verify(&mut self, ask: AskId, answer: &dots_sip::auth::Answer, phone: IpAddr) {
        let answer = Box::new(returned(answer, self.source_name(phone)));
        // One that we do not remember, or gave to another address: whatever the password, challenge anew.
        let Some(home) = self.auth.guest.judge_of(&answer.realm, &answer.nonce, phone) else {
            self.outside.count("auth_stale");
            return self.verified(ask, Err(AuthFailure::Stale));
        };
        let Some(permit) = answer.permit() else { return self.verified(ask, Err(AuthFailure::Forbidden)) };
        if home != self.me {
            // AUTH-6a: a guesser here must not spend what the home allows to all phones of this peer.
            if !self.auth.visitors.may_ask(self.now.mono, &answer.aor, phone) {
                self.outside.count("auth_visitors_braked");
                return self.verified(ask, Err(AuthFailure::Unavailable));
            }
            let body = encode(&AuthRequest::Verify { version: VERSION, answer: answer.clone() });
            let asked = Pending::Auth(AuthQuestion::Home { ask, answer, permit, phone });
            return self.outside.request(asked, home, Protocol::Auth, body);
        }
        if !self.config.digest_of(&answer.realm).takes(&answer.algorithm) {
            return self.refused_here(ask, &answer.aor, phone, Refused::Wrong);
        }
        let aor = answer.aor.clone();
        let (serving, network) = (self.me, network_of(phone));
        let via = Via { serving, is_home: true, source: answer.source, network };
        match self.auth.judge.admit(self.now, answer, via) {
            Ok(admitted) => {
                let admitted = Box::new(admitted);
                self.outside.account(Pending::Auth(AuthQuestion::Own { ask, admitted, phone }), aor);
            }
            Err(why) => self.refused_here(ask, &aor, phone, why),
        }
    }

    fn verified(&mut self, id: AskId, result: Result<Vouch, AuthFailure>) {
        self.outside.sip(dots_sip::Input::Verified { id, result });
    }

    /// AUTH-7: a phone's answer was not taken. `phone`: where the nonce had been given to, so the line accuses nobody else.
    fn refused_here(&mut self, ask: AskId, aor: &str, phone: IpAddr, why: Refused) {
        if why == Refused::Wrong {
            self.outside.count("auth_wrong");
            tracing::info!("refused password: account={} address={phone}", plain(aor));
        }
        self.verified(ask, Err(failure(why)));
    }

    /// The account store has answered, or cannot be read.
    pub fn on_account(&mut self, asked: AuthQuestion, account: Result<Option<&Account>, StoreDown>) {
        match asked {
            AuthQuestion::Own { ask, admitted, phone } => {
                let aor = admitted.answer.aor.clone();
                match self.auth.judge.judge(self.now, &admitted, account) {
                    // Nothing is signed here: a home needs no grant to bind phones of its own realm, and the grant of a
                    // call is made when the call leaves for another peer.
                    Ok(()) => {
                        self.auth.asked_for.note(self.now, &admitted.answer, None);
                        let not_after_ms = self.now.wall.plus(BIND_LIFE_MAX).0;
                        self.verified(ask, Ok(Vouch { aor, grant: [].into(), not_after_ms }));
                    }
                    Err(why) => self.refused_here(ask, &aor, phone, why),
                }
            }
            AuthQuestion::Foreign { inbound, admitted } => self.judge_foreign(inbound, &admitted, account),
            AuthQuestion::Lease { .. } | AuthQuestion::Home { .. } => {}
        }
    }

    /// There is no room for this question: the phone gets 503, a serving peer "unavailable".
    pub fn on_refused(&mut self, asked: AuthQuestion) {
        match asked {
            AuthQuestion::Own { ask, admitted, .. } => {
                self.auth.judge.not_judged(self.now, &admitted);
                self.verified(ask, Err(AuthFailure::Unavailable));
            }
            AuthQuestion::Home { ask, .. } => self.verified(ask, Err(AuthFailure::Unavailable)),
            AuthQuestion::Foreign { inbound, admitted } => {
                self.auth.judge.not_judged(self.now, &admitted);
                self.outside.respond(inbound, &AuthReply::Unavailable);
            }
            AuthQuestion::Lease { realm, home, .. } => self.leased(&realm, home, None),
        }
    }

    /// `/dots/auth/2`, as the home.
    pub fn on_request(&mut self, serving: PeerId, inbound: InboundId, body: &[u8]) {
        match decode::<AuthRequest>(body) {
            Ok(AuthRequest::Lease { version: VERSION, realm }) => {
                if !self.config.is_home(&realm) {
                    return self.outside.respond(inbound, &AuthReply::Unavailable);
                }
                let lease = self.auth.judge.lease(serving, self.now.wall, self.outside.rng.random());
                self.outside.respond(inbound, &AuthReply::Lease { lease: ByteBuf::from(lease.0) });
            }
            // AUTH-2.
            Ok(AuthRequest::Verify { version: VERSION, answer }) => {
                self.admit_foreign(serving, inbound, answer)
            }
            Ok(_) | Err(_) => {
                self.outside.count("bad_peer_message");
                self.outside.refuse_request(inbound);
            }
        }
    }

    fn admit_foreign(&mut self, serving: PeerId, inbound: InboundId, answer: Box<Answer>) {
        if answer.permit().is_none() || !self.config.is_home(&answer.realm) {
            return self.outside.respond(inbound, &AuthReply::Forbidden);
        }
        let is_realm =
            |host: &str| self.config.is_home(host) || self.realms.lookup(host, self.now.wall).is_some();
        if !answer.signs_target(is_realm) {
            self.outside.count("auth_other_target");
            return self.outside.respond(inbound, &AuthReply::Forbidden);
        }
        if !self.config.digest_of(&answer.realm).takes(&answer.algorithm) {
            return self.outside.respond(inbound, &AuthReply::Wrong);
        }
        let network = self.neighbours.get(serving).and_then(|n| n.ip()).map_or(0, network_of);
        let (aor, source) = (answer.aor.clone(), answer.source);
        match self.auth.judge.admit(self.now, answer, Via { serving, is_home: false, source, network }) {
            Ok(admitted) => {
                let admitted = Box::new(admitted);
                self.outside.account(Pending::Auth(AuthQuestion::Foreign { inbound, admitted }), aor);
            }
            Err(why) => self.outside.respond(inbound, &AuthReply::from(why)),
        }
    }

    fn judge_foreign(
        &mut self,
        inbound: InboundId,
        admitted: &Admitted,
        account: Result<Option<&Account>, StoreDown>,
    ) {
        if let Err(why) = self.auth.judge.judge(self.now, admitted, account) {
            if why == Refused::Wrong {
                self.outside.count("auth_wrong_elsewhere");
            }
            return self.outside.respond(inbound, &AuthReply::from(why));
        }
        // Nobody waits for it: lost, its phone is a stranger there once more.
        if let Some(familiar) = self.auth.judge.take_familiar() {
            let note = Note::Been { version: notes::VERSION, familiar };
            self.outside.append(Pending::Written, Stream::Realms, encode(&note), false);
        }
        let Admitted { answer, via, .. } = admitted;
        let roams = account.is_ok_and(|a| a.is_some_and(|a| a.roaming));
        let grant = answer.permit().filter(|_| roams);
        let Some(grant) = grant
            .and_then(|permit| grant_for(self.me, self.realms, self.now, via.serving, &answer.aor, permit))
        else {
            return self.outside.respond(inbound, &AuthReply::Forbidden);
        };
        if grant.is_bind() {
            let head = self.overlay.head_hash(via.serving);
            self.auth.roaming.granted(self.now.wall, &answer.aor, via.serving, grant.not_after, head);
        }
        if self.auth.granting.push(self.now.mono, inbound, grant).is_err() {
            self.outside.respond(inbound, &AuthReply::Unavailable);
        }
    }

    /// Grants that are due are signed, and who has waited long enough is told.
    pub fn on_timeout(&mut self) {
        if self.auth.granting.poll_timeout().is_some_and(|due| due <= self.now.mono) {
            self.outside.count("grant_signatures_made");
        }
        for (inbound, proof) in self.auth.granting.sign_due(self.now.mono, &self.config.key) {
            self.outside.respond(inbound, &AuthReply::Granted { grant: ByteBuf::from(encode(&proof)) });
        }
        while let Some(id) = self.auth.guest.poll_expired(self.now.mono) {
            self.challenged(id, Err(AuthFailure::Unavailable));
        }
    }

    /// A home answered us (or did not).
    pub fn on_reply(&mut self, asked: AuthQuestion, result: Result<Vec<u8>, RequestError>) {
        let reply = result.ok().and_then(|body| decode::<AuthReply>(&body).ok());
        match asked {
            AuthQuestion::Lease { realm, home, .. } => {
                let lease = match reply {
                    Some(AuthReply::Lease { lease }) => Lease::read(&lease).filter(Lease::is_known),
                    _ => None,
                };
                self.leased(&realm, home, lease);
            }
            AuthQuestion::Home { ask, answer, permit, phone } => {
                let refused = match reply {
                    Some(AuthReply::Granted { grant }) => {
                        let result = self.check_grant(&answer.aor, &permit, &grant);
                        if let Ok(vouch) = &result {
                            self.auth.visitors.was_right(self.now.mono, &answer.aor, phone);
                            self.auth.asked_for.note(self.now, &answer, Some(vouch.grant.clone()));
                        }
                        return self.verified(ask, result);
                    }
                    Some(AuthReply::Wrong) => {
                        self.auth.visitors.was_wrong(self.now.mono, &answer.aor, phone);
                        Refused::Wrong
                    }
                    Some(AuthReply::Stale) => {
                        self.auth.guest.forget(&answer.realm, &answer.nonce);
                        Refused::Stale
                    }
                    Some(AuthReply::Forbidden) => Refused::Forbidden,
                    Some(AuthReply::Unavailable | AuthReply::Lease { .. }) | None => Refused::Unavailable,
                };
                self.refused_here(ask, &answer.aor, phone, refused);
            }
            AuthQuestion::Own { .. } | AuthQuestion::Foreign { .. } => {}
        }
    }

    /// A home's grant is kept, written down and shown to others: it is checked as they will check it.
    fn check_grant(&mut self, aor: &str, permit: &Permit, proof: &[u8]) -> Result<Vouch, AuthFailure> {
        let realm = realm_of(aor);
        let record = self.realms.lookup(realm, self.now.wall).ok_or(AuthFailure::Unavailable)?;
        let overlay = self.overlay;
        let revoked = |aor, home| overlay.directory().revoked_before(aor, home);
        match grant::verify(self.checked, proof, self.me, record, self.now.wall, revoked) {
            Ok(grant) if grant.is_for(record.aor_id(aor)) && grant.permit == *permit => {
                Ok(Vouch { aor: aor.to_owned(), grant: proof.into(), not_after_ms: grant.not_after.0 })
            }
            other => {
                tracing::warn!(%realm, why = ?other.err(), "a home sent a grant that does not hold");
                self.outside.count("bad_grant");
                Err(AuthFailure::Unavailable)
            }
        }
    }

    /// What we call the place of a phone: one address, or one IPv6 network, and nothing that others could read back.
    fn source_name(&self, phone: IpAddr) -> Hash {
        let text = [b"dots/source/1".as_slice(), &place(phone)].concat();
        hmac_sha256(self.config.key.to_bytes().as_slice(), &text)
    }
}

/// What we, as a home of the AOR's realm, would sign. `None`: our own record is missing or lets `serving` serve nobody.
fn grant_for(
    me: PeerId,
    realms: &Realms,
    now: Now,
    serving: PeerId,
    aor: &str,
    permit: Permit,
) -> Option<Grant> {
    let record = realms.lookup(realm_of(aor), now.wall)?;
    if !record.is_home(me) || !record.may_serve(serving) {
        return None;
    }
    Some(Grant {
        version: GRANT_VERSION,
        not_after: now.wall.plus(permit.life_max()),
        permit,
        scope: Scope::Aor(record.aor_id(aor)),
        realm: record.id(),
        realm_seq: record.seq,
        home: me,
        serving,
        time: now.wall,
    })
}

/// REC-11: what we say as the home of a phone that we serve ourselves. It is for the ears of whoever we are connected to, and not
/// signed.
pub(super) fn spoken_grant(
    config: &Config,
    realms: &Realms,
    now: Now,
    (aor, method, target): (&str, &str, &str),
    signed: Hash,
) -> Option<Vec<u8>> {
    let (me, target) = (config.key.peer_id(), sha256(target.as_bytes()));
    let permit = Permit::Call { method: method.to_owned(), signed, target };
    Some(encode(&grant_for(me, realms, now, me, aor, permit)?))
}

/// The operator of this peer asks, as somebody of our own realm: whoever wants to know is charged to a realm.
pub(super) fn operator_grant(
    config: &Config,
    realms: &Realms,
    now: Now,
    target: &str,
) -> Option<(Vec<u8>, String)> {
    let operator = format!("operator@{}", config.realms.first()?);
    let grant = spoken_grant(config, realms, now, (&operator, "OPTIONS", target), Hash([0; 32]))?;
    Some((grant, operator))
}

/// Who called whom a moment ago: a home tells whether an account exists to who shows such a caller's grant.
pub(super) struct AskedFor(Cache<String, Caller>);

#[derive(Clone)]
struct Caller {
    at: Instant,
    aor: String,
    method: String,
    /// Of a foreign home; we make our own.
    grant: Option<Arc<[u8]>>,
}

impl Weight for Caller {
    fn heap_bytes(&self) -> usize {
        self.aor.capacity() + self.method.capacity() + self.grant.heap_bytes()
    }
}

/// A search follows its call at once.
const CALLER_LIFE: Duration = Duration::from_secs(30);
const CALLERS: Limits = Limits::new(4 << 20, 8_192);

impl Default for AskedFor {
    fn default() -> AskedFor {
        AskedFor(Cache::new(CALLERS))
    }
}

impl AskedFor {
    fn note(&mut self, now: Now, answer: &Answer, grant: Option<Arc<[u8]>>) {
        let Some(target) = answer.target.clone() else { return };
        let cause = Cause::new(Standing::Other).by(answer.aor.as_bytes());
        let caller = Caller { at: now.mono, aor: answer.aor.clone(), method: answer.method.clone(), grant };
        self.0.insert(cause, target, caller);
    }

    /// A grant for a request to `target` of a phone of ours, to show to the target's home, and the caller.
    pub fn grant(
        &self,
        config: &Config,
        realms: &Realms,
        now: Now,
        target: &str,
    ) -> Option<(Vec<u8>, String)> {
        let caller = self.0.get(target)?;
        if now.mono.saturating_duration_since(caller.at) > CALLER_LIFE {
            return None;
        }
        let given = caller.grant.as_ref().map(|grant| grant.to_vec());
        let grant = given.or_else(|| {
            // It is for the home's eyes and opens nothing, so it need not be the only one.
            let call = (caller.aor.as_str(), caller.method.as_str(), target);
            spoken_grant(config, realms, now, call, Hash([0; 32]))
        });
        grant.map(|grant| (grant, caller.aor.clone()))
    }
}

/// The SIP core's answer as the home wants it.
fn returned(answer: &dots_sip::auth::Answer, source: Hash) -> Answer {
    let (instance, target) = match &answer.purpose {
        Purpose::Register { instance } => (Some(instance.clone()), None),
        Purpose::Request { target } => (None, Some(target.clone())),
    };
    Answer {
        method: answer.method.clone(),
        username: answer.username.clone(),
        realm: answer.realm.clone(),
        nonce: answer.nonce.clone(),
        uri: answer.uri.clone(),
        response: answer.response.clone(),
        algorithm: answer.algorithm.clone(),
        qop: answer.qop.clone(),
        nc: answer.nc,
        cnonce: answer.cnonce.clone(),
        aor: answer.aor.clone(),
        instance,
        target,
        source,
    }
}

/// An account's name as a log line of a fixed form holds it: what could be read as another word of the line is escaped.
fn plain(aor: &str) -> String {
    const LONG: usize = 96;
    let mut text = String::new();
    for byte in aor.bytes().take(LONG) {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'.'
            | b'@'
            | b'-'
            | b'_'
            | b'+'
            | b'#'
            | b'*'
            | b'~' => {
                text.push(char::from(byte));
            }
            other => text += &format!("%{other:02X}"),
        }
    }
    text
}

fn failure(why: Refused) -> AuthFailure {
    match why {
        Refused::Wrong => AuthFailure::Wrong,
        Refused::Stale => AuthFailure::Stale,
        Refused::Forbidden => AuthFailure::Forbidden,
        Refused::Unavailable => AuthFailure::Unavailable,
    }
}

impl From<Refused> for AuthReply {
    fn from(why: Refused) -> AuthReply {
        match why {
            Refused::Wrong => AuthReply::Wrong,
            Refused::Stale => AuthReply::Stale,
            Refused::Forbidden => AuthReply::Forbidden,
            Refused::Unavailable => AuthReply::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    /// F33: whoever chooses a user name can't write another line, or another word of this one.
    #[test]
    fn a_name_in_the_log_is_one_word() {
        for (aor, shown) in [
            ("alice@a.net", "alice@a.net"),
            ("+49*30#1@a.net", "+49*30#1@a.net"),
            ("x address=192.0.2.9\n@a", "x%20address%3D192.0.2.9%0A@a"),
            ("\u{1b}[31m\u{e9}", "%1B%5B31m%C3%A9"),
        ] {
            assert_eq!(plain(aor), shown);
        }
        assert!(plain(&"\n".repeat(10_000)).len() < 300);
    }
}
