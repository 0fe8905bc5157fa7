//! The registrar as the core knows it: its bindings, the REGISTERs under way, and what it asks phones itself.
//!
//! Each REGISTER is a [`Session`]; its answers come by the number under which it asked. What it may change is the table
//! alone.

use super::{
    Binding, BindingChange, Bindings, Register,
    probes::{Probe, Probes},
    session::{Phase, Session, read, refuse},
};
use crate::{
    Flow, Output,
    address::{AddressError, realm_of},
    auth::{AuthFailure, Challenge, ChallengeKind, Purpose, Vouch, answer_for},
    cx::Cx,
    hop::Hop,
    ids::{AskId, Secret},
    limits::AOR_BYTES_MAX,
    location::Place,
    status::{self, Status},
    transaction::{NewRequest, Standing, Transactions, User},
    waiting::Waiting,
};
use std::collections::BTreeMap;

pub(crate) struct Registrar {
    bindings: Bindings,
    /// In boxes: a node of the tree has room for eleven.
    sessions: BTreeMap<AskId, Box<Session>>,
    /// Sessions that wait for a nonce and hold no transaction yet.
    waiting: Waiting,
    /// Foreign phones that were asked whether they listen where they say.
    probes: Probes,
}

impl Registrar {
    pub fn new(secret: Secret) -> Registrar {
        Registrar {
            bindings: Bindings::new(secret),
            sessions: BTreeMap::new(),
            waiting: Waiting::new(),
            probes: Probes::default(),
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
        self.bindings.is_bound(flow)
    }

    /// Where the phones of an AOR are, best `q` first; those that cannot be reached now come too, and say so.
    pub fn places(&self, aor: &str, now_ms: u64) -> Vec<Place> {
        let mut places: Vec<Place> = self.bindings.of(aor).map(|bound| Place::of(&bound, now_ms)).collect();
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
        let to = new.request.to().map(|to| to.uri()).unwrap_or_default();
        let aor = match cx.addressing().canonical_aor(to) {
            Ok(aor) => aor,
            Err(AddressError::Scheme) => {
                return refuse(cx, tx, &new, Status(400, "Bad Address-of-Record"), &[]);
            }
            Err(_) => return refuse(cx, tx, &new, status::NOT_FOUND, &[]),
        };
        let realm = realm_of(&aor).to_owned();
        if !cx.serves(&realm) {
            cx.count("register_not_served");
            return refuse(cx, tx, &new, status::OTHER_REALMS, &[]);
        }
        // No account has a longer name, and whatever is bound is kept.
        if aor.len() > AOR_BYTES_MAX {
            return refuse(cx, tx, &new, status::NOT_FOUND, &[]);
        }
        let id = cx.session();
        let purpose = Purpose::Register { instance: String::new() };
        match answer_for(cx.addressing(), &new.request, ChallengeKind::Www, (&realm, &aor), purpose) {
            Err(bad) => {
                let (status, reason) = bad.status();
                refuse(cx, tx, &new, Status(status, reason), &[]);
            }
            Ok(None) => {
                if let Err(bad) = Register::check(&new.request) {
                    return refuse(cx, tx, &new, Status(bad.status, bad.reason), &bad.headers);
                }
                let Some(wait) = self.waiting.admit(&new, standing) else {
                    return cx.count("challenges_dropped");
                };
                let (phase, wait) = (Phase::Challenging { stale: false }, Some(wait));
                self.begin(Session { id, new, standing, flow, aor, register: None, phase, wait });
                cx.out(Output::Challenge { id, realm, source: flow.remote.ip() });
            }
            Ok(Some(mut answer)) => {
                let register = match read(cx, &new.request, &flow, &realm) {
                    Ok(register) => register,
                    Err(bad) => return refuse(cx, tx, &new, Status(bad.status, bad.reason), &bad.headers),
                };
                answer.purpose = Purpose::Register { instance: register.instance().to_owned() };
                if tx.accept(cx, &new, User::Registrar(id), standing) {
                    let phase = Phase::Verifying { nonce: answer.nonce.clone() };
                    let source = flow.remote.ip();
                    let register = Some(register);
                    self.begin(Session { id, new, standing, flow, aor, register, phase, wait: None });
                    cx.out(Output::Verify { id, answer: Box::new(answer), source });
                }
            }
        }
    }

    /// Is this the number of a session here?
    pub fn asked(&self, id: AskId) -> bool {
        self.sessions.contains_key(&id)
    }

    pub fn on_challenge(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        result: Result<Challenge, AuthFailure>,
    ) {
        self.with(id, |session, bindings| session.on_challenge(cx, tx, bindings, result));
    }

    pub fn on_verified(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        result: Result<Vouch, AuthFailure>,
    ) {
        self.with(id, |session, bindings| session.on_verified(cx, tx, bindings, result));
    }

    /// The change is on disk: its 200 may go.
    pub fn on_journaled(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, id: AskId) {
        let mut unproven = Vec::new();
        self.with(id, |session, bindings| unproven = session.on_journaled(cx, tx, bindings));
        for probe in unproven {
            self.probes.send(cx, tx, &self.bindings, probe);
        }
    }

    /// News of a question to a phone. Whatever comes back is life.
    pub fn on_probed(&mut self, id: AskId, answered: bool) {
        if let Some(Probe { aor, instance, at }) = self.probes.take(id).filter(|_| answered) {
            self.bindings.set_listens(&aor, &instance, at);
        }
    }

    /// At start: what was promised before.
    pub fn restore(&mut self, cx: &mut Cx<'_>, binding: &Binding) {
        let is_own = cx.addressing().local_realms.contains(realm_of(&binding.aor));
        if !self.bindings.restore(binding, is_own) {
            cx.count("bindings_not_restored");
        }
    }

    /// The account is gone or has a new password.
    pub fn unbind(&mut self, cx: &mut Cx<'_>, aor: &str) {
        let removed: Vec<String> = self.bindings.of(aor).map(|b| b.instance.to_owned()).collect();
        if removed.is_empty() {
            return;
        }
        let change = BindingChange { aor: aor.to_owned(), put: Vec::new(), removed };
        self.bindings.apply(&change, false).expect("a removal always has room");
        cx.out(Output::Expired { change });
    }

    fn begin(&mut self, session: Session) {
        if let Some(wait) = session.wait {
            self.waiting.begin(wait);
        }
        let before = self.sessions.insert(session.id, Box::new(session));
        assert!(before.is_none(), "a session's number is used once");
    }

    /// Lets a session do something, and forgets it when it is done. One that is unknown has ended before.
    fn with(&mut self, id: AskId, act: impl FnOnce(&mut Session, &mut Bindings)) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        act(session, &mut self.bindings);
        if !session.is_challenging()
            && let Some(wait) = session.wait.take()
        {
            self.waiting.end(wait);
        }
        if matches!(session.phase, Phase::Done) {
            self.sessions.remove(&id);
        }
    }
}
