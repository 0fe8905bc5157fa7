//! What comes back: responses to our branches, time-outs, broken hops, CANCEL. RFC 3261 §16.7 to §16.10.

use super::{
    ClientKey, ClientMachine, ClientTx, Core, Hop, Now, TIMER_C, Timer,
    context::BranchState,
    forward::{contact_uri, with_uri},
};
use crate::{
    Output,
    auth::strip_challenges,
    message::{Editor, Message, Name, RequestBuilder},
    output::CallProgress,
    token::Side,
    transaction::{Client, GIVE_UP, NonInviteClient},
};

impl Core {
    pub(super) fn on_response(&mut self, now: Now, hop: &Hop, response: Message) {
        let Some(via) = response.via() else { return };
        let (Some(branch), Some((_, method))) = (via.branch(), response.cseq()) else { return };
        let key = (branch.to_owned(), method.to_owned());
        if let Some(id) = self.pings.on_response(branch) {
            self.drop_client(&key);
            return self.out.push_back(Output::Pinged { id, alive: true });
        }
        let status = response.status().unwrap_or_default();
        let Some(tx) = self.clients.get_mut(&key) else {
            // Never relayed: it would make us a reflector.
            return self.count("stray_response");
        };
        // Only the hop that we asked may answer.
        let same = match (&tx.hop, hop) {
            (Hop::Peer(a), Hop::Peer(b)) => a == b,
            (Hop::Phone(a), Hop::Phone(b)) => a.transport == b.transport && a.remote.ip() == b.remote.ip(),
            _ => false,
        };
        if !same {
            return self.count("stray_response");
        }
        let verdict = match &mut tx.machine {
            ClientMachine::Invite(m) => m.on_response(now.mono, status),
            ClientMachine::Other(m) => m.on_response(now.mono, status),
        };
        if matches!(verdict, Client::PassAndAck | Client::Ack) {
            let ack = RequestBuilder::ack_for(&tx.request, &response);
            let hop = tx.hop.clone();
            self.send(&hop, ack, None, false);
        }
        self.reschedule_client(&key);
        // A CANCEL and its answers are hop by hop (§9.2).
        if key.1 != "CANCEL" && matches!(verdict, Client::Pass | Client::PassAndAck) {
            self.on_branch_response(now, &key, status, response);
        }
    }

    fn on_branch_response(&mut self, now: Now, key: &ClientKey, status: u16, response: Message) {
        let Some(id) = self.clients.get(key).map(|tx| tx.context) else { return };
        if status < 200 {
            self.on_provisional(now, id, key, status, &response);
        } else if status < 300 {
            self.on_success(now, id, key, &response);
        } else {
            self.branch_done(id, key);
            if let Some(context) = self.contexts.get_mut(&id) {
                if status >= 600 {
                    context.decided = true;
                }
                context.consider(status, response);
            }
            if status >= 600 {
                self.doom_others(now, id, key, Some("SIP;cause=600"));
            }
            self.settle(now, id);
        }
    }

    fn on_provisional(&mut self, now: Now, id: u64, key: &ClientKey, status: u16, response: &Message) {
        let Some(context) = self.contexts.get_mut(&id) else { return };
        let mut doomed = false;
        let mut side = None;
        if let Some(branch) = context.branches.iter_mut().find(|b| b.key == *key) {
            if branch.state == BranchState::Calling {
                branch.state = BranchState::Proceeding;
            }
            doomed = branch.doomed;
            side = Some(branch.side.clone());
        }
        if doomed {
            return self.cancel_branch(now, id, key);
        }
        if status == 100 {
            return;
        }
        self.set_timer(Timer::C(id), Some(now.mono + TIMER_C));
        if let Some(side) = side {
            self.tell(id, &side, CallProgress::Ringing, &[]);
        }
        self.pass(now, id, key, status, response);
    }

    /// A 2xx goes up at once, each repetition too; the other branches are cancelled (§16.7 step 10).
    fn on_success(&mut self, now: Now, id: u64, key: &ClientKey, response: &Message) {
        self.branch_done(id, key);
        let Some(context) = self.contexts.get_mut(&id) else { return };
        let is_invite = context.is_invite;
        context.decided = true;
        context.answered = true;
        let side = context.branches.iter().find(|b| b.key == *key).map(|b| b.side.clone());
        self.set_timer(Timer::C(id), None);
        if let Some(side) = side.filter(|_| is_invite) {
            self.remember_callee(id, &side, response);
            self.tell(id, &side, CallProgress::Answered, response.body());
        }
        self.pass(now, id, key, 200, response);
        self.doom_others(now, id, key, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
        if !is_invite {
            self.contexts.remove(&id);
        }
    }

    fn tell(&mut self, id: u64, side: &Side, what: CallProgress, sdp: &[u8]) {
        let Some(context) = self.contexts.get(&id) else { return };
        if context.in_dialog || !context.is_invite {
            return;
        }
        let (request, caller, info) =
            (context.request.clone(), context.caller_side.clone(), context.info.clone());
        self.call_event(&request, &caller, side, &info, what, sdp);
    }

    fn remember_callee(&mut self, id: u64, side: &Side, response: &Message) {
        let Some(context) = self.contexts.get(&id) else { return };
        if context.in_dialog || matches!(side, Side::Peer(_)) {
            return;
        }
        let Some(call_id) = response.call_id().map(str::to_owned) else { return };
        let Some(tag) = response.from().and_then(|f| f.tag()).map(str::to_owned) else { return };
        let contact = contact_uri(response);
        self.dialog(&call_id, &tag).callee_contact = contact;
    }

    /// A response as the asker sees it: without our Via, its own From and To, no challenge in our name.
    fn pass(&mut self, now: Now, id: u64, key: &ClientKey, status: u16, response: &Message) {
        let Some(context) = self.contexts.get(&id) else { return };
        let (server, request, info) = (context.server.clone(), context.request.clone(), context.info.clone());
        let in_dialog = context.in_dialog;
        let Some(asker) = self.servers.get(&server).map(|tx| tx.hop.clone()) else { return };
        let from_phone = self.clients.get(key).is_some_and(|tx| matches!(tx.hop, Hop::Phone(_)));
        let mut edit = Editor::new(response);
        // Without our own on top these are the asker's; the overlay leg knew none of them (`common`).
        let vias: Vec<String> = request.values(&Name::Via).map(str::to_owned).collect();
        edit.set_values(&Name::Via, &vias);
        let bare = strip_challenges(response, &mut edit, &self.guarded_realms(&info));
        if matches!(status, 401 | 407) && bare {
            return self.respond(now, &server, 403, "Forbidden", &[]);
        }
        // A 3xx names others and passes as it is; the Contact of a dialog is our phone's.
        let names_phone = status < 300 && (!in_dialog || is_target_refresh(response));
        if matches!(asker, Hop::Peer(_)) && from_phone && names_phone {
            self.hide_phone(&mut edit, response, &info);
        }
        restore_identities(&mut edit, &request, response);
        let bytes = edit.build();
        self.respond_raw(now, &server, status, bytes);
    }

    fn branch_done(&mut self, id: u64, key: &ClientKey) {
        if let Some(context) = self.contexts.get_mut(&id)
            && let Some(branch) = context.branches.iter_mut().find(|b| b.key == *key)
        {
            branch.state = BranchState::Done;
        }
    }

    /// All branches of a group have failed: the next group, or the best answer.
    pub(super) fn settle(&mut self, now: Now, id: u64) {
        loop {
            let Some(context) = self.contexts.get(&id) else { return };
            if !context.all_done() {
                return;
            }
            if context.answered {
                return self.forget_if_orphan(id);
            }
            let more = !context.decided && !context.cancelled && !context.waiting.is_empty();
            if !more || !self.next_group(now, id) {
                break;
            }
        }
        self.finish(now, id);
    }

    /// An answered context lives while a branch may repeat its 2xx (timer M).
    fn forget_if_orphan(&mut self, id: u64) {
        let Some(context) = self.contexts.get(&id) else { return };
        if context.all_done() && !context.branches.iter().any(|b| self.clients.contains_key(&b.key)) {
            self.contexts.remove(&id);
            self.set_timer(Timer::C(id), None);
        }
    }

    fn finish(&mut self, now: Now, id: u64) {
        self.set_timer(Timer::C(id), None);
        let Some(mut context) = self.contexts.remove(&id) else { return };
        let server = context.server.clone();
        let status = context.verdict();
        let best = context.best.take();
        if context.is_invite && !context.in_dialog {
            let side = context.branches.first().map(|b| b.side.clone());
            if let Some(side) = side {
                let (request, caller, info) = (&context.request, &context.caller_side, &context.info);
                self.call_event(request, caller, &side, info, CallProgress::Failed { status }, &[]);
            }
        }
        match best {
            Some((found, response)) if found == status => {
                let branch = response.via().and_then(|v| v.branch()).unwrap_or_default().to_owned();
                let key = (branch, context.request.method().to_owned());
                self.contexts.insert(id, context);
                self.pass(now, id, &key, status, &response);
                self.contexts.remove(&id);
            }
            _ => self.respond(now, &server, status, reason_of(status), &[]),
        }
    }

    /// A peer that has not even said 100 (design: a call): it hangs, and the next one is tried. The link keeps order, so a
    /// CANCEL can follow the INVITE at once.
    pub(super) fn on_no_trying(&mut self, now: Now, key: &ClientKey) {
        let Some(tx) = self.clients.get(key) else { return };
        let (id, hop) = (tx.context, tx.hop.clone());
        let cancel = RequestBuilder::cancel_for(&tx.request, None);
        let Some(context) = self.contexts.get_mut(&id) else { return };
        let waiting = |b: &&mut super::context::Branch| b.key == *key && b.state == BranchState::Calling;
        let Some(branch) = context.branches.iter_mut().find(waiting) else { return };
        branch.state = BranchState::Done;
        context.lost = Some(503);
        self.drop_client(key);
        self.count("peer_said_nothing");
        self.send(&hop, cancel, None, false);
        self.settle(now, id);
    }

    /// CANCEL for every branch but one.
    fn doom_others(&mut self, now: Now, id: u64, winner: &ClientKey, reason: Option<&str>) {
        let Some(context) = self.contexts.get_mut(&id) else { return };
        context.waiting.clear();
        context.reason = reason.map(str::to_owned);
        let mut ready = Vec::new();
        for branch in context.branches.iter_mut().filter(|b| b.key != *winner) {
            match branch.state {
                BranchState::Done => {}
                BranchState::Calling => branch.doomed = true,
                BranchState::Proceeding if !branch.doomed => {
                    branch.doomed = true;
                    ready.push(branch.key.clone());
                }
                BranchState::Proceeding => {}
            }
        }
        for key in ready {
            self.cancel_branch(now, id, &key);
        }
    }

    /// A transaction of its own (§9.1), and 64*T1 for the INVITE to end in 487.
    fn cancel_branch(&mut self, now: Now, id: u64, key: &ClientKey) {
        let reason = self.contexts.get(&id).and_then(|c| c.reason.clone());
        let cancel_key = (key.0.clone(), "CANCEL".to_owned());
        let Some(tx) = self.clients.get(key) else { return };
        if self.clients.contains_key(&cancel_key) {
            return;
        }
        let bytes = RequestBuilder::cancel_for(&tx.request, reason.as_deref());
        let hop = tx.hop.clone();
        if let Ok(request) = Message::parse(bytes.clone()) {
            let machine = ClientMachine::Other(NonInviteClient::new(now.mono, hop.is_reliable()));
            let tx = ClientTx { machine, hop: hop.clone(), request, context: id };
            self.clients.insert(cancel_key.clone(), tx);
            self.reschedule_client(&cancel_key);
        }
        self.set_timer(Timer::C(id), Some(now.mono + GIVE_UP));
        self.send(&hop, bytes, None, false);
    }

    /// The caller gave up.
    pub(super) fn cancel_context(&mut self, now: Now, id: u64, reason: Option<String>) {
        let reason = reason.unwrap_or_else(|| "SIP;cause=487".to_owned());
        self.end_context(now, id, Some(&reason));
    }

    fn end_context(&mut self, now: Now, id: u64, reason: Option<&str>) {
        let Some(context) = self.contexts.get_mut(&id) else { return };
        if context.decided || context.cancelled {
            return;
        }
        context.cancelled = true;
        let nobody = (String::new(), "nobody".to_owned());
        self.doom_others(now, id, &nobody, reason);
        self.settle(now, id);
    }

    /// §16.8: it rang too long; or a cancelled branch did not end in time and is given up.
    pub(super) fn on_timer_c(&mut self, now: Now, id: u64) {
        let Some(context) = self.contexts.get_mut(&id) else { return };
        if !context.cancelled && !context.decided {
            context.lost = Some(408);
            self.count("timer_c");
            return self.end_context(now, id, None);
        }
        let open = context.branches.iter_mut().filter(|b| b.state != BranchState::Done);
        let keys: Vec<ClientKey> = open
            .map(|branch| {
                branch.state = BranchState::Done;
                branch.key.clone()
            })
            .collect();
        for key in keys {
            self.drop_client(&key);
        }
        self.settle(now, id);
    }

    pub(super) fn on_client_deadline(&mut self, now: Now, key: ClientKey) {
        let Some(tx) = self.clients.get_mut(&key) else { return };
        let verdict = match &mut tx.machine {
            ClientMachine::Invite(m) => m.on_deadline(now.mono),
            ClientMachine::Other(m) => m.on_deadline(now.mono),
        };
        let (hop, id) = (tx.hop.clone(), tx.context);
        match verdict {
            Client::Resend => {
                let bytes = tx.request.raw().to_vec();
                self.send(&hop, bytes, None, false);
                self.reschedule_client(&key);
            }
            Client::TimedOut => {
                self.clients.remove(&key);
                self.branch_lost(now, id, &key, 408);
            }
            Client::Done => {
                self.clients.remove(&key);
                if self.contexts.get(&id).is_some_and(|c| c.answered) {
                    self.forget_if_orphan(id);
                }
            }
            _ => self.reschedule_client(&key),
        }
    }

    /// No final response will come on this branch.
    fn branch_lost(&mut self, now: Now, id: u64, key: &ClientKey, status: u16) {
        let Some(context) = self.contexts.get_mut(&id) else { return };
        let Some(branch) = context.branches.iter_mut().find(|b| b.key == *key) else { return };
        if branch.state != BranchState::Done {
            branch.state = BranchState::Done;
            if !context.cancelled {
                context.lost = Some(status);
            }
        }
        self.settle(now, id);
    }

    /// The link toward a peer had no room for this message. A response or an ACK is lost, as it would be on a wire.
    pub(super) fn on_not_queued(&mut self, now: Now, bytes: Vec<u8>) {
        let Ok(message) = Message::parse_lenient(bytes) else { return };
        let branch = message.via().and_then(|v| v.branch()).map(str::to_owned);
        let Some(key) = branch.filter(|_| message.is_request()).map(|b| (b, message.method().to_owned()))
        else {
            return;
        };
        let Some(id) = self.clients.get(&key).map(|tx| tx.context) else { return };
        self.drop_client(&key);
        self.branch_lost(now, id, &key, 503);
    }

    /// A connection or link broke: its unanswered branches fail as 503 (§16.9).
    pub(super) fn on_hop_down(&mut self, now: Now, hop: &Hop) {
        let on_it = self.clients.iter().filter(|(_, tx)| tx.hop == *hop);
        let keys: Vec<ClientKey> = on_it.map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(id) = self.clients.get(&key).map(|tx| tx.context) else { continue };
            self.drop_client(&key);
            self.branch_lost(now, id, &key, 503);
        }
    }
}

/// From and To go back as the asker wrote them; To keeps the tag that the answer gave it.
fn restore_identities(edit: &mut Editor<'_>, request: &Message, response: &Message) {
    if let Some(from) = request.header(&Name::From) {
        edit.set(&Name::From, from);
    }
    if let (Some(asked), Some(answered)) = (request.to(), response.header(&Name::To)) {
        edit.set(&Name::To, &with_uri(answered, asked.uri()));
    }
}

fn is_target_refresh(response: &Message) -> bool {
    response.header(&Name::Contact).is_some()
        && matches!(response.method(), "INVITE" | "UPDATE" | "SUBSCRIBE")
}

fn reason_of(status: u16) -> &'static str {
    match status {
        408 => "Request Timeout",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        487 => "Request Terminated",
        500 => "Server Internal Error",
        _ => "Failed",
    }
}
