//! A request that is being forwarded: does what its response context says. It knows nothing of the session that it is the
//! last stage of: what happens to it gives [`Actions`], and [`Forwarding::act`] does them and says whether more can come.

use super::{
    Hands,
    calls::Call,
    dialog::Pass,
    inbound::Passing,
    memory::{Dialogs, Phase, short},
    outbound::Original,
    response_context::{Action, BranchNumber, Final, Kind, ResponseContext},
    rewrite::contact_uri,
    target::Target,
};
use crate::{
    border::parties::Parties,
    cx::Cx,
    hop::Hop,
    ids::{AskId, ClientKey, DialogKey, Method},
    limits::{LISTENING_WITHIN, TIMER_C, TRYING_WITHIN},
    message::{Message, Name},
    output::{About, CallName, CallProgress, CallSide},
    status::{self, Status},
    token::Side,
    transaction::{Lost, NewRequest, Outgoing, User},
};
use std::{collections::VecDeque, time::Instant};

pub(super) struct Forwarding {
    /// The session's.
    id: AskId,
    pub context: ResponseContext<Target, Message>,
    branches: Vec<Branch>,
    from: Side,
    parties: Parties,
    /// In a dialog: by which token. Nothing is told of it as a new call.
    pass: Option<Pass>,
}

/// A branch that was tried, by its number in the context.
struct Branch {
    target: Target,
    /// `None`: it could not be sent.
    client: Option<ClientKey>,
}

pub(super) type Actions = Vec<Action<Target, Message>>;

impl Forwarding {
    /// A request outside a dialog, to these targets with their `q`; or what it is answered.
    pub fn outside(
        hands: &mut Hands<'_, '_>,
        (id, new): (AskId, &NewRequest),
        from: Side,
        parties: Parties,
        targets: Vec<(u16, Target)>,
    ) -> Result<Forwarding, Status> {
        if begins_dialog(&new.request) {
            if is_of_others(hands.cx, hands.dialogs, &new.request, &parties) {
                hands.cx.count("dialog_name_taken");
                return Err(status::LOOP_DETECTED);
            }
            remember_caller(hands.cx, hands.dialogs, &new.request, &from, &parties);
        }
        let context = ResponseContext::new(kind(new, false), targets);
        Ok(Forwarding { id, context, branches: Vec::new(), from, parties, pass: None })
    }

    /// A request in a dialog, to the side that its token says.
    pub fn in_dialog(
        (id, new): (AskId, &NewRequest),
        pass: Pass,
        parties: Parties,
        target: Target,
    ) -> Forwarding {
        let context = ResponseContext::new(kind(new, true), vec![(0, target)]);
        let from = pass.way.sender().clone();
        Forwarding { id, context, branches: Vec::new(), from, parties, pass: Some(pass) }
    }

    pub fn on_response(&mut self, new: &NewRequest, client: ClientKey, response: Message) -> Actions {
        let status = match response.status().unwrap_or_default() {
            // No challenge of a callee crosses the overlay: none of them is the best answer, or added to it.
            401 | 407 if self.is_across(new, client) => status::FORBIDDEN.0,
            status => status,
        };
        self.on_branch(client, |context, branch| match status {
            ..200 => context.on_provisional(branch, status, response),
            200..300 => context.on_success(branch, status, response),
            _ => context.on_failure(branch, status, response),
        })
    }

    /// Does this branch lead to another peer, or come the request from one?
    fn is_across(&self, new: &NewRequest, client: ClientKey) -> bool {
        let branch = self.branches.iter().find(|branch| branch.client == Some(client));
        matches!(new.hop, Hop::Peer(_)) || branch.is_some_and(|branch| branch.target.peer().is_some())
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
                Action::Finish(end) => self.finish(hands, new, end),
                Action::Forget => {
                    self.drop_branches(hands);
                    return false;
                }
            }
        }
        true
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
            Target::Peer(_) => initial.then_some(TRYING_WITHIN),
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
        let outgoing = Outgoing { hop: target.hop(), branch, request, grant, about, first_word_within };
        hands.tx.request(hands.cx, outgoing, User::Proxy(self.id))
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
        Original { request: &new.request, hop: &new.hop, from: &self.from, parties: &self.parties }
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
        self.remember_leg(hands, new, status, to_tag);
        if status < 200 {
            self.tell(hands.cx, new, (&side, None), CallProgress::Ringing, &[]);
        } else {
            self.remember_callee(hands, new, &side, response);
            let answered = CallProgress::Answered { session_s: session_s(response) };
            self.tell(hands.cx, new, (&side, to_tag), answered, response.body());
        }
        self.send_back(hands, new, branch, response, &[]);
    }

    fn finish(&mut self, hands: &mut Hands<'_, '_>, new: &NewRequest, end: Final<Message>) {
        let status = match &end {
            Final::Best { status, .. } | Final::Own(status) => *status,
        };
        if let Some(side) = self.branches.first().map(|branch| branch.target.side()) {
            self.tell(hands.cx, new, (&side, None), CallProgress::Failed { status }, &[]);
        }
        if self.pass.is_none()
            && begins_dialog(&new.request)
            && let Some(key) = self.original(new).dialog(hands.cx)
        {
            hands.dialogs.forget_unanswered(key);
        }
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
        let passing = Passing {
            request: &new.request,
            asker: &new.hop,
            from_phone: branch.target.peer().is_none(),
            parties: &self.parties,
        };
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

    /// How far the dialog with this callee is.
    fn remember_leg(&self, hands: &mut Hands<'_, '_>, new: &NewRequest, status: u16, to_tag: Option<&str>) {
        let now_ms = hands.cx.now.wall_ms;
        if let Some(pass) = &self.pass {
            if status >= 200 && matches!(Method::of(&new.request), Method::Invite | Method::Update) {
                pass.confirm(hands.dialogs, now_ms);
            }
            return;
        }
        let (Some(tag), true, true) = (to_tag, status > 100, begins_dialog(&new.request)) else { return };
        let Some(key) = self.original(new).dialog(hands.cx) else { return };
        hands.dialogs.note(key, |dialog| {
            dialog.is_answered |= status >= 200;
            if let Some(leg) = dialog.leg_mut(tag, now_ms)
                && status >= 200
                && leg.phase == Phase::Early
            {
                leg.phase = Phase::Up;
            }
        });
    }

    fn remember_callee(&self, hands: &mut Hands<'_, '_>, new: &NewRequest, side: &Side, response: &Message) {
        if !self.is_call(new) {
            return;
        }
        if let Some(key) = self.original(new).dialog(hands.cx) {
            let is_ours = !matches!(side, Side::Peer(_));
            let contact = contact_uri(response).and_then(short).filter(|_| is_ours);
            hands.dialogs.note(key, |dialog| {
                if is_ours {
                    dialog.callee_contact = contact;
                }
            });
        }
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

/// What begins a dialog when it is answered (§12.1; RFC 6665 §4.1).
fn begins_dialog(request: &Message) -> bool {
    matches!(Method::of(request), Method::Invite | Method::Subscribe)
}

/// RFC 4028 §4: the session lasts for so long without a refresh.
fn session_s(response: &Message) -> Option<u32> {
    response.header(&Name::SessionExpires)?.split(';').next()?.trim().parse().ok()
}

/// Call-ID and From-tag name one dialog (§12), whoever repeats them: where they are remembered for somebody else, this request
/// would take that dialog over, and what passes in it would be judged by the wrong parties. As a merged request (§8.2.2.2)
/// it is 482. The same two may call again; a call that nobody has answered may be sent on to another callee (a spiral), who
/// is no nearer to the caller; one that failed is remembered no longer.
fn is_of_others(cx: &Cx<'_>, dialogs: &Dialogs, request: &Message, parties: &Parties) -> bool {
    let (Some(call_id), Some(from)) = (request.call_id(), request.from()) else { return false };
    let Some(tag) = from.tag() else { return false };
    let Some(dialog) = dialogs.find(DialogKey::new(call_id, tag, &cx.base.secret)) else { return false };
    let Some(known) = &dialog.parties else { return false };
    let comes_nearer = known.are_strangers() && !parties.are_strangers();
    known.caller != parties.caller || (known.callee != parties.callee && (dialog.is_answered || comes_nearer))
}

/// What the calling phone wrote, to be given back to it later.
fn remember_caller(cx: &Cx<'_>, dialogs: &mut Dialogs, request: &Message, from: &Side, parties: &Parties) {
    let (Some(call_id), Some(from_addr)) = (request.call_id(), request.from()) else { return };
    let Some(tag) = from_addr.tag() else { return };
    let key = DialogKey::new(call_id, tag, &cx.base.secret);
    let from_phone = !matches!(from, Side::Peer(_));
    dialogs.note(key, |dialog| {
        dialog.is_whole = true;
        dialog.parties = Some(parties.clone());
        if from_phone {
            dialog.caller_contact = contact_uri(request).and_then(short);
            dialog.caller_from = short(from_addr.uri().to_owned());
            dialog.caller_to = request.to().and_then(|to| short(to.uri().to_owned()));
        }
    });
}
