//! One REGISTER from its arrival to its answer (RFC 3261 §10.3): challenge, verify, decide, write, answer.
//!
//! ```text
//!   no credentials ─▶ Challenging ─ a nonce ─▶ 401, and nothing is kept
//!   credentials ────▶ Verifying ─ vouched for ─▶ Writing ─ on disk ─▶ 200 ─▶ Done
//!                        │                          └ nothing to write ─▶ 200 ─▶ Done
//!                        └ wrong, stale ─▶ 401, and nothing is kept
//! ```

use super::{
    AskedContact, BindingChange, Bindings, ContactRule, Contacts, Register, decide, needs_journal,
    ok_headers, vouch_for_refresh,
};
use crate::{
    Flow, Output,
    address::{AddressError, realm_of},
    agent,
    auth::{AuthFailure, Challenge, ChallengeKind, Purpose, Vouch, answer_for, challenge_headers},
    cx::Cx,
    hop::Hop,
    ids::AskId,
    limits::{CHALLENGES_MAX, PROBES_MAX, RETRY_AFTER_UNAVAILABLE_S},
    location::Place,
    message::Name,
    status::{self, Status},
    transaction::{NewRequest, Standing, Transactions, User},
    uri::Uri,
};
use std::{collections::BTreeMap, net::SocketAddr};

pub(crate) struct Registrar {
    bindings: Bindings,
    sessions: BTreeMap<AskId, Session>,
    /// Sessions that wait for a nonce and hold no transaction yet.
    challenging: usize,
    /// Foreign phones that were asked whether they listen where they say.
    probes: BTreeMap<AskId, Probe>,
}

struct Probe {
    aor: String,
    instance: String,
    at: SocketAddr,
}

/// More is not sent to a port that has not answered yet.
const PROBE_BYTES_MAX: usize = 500;

struct Session {
    new: NewRequest,
    standing: Standing,
    flow: Flow,
    aor: String,
    register: Register,
    phase: Phase,
}

enum Phase {
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

impl Registrar {
    pub fn new() -> Registrar {
        Registrar {
            bindings: Bindings::new(),
            sessions: BTreeMap::new(),
            challenging: 0,
            probes: BTreeMap::new(),
        }
    }

    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    pub fn bindings_mut(&mut self) -> &mut Bindings {
        &mut self.bindings
    }

    /// Is a phone bound on this flow?
    pub fn knows(&self, flow: &Flow) -> bool {
        self.bindings.by_flow(flow).next().is_some()
    }

    /// Where the phones of an AOR are, best `q` first; those that cannot be reached now come too, and say so.
    pub fn places(&self, aor: &str, now_ms: u64) -> Vec<Place> {
        let mut places: Vec<Place> = self
            .bindings
            .of(aor)
            .map(|binding| {
                let is_live = binding.expires_at_ms > now_ms;
                Place::of(binding, is_live && self.bindings.is_reachable(aor, &binding.instance))
            })
            .collect();
        places.sort_by_key(|place| std::cmp::Reverse(place.q));
        places
    }

    pub fn is_quiet(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A REGISTER from a phone.
    pub fn on_register(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        new: NewRequest,
        standing: Standing,
    ) {
        // The overlay carries no REGISTER: phones register at peers, peers write logs.
        let Hop::Phone(flow) = new.hop else { return refuse(cx, tx, &new, status::FORBIDDEN, &[]) };
        let to = new.request.to().map(|t| t.uri().to_owned()).unwrap_or_default();
        let aor = match cx.addressing().canonical_aor(&to) {
            Ok(aor) => aor,
            Err(AddressError::Scheme) => {
                return refuse(cx, tx, &new, Status(400, "Bad Address-of-Record"), &[]);
            }
            Err(_) => return refuse(cx, tx, &new, status::NOT_FOUND, &[]),
        };
        let mut register = match Register::read(&new.request) {
            Ok(register) => register,
            Err(bad) => return refuse(cx, tx, &new, Status(bad.status, bad.reason), &bad.headers),
        };
        let realm = realm_of(&aor).to_owned();
        register.server = server_of(cx, &to);
        register.find(&new.request, &flow, cx.ours());
        register.rule = rule_of(cx, &realm);
        let purpose = Purpose::Register { instance: register.instance().to_owned() };
        let id = cx.session();
        match answer_for(cx.addressing(), &new.request, ChallengeKind::Www, (&realm, &aor), purpose) {
            Err(bad) => {
                let (status, reason) = bad.status();
                refuse(cx, tx, &new, Status(status, reason), &[]);
            }
            Ok(None) if self.challenging >= CHALLENGES_MAX => cx.count("challenges_dropped"),
            Ok(None) => {
                let phase = Phase::Challenging { stale: false };
                self.begin(id, Session { new, standing, flow, aor, register, phase });
                cx.out(Output::Challenge { id, realm, source: flow.remote.ip() });
            }
            Ok(Some(answer)) => {
                if tx.accept(cx, &new, User::Registrar(id), standing) {
                    let phase = Phase::Verifying { nonce: answer.nonce.clone() };
                    let source = flow.remote.ip();
                    self.begin(id, Session { new, standing, flow, aor, register, phase });
                    cx.out(Output::Verify { id, answer: Box::new(answer), source });
                }
            }
        }
    }

    /// `false`: this number is not of a session here.
    pub fn on_challenge(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        result: Result<Challenge, AuthFailure>,
    ) {
        self.with(id, |session, bindings| {
            let Phase::Challenging { stale } = session.take_phase() else { return };
            match result {
                Ok(challenge) => session.challenge(cx, tx, &challenge, stale),
                // No nonce can be had, so nobody can be asked to prove anything: what may go on without does.
                Err(AuthFailure::Unavailable) => {
                    let is_open = tx.is_open(session.new.key)
                        || tx.accept(cx, &session.new, User::Registrar(id), session.standing);
                    if is_open {
                        session.without_home(cx, tx, id, bindings);
                    }
                }
                Err(failure) => session.fail(cx, tx, failure),
            }
        });
    }

    pub fn on_verified(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        result: Result<Vouch, AuthFailure>,
    ) {
        self.with(id, |session, bindings| {
            let Phase::Verifying { nonce } = session.take_phase() else { return };
            match result {
                Ok(vouch) => {
                    cx.proved(&session.flow);
                    session.write(cx, tx, id, bindings, &vouch);
                }
                // The same nonce again: phones see from it that asking anew will not help (a new one sends some into a
                // loop), and a corrected password answers it with the next count.
                Err(AuthFailure::Wrong) => {
                    let challenge = Challenge { realm: realm_of(&session.aor).to_owned(), nonce };
                    session.challenge(cx, tx, &challenge, false);
                }
                Err(AuthFailure::Stale) => {
                    let (realm, source) = (realm_of(&session.aor).to_owned(), session.flow.remote.ip());
                    cx.out(Output::Challenge { id, realm, source });
                    session.phase = Phase::Challenging { stale: true };
                }
                Err(AuthFailure::Unavailable) => session.without_home(cx, tx, id, bindings),
                Err(failure) => session.fail(cx, tx, failure),
            }
        });
    }

    /// The change is on disk: its 200 may go.
    pub fn on_journaled(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, id: AskId) {
        let mut unproven = Vec::new();
        self.with(id, |session, bindings| {
            let Phase::Writing { headers } = session.take_phase() else { return };
            cx.count("registrations");
            session.ok(cx, tx, &headers);
            unproven = session.unproven(bindings);
        });
        for (aor, instance, at) in unproven {
            self.probe(cx, tx, Probe { aor, instance, at });
        }
    }

    /// Asks a foreign phone for a sign of life where it says that it listens (an OPTIONS of less than 500 bytes, with our
    /// branch): until it answers it is reached on its flow alone.
    fn probe(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, probe: Probe) {
        let Some(binding) = self.bindings.by_instance(&probe.aor, &probe.instance) else { return };
        if self.probes.len() >= PROBES_MAX {
            return;
        }
        let flow = Flow { remote: probe.at, ..binding.flow };
        let (outgoing, id) = (agent::options(cx, binding, flow), cx.session());
        if let Some(outgoing) = outgoing.filter(|asked| asked.request.raw().len() <= PROBE_BYTES_MAX)
            && tx.request(cx, outgoing, User::Listening(id)).is_some()
        {
            self.probes.insert(id, probe);
        }
    }

    /// News of a probe. Whatever comes back is life.
    pub fn on_probed(&mut self, id: AskId, answered: bool) {
        if let Some(probe) = self.probes.remove(&id).filter(|_| answered) {
            self.bindings.set_listens(&probe.aor, &probe.instance, probe.at);
        }
    }

    /// The account is gone or has a new password.
    pub fn unbind(&mut self, cx: &mut Cx<'_>, aor: &str) {
        let removed: Vec<String> = self.bindings.of(aor).map(|b| b.instance.clone()).collect();
        if removed.is_empty() {
            return;
        }
        let change = BindingChange { aor: aor.to_owned(), put: Vec::new(), removed };
        let fits = self.bindings.apply(&change);
        assert!(fits, "a removal always has room");
        cx.out(Output::Expired { change });
    }

    fn begin(&mut self, id: AskId, session: Session) {
        self.challenging += usize::from(session.is_challenging());
        let before = self.sessions.insert(id, session);
        assert!(before.is_none(), "a session's number is used once");
    }

    /// Lets a session do something, and forgets it when it is done. One that is unknown has ended before.
    fn with(&mut self, id: AskId, act: impl FnOnce(&mut Session, &mut Bindings)) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let was_challenging = session.is_challenging();
        act(session, &mut self.bindings);
        self.challenging =
            self.challenging + usize::from(session.is_challenging()) - usize::from(was_challenging);
        if matches!(session.phase, Phase::Done) {
            self.sessions.remove(&id);
        }
    }
}

impl Session {
    fn is_challenging(&self) -> bool {
        matches!(self.phase, Phase::Challenging { .. })
    }

    /// What is not put back is done.
    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Done)
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
    fn without_home(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, id: AskId, bindings: &mut Bindings) {
        match vouch_for_refresh(&self.register, &self.flow, &self.aor, bindings, cx.now.wall_ms) {
            Some(vouch) => self.write(cx, tx, id, bindings, &vouch),
            None => self.fail(cx, tx, AuthFailure::Unavailable),
        }
    }

    /// Decides, and makes the change at once, for the next REGISTER must see it; its 200 waits for the disk.
    fn write(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        bindings: &mut Bindings,
        vouch: &Vouch,
    ) {
        let rules = cx.config().expiry;
        let now_ms = cx.now.wall_ms;
        let decision = match decide(&self.register, self.flow, &self.aor, bindings, vouch, &rules, now_ms) {
            Ok(decision) => decision,
            Err(no) => {
                let answer = cx.answer(&self.new.request, Status(no.status, no.reason), &no.headers);
                return tx.respond(cx, self.new.key, no.status, answer);
            }
        };
        if !bindings.apply(&decision.change) {
            cx.count("registrar_full");
            return self.fail(cx, tx, AuthFailure::Unavailable);
        }
        let headers = ok_headers(&self.register, &decision, bindings, now_ms);
        if needs_journal(&decision.change) {
            cx.out(Output::Journal { id, change: decision.change });
            self.phase = Phase::Writing { headers };
        } else {
            self.ok(cx, tx, &headers);
        }
    }

    /// Bound phones whose other port has not answered yet.
    fn unproven(&self, bindings: &Bindings) -> Vec<(String, String, SocketAddr)> {
        let Contacts::Some(asked) = &self.register.contacts else { return Vec::new() };
        let unproven = |contact: &AskedContact| {
            let bound = bindings.by_instance(&self.aor, &contact.instance)?;
            let at = contact.listens.filter(|at| bound.listens != Some(*at))?;
            Some((self.aor.clone(), contact.instance.clone(), at))
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

/// A final answer to one who has proved nothing: nothing is kept.
fn refuse(
    cx: &mut Cx<'_>,
    tx: &mut Transactions,
    new: &NewRequest,
    status: Status,
    headers: &[(&str, String)],
) {
    let answer = cx.answer(&new.request, status, headers);
    tx.refuse(cx, new, answer);
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
