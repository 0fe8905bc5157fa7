//! Two cores, their phones, and a friendly world that answers what they ask. Each test file uses a part of it.
#![allow(dead_code)]

use dots_sip::{
    Flow, Input, Now, Output, Transport,
    address::Addressing,
    auth::{AuthFailure, Challenge, Vouch},
    core::Config,
    ids::AskId,
    input::{RemoteTarget, Resolution, Vouched},
    message::{
        Message, Name, NameAddr,
        tally::{self, Tally},
    },
    output::CallProgress,
    shards::Shards,
};
use std::{collections::VecDeque, time::Instant};

pub const LABEL_A: &str = "aaaabbbbccccddddeeeeffffgggg2222";
pub const LABEL_B: &str = "bbbbccccddddeeeeffffgggghhhh3333";

/// Every scenario runs with one core and, as `four_cores.rs`, with four that share the work.
fn shards() -> u8 {
    if module_path!().starts_with("four_cores") { 4 } else { 1 }
}

/// A core (or four), its phones' inboxes, and what it told the world.
pub struct Peer {
    pub core: Shards,
    pub label: &'static str,
    pub realm: &'static str,
    pub inbox: VecDeque<(Flow, Message)>,
    pub to_peer: VecDeque<Vec<u8>>,
    pub calls: Vec<CallProgress>,
    pub counts: Vec<&'static str>,
    /// Connections on which an account has answered a challenge.
    pub proved: Vec<Flow>,
    /// What its messages cost; whoever reads what it sent is not counted.
    pub tally: Tally,
    /// Its home cannot be asked, and no nonce of it is known any more.
    pub is_home_away: bool,
    /// Where `Resolve` points: another peer, or nobody else.
    pub resolution: Resolution,
    /// And where it does when it is asked again; none: the same.
    pub elsewhere: Option<Resolution>,
    /// The second question is not answered yet, and which it is.
    pub holds: bool,
    pub held: Option<AskId>,
    /// Phones that said no word, or whose flow closed.
    pub unanswered: Vec<String>,
}

pub struct World {
    pub now: Now,
    /// What was on the overlay.
    pub wire: Vec<Vec<u8>>,
    pub a: Peer,
    pub b: Peer,
}

pub fn flow(port: u16) -> Flow {
    let local = "127.0.0.1:5060".parse().expect("an address");
    let remote = format!("127.0.0.1:{port}").parse().expect("an address");
    Flow { transport: Transport::Udp, connection: 0, local, remote }
}

impl Peer {
    pub fn new(label: &'static str, realm: &'static str) -> Peer {
        let addressing = Addressing {
            own_hosts: ["127.0.0.1".to_owned()].into(),
            default_realm: realm.into(),
            local_realms: [realm.to_owned()].into(),
            ..Addressing::default()
        };
        let config = Config { addressing, label: label.into(), ..Config::default() };
        Peer {
            core: Shards::new(config, [label.as_bytes()[0]; 32], 1, shards()),
            label,
            realm,
            inbox: VecDeque::new(),
            to_peer: VecDeque::new(),
            calls: Vec::new(),
            counts: Vec::new(),
            proved: Vec::new(),
            tally: Tally::default(),
            is_home_away: false,
            resolution: Resolution::Offline,
            elsewhere: None,
            holds: false,
            held: None,
            unanswered: Vec::new(),
        }
    }

    /// Answers the core's questions as a friendly world would, until it has no more.
    pub fn drain(&mut self, now: Now) {
        while let Some(output) = self.core.poll_output() {
            let input = match output {
                Output::Send { flow, bytes } => {
                    // A refusal echoes what was broken; all else that the core writes can be read.
                    let is_refusal = bytes.starts_with(b"SIP/2.0 400 ") || bytes.starts_with(b"SIP/2.0 505 ");
                    let message = match is_refusal {
                        true => Message::parse_lenient(bytes),
                        false => Message::parse(bytes),
                    };
                    let message = message.expect("the core writes messages that can be read");
                    self.inbox.push_back((flow, message));
                    continue;
                }
                Output::SendPeer { message, .. } => {
                    self.to_peer.push_back(message.raw().to_vec());
                    continue;
                }
                Output::Call(event) => {
                    self.calls.push(event.what);
                    continue;
                }
                Output::Count(name) => {
                    self.counts.push(name);
                    continue;
                }
                Output::Proved { flow } => {
                    self.proved.push(flow);
                    continue;
                }
                Output::Unanswered { aor, .. } => {
                    self.unanswered.push(aor);
                    continue;
                }
                Output::Expired { .. } | Output::Pinged { .. } => continue,
                Output::Locate { .. } => unreachable!("the cores answer each other"),
                Output::Challenge { id, realm, .. } => {
                    let result = if self.is_home_away {
                        Err(AuthFailure::Unavailable)
                    } else if realm == self.realm {
                        Ok(Challenge { realm, nonce: "nonce".into() })
                    } else {
                        Err(AuthFailure::UnknownRealm)
                    };
                    Input::Challenge { id, result }
                }
                Output::Verify { id, answer, .. } => {
                    let result = match answer.response.as_str() {
                        _ if self.is_home_away => Err(AuthFailure::Stale),
                        "right" => Ok(Vouch {
                            aor: answer.aor.clone(),
                            grant: [].into(),
                            not_after_ms: now.wall_ms + 3_600_000,
                        }),
                        _ => Err(AuthFailure::Wrong),
                    };
                    Input::Verified { id, result }
                }
                Output::Journal { id, .. } => Input::Journaled { id },
                Output::Resolve { id, is_again: true, .. } if self.holds => {
                    self.held = Some(id);
                    continue;
                }
                Output::Resolve { id, is_again, .. } => {
                    let elsewhere = self.elsewhere.clone().filter(|_| is_again);
                    Input::Resolved { id, resolution: elsewhere.unwrap_or_else(|| self.resolution.clone()) }
                }
            };
            self.handle(now, input);
        }
    }

    /// Gives the core one input, and counts what its messages cost.
    pub fn handle(&mut self, now: Now, input: Input) {
        let before = tally::so_far();
        self.core.handle(now, input);
        self.tally = self.tally.plus(tally::so_far().since(before));
    }

    pub fn phone(&mut self, now: Now, port: u16, text: &str) {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        self.handle(now, Input::Message { flow: flow(port), bytes });
        self.drain(now);
    }

    /// The next message for the phone at `port`, passing over 100.
    pub fn got(&mut self, port: u16) -> Message {
        loop {
            let at = self.inbox.iter().position(|(f, _)| f.remote.port() == port);
            let at = at.unwrap_or_else(|| panic!("nothing for {port}; {:?}", self.counts));
            let (_, message) = self.inbox.remove(at).expect("it was found there");
            if message.status() != Some(100) {
                return message;
            }
        }
    }

    pub fn silent(&self, port: u16) -> bool {
        !self.inbox.iter().any(|(f, _)| f.remote.port() == port)
    }

    pub fn register(&mut self, now: Now, user: &str, port: u16) {
        self.register_in(now, user, self.realm, port);
    }

    /// An account of any realm, whose phone knows this peer by address alone.
    pub fn register_in(&mut self, now: Now, user: &str, realm: &str, port: u16) {
        let name = if realm == self.realm { user.to_owned() } else { format!("{user}%40{realm}") };
        let text = request("REGISTER", "sip:127.0.0.1", port, &format!("reg{port}"), user, user, "")
            .replace(&format!("<sip:{user}@127.0.0.1>"), &format!("<sip:{name}@127.0.0.1>"))
            .replace("\n\n", &format!("\nAuthorization: Digest username=\"{user}\",realm=\"{realm}\",nonce=\"nonce\",uri=\"sip:127.0.0.1\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n\n"));
        self.phone(now, port, &text);
        assert_eq!(self.got(port).status(), Some(200), "{user} registers");
    }
}

impl Peer {
    /// Lets time pass up to the next deadline.
    pub fn wait(&mut self, now: &mut Now) {
        let at = self.core.poll_timeout().expect("something waits");
        let passed = at.saturating_duration_since(now.mono);
        *now = Now { mono: now.mono + passed, wall_ms: now.wall_ms + passed.as_millis() as u64 };
        self.core.handle_timeout(*now);
        self.drain(*now);
    }
}

impl World {
    pub fn new() -> World {
        let now = Now { mono: Instant::now(), wall_ms: 1_000_000 };
        World { now, wire: Vec::new(), a: Peer::new(LABEL_A, "a.test"), b: Peer::new(LABEL_B, "b.test") }
    }

    /// Carries the overlay leg both ways until it is quiet; requests outside a dialog come vouched for.
    pub fn carry(&mut self) {
        while self.carry_one() {}
    }

    /// The next message on the overlay leg, A's before B's. `false`: there is none.
    pub fn carry_one(&mut self) -> bool {
        let (from, to, bytes) = match (self.a.to_peer.pop_front(), self.b.to_peer.pop_front()) {
            (Some(bytes), back) => {
                if let Some(back) = back {
                    self.b.to_peer.push_front(back);
                }
                (self.a.label, &mut self.b, bytes)
            }
            (None, Some(bytes)) => (self.b.label, &mut self.a, bytes),
            (None, None) => return false,
        };
        self.wire.push(bytes.clone());
        let before = tally::so_far();
        let message = Message::parse(bytes).expect("what a core wrote is readable");
        to.tally = to.tally.plus(tally::so_far().since(before));
        let from_uri = message.from().expect("a From").uri().trim_start_matches("sip:").to_owned();
        let initial = message.is_request() && message.to().expect("a To").tag().is_none();
        let caller = initial.then(|| Vouched { aor: from_uri, grant: [].into() });
        to.handle(self.now, Input::Overlay { from: from.into(), message, caller, nonce: None });
        to.drain(self.now);
        true
    }
}

/// A message from a peer, as the composition hands it over; nothing where it cannot be read.
pub fn overlay(from: &str, bytes: Vec<u8>, caller: Option<String>) -> Option<Input> {
    let message = Message::parse(bytes).ok()?;
    let caller = caller.map(|aor| Vouched { aor, grant: [].into() });
    Some(Input::Overlay { from: from.into(), message, caller, nonce: None })
}

pub fn request(method: &str, uri: &str, port: u16, call: &str, from: &str, to: &str, more: &str) -> String {
    let cseq = if method == "REGISTER" { 1 } else { 7 };
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{method}{call}{cseq};rport\nMax-Forwards: 70\n\
         From: <sip:{from}@127.0.0.1>;tag=f{port}\nTo: <sip:{to}@127.0.0.1>\nCall-ID: {call}\nCSeq: {cseq} {method}\n\
         Contact: <sip:{from}@127.0.0.1:{port}>\n{more}Content-Length: 0\n\n"
    )
}

pub fn invite(port: u16, call: &str, from: &str, to: &str, realm: &str) -> String {
    let auth = format!(
        "Proxy-Authorization: Digest username=\"{from}\",realm=\"{realm}\",nonce=\"nonce\",uri=\"sip:{to}@127.0.0.1\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n"
    );
    request("INVITE", &format!("sip:{to}@127.0.0.1"), port, call, from, to, &auth)
}

/// A phone's answer to `request`.
pub fn answer(request: &Message, status: &str, port: u16) -> String {
    let mut text = format!("SIP/2.0 {status}\n");
    for name in [Name::Via, Name::RecordRoute] {
        for line in request.header_lines(&name) {
            text.push_str(&format!("{}: {line}\n", name.as_str()));
        }
    }
    text.push_str(&format!("From: {}\n", request.header(&Name::From).expect("From")));
    text.push_str(&format!("To: {};tag=t{port}\n", request.header(&Name::To).expect("To")));
    for name in [Name::CallId, Name::CSeq] {
        text.push_str(&format!("{}: {}\n", name.as_str(), request.header(&name).expect("mandatory")));
    }
    text.push_str(&format!("Contact: <sip:bob@127.0.0.1:{port}>\nContent-Length: 0\n\n"));
    text
}

/// A request that a phone sends inside a dialog: `routes` as it learnt them, in its own direction.
#[allow(clippy::too_many_arguments)]
pub fn in_dialog(method: &str, cseq: u32, port: u16, seen: &Message, by_caller: bool, call: &str) -> String {
    let contact = NameAddr::parse(seen.header(&Name::Contact).expect("a Contact")).expect("readable");
    let mut routes: Vec<String> = seen.values(&Name::RecordRoute).map(str::to_owned).collect();
    if by_caller {
        routes.reverse();
    }
    let (from, to) = (seen.header(&Name::From).expect("From"), seen.header(&Name::To).expect("To"));
    let (from, to) = if by_caller {
        (from.to_owned(), to.to_owned())
    } else {
        (format!("{to};tag=t{port}"), from.to_owned())
    };
    format!(
        "{method} {} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{method}{port}{cseq}\nMax-Forwards: 70\nRoute: {}\n\
         From: {from}\nTo: {to}\nCall-ID: {call}\nCSeq: {cseq} {method}\nContent-Length: 0\n\n",
        contact.uri(),
        routes.join(", "),
    )
}

/// An answered call from alice at A (1) to bob at B (2): the INVITE as bob has it, the 200 as alice has it.
pub fn across() -> (World, Message, Message) {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.b.register(w.now, "bob", 2);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    let text = invite(1, "c1", "alice", "bob", "a.test")
        .replace("INVITE sip:bob@127.0.0.1", "INVITE sip:bob@b.test")
        .replace("uri=\"sip:bob@127.0.0.1\"", "uri=\"sip:bob@b.test\"");
    w.a.phone(w.now, 1, &text);
    w.carry();
    let ringing = w.b.got(2);
    w.b.phone(w.now, 2, &answer(&ringing, "200 OK", 2));
    w.carry();
    let ok = w.a.got(1);
    (w, ringing, ok)
}
