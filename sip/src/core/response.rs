//! What comes back: responses to our branches, time-outs, broken hops, CANCEL. RFC 3261 §16.7 to §16.10.

use super::{
    ClientKey, ClientMachine, Core, Hop, Now, ServerKey, TIMER_C, Timer,
    context::BranchState,
    forward::{contact_uri, with_uri},
    register::realm_of,
};
use crate::{
    Output,
    auth::strip_challenges,
    message::{Editor, Message, Name, RequestBuilder},
    output::CallProgress,
    token::Side,
    transaction::Client,
};

impl Core {
    pub(super) fn on_response(&mut self, now: Now, hop: &Hop, response: Message) {
        let Some(via) = response.via() else { return };
        let (Some(branch), Some((_, method))) = (via.branch(), response.cseq()) else { return };
        if let Some(id) = self.pings.on_response(branch) {
            return self.out.push_back(Output::Pinged { id, alive: true });
        }
        let key = (branch.to_owned(), method.to_owned());
        let status = response.status().unwrap_or_default();
        let Some(tx) = self.clients.get_mut(&key) else {
            // A CANCEL's answer, or a stray: never relayed (it would make us a reflector).
            return if method == "CANCEL" { () } else { self.count("stray_response") };
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
        if matches!(verdict, Client::Pass | Client::PassAndAck) {
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
                self.doom_others(now, id, key, "SIP;cause=600");
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
            return self.cancel_branch(id, key);
        }
        if status == 100 {
            return;
        }
        self.set_timer(Timer::C(id), Some(now.mono + TIMER_C));
        if let Some(side) = side {
            self.tell(id, &side, CallProgress::Ringing);
        }
        self.pass(now, id, key, status, response);
    }

    /// A 2xx goes up at once, each repetition too; the other branches are cancelled (§16.7 step 10).
    fn on_success(&mut self, now: Now, id: u64, key: &ClientKey, response: &Message) {
        self.branch_done(id, key);
        let Some(context) = self.contexts.get_mut(&id) else { return };
        let is_invite = context.is_invite;
        context.decided = true;
        let side = context.branches.iter().find(|b| b.key == *key).map(|b| b.side.clone());
        self.set_timer(Timer::C(id), None);
        if let Some(side) = side.filter(|_| is_invite) {
            self.remember_callee(id, &side, response);
            self.tell(id, &side, CallProgress::Answered);
        }
        self.pass(now, id, key, 200, response);
        self.doom_others(now, id, key, "SIP;cause=200;text=\"Call completed elsewhere\"");
        if !is_invite {
            self.contexts.remove(&id);
        }
    }

    fn tell(&mut self, id: u64, side: &Side, what: CallProgress) {
        let Some(context) = self.contexts.get(&id) else { return };
        if context.in_dialog || !context.is_invite {
            return;
        }
        let (request, caller, info) =
            (context.request.clone(), context.caller_side.clone(), context.info.clone());
        self.call_event(&request, &caller, side, &info, what);
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
        edit.remove_first_values(&Name::Via, 1);
        let ours = [realm_of(&info.caller), self.config.addressing.default_realm.as_str()];
        let bare = strip_challenges(response, &mut edit, &ours);
        if matches!(status, 401 | 407) && bare {
            return self.respond(now, &server, 403, "Forbidden", &[]);
        }
        match &asker {
            Hop::Peer(_) if from_phone => {
                if response.header(&Name::Contact).is_some() && !in_dialog || is_target_refresh(response) {
                    let canonical = super::CallInfo { vouch: None, ..info };
                    self.hide_contact_only(&mut edit, response, &canonical);
                }
            }
            _ => {}
        }
        restore_identities(&mut edit, &request, response);
        let bytes = edit.build();
        self.respond_raw(now, &server, status, bytes);
    }

    fn hide_contact_only(&self, edit: &mut Editor<'_>, response: &Message, info: &super::CallInfo) {
        self.hide_phone(edit, response, info);
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
            let more = !context.decided && !context.cancelled && !context.waiting.is_empty();
            if !more || !self.next_group(now, id) {
                break;
            }
        }
        self.finish(now, id);
    }

    /// A branch of this request could not be sent at all.
    pub(super) fn settle_unreachable(&mut self, now: Now, key: &ServerKey) {
        if let Some(id) = self.servers.get(key).and_then(|tx| tx.context) {
            self.settle(now, id);
        }
    }

    fn finish(&mut self, now: Now, id: u64) {
        self.set_timer(Timer::C(id), None);
        let Some(mut context) = self.contexts.remove(&id) else { return };
        let server = context.server.clone();
        let best = context.best.take();
        let status = match &best {
            _ if context.cancelled => 487,
            // §16.7 step 6: a lone 503 of the far side is not ours to pass on.
            Some((503, _)) => 500,
            Some((status, _)) => *status,
            None if context.in_dialog => 481,
            None => 480,
        };
        if context.is_invite && !context.in_dialog {
            let side = context.branches.first().map(|b| b.side.clone());
            if let Some(side) = side {
                let (request, caller, info) = (&context.request, &context.caller_side, &context.info);
                self.call_event(request, caller, &side, info, CallProgress::Failed { status });
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

    /// CANCEL for every branch but one.
    fn doom_others(&mut self, now: Now, id: u64, winner: &ClientKey, reason: &str) {
        let Some(context) = self.contexts.get_mut(&id) else { return };
        context.waiting.clear();
        context.reason = Some(reason.to_owned());
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
        let _ = now;
        for key in ready {
            self.cancel_branch(id, &key);
        }
    }

    fn cancel_branch(&mut self, id: u64, key: &ClientKey) {
        let reason = self.contexts.get(&id).and_then(|c| c.reason.clone());
        let Some(tx) = self.clients.get(key) else { return };
        let bytes = RequestBuilder::cancel_for(&tx.request, reason.as_deref());
        let hop = tx.hop.clone();
        self.send(&hop, bytes, None, false);
    }

    /// The caller gave up.
    pub(super) fn cancel_context(&mut self, now: Now, id: u64, reason: Option<String>) {
        let Some(context) = self.contexts.get_mut(&id) else { return };
        if context.decided {
            return;
        }
        context.cancelled = true;
        let nobody = (String::new(), "nobody".to_owned());
        self.doom_others(now, id, &nobody, reason.as_deref().unwrap_or("SIP;cause=487"));
        self.settle(now, id);
    }

    pub(super) fn on_timer_c(&mut self, now: Now, id: u64) {
        self.count("timer_c");
        self.cancel_context(now, id, None);
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
                self.branch_done(id, &key);
                self.settle_timeout(now, id);
            }
            Client::Done => {
                self.clients.remove(&key);
                let orphan = !self.clients.values().any(|tx| tx.context == id);
                if orphan && self.contexts.get(&id).is_some_and(|c| c.all_done()) {
                    self.contexts.remove(&id);
                    self.set_timer(Timer::C(id), None);
                }
            }
            _ => self.reschedule_client(&key),
        }
    }

    fn settle_timeout(&mut self, now: Now, id: u64) {
        let Some(context) = self.contexts.get(&id) else { return };
        let last =
            context.all_done() && context.best.is_none() && context.waiting.is_empty() && !context.cancelled;
        if last && !context.decided {
            let server = context.server.clone();
            self.respond(now, &server, 408, "Request Timeout", &[]);
            self.set_timer(Timer::C(id), None);
            self.contexts.remove(&id);
            return;
        }
        if !context.decided {
            self.settle(now, id);
        }
    }

    /// A connection or link broke: its unanswered branches fail as 503 (§16.9).
    pub(super) fn on_hop_down(&mut self, now: Now, hop: &Hop) {
        let open = |tx: &&super::ClientTx| tx.hop == *hop;
        let keys: Vec<ClientKey> =
            self.clients.iter().filter(|(_, tx)| open(&tx)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(tx) = self.clients.remove(&key) else { continue };
            self.set_timer(Timer::Client(key.clone()), None);
            self.branch_done(tx.context, &key);
            if self.contexts.get(&tx.context).is_some_and(|c| !c.decided) {
                self.settle(now, tx.context);
            }
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
