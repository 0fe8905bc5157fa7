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
//! repetition (§26.3.2.4: "stateless"). A row holds what the RFC's machine needs and no more: of a finished server
//! transaction the key and the answer, of a finished client transaction the key and the ACK. Bytes are charged to the
//! network of the hop that caused them ([`super::shares`]).

use super::{
    Client, GIVE_UP, InviteClient, InviteServer, NonInviteClient, NonInviteServer, Server, Standing,
    kept::Kept, shares::Shares,
};
use crate::{
    cx::Cx,
    hop::Hop,
    ids::{AskId, Branch, ClientKey, Method, PingId, ServerKey},
    limits::{RETRY_AFTER_FULL_S, TRANSACTION_ROW_BYTES},
    message::{Message, Name, RequestBuilder},
    output::About,
    status,
    timers::Timers,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// Who sits above a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Proxy(AskId),
    Registrar(AskId),
    Ping(PingId),
    /// The registrar asks whether a phone is there where it says that it listens.
    Listening(AskId),
    /// A CANCEL of ours: its answer is hop by hop and of no interest (§9.2).
    Nobody,
}

/// A request that no transaction knows yet.
#[derive(Clone, Debug)]
pub(crate) struct NewRequest {
    pub key: ServerKey,
    pub hop: Hop,
    /// Where its answers go.
    pub answered: Hop,
    pub request: Message,
}

impl NewRequest {
    pub fn of(cx: &Cx<'_>, hop: Hop, request: Message) -> NewRequest {
        let key = ServerKey::of(&request, &hop, &cx.base.secret);
        let answered = hop.answered(&request, cx.ours());
        NewRequest { key, hop, answered, request }
    }
}

/// What a request that came in is.
#[derive(Debug)]
pub(crate) enum Received {
    /// Somebody above has to answer it.
    New(NewRequest),
    /// The ACK of a 2xx: it travels end to end.
    Ack(Message),
    /// The INVITE of this transaction is to end; the CANCEL is answered already.
    Cancel { user: User, reason: Option<String> },
    /// All is done.
    Nothing,
}

/// Why no final response will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Timer B or F, or 64*T1 after a CANCEL.
    TimedOut,
    /// A hop that is quick did not say the first word in its time.
    Silent,
    /// The connection or link broke, or had no room (§16.9: as a 503).
    Broken,
}

/// News of a client transaction.
#[derive(Debug)]
pub(crate) enum Event {
    Response {
        user: User,
        client: ClientKey,
        response: Message,
    },
    Lost {
        user: User,
        client: ClientKey,
        why: Lost,
    },
    /// No more responses can come on it.
    Ended {
        user: User,
        client: ClientKey,
    },
}

impl Event {
    pub fn user(&self) -> User {
        match self {
            Event::Response { user, .. } | Event::Lost { user, .. } | Event::Ended { user, .. } => *user,
        }
    }
}

/// A request to be sent in a new client transaction.
pub(crate) struct Outgoing {
    pub hop: Hop,
    pub branch: Branch,
    pub request: Message,
    pub grant: Option<Arc<[u8]>>,
    pub about: About,
    /// For how long the hop may be silent; `None`: as long as the RFC says.
    pub first_word_within: Option<Duration>,
}

struct ServerRow {
    machine: ServerMachine,
    hop: Hop,
    user: User,
    /// For a repetition of the request; none where none can come that is answered.
    answer: Option<Kept>,
    charged: usize,
    deadline: Option<Instant>,
}

enum ServerMachine {
    Invite(InviteServer),
    Other(NonInviteServer),
}

struct ClientRow {
    machine: ClientMachine,
    hop: Hop,
    user: User,
    /// Until a final response has come.
    request: Option<Message>,
    method: Method,
    /// What a repeated non-2xx final gets (§17.1.1.2).
    ack: Option<Kept>,
    /// A CANCEL waits for a provisional response; with its Reason (RFC 3326).
    pending_cancel: Option<Option<String>>,
    is_quick: bool,
    charged: usize,
    deadline: Option<Instant>,
}

enum ClientMachine {
    Invite(InviteClient),
    Other(NonInviteClient),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Server(ServerKey),
    Client(ClientKey),
}

pub(crate) struct Transactions {
    /// In boxes: a node of the tree has room for eleven, and half of them may be empty.
    servers: BTreeMap<ServerKey, Box<ServerRow>>,
    clients: BTreeMap<ClientKey, ClientRow>,
    /// Client transactions by their hop, to be found when it breaks.
    by_hop: BTreeSet<(Hop, ClientKey)>,
    timers: Timers<Key>,
    shares: Shares,
}

impl Transactions {
    pub fn new() -> Transactions {
        Transactions {
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            by_hop: BTreeSet::new(),
            timers: Timers::new(),
            shares: Shares::default(),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A request came from `hop`.
    pub fn received(&mut self, cx: &mut Cx<'_>, hop: Hop, request: Message) -> Received {
        let key = ServerKey::of(&request, &hop, &cx.base.secret);
        match Method::of(&request) {
            Method::Ack => self.on_ack(cx, key, request),
            Method::Cancel => self.on_cancel(cx, &hop, key, &request),
            _ => match self.servers.get(&key) {
                Some(row) => {
                    // §17.2: a repetition gets the last answer again.
                    let verdict = match &row.machine {
                        ServerMachine::Invite(machine) => machine.on_retransmission(),
                        ServerMachine::Other(machine) => machine.on_retransmission(),
                    };
                    if let (Server::Resend, Some(answer)) = (verdict, &row.answer) {
                        answer.send(cx, &row.hop);
                    }
                    Received::Nothing
                }
                None => Received::New(NewRequest::of(cx, hop, request)),
            },
        }
    }

    fn on_ack(&mut self, cx: &mut Cx<'_>, key: ServerKey, ack: Message) -> Received {
        if let Some(row) = self.servers.get_mut(&key)
            && let ServerMachine::Invite(machine) = &mut row.machine
            // RFC 6026 §7.1: an ACK that comes to an accepted INVITE is the 2xx's.
            && !machine.is_accepted()
        {
            if machine.on_ack(cx.now.mono) == Server::Done {
                self.drop_server(key);
            } else {
                self.reschedule_server(key);
            }
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
        let hop = &hop.answered(cancel, cx.ours());
        let meant = self.servers.range(key.any_method()).find(|(key, _)| !key.is_cancel());
        let Some((_, row)) = meant else {
            let answer = cx.answer(cancel, status::NO_SUCH_DIALOG, &[]);
            cx.send(hop, answer);
            return Received::Nothing;
        };
        let answer = cx.answer(cancel, status::OK, &[]);
        cx.send(hop, answer);
        match &row.machine {
            ServerMachine::Invite(machine) if machine.is_proceeding() => {
                let reason = cancel.header(&Name::Reason).map(str::to_owned);
                Received::Cancel { user: row.user, reason }
            }
            // A final answer has gone, or the method has nothing that could be cancelled.
            _ => Received::Nothing,
        }
    }

    /// Opens a server transaction for a request that somebody above takes on. `false`: no room; it was answered 503.
    #[must_use]
    pub fn accept(&mut self, cx: &mut Cx<'_>, new: &NewRequest, user: User, standing: Standing) -> bool {
        debug_assert!(!self.servers.contains_key(&new.key), "a request is accepted once");
        let network = new.answered.network();
        let charged = TRANSACTION_ROW_BYTES + new.request.raw().len();
        if !self.shares.has_room(&network, charged, standing) {
            cx.count("sip_overload");
            let retry = [("Retry-After", RETRY_AFTER_FULL_S.to_owned())];
            let answer = cx.answer(&new.request, status::SERVICE_UNAVAILABLE, &retry);
            cx.send(&new.answered, answer);
            return false;
        }
        self.shares.charge(&network, charged);
        let reliable = new.hop.is_reliable();
        let is_invite = Method::of(&new.request) == Method::Invite;
        let machine = match is_invite {
            true => ServerMachine::Invite(InviteServer::new(reliable)),
            false => ServerMachine::Other(NonInviteServer::new(reliable)),
        };
        let hop = new.answered.clone();
        let row = ServerRow { machine, hop, user, answer: None, charged, deadline: None };
        self.servers.insert(new.key, Box::new(row));
        if is_invite {
            // §17.2.1: within 200 ms; at once is simpler and stops retransmissions soonest.
            let trying = cx.answer(&new.request, status::TRYING, &[]);
            self.respond(cx, new.key, status::TRYING.0, trying);
        }
        true
    }

    /// Sends `answer` in a server transaction.
    pub fn respond(&mut self, cx: &mut Cx<'_>, key: ServerKey, status: u16, answer: Message) {
        self.respond_about(cx, key, (status, answer), About::Other);
    }

    /// [`Transactions::respond`], where something goes with the answer.
    pub fn respond_about(
        &mut self,
        cx: &mut Cx<'_>,
        key: ServerKey,
        (status, answer): (u16, Message),
        about: About,
    ) {
        // It may have ended: timer H, or its hop is gone.
        let Some(row) = self.servers.get_mut(&key) else { return };
        let is_kept = match &mut row.machine {
            ServerMachine::Invite(machine) => {
                let is_repeated_2xx = machine.is_accepted() && (200..300).contains(&status);
                if !machine.is_proceeding() && !is_repeated_2xx {
                    return;
                }
                machine.on_send(cx.now.mono, status);
                // RFC 6026 §7.1: a 2xx is repeated by who sent it.
                !machine.is_accepted()
            }
            ServerMachine::Other(machine) => {
                if machine.is_completed() {
                    return;
                }
                machine.on_send(cx.now.mono, status);
                true
            }
        };
        row.answer = is_kept.then(|| Kept::of(&row.hop, &answer));
        cx.send_with(&row.hop, answer, None, about);
        // From the final answer on nobody needs the request any more.
        let request = if status < 200 { row.charged } else { 0 };
        let charge = request.max(TRANSACTION_ROW_BYTES + row.answer.as_ref().map_or(0, Kept::bytes));
        let network = row.hop.network();
        self.shares.refund(&network, row.charged);
        self.shares.charge(&network, charge);
        row.charged = charge;
        self.reschedule_server(key);
    }

    /// A final answer after which nothing is kept: to one who has proved nothing, or on a link that loses nothing.
    pub fn refuse(&mut self, cx: &mut Cx<'_>, new: &NewRequest, answer: Message) {
        cx.send(&new.answered, answer);
        self.drop_server(new.key);
    }

    pub fn is_open(&self, key: ServerKey) -> bool {
        self.servers.contains_key(&key)
    }

    /// A new client transaction. `None`: no room for it.
    pub fn request(&mut self, cx: &mut Cx<'_>, outgoing: Outgoing, user: User) -> Option<ClientKey> {
        let Outgoing { hop, branch, request, grant, about, first_word_within } = outgoing;
        let charged = TRANSACTION_ROW_BYTES + request.raw().len();
        if !self.shares.has_room(&hop.network(), charged, Standing::Known) {
            cx.count("sip_overload");
            return None;
        }
        let method = Method::of(&request);
        let key = ClientKey { branch, is_cancel: method == Method::Cancel };
        let (now, reliable) = (cx.now.mono, hop.is_reliable());
        let machine = match method {
            Method::Invite => {
                ClientMachine::Invite(InviteClient::new(now, reliable, first_word_within.unwrap_or(GIVE_UP)))
            }
            _ => {
                let give_up = first_word_within.unwrap_or(GIVE_UP);
                ClientMachine::Other(NonInviteClient::new(now, reliable, give_up))
            }
        };
        cx.send_with(&hop, request.clone(), grant, about);
        self.shares.charge(&hop.network(), charged);
        self.by_hop.insert((hop.clone(), key));
        let row = ClientRow {
            machine,
            hop,
            user,
            request: Some(request),
            method,
            ack: None,
            pending_cancel: None,
            is_quick: first_word_within.is_some(),
            charged,
            deadline: None,
        };
        let before = self.clients.insert(key, row);
        assert!(before.is_none(), "a branch is used once");
        self.reschedule_client(key);
        Some(key)
    }

    /// §9.1: an INVITE is cancelled as soon as a provisional response allows it; of any other request only the answer is no
    /// longer waited for.
    pub fn cancel(&mut self, cx: &mut Cx<'_>, key: ClientKey, reason: Option<&str>) {
        let Some(row) = self.clients.get_mut(&key) else { return };
        let ClientMachine::Invite(machine) = &mut row.machine else { return };
        if machine.on_cancel(cx.now.mono) {
            self.reschedule_client(key);
            self.send_cancel(cx, key, reason);
        } else if machine.is_calling() && row.pending_cancel.is_none() {
            row.pending_cancel = Some(reason.map(str::to_owned));
        }
    }

    fn send_cancel(&mut self, cx: &mut Cx<'_>, key: ClientKey, reason: Option<&str>) {
        let Some(row) = self.clients.get(&key) else { return };
        let invite = row.request.as_ref().expect("an INVITE that can be cancelled has no final answer yet");
        let request = RequestBuilder::cancel_for(invite, reason);
        let outgoing = Outgoing {
            hop: row.hop.clone(),
            branch: key.branch,
            request,
            grant: None,
            about: About::Other,
            first_word_within: None,
        };
        self.request(cx, outgoing, User::Nobody);
    }

    /// A response came from `hop`.
    pub fn on_response(&mut self, cx: &mut Cx<'_>, hop: &Hop, response: Message) -> Option<Event> {
        let branch = response.via().and_then(|via| via.branch()).and_then(Branch::read);
        let method = Method::of(&response);
        let key = branch.map(|branch| ClientKey { branch, is_cancel: method == Method::Cancel });
        let row = key.and_then(|key| self.clients.get_mut(&key));
        let known = row.filter(|row| row.method == method && row.hop.is_answered_by(hop));
        let (Some(key), Some(row)) = (key, known) else {
            // Never relayed: it would make us a reflector.
            cx.count("stray_response");
            return None;
        };
        let status = response.status().unwrap_or_default();
        let verdict = match &mut row.machine {
            ClientMachine::Invite(machine) => machine.on_response(cx.now.mono, status),
            ClientMachine::Other(machine) => machine.on_response(cx.now.mono, status),
        };
        match (verdict, &row.request) {
            (Client::PassAndAck, Some(invite)) => {
                let ack = RequestBuilder::ack_for(invite, &response);
                row.ack = Some(Kept::of(&row.hop, &ack));
                cx.send(&row.hop, ack);
            }
            (Client::Ack, _) => {
                if let Some(ack) = &row.ack {
                    ack.send(cx, &row.hop);
                }
            }
            _ => {}
        }
        let user = row.user;
        let cancel = match status {
            100..=199 => row.pending_cancel.take(),
            _ => None,
        };
        if status >= 200 {
            self.finish_client(key);
        }
        self.reschedule_client(key);
        if let Some(reason) = cancel {
            self.cancel(cx, key, reason.as_deref());
        }
        let passes = matches!(verdict, Client::Pass | Client::PassAndAck) && user != User::Nobody;
        passes.then_some(Event::Response { user, client: key, response })
    }

    /// A final answer has come: the request is needed no more.
    fn finish_client(&mut self, key: ClientKey) {
        let Some(row) = self.clients.get_mut(&key) else { return };
        let charge = TRANSACTION_ROW_BYTES + row.ack.as_ref().map_or(0, Kept::bytes);
        let network = row.hop.network();
        self.shares.refund(&network, row.charged);
        self.shares.charge(&network, charge);
        row.charged = charge;
        row.request = None;
    }

    /// The next thing that time brings. `None`: nothing is due.
    pub fn next_due(&mut self, cx: &mut Cx<'_>) -> Option<Event> {
        while let Some(key) = self.timers.due(cx.now.mono) {
            match key {
                Key::Server(key) => self.on_server_deadline(cx, key),
                Key::Client(key) => {
                    if let Some(event) = self.on_client_deadline(cx, key) {
                        return Some(event);
                    }
                }
            }
        }
        None
    }

    fn on_server_deadline(&mut self, cx: &mut Cx<'_>, key: ServerKey) {
        let row = self.servers.get_mut(&key).expect("a timer belongs to a row");
        let verdict = match &mut row.machine {
            ServerMachine::Invite(machine) => machine.on_deadline(cx.now.mono),
            ServerMachine::Other(machine) => machine.on_deadline(cx.now.mono),
        };
        match (verdict, &row.answer) {
            (Server::Done, _) => return self.drop_server(key),
            (Server::Resend, Some(answer)) => answer.send(cx, &row.hop),
            _ => {}
        }
        self.reschedule_server(key);
    }

    fn on_client_deadline(&mut self, cx: &mut Cx<'_>, key: ClientKey) -> Option<Event> {
        let row = self.clients.get_mut(&key).expect("a timer belongs to a row");
        let user = row.user;
        let (is_silent, verdict) = match &mut row.machine {
            ClientMachine::Invite(machine) => {
                (row.is_quick && machine.is_calling(), machine.on_deadline(cx.now.mono))
            }
            ClientMachine::Other(machine) => (row.is_quick, machine.on_deadline(cx.now.mono)),
        };
        match (verdict, &row.request) {
            (Client::Resend, Some(request)) => cx.send(&row.hop, request.clone()),
            (Client::TimedOut, Some(request)) => {
                let why = if is_silent { Lost::Silent } else { Lost::TimedOut };
                if is_silent && row.method == Method::Invite {
                    // Its link keeps order, so a CANCEL can follow the INVITE: should it wake up, nobody rings.
                    let cancel = RequestBuilder::cancel_for(request, None);
                    cx.send(&row.hop, cancel);
                }
                self.drop_client(key);
                return (user != User::Nobody).then_some(Event::Lost { user, client: key, why });
            }
            (Client::Done, _) => {
                self.drop_client(key);
                return (user != User::Nobody).then_some(Event::Ended { user, client: key });
            }
            _ => {}
        }
        self.reschedule_client(key);
        None
    }

    /// A connection or link broke: what waits for it is lost, one event after the other.
    pub fn hop_down(&mut self, hop: &Hop) -> Vec<Event> {
        let first = ClientKey { branch: Branch::FIRST, is_cancel: false };
        let on_it = self.by_hop.range((hop.clone(), first)..).take_while(|(on, _)| on == hop);
        let keys: Vec<ClientKey> = on_it.map(|(_, key)| *key).collect();
        keys.into_iter().filter_map(|key| self.broken(key)).collect()
    }

    /// This message could not be queued toward its peer. A response or an ACK is lost, as it would be on a wire.
    pub fn not_queued(&mut self, message: &Message) -> Option<Event> {
        if !message.is_request() {
            return None;
        }
        let branch = message.via().and_then(|via| via.branch()).and_then(Branch::read)?;
        let is_cancel = Method::of(message) == Method::Cancel;
        self.broken(ClientKey { branch, is_cancel })
    }

    fn broken(&mut self, key: ClientKey) -> Option<Event> {
        let row = self.clients.get(&key)?;
        let (user, is_answered) = (row.user, row.request.is_none());
        self.drop_client(key);
        (user != User::Nobody).then_some(match is_answered {
            true => Event::Ended { user, client: key },
            false => Event::Lost { user, client: key, why: Lost::Broken },
        })
    }

    pub fn drop_client(&mut self, key: ClientKey) {
        let Some(mut row) = self.clients.remove(&key) else { return };
        self.timers.set(Key::Client(key), &mut row.deadline, None);
        self.shares.refund(&row.hop.network(), row.charged);
        self.by_hop.remove(&(row.hop, key));
    }

    fn drop_server(&mut self, key: ServerKey) {
        let Some(mut row) = self.servers.remove(&key) else { return };
        self.timers.set(Key::Server(key), &mut row.deadline, None);
        self.shares.refund(&row.hop.network(), row.charged);
    }

    fn reschedule_server(&mut self, key: ServerKey) {
        let Some(row) = self.servers.get_mut(&key) else { return };
        let at = match &row.machine {
            ServerMachine::Invite(machine) => machine.deadline(),
            ServerMachine::Other(machine) => machine.deadline(),
        };
        self.timers.set(Key::Server(key), &mut row.deadline, at);
    }

    fn reschedule_client(&mut self, key: ClientKey) {
        let Some(row) = self.clients.get_mut(&key) else { return };
        let at = match &row.machine {
            ClientMachine::Invite(machine) => machine.deadline(),
            ClientMachine::Other(machine) => machine.deadline(),
        };
        self.timers.set(Key::Client(key), &mut row.deadline, at);
    }

    /// Nothing is held and nothing is charged: the pair of every `charge` and `refund`.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let empty = self.servers.is_empty() && self.clients.is_empty();
        assert_eq!(empty, self.shares.is_empty(), "bytes are charged exactly while rows are held");
        assert!(!empty || (self.by_hop.is_empty() && self.timers.next().is_none()));
        empty
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.shares.total()
    }
}
