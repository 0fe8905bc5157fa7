//! What one message is: an answer, something that a transaction knows, or something new; and whose it is then.

use super::Parts;
use crate::{
    agent,
    hop::{Hop, host_of},
    ids::{Method, ServerKey},
    input::Vouched,
    limits::RETRY_AFTER_UNAVAILABLE_S,
    message::{Message, Name, ParseError, ResponseBuilder, Unreadable, values::param},
    proxy::{check, is_for_us, mended},
    status,
    transaction::{NewRequest, Received, Standing, User},
};

impl Parts<'_> {
    pub(super) fn on_bytes(&mut self, hop: Hop, bytes: Vec<u8>) {
        let message = match Message::receive(bytes) {
            Ok(message) => message,
            Err(Unreadable { why: ParseError::Empty, .. }) => return,
            Err(broken) => return self.on_broken(&hop, broken),
        };
        self.on_message(hop, message, None);
    }

    pub(super) fn on_message(&mut self, hop: Hop, message: Message, caller: Option<Vouched>) {
        if message.is_request() {
            let answered = hop.answered(&message, self.cx.ours());
            let message = stamped(&hop, &answered, message);
            self.on_request(hop, answered, message, caller);
        } else if let Some(event) = self.transactions.on_response(&mut self.cx, &hop, message) {
            self.on_event(event);
        }
    }

    /// 400 (or 505) where enough of a request can be read to answer it; never to an ACK, never to a peer.
    pub(super) fn on_broken(&mut self, hop: &Hop, broken: Unreadable) {
        self.cx.count("sip_malformed");
        let Hop::Phone(flow) = hop else { return };
        let Some(message) = broken.read else { return };
        // A sender finds its request again by its branch (§17.1.3), even where From, To, Call-ID or CSeq are missing or
        // broken; an old one by all of those.
        let has = |name: Name| message.header(&name).is_some();
        let has_branch = message.values(&Name::Via).next().is_some_and(|via| param(via, "branch").is_some());
        let has_old_key = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq].into_iter().all(has);
        let answerable = message.is_request() && (has_branch || has_old_key);
        if !answerable || message.method() == "ACK" {
            return;
        }
        let status = match broken.why {
            ParseError::Version => status::VERSION_NOT_SUPPORTED,
            _ => status::BAD_REQUEST,
        };
        let tag = self.cx.base.secret.to_tag(&message, self.cx.base.shard);
        let answer =
            ResponseBuilder::new(&message, status.0, status.1).to_tag(&tag).source(flow.remote).finish();
        let answered = hop.answered(&message, self.cx.ours());
        self.cx.send(&answered, answer);
    }

    fn on_request(&mut self, hop: Hop, answered: Hop, request: Message, caller: Option<Vouched>) {
        // A peer speaks for itself: responses go back to it, and so must say its own Via.
        if let Hop::Peer(label) = &hop
            && !request.via().is_some_and(|v| v.host().eq_ignore_ascii_case(&host_of(label)))
        {
            self.cx.count("overlay_via_refused");
            if Method::of(&request) != Method::Ack {
                let answer = self.cx.answer(&request, status::FORBIDDEN, &[]);
                self.cx.send(&hop, answer);
            }
            return;
        }
        match self.transactions.received(&mut self.cx, (&hop, &answered), request) {
            Received::New(new) => self.on_new(new, caller),
            Received::Ack(request) => {
                let key = ServerKey::of(&request, &hop, &self.cx.base.secret);
                let new = NewRequest { key, hop, answered, request };
                self.proxy.on_ack(&mut self.cx, self.transactions, new);
            }
            Received::Cancel { user: User::Proxy(id), reason } => {
                self.proxy.on_cancel(&mut self.cx, self.transactions, id, reason.as_deref());
            }
            Received::Cancel { .. } | Received::Nothing => {}
        }
    }

    /// A request that no transaction knows: the user that answers it.
    fn on_new(&mut self, mut new: NewRequest, caller: Option<Vouched>) {
        if matches!(new.hop, Hop::Phone(_))
            && let Some(request) = mended(&self.cx, &new.request)
        {
            new.request = request;
        }
        let standing = match &new.hop {
            Hop::Phone(flow) if !self.registrar.knows(flow) => Standing::Stranger,
            Hop::Phone(_) | Hop::Peer(_) => Standing::Known,
        };
        let Parts { cx, transactions: tx, registrar, proxy, draining, .. } = self;
        let method = Method::of(&new.request);
        let has_to_tag = new.request.to_tag().is_some();
        let for_us = is_for_us(cx, &new.request);
        if let Err(refusal) = check(&new.request, for_us || method == Method::Register) {
            if let Some(counter) = refusal.counter {
                cx.count(counter);
            }
            let answer = cx.answer(&new.request, refusal.status, &refusal.headers);
            return tx.refuse(cx, &new, answer);
        }
        if *draining && !has_to_tag {
            let retry = [("Retry-After", RETRY_AFTER_UNAVAILABLE_S.to_owned())];
            let answer = cx.answer(&new.request, status::SERVICE_UNAVAILABLE, &retry);
            return tx.refuse(cx, &new, answer);
        }
        match method {
            Method::Register => registrar.on_register(cx, tx, new, standing),
            Method::Options if for_us && !has_to_tag => agent::on_options(cx, tx, &new),
            Method::Other(_) if for_us && !has_to_tag => agent::on_unknown_method(cx, tx, &new),
            _ => proxy.on_request(cx, tx, new, caller, standing),
        }
    }

    /// This message of `Output::SendPeer` had no room on its link.
    pub(super) fn on_not_queued(&mut self, message: &Message) {
        if let Some(event) = self.transactions.not_queued(message) {
            self.on_event(event);
        }
    }
}

/// RFC 3261 §18.2.1, RFC 3581 §4: the top Via of a phone's request says where it really came from.
fn stamped(hop: &Hop, answered: &Hop, message: Message) -> Message {
    let Hop::Phone(flow) = hop else { return message };
    // Its own address stands there and no port was asked for: `received` would say nothing new (§18.2.1), and without
    // `rport` the answer goes to the port that stands there.
    if answered == hop { message.stamped(flow.remote) } else { message }
}
