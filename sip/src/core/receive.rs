//! What one message is: an answer, a repetition, an ACK, a CANCEL, or something new.

use super::{Core, Hop, Now, ServerKey, ServerMachine, ServerTx, TRANSACTIONS_MAX, host_of};
use crate::{
    auth::AuthFailure,
    message::{Message, Name, ParseError, ResponseBuilder, stamp_via, values::param},
    transaction::{InviteServer, NonInviteServer, Server},
};

/// What we answer to `Allow`.
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, NOTIFY, REFER, PUBLISH, INFO, UPDATE, PRACK";

impl Core {
    pub(super) fn on_bytes(&mut self, now: Now, hop: Hop, bytes: Vec<u8>, caller: Option<String>) {
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            Err(ParseError::Empty) => return,
            Err(why) => return self.on_broken(&hop, bytes, why),
        };
        if message.is_request() {
            let message = self.stamped(&hop, message);
            self.on_request(now, hop, message, caller);
        } else {
            self.on_response(now, &hop, message);
        }
    }

    /// RFC 3261 §18.2.1, RFC 3581 §4: the top Via of a phone's request says where it really came from.
    fn stamped(&self, hop: &Hop, message: Message) -> Message {
        let Hop::Phone(flow) = hop else { return message };
        let Some(via) = message.values(&Name::Via).next() else { return message };
        let stamped = stamp_via(via, flow.remote);
        let mut edit = crate::message::Editor::new(&message);
        edit.remove_first_values(&Name::Via, 1).prepend(&Name::Via, &stamped);
        let bytes = edit.build();
        Message::parse(bytes).unwrap_or(message)
    }

    /// 400 (or 505) where enough of a request can be read to answer it; never to an ACK, never to a peer.
    fn on_broken(&mut self, hop: &Hop, bytes: Vec<u8>, why: ParseError) {
        self.count("sip_malformed");
        let Hop::Phone(flow) = hop else { return };
        let Ok(message) = Message::parse_lenient(bytes) else { return };
        // A sender finds its request again by branch and CSeq (§17.1.3), even where From, To or Call-ID are broken; an
        // old one by all of those.
        let has = |name: Name| message.header(&name).is_some();
        let has_branch = message.values(&Name::Via).next().is_some_and(|via| param(via, "branch").is_some());
        let has_old_key = [Name::Via, Name::From, Name::To, Name::CallId].into_iter().all(has);
        let answerable = message.is_request() && has(Name::CSeq) && (has_branch || has_old_key);
        if !answerable || message.method() == "ACK" {
            return;
        }
        let (status, reason) =
            if why == ParseError::Version { (505, "Version Not Supported") } else { (400, "Bad Request") };
        let tag = self.random_text();
        let bytes = ResponseBuilder::new(&message, status, reason).to_tag(&tag).source(flow.remote).build();
        self.send(hop, bytes, None, false);
    }

    fn on_request(&mut self, now: Now, hop: Hop, request: Message, caller: Option<String>) {
        // A peer speaks for itself: responses go back to it, and so must say its own Via.
        if let Hop::Peer(label) = &hop
            && !request.via().is_some_and(|v| v.host().eq_ignore_ascii_case(&host_of(label)))
        {
            self.count("overlay_via_refused");
            return self.refuse_stateless(&hop, &request, 403, "Forbidden");
        }
        let key = server_key(&request, &hop);
        match request.method() {
            "ACK" => return self.on_ack(now, &hop, &key, &request),
            "CANCEL" => return self.on_cancel(now, hop, key, request),
            _ => {}
        }
        if let Some(tx) = self.servers.get(&key) {
            let verdict = match &tx.machine {
                ServerMachine::Invite(m) => m.on_retransmission(),
                ServerMachine::Other(m) => m.on_retransmission(),
            };
            if verdict == Server::Resend {
                self.resend(&key);
            }
            return;
        }
        if !self.open(now, &key, hop.clone(), request) {
            return;
        }
        self.route(now, &key, hop, caller);
    }

    fn refuse_stateless(&mut self, hop: &Hop, request: &Message, status: u16, reason: &str) {
        if request.method() == "ACK" {
            return;
        }
        let tag = self.random_text();
        let bytes = ResponseBuilder::new(request, status, reason).to_tag(&tag).build();
        self.send(hop, bytes, None, false);
    }

    /// A new server transaction; `false`: too many, answered 503.
    fn open(&mut self, now: Now, key: &ServerKey, hop: Hop, request: Message) -> bool {
        let to_tag = self.random_text();
        if self.servers.len() >= TRANSACTIONS_MAX {
            self.count("sip_overload");
            let bytes = ResponseBuilder::new(&request, 503, "Service Unavailable")
                .to_tag(&to_tag)
                .header("Retry-After", "10")
                .build();
            self.send(&hop, bytes, None, false);
            return false;
        }
        let is_invite = request.method() == "INVITE";
        let reliable = hop.is_reliable();
        let machine = if is_invite {
            ServerMachine::Invite(InviteServer::new(reliable))
        } else {
            ServerMachine::Other(NonInviteServer::new(reliable))
        };
        let tx = ServerTx { machine, hop, request, last: None, to_tag, context: None };
        self.servers.insert(key.clone(), tx);
        if is_invite {
            // §17.2.1: within 200 ms; at once is simpler and stops retransmissions soonest.
            self.respond(now, key, 100, "Trying", &[]);
        }
        true
    }

    fn route(&mut self, now: Now, key: &ServerKey, hop: Hop, caller: Option<String>) {
        let Some(tx) = self.servers.get(key) else { return };
        let request = tx.request.clone();
        if let Some(refusal) = check(&request) {
            let (status, reason, headers) = refusal;
            return self.respond(now, key, status, reason, &headers);
        }
        let has_to_tag = request.to().and_then(|t| t.tag()).is_some();
        if self.draining && !has_to_tag {
            return self.refuse(now, key, AuthFailure::Unavailable);
        }
        match (request.method(), has_to_tag) {
            ("REGISTER", _) => self.on_register(now, key, &hop, &request),
            (_, true) => self.on_dialog_request(now, Some(key), &hop, &request),
            (_, false) => self.on_initial(now, key, &hop, &request, caller),
        }
    }

    fn on_ack(&mut self, now: Now, hop: &Hop, key: &ServerKey, ack: &Message) {
        if let Some(tx) = self.servers.get_mut(key)
            && let ServerMachine::Invite(machine) = &mut tx.machine
            && !machine.is_accepted()
        {
            if machine.on_ack(now.mono) == Server::Done {
                self.servers.remove(key);
            }
            return self.reschedule_server(key);
        }
        if ack.max_forwards() == Some(0) {
            return;
        }
        // The ACK of a 2xx travels end to end, by its route tokens.
        self.on_dialog_request(now, None, hop, ack);
    }

    fn on_cancel(&mut self, now: Now, hop: Hop, key: ServerKey, cancel: Message) {
        if self.servers.contains_key(&key) {
            return self.resend(&key);
        }
        let reason = cancel.header(&Name::Reason).map(str::to_owned);
        let invite_key = (key.0.clone(), key.1.clone(), "INVITE".to_owned());
        if !self.open(now, &key, hop, cancel) {
            return;
        }
        match self.servers.get(&invite_key).map(|tx| tx.context) {
            Some(context) => {
                self.respond(now, &key, 200, "OK", &[]);
                match context {
                    Some(context) => self.cancel_context(now, context, reason),
                    // Still being authenticated or resolved: nothing to cancel behind us.
                    None => {
                        self.asks.retain(|_, ask| !ask_is_for(ask, &invite_key));
                        self.respond(now, &invite_key, 487, "Request Terminated", &[]);
                    }
                }
            }
            None => self.respond(now, &key, 481, "Call/Transaction Does Not Exist", &[]),
        }
    }
}

fn ask_is_for(ask: &super::Ask, wanted: &ServerKey) -> bool {
    use super::Ask;
    match ask {
        Ask::Challenge { key, .. }
        | Ask::Register { key, .. }
        | Ask::Journal { key, .. }
        | Ask::Request { key, .. }
        | Ask::Resolve { key, .. } => key == wanted,
    }
}

/// §17.2.3: branch, sent-by and method; without the cookie, what RFC 2543 compared.
fn server_key(request: &Message, hop: &Hop) -> ServerKey {
    let method = if request.method() == "ACK" { "INVITE" } else { request.method() };
    let via = request.via();
    let sent_by = via.map(|v| format!("{}:{:?}", v.host(), v.port())).unwrap_or_default();
    // Peers and phones live in different name spaces.
    let from = match hop {
        Hop::Phone(_) => sent_by,
        Hop::Peer(label) => format!("peer {label}"),
    };
    let branch = via.and_then(|v| v.branch()).filter(|b| b.starts_with("z9hG4bK"));
    let branch = branch.map(str::to_owned).unwrap_or_else(|| {
        let tag = request.from().and_then(|f| f.tag()).unwrap_or_default().to_owned();
        let (cseq, _) = request.cseq().unwrap_or_default();
        format!(
            "2543 {} {tag} {cseq} {}",
            request.call_id().unwrap_or_default(),
            request.uri().unwrap_or_default()
        )
    });
    (branch, from, method.to_owned())
}

type Refusal = (u16, &'static str, Vec<(&'static str, String)>);

/// §16.3: what is refused before anybody is asked.
fn check(request: &Message) -> Option<Refusal> {
    let scheme = request.uri().unwrap_or_default().split(':').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return Some((416, "Unsupported URI Scheme", Vec::new()));
    }
    let forwards = request.header(&Name::MaxForwards).map(|text| text.trim().parse::<u32>());
    match forwards {
        Some(Ok(0)) if request.method() != "OPTIONS" && request.method() != "REGISTER" => {
            return Some((483, "Too Many Hops", Vec::new()));
        }
        Some(Err(_)) => return Some((400, "Bad Max-Forwards", Vec::new())),
        _ => {}
    }
    let required = request.header_lines(&Name::ProxyRequire).collect::<Vec<_>>().join(", ");
    if !required.is_empty() {
        return Some((420, "Bad Extension", vec![("Unsupported", required)]));
    }
    None
}
