//! REGISTER: challenge, verify, decide, write, answer. RFC 3261 §10.3.

use super::{Ask, Core, Hop, Now, ServerKey};
use crate::{
    Output,
    address::{AddressError, realm_of},
    auth::{AuthFailure, Challenge, ChallengeKind, Purpose, Vouch, answer_for, challenge_headers},
    input::AskId,
    message::{Message, Name},
    registrar::{BindingChange, Register, decide, needs_journal, ok_headers, vouch_for_refresh},
    uri::Uri,
};

impl Core {
    pub(super) fn on_register(&mut self, now: Now, key: &ServerKey, hop: &Hop, request: &Message) {
        // The overlay carries no REGISTER: phones register at peers, peers write logs.
        let Hop::Phone(flow) = hop else {
            return self.respond(now, key, 403, "Forbidden", &[]);
        };
        let source = flow.remote.ip();
        let to = request.to().map(|t| t.uri().to_owned()).unwrap_or_default();
        let aor = match self.config.addressing.canonical_aor(&to) {
            Ok(aor) => aor,
            Err(AddressError::Scheme) => return self.respond(now, key, 400, "Bad Address-of-Record", &[]),
            Err(_) => return self.respond(now, key, 404, "Not Found", &[]),
        };
        let realm = realm_of(&aor).to_owned();
        let mut register = match Register::read(request) {
            Ok(register) => register,
            Err(refusal) => return self.respond(now, key, refusal.status, refusal.reason, &refusal.headers),
        };
        register.server = self.server_of(&to);
        let purpose = Purpose::Register { instance: register.instance().to_owned() };
        match answer_for(request, ChallengeKind::Www, &realm, &aor, purpose) {
            Err(bad) => {
                let (status, reason) = bad.status();
                self.respond(now, key, status, reason, &[]);
            }
            Ok(None) => self.challenge(key, realm, true, false),
            Ok(Some(answer)) => {
                let nonce = answer.nonce.clone();
                let id = self.ask(Ask::Register { key: key.clone(), register, aor, nonce });
                self.out.push_back(Output::Verify { id, answer: Box::new(answer), source });
            }
        }
    }

    /// The host of a URI where it is one of ours: then all that the phone knows of us.
    fn server_of(&self, uri: &str) -> Option<String> {
        let uri = Uri::parse(uri).ok().filter(|u| self.config.addressing.is_own_host(u.host()))?;
        Some(uri.port().map_or_else(|| uri.host().to_owned(), |port| format!("{}:{port}", uri.host())))
    }

    pub(super) fn challenge(&mut self, key: &ServerKey, realm: String, www: bool, stale: bool) {
        let id = self.ask(Ask::Challenge { key: key.clone(), www, stale });
        self.out.push_back(Output::Challenge { id, realm });
    }

    pub(super) fn on_challenge(&mut self, now: Now, id: AskId, result: Result<Challenge, AuthFailure>) {
        let Some(Ask::Challenge { key, www, stale }) = self.asks.remove(&id) else { return };
        let kind = if www { ChallengeKind::Www } else { ChallengeKind::Proxy };
        match result {
            Ok(challenge) => {
                let agent = self.servers.get(&key).and_then(|tx| tx.request.header(&Name::UserAgent));
                let headers = challenge_headers(
                    kind,
                    &challenge,
                    stale,
                    self.config.digest_of(&challenge.realm).toward(agent),
                );
                self.respond(now, &key, kind.status(), kind.reason(), &headers);
            }
            Err(AuthFailure::Unavailable) => self.without_home(now, key, www),
            Err(failure) => self.refuse(now, &key, failure),
        }
    }

    /// No nonce can be had, so nobody can be asked to prove anything: what may go on without a new answer does.
    fn without_home(&mut self, now: Now, key: ServerKey, www: bool) {
        let Some(request) = self.servers.get(&key).map(|tx| tx.request.clone()) else { return };
        let aor_of = |uri: Option<&str>| self.config.addressing.canonical_aor(uri.unwrap_or_default()).ok();
        let unavailable = Err(AuthFailure::Unavailable);
        if www {
            let aor = aor_of(request.to().map(|to| to.uri()));
            if let (Some(aor), Ok(register)) = (aor, Register::read(&request)) {
                return self.on_register_verdict(now, key, register, aor, unavailable);
            }
        } else if let (Some(caller), Some(target)) =
            (aor_of(request.from().map(|from| from.uri())), aor_of(request.uri()))
        {
            return self.on_request_verdict(now, key, caller, target, unavailable);
        }
        self.refuse(now, &key, AuthFailure::Unavailable);
    }

    /// The password was wrong. The same nonce again: phones see from it that asking anew will not help (a new one sends
    /// some into a loop), and a corrected password answers it with the next count.
    fn challenge_again(
        &mut self,
        now: Now,
        key: &ServerKey,
        realm: &str,
        nonce: String,
        kind: ChallengeKind,
    ) {
        let agent = self.servers.get(key).and_then(|tx| tx.request.header(&Name::UserAgent));
        let challenge = Challenge { realm: realm.to_owned(), nonce };
        let headers =
            challenge_headers(kind, &challenge, false, self.config.digest_of(&challenge.realm).toward(agent));
        self.respond(now, key, kind.status(), kind.reason(), &headers);
    }

    pub(super) fn refuse(&mut self, now: Now, key: &ServerKey, failure: AuthFailure) {
        match failure {
            AuthFailure::Forbidden => self.respond(now, key, 403, "Forbidden", &[]),
            AuthFailure::UnknownRealm => self.respond(now, key, 404, "Not Found", &[]),
            AuthFailure::Unavailable | AuthFailure::Wrong | AuthFailure::Stale => {
                let headers = [("Retry-After", "10".to_owned())];
                self.respond(now, key, 503, "Service Unavailable", &headers);
            }
        }
    }

    pub(super) fn on_verified(&mut self, now: Now, id: AskId, result: Result<Vouch, AuthFailure>) {
        match self.asks.remove(&id) {
            Some(Ask::Register { key, register, aor, nonce }) => match result {
                Err(AuthFailure::Wrong) => {
                    self.challenge_again(now, &key, realm_of(&aor), nonce, ChallengeKind::Www)
                }
                result => self.on_register_verdict(now, key, register, aor, result),
            },
            Some(Ask::Request { key, caller, target, nonce }) => match result {
                Err(AuthFailure::Wrong) => {
                    self.challenge_again(now, &key, realm_of(&caller), nonce, ChallengeKind::Proxy)
                }
                result => self.on_request_verdict(now, key, caller, target, result),
            },
            _ => {}
        }
    }

    fn on_register_verdict(
        &mut self,
        now: Now,
        key: ServerKey,
        register: Register,
        aor: String,
        result: Result<Vouch, AuthFailure>,
    ) {
        let Some(Hop::Phone(flow)) = self.servers.get(&key).map(|tx| tx.hop.clone()) else { return };
        let vouch = match result {
            Ok(vouch) => vouch,
            Err(AuthFailure::Stale) => return self.challenge(&key, realm_of(&aor).to_owned(), true, true),
            Err(failure) => {
                // Home unreachable: a refresh that changes nothing is honoured while its grant lasts.
                let old = vouch_for_refresh(&register, &flow, &aor, &self.bindings, now.wall_ms);
                match (failure, old) {
                    (AuthFailure::Unavailable, Some(vouch)) => vouch,
                    (failure, _) => return self.refuse(now, &key, failure),
                }
            }
        };
        let rules = self.config.expiry;
        let decision = match decide(&register, flow, &aor, &self.bindings, &vouch, &rules, now.wall_ms) {
            Ok(decision) => decision,
            Err(refusal) => return self.respond(now, &key, refusal.status, refusal.reason, &refusal.headers),
        };
        if !self.bindings.apply(&decision.change) {
            self.count("registrar_full");
            return self.refuse(now, &key, AuthFailure::Unavailable);
        }
        let headers = ok_headers(&register, &decision, &self.bindings, now.wall_ms);
        if needs_journal(&decision.change) {
            let id = self.ask(Ask::Journal { key, headers });
            self.out.push_back(Output::Journal { id, change: decision.change });
        } else {
            self.respond(now, &key, 200, "OK", &headers);
        }
    }

    pub(super) fn on_unbind(&mut self, aor: &str) {
        let removed: Vec<String> = self.bindings.of(aor).map(|b| b.instance.clone()).collect();
        if removed.is_empty() {
            return;
        }
        let change = BindingChange { aor: aor.to_owned(), put: Vec::new(), removed };
        let _has_room = self.bindings.apply(&change); // a removal always has
        self.out.push_back(Output::Expired { change });
    }

    pub(super) fn on_journaled(&mut self, now: Now, id: AskId) {
        if let Some(Ask::Journal { key, headers }) = self.asks.remove(&id) {
            self.count("registrations");
            self.respond(now, &key, 200, "OK", &headers);
        }
    }
}
