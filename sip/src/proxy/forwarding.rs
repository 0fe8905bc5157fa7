//! A request that is being forwarded: does what its response context says. It knows nothing of the session that it is the
//! last stage of: what happens to it gives [`Actions`], and [`Forwarding::act`] does them and says whether more can come.

use super::{
    Hands,
    calls::Call,
    dialog::Pass,
    ending,
    inbound::Passing,
    memory::Slot,
    noting,
    outbound::Original,
    response_context::{Action, BranchNumber, Final, Kind, ResponseContext},
    target::Target,
};
use crate::{
    address::realm_of,
    border::{Crossing, parties::Parties},
    cx::Cx,
    hop::Hop,
    ids::{AskId, ClientKey, Method},
    limits::{CALL_WITHIN, LISTENING_WITHIN, NEXT_AFTER, TIMER_C, TRYING_WITHIN},
    message::{Message, Name},
    output::{About, CallName, CallProgress, CallSide, Output},
    status,
    token::Side,
    transaction::{Lost, NewRequest, Outgoing, User},
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub(super) struct Forwarding {
    /// The session's.
    id: AskId,
    pub context: ResponseContext<Target, Message>,
    branches: Vec<Branch>,
    from: Side,
    parties: Parties,
    /// Of the dialog that it is to begin.
    slot: Option<Slot>,
    /// In a dialog: by which token. Nothing is told of it as a new call.
    pass: Option<Pass>,
    begun: Instant,
    /// Nobody answered on some branch.
    is_lost: bool,
    /// Somebody's phone has rung, or a search for other peers was made.
    is_settled: bool,
    /// How it ends if that search finds nobody.
    held: Option<Final<Message>>,
}

/// A branch that was tried, by its number in the context.
struct Branch {
    target: Target,
    /// `None`: it could not be sent.
    client: Option<ClientKey>,
}

pub(super) type Actions = Vec<Action<Target, Message>>;

impl Forwarding {
    /// A request outside a dialog, to these targets with their `q`.
    pub fn outside(
        hands: &mut Hands<'_, '_>,
        (id, new, begun): (AskId, &NewRequest, Instant),
        from: Side,
        parties: Parties,
        targets: Vec<(u16, Target)>,
    ) -> Forwarding {
        let slot = noting::slot_of(hands.cx, &new.request, &from, &parties);
        if let Some(slot) = slot {
            noting::caller(hands.dialogs, slot, &new.request, &from, &parties);
        }
        let context = ResponseContext::new(kind(new, false), targets);
        let branches = Vec::new();
        Forwarding {
            id,
            context,
            branches,
            from,
            parties,
            slot,
            pass: None,
            begun,
            is_lost: false,
            is_settled: false,
            held: None,
        }
    }

    /// A request in a dialog, to the side that its token says.
    pub fn in_dialog(
        (id, new, begun): (AskId, &NewRequest, Instant),
        pass: Pass,
        parties: Parties,
        target: Target,
    ) -> Forwarding {
        let context = ResponseContext::new(kind(new, true), vec![(0, target)]);
        let (branches, from) = (Vec::new(), pass.way.sender().clone());
        Forwarding {
            id,
            context,
            branches,
            from,
            parties,
            slot: None,
            pass: Some(pass),
            begun,
            is_lost: false,
            is_settled: true,
            held: None,
        }
    }

    pub fn on_response(&mut self, new: &NewRequest, client: ClientKey, response: Message) -> Actions {
        let branch = self.branches.iter().find(|branch| branch.client == Some(client));
        let crosses = branch.is_some_and(|branch| self.crossing(new, &branch.target).is_border());
        let status = match response.status().unwrap_or_default() {
            // BORD-6: no challenge of a callee crosses the border: none of them is the best answer, or added to it.
            401 | 407 if crosses => status::FORBIDDEN.0,
            status => status,
        };
        self.on_branch(client, |context, branch| match status {
            ..200 => context.on_provisional(branch, status, response),
            200..300 => context.on_success(branch, status, response),
            _ => context.on_failure(branch, status, response),
        })
    }

    /// The request's way to this target.
    fn crossing(&self, new: &NewRequest, target: &Target) -> Crossing<'_> {
        match &self.pass {
            Some(pass) => pass.crossing(&self.parties, &new.hop, target),
            None => self.parties.crossing(true, matches!(new.hop, Hop::Peer(_)), target.peer().is_some()),
        }
    }

    /// Something happened on the branch of this client transaction.
    pub fn on_branch(
        &mut self,
        client: ClientKey,
        happen: impl FnOnce(&mut ResponseContext<Target, Message>, BranchNumber) -> Actions,
    ) -> Actions {
        let branch = self.branches.iter().position(|branch| branch.client == Some(client));
        branch.map(|branch| happen(&mut self.context, branch)).unwrap_or_default()
    }

    /// No answer will come. Where a phone that listens at another port did not say its first word there in time, or no
    /// connection led there, it is asked on its flow.
    pub fn on_lost(
        &mut self,
        hands: &mut Hands<'_, '_>,
        new: &NewRequest,
        client: ClientKey,
        why: Lost,
    ) -> Actions {
        if why != Lost::TimedOut && self.ask_on_flow(hands, new, client) {
            hands.cx.count("listening_silent");
            return Actions::new();
        }
        self.is_lost = true;
        let branch = self.branches.iter().find(|branch| branch.client == Some(client));
        if let Some(Target::Phone(place)) = branch.map(|branch| &branch.target) {
            let (aor, instance) = (place.aor.to_string(), place.instance.clone());
            hands.cx.out(Output::Unanswered { aor, instance });
        }
        let status = match why {
            Lost::TimedOut => status::REQUEST_TIMEOUT,
            Lost::Broken => status::SERVICE_UNAVAILABLE,
            Lost::Silent => {
                hands.cx.count("peer_said_nothing");
                status::SERVICE_UNAVAILABLE
            }
        };
        self.on_branch(client, |context, branch| context.on_lost(branch, status.0))
    }

    /// Does what the context says; `false`: nothing more can come. `timer_c`: the session's.
    #[must_use]
    pub fn act(
        &mut self,
        hands: &mut Hands<'_, '_>,
        new: &NewRequest,
        timer_c: &mut Option<Instant>,
        actions: Actions,
    ) -> bool {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Try { branch, target } => {
                    if !self.try_target(hands, new, target) {
                        hands.cx.count("branch_unreachable");
                        self.is_lost = true;
                        actions.extend(self.context.on_lost(branch, status::SERVICE_UNAVAILABLE.0));
                    }
                }
                Action::Cancel { branch, reason } => {
                    if let Some(client) = self.client(branch) {
                        hands.tx.cancel(hands.cx, client, reason.as_deref());
                    }
                }
                Action::Pass { branch, status, response } => {
                    self.pass(hands, new, branch, status, &response);
                }
                Action::TimerC { runs } => {
                    let at = runs.then(|| hands.cx.now.mono + TIMER_C);
                    hands.timers.set(self.id, timer_c, at);
                }
                Action::Finish(end) if self.may_be_elsewhere(new, &end) => {
                    self.search_again(hands, end);
                    return true;
                }
                Action::Finish(end) => self.finish(hands, new, end),
                Action::Forget => {
                    self.drop_branches(hands);
                    return false;
                }
            }
        }
        true
    }

    /// LIVE-11a: none of the peers where the callee was said to be has a phone of his that could be asked. What was said may be old: he
    /// may have gone elsewhere, or the peer may have lost him.
    fn may_be_elsewhere(&self, new: &NewRequest, end: &Final<Message>) -> bool {
        let status = match end {
            Final::Best { status, .. } | Final::Own(status) => *status,
        };
        let all_peers = self.branches.iter().all(|branch| branch.target.peer().is_some());
        let is_ours = matches!(new.hop, Hop::Phone(_));
        !self.is_settled && is_ours && all_peers && matches!(status, 404 | 408 | 480 | 500 | 503)
    }

    fn search_again(&mut self, hands: &mut Hands<'_, '_>, end: Final<Message>) {
        (self.is_settled, self.held) = (true, Some(end));
        hands.cx.count("searched_again");
        let aor = self.parties.callee.clone();
        hands.cx.out(Output::Resolve { id: self.id, aor, is_again: true });
    }

    /// Does it wait for a second search?
    pub fn is_searching_again(&self) -> bool {
        self.held.is_some()
    }

    /// What the second search found. `None`: nobody who was not tried before, and it has ended.
    pub fn on_found(
        &mut self,
        hands: &mut Hands<'_, '_>,
        new: &NewRequest,
        targets: Vec<(u16, Target)>,
    ) -> Option<Actions> {
        let end = self.held.take()?;
        let is_tried = |target: &Target| self.branches.iter().any(|b| b.target.peer() == target.peer());
        let targets: Vec<(u16, Target)> = targets.into_iter().filter(|(_, t)| !is_tried(t)).collect();
        if targets.is_empty() {
            self.finish(hands, new, end);
            return None;
        }
        self.context = ResponseContext::new(kind(new, false), targets);
        self.branches.clear();
        Some(self.context.start())
    }

    /// The caller gave up meanwhile.
    pub fn cancel_search(&mut self, hands: &mut Hands<'_, '_>, new: &NewRequest) {
        self.held = None;
        self.finish(hands, new, Final::Own(status::REQUEST_TERMINATED.0));
    }

    fn client(&self, branch: BranchNumber) -> Option<ClientKey> {
        self.branches.get(branch).and_then(|branch| branch.client)
    }

    /// `false`: it could not be sent.
    fn try_target(&mut self, hands: &mut Hands<'_, '_>, new: &NewRequest, target: Target) -> bool {
        let client = self.send(hands, new, &target);
        self.branches.push(Branch { target, client });
        client.is_some()
    }

    /// `None`: it cannot be written, or there is no room.
    fn send(&self, hands: &mut Hands<'_, '_>, new: &NewRequest, target: &Target) -> Option<ClientKey> {
        let branch = hands.cx.branch();
        let request = match &self.pass {
            Some(pass) => pass.copy(hands.cx, hands.dialogs, (&new.request, &new.hop), target, branch),
            None => self.original(new).copy(hands.cx, hands.dialogs, target, branch),
        }?;
        let initial = self.pass.is_none();
        let first_word_within = match target {
            Target::Peer(_) => initial.then(|| self.first_word_within(hands.cx.now.mono)),
            Target::Phone(_) | Target::Flow(_) => target.on_flow().map(|_| LISTENING_WITHIN),
        };
        let grant = self.parties.vouch.as_ref().filter(|_| initial).map(|vouch| vouch.grant.clone());
        let about = match initial {
            true => About::Initial {
                attempt: self.id,
                method: Method::of(&new.request),
                caller: self.parties.caller.clone(),
                target: self.parties.callee.clone(),
            },
            false => About::Other,
        };
        // Before it leaves: whoever carries it adds to what is known of the call.
        self.tell(hands.cx, new, (&target.side(), None), CallProgress::Started, new.request.body());
        let is_proved = match target {
            Target::Phone(place) => {
                let anywhere = hands.cx.config().contacts_any.contains(realm_of(&place.aor));
                place.reached_at() == place.flow && !anywhere
            }
            Target::Flow(_) | Target::Peer(_) => true,
        };
        let hop = target.hop();
        let outgoing = Outgoing { hop, branch, request, grant, about, first_word_within, is_proved };
        hands.tx.request(hands.cx, outgoing, User::Proxy(self.id))
    }

    /// LIVE-11: a peer has less time for its first word where others wait to be tried, and where the search took long.
    fn first_word_within(&self, now: Instant) -> Duration {
        let left = (self.begun + CALL_WITHIN).saturating_duration_since(now);
        let most = if self.context.is_last_group() { TRYING_WITHIN } else { NEXT_AFTER };
        left.clamp(NEXT_AFTER, most)
    }

    /// Goes on with the branch of a silent port on the flow of the same phone. `false`: there is no such way.
    fn ask_on_flow(&mut self, hands: &mut Hands<'_, '_>, new: &NewRequest, client: ClientKey) -> bool {
        let at = self.branches.iter().position(|branch| branch.client == Some(client));
        let Some(branch) = at.and_then(|at| self.branches.get(at)) else { return false };
        let Some(target) = branch.target.on_flow().filter(|_| self.context.is_searching()) else {
            return false;
        };
        let client = self.send(hands, new, &target);
        if let Some(branch) = at.and_then(|at| self.branches.get_mut(at)).filter(|_| client.is_some()) {
            *branch = Branch { target, client };
        }
        client.is_some()
    }

    fn original<'a>(&'a self, new: &'a NewRequest) -> Original<'a> {
        let Forwarding { from, parties, slot, .. } = self;
        Original { request: &new.request, hop: &new.hop, from, parties, slot: *slot }
    }

    /// A 1xx or 2xx on its way to the asker.
    fn pass(
        &mut self,
        hands: &mut Hands<'_, '_>,
        new: &NewRequest,
        branch: BranchNumber,
        status: u16,
        response: &Message,
    ) {
        let Some(side) = self.branches.get(branch).map(|branch| branch.target.side()) else { return };
        let to_tag = response.to().and_then(|to| to.tag());
        if let Some(slot) = self.slot {
            noting::leg(hands.dialogs, slot, response, hands.cx.now.wall_ms);
            if status >= 200 && self.is_call(new) && !matches!(side, Side::Peer(_)) {
                noting::callee(hands.dialogs, slot, response);
            }
        }
        if self.pass.is_some() {
            self.agreed(hands, new, status, response);
        } else if status < 200 {
            self.is_settled = true;
            self.tell(hands.cx, new, (&side, None), CallProgress::Ringing, &[]);
        } else {
            let answered = CallProgress::Answered { session_s: session_s(response) };
            self.tell(hands.cx, new, (&side, to_tag), answered, response.body());
        }
        self.send_back(hands, new, branch, response, &[]);
    }

    /// A 2xx in a dialog: what both ends agree to.
    fn agreed(&self, hands: &mut Hands<'_, '_>, new: &NewRequest, status: u16, response: &Message) {
        let Some(pass) = self.pass.as_ref().filter(|_| status >= 200) else { return };
        match Method::of(&new.request) {
            Method::Invite | Method::Update => {
                pass.confirm(hands.dialogs, hands.cx.now.wall_ms);
                let refreshed = CallProgress::Refreshed { session_s: session_s(response) };
                Call::within(pass, &self.parties).tell(hands.cx, refreshed, &[]);
            }
            Method::Bye => self.ended(hands, new, Some(status)),
            _ => {}
        }
    }

    /// A BYE was answered so, or by nobody.
    fn ended(&self, hands: &mut Hands<'_, '_>, new: &NewRequest, status: Option<u16>) {
        if let Some(pass) = &self.pass {
            ending::answered(hands, new, (pass, &self.parties), status, self.begun);
        }
    }

    fn finish(&mut self, hands: &mut Hands<'_, '_>, new: &NewRequest, end: Final<Message>) {
        let status = match &end {
            Final::Best { status, .. } | Final::Own(status) => *status,
        };
        if let Some(side) = self.branches.first().map(|branch| branch.target.side()) {
            self.tell(hands.cx, new, (&side, None), CallProgress::Failed { status }, &[]);
        }
        if let Some(slot) = self.slot {
            hands.dialogs.forget_unanswered(slot.key);
        }
        self.ended(hands, new, (!self.is_lost).then_some(status));
        match end {
            Final::Best { branch, response, others, .. } => {
                self.send_back(hands, new, branch, &response, &others);
            }
            Final::Own(status) => hands.respond(new, status::of(status)),
        }
    }

    fn send_back(
        &self,
        hands: &mut Hands<'_, '_>,
        new: &NewRequest,
        branch: BranchNumber,
        response: &Message,
        others: &[Message],
    ) {
        let Some(branch) = self.branches.get(branch) else { return };
        let crossing = self.crossing(new, &branch.target).back();
        let passing = Passing { request: &new.request, asker: &new.hop, parties: &self.parties, crossing };
        match passing.response(hands.cx, response, others) {
            Some(response) => hands.pass(new, &response, self.about(new, &response)),
            None => hands.respond(new, status::FORBIDDEN),
        }
    }

    /// Only a first INVITE is news of a call.
    fn is_call(&self, new: &NewRequest) -> bool {
        self.pass.is_none() && Method::of(&new.request) == Method::Invite
    }

    fn tell(
        &self,
        cx: &mut Cx<'_>,
        new: &NewRequest,
        (callee, to_tag): (&Side, Option<&str>),
        what: CallProgress,
        sdp: &[u8],
    ) {
        let call = Call::of(self.id, &new.request, (&self.from, callee), &self.parties);
        if let Some(call) = call.filter(|_| self.is_call(new)) {
            Call { to_tag, ..call }.tell(cx, what, sdp);
        }
    }

    /// What a response for a peer is about.
    fn about(&self, new: &NewRequest, response: &Message) -> About {
        let Hop::Peer(peer) = &new.hop else { return About::Other };
        let is_answer = self.is_call(new) && response.status().is_some_and(|s| (200..300).contains(&s));
        let name = || {
            Some(CallName {
                call_id: new.request.call_id()?.to_owned(),
                from_tag: new.request.from()?.tag()?.to_owned(),
                to_tag: response.to()?.tag()?.to_owned(),
                side: CallSide::Callee,
                peer: Some(peer.clone()),
            })
        };
        name().filter(|_| is_answer).map_or(About::Other, About::Answer)
    }

    /// A request other than INVITE that was answered: what other branches say is waited for no longer.
    fn drop_branches(&self, hands: &mut Hands<'_, '_>) {
        if !self.context.kind().is_invite && self.branches.len() > 1 {
            for client in self.branches.iter().filter_map(|branch| branch.client) {
                hands.tx.drop_client(client);
            }
        }
    }
}

fn kind(new: &NewRequest, in_dialog: bool) -> Kind {
    Kind { is_invite: Method::of(&new.request) == Method::Invite, in_dialog }
}

/// RFC 4028 §4: the session lasts for so long without a refresh.
fn session_s(response: &Message) -> Option<u32> {
    response.header(&Name::SessionExpires)?.split(';').next()?.trim().parse().ok()
}
