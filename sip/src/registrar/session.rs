//! One REGISTER from its arrival to its answer (RFC 3261 §10.3): challenge, verify, decide, write, answer.
//!
//! ```text
//!   no credentials ─▶ Challenging ─ a nonce ─▶ 401, and nothing is kept
//!   credentials ────▶ Verifying ─ vouched for ─▶ Writing ─ on disk ─▶ 200 ─▶ Done
//!                        │                          └ nothing to write ─▶ 200 ─▶ Done
//!                        └ wrong, stale ─▶ 401, and nothing is kept
//! ```

use super::{
    AskedContact, Bindings, ContactRule, Contacts, Refusal, Register, decide, needs_journal, ok_headers,
    probes::Probe, room, vouch_for_refresh,
};
use crate::{
    Flow, Output, Transport,
    address::realm_of,
    auth::{AuthFailure, Challenge, ChallengeKind, Vouch, challenge_headers},
    cx::Cx,
    ids::AskId,
    limits::RETRY_AFTER_UNAVAILABLE_S,
    message::{Message, Name},
    status::{self, Status},
    transaction::{NewRequest, Standing, Transactions, User},
    uri::Uri,
    waiting::Wait,
};

pub(super) struct Session {
    pub id: AskId,
    pub new: NewRequest,
    pub standing: Standing,
    pub flow: Flow,
    pub aor: String,
    /// Read when somebody is about to judge it: most of what comes without credentials comes back with them.
    pub register: Option<Register>,
    pub phase: Phase,
    /// While it waits for its first nonce, and holds no transaction: whose room it takes.
    pub wait: Option<Wait>,
}

/// What it waits for. An answer that it does not wait for leaves it as it is; one that it waits for ends the phase, and what does
/// not begin another is done.
pub(super) enum Phase {
    /// For a nonce. No transaction is open, unless it was stale.
    Challenging {
        stale: bool,
    },
    /// For the home's word on this answer.
    Verifying {
        nonce: String,
    },
    /// For the disk; the 200 is made.
    Writing {
        headers: Vec<(&'static str, String)>,
    },
    Done,
}

impl Session {
    pub fn is_challenging(&self) -> bool {
        matches!(self.phase, Phase::Challenging { .. })
    }

    pub fn on_challenge(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        bindings: &mut Bindings,
        result: Result<Challenge, AuthFailure>,
    ) {
        let Phase::Challenging { stale } = self.phase else { return };
        self.phase = Phase::Done;
        match result {
            Ok(challenge) => self.challenge(cx, tx, &challenge, stale),
            // No nonce can be had, so nobody can be asked to prove anything: what may go on without does.
            Err(AuthFailure::Unavailable) => {
                let is_open = tx.is_open(self.new.key)
                    || tx.accept(cx, &self.new, User::Registrar(self.id), self.standing);
                if is_open {
                    self.without_home(cx, tx, bindings);
                }
            }
            Err(failure) => self.fail(cx, tx, failure),
        }
    }

    pub fn on_verified(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        bindings: &mut Bindings,
        result: Result<Vouch, AuthFailure>,
    ) {
        let Phase::Verifying { nonce } = &mut self.phase else { return };
        let nonce = std::mem::take(nonce);
        self.phase = Phase::Done;
        match result {
            Ok(vouch) => {
                cx.proved(&self.flow);
                self.write(cx, tx, bindings, &vouch);
            }
            // The same nonce again: phones see from it that asking anew will not help (a new one sends some into a
            // loop), and a corrected password answers it with the next count.
            Err(AuthFailure::Wrong) => {
                let challenge = Challenge { realm: realm_of(&self.aor).to_owned(), nonce };
                self.challenge(cx, tx, &challenge, false);
            }
            Err(AuthFailure::Stale) => {
                let (realm, source) = (realm_of(&self.aor).to_owned(), self.flow.remote.ip());
                cx.out(Output::Challenge { id: self.id, realm, source });
                self.phase = Phase::Challenging { stale: true };
            }
            Err(AuthFailure::Unavailable) => self.without_home(cx, tx, bindings),
            Err(failure) => self.fail(cx, tx, failure),
        }
    }

    /// The change is on disk: its 200 goes. Returned are ports of foreign phones that have not answered yet.
    pub fn on_journaled(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        bindings: &Bindings,
    ) -> Vec<Probe> {
        let Phase::Writing { headers } = &mut self.phase else { return Vec::new() };
        let headers = std::mem::take(headers);
        self.phase = Phase::Done;
        cx.count("registrations");
        self.ok(cx, tx, &headers);
        self.unproven(bindings)
    }

    /// 401, and the session is over: the nonce carries all state.
    fn challenge(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, challenge: &Challenge, stale: bool) {
        let agent = self.new.request.header(&Name::UserAgent);
        let kind = ChallengeKind::Www;
        let offer = cx.config().digest_of(&challenge.realm).toward(agent);
        let headers = challenge_headers(kind, challenge, stale, offer);
        refuse(cx, tx, &self.new, Status(kind.status(), kind.reason()), &headers);
    }

    /// The home cannot be asked: a refresh that changes nothing is honoured while its grant lasts.
    fn without_home(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, bindings: &mut Bindings) {
        let register = match self.register.take() {
            Some(register) => Ok(register),
            None => read(cx, &self.new.request, &self.flow, realm_of(&self.aor)),
        };
        let Ok(register) = register else { return self.fail(cx, tx, AuthFailure::Unavailable) };
        let vouch = vouch_for_refresh(&register, &self.flow, &self.aor, bindings, cx.now.wall_ms);
        self.register = Some(register);
        match vouch {
            Some(vouch) => self.write(cx, tx, bindings, &vouch),
            None => self.fail(cx, tx, AuthFailure::Unavailable),
        }
    }

    /// Decides, and makes the change at once, for the next REGISTER must see it; its 200 waits for the disk.
    fn write(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, bindings: &mut Bindings, vouch: &Vouch) {
        let rules = cx.config().expiry;
        let now_ms = cx.now.wall_ms;
        let register = self.register.as_ref().expect("what is judged was read");
        let decided = decide(register, self.flow, &self.aor, bindings, vouch, &rules, now_ms);
        let is_own = register.rule != ContactRule::Foreign;
        let made = decided.and_then(|decision| match bindings.apply(&decision.change, is_own) {
            Ok(()) => Ok(decision),
            Err(why) => {
                cx.count("registrar_over_share");
                Err(room::refusal(why))
            }
        });
        let decision = match made {
            Ok(decision) => decision,
            Err(no) => {
                let answer = cx.answer(&self.new.request, Status(no.status, no.reason), &no.headers);
                return tx.respond(cx, self.new.key, no.status, answer);
            }
        };
        let headers = ok_headers(register, &decision, bindings, now_ms);
        if needs_journal(&decision.change) {
            cx.out(Output::Journal { id: self.id, change: decision.change });
            self.phase = Phase::Writing { headers };
        } else {
            self.ok(cx, tx, &headers);
        }
    }

    /// Bound phones whose other port has not answered yet.
    fn unproven(&self, bindings: &Bindings) -> Vec<Probe> {
        let Some(Contacts::Some(asked)) = self.register.as_ref().map(|register| &register.contacts) else {
            return Vec::new();
        };
        let unproven = |contact: &AskedContact| {
            // For a foreign phone no connection is opened, not even to ask.
            let at = contact.listens.filter(|at| at.transport == Transport::Udp)?;
            bindings.by_instance(&self.aor, &contact.instance).filter(|bound| bound.listens != Some(at))?;
            Some(Probe { aor: self.aor.clone(), instance: contact.instance.clone(), at })
        };
        asked.iter().filter_map(unproven).collect()
    }

    fn ok(&self, cx: &mut Cx<'_>, tx: &mut Transactions, headers: &[(&'static str, String)]) {
        let answer = cx.answer(&self.new.request, status::OK, headers);
        tx.respond(cx, self.new.key, status::OK.0, answer);
    }

    fn fail(&self, cx: &mut Cx<'_>, tx: &mut Transactions, failure: AuthFailure) {
        let retry = [("Retry-After", RETRY_AFTER_UNAVAILABLE_S.to_owned())];
        let (status, headers): (Status, &[(&str, String)]) = match failure {
            AuthFailure::Forbidden => (status::FORBIDDEN, &[]),
            AuthFailure::UnknownRealm => (status::NOT_FOUND, &[]),
            AuthFailure::Unavailable | AuthFailure::Wrong | AuthFailure::Stale => {
                (status::SERVICE_UNAVAILABLE, &retry)
            }
        };
        refuse(cx, tx, &self.new, status, headers);
    }
}

/// A REGISTER, and where its phones would be reached.
pub(super) fn read(cx: &Cx<'_>, request: &Message, flow: &Flow, realm: &str) -> Result<Register, Refusal> {
    let mut register = Register::read(request)?;
    register.server = request.to().and_then(|to| server_of(cx, to.uri()));
    register.find(request, flow, cx.ours());
    register.rule = rule_of(cx, realm);
    Ok(register)
}

fn rule_of(cx: &Cx<'_>, realm: &str) -> ContactRule {
    match (cx.addressing().local_realms.contains(realm), cx.config().contacts_any.contains(realm)) {
        (true, true) => ContactRule::Any,
        (true, false) => ContactRule::Own,
        (false, _) => ContactRule::Foreign,
    }
}

/// The host of a URI where it is one of ours: then all that the phone knows of us.
fn server_of(cx: &Cx<'_>, uri: &str) -> Option<String> {
    let uri = Uri::parse(uri).ok().filter(|u| cx.addressing().is_own_host(u.host()))?;
    Some(uri.port().map_or_else(|| uri.host().to_owned(), |port| format!("{}:{port}", uri.host())))
}

/// A final answer to one who has proved nothing: nothing is kept.
pub(super) fn refuse(
    cx: &mut Cx<'_>,
    tx: &mut Transactions,
    new: &NewRequest,
    status: Status,
    headers: &[(&str, String)],
) {
    let answer = cx.answer(&new.request, status, headers);
    tx.refuse(cx, new, answer);
}
