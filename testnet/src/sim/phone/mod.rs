//! A small SIP phone in virtual time: registers, calls, answers, over a network that loses every twentieth packet.
//!
//! It retransmits as RFC 3261 §17.1 says, answers challenges (SHA-256 or MD5, sometimes ahead with a nonce that it has
//! used before), repeats its 200 until the ACK comes, and never takes a lost packet for an answer. What it was promised
//! it remembers, so that a checker can hold the peers to it.

mod call;
mod register;
mod text;

pub use call::{Call, Plan, State};

use dots_sip::message::{Message, RequestBuilder, ResponseBuilder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const GIVE_UP: Duration = Duration::from_secs(32);
/// Answers kept for repeated requests.
const ANSWERS_MAX: usize = 64;
/// Challenges answered for one request.
const TRIES_MAX: u8 = 4;
/// How often a phone answers ahead with the nonce that it has.
const AHEAD: f64 = 0.5;

/// What the registrar at one peer has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nothing that could be relied on: never registered, or an answer is under way.
    Nothing,
    /// A 200 until this time of ours.
    Bound { until: Duration },
    /// A 200 to the removal.
    Gone,
}

struct Registration {
    call_id: String,
    cseq: u32,
    tag: String,
    promise: Promise,
}

/// What a client transaction is for.
#[derive(Clone, Debug)]
enum Purpose {
    Register { expires: u32 },
    Invite { call: String },
    Bye { call: String, tag: String },
    Other,
}

struct Transaction {
    purpose: Purpose,
    request: Message,
    server: SocketAddr,
    branch: String,
    method: String,
    tries: u8,
    sent_at: Duration,
    next: Option<Duration>,
    interval: Duration,
    until: Duration,
    is_done: bool,
}

struct Nonce {
    realm: String,
    nonce: String,
    algorithm: &'static str,
    count: u32,
}

pub struct Phone {
    pub address: SocketAddr,
    pub user: String,
    pub realm: String,
    pub instance: String,
    password: String,
    /// Where it registers and calls.
    pub server: SocketAddr,
    registrations: BTreeMap<SocketAddr, Registration>,
    clients: Vec<Transaction>,
    answers: VecDeque<((String, String), Vec<u8>)>,
    pub calls: Vec<Call>,
    nonces: BTreeMap<SocketAddr, Nonce>,
    rng: ChaCha8Rng,
    out: VecDeque<(SocketAddr, Vec<u8>)>,
    next_call: u32,
    /// Every request that arrived, and every final answer.
    pub received: Vec<(Duration, Message)>,
    /// It has no power, or no network: nothing reaches it.
    pub is_gone: bool,
    /// Does it answer calls? Else it rings until the caller gives up.
    pub picks_up: bool,
    /// Answers BYE with this instead of 200: a hostile callee.
    pub bye_answer: Option<(u16, String)>,
}

impl Phone {
    pub fn new(
        address: SocketAddr,
        server: SocketAddr,
        user: &str,
        realm: &str,
        password: &str,
        seed: u64,
    ) -> Phone {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let instance =
            format!("urn:uuid:00000000-0000-4000-8000-{:012x}", rng.random::<u64>() & 0xffff_ffff_ffff);
        Phone {
            address,
            user: user.to_owned(),
            realm: realm.to_owned(),
            instance,
            password: password.to_owned(),
            server,
            registrations: BTreeMap::new(),
            clients: Vec::new(),
            answers: VecDeque::new(),
            calls: Vec::new(),
            nonces: BTreeMap::new(),
            rng,
            out: VecDeque::new(),
            next_call: 0,
            received: Vec::new(),
            is_gone: false,
            picks_up: true,
            bye_answer: None,
        }
    }

    pub fn aor(&self) -> String {
        format!("{}@{}", self.user, self.realm)
    }

    pub fn contact(&self) -> String {
        format!("sip:{}@{}", self.user, self.address)
    }

    pub fn promise(&self, server: SocketAddr) -> Promise {
        self.registrations.get(&server).map_or(Promise::Nothing, |r| r.promise)
    }

    pub fn set_password(&mut self, password: &str) {
        password.clone_into(&mut self.password);
    }

    /// Is no call of this phone under way?
    pub fn is_idle(&self) -> bool {
        self.calls.iter().all(|c| c.state == State::Over)
    }

    fn branch(&mut self) -> String {
        format!("z9hG4bK{:016x}", self.rng.random::<u64>())
    }

    fn via(&self, branch: &str) -> String {
        format!("Via: SIP/2.0/UDP {};branch={branch};rport", self.address)
    }

    /// A client transaction (§17.1).
    fn start(
        &mut self,
        at: Duration,
        server: SocketAddr,
        branch: String,
        bytes: Vec<u8>,
        purpose: Purpose,
        tries: u8,
    ) {
        let request = Message::parse(bytes).expect("the phone writes messages that can be read");
        self.out.push_back((server, request.raw().to_vec()));
        let method = request.method().to_owned();
        self.clients.push(Transaction {
            purpose,
            request,
            server,
            branch,
            method,
            tries,
            sent_at: at,
            next: Some(at + T1),
            interval: T1,
            until: at + GIVE_UP,
            is_done: false,
        });
    }

    pub fn poll_send(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Duration> {
        let clients = self.clients.iter().flat_map(|t| [t.next, Some(t.until)]).flatten();
        clients.chain(self.calls.iter().filter_map(Call::deadline)).min()
    }

    pub fn handle_timeout(&mut self, at: Duration) {
        let mut again = Vec::new();
        for t in &mut self.clients {
            if t.next.is_some_and(|next| next <= at) {
                again.push((t.server, t.request.raw().to_vec()));
                t.interval = if t.method == "INVITE" { t.interval * 2 } else { (t.interval * 2).min(T2) };
                t.next = Some(at + t.interval);
            }
        }
        self.out.extend(again);
        let (over, left): (Vec<_>, Vec<_>) = self.clients.drain(..).partition(|t| t.until <= at);
        self.clients = left;
        for t in over.into_iter().filter(|t| !t.is_done) {
            self.timed_out(t.purpose);
        }
        self.calls_due(at);
    }

    fn timed_out(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Invite { call } | Purpose::Bye { call, .. } => self.end_call(&call),
            Purpose::Register { .. } | Purpose::Other => {}
        }
    }

    pub fn handle(&mut self, at: Duration, from: SocketAddr, bytes: Vec<u8>) {
        // A refusal may echo what was broken; all else that a peer writes can be read.
        let Ok(message) = Message::parse_lenient(bytes) else { return };
        if message.is_request() {
            self.on_request(at, from, message);
        } else {
            self.on_response(at, message);
        }
    }

    fn on_response(&mut self, at: Duration, response: Message) {
        let status = response.status().unwrap_or_default();
        let branch = response.via().and_then(|v| v.branch()).unwrap_or_default().to_owned();
        let method = response.cseq().map(|(_, m)| m.to_owned()).unwrap_or_default();
        let found = self.clients.iter().position(|t| t.branch == branch && t.method == method);
        let Some(index) = found else { return };
        let t = &mut self.clients[index];
        if status < 200 {
            t.next = (t.method != "INVITE").then_some(at + T2);
            // §17.1.1.2: an INVITE that is answered provisionally waits without end; the call gives up by itself.
            if t.method == "INVITE" {
                t.until = at + Duration::from_secs(300);
                if let Purpose::Invite { call } = t.purpose.clone() {
                    self.on_provisional(&call, status);
                }
            }
            return;
        }
        let (server, is_repeated) = (t.server, t.is_done);
        if t.method == "INVITE" && status >= 300 {
            let ack = RequestBuilder::ack_for(&t.request, &response).into_bytes();
            self.out.push_back((server, ack));
        }
        let t = &mut self.clients[index];
        t.next = None;
        t.until = at + GIVE_UP;
        t.is_done = true;
        let (purpose, tries, request, sent_at) = (t.purpose.clone(), t.tries, t.request.clone(), t.sent_at);
        if is_repeated {
            // The 2xx of an INVITE comes until its ACK does, and from each phone that picked up.
            if let (Purpose::Invite { call }, 200..300) = (purpose, status) {
                self.on_answer(at, &call, server, &response);
            }
            return;
        }
        self.received.push((at, response.clone()));
        if matches!(status, 401 | 407)
            && tries < TRIES_MAX
            && self.answer_challenge(at, server, &purpose, &request, &response, tries)
        {
            return;
        }
        match purpose {
            Purpose::Register { expires } => self.on_registered(server, status, expires, sent_at),
            Purpose::Invite { call } if status < 300 => self.on_answer(at, &call, server, &response),
            Purpose::Invite { call } | Purpose::Bye { call, .. } => self.end_call(&call),
            Purpose::Other => {}
        }
    }

    fn on_request(&mut self, at: Duration, from: SocketAddr, request: Message) {
        let branch = request.via().and_then(|v| v.branch()).unwrap_or_default().to_owned();
        let key = (branch, request.method().to_owned());
        if request.method() == "ACK" {
            return self.on_ack(&request);
        }
        if let Some((_, bytes)) = self.answers.iter().find(|(k, _)| *k == key) {
            self.out.push_back((from, bytes.clone()));
            return;
        }
        self.received.push((at, request.clone()));
        match request.method() {
            "INVITE" => self.on_invite(at, from, request, key),
            "CANCEL" => self.on_cancel(at, from, &request, key),
            "BYE" => self.on_bye(from, &request, key),
            _ => self.reply(from, &request, key, 200, "OK", &[]),
        }
    }

    fn reply(
        &mut self,
        to: SocketAddr,
        request: &Message,
        key: (String, String),
        status: u16,
        reason: &str,
        headers: &[(&str, String)],
    ) {
        let tag = format!("p{}", self.address.port());
        let mut response = ResponseBuilder::new(request, status, reason).to_tag(&tag);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let bytes = response.build();
        self.out.push_back((to, bytes.clone()));
        if status >= 200 {
            self.answers.push_back((key, bytes));
            if self.answers.len() > ANSWERS_MAX {
                self.answers.pop_front();
            }
        }
    }
}
