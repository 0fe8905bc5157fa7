//! What leaves: a request copied for one branch (RFC 3261 §16.6).

use super::{
    CallInfo, ClientMachine, ClientTx, Core, Hop, Now, ServerKey, TIMER_C, TRANSACTIONS_MAX, TRYING_WITHIN,
    Timer,
    context::{Branch, BranchState, Context, Target},
};
use crate::{
    auth::strip_credentials,
    message::{Editor, Message, Name, NameAddr},
    output::CallProgress,
    ping::request_uri,
    token::{Side, Token},
    transaction::{InviteClient, NonInviteClient},
    uri::{Uri, escape_user},
};

impl Core {
    /// Starts a response context for a request outside a dialog.
    pub(super) fn fork(
        &mut self,
        now: Now,
        key: &ServerKey,
        caller_side: Side,
        info: CallInfo,
        mut targets: Vec<Target>,
    ) {
        let Some(tx) = self.servers.get(key) else { return };
        let request = tx.request.clone();
        if targets.is_empty() {
            return self.respond(now, key, 480, "Temporarily Unavailable", &[]);
        }
        targets.sort_by_key(|t| t.q);
        let is_invite = request.method() == "INVITE";
        if is_invite {
            self.remember_caller(&request, &caller_side, &info);
        }
        let mut context = Context::new(key.clone(), request, caller_side, info);
        context.waiting = targets;
        self.start_context(now, key, context);
    }

    pub(super) fn start_context(&mut self, now: Now, key: &ServerKey, context: Context) {
        self.next_id += 1;
        let id = self.next_id;
        if let Some(tx) = self.servers.get_mut(key) {
            tx.context = Some(id);
        }
        self.contexts.insert(id, context);
        self.next_group(now, id);
        // Nothing may have been sent at all.
        self.settle(now, id);
    }

    /// Sends the request to the next group of targets; `false`: nobody is left.
    pub(super) fn next_group(&mut self, now: Now, id: u64) -> bool {
        let Some(context) = self.contexts.get_mut(&id) else { return false };
        let group = context.next_group();
        if group.is_empty() {
            return false;
        }
        for target in group {
            self.try_target(now, id, target.side);
        }
        if self.contexts.get(&id).is_some_and(|c| c.is_invite) {
            self.set_timer(Timer::C(id), Some(now.mono + TIMER_C));
        }
        true
    }

    fn try_target(&mut self, now: Now, id: u64, side: Side) {
        let Some(context) = self.contexts.get(&id) else { return };
        let (request, caller_side, info) =
            (context.request.clone(), context.caller_side.clone(), context.info.clone());
        let in_dialog = context.in_dialog;
        let Some((hop, uri, path)) = self.reach(now, &side) else {
            self.branch_failed(id, &side);
            return;
        };
        if self.clients.len() >= TRANSACTIONS_MAX {
            self.count("sip_overload");
            return self.branch_failed(id, &side);
        }
        let mut branch = self.branch();
        if !in_dialog {
            branch = format!("{branch}.{}", self.loop_mark(&request));
        }
        let bytes = if in_dialog {
            self.dialog_copy(&request, &hop, &branch)
        } else {
            self.initial_copy(&request, &hop, &branch, &caller_side, &side, &info, uri, &path)
        };
        let Ok(sent) = Message::parse(bytes.clone()) else { return self.branch_failed(id, &side) };
        let method = request.method().to_owned();
        let key = (branch, method.clone());
        let machine = if method == "INVITE" {
            ClientMachine::Invite(InviteClient::new(now.mono, hop.is_reliable()))
        } else {
            ClientMachine::Other(NonInviteClient::new(now.mono, hop.is_reliable()))
        };
        let tx = ClientTx { machine, hop: hop.clone(), request: sent, context: id };
        self.clients.insert(key.clone(), tx);
        self.reschedule_client(&key);
        if let Some(context) = self.contexts.get_mut(&id) {
            context.branches.push(Branch {
                key: key.clone(),
                side: side.clone(),
                state: BranchState::Calling,
                doomed: false,
            });
        }
        let grant = info.vouch.as_ref().map(|v| v.grant.clone());
        self.send(&hop, bytes, grant, !in_dialog);
        if method == "INVITE" && !in_dialog {
            if let Hop::Peer(_) = hop {
                self.set_timer(Timer::Trying(key), Some(now.mono + TRYING_WITHIN));
            }
            self.call_event(&request, &caller_side, &side, &info, CallProgress::Started, request.body());
        }
    }

    /// A branch that could not even be sent counts as 503 (§16.9).
    fn branch_failed(&mut self, id: u64, side: &Side) {
        self.count("branch_unreachable");
        tracing::debug!(?side, "a branch has no way to go");
        if let Some(context) = self.contexts.get_mut(&id) {
            let key = (String::new(), String::new());
            context.branches.push(Branch {
                key,
                side: side.clone(),
                state: BranchState::Done,
                doomed: false,
            });
        }
    }

    /// The hop toward a side, and for a phone its Contact and Path.
    pub(super) fn reach(&self, now: Now, side: &Side) -> Option<(Hop, Option<String>, Vec<String>)> {
        match side {
            Side::Peer(label) => Some((Hop::Peer(label.clone()), None, Vec::new())),
            Side::Flow(flow) => Some((Hop::Phone(*flow), None, Vec::new())),
            Side::Phone { aor, instance } => {
                let binding = self.bindings.by_instance(aor, instance)?;
                let live = self.bindings.is_reachable(aor, instance) && binding.expires_at_ms > now.wall_ms;
                let uri = request_uri(&binding.contact).to_owned();
                live.then(|| (Hop::Phone(binding.flow), Some(uri), binding.path.clone()))
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn initial_copy(
        &mut self,
        request: &Message,
        hop: &Hop,
        branch: &str,
        caller_side: &Side,
        side: &Side,
        info: &CallInfo,
        uri: Option<String>,
        path: &[String],
    ) -> Vec<u8> {
        let mut edit = Editor::new(request);
        let aor_uri = format!("sip:{}", uri_of(&info.callee));
        edit.set_uri(&uri.unwrap_or(aor_uri));
        self.common(&mut edit, request, hop, branch);
        strip_credentials(&mut edit, &self.guarded_realms(info));
        edit.set_values(&Name::Route, path);
        // RFC 3325 §5: who speaks here is proven by From; what else claims to be proven is not.
        for claim in ["p-asserted-identity", "remote-party-id"] {
            edit.remove(&Name::Other(claim.to_owned()));
        }
        if matches!(request.method(), "INVITE" | "SUBSCRIBE") {
            let token = Token { caller: caller_side.clone(), callee: side.clone() };
            for route in self.record_routes(request, caller_side, hop, &token) {
                edit.prepend(&Name::RecordRoute, &route);
            }
        }
        match side {
            Side::Peer(_) => self.hide_phone(&mut edit, request, info),
            Side::Phone { aor, instance } => {
                if let Some(from) = self.caller_for(request, info, aor, instance) {
                    edit.set(&Name::From, &with_uri(request.header(&Name::From).unwrap_or_default(), &from));
                    self.remember_shown(request, from);
                }
            }
            Side::Flow(_) => {}
        }
        edit.build()
    }

    /// The caller as a phone can call back that knows its server by address alone: `alice@SERVER`, or with the realm,
    /// `alice%40a.net@SERVER`. None where it knows better, or the From names us already.
    fn caller_for(&self, request: &Message, info: &CallInfo, aor: &str, instance: &str) -> Option<String> {
        let server = self.bindings.by_instance(aor, instance)?.server.as_ref()?;
        let addressing = &self.config.addressing;
        let from = Uri::parse(request.from()?.uri()).ok()?;
        if addressing.is_own_host(from.host()) {
            return None;
        }
        let (user, realm) = info.caller.rsplit_once('@')?;
        let local = realm == addressing.default_realm;
        let user = if local { user.to_owned() } else { info.caller.clone() };
        Some(format!("sip:{}@{server}", escape_user(&user)))
    }

    /// The same name in every later request of the dialog.
    fn remember_shown(&mut self, request: &Message, from: String) {
        if let (Some(call_id), Some(tag)) = (request.call_id(), request.from().and_then(|f| f.tag())) {
            let (call_id, tag) = (call_id.to_owned(), tag.to_owned());
            self.dialog(&call_id, &tag).caller_shown = Some(from);
        }
    }

    /// Via, Max-Forwards. On the overlay leg ours is the only Via: a phone's address stays at its peer, which gives the
    /// others back with the response.
    pub(super) fn common(&self, edit: &mut Editor<'_>, request: &Message, hop: &Hop, branch: &str) {
        match hop {
            Hop::Phone(flow) => {
                let (transport, sent_by) = (flow.transport.as_str(), self.sent_by(flow));
                edit.prepend(&Name::Via, &format!("SIP/2.0/{transport} {sent_by};branch={branch}"));
            }
            Hop::Peer(_) => {
                let via = format!("SIP/2.0/DOTS {};branch={branch}", self.own_host());
                edit.set_values(&Name::Via, &[via]);
            }
        }
        let forwards = request.max_forwards().unwrap_or(71).saturating_sub(1).min(70);
        edit.set(&Name::MaxForwards, &forwards.to_string());
    }

    /// What brings the phones of this peer back to it: one Record-Route, or two where its two phones use different
    /// addresses or transports of ours, the one nearer the sender first (RFC 5658). The overlay side needs none: a
    /// peer sends where its token says, not where a host name points, and every byte counts.
    fn record_routes(&self, request: &Message, from: &Side, to: &Hop, token: &Token) -> Vec<String> {
        let (Some(call_id), Some(tag)) = (request.call_id(), request.from().and_then(|f| f.tag())) else {
            return Vec::new();
        };
        let sealed = token.seal(&self.token_key, call_id, tag);
        let near = match from {
            Side::Peer(_) => None,
            Side::Flow(flow) => Some(*flow),
            Side::Phone { aor, instance } => self.bindings.by_instance(aor, instance).map(|b| b.flow),
        };
        let far = match to {
            Hop::Peer(_) => None,
            Hop::Phone(flow) => Some(*flow),
        };
        let mut hosts: Vec<String> =
            [near, far].into_iter().flatten().map(|flow| phone_host(&self.sent_by(&flow), &flow)).collect();
        hosts.dedup();
        if hosts.is_empty() {
            hosts.push(self.own_host());
        }
        hosts.iter().map(|host| format!("<sip:{sealed}@{host};lr>")).collect()
    }

    /// Toward the overlay our phone's Contact is an opaque name at our host, and From and To are canonical.
    pub(super) fn hide_phone(&self, edit: &mut Editor<'_>, message: &Message, info: &CallInfo) {
        if message.header(&Name::Contact).is_some() {
            let contact = self.opaque_contact(message);
            edit.set_values(&Name::Contact, &[contact]);
        }
        if let Some(from) = message.header(&Name::From) {
            edit.set(&Name::From, &with_uri(from, &format!("sip:{}", uri_of(&info.caller))));
        }
        if let Some(to) = message.header(&Name::To) {
            edit.set(&Name::To, &with_uri(to, &format!("sip:{}", uri_of(&info.callee))));
        }
    }

    /// `<sip:TOKEN@p<label>.peer.dots>`: the same for the same Contact in the same dialog, and no address in it.
    fn opaque_contact(&self, message: &Message) -> String {
        use hmac::Mac;
        let mut mac =
            hmac::Hmac::<sha2::Sha256>::new_from_slice(&self.token_key).expect("HMAC takes any key");
        mac.update(b"contact");
        mac.update(message.call_id().unwrap_or_default().as_bytes());
        mac.update(message.header(&Name::Contact).unwrap_or_default().as_bytes());
        let hash = mac.finalize().into_bytes();
        let name =
            data_encoding::BASE32_NOPAD.encode(hash.get(..10).unwrap_or_default()).to_ascii_lowercase();
        format!("<sip:{name}@{}>", self.own_host())
    }

    /// What the calling phone wrote, to be given back to it later.
    fn remember_caller(&mut self, request: &Message, side: &Side, info: &CallInfo) {
        let (Some(call_id), Some(tag)) = (request.call_id(), request.from().and_then(|f| f.tag())) else {
            return;
        };
        let (call_id, tag) = (call_id.to_owned(), tag.to_owned());
        let from_phone = !matches!(side, Side::Peer(_));
        let contact = contact_uri(request);
        let from = request.from().map(|f| f.uri().to_owned());
        let to = request.to().map(|t| t.uri().to_owned());
        let info = info.clone();
        let dialog = self.dialog(&call_id, &tag);
        dialog.call = Some(info);
        if from_phone {
            dialog.caller_contact = contact;
            dialog.caller_from = from;
            dialog.caller_to = to;
        }
    }
}

pub(super) fn contact_uri(message: &Message) -> Option<String> {
    let value = message.values(&Name::Contact).next()?;
    NameAddr::parse(value).map(|c| c.uri().to_owned())
}

/// A From or To value with another URI; display name, tag and parameters stay.
pub(super) fn with_uri(value: &str, uri: &str) -> String {
    let Some(parsed) = NameAddr::parse(value) else { return value.to_owned() };
    let display = parsed.display();
    let space = if display.is_empty() { "" } else { " " };
    let params = if parsed.params().is_empty() { String::new() } else { format!(";{}", parsed.params()) };
    format!("{display}{space}<{uri}>{params}")
}

/// `user@realm` with the user escaped for a URI.
pub(super) fn uri_of(aor: &str) -> String {
    match aor.rsplit_once('@') {
        Some((user, realm)) => format!("{}@{realm}", escape_user(user)),
        None => aor.to_owned(),
    }
}

fn phone_host(sent_by: &str, flow: &crate::Flow) -> String {
    match flow.transport {
        crate::Transport::Udp => sent_by.to_owned(),
        crate::Transport::Tcp => format!("{sent_by};transport=tcp"),
    }
}
