//! The calls of a phone: INVITE to BYE, from both sides (RFC 3261 §12 to §15).

use super::{GIVE_UP, Phone, Purpose, T1, T2, text};
use dots_sip::message::{Message, Name, NameAddr, RequestBuilder, ResponseBuilder};
use rand::Rng;
use std::{net::SocketAddr, time::Duration};

/// What a caller means to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Hangs up so long after the answer; `None`: leaves it to the other.
    pub talk: Option<Duration>,
    /// Gives up if nobody answers.
    pub patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// INVITE sent.
    Calling,
    /// CANCEL sent.
    Cancelled,
    /// We ring.
    Ringing,
    /// 200 sent, no ACK yet.
    Answered,
    Up,
    /// BYE sent.
    Leaving,
    Over,
}

pub struct Call {
    pub id: String,
    pub state: State,
    pub is_caller: bool,
    pub other: String,
    plan: Plan,
    /// From and To as we write them in requests.
    local: String,
    remote: String,
    target: String,
    routes: Vec<String>,
    server: SocketAddr,
    cseq: u32,
    invite: Option<Message>,
    invite_key: (String, String),
    /// The 200 or the failure, until its ACK.
    answer: Option<Vec<u8>>,
    again: Option<Duration>,
    interval: Duration,
    /// The next thing to do: pick up, hang up, give up.
    act: Option<Duration>,
    until: Option<Duration>,
    rang: bool,
    pub was_up: bool,
}

impl Call {
    pub fn deadline(&self) -> Option<Duration> {
        [self.again, self.act, self.until].into_iter().flatten().min()
    }
}

impl Phone {
    /// Calls this AOR. Gives back the Call-ID.
    pub fn call(&mut self, at: Duration, target: &str, plan: Plan) -> String {
        self.next_call += 1;
        let id = format!("call-{}-{}-{:08x}", self.user, self.next_call, self.rng.random::<u32>());
        let tag = format!("{:08x}", self.rng.random::<u32>());
        self.calls.push(Call {
            id: id.clone(),
            state: State::Calling,
            is_caller: true,
            other: target.to_owned(),
            plan,
            local: format!("<sip:{}>;tag={tag}", self.aor()),
            remote: format!("<sip:{target}>"),
            target: format!("sip:{target}"),
            routes: Vec::new(),
            server: self.server,
            cseq: 0,
            invite: None,
            invite_key: Default::default(),
            answer: None,
            again: None,
            interval: T1,
            act: Some(at + plan.patience),
            until: None,
            rang: false,
            was_up: false,
        });
        let uri = format!("sip:{target}");
        let ahead = self.answer_ahead(self.server, "INVITE", &uri);
        self.send_invite(at, &id.clone(), ahead.map(|a| format!("Proxy-Authorization: {a}")), 0);
        id
    }

    pub(super) fn send_invite(&mut self, at: Duration, id: &str, answer: Option<String>, tries: u8) {
        let branch = self.branch();
        let (via, contact) = (self.via(&branch), self.contact());
        let body = text::sdp(&self.address.ip().to_string());
        let Some(call) = self.calls.iter_mut().find(|c| c.id == id) else { return };
        if call.state != State::Calling {
            return;
        }
        call.cseq += 1;
        let lines = [
            via,
            format!("From: {}", call.local),
            format!("To: {}", call.remote),
            format!("Call-ID: {id}"),
            format!("CSeq: {} INVITE", call.cseq),
            format!("Contact: <{contact}>"),
            "Content-Type: application/sdp".to_owned(),
            answer.unwrap_or_default(),
        ];
        let bytes = text::request(&format!("INVITE {}", call.target), &lines, &body);
        call.invite = Message::parse(bytes.clone()).ok();
        let server = call.server;
        self.start(at, server, branch, bytes, Purpose::Invite { call: id.to_owned() }, tries);
    }

    pub(super) fn on_provisional(&mut self, id: &str, status: u16) {
        if let Some(call) = self.calls.iter_mut().find(|c| c.id == id) {
            call.rang |= status > 100;
        }
    }

    /// A 2xx to our INVITE: ACK it, each time; a second phone that picked up is hung up on.
    pub(super) fn on_answer(&mut self, at: Duration, id: &str, server: SocketAddr, response: &Message) {
        let Some(to) = response.header(&Name::To).map(str::to_owned) else { return };
        let contact = response.header(&Name::Contact).and_then(NameAddr::parse).map(|c| c.uri().to_owned());
        let mut routes: Vec<String> = response.values(&Name::RecordRoute).map(str::to_owned).collect();
        routes.reverse();
        let branch = self.branch();
        let via = self.via(&branch);
        let Some(call) = self.calls.iter_mut().find(|c| c.id == id && c.is_caller) else { return };
        let is_first = matches!(call.state, State::Calling | State::Cancelled) && !call.was_up;
        if is_first {
            call.remote.clone_from(&to);
            call.target = contact.clone().unwrap_or_default();
            call.routes.clone_from(&routes);
            call.was_up = true;
            // The answer crossed our CANCEL: nobody wants this call.
            let at_once = call.state == State::Cancelled;
            call.state = State::Up;
            call.act = if at_once { Some(at) } else { call.plan.talk.map(|t| at + t) };
        }
        let is_other = call.remote != to;
        let cseq = response.cseq().map_or(1, |(n, _)| n);
        let target = contact.unwrap_or_default();
        let route = if routes.is_empty() { String::new() } else { format!("Route: {}", routes.join(", ")) };
        let lines = |via: String, method: &str, cseq: u32| {
            [
                via,
                route.clone(),
                format!("From: {}", call.local),
                format!("To: {to}"),
                format!("Call-ID: {id}"),
                format!("CSeq: {cseq} {method}"),
            ]
        };
        let ack = text::request(&format!("ACK {target}"), &lines(via, "ACK", cseq), "");
        let bye = is_other.then(|| (lines(String::new(), "BYE", call.cseq + 1), format!("BYE {target}")));
        self.out.push_back((server, ack));
        if let Some((mut lines, start)) = bye
            && !self.clients.iter().any(|t| matches!(&t.purpose, Purpose::Bye { tag, .. } if *tag == to))
        {
            let branch = self.branch();
            lines[0] = self.via(&branch);
            let bytes = text::request(&start, &lines, "");
            self.start(at, server, branch, bytes, Purpose::Bye { call: String::new(), tag: to }, 0);
        }
    }

    pub(super) fn on_invite(
        &mut self,
        at: Duration,
        from: SocketAddr,
        request: Message,
        key: (String, String),
    ) {
        let tag = format!("p{}", self.address.port());
        if request.to().and_then(|t| t.tag()).is_some() {
            // A re-INVITE or a confused peer: there is nothing to change.
            return self.reply(from, &request, key, 488, "Not Acceptable Here", &[]);
        }
        let id = request.call_id().unwrap_or_default().to_owned();
        let is_same = |c: &&Call| {
            let known = c.invite.as_ref().filter(|_| c.id == id && !c.is_caller);
            known.is_some_and(|k| {
                k.cseq() == request.cseq() && k.header(&Name::From) == request.header(&Name::From)
            })
        };
        if self.calls.iter().any(|c| is_same(&c)) {
            // §8.2.2.2: the same request by another way; the first one has it.
            return self.reply(from, &request, key, 482, "Loop Detected", &[]);
        }
        let ringing = ResponseBuilder::new(&request, 180, "Ringing").to_tag(&tag).build();
        let contact = request.header(&Name::Contact).and_then(NameAddr::parse).map(|c| c.uri().to_owned());
        let routes: Vec<String> = request.values(&Name::RecordRoute).map(str::to_owned).collect();
        let local = format!("{};tag={tag}", request.header(&Name::To).unwrap_or_default());
        let remote = request.header(&Name::From).unwrap_or_default().to_owned();
        let wait = Duration::from_millis(self.rng.random_range(200..2_500));
        self.out.push_back((from, ringing));
        let hangs_up = self.rng.random_bool(0.5);
        let talk = hangs_up.then(|| Duration::from_millis(self.rng.random_range(500..6_000)));
        self.calls.push(Call {
            id,
            state: State::Ringing,
            is_caller: false,
            other: remote.clone(),
            plan: Plan { talk, patience: Duration::from_secs(60) },
            local,
            remote,
            target: contact.unwrap_or_default(),
            routes,
            server: from,
            cseq: 100,
            invite: Some(request),
            invite_key: key,
            answer: None,
            again: None,
            interval: T1,
            act: self.picks_up.then(|| at + wait),
            until: Some(at + Duration::from_secs(90)),
            rang: true,
            was_up: false,
        });
    }

    pub(super) fn on_cancel(
        &mut self,
        at: Duration,
        from: SocketAddr,
        request: &Message,
        key: (String, String),
    ) {
        let invite_key = (key.0.clone(), "INVITE".to_owned());
        let found = self.calls.iter().position(|c| c.invite_key == invite_key);
        let Some(index) = found else {
            return self.reply(from, request, key, 481, "No Such Transaction", &[]);
        };
        self.reply(from, request, key, 200, "OK", &[]);
        if self.calls[index].state == State::Ringing {
            self.finish_invite(at, index, 487, "Request Terminated");
        }
    }

    /// A final answer to an INVITE, repeated until its ACK.
    fn finish_invite(&mut self, at: Duration, index: usize, status: u16, reason: &str) {
        let (tag, contact) = (format!("p{}", self.address.port()), self.contact());
        let call = &mut self.calls[index];
        let Some(invite) = &call.invite else { return };
        let mut response = ResponseBuilder::new(invite, status, reason).to_tag(&tag);
        let routes: Vec<String> = invite.header_lines(&Name::RecordRoute).map(str::to_owned).collect();
        if status == 200 {
            response = response.header("Contact", &format!("<{contact}>"));
            for route in &routes {
                response = response.header("Record-Route", route);
            }
        }
        let bytes = response.build();
        call.answer = Some(bytes.clone());
        call.again = Some(at + T1);
        call.interval = T1;
        call.until = Some(at + GIVE_UP);
        call.act = None;
        call.state = if status == 200 { State::Answered } else { State::Over };
        let (server, key) = (call.server, call.invite_key.clone());
        self.out.push_back((server, bytes.clone()));
        self.answers.push_back((key, bytes));
    }

    pub(super) fn on_ack(&mut self, ack: &Message) {
        let id = ack.call_id().unwrap_or_default();
        let is_it = |c: &&mut Call| c.id == id && !c.is_caller && c.answer.is_some();
        let Some(call) = self.calls.iter_mut().find(is_it) else { return };
        call.answer = None;
        call.again = None;
        call.until = None;
        if call.state == State::Answered {
            call.state = State::Up;
            call.was_up = true;
        }
    }

    pub(super) fn on_bye(&mut self, from: SocketAddr, request: &Message, key: (String, String)) {
        let id = request.call_id().unwrap_or_default().to_owned();
        let known = self.calls.iter().any(|c| c.id == id);
        match (&self.bye_answer.clone(), known) {
            (Some((status, challenge)), _) => {
                let header = [("Proxy-Authenticate", challenge.clone())];
                self.reply(from, request, key, *status, "Proxy Authentication Required", &header);
            }
            (None, true) => self.reply(from, request, key, 200, "OK", &[]),
            (None, false) => self.reply(from, request, key, 481, "No Such Call", &[]),
        }
        self.end_call(&id);
    }

    pub(super) fn end_call(&mut self, id: &str) {
        for call in self.calls.iter_mut().filter(|c| c.id == id) {
            call.state = State::Over;
            (call.act, call.again, call.until, call.answer) = (None, None, None, None);
        }
    }

    /// Ends every call that is up or on its way there.
    pub fn hang_up(&mut self, at: Duration) {
        for call in self.calls.iter_mut().filter(|c| c.state != State::Over) {
            if matches!(call.state, State::Up | State::Calling) {
                call.act = Some(at);
            }
        }
    }

    pub(super) fn calls_due(&mut self, at: Duration) {
        for index in 0..self.calls.len() {
            let call = &mut self.calls[index];
            if call.again.is_some_and(|next| next <= at) {
                call.interval = (call.interval * 2).min(T2);
                call.again = Some(at + call.interval);
                self.out.extend(call.answer.clone().map(|bytes| (call.server, bytes)));
            }
            if call.until.is_some_and(|until| until <= at) {
                // No ACK, or nobody ever cancelled: RFC 3261 §13.3.1.4 says BYE; there is no dialog worth one.
                (call.again, call.until, call.answer) = (None, None, None);
                call.state = State::Over;
            }
            if call.act.is_some_and(|act| act <= at) {
                call.act = None;
                self.act(at, index);
            }
        }
    }

    fn act(&mut self, at: Duration, index: usize) {
        let call = &mut self.calls[index];
        match call.state {
            State::Ringing => {
                let talk = call.plan.talk;
                self.finish_invite(at, index, 200, "OK");
                self.calls[index].act = talk.map(|t| at + t);
            }
            // It goes out when the ACK has come.
            State::Answered => call.act = Some(at + T1),
            State::Up => self.send_bye(at, index),
            State::Calling => self.send_cancel(at, index),
            // No 487 came: there is nothing more to wait for.
            State::Cancelled => call.state = State::Over,
            State::Leaving | State::Over => {}
        }
    }

    fn send_bye(&mut self, at: Duration, index: usize) {
        let branch = self.branch();
        let via = self.via(&branch);
        let call = &mut self.calls[index];
        call.state = State::Leaving;
        call.cseq += 1;
        let route = call.routes.join(", ");
        let lines = [
            via,
            if route.is_empty() { route } else { format!("Route: {route}") },
            format!("From: {}", call.local),
            format!("To: {}", call.remote),
            format!("Call-ID: {}", call.id),
            format!("CSeq: {} BYE", call.cseq),
        ];
        let bytes = text::request(&format!("BYE {}", call.target), &lines, "");
        let (server, id, tag) = (call.server, call.id.clone(), call.remote.clone());
        self.start(at, server, branch, bytes, Purpose::Bye { call: id, tag }, 0);
    }

    fn send_cancel(&mut self, at: Duration, index: usize) {
        let call = &mut self.calls[index];
        call.state = State::Cancelled;
        call.act = Some(at + GIVE_UP + T2);
        let Some(invite) = &call.invite else { return };
        let bytes = RequestBuilder::cancel_for(invite, None).into_bytes();
        let branch = invite.via().and_then(|v| v.branch()).unwrap_or_default().to_owned();
        let server = call.server;
        self.start(at, server, branch, bytes, Purpose::Other, super::TRIES_MAX);
    }
}
