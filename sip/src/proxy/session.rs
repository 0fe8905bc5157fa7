//! One request outside a dialog on its way to being forwarded: who sends it, and where is it to go?
//!
//! ```text
//!   no credentials ─▶ Challenging ─ a nonce ─▶ 407, and nothing is kept
//!   credentials ────▶ Verifying ─ vouched for ─▶ Naming ─▶ Resolving ─▶ Forwarding
//!                        └ wrong, stale ─▶ 407, and nothing is kept
//!   a peer's ────────────────────────────────────────────▶ Resolving (own phones only)
//! ```

use super::{
    Hands,
    admission::is_own_account_only,
    calls::Call,
    entering::{Entered, Entering},
    forwarding::{Actions, Forwarding},
    response_context::ResponseContext,
    target::Target,
};
use crate::{
    Output,
    address::realm_of,
    auth::{AuthFailure, Challenge, ChallengeKind, Vouch, challenge_headers, heard},
    border::parties::Parties,
    hop::Hop,
    ids::{AskId, ClientKey, Method},
    input::Resolution,
    limits::RETRY_AFTER_UNAVAILABLE_S,
    location::Place,
    message::{Message, Name},
    status::{self, Status},
    token::Side,
    transaction::{Lost, NewRequest, Standing, User},
    waiting::Wait,
};
use std::{net::IpAddr, time::Instant};

/// What it did not ask for, or was told before, changes nothing: whatever its stage is, it stays.
pub(super) struct Session {
    pub id: AskId,
    /// When it came.
    begun: Instant,
    pub new: NewRequest,
    pub standing: Standing,
    pub stage: Stage,
    pub timer_c: Option<Instant>,
    /// While it waits for its first nonce, and holds no transaction: whose room it takes.
    pub wait: Option<Wait>,
}

/// What a session waits for.
pub(super) enum Stage {
    /// A nonce. No transaction is open, unless it was stale.
    Challenging {
        caller: String,
        target: String,
        stale: bool,
    },
    /// The home's word.
    Verifying {
        caller: String,
        target: String,
        nonce: String,
    },
    /// The caller's own bindings: a registered phone is named by its binding, so that its dialogs survive a change of its
    /// address. `vouch`: none while its home cannot be asked.
    Naming {
        caller: String,
        target: String,
        vouch: Option<Vouch>,
    },
    /// Where the target is.
    Resolving {
        from: Side,
        parties: Parties,
        own: Option<Vec<Place>>,
        others: Option<Resolution>,
    },
    /// Where the two sides of a dialog are, those that are phones of ours.
    Entering(Entering),
    Forwarding(Box<Forwarding>),
    Ended,
}

/// The address that is challenged.
pub(super) fn phone_of(hop: &Hop) -> IpAddr {
    let Hop::Phone(flow) = hop else { unreachable!("only phones are challenged") };
    flow.remote.ip()
}

impl Session {
    pub fn new((id, begun): (AskId, Instant), new: NewRequest, standing: Standing, stage: Stage) -> Session {
        Session { id, begun, new, standing, stage, timer_c: None, wait: None }
    }

    pub fn is_answered(&self) -> bool {
        match &self.stage {
            Stage::Forwarding(forwarding) => {
                forwarding.context.is_answered() && !forwarding.is_searching_again()
            }
            _ => false,
        }
    }

    pub fn on_challenge(&mut self, hands: &mut Hands<'_, '_>, result: Result<Challenge, AuthFailure>) {
        let (caller, target, stale) = match self.take_stage() {
            Stage::Challenging { caller, target, stale } => (caller, target, stale),
            other => return self.stage = other,
        };
        match result {
            Ok(challenge) => self.challenge(hands, &challenge, stale),
            // No nonce of its home can be had, so nobody can be asked to prove a password. What may go on without does, if it
            // comes from where its sender hears.
            Err(AuthFailure::Unavailable) if !self.is_heard(hands, &caller) => {
                let (Hop::Phone(flow), realm) = (&self.new.hop, realm_of(&caller)) else { return };
                let nonce = heard::nonce(&hands.cx.base.secret, flow, realm, hands.cx.now.wall_ms);
                hands.cx.count("challenged_without_home");
                self.challenge(hands, &Challenge { realm: realm.to_owned(), nonce }, stale);
            }
            Err(AuthFailure::Unavailable) => {
                let is_open = hands.tx.is_open(self.new.key)
                    || hands.tx.accept(hands.cx, &self.new, User::Proxy(self.id), self.standing);
                if is_open {
                    hands.cx.locate(self.id, &caller);
                    self.stage = Stage::Naming { caller, target, vouch: None };
                }
            }
            Err(failure) => self.fail(hands, failure),
        }
    }

    /// Over a connection, yes; of an INVITE in a datagram only the nonce says it. Other requests do not go on without a home.
    fn is_heard(&self, hands: &Hands<'_, '_>, caller: &str) -> bool {
        let Hop::Phone(flow) = &self.new.hop else { return true };
        let (request, now_ms) = (&self.new.request, hands.cx.now.wall_ms);
        flow.transport.is_reliable()
            || Method::of(request) != Method::Invite
            || heard::is_heard(&hands.cx.base.secret, flow, realm_of(caller), request, now_ms)
    }

    /// 407, and the session is over: the nonce carries all state.
    fn challenge(&mut self, hands: &mut Hands<'_, '_>, challenge: &Challenge, stale: bool) {
        let agent = self.new.request.header(&Name::UserAgent);
        let kind = ChallengeKind::Proxy;
        let offer = hands.cx.config().digest_of(&challenge.realm).toward(agent);
        let headers = challenge_headers(kind, challenge, stale, offer);
        hands.refuse(&self.new, Status(kind.status(), kind.reason()), &headers);
        self.stage = Stage::Ended;
    }

    pub fn on_verified(&mut self, hands: &mut Hands<'_, '_>, result: Result<Vouch, AuthFailure>) {
        let (caller, target, nonce) = match self.take_stage() {
            Stage::Verifying { caller, target, nonce } => (caller, target, nonce),
            other => return self.stage = other,
        };
        match result {
            Ok(vouch) if vouch.aor == caller => {
                if is_own_account_only(&self.new.request) && caller != target {
                    hands.respond(&self.new, Status(403, "Only To Own Phones"));
                    return;
                }
                if let Hop::Phone(flow) = &self.new.hop {
                    hands.cx.proved(flow);
                }
                hands.cx.locate(self.id, &caller);
                self.stage = Stage::Naming { caller, target, vouch: Some(vouch) };
            }
            Ok(_) => self.fail(hands, AuthFailure::Forbidden),
            // The same nonce again: phones see from it that asking anew will not help (a new one sends some into a loop),
            // and a corrected password answers it with the next count.
            Err(AuthFailure::Wrong) => {
                let challenge = Challenge { realm: realm_of(&caller).to_owned(), nonce };
                self.challenge(hands, &challenge, false);
            }
            Err(AuthFailure::Stale) => {
                let realm = realm_of(&caller).to_owned();
                hands.cx.out(Output::Challenge { id: self.id, realm, source: phone_of(&self.new.hop) });
                self.stage = Stage::Challenging { caller, target, stale: true };
            }
            Err(AuthFailure::Unavailable) => {
                hands.cx.locate(self.id, &caller);
                self.stage = Stage::Naming { caller, target, vouch: None };
            }
            Err(failure) => self.fail(hands, failure),
        }
    }

    pub fn on_located(&mut self, hands: &mut Hands<'_, '_>, aor: &str, places: Vec<Place>) {
        match self.take_stage() {
            Stage::Naming { caller, target, vouch } if aor == caller => {
                self.on_named(hands, caller, target, vouch, &places);
            }
            Stage::Resolving { from, parties, own: _, others } if aor == parties.callee => {
                self.resolve(hands, from, parties, Some(places), others);
            }
            Stage::Entering(mut entering) => {
                entering.locate(aor, &places);
                self.enter(hands, entering);
            }
            other => self.stage = other,
        }
    }

    fn on_named(
        &mut self,
        hands: &mut Hands<'_, '_>,
        caller: String,
        target: String,
        vouch: Option<Vouch>,
        places: &[Place],
    ) {
        let Hop::Phone(flow) = &self.new.hop else { unreachable!("only phones are named") };
        let is_call = Method::of(&self.new.request) == Method::Invite;
        let old = || places.iter().filter(|_| is_call).find_map(|p| p.vouch_for(flow, hands.cx.now.wall_ms));
        let Some(vouch) = vouch.or_else(old) else { return self.fail(hands, AuthFailure::Unavailable) };
        let from = match places.iter().find(|place| place.is_at(flow)) {
            Some(place) => Side::Phone { aor: caller.clone(), instance: place.instance.clone() },
            None => Side::Flow(*flow),
        };
        hands.cx.locate(self.id, &target);
        hands.cx.out(Output::Resolve { id: self.id, aor: target.clone(), is_again: false });
        let parties = Parties { caller, callee: target, vouch: Some(vouch), nonce: None };
        self.stage = Stage::Resolving { from, parties, own: None, others: None };
    }

    pub fn on_resolved(&mut self, hands: &mut Hands<'_, '_>, resolution: Resolution) {
        match self.take_stage() {
            Stage::Resolving { from, parties, own, .. } => {
                self.resolve(hands, from, parties, own, Some(resolution));
            }
            Stage::Forwarding(forwarding) if forwarding.is_searching_again() => {
                self.search_on(hands, forwarding, &resolution);
            }
            other => self.stage = other,
        }
    }

    /// Nobody was reached where the callee was said to be, and now others say where he is.
    fn search_on(
        &mut self,
        hands: &mut Hands<'_, '_>,
        mut forwarding: Box<Forwarding>,
        resolution: &Resolution,
    ) {
        let peers = match resolution {
            Resolution::Peers(peers) => peers.as_slice(),
            Resolution::Unknown | Resolution::Offline | Resolution::Unavailable => &[],
        };
        let targets = peers.iter().map(|t| (t.q, Target::Peer(t.peer.clone()))).collect();
        if let Some(actions) = forwarding.on_found(hands, &self.new, targets) {
            self.stage = Stage::Forwarding(forwarding);
            self.act(hands, |_, _, _| actions);
        }
    }

    /// §16.5: the target set, once both halves of it are known.
    fn resolve(
        &mut self,
        hands: &mut Hands<'_, '_>,
        from: Side,
        parties: Parties,
        own: Option<Vec<Place>>,
        others: Option<Resolution>,
    ) {
        let (Some(own), Some(others)) = (&own, &others) else {
            self.stage = Stage::Resolving { from, parties, own, others };
            return;
        };
        let reachable = own.iter().filter(|place| place.is_reachable);
        let mut targets: Vec<(u16, Target)> =
            reachable.map(|place| (place.q, Target::Phone(place.clone()))).collect();
        let tell = |hands: &mut Hands<'_, '_>, status: Status| {
            Call::tell_of_none(hands.cx, (self.id, &self.new.request), &from, &parties, status.0);
        };
        match others {
            Resolution::Peers(peers) => {
                targets.extend(peers.iter().map(|t| (t.q, Target::Peer(t.peer.clone()))));
            }
            Resolution::Unknown => {
                tell(hands, status::NOT_FOUND);
                return hands.respond(&self.new, status::NOT_FOUND);
            }
            Resolution::Unavailable if targets.is_empty() => {
                tell(hands, status::SERVICE_UNAVAILABLE);
                return self.fail(hands, AuthFailure::Unavailable);
            }
            Resolution::Offline | Resolution::Unavailable => {}
        }
        if targets.is_empty() {
            tell(hands, status::TEMPORARILY_UNAVAILABLE);
            return hands.respond(&self.new, status::TEMPORARILY_UNAVAILABLE);
        }
        let forwarding = Forwarding::outside(hands, (self.id, &self.new, self.begun), from, parties, targets);
        self.forward(hands, Box::new(forwarding));
    }

    /// It has just begun. Where neither side of a dialog is a phone that would have to be located, it goes on at once.
    pub fn on_begun(&mut self, hands: &mut Hands<'_, '_>) {
        match self.take_stage() {
            Stage::Entering(entering) => self.enter(hands, entering),
            other => self.stage = other,
        }
    }

    fn enter(&mut self, hands: &mut Hands<'_, '_>, entering: Entering) {
        match entering.go_on(hands, self.id, &self.new) {
            Entered::Waits(entering) => self.stage = Stage::Entering(entering),
            Entered::Forward(forwarding) => self.forward(hands, forwarding),
            Entered::Over => self.stage = Stage::Ended,
        }
    }

    fn forward(&mut self, hands: &mut Hands<'_, '_>, forwarding: Box<Forwarding>) {
        self.stage = Stage::Forwarding(forwarding);
        self.act(hands, |forwarding, _, _| forwarding.context.start());
    }

    /// Something happens to what is being forwarded; then comes what follows from it.
    fn act(
        &mut self,
        hands: &mut Hands<'_, '_>,
        happen: impl FnOnce(&mut Forwarding, &mut Hands<'_, '_>, &NewRequest) -> Actions,
    ) {
        let Session { new, stage, timer_c, .. } = self;
        let Stage::Forwarding(forwarding) = stage else { return };
        let actions = happen(forwarding, hands, new);
        if !forwarding.act(hands, new, timer_c, actions) {
            self.stage = Stage::Ended;
        }
    }

    pub fn on_response(&mut self, hands: &mut Hands<'_, '_>, client: ClientKey, response: Message) {
        self.act(hands, |forwarding, _, new| forwarding.on_response(new, client, response));
    }

    pub fn on_lost(&mut self, hands: &mut Hands<'_, '_>, client: ClientKey, why: Lost) {
        self.act(hands, |forwarding, hands, new| forwarding.on_lost(hands, new, client, why));
    }

    /// The client transaction of a branch has ended.
    pub fn on_branch_ended(&mut self, hands: &mut Hands<'_, '_>, client: ClientKey) {
        self.act(hands, |forwarding, _, _| forwarding.on_branch(client, ResponseContext::on_ended));
    }

    pub fn on_timer_c(&mut self, hands: &mut Hands<'_, '_>) {
        self.act(hands, |forwarding, _, _| forwarding.context.on_timer_c());
    }

    pub fn on_cancel(&mut self, hands: &mut Hands<'_, '_>, reason: Option<&str>) {
        match &self.stage {
            Stage::Forwarding(forwarding) if forwarding.is_searching_again() => {
                if let Stage::Forwarding(mut forwarding) = self.take_stage() {
                    forwarding.cancel_search(hands, &self.new);
                }
            }
            Stage::Forwarding(_) => self.act(hands, |forwarding, _, _| forwarding.context.on_cancel(reason)),
            // Still being authenticated or resolved: there is nothing behind us to cancel.
            _ => {
                self.stage = Stage::Ended;
                hands.respond(&self.new, status::REQUEST_TERMINATED);
            }
        }
    }

    /// A final answer instead of the way on.
    fn fail(&mut self, hands: &mut Hands<'_, '_>, failure: AuthFailure) {
        self.stage = Stage::Ended;
        let retry = [("Retry-After", RETRY_AFTER_UNAVAILABLE_S.to_owned())];
        match failure {
            AuthFailure::Forbidden => hands.refuse(&self.new, status::FORBIDDEN, &[]),
            AuthFailure::UnknownRealm => hands.refuse(&self.new, status::NOT_FOUND, &[]),
            AuthFailure::Unavailable | AuthFailure::Wrong | AuthFailure::Stale => {
                hands.refuse(&self.new, status::SERVICE_UNAVAILABLE, &retry);
            }
        }
    }

    /// What is not put back has ended.
    fn take_stage(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Ended)
    }
}
