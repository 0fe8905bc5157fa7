//! The proxy (RFC 3261 §16): a transaction user that answers a request by asking others.
//!
//! ```text
//!   a request ─▶ admission ─▶ who is it? ─▶ where to? ──▶ response context ─▶ copies (outbound, dialog)
//!                    │        Challenging    Resolving     Forwarding      ◀─ responses (inbound)
//!                    ▼        Verifying      Entering
//!                 refused     Naming
//! ```
//!
//! One [`Session`] per request; its [`Stage`] says what it waits for. Questions leave as outputs that carry the session's
//! number, and an answer that comes after the session has ended finds nothing. So nothing is searched when a call is
//! cancelled early.

mod admission;
mod authority;
mod calls;
mod dialog;
mod ending;
mod entering;
mod forwarding;
mod inbound;
pub(crate) mod memory;
mod noting;
mod onward;
mod opening;
mod outbound;
mod record_route;
mod response_context;
mod rewrite;
mod session;
mod target;
mod transfer;
mod way;

pub(crate) use admission::{ALLOW, check, is_for_us, mended};

use crate::{
    auth::{AuthFailure, Challenge, Vouch},
    cx::Cx,
    ids::AskId,
    input::{Resolution, Vouched},
    location::Place,
    message::Message,
    output::About,
    status::{self, Status},
    timers::Timers,
    transaction::{Event, NewRequest, Standing, Transactions},
    waiting::Waiting,
};
use memory::Dialogs;
use session::{Session, Stage};
use std::{collections::BTreeMap, time::Instant};

pub(crate) struct Proxy {
    sessions: BTreeMap<AskId, Session>,
    /// Timer C of each session that has one.
    timers: Timers<AskId>,
    dialogs: Dialogs,
    /// Sessions that wait for a nonce and hold no transaction yet.
    waiting: Waiting,
}

impl Proxy {
    pub fn new() -> Proxy {
        Proxy {
            sessions: BTreeMap::new(),
            timers: Timers::new(),
            dialogs: Dialogs::new(),
            waiting: Waiting::new(),
        }
    }

    /// A request that is not for this peer itself and has passed [`check`]. `caller`: who a peer vouches for.
    pub fn on_request(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        new: NewRequest,
        caller: Option<Vouched>,
        standing: Standing,
    ) {
        let has_to_tag = new.request.to().and_then(|to| to.tag()).is_some();
        let wait = self.waiting.admit(&new, standing);
        let mut session = match has_to_tag {
            true => opening::enter(cx, tx, new, standing),
            false => opening::admit(cx, tx, new, caller, standing, wait.is_some()),
        };
        if let Some(session) = session.as_mut().filter(|s| matches!(s.stage, Stage::Challenging { .. })) {
            session.wait = wait;
        }
        self.begin(cx, tx, session);
    }

    /// The ACK of a 2xx: by its route tokens, like any request in its dialog, but nobody answers it.
    pub fn on_ack(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, new: NewRequest) {
        if new.request.max_forwards() != Some(0) {
            let session = opening::enter(cx, tx, new, Standing::Known);
            self.begin(cx, tx, session);
        }
    }

    pub fn on_challenge(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        result: Result<Challenge, AuthFailure>,
    ) {
        self.with(cx, tx, id, |session, hands| session.on_challenge(hands, result));
    }

    pub fn on_verified(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        result: Result<Vouch, AuthFailure>,
    ) {
        self.with(cx, tx, id, |session, hands| session.on_verified(hands, result));
    }

    pub fn on_located(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        aor: &str,
        places: Vec<Place>,
    ) {
        self.with(cx, tx, id, |session, hands| session.on_located(hands, aor, places));
    }

    pub fn on_resolved(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, id: AskId, resolution: Resolution) {
        self.with(cx, tx, id, |session, hands| session.on_resolved(hands, resolution));
    }

    /// The CANCEL of this request came and is answered.
    pub fn on_cancel(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, id: AskId, reason: Option<&str>) {
        self.with(cx, tx, id, |session, hands| session.on_cancel(hands, reason));
    }

    /// News of a branch.
    pub fn on_event(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, id: AskId, event: Event) {
        match event {
            Event::Response { client, response, .. } => {
                self.with(cx, tx, id, |session, hands| session.on_response(hands, client, response));
            }
            Event::Lost { client, why, .. } => {
                self.with(cx, tx, id, |session, hands| session.on_lost(hands, client, why));
            }
            Event::Ended { client, .. } => {
                self.with(cx, tx, id, |session, hands| session.on_branch_ended(hands, client));
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions) {
        while let Some(id) = self.timers.due(cx.now.mono) {
            let session = self.sessions.get_mut(&id).expect("timer C belongs to a session");
            self.timers.set(id, &mut session.timer_c, None);
            cx.count("timer_c");
            self.with(cx, tx, id, Session::on_timer_c);
        }
    }

    /// This account is no more: nothing new is said in its dialogs.
    pub fn on_gone(&mut self, aor: &str) {
        self.dialogs.revoke(aor);
    }

    /// Does no phone wait for an answer? What only waits for repetitions of an answer given may be cut.
    pub fn is_idle(&self) -> bool {
        self.sessions.values().all(Session::is_answered)
    }

    pub fn is_quiet(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Keeps the session that a request began, if it did.
    fn begin(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, session: Option<Session>) {
        let Some(session) = session else { return };
        let id = session.id;
        if let Some(wait) = session.wait {
            self.waiting.begin(wait);
        }
        let before = self.sessions.insert(id, session);
        assert!(before.is_none(), "a session's number is used once");
        self.with(cx, tx, id, Session::on_begun);
    }

    /// Lets a session do something, and forgets it when it has ended. One that is unknown has ended before.
    fn with(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        id: AskId,
        act: impl FnOnce(&mut Session, &mut Hands<'_, '_>),
    ) {
        let Proxy { sessions, timers, dialogs, waiting } = self;
        let Some(session) = sessions.get_mut(&id) else { return };
        let mut hands = Hands { cx, tx, dialogs, timers };
        act(session, &mut hands);
        if !matches!(session.stage, Stage::Challenging { .. })
            && let Some(wait) = session.wait.take()
        {
            waiting.end(wait);
        }
        if matches!(session.stage, Stage::Ended) {
            timers.set(id, &mut session.timer_c, None);
            sessions.remove(&id);
        }
    }
}

/// All that a session may use while it acts.
struct Hands<'a, 'b> {
    cx: &'a mut Cx<'b>,
    tx: &'a mut Transactions,
    dialogs: &'a mut Dialogs,
    timers: &'a mut Timers<AskId>,
}

impl Hands<'_, '_> {
    /// A final answer to one who has proved nothing: nothing is kept.
    fn refuse(&mut self, new: &NewRequest, status: Status, headers: &[(&str, String)]) {
        let answer = self.cx.answer(&new.request, status, headers);
        self.tx.refuse(self.cx, new, answer);
    }

    fn respond(&mut self, new: &NewRequest, status: Status) {
        let answer = self.cx.answer(&new.request, status, &[]);
        self.tx.respond(self.cx, new.key, status.0, answer);
    }

    fn pass(&mut self, new: &NewRequest, response: &Message, about: About) {
        let status = response.status().unwrap_or(status::SERVER_INTERNAL_ERROR.0);
        self.tx.respond_about(self.cx, new.key, (status, response.clone()), about);
    }
}
