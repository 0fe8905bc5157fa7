//! As the home of a realm: other peers ask for leases and return answers (`/dots/auth/2`), our own phones' answers are judged here,
//! and whoever was right gets what he may have: a word to the registrar at home, a grant elsewhere.

use super::Authenticator;
use crate::peer::{
    Config,
    account::Account,
    asks::{AuthQuestion, Pending},
    messages::{AuthReply, AuthRequest, VERSION},
    notes::{self, Note},
    output::Stream,
};
use dots_overlay::{
    names::Realms,
    records::{
        Grant, Permit, Scope,
        grant::{BIND_LIFE_MAX, GRANT_VERSION},
    },
    transport::InboundId,
};
use dots_sip::{address::realm_of, auth::Vouch, ids::AskId};
use dots_trust::{
    answer::Answer,
    brakes::Via,
    judge::{Admitted, Refused, StoreDown},
};
use dots_wire::{
    Hash, Now, PeerId,
    bounded::{Cause, Standing, network_of},
    decode, encode, sha256,
};
use rand::Rng;
use serde_bytes::ByteBuf;
use std::net::IpAddr;

impl Authenticator<'_> {
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

    /// A phone of ours, by what the account store said.
    pub(super) fn judge_own(
        &mut self,
        ask: AskId,
        admitted: &Admitted,
        phone: IpAddr,
        account: Result<Option<&Account>, StoreDown>,
    ) {
        let aor = admitted.answer.aor.clone();
        match self.auth.judge.judge(self.now, admitted, account) {
            // Nothing is signed here: a home needs no grant to bind phones of its own realm, and the grant of a
            // call is made when the call leaves for another peer.
            Ok(()) => {
                self.auth.asked_for.note(self.now, &admitted.answer, phone, None);
                let not_after_ms = self.now.wall.plus(BIND_LIFE_MAX).0;
                self.verified(ask, Ok(Vouch { aor, grant: [].into(), not_after_ms }));
            }
            Err(why) => self.refused_here(ask, &aor, phone, why),
        }
    }

    pub(super) fn judge_foreign(
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
        let cause = Cause { network: via.network, ..Cause::new(Standing::Other) }.by(&via.serving.to_bytes());
        if self.auth.granting.push(self.now.mono, inbound, grant, cause).is_err() {
            self.outside.respond(inbound, &AuthReply::Unavailable);
        }
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
pub fn spoken_grant(
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
pub fn operator_grant(config: &Config, realms: &Realms, now: Now, target: &str) -> Option<(Vec<u8>, String)> {
    let operator = format!("operator@{}", config.realms.first()?);
    let grant = spoken_grant(config, realms, now, (&operator, "OPTIONS", target), Hash([0; 32]))?;
    Some((grant, operator))
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
