//! Challenges and answers: which home to ask for a phone of ours, and what to say when another peer asks us as the home.
//!
//! ```text
//!   phone ─ REGISTER ─▶ here: home of its realm?  yes ─▶ mint, account store, judge
//!                                                 no ──▶ nonce of the home (guest.rs) … answer ─▶ /dots/auth/1 ─▶ grant
//! ```
//!
//! A password never leaves its phone, and its digest never leaves the home: a serving peer returns the phone's answer to
//! the home that minted the nonce, and gets a grant that is worth nothing to anybody else.

use super::{
    Peer, Pending,
    account::Account,
    guest::NONCES_PER_FETCH,
    home,
    messages::{AnswerRecord, AuthReply, AuthRequest, VERSION},
};
use dots_overlay::{
    grant,
    records::{
        Grant, GrantProof, Permit, Scope,
        grant::{BIND_LIFE_MAX, GRANT_VERSION},
    },
    transport::{InboundId, Protocol, RequestError},
};
use dots_sip::{
    address::realm_of,
    auth::{Answer, AuthFailure, Challenge, Purpose, Vouch},
    input::AskId,
};
use dots_wire::{Hash, Now, PeerId, decode, encode, hmac_sha256, sha256};
use rand::Rng;
use serde_bytes::ByteBuf;
use std::net::IpAddr;

/// Nonces that one request may ask for.
const NONCES_MAX: u8 = 32;
/// Methods for which no call grant is asked: they exist inside a dialog or a transaction only, or have a grant of their own.
const UNGRANTED_METHODS: [&str; 6] = ["REGISTER", "ACK", "CANCEL", "BYE", "UPDATE", "PRACK"];

/// What an auth answer is for.
pub enum Asked {
    /// The account of an answer that a phone of ours gave; we are its home.
    Own { ask: AskId, answer: Box<Answer>, source: Hash },
    /// The account of an answer that a serving peer returned to us.
    Foreign { inbound: InboundId, serving: PeerId, answer: Box<Answer>, source: Hash },
    /// Nonces of a foreign realm.
    Nonces { realm: String, home: PeerId },
    /// A foreign home judges our phone's answer; its grant must be for this and nothing else.
    Home { ask: AskId, aor: String, permit: Permit },
}

impl Peer {
    pub(super) fn on_challenge(&mut self, now: Now, id: AskId, realm: String) {
        if self.config.is_home(&realm) {
            let random = self.outside.rng.random();
            let nonce = self.home.mint(now, self.me, random);
            return self.challenged(id, Ok(Challenge { realm, nonce }));
        }
        if self.home_of(now, &realm).is_none() {
            // A realm whose record has run out is not unknown: ask whoever held it.
            let failure = match self.ask_former_homes(now, &realm) {
                true => AuthFailure::Unavailable,
                false => AuthFailure::UnknownRealm,
            };
            return self.challenged(id, Err(failure));
        }
        match self.guest.take(now.mono, &realm) {
            Some(nonce) => {
                self.fetch_nonces(now, &realm);
                self.challenged(id, Ok(Challenge { realm, nonce }));
            }
            None => {
                self.fetch_nonces(now, &realm);
                if !self.guest.wait(&realm, id) {
                    self.challenged(id, Err(AuthFailure::Unavailable));
                }
            }
        }
    }

    fn challenged(&mut self, id: AskId, result: Result<Challenge, AuthFailure>) {
        self.outside.sip(dots_sip::Input::Challenge { id, result });
    }

    /// The home to ask for this realm: the first one that we are connected to, else the first.
    fn home_of(&self, now: Now, realm: &str) -> Option<PeerId> {
        let record = self.realms.lookup(realm, now.wall)?;
        let homes = || record.homes.iter().copied().filter(|h| *h != self.me);
        homes().find(|h| self.neighbours.contains(*h)).or_else(|| homes().next())
    }

    fn fetch_nonces(&mut self, now: Now, realm: &str) {
        let Some(home) = self.home_of(now, realm) else {
            return self.nonces_fetched(now, realm, self.me, Vec::new());
        };
        if !self.guest.wants_fetch(realm) {
            return;
        }
        let count = NONCES_PER_FETCH;
        let body = encode(&AuthRequest::Nonces { version: VERSION, realm: realm.to_owned(), count });
        self.outside.request(
            Pending::Auth(Asked::Nonces { realm: realm.to_owned(), home }),
            home,
            Protocol::Auth,
            body,
        );
    }

    pub(super) fn on_verify(&mut self, now: Now, ask: AskId, answer: Answer, source: IpAddr) {
        let source = self.source_name(source);
        if self.config.is_home(&answer.realm) {
            if !self.config.digest_of(&answer.realm).takes(&answer.algorithm) {
                return self.verified(ask, Err(AuthFailure::Wrong));
            }
            if let Err(failure) = self.home.admit(now, &answer, self.me, source) {
                return self.verified(ask, Err(failure));
            }
            let aor = home::account_name(&answer);
            return self
                .outside
                .account(Pending::Auth(Asked::Own { ask, answer: Box::new(answer), source }), aor);
        }
        // Only the home that minted this nonce can judge it; one that we do not remember is an old one.
        let Some(home) = self.guest.minted_by(&answer.nonce) else {
            return self.verified(ask, Err(AuthFailure::Stale));
        };
        let (aor, permit) = (answer.aor.clone(), permit(&answer));
        let answer = Box::new(AnswerRecord::new(&answer, source));
        let asked = Pending::Auth(Asked::Home { ask, aor, permit });
        let body = encode(&AuthRequest::Verify { version: VERSION, answer });
        self.outside.request(asked, home, Protocol::Auth, body);
    }

    fn verified(&mut self, id: AskId, result: Result<Vouch, AuthFailure>) {
        if result == Err(AuthFailure::Wrong) {
            self.outside.count("auth_wrong");
        }
        self.outside.sip(dots_sip::Input::Verified { id, result });
    }

    pub(super) fn on_auth_account(&mut self, now: Now, asked: Asked, account: Option<&Account>) {
        match asked {
            Asked::Own { ask, answer, source } => {
                let verdict = self.home.judge(now, &answer, self.me, source, account);
                // Nothing is signed here: a home needs no grant to bind phones of its own realm, and the grant of a
                // call is made when the call leaves for another peer.
                let not_after_ms = now.wall.plus(BIND_LIFE_MAX).0;
                let result = verdict.map(|()| Vouch { aor: answer.aor, grant: [].into(), not_after_ms });
                self.verified(ask, result);
            }
            Asked::Foreign { inbound, serving, answer, source } => {
                self.judge_foreign(now, inbound, serving, &answer, source, account);
            }
            Asked::Nonces { .. } | Asked::Home { .. } => {}
        }
    }

    /// There is no room for this question: the phone gets 503, a serving peer "unavailable".
    pub(super) fn on_auth_refused(&mut self, now: Now, asked: Asked) {
        match asked {
            Asked::Own { ask, .. } | Asked::Home { ask, .. } => {
                self.verified(ask, Err(AuthFailure::Unavailable));
            }
            Asked::Foreign { inbound, .. } => self.outside.respond(inbound, &AuthReply::Unavailable),
            Asked::Nonces { realm, home } => self.nonces_fetched(now, &realm, home, Vec::new()),
        }
    }

    /// `/dots/auth/2`, as the home.
    pub(super) fn on_auth_request(&mut self, now: Now, serving: PeerId, inbound: InboundId, body: &[u8]) {
        match decode::<AuthRequest>(body) {
            Ok(AuthRequest::Nonces { version: VERSION, realm, count }) => {
                if !self.config.is_home(&realm) {
                    return self.outside.respond(inbound, &AuthReply::Unavailable);
                }
                let randoms =
                    (0..count.min(NONCES_MAX)).map(|_| self.outside.rng.random()).collect::<Vec<_>>();
                let nonces = randoms.into_iter().map(|random| self.home.mint(now, serving, random)).collect();
                self.outside.respond(inbound, &AuthReply::Nonces { nonces });
            }
            Ok(AuthRequest::Verify { version: VERSION, answer }) => {
                let source = answer.source;
                match answer.into_answer() {
                    Some(answer) => self.admit_foreign(now, serving, inbound, answer, source),
                    None => self.outside.respond(inbound, &AuthReply::Forbidden),
                }
            }
            Ok(_) | Err(_) => {
                self.outside.count("bad_peer_message");
                self.outside.refuse_request(inbound);
            }
        }
    }

    fn admit_foreign(&mut self, now: Now, serving: PeerId, inbound: InboundId, answer: Answer, source: Hash) {
        let method_fits = match answer.purpose {
            Purpose::Register { .. } => answer.method == "REGISTER",
            Purpose::Request { .. } => !UNGRANTED_METHODS.contains(&answer.method.as_str()),
        };
        if !method_fits || !self.config.is_home(&answer.realm) {
            return self.outside.respond(inbound, &AuthReply::Forbidden);
        }
        if !self.config.digest_of(&answer.realm).takes(&answer.algorithm) {
            return self.outside.respond(inbound, &AuthReply::Wrong);
        }
        if let Err(failure) = self.home.admit(now, &answer, serving, source) {
            return self.outside.respond(inbound, &AuthReply::from(failure));
        }
        let aor = home::account_name(&answer);
        let answer = Box::new(answer);
        self.outside.account(Pending::Auth(Asked::Foreign { inbound, serving, answer, source }), aor);
    }

    fn judge_foreign(
        &mut self,
        now: Now,
        inbound: InboundId,
        serving: PeerId,
        answer: &Answer,
        source: Hash,
        account: Option<&Account>,
    ) {
        if let Err(failure) = self.home.judge(now, answer, serving, source, account) {
            if failure == AuthFailure::Wrong {
                self.outside.count("auth_wrong_elsewhere");
            }
            return self.outside.respond(inbound, &AuthReply::from(failure));
        }
        let roams = account.is_some_and(|a| a.roaming);
        let Some(grant) = self.grant_for(now, serving, &answer.aor, permit(answer)).filter(|_| roams) else {
            return self.outside.respond(inbound, &AuthReply::Forbidden);
        };
        if grant.is_bind() {
            let head = self.overlay.head_hash(serving);
            self.home.roaming_mut().granted(now.wall, &answer.aor, serving, grant.not_after, head);
        }
        if self.granting.push(now.mono, inbound, grant).is_err() {
            self.outside.respond(inbound, &AuthReply::Unavailable);
        }
    }

    /// What we, as a home of the AOR's realm, would sign. `None`: our own record is missing or lets `serving` serve
    /// nobody.
    fn grant_for(&self, now: Now, serving: PeerId, aor: &str, permit: Permit) -> Option<Grant> {
        let realm = realm_of(aor);
        let record = self.realms.lookup(realm, now.wall)?;
        if !record.is_home(self.me) || !record.may_serve(serving) {
            return None;
        }
        Some(Grant {
            version: GRANT_VERSION,
            not_after: now.wall.plus(permit.life_max()),
            permit,
            scope: Scope::Aor(record.aor_id(aor)),
            realm: record.id(),
            realm_seq: record.seq,
            home: self.me,
            serving,
            time: now.wall,
        })
    }

    /// A call grant of ours for a phone of ours, at once: the call waits for it.
    pub(super) fn own_call_grant(&self, now: Now, aor: &str, method: &str, target: &str) -> Option<Vec<u8>> {
        let grant = self.grant_for(now, self.me, aor, call_permit(method, target))?;
        let proof: GrantProof = grant::sign(&self.config.key, &[grant]).pop()?;
        Some(encode(&proof))
    }

    pub(super) fn sign_grants(&mut self, now: Now) {
        for (inbound, proof) in self.granting.sign_due(now.mono, &self.config.key) {
            self.outside.respond(inbound, &AuthReply::Granted { grant: ByteBuf::from(encode(&proof)) });
        }
    }

    /// A home answered us (or did not).
    pub(super) fn on_auth_reply(&mut self, now: Now, asked: Asked, result: Result<Vec<u8>, RequestError>) {
        let reply = result.ok().and_then(|body| decode::<AuthReply>(&body).ok());
        match asked {
            Asked::Nonces { realm, home } => {
                let nonces = match reply {
                    Some(AuthReply::Nonces { nonces }) => nonces,
                    _ => Vec::new(),
                };
                self.nonces_fetched(now, &realm, home, nonces);
                if self.guest.is_waiting(&realm) {
                    self.fetch_nonces(now, &realm);
                }
            }
            Asked::Home { ask, aor, permit } => {
                if let Some(AuthReply::Stale) = &reply {
                    self.guest.forget(realm_of(&aor));
                }
                let result = match reply {
                    Some(AuthReply::Granted { grant }) => self.check_grant(now, aor, &permit, &grant),
                    Some(AuthReply::Wrong) => Err(AuthFailure::Wrong),
                    Some(AuthReply::Stale) => Err(AuthFailure::Stale),
                    Some(AuthReply::Forbidden) => Err(AuthFailure::Forbidden),
                    Some(AuthReply::Unavailable | AuthReply::Nonces { .. }) | None => {
                        Err(AuthFailure::Unavailable)
                    }
                };
                self.verified(ask, result);
            }
            Asked::Own { .. } | Asked::Foreign { .. } => {}
        }
    }

    fn nonces_fetched(&mut self, now: Now, realm: &str, home: PeerId, nonces: Vec<String>) {
        for (id, nonce) in self.guest.fetched(now.mono, realm, home, nonces) {
            let challenge = nonce.map(|nonce| Challenge { realm: realm.to_owned(), nonce });
            self.challenged(id, challenge.ok_or(AuthFailure::Unavailable));
        }
    }

    /// A home's grant is kept, written down and shown to others: it is checked as they will check it.
    fn check_grant(
        &mut self,
        now: Now,
        aor: String,
        permit: &Permit,
        proof: &[u8],
    ) -> Result<Vouch, AuthFailure> {
        let realm = realm_of(&aor);
        let record = self.realms.lookup(realm, now.wall).ok_or(AuthFailure::Unavailable)?;
        let revoked = |aor, home| self.overlay.directory().revoked_before(aor, home);
        match grant::verify(proof, self.me, record, now.wall, revoked) {
            Ok(grant) if grant.is_for(record.aor_id(&aor)) && grant.permit == *permit => {
                Ok(Vouch { aor, grant: proof.into(), not_after_ms: grant.not_after.0 })
            }
            other => {
                tracing::warn!(%realm, why = ?other.err(), "a home sent a grant that does not hold");
                self.outside.count("bad_grant");
                Err(AuthFailure::Unavailable)
            }
        }
    }

    /// What we call the place of a phone: one address, or one IPv6 network, and nothing that others could read back.
    fn source_name(&self, source: IpAddr) -> Hash {
        let name = match source {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().iter().take(8).copied().collect(),
        };
        hmac_sha256(self.config.key.to_bytes().as_slice(), &[b"dots/source/1".as_slice(), &name].concat())
    }
}

fn permit(answer: &Answer) -> Permit {
    match &answer.purpose {
        Purpose::Register { instance } => Permit::Bind { instance: sha256(instance.as_bytes()) },
        Purpose::Request { target } => call_permit(&answer.method, target),
    }
}

fn call_permit(method: &str, target: &str) -> Permit {
    Permit::Call { method: method.to_owned(), target: sha256(target.as_bytes()) }
}

impl From<AuthFailure> for AuthReply {
    fn from(failure: AuthFailure) -> AuthReply {
        match failure {
            AuthFailure::Wrong => AuthReply::Wrong,
            AuthFailure::Stale => AuthReply::Stale,
            AuthFailure::Forbidden => AuthReply::Forbidden,
            AuthFailure::Unavailable | AuthFailure::UnknownRealm => AuthReply::Unavailable,
        }
    }
}
