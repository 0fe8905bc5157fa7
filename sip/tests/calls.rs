//! The core as a whole: phones at one core, and at two cores that an overlay leg joins. No sockets, no time passes
//! unless a test says so.

use dots_sip::{
    Flow, Input, Now, Output, Transport,
    address::Addressing,
    auth::{AuthFailure, Challenge, Vouch},
    core::{Config, Core},
    input::{RemoteTarget, Resolution},
    message::{Message, Name, NameAddr},
    output::CallProgress,
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// One core, its phones' inboxes, and what it told the world.
struct Peer {
    core: Core,
    label: &'static str,
    realm: &'static str,
    inbox: VecDeque<(Flow, Message)>,
    to_peer: VecDeque<Vec<u8>>,
    calls: Vec<CallProgress>,
    counts: Vec<&'static str>,
    /// Where `Resolve` points: another peer, or nobody else.
    resolution: Resolution,
}

struct World {
    now: Now,
    a: Peer,
    b: Peer,
}

fn flow(port: u16) -> Flow {
    let local = "127.0.0.1:5060".parse().expect("an address");
    let remote = format!("127.0.0.1:{port}").parse().expect("an address");
    Flow { transport: Transport::Udp, connection: 0, local, remote }
}

impl Peer {
    fn new(label: &'static str, realm: &'static str) -> Peer {
        let addressing = Addressing {
            own_hosts: ["127.0.0.1".to_owned()].into(),
            default_realm: realm.into(),
            local_realms: [realm.to_owned()].into(),
            ..Addressing::default()
        };
        let config = Config { addressing, label: label.into(), ..Config::default() };
        Peer {
            core: Core::new(config, [9; 32], 1),
            label,
            realm,
            inbox: VecDeque::new(),
            to_peer: VecDeque::new(),
            calls: Vec::new(),
            counts: Vec::new(),
            resolution: Resolution::Offline,
        }
    }

    /// Answers the core's questions as a friendly world would, until it has no more.
    fn drain(&mut self, now: Now) {
        while let Some(output) = self.core.poll_output() {
            let input = match output {
                Output::Send { flow, bytes } => {
                    let message = Message::parse(bytes).expect("the core writes messages that can be read");
                    self.inbox.push_back((flow, message));
                    continue;
                }
                Output::SendPeer { bytes, .. } => {
                    self.to_peer.push_back(bytes);
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
                Output::Expired { .. } | Output::Pinged { .. } => continue,
                Output::Challenge { id, realm } => {
                    let result = if realm == self.realm {
                        Ok(Challenge { realm, nonce: "nonce".into() })
                    } else {
                        Err(AuthFailure::UnknownRealm)
                    };
                    Input::Challenge { id, result }
                }
                Output::Verify { id, answer } => {
                    let result = match answer.response.as_str() {
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
                Output::Resolve { id, .. } => Input::Resolved { id, resolution: self.resolution.clone() },
            };
            self.core.handle(now, input);
        }
    }

    fn phone(&mut self, now: Now, port: u16, text: &str) {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        self.core.handle(now, Input::Message { flow: flow(port), bytes });
        self.drain(now);
    }

    /// The next message for the phone at `port`, passing over 100.
    fn got(&mut self, port: u16) -> Message {
        loop {
            let at = self.inbox.iter().position(|(f, _)| f.remote.port() == port);
            let at = at.unwrap_or_else(|| panic!("nothing for {port}; {:?}", self.counts));
            let (_, message) = self.inbox.remove(at).expect("it was found there");
            if message.status() != Some(100) {
                return message;
            }
        }
    }

    fn silent(&self, port: u16) -> bool {
        !self.inbox.iter().any(|(f, _)| f.remote.port() == port)
    }

    fn register(&mut self, now: Now, user: &str, port: u16) {
        let realm = self.realm;
        let text = request("REGISTER", "sip:127.0.0.1", port, &format!("reg{port}"), user, user, "")
            .replace("\n\n", &format!("\nAuthorization: Digest username=\"{user}\",realm=\"{realm}\",nonce=\"nonce\",uri=\"sip:127.0.0.1\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n\n"));
        self.phone(now, port, &text);
        assert_eq!(self.got(port).status(), Some(200), "{user} registers");
    }
}

impl World {
    fn new() -> World {
        let now = Now { mono: Instant::now(), wall_ms: 1_000_000 };
        World { now, a: Peer::new("aaaa", "a.test"), b: Peer::new("bbbb", "b.test") }
    }

    /// Carries the overlay leg both ways until it is quiet; requests outside a dialog come vouched for.
    fn carry(&mut self) {
        loop {
            let (from, to, bytes) = match (self.a.to_peer.pop_front(), self.b.to_peer.pop_front()) {
                (Some(bytes), back) => {
                    if let Some(back) = back {
                        self.b.to_peer.push_front(back);
                    }
                    (self.a.label, &mut self.b, bytes)
                }
                (None, Some(bytes)) => (self.b.label, &mut self.a, bytes),
                (None, None) => return,
            };
            let message = Message::parse(bytes.clone()).expect("a message");
            let from_uri = message.from().expect("a From").uri().trim_start_matches("sip:").to_owned();
            let initial = message.is_request() && message.to().expect("a To").tag().is_none();
            to.core.handle(
                self.now,
                Input::Overlay { from: from.into(), bytes, caller: initial.then_some(from_uri) },
            );
            to.drain(self.now);
        }
    }
}

fn request(method: &str, uri: &str, port: u16, call: &str, from: &str, to: &str, more: &str) -> String {
    let cseq = if method == "REGISTER" { 1 } else { 7 };
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{method}{call}{cseq};rport\nMax-Forwards: 70\n\
         From: <sip:{from}@127.0.0.1>;tag=f{port}\nTo: <sip:{to}@127.0.0.1>\nCall-ID: {call}\nCSeq: {cseq} {method}\n\
         Contact: <sip:{from}@127.0.0.1:{port}>\n{more}Content-Length: 0\n\n"
    )
}

fn invite(port: u16, call: &str, from: &str, to: &str, realm: &str) -> String {
    let auth = format!(
        "Proxy-Authorization: Digest username=\"{from}\",realm=\"{realm}\",nonce=\"nonce\",uri=\"sip:{to}@127.0.0.1\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n"
    );
    request("INVITE", &format!("sip:{to}@127.0.0.1"), port, call, from, to, &auth)
}

/// A phone's answer to `request`.
fn answer(request: &Message, status: &str, port: u16) -> String {
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
fn in_dialog(method: &str, cseq: u32, port: u16, seen: &Message, by_caller: bool, call: &str) -> String {
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

#[test]
fn a_local_call_from_challenge_to_bye() {
    let World { now, mut a, .. } = World::new();
    a.register(now, "alice", 1);
    a.register(now, "bob", 2);
    a.phone(now, 1, &request("INVITE", "sip:bob@127.0.0.1", 1, "c0", "alice", "bob", ""));
    let challenge = a.got(1);
    assert_eq!(challenge.status(), Some(407));
    assert_eq!(challenge.header_lines(&Name::ProxyAuthenticate).count(), 2, "SHA-256, then MD5");
    a.phone(now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let ringing = a.got(2);
    assert_eq!(ringing.uri(), Some("sip:bob@127.0.0.1:2"));
    assert_eq!(ringing.header(&Name::ProxyAuthorization), None, "our credentials go no further");
    a.phone(now, 2, &answer(&ringing, "180 Ringing", 2));
    assert_eq!(a.got(1).status(), Some(180));
    a.phone(now, 2, &answer(&ringing, "200 OK", 2));
    let ok = a.got(1);
    assert_eq!((ok.status(), ok.values(&Name::Via).count()), (Some(200), 1));
    a.phone(now, 1, &in_dialog("ACK", 7, 1, &ok, true, "c1"));
    assert_eq!(a.got(2).method(), "ACK");
    a.phone(now, 2, &answer(&ringing, "200 OK", 2));
    assert_eq!(a.got(1).status(), Some(200), "a repeated 2xx passes");
    a.phone(now, 2, &in_dialog("BYE", 1, 2, &ringing, false, "c1"));
    let bye = a.got(1);
    assert_eq!((bye.method(), bye.uri()), ("BYE", Some("sip:alice@127.0.0.1:1")));
    a.phone(now, 1, &answer(&bye, "200 OK", 1));
    assert_eq!(a.got(2).status(), Some(200));
    assert!(a.calls.contains(&CallProgress::Answered));
    assert!(a.calls.iter().any(|c| matches!(c, CallProgress::Ended { by_caller: false, .. })));
}

#[test]
fn cancel_busy_offline_and_unknown() {
    let World { now, mut a, .. } = World::new();
    a.register(now, "alice", 1);
    a.register(now, "bob", 2);
    let text = invite(1, "c1", "alice", "bob", "a.test");
    a.phone(now, 1, &text);
    let ringing = a.got(2);
    a.phone(now, 1, &text);
    assert!(a.silent(2), "a repeated INVITE is absorbed");
    a.phone(now, 2, &answer(&ringing, "180 Ringing", 2));
    assert_eq!(a.got(1).status(), Some(180));
    let cancel = request("INVITE", "sip:bob@127.0.0.1", 1, "c1", "alice", "bob", "")
        .replacen("INVITE", "CANCEL", 1)
        .replace("7 INVITE", "7 CANCEL");
    a.phone(now, 1, &cancel);
    assert_eq!(a.got(1).status(), Some(200));
    assert_eq!(a.got(2).method(), "CANCEL");
    a.phone(now, 2, &answer(&ringing, "487 Request Terminated", 2));
    assert_eq!(a.got(2).method(), "ACK");
    assert_eq!(a.got(1).status(), Some(487));

    a.phone(now, 1, &invite(1, "c2", "alice", "bob", "a.test"));
    let ringing = a.got(2);
    a.phone(now, 2, &answer(&ringing, "486 Busy Here", 2));
    assert_eq!(a.got(2).method(), "ACK");
    assert_eq!(a.got(1).status(), Some(486));

    a.phone(now, 1, &invite(1, "c3", "alice", "carol", "a.test"));
    assert_eq!(a.got(1).status(), Some(480), "offline");
    a.resolution = Resolution::Unknown;
    a.phone(now, 1, &invite(1, "c4", "alice", "nobody", "a.test"));
    assert_eq!(a.got(1).status(), Some(404), "unknown, on the home's word");
}

#[test]
fn nothing_out_of_dialog_or_with_an_invented_tag_reaches_a_phone() {
    let World { now, mut a, .. } = World::new();
    a.register(now, "bob", 2);
    for method in ["REFER", "NOTIFY", "BYE", "UPDATE", "INFO"] {
        a.phone(now, 3, &request(method, "sip:bob@127.0.0.1", 3, method, "eve", "bob", ""));
        assert_eq!(a.got(3).status(), Some(481), "{method} out of dialog");
        let tagged = request(method, "sip:bob@127.0.0.1:2", 3, &format!("t{method}"), "eve", "bob", "")
            .replace("To: <sip:bob@127.0.0.1>", "To: <sip:bob@127.0.0.1>;tag=made-up");
        a.phone(now, 3, &tagged);
        assert_eq!(a.got(3).status(), Some(403), "{method} with an invented To tag");
        let routed = tagged.replace(
            "Max-Forwards: 70\n",
            "Max-Forwards: 70\nRoute: <sip:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@127.0.0.1:5060;lr>\n",
        );
        a.phone(now, 3, &routed.replace("z9hG4bK", "z9hG4bKr"));
        assert_eq!(a.got(3).status(), Some(403), "{method} with an invented token");
    }
    let relay = request("INVITE", "sip:x@192.0.2.9", 3, "relay", "eve", "x", "Route: <sip:192.0.2.9;lr>\n");
    a.phone(now, 3, &relay);
    assert_eq!(a.got(3).status(), Some(403), "no open relay");
    assert!(a.silent(2));
}

#[test]
fn a_call_across_hides_addresses_and_restores_names() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.b.register(w.now, "bob", 2);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: "bbbb".into(), q: 1000 }]);
    let text = invite(1, "c1", "alice", "bob", "a.test")
        .replace("INVITE sip:bob@127.0.0.1", "INVITE sip:bob@b.test")
        .replace("uri=\"sip:bob@127.0.0.1\"", "uri=\"sip:bob@b.test\"");
    w.a.phone(w.now, 1, &text);
    w.carry();
    let ringing = w.b.got(2);
    assert_eq!(ringing.from().expect("From").uri(), "sip:alice@a.test");
    let contact = ringing.header(&Name::Contact).expect("a Contact").to_owned();
    assert!(contact.contains("@paaaa.peer.dots"), "{contact}");
    assert_eq!(ringing.values(&Name::RecordRoute).count(), 4);
    w.b.phone(w.now, 2, &answer(&ringing, "200 OK", 2));
    w.carry();
    let ok = w.a.got(1);
    assert_eq!(ok.from().expect("From").uri(), "sip:alice@127.0.0.1", "as the phone wrote it");
    assert!(ok.header(&Name::Contact).expect("a Contact").contains("@pbbbb.peer.dots"));
    w.a.phone(w.now, 1, &in_dialog("ACK", 7, 1, &ok, true, "c1"));
    w.carry();
    let ack = w.b.got(2);
    assert_eq!((ack.method(), ack.uri()), ("ACK", Some("sip:bob@127.0.0.1:2")));
    w.a.phone(w.now, 1, &in_dialog("WINK", 8, 1, &ok, true, "c1"));
    w.carry();
    assert_eq!(w.b.got(2).method(), "WINK", "unknown methods pass inside a dialog");
    w.b.phone(w.now, 2, &in_dialog("BYE", 1, 2, &ringing, false, "c1"));
    w.carry();
    let bye = w.a.got(1);
    assert_eq!((bye.method(), bye.uri()), ("BYE", Some("sip:alice@127.0.0.1:1")));
    assert_eq!(bye.to().expect("To").uri(), "sip:alice@127.0.0.1");
    w.a.phone(w.now, 1, &answer(&bye, "200 OK", 1));
    w.carry();
    assert_eq!(w.b.got(2).status(), Some(200));
    for peer in [&w.a, &w.b] {
        assert!(peer.calls.contains(&CallProgress::Answered));
        assert!(peer.calls.iter().any(|c| matches!(c, CallProgress::Ended { by_caller: false, .. })));
    }
}

#[test]
fn a_peer_cannot_speak_for_a_phone_and_unvouched_requests_stop() {
    let mut w = World::new();
    w.b.register(w.now, "bob", 2);
    for (method, caller) in [("INVITE", None), ("REFER", Some("x@a.test".to_owned())), ("NOTIFY", None)] {
        let text = request(method, "sip:bob@b.test", 9, method, "x", "bob", "")
            .replace("UDP 127.0.0.1:9", "DOTS paaaa.peer.dots")
            .replace('\n', "\r\n");
        w.b.core.handle(w.now, Input::Overlay { from: "aaaa".into(), bytes: text.into_bytes(), caller });
        w.b.drain(w.now);
    }
    assert!(w.b.silent(2));
    assert!(w.b.to_peer.iter().any(|b| b.starts_with(b"SIP/2.0 403")));
    assert!(w.b.to_peer.iter().any(|b| b.starts_with(b"SIP/2.0 481")));
}

#[test]
fn lost_messages_are_repeated_and_silence_ends_in_408() {
    let World { mut now, mut a, .. } = World::new();
    a.register(now, "alice", 1);
    a.register(now, "bob", 2);
    a.phone(now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let mut sent = 0;
    let start = now.mono;
    while now.mono < start + Duration::from_secs(40) {
        let at = a.core.poll_timeout().expect("a call waits");
        now = Now { mono: at, wall_ms: now.wall_ms + at.duration_since(now.mono).as_millis() as u64 };
        a.core.handle_timeout(now);
        a.drain(now);
        while let Some(at) = a.inbox.iter().position(|(f, m)| f.remote.port() == 2 && m.method() == "INVITE")
        {
            a.inbox.remove(at);
            sent += 1;
        }
        if a.inbox.iter().any(|(_, m)| m.status() == Some(408)) {
            break;
        }
    }
    assert_eq!(sent, 7, "RFC 3261 §17.1.1.2: seven INVITEs in 64*T1");
    assert_eq!(a.got(1).status(), Some(408));
}
