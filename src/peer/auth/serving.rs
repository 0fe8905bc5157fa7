//! As the peer that a phone's answer came to: it goes to the home whose lease it names, which may be ourselves, and what the home
//! says is checked as others will check it.

use super::{Authenticator, line};
use crate::peer::{
    asks::{AuthQuestion, Pending},
    messages::{AuthReply, AuthRequest, VERSION},
    patience,
};
use dots_overlay::{grant, records::Permit, transport::Protocol};
use dots_sip::{
    address::realm_of,
    auth::{AuthFailure, Purpose, Vouch},
    ids::AskId,
};
use dots_trust::{answer::Answer, brakes::Via, judge::Refused, lease::place};
use dots_wire::{Hash, bounded::network_of, encode, hmac_sha256};
use std::net::IpAddr;

impl Authenticator<'_> {
    pub fn on_verify(&mut self, ask: AskId, answer: dots_sip::auth::Answer, phone: IpAddr) {
        // One that we do not remember, or gave to another address: whatever the password, challenge anew.
        let Some(home) = self.auth.guest.judge_of(&answer.realm, &answer.nonce, phone) else {
            self.outside.count("auth_stale");
            return self.verified(ask, Err(AuthFailure::Stale));
        };
        let answer = Box::new(returned(answer, self.source_name(phone)));
        let Some(permit) = answer.permit() else { return self.verified(ask, Err(AuthFailure::Forbidden)) };
        if home != self.me {
            // What the home refuses without a look costs no question.
            if answer.account() != answer.aor {
                return self.refused_here(ask, &answer.aor, phone, Refused::Forbidden);
            }
            // AUTH-6a: a guesser here must not spend what the home allows to all phones of this peer.
            if !self.auth.visitors.may_ask(self.now.mono, &answer.aor, phone) {
                self.outside.count("auth_visitors_braked");
                return self.verified(ask, Err(AuthFailure::Unavailable));
            }
            let body = encode(&AuthRequest::Verify { version: VERSION, answer: answer.clone() });
            let (since, is_hurried) = (self.now.mono, patience::is_hurried(&permit));
            let asked = Pending::Auth(AuthQuestion::Home { ask, answer, permit, phone, home, since });
            let id = self.outside.request(asked, home, Protocol::Auth, body);
            if is_hurried {
                self.outside.asks.look_at(id, patience::first_look(since));
            }
            return;
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

    pub(super) fn verified(&mut self, id: AskId, result: Result<Vouch, AuthFailure>) {
        self.outside.sip(dots_sip::Input::Verified { id, result });
    }

    /// AUTH-7: a phone's answer was not taken. `phone`: where the nonce had been given to, so the line accuses nobody else.
    pub(super) fn refused_here(&mut self, ask: AskId, aor: &str, phone: IpAddr, why: Refused) {
        if why == Refused::Wrong {
            self.outside.count("auth_wrong");
            line::refused_password(aor, phone);
        }
        self.verified(ask, Err(failure(why)));
    }

    /// What the home of this answer said, if anything.
    pub(super) fn on_home_reply(
        &mut self,
        ask: AskId,
        answer: &Answer,
        permit: &Permit,
        phone: IpAddr,
        reply: Option<AuthReply>,
    ) {
        let refused = match reply {
            Some(AuthReply::Granted { grant }) => {
                let result = self.check_grant(&answer.aor, permit, &grant);
                if let Ok(vouch) = &result {
                    self.auth.visitors.was_right(self.now.mono, &answer.aor, phone);
                    self.auth.asked_for.note(self.now, answer, phone, Some(vouch.grant.clone()));
                }
                return self.verified(ask, result);
            }
            Some(AuthReply::Wrong) => {
                self.auth.visitors.was_wrong(self.now.mono, &answer.aor, phone);
                Refused::Wrong
            }
            Some(AuthReply::Stale) => {
                self.auth.guest.doubt(self.now.mono, &answer.realm, &answer.nonce);
                Refused::Stale
            }
            Some(AuthReply::Forbidden) => Refused::Forbidden,
            Some(AuthReply::Unavailable | AuthReply::Lease { .. }) | None => Refused::Unavailable,
        };
        self.refused_here(ask, &answer.aor, phone, refused);
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

/// The SIP core's answer as the home wants it.
fn returned(answer: dots_sip::auth::Answer, source: Hash) -> Answer {
    let (instance, target) = match answer.purpose {
        Purpose::Register { instance } => (Some(instance), None),
        Purpose::Request { target } => (None, Some(target)),
    };
    Answer {
        method: answer.method,
        username: answer.username,
        realm: answer.realm,
        nonce: answer.nonce,
        uri: answer.uri,
        response: answer.response,
        algorithm: answer.algorithm,
        qop: answer.qop,
        nc: answer.nc,
        cnonce: answer.cnonce,
        aor: answer.aor,
        instance,
        target,
        source,
    }
}

fn failure(why: Refused) -> AuthFailure {
    match why {
        Refused::Wrong => AuthFailure::Wrong,
        Refused::Stale => AuthFailure::Stale,
        Refused::Forbidden => AuthFailure::Forbidden,
        Refused::Unavailable => AuthFailure::Unavailable,
    }
}
