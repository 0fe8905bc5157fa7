//! The transaction layer (RFC 3261 §17): which message belongs to which transaction, and what each hop still has to hear.
//!
//! ```text
//!   hop ─ request ──▶ received ──▶ New ─────────▶ accept, then respond … ──▶ hop
//!                        │ └─────▶ Ack, Cancel ─▶ the user above
//!                        └ a repetition: the last answer again
//!   user ─ request, cancel ──▶ hop ─ response ─▶ on_response ─▶ the user above
//!   time, a broken hop ──▶ Lost, Ended ─▶ the user above
//! ```
//!
//! A request that is not accepted leaves no trace: its answer is written from the request alone, and so is the answer to its
//! repetition (§26.3.2.4: "stateless"). What is taken on is a row of [`super::servers`], what we ask one of
//! [`super::clients`]; a row holds what the RFC's machine needs and no more. Bytes are charged to the network of the hop
//! that caused them ([`super::shares`]).

use super::{
    Event, NewRequest, Outgoing, Received, Standing, User, clients::Clients, servers::Servers, shares::Shares,
};
use crate::{
    cx::Cx,
    hop::Hop,
    ids::{ClientKey, Method, ServerKey},
    limits::RETRY_AFTER_FULL_S,
    message::{Message, Name},
    output::About,
    status,
};
use std::time::Instant;

pub(crate) struct Transactions {
    servers: Servers,
    clients: Clients,
    shares: Shares,
}

impl Transactions {
    pub fn new() -> Transactions {
        Transactions { servers: Servers::new(), clients: Clients::new(), shares: Shares::default() }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.servers.next_deadline(), self.clients.next_deadline()].into_iter().flatten().min()
    }

    /// A request came from `hop`; its answers go to `answered`.
    pub fn received(&mut self, cx: &mut Cx<'_>, (hop, answered): (&Hop, &Hop), request: Message) -> Received {
        let key = ServerKey::of(&request, hop, &cx.base.secret);
        match Method::of(&request) {
            Method::Ack => self.on_ack(cx, key, request),
            Method::Cancel => self.on_cancel(cx, answered, key, &request),
            _ if self.servers.repeat(cx, &mut self.shares, key) => Received::Nothing,
            _ => {
                let (hop, answered) = (hop.clone(), answered.clone());
                Received::New(NewRequest { key, hop, answered, request })
            }
        }
    }

    fn on_ack(&mut self, cx: &mut Cx<'_>, key: ServerKey, ack: Message) -> Received {
        if self.servers.on_ack(cx.now.mono, &mut self.shares, key) {
            return Received::Nothing;
        }
        // The ACK of an answer that we gave without keeping anything.
        let own = cx.base.secret.to_tag(&ack, cx.base.shard);
        if ack.to().and_then(|to| to.tag()) == Some(own.as_str()) {
            return Received::Nothing;
        }
        Received::Ack(ack)
    }

    /// §9.2. The answer needs no transaction of its own: a repetition finds the INVITE again, and the same To-tag.
    fn on_cancel(&mut self, cx: &mut Cx<'_>, hop: &Hop, key: ServerKey, cancel: &Message) -> Received {
        let Some(meant) = self.servers.meant_by(key) else {
            let answer = cx.answer(cancel, status::NO_SUCH_DIALOG, &[]);
            cx.send(hop, answer);
            return Received::Nothing;
        };
        let answer = cx.answer(cancel, status::OK, &[]);
        cx.send(hop, answer);
        if !meant.is_pending {
            return Received::Nothing;
        }
        let reason = cancel.header(&Name::Reason).map(str::to_owned);
        Received::Cancel { user: meant.user, reason }
    }

    /// Opens a server transaction for a request that somebody above takes on. `false`: no room; it was answered 503.
    #[must_use]
    pub fn accept(&mut self, cx: &mut Cx<'_>, new: &NewRequest, user: User, standing: Standing) -> bool {
        let network = new.answered.network();
        let charged = Servers::ROW_BYTES + new.request.held_bytes();
        let Some(gone) = self.servers.make_room(&mut self.shares, &network, charged, standing) else {
            cx.count("sip_overload");
            let retry = [("Retry-After", RETRY_AFTER_FULL_S.to_owned())];
            let answer = cx.answer(&new.request, status::SERVICE_UNAVAILABLE, &retry);
            cx.send(&new.answered, answer);
            return false;
        };
        if gone > 0 {
            cx.count("sip_answers_forgotten");
        }
        self.shares.charge(&network, charged);
        self.servers.open(cx.now.mono, new, user, charged);
        true
    }

    /// Sends `answer` in a server transaction.
    pub fn respond(&mut self, cx: &mut Cx<'_>, key: ServerKey, status: u16, answer: Message) {
        self.respond_about(cx, key, (status, answer), About::Other);
    }

    /// [`Transactions::respond`], where something goes with the answer.
    pub fn respond_about(&mut self, cx: &mut Cx<'_>, key: ServerKey, answer: (u16, Message), about: About) {
        self.servers.respond(cx, &mut self.shares, key, answer, about);
    }

    /// A final answer after which nothing is kept: to one who has proved nothing, or on a link that loses nothing.
    pub fn refuse(&mut self, cx: &mut Cx<'_>, new: &NewRequest, answer: Message) {
        cx.send(&new.answered, answer);
        self.servers.drop(&mut self.shares, new.key);
    }

    pub fn is_open(&self, key: ServerKey) -> bool {
        self.servers.contains(key)
    }

    /// A new client transaction. `None`: no room for it.
    pub fn request(&mut self, cx: &mut Cx<'_>, outgoing: Outgoing, user: User) -> Option<ClientKey> {
        self.clients.request(cx, &mut self.shares, outgoing, user)
    }

    /// §9.1; see [`Clients::cancel`].
    pub fn cancel(&mut self, cx: &mut Cx<'_>, key: ClientKey, reason: Option<&str>) {
        self.clients.cancel(cx, &mut self.shares, key, reason);
    }

    /// A response came from `hop`.
    pub fn on_response(&mut self, cx: &mut Cx<'_>, hop: &Hop, response: Message) -> Option<Event> {
        self.clients.on_response(cx, &mut self.shares, hop, response)
    }

    /// The next thing that time brings. `None`: nothing is due.
    pub fn next_due(&mut self, cx: &mut Cx<'_>) -> Option<Event> {
        while let Some(at) = self.poll_timeout().filter(|at| *at <= cx.now.mono) {
            if self.servers.next_deadline() == Some(at) {
                self.servers.on_deadline(cx, &mut self.shares);
            } else if let Some(event) = self.clients.on_deadline(cx, &mut self.shares) {
                return Some(event);
            }
        }
        None
    }

    /// A connection or link broke: what waits for it is lost, one event after the other.
    pub fn hop_down(&mut self, hop: &Hop) -> Vec<Event> {
        self.clients.hop_down(&mut self.shares, hop)
    }

    /// This message could not be queued toward its peer. A response or an ACK is lost, as it would be on a wire.
    pub fn not_queued(&mut self, message: &Message) -> Option<Event> {
        if !message.is_request() {
            return None;
        }
        self.clients.not_queued(&mut self.shares, message)
    }

    pub fn drop_client(&mut self, key: ClientKey) {
        self.clients.drop(&mut self.shares, key);
    }

    /// Nothing is held and nothing is charged: the pair of every `charge` and `refund`.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let empty = self.servers.is_empty() && self.clients.is_empty();
        assert_eq!(empty, self.shares.is_empty(), "bytes are charged exactly while rows are held");
        assert!(self.clients.is_clean() && (!empty || self.poll_timeout().is_none()));
        empty
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.shares.total()
    }
}
