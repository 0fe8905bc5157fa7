//! What crosses between peers, and what does not: whoever sends it, in whatever message of a call.

mod common;

use common::*;
use dots_sip::{
    input::{RemoteTarget, Resolution},
    message::{Message, Name},
};

/// Lines that do harm, each with what must not be seen of it on the other side.
const HARM: [(&str, &str); 24] = [
    ("Alert-Info: <http://192.0.2.1/a>;info=alert-autoanswer", "autoanswer"),
    ("ALERT-INFO: <urn:alert:x>;answer-after=0", "answer-after"),
    ("alert-info  : info=intercom", "intercom"),
    ("Call-Info: <sip:a.test>;answer-after=0", "answer-after"),
    ("call-info:\n <http://192.0.2.1/card>;purpose=icon", "purpose"),
    ("Answer-Mode: Auto", "Auto"),
    ("Priv-Answer-Mode: Auto", "Auto"),
    ("P-Auto-Answer: normal", "normal"),
    ("P-Asserted-Identity: \"Boss\" <sip:boss@b.test>", "boss"),
    ("P-Preferred-Identity: <sip:boss@b.test>", "boss"),
    ("Remote-Party-ID: <sip:boss@b.test>;screen=yes", "boss"),
    ("Identity: eyJhbGciOiJFUzI1NiJ9", "eyJ"),
    ("y: eyJhbGciOiJFUzI1NiJ9", "eyJ"),
    ("Diversion: <sip:boss@b.test>;reason=no-answer", "boss"),
    ("History-Info: <sip:boss@b.test>;index=1", "boss"),
    ("P-Called-Party-ID: <sip:boss@b.test>", "boss"),
    ("P-Charging-Vector: icid-value=77aa", "77aa"),
    ("Reply-To: <sip:boss@b.test>", "boss"),
    ("Error-Info: <http://192.0.2.1/e>", "192.0.2.1"),
    ("d: no-fork", "no-fork"),
    ("Geolocation: <cid:77aa>", "77aa"),
    ("X-Auto-Answer: yes", "yes"),
    (
        "Authorization: Digest username=\"x\",realm=\"z.test\",nonce=\"n\",uri=\"sip:x\",response=\"77aa\"",
        "77aa",
    ),
    ("Warning: 399 10.0.0.1 \"no\"", "10.0.0.1"),
];

/// What a call needs on the other side.
const NEEDED: [&str; 16] = [
    "Session-Expires: 1800;refresher=uac",
    "Min-SE: 90",
    "Replaces: abc;to-tag=1;from-tag=2",
    "Referred-By: <sip:r@r.test>",
    "Supported: timer, replaces",
    "Require: 100rel",
    "Allow: INVITE, ACK",
    "Accept: application/sdp",
    "Subject: hi",
    "Reason: Q.850;cause=16",
    "Date: Sat, 13 Nov 2010 23:29:00 GMT",
    "Event: presence",
    "Retry-After: 7",
    "RSeq: 1",
    "SIP-If-Match: xyz",
    "User-Agent: a phone",
];

fn with_lines(text: &str, lines: &str) -> String {
    text.replacen("Content-Length", &format!("{lines}Content-Length"), 1)
}

fn lines() -> String {
    HARM.iter().map(|(line, _)| *line).chain(NEEDED).map(|line| format!("{line}\n")).collect()
}

fn assert_clean(message: &Message, what: &str) {
    let text = String::from_utf8_lossy(message.raw()).into_owned();
    for (line, trace) in HARM {
        assert!(!text.contains(trace), "{what}: {line} came through:\n{text}");
    }
    for line in NEEDED {
        let (name, value) = line.split_once(": ").expect("a header");
        let heard = message.header(&Name::parse(name));
        // It is written so that the reader can dial it.
        let is_named = name == "Referred-By" && heard.is_some_and(|heard| heard.contains("r.test"));
        assert!(is_named || heard == Some(value), "{what}: {name} is needed: {heard:?}");
    }
}

/// alice (1) at A and bob (2) at B, not yet in a call.
fn two_peers() -> World {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.b.register(w.now, "bob", 2);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    w
}

fn invite_bob(call: &str) -> String {
    invite(1, call, "alice", "bob%40b.test", "a.test")
}

#[test]
fn a_phone_says_nothing_harmful_to_one_at_another_peer() {
    let mut w = two_peers();
    w.a.phone(w.now, 1, &with_lines(&invite_bob("c1"), &lines()));
    let sent = Message::parse(w.a.to_peer.front().expect("an INVITE").clone()).expect("readable");
    assert_clean(&sent, "INVITE on the overlay");
    w.carry();
    let ringing = w.b.got(2);
    assert_clean(&ringing, "INVITE");
    for (status, got) in [("180 Ringing", 180), ("200 OK", 200)] {
        w.b.phone(w.now, 2, &with_lines(&answer(&ringing, status, 2), &lines()));
        let sent = Message::parse(w.b.to_peer.back().expect("an answer").clone()).expect("readable");
        assert_clean(&sent, "an answer on the overlay");
        w.carry();
        let heard = w.a.got(1);
        assert_eq!(heard.status(), Some(got));
        assert_clean(&heard, status);
        if got == 200 {
            for (method, cseq) in [("ACK", 7), ("INFO", 8), ("UPDATE", 9), ("INVITE", 10)] {
                let text = in_dialog(method, cseq, 1, &heard, true, "c1");
                w.a.phone(w.now, 1, &with_lines(&text, &lines()));
                w.carry();
                assert_clean(&w.b.got(2), method);
            }
        }
    }
    let text = in_dialog("INFO", 1, 2, &ringing, false, "c1");
    w.b.phone(w.now, 2, &with_lines(&text, &lines()));
    w.carry();
    let info = w.a.got(1);
    assert_clean(&info, "INFO of the callee");
    w.a.phone(w.now, 1, &with_lines(&answer(&info, "400 Bad", 1).replace(";tag=t1", ""), &lines()));
    w.carry();
    assert_clean(&w.b.got(2), "its failure");
}

/// BORD-1: the other peer is the attacker: what it writes was filtered by nobody.
#[test]
fn nothing_harmful_is_accepted_from_a_peer() {
    let mut w = two_peers();
    w.a.phone(w.now, 1, &invite_bob("c1"));
    let tamper = |w: &mut World, to_b: bool| {
        let queue = if to_b { &mut w.a.to_peer } else { &mut w.b.to_peer };
        for bytes in queue.iter_mut() {
            let text = String::from_utf8(bytes.clone()).expect("text").replace("\r\n", "\n");
            // Its Warnings name its own host, or whatever it likes.
            let lines = lines().replace("399 10.0.0.1", "399 p1.peer.dots");
            *bytes = with_lines(&text, &lines).replace('\n', "\r\n").into_bytes();
        }
        w.carry();
    };
    tamper(&mut w, true);
    let ringing = w.b.got(2);
    assert_clean(&ringing, "INVITE");
    w.b.phone(w.now, 2, &answer(&ringing, "200 OK", 2));
    tamper(&mut w, false);
    let ok = w.a.got(1);
    assert_clean(&ok, "200");
    w.a.phone(w.now, 1, &in_dialog("INFO", 8, 1, &ok, true, "c1"));
    tamper(&mut w, true);
    assert_clean(&w.b.got(2), "INFO");
}

/// Phones of one office ask each other to answer at once.
#[test]
fn friends_at_one_peer_are_friends() {
    let World { now, mut a, .. } = World::new();
    a.register(now, "bob", 2);
    let alert = "Alert-Info: <urn:alert:x>;info=alert-autoanswer\n";
    a.phone(now, 1, &with_lines(&invite(1, "c1@10.0.0.9", "eve", "bob", "a.test"), alert));
    let ringing = a.got(2);
    assert_eq!(ringing.header(&Name::parse("Alert-Info")), Some("<urn:alert:x>;info=alert-autoanswer"));
    assert_eq!((ringing.call_id(), ringing.values(&Name::Via).count()), (Some("c1@10.0.0.9"), 2));
}

/// eve of z.test and bob of a.test, both at one peer.
struct Strangers {
    now: dots_sip::Now,
    a: Peer,
    /// Her INVITE, as bob has it.
    ringing: Message,
}

const HERS: &str = "10.0.0.9";
const HIS: &str = "10.0.0.8";

impl Strangers {
    fn new(is_registered: bool, more: &str) -> Strangers {
        let World { now, mut a, .. } = World::new();
        a.register(now, "bob", 2);
        if is_registered {
            a.register_in(now, "eve", "z.test", 1);
        }
        let text = invite(1, "c1@10.0.0.9", "eve", "bob", "a.test")
            .replace(
                "From: <sip:eve@127.0.0.1>",
                "From: \"Eve\" <sip:eve@z.test;intercom=true>;answer-after=0",
            )
            .replace("To: <sip:bob@127.0.0.1>", "To: <sip:bob@127.0.0.1;intercom=true>;answer-after=0")
            .replace("realm=\"a.test\"", "realm=\"z.test\"");
        a.phone(now, 1, &with_lines(&hers(&text), more));
        let ringing = a.got(2);
        Strangers { now, a, ringing }
    }

    /// bob's answer, as eve has it.
    fn answer(&mut self, status: &str, more: &str) -> Message {
        let text = answer(&self.ringing, status, 2);
        self.a.phone(self.now, 2, &with_lines(&his(&text), more));
        self.a.got(1)
    }
}

/// With the address at which a phone takes itself to be, and what it asks of whoever reads its Contact.
fn hers(text: &str) -> String {
    text.replace("<sip:eve@127.0.0.1:1>", "<sip:eve@10.0.0.9:5060;x=y>;answer-after=0")
        .replace("UDP 127.0.0.1:1;", "UDP 10.0.0.9:5060;rport;")
}

fn his(text: &str) -> String {
    text.replace("<sip:bob@127.0.0.1:2>", "<sip:bob@10.0.0.8;x=y>;intercom=true")
        .replace("UDP 127.0.0.1:2;", "UDP 10.0.0.8:5060;rport;")
}

/// Without what she wrote herself, which is given back to her.
fn unlike_hers(answer: &Message) -> Message {
    let text = String::from_utf8_lossy(answer.raw()).into_owned();
    let is_hers = |line: &str| ["Via:", "From:", "To:"].iter().any(|name| line.starts_with(name));
    let lines: Vec<&str> = text.split("\r\n").filter(|line| !is_hers(line)).collect();
    Message::parse_lenient(lines.join("\r\n").into_bytes()).expect("readable")
}

fn assert_apart(message: &Message, address: &str, why: &str) {
    assert_clean(message, why);
    let text = String::from_utf8_lossy(message.raw()).into_owned();
    for trace in [address, "intercom", "answer-after", "x=y"] {
        assert!(!text.contains(trace), "{why}: {trace}\n{text}");
    }
    // Nothing but a name.
    for contact in message.values(&Name::Contact) {
        assert!(contact.ends_with(&format!("@p{LABEL_A}.peer.dots>")), "{why}: {contact}");
    }
}

/// BORD-8: two phones of two realms at one peer are as strange to each other as across peers, in every message of a call.
#[test]
fn strangers_at_one_peer_are_strangers() {
    for is_registered in [false, true] {
        let mut s = Strangers::new(is_registered, &lines());
        assert_apart(&s.ringing, HERS, "INVITE");
        assert_eq!(s.ringing.values(&Name::Via).count(), 1, "ours alone");
        assert_eq!(s.ringing.header(&Name::From), Some("\"Eve\" <sip:eve%40z.test@127.0.0.1>;tag=f1"));
        assert_eq!(s.ringing.header(&Name::To), Some("<sip:bob@a.test>"));
        let his_name = s.ringing.call_id().expect("a Call-ID").to_owned();
        assert!(his_name.starts_with("dx."), "{his_name}");
        assert_apart(&unlike_hers(&s.answer("180 Ringing", &lines())), HIS, "180");
        let ok = s.answer("200 OK", &lines());
        assert_apart(&unlike_hers(&ok), HIS, "200");
        assert_eq!(
            (ok.call_id(), ok.values(&Name::Via).count()),
            (Some("c1@10.0.0.9"), 1),
            "as she wrote them"
        );

        // Her side, then his.
        let uri = format!(" sip:bob@{HIS}");
        for (method, cseq) in [("ACK", 7), ("INFO", 8), ("UPDATE", 9), ("INVITE", 10)] {
            let text = in_dialog(method, cseq, 1, &ok, true, "c1@10.0.0.9")
                .replace("Content-Length", "Contact: <sip:eve@127.0.0.1:1>\nContent-Length");
            // Whatever Request-URI and names she makes up.
            let first = text.lines().next().expect("a request line").to_owned();
            let text = text
                .replacen(&first, &format!("{method} sip:bob@192.0.2.7;intercom=true SIP/2.0"), 1)
                .replace("eve@z.test", "boss@a.test");
            s.a.phone(s.now, 1, &with_lines(&hers(&text), &lines()));
            let heard = s.a.got(2);
            assert_eq!((heard.method(), heard.call_id()), (method, Some(his_name.as_str())));
            assert!(String::from_utf8_lossy(heard.raw()).contains(&uri), "{method}");
            let his_own = String::from_utf8_lossy(heard.raw()).replace(&format!("{HIS};x=y"), "h");
            assert_apart(&Message::parse(his_own.into_bytes()).expect("readable"), HERS, method);
            assert_eq!(heard.header(&Name::From), Some("<sip:eve%40z.test@127.0.0.1>;tag=f1"), "{method}");
        }
        for (method, cseq) in [("INFO", 1), ("UPDATE", 2), ("BYE", 3)] {
            let text = in_dialog(method, cseq, 2, &s.ringing, false, &his_name)
                .replace("Content-Length", "Contact: <sip:bob@127.0.0.1:2>\nContent-Length");
            s.a.phone(s.now, 2, &with_lines(&his(&text), &lines().replace("Require: 100rel\n", "")));
            let heard = s.a.got(1);
            assert_eq!((heard.method(), heard.call_id()), (method, Some("c1@10.0.0.9")));
            let text = String::from_utf8_lossy(heard.raw()).into_owned();
            assert!(!text.contains(HIS) && !text.contains("Alert-Info"), "{text}");
            s.a.phone(s.now, 1, &answer(&heard, "200 OK", 1).replace(";tag=t1", ""));
            let answered = s.a.got(2);
            assert_eq!((answered.status(), answered.call_id()), (Some(200), Some(his_name.as_str())));
        }
    }
}

/// BORD-6, BORD-7: neither a challenge in anybody's name nor a redirection to an address.
#[test]
fn a_stranger_at_one_peer_challenges_nobody_and_redirects_to_accounts() {
    for realm in ["phish.example", "z.test", "a.test", "Z.TEST.", ""] {
        for (status, name) in [
            ("401 No", "WWW-Authenticate"),
            ("407 No", "Proxy-Authenticate"),
            ("486 Busy", "www-authenticate"),
        ] {
            let header = format!("{name}: Digest realm=\"{realm}\",nonce=\"n\"\n");
            let heard = Strangers::new(true, "").answer(status, &header);
            let expected = if status.starts_with("486") { 486 } else { 403 };
            assert_eq!(heard.status(), Some(expected), "{realm} {status}");
            let text = String::from_utf8_lossy(heard.raw()).to_ascii_lowercase();
            assert!(!text.contains("authenticate"), "{text}");
        }
    }
    let mut s = Strangers::new(true, "");
    let text = answer(&s.ringing, "302 Moved", 2).replace(
        "<sip:bob@127.0.0.1:2>",
        "<sip:carol@127.0.0.1;intercom=1?Alert-Info=x>;q=0.5;z, <http://192.0.2.1/>",
    );
    s.a.phone(s.now, 2, &text);
    let heard = s.a.got(1);
    assert_eq!(heard.values(&Name::Contact).collect::<Vec<_>>(), ["<sip:carol@a.test>;q=0.5"]);
}

/// Whoever was called knows the caller's Call-ID by its other name alone, and cannot have it read to a phone of his.
#[test]
fn a_hidden_call_id_is_read_to_nobody_else() {
    let hidden = {
        let mut w = two_peers();
        w.a.phone(w.now, 1, &invite_bob("8f3a@10.0.0.9"));
        w.carry();
        w.b.got(2).call_id().expect("a Call-ID").to_owned()
    };
    assert!(hidden.starts_with("dx."));
    // eve@z.test is called from B, and has an accomplice of her realm at A, and one who is of nobody's.
    let mut w = two_peers();
    w.a.register_in(w.now, "eve", "z.test", 5);
    w.a.phone(w.now, 1, &invite_bob("other"));
    let first = String::from_utf8(w.a.to_peer.pop_front().expect("the INVITE")).expect("text");
    for (n, line) in [
        "",
        "Replaces: {};to-tag=1;from-tag=2",
        "In-Reply-To: {}",
        "Target-Dialog: {};local-tag=1",
        "Join: {};to-tag=1;from-tag=2",
        "Refer-To: <sip:x@x.test?Replaces={}%3Bto-tag%3D1>",
    ]
    .iter()
    .enumerate()
    {
        let call = if line.is_empty() { hidden.clone() } else { format!("c{n}") };
        let more =
            if line.is_empty() { String::new() } else { format!("{}\r\n", line.replace("{}", &hidden)) };
        let text = first
            .replace("Call-ID: other", &format!("Call-ID: {call}"))
            .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{n}"))
            .replace(LABEL_A, LABEL_B)
            .replace("INVITE sip:bob@b.test", "INVITE sip:eve@z.test")
            .replace("alice@a.test", "mallory@z.test")
            .replace("Content-Length", &format!("{more}Content-Length"));
        w.a.handle(
            w.now,
            overlay(LABEL_B, text.into_bytes(), Some("mallory@z.test".into())).expect("readable"),
        );
        w.a.drain(w.now);
        let heard = w.a.got(5);
        let text = String::from_utf8_lossy(heard.raw()).into_owned();
        assert_eq!(heard.method(), "INVITE");
        assert!(!text.contains("8f3a") && text.contains(&hidden), "{line}: {text}");
    }
}

/// BORD-4: a Call-ID with an address has another name on the overlay and everywhere behind it.
#[test]
fn a_call_id_with_an_address_stays_at_home() {
    for call in ["8f3a@10.0.0.9", "10.0.0.9-77", "8f3a@alice.lan", "a@[fe80::1]", "plain"] {
        let mut w = two_peers();
        w.a.phone(w.now, 1, &invite_bob(call));
        w.carry();
        let ringing = w.b.got(2);
        let name = ringing.call_id().expect("a Call-ID").to_owned();
        assert_eq!(name == call, call == "plain", "{name}");
        w.b.phone(w.now, 2, &answer(&ringing, "200 OK", 2));
        w.carry();
        let ok = w.a.got(1);
        assert_eq!(ok.call_id(), Some(call), "she is answered by her own");
        w.a.phone(w.now, 1, &in_dialog("ACK", 7, 1, &ok, true, call));
        w.a.phone(w.now, 1, &in_dialog("INFO", 8, 1, &ok, true, call));
        w.carry();
        for method in ["ACK", "INFO"] {
            let heard = w.b.got(2);
            assert_eq!((heard.method(), heard.call_id()), (method, Some(name.as_str())));
        }
        // And back: the callee's requests, and what A itself answers to a peer.
        w.b.phone(w.now, 2, &in_dialog("BYE", 1, 2, &ringing, false, &name));
        w.carry();
        let bye = w.a.got(1);
        assert_eq!((bye.method(), bye.call_id()), ("BYE", Some(call)));
        w.a.phone(w.now, 1, &answer(&bye, "200 OK", 1).replace(";tag=t1", ""));
        w.carry();
        assert_eq!(w.b.got(2).call_id(), Some(name.as_str()));
    }
}

/// Many phones write names in Latin-1: they cross in their own bytes.
#[test]
fn a_name_that_is_not_utf_8_crosses_byte_for_byte() {
    let mut w = two_peers();
    let text = invite_bob("c1").replace("From: <", "From: \"M#ller\" <").replace('\n', "\r\n");
    let bytes = text.bytes().map(|b| if b == b'#' { 0xfc } else { b }).collect();
    w.a.handle(w.now, dots_sip::Input::Message { flow: flow(1), bytes });
    w.a.drain(w.now);
    w.carry();
    let ringing = w.b.got(2);
    let expected = b"From: \"M\xfcller\" <sip:alice%40a.test@127.0.0.1>;tag=f1\r\n";
    assert!(ringing.raw().windows(expected.len()).any(|part| part == expected));
}

/// Everything that either peer puts on the wire during a call, failures and all: no address of a phone, no host of a leg.
#[test]
fn no_address_is_on_the_overlay() {
    let mut w = two_peers();
    w.a.phone(w.now, 1, &invite_bob("c1@127.0.0.1"));
    w.carry();
    let ringing = w.b.got(2);
    let name = ringing.call_id().expect("a Call-ID").to_owned();
    // It does not ring at once, so there is a 100 too.
    w.b.wait(&mut w.now);
    w.carry();
    for status in ["180 Ringing", "200 OK"] {
        w.b.phone(w.now, 2, &answer(&ringing, status, 2));
        w.carry();
    }
    w.a.got(1);
    let ok = w.a.got(1);
    let info = with_lines(
        &in_dialog("INFO", 8, 1, &ok, true, "c1@127.0.0.1"),
        "Contact: <sip:alice@127.0.0.1:1>\nIn-Reply-To: c1@127.0.0.1\nTarget-Dialog: c1@127.0.0.1;local-tag=1\n",
    );
    w.a.phone(w.now, 1, &info);
    w.carry();
    let info = w.b.got(2);
    w.b.phone(w.now, 2, &answer(&info, "485 Ambiguous", 2).replace(";tag=t2", ""));
    // A's own answer: the token is not of this caller's tag.
    let bye = in_dialog("BYE", 1, 2, &ringing, false, &name);
    w.b.phone(w.now, 2, &bye);
    let sent = String::from_utf8(w.b.to_peer.back().expect("a BYE").clone()).expect("text");
    let forged = sent.replace("tag=f1", "tag=f7").replace("branch=z9hG4bK", "branch=z9hG4bKf");
    w.b.to_peer.push_back(forged.into_bytes());
    w.carry();
    assert!(w.wire.iter().any(|bytes| bytes.starts_with(b"SIP/2.0 403")), "A refused one");
    assert!(w.wire.len() >= 9, "{}", w.wire.len());
    for bytes in &w.wire {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("127.0.0.1"), "{text}");
    }
}

/// TOK-1. Each phone goes back through its own peer, by the address at which it knows it.
#[test]
fn each_phone_sees_its_own_peer_nearest() {
    let (_, ringing, ok) = across();
    let routes = |message: &Message| -> Vec<String> {
        let all = message.values(&Name::RecordRoute);
        all.map(|route| route.rsplit('@').next().unwrap_or_default().to_owned()).collect()
    };
    let (a, b, phone) =
        (format!("p{LABEL_A}.peer.dots;lr>"), format!("p{LABEL_B}.peer.dots;lr>"), "127.0.0.1:5060;lr>");
    assert_eq!(routes(&ringing), [phone, a.as_str()]);
    assert_eq!(routes(&ok), [b.as_str(), phone]);
}

/// BORD-2: a hostile peer writes whatever From, To, Contact and Request-URI it likes into requests of a dialog.
#[test]
fn in_a_dialog_a_peer_speaks_only_as_who_was_vouched_for() {
    let (mut w, ringing, ok) = across();
    w.a.phone(w.now, 1, &in_dialog("INFO", 8, 1, &ok, true, "c1"));
    let honest = String::from_utf8(w.a.to_peer.pop_front().expect("an INFO")).expect("text");
    let from = "<sip:alice@a.test>;tag=f1";
    assert!(honest.contains(from), "{honest}");
    for (n, forged) in [
        "\"Police\" <sip:alice@a.test>;tag=f1",
        "<sip:boss@b.test>;tag=f1",
        "<sip:alice@a.test;intercom=true>;answer-after=0;tag=f1",
        "<sip:alice@a.test?Alert-Info=x>;tag=f1",
        "\"sip:boss@b.test\" <tel:110>;tag=f1",
        "sip:boss@b.test;tag=f1",
    ]
    .iter()
    .enumerate()
    {
        let uri = honest.split(' ').nth(1).expect("a Request-URI");
        let text = honest
            .replace(from, forged)
            .replacen(uri, "sip:bob@192.0.2.1;intercom=true", 1)
            .replace("<sip:bob@b.test>", "\"Auto\" <sip:x@y;auto=1>;answer-after=0")
            .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{n}"));
        w.b.core.handle(w.now, overlay(LABEL_A, text.into_bytes(), None).expect("readable"));
        w.b.drain(w.now);
        let info = w.b.got(2);
        assert_eq!(info.uri(), Some("sip:bob@127.0.0.1:2"), "{forged}");
        assert_eq!(info.header(&Name::From), Some("<sip:alice%40a.test@127.0.0.1>;tag=f1"), "{forged}");
        assert_eq!(info.header(&Name::To), Some("<sip:bob@b.test>;tag=t2"), "{forged}");
    }
    // The callee's peer, toward the caller's phone.
    w.b.phone(w.now, 2, &in_dialog("INFO", 1, 2, &ringing, false, "c1"));
    let honest = String::from_utf8(w.b.to_peer.pop_back().expect("an INFO")).expect("text");
    let text = honest.replace("<sip:bob@b.test>;tag=t2", "\"Boss\" <sip:boss@a.test>;tag=t2;x");
    assert_ne!(text, honest);
    w.a.core.handle(w.now, overlay(LABEL_B, text.into_bytes(), None).expect("readable"));
    w.a.drain(w.now);
    let info = w.a.got(1);
    assert_eq!(info.header(&Name::From), Some("<sip:bob@127.0.0.1>;tag=t2"), "as she dialled him");
    assert_eq!(info.header(&Name::To), Some("<sip:alice@127.0.0.1>;tag=f1"));
}

/// BORD-6: no callee, and no callee's peer, may ask a caller's phone for a proof.
#[test]
fn no_challenge_crosses_in_any_spelling() {
    for (n, header) in [
        "Proxy-Authenticate: Digest realm=\"phish.example\",nonce=\"n\"",
        "Proxy-Authenticate: Digest realm=\"a.test.\",nonce=\"n\"",
        "PROXY-AUTHENTICATE : Digest realm=\" a.test\",nonce=\"n\"",
        "WWW-Authenticate: Digest realm=\"\",nonce=\"n\"",
        "www-authenticate:\n Digest nonce=\"n\",\n realm=\"A.TEST\"",
        "Proxy-Authenticate: Basic realm=\"x\"",
    ]
    .iter()
    .enumerate()
    {
        for status in ["401 Unauthorized", "407 Proxy Authentication Required", "200 OK", "486 Busy"] {
            let mut w = two_peers();
            w.a.phone(w.now, 1, &invite_bob("c1"));
            w.carry();
            let ringing = w.b.got(2);
            let text = with_lines(&answer(&ringing, status, 2), &format!("{header}\n"));
            w.b.phone(w.now, 2, &text);
            let sent = w.b.to_peer.back().expect("an answer").clone();
            // Its peer is honest, or it is not.
            if n % 2 == 1 {
                let text = String::from_utf8(sent).expect("text").replace("\r\n", "\n");
                let first = text.lines().next().expect("a status line").to_owned();
                let text = with_lines(
                    &text.replacen(&first, &format!("SIP/2.0 {status}"), 1),
                    &format!("{header}\n"),
                );
                *w.b.to_peer.back_mut().expect("an answer") = text.replace('\n', "\r\n").into_bytes();
            }
            w.carry();
            let heard = w.a.got(1);
            let expected = match &status[..3] {
                "401" | "407" => 403,
                other => other.parse().expect("a status"),
            };
            assert_eq!(heard.status(), Some(expected), "{header}, {status}");
            assert_eq!(heard.header(&Name::ProxyAuthenticate), None, "{header}");
            assert_eq!(heard.header(&Name::WwwAuthenticate), None, "{header}");
        }
    }
}
