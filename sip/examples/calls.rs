//! Drives calls through one core, or across two, in a world that answers at once: INVITE, 180, 200, ACK, BYE, 200. For counting
//! instructions, which depend on no machine and no load:
//!
//! ```text
//! cargo build --release -p dots-sip --example calls
//! valgrind --tool=callgrind target/release/examples/calls across 1000
//! valgrind --tool=callgrind target/release/examples/calls one 1000
//! ```

use dots_sip::{
    Flow, Input, Now, Output, Transport,
    address::Addressing,
    auth::{Challenge, Vouch},
    core::{Config, Core},
    hop::PeerLabel,
    input::{RemoteTarget, Resolution, Vouched},
    message::{Message, Name, NameAddr},
    output::About,
};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Time between two calls: the transactions of the one before are over, as at a steady load.
const PAUSE: Duration = Duration::from_millis(40);
/// From the INVITE to the first ringing.
const RINGS_AFTER: Duration = Duration::from_millis(10);

struct Peer {
    core: Core,
    label: PeerLabel,
    realm: &'static str,
    address: SocketAddr,
    resolution: Resolution,
    to_phones: VecDeque<Message>,
    to_peer: VecDeque<(Message, About)>,
}

impl Peer {
    fn new(label: &str, realm: &'static str, address: SocketAddr) -> Peer {
        let addressing = Addressing {
            own_hosts: [address.ip().to_string()].into(),
            default_realm: realm.to_owned(),
            local_realms: [realm.to_owned()].into(),
            ..Addressing::default()
        };
        let label = PeerLabel::from(label);
        let config = Config { addressing, label: label.clone(), ..Config::default() };
        let core = Core::new(config, [label.as_bytes()[0]; 32], 1);
        let (to_phones, to_peer) = (VecDeque::new(), VecDeque::new());
        Peer { core, label, realm, address, resolution: Resolution::Offline, to_phones, to_peer }
    }

    fn handle(&mut self, now: Now, input: Input) {
        self.core.handle(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.core.poll_output() {
            let input = match output {
                Output::Send { bytes, .. } => {
                    self.to_phones.push_back(Message::parse(bytes).expect("what a core wrote is readable"));
                    continue;
                }
                Output::SendPeer { message, about, .. } => {
                    self.to_peer.push_back((message, about));
                    continue;
                }
                Output::Challenge { id, realm, .. } => {
                    Input::Challenge { id, result: Ok(Challenge { realm, nonce: "n".repeat(124) }) }
                }
                Output::Verify { id, answer, .. } => {
                    let not_after_ms = now.wall_ms + 86_400_000;
                    Input::Verified {
                        id,
                        result: Ok(Vouch { aor: answer.aor, grant: [].into(), not_after_ms }),
                    }
                }
                Output::Journal { id, .. } => Input::Journaled { id },
                Output::Resolve { id, .. } => Input::Resolved { id, resolution: self.resolution.clone() },
                _ => continue,
            };
            self.core.handle(now, input);
        }
    }

    fn phone(&mut self, now: Now, port: u16, text: &str) {
        let remote = SocketAddr::new([192, 0, 2, 7].into(), port);
        let flow = Flow { transport: Transport::Udp, connection: 0, local: self.address, remote };
        self.handle(now, Input::Message { flow, bytes: text.as_bytes().to_vec() });
    }

    /// The next message for a phone that is not a 100.
    fn got(&mut self) -> Message {
        loop {
            let message = self.to_phones.pop_front().expect("a phone was sent something");
            if message.status() != Some(100) {
                return message;
            }
        }
    }

    fn register(&mut self, now: Now, user: &str, port: u16) {
        let Peer { realm, .. } = *self;
        let credentials = credentials("Authorization", (user, realm), &format!("sip:{realm}"));
        let text = format!(
            "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:{port};branch=z9hG4bK-r{port};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{realm}>;tag={port}\r\nTo: <sip:{user}@{realm}>\r\nCall-ID: {port}-reg\r\n\
             CSeq: 1 REGISTER\r\nContact: <sip:{user}@192.0.2.7:{port};transport=UDP>\r\n{credentials}Expires: 86400\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.phone(now, port, &text);
        assert_eq!(self.got().status(), Some(200), "{user} registers");
    }
}

fn credentials(name: &str, (user, realm): (&str, &str), uri: &str) -> String {
    format!(
        "{name}: Digest username=\"{user}\",realm=\"{realm}\",cnonce=\"6b8b4567\",nc=00000001,qop=auth,uri=\"{uri}\",\
         nonce=\"{}\",response=\"3b1b6e5e53d2a2f1b8d6a2d9c1f0e4aa\",algorithm=MD5,opaque=\"646f7473\"\r\n",
        "n".repeat(124)
    )
}

const SDP: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
                   m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

/// The world: one peer that serves both phones, or one for each.
struct World {
    now: Now,
    peers: Vec<Peer>,
    /// Frames between the peers.
    frames: usize,
}

impl World {
    /// Carries what is between the peers until it is quiet.
    fn carry(&mut self) {
        while let Some(at) = self.peers.iter().position(|peer| !peer.to_peer.is_empty()) {
            let from = self.peers[at].label.clone();
            let (message, about) = self.peers[at].to_peer.pop_front().expect("it is not empty");
            self.frames += 1;
            let caller = match about {
                About::Initial { caller, .. } => Some(Vouched { aor: caller, grant: [].into() }),
                About::Answer(_) | About::Other => None,
            };
            // As the link brings it.
            let message = Message::parse(message.raw().to_vec()).expect("what a core wrote is readable");
            let (now, to) = (self.now, self.peers.len() - 1 - at);
            self.peers[to].handle(now, Input::Overlay { from, message, caller, nonce: None });
        }
    }

    fn pass(&mut self, time: Duration) {
        let wall_ms = self.now.wall_ms + u64::try_from(time.as_millis()).expect("a short time");
        self.now = Now { mono: self.now.mono + time, wall_ms };
        for at in 0..self.peers.len() {
            while self.peers[at].core.poll_timeout().is_some_and(|due| due <= self.now.mono) {
                self.peers[at].core.handle_timeout(self.now);
                self.peers[at].drain(self.now);
            }
        }
        self.carry();
    }

    fn phone(&mut self, at: usize, port: u16, text: &str) {
        let now = self.now;
        self.peers[at].phone(now, port, text);
        self.carry();
    }

    fn call(&mut self, number: usize, callee: (usize, &str)) {
        let (at, realm) = callee;
        let own = self.peers[0].realm;
        let credentials = credentials("Proxy-Authorization", ("alice", own), &format!("sip:bob@{realm}"));
        let invite = format!(
            "INVITE sip:bob@{realm} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-{number}-2;rport\r\n\
             Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@{own}>;tag={number}a\r\nTo: <sip:bob@{realm}>\r\n\
             Call-ID: {number}-1234@192.0.2.7\r\nCSeq: 2 INVITE\r\nContact: <sip:alice@192.0.2.7:5062>\r\n{credentials}\
             User-Agent: phone\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\nSupported: replaces, timer\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        );
        self.phone(0, 5062, &invite);
        let seen = self.peers[at].got();
        assert_eq!(seen.method(), "INVITE");
        self.pass(RINGS_AFTER);
        self.phone(at, 5063, &answer(&seen, "180 Ringing", ""));
        assert_eq!(self.peers[0].got().status(), Some(180));
        self.phone(at, 5063, &answer(&seen, "200 OK", SDP));
        let ok = self.peers[0].got();
        assert_eq!(ok.status(), Some(200));
        for (cseq, method) in [(2, "ACK"), (3, "BYE")] {
            self.phone(0, 5062, &in_dialog(method, cseq, &ok));
            let seen = self.peers[at].got();
            assert_eq!(seen.method(), method);
            if method == "BYE" {
                self.phone(at, 5063, &answer(&seen, "200 OK", ""));
                assert_eq!(self.peers[0].got().status(), Some(200));
            }
        }
        self.pass(PAUSE);
    }
}

/// A phone's answer.
fn answer(request: &Message, status: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in [Name::Via, Name::RecordRoute, Name::From, Name::CallId, Name::CSeq] {
        for line in request.header_lines(&name) {
            text.push_str(&format!("{}: {line}\r\n", name.as_str()));
        }
    }
    let to = request.header(&Name::To).expect("a To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=b" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    text.push_str(&format!(
        "To: {to}{tag}\r\nContact: <sip:bob@192.0.2.7:5063>\r\nUser-Agent: phone\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    text
}

/// What the caller says in the dialog that this 200 began.
fn in_dialog(method: &str, cseq: u32, ok: &Message) -> String {
    let value = |name: &Name| ok.header(name).expect("a 200 has it").to_owned();
    let contact = NameAddr::parse(ok.header(&Name::Contact).expect("a Contact")).expect("it is readable");
    let mut routes: Vec<&str> = ok.values(&Name::RecordRoute).collect();
    routes.reverse();
    let call_id = value(&Name::CallId);
    format!(
        "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-{call_id}-{method};rport\r\nMax-Forwards: 70\r\n\
         Route: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nUser-Agent: phone\r\n\
         Content-Length: 0\r\n\r\n",
        contact.uri(),
        routes.join(", "),
        value(&Name::From),
        value(&Name::To),
    )
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let is_across = arguments.next().is_none_or(|how| how == "across");
    let count = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let now = Now { mono: Instant::now(), wall_ms: 1_800_000_000_000 };
    let a = Peer::new("aaaabbbbccccddddeeeeffffgggg2222", "a.example", ([192, 0, 2, 1], 5060).into());
    let mut world = World { now, peers: vec![a], frames: 0 };
    let callee = if is_across { (1, "b.example") } else { (0, "a.example") };
    if is_across {
        let mut b = Peer::new("bbbbccccddddeeeeffffgggghhhh3333", "b.example", ([192, 0, 2, 2], 5060).into());
        world.peers[0].resolution = Resolution::Peers(vec![RemoteTarget { peer: b.label.clone(), q: 1000 }]);
        b.resolution = Resolution::Offline;
        world.peers.push(b);
    }
    world.peers[0].register(now, "alice", 5062);
    world.peers[callee.0].register(now, "bob", 5063);
    for number in 0..count {
        world.call(number, callee);
    }
    println!("{count} calls, {} frames", world.frames);
}
