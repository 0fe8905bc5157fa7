//! The layer as a whole: which message belongs to which transaction, what is kept, and who is told.

use super::*;
use crate::{
    Flow, Output, Transport,
    cx::{Base, Config, Cx, Now},
    hop::Hop,
    ids::{AskId, Branch, ClientKey},
    limits::{TRANSACTION_BYTES_MAX, TRANSACTION_BYTES_RESERVED, TRYING_WITHIN},
    message::{Message, ResponseBuilder},
    output::About,
    status,
};
use std::time::{Duration, Instant};

struct World {
    base: Base,
    now: Now,
    layer: Transactions,
}

const USER: fn() -> User = || User::Proxy(AskId::new(0, 1));

fn phone(transport: Transport, port: u16) -> Hop {
    let address = |port| ([192, 0, 2, 1], port).into();
    let connection = u64::from(transport == Transport::Tcp);
    Hop::Phone(Flow { transport, connection, local: address(5060), remote: address(port) })
}

fn udp(port: u16) -> Hop {
    phone(Transport::Udp, port)
}

fn peer() -> Hop {
    Hop::Peer("b".into())
}

fn message(method: &str, branch: &str, to_tag: &str) -> Message {
    let cseq = if matches!(method, "ACK" | "CANCEL") { "INVITE" } else { method };
    let text = format!(
        "{method} sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@a.test>;tag=1\r\nTo: <sip:bob@b.test>{to_tag}\r\nCall-ID: c\r\nCSeq: 7 {cseq}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let text = text.replace("CSeq: 7 INVITE", &format!("CSeq: 7 {method}"));
    Message::parse(text.into_bytes()).expect("a message")
}

fn answer_to(request: &Message, status: u16) -> Message {
    let bytes = ResponseBuilder::new(request, status, "x").to_tag("t").build();
    Message::parse(bytes).expect("a response")
}

impl World {
    fn new() -> World {
        World {
            base: Base::new(Config::default(), [1; 32], 1, 0),
            now: Now { mono: Instant::now(), wall_ms: 0 },
            layer: Transactions::new(),
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Transactions, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx { now: self.now, nonce: None, base: &mut self.base };
        act(&mut self.layer, &mut cx)
    }

    fn receive(&mut self, hop: Hop, request: &Message) -> Received {
        self.with(|layer, cx| layer.received(cx, (&hop, &hop.answered(request, cx.ours())), request.clone()))
    }

    fn open(&mut self, hop: Hop, request: &Message) -> NewRequest {
        let Received::New(new) = self.receive(hop, request) else { panic!("a new request") };
        assert!(self.with(|layer, cx| layer.accept(cx, &new, USER(), Standing::Stranger)));
        new
    }

    fn respond(&mut self, new: &NewRequest, status: status::Status) {
        self.with(|layer, cx| {
            let answer = cx.answer(&new.request, status, &[]);
            layer.respond(cx, new.key, status.0, answer);
        });
    }

    fn ask(&mut self, hop: Hop, method: &str, quick: bool) -> (ClientKey, Message) {
        let sent = self.with(|layer, cx| {
            let branch = cx.branch();
            let request = message(method, &branch.text(None), "");
            let outgoing = Outgoing {
                hop,
                branch,
                request: request.clone(),
                grant: None,
                about: About::Other,
                first_word_within: quick.then_some(TRYING_WITHIN),
                is_proved: true,
            };
            (layer.request(cx, outgoing, USER()).expect("there is room"), request)
        });
        self.sent();
        sent
    }

    fn hear(&mut self, hop: &Hop, response: &Message) -> Option<Event> {
        self.with(|layer, cx| layer.on_response(cx, hop, response.clone()))
    }

    /// What was sent since the last look: methods and statuses.
    fn sent(&mut self) -> Vec<String> {
        let outputs = std::mem::take(&mut self.base.out);
        let bytes = outputs.into_iter().filter_map(|output| match output {
            Output::Send { bytes, .. } => Some(bytes),
            Output::SendPeer { message, .. } => Some(message.into_bytes()),
            _ => None,
        });
        let name = |bytes: Vec<u8>| {
            let message = Message::parse(bytes).expect("what is sent can be read");
            message.status().map_or_else(|| message.method().to_owned(), |status| status.to_string())
        };
        bytes.map(name).collect()
    }

    fn wait(&mut self, time: Duration) -> Vec<Event> {
        self.now.mono += time;
        let mut events = Vec::new();
        while let Some(event) = self.with(|layer, cx| layer.next_due(cx)) {
            events.push(event);
        }
        events
    }
}

const LONG: Duration = Duration::from_secs(32);

/// RFC 3261 §17.2: repetitions, the ACK of a failure, the ACK of a 2xx (RFC 6026 §7.1).
#[test]
fn a_server_transaction_from_invite_to_ack() {
    let mut w = World::new();
    let invite = message("INVITE", "z9hG4bKa", "");
    let new = w.open(udp(1), &invite);
    w.wait(Duration::from_millis(199));
    assert!(w.sent().is_empty(), "§17.2.1: another answer may come within 200 ms");
    w.wait(Duration::from_millis(1));
    assert_eq!(w.sent(), ["100"], "and else it is 100");
    assert!(matches!(w.receive(udp(1), &invite), Received::Nothing));
    assert_eq!(w.sent(), ["100"], "a repetition gets the last answer again");
    w.respond(&new, status::TEMPORARILY_UNAVAILABLE);
    assert_eq!(w.sent(), ["480"]);
    assert!(w.wait(Duration::from_millis(500)).is_empty());
    assert_eq!(w.sent(), ["480"], "timer G");
    assert!(matches!(w.receive(udp(1), &message("ACK", "z9hG4bKa", ";tag=x")), Received::Nothing));
    w.wait(Duration::from_secs(5));
    assert!(w.sent().is_empty() && w.layer.is_empty(), "timer I");

    let new = w.open(udp(1), &invite);
    w.respond(&new, status::OK);
    assert!(matches!(w.receive(udp(1), &message("ACK", "z9hG4bKa", ";tag=x")), Received::Ack(_)));
    w.wait(LONG);
    assert!(w.layer.is_empty(), "timer L");
}

/// RFC 3261 §17.2.1: whoever rings soon says nothing before; whoever repeats its INVITE before anything was said hears 100.
#[test]
fn a_call_that_rings_soon_has_no_100() {
    for (hop, soon) in [(udp(1), 199), (phone(Transport::Tcp, 1), 199), (peer(), 99)] {
        let mut w = World::new();
        let new = w.open(hop.clone(), &message("INVITE", "z9hG4bKa", ""));
        w.wait(Duration::from_millis(soon));
        w.respond(&new, status::Status(180, "Ringing"));
        w.wait(Duration::from_secs(10));
        assert_eq!(w.sent(), ["180"], "{hop:?}");

        let invite = message("INVITE", "z9hG4bKb", "");
        let new = w.open(hop.clone(), &invite);
        w.wait(Duration::from_millis(soon));
        assert!(matches!(w.receive(hop.clone(), &invite), Received::Nothing));
        assert_eq!(w.sent(), ["100"], "{hop:?} has not heard");
        w.wait(Duration::from_secs(10));
        assert!(w.sent().is_empty(), "once");
        w.with(|layer, cx| layer.refuse(cx, &new, answer_to(&invite, 403)));

        w.open(hop.clone(), &message("INVITE", "z9hG4bKc", ""));
        w.wait(Duration::from_millis(soon + 1));
        assert_eq!(w.sent(), ["403", "100"], "{hop:?}: nothing came");
    }
}

/// RFC 3261 §26.3.2.4, §8.2.7.
#[test]
fn what_is_refused_leaves_nothing_and_its_ack_is_known() {
    let mut w = World::new();
    let invite = message("INVITE", "z9hG4bKa", "");
    let mut answers = Vec::new();
    for _ in 0..2 {
        let Received::New(new) = w.receive(udp(1), &invite) else { panic!("new again") };
        w.with(|layer, cx| {
            let answer = cx.answer(&new.request, status::FORBIDDEN, &[]);
            answers.push(answer.clone());
            layer.refuse(cx, &new, answer);
        });
    }
    assert!(w.layer.is_empty());
    assert_eq!(answers[0].raw(), answers[1].raw(), "a repetition gets the same answer");
    assert_eq!(w.sent(), ["403", "403"]);
    let to = &answers[0];
    let tag = format!(";tag={}", to.to().and_then(|to| to.tag()).expect("a tag"));
    assert!(matches!(w.receive(udp(1), &message("ACK", "z9hG4bKa", &tag)), Received::Nothing));
    assert!(matches!(w.receive(udp(1), &message("ACK", "z9hG4bKb", &tag)), Received::Ack(_)), "of another");
    assert!(matches!(w.receive(udp(1), &message("CANCEL", "z9hG4bKa", "")), Received::Nothing));
    assert_eq!(w.sent(), ["481"]);
    assert!(w.wait(LONG).is_empty() && w.sent().is_empty(), "nothing is repeated");
}

/// RFC 3261 §9.2: by the hop of the request only; 200 whatever its method is.
#[test]
fn a_cancel_counts_from_the_hop_of_its_request() {
    let mut w = World::new();
    let new = w.open(udp(1), &message("INVITE", "z9hG4bKa", ""));
    let cancel = message("CANCEL", "z9hG4bKa", "");
    w.sent();
    assert!(matches!(w.receive(udp(2), &cancel), Received::Nothing));
    assert_eq!(w.sent(), ["481"], "another port of the same address");
    for _ in 0..2 {
        assert!(matches!(w.receive(udp(1), &cancel), Received::Cancel { .. }));
        assert_eq!(w.sent(), ["200"], "a repeated CANCEL too");
    }
    w.respond(&new, status::REQUEST_TERMINATED);
    w.sent();
    assert!(matches!(w.receive(udp(1), &cancel), Received::Nothing));
    assert_eq!(w.sent(), ["200"], "too late, but well-formed");
    let ack = message("ACK", "z9hG4bKa", ";tag=x");
    assert!(matches!(w.receive(udp(2), &ack), Received::Ack(_)), "an ACK of another hop ends nothing");
    w.wait(Duration::from_millis(500));
    assert_eq!(w.sent(), ["487"]);
    w.open(udp(1), &message("MESSAGE", "z9hG4bKm", ""));
    assert!(matches!(w.receive(udp(1), &message("CANCEL", "z9hG4bKm", "")), Received::Nothing));
    assert_eq!(w.sent(), ["200"], "a pending MESSAGE: answered, without effect");
}

/// RFC 3261 §17.1.1: the ACK is ours; RFC 6026: a 2xx passes again and again.
#[test]
fn a_client_transaction_tells_its_user_and_only_the_asked_hop_counts() {
    let mut w = World::new();
    let (_, invite) = w.ask(udp(2), "INVITE", false);
    let busy = answer_to(&invite, 486);
    assert!(w.hear(&peer(), &busy).is_none(), "from another hop");
    assert!(w.hear(&udp(9), &answer_to(&invite, 180)).is_some(), "another port of the phone");
    assert!(matches!(w.hear(&udp(2), &busy), Some(Event::Response { .. })));
    assert_eq!(w.sent(), ["ACK"]);
    assert!(w.hear(&udp(2), &busy).is_none());
    assert_eq!(w.sent(), ["ACK"], "a repeated final is only ACKed");
    assert!(matches!(&w.wait(LONG)[..], [Event::Ended { .. }]));
    assert!(w.layer.is_empty());
    assert!(w.hear(&udp(2), &busy).is_none(), "a stray response goes nowhere");
    assert!(w.sent().is_empty());

    let (_, invite) = w.ask(udp(2), "INVITE", false);
    for _ in 0..2 {
        assert!(matches!(w.hear(&udp(2), &answer_to(&invite, 200)), Some(Event::Response { .. })));
    }
    let other = message("BYE", invite.via().and_then(|via| via.branch()).expect("a branch"), "");
    assert!(w.hear(&udp(2), &answer_to(&other, 200)).is_none(), "another method than was asked");
}

/// A dialog whose tag no request may have could not be ended.
#[test]
fn a_response_with_a_to_tag_that_no_request_may_have_is_dropped() {
    let mut w = World::new();
    for (length, passes) in [(257, false), (300, false), (60_000, false), (256, true)] {
        for status in [180, 200, 486] {
            let (_, invite) = w.ask(udp(2), "INVITE", false);
            w.sent();
            let text = String::from_utf8(answer_to(&invite, status).raw().to_vec()).expect("text");
            let to = text.lines().find(|line| line.starts_with("To: ")).expect("a To");
            let bare = to.split(";tag=").next().expect("a To");
            let text = text.replace(to, &format!("{bare};tag={}", "x".repeat(length)));
            let response = Message::parse(text.into_bytes()).expect("readable");
            assert_eq!(w.hear(&udp(2), &response).is_some(), passes, "{status} with {length}");
            assert!(passes || w.sent().is_empty(), "nor is it acknowledged");
            w.sent();
        }
    }
}

/// RFC 3261 §9.1.
#[test]
fn a_cancel_waits_for_a_provisional_and_ends_the_waiting() {
    let mut w = World::new();
    let (key, invite) = w.ask(udp(2), "INVITE", false);
    w.with(|layer, cx| layer.cancel(cx, key, Some("SIP;cause=200")));
    assert!(w.sent().is_empty(), "not before a provisional");
    assert!(w.hear(&udp(2), &answer_to(&invite, 180)).is_some());
    assert_eq!(w.sent(), ["CANCEL"]);
    assert!(w.hear(&udp(2), &answer_to(&message("CANCEL", &key.branch.text(None), ""), 200)).is_none());
    let lost = w.wait(LONG);
    assert!(matches!(&lost[..], [Event::Lost { why: Lost::TimedOut, .. }]), "{lost:?}");
    assert!(w.layer.is_empty());
}

#[test]
fn a_quick_hop_that_says_nothing_is_lost_and_told_to_forget() {
    let mut w = World::new();
    w.ask(peer(), "INVITE", true);
    let lost = w.wait(TRYING_WITHIN);
    assert!(matches!(&lost[..], [Event::Lost { why: Lost::Silent, .. }]));
    assert_eq!(w.sent(), ["CANCEL"], "should it wake up, nobody rings");
    let (_, invite) = w.ask(peer(), "INVITE", true);
    w.hear(&peer(), &answer_to(&invite, 100));
    assert!(w.wait(LONG * 5).is_empty(), "it rings as long as it likes");
}

/// RFC 3261 §16.9; found by the hop, however many others wait.
#[test]
fn a_broken_hop_loses_what_waits_for_it_and_nothing_else() {
    let mut w = World::new();
    let (one, _) = w.ask(phone(Transport::Tcp, 2), "INVITE", false);
    let (_, other) = w.ask(phone(Transport::Tcp, 3), "MESSAGE", false);
    let (_, answered) = w.ask(phone(Transport::Tcp, 2), "INVITE", false);
    w.hear(&phone(Transport::Tcp, 2), &answer_to(&answered, 200));
    let events = w.layer.hop_down(&phone(Transport::Tcp, 2));
    assert_eq!(events.len(), 2);
    assert!(
        events.iter().any(|e| matches!(e, Event::Lost { client, why: Lost::Broken, .. } if *client == one))
    );
    assert!(events.iter().any(|e| matches!(e, Event::Ended { .. })), "an answered one can repeat nothing");
    assert!(w.layer.not_queued(&other).is_some() && w.layer.is_empty());
    let response = answer_to(&other, 200);
    assert!(w.layer.not_queued(&response).is_none(), "a lost response fails nobody");
}

/// Bytes are what is bounded, and a stranger's network has its share.
#[test]
fn a_flood_of_one_network_leaves_room_for_others() {
    let mut w = World::new();
    let rows = (TRANSACTION_BYTES_MAX - TRANSACTION_BYTES_RESERVED) / 4 / 60_000;
    let big = |n: usize| {
        let text =
            String::from_utf8(message("MESSAGE", &format!("z9hG4bK{n}"), "").raw().to_vec()).expect("text");
        let text = text.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(60_000)));
        Message::parse(text.into_bytes()).expect("a message")
    };
    let mut held = 0;
    for n in 0..rows + 10 {
        let Received::New(new) = w.receive(udp(1), &big(n)) else { panic!("new") };
        held += usize::from(w.with(|layer, cx| layer.accept(cx, &new, USER(), Standing::Stranger)));
        w.base.out.clear();
    }
    assert!(held <= rows, "{held} of {rows}");
    let Received::New(new) = w.receive(udp(1), &big(rows + 20)) else { panic!("new") };
    assert!(
        w.with(|layer, cx| layer.accept(cx, &new, USER(), Standing::Known)),
        "a phone that is registered"
    );
    let Hop::Phone(flow) = udp(1) else { panic!("a phone") };
    let elsewhere = Hop::Phone(Flow { remote: ([198, 51, 100, 1], 1).into(), ..flow });
    let Received::New(new) = w.receive(elsewhere, &big(0)) else { panic!("new") };
    assert!(w.with(|layer, cx| layer.accept(cx, &new, USER(), Standing::Stranger)), "another network");
}

/// The charge is of what is held: a message with its index, in the buffer that it has, and four entries of tables.
#[test]
fn a_request_that_waits_is_charged_with_its_index() {
    let mut w = World::new();
    let (_, invite) = w.ask(udp(2), "INVITE", false);
    let lines = invite.names().count();
    let least = invite.raw().len() + lines * 24 + size_of::<Hop>() * 2;
    let charged = w.layer.bytes();
    assert!(charged > least + 200 && charged < least + 1000, "{charged} of at least {least}");
    w.hear(&udp(2), &answer_to(&invite, 486));
    assert!(w.layer.bytes() < charged, "of a finished one the ACK is left");
}

/// "A finished transaction keeps only its key and its answer."
#[test]
fn a_finished_transaction_is_small() {
    let mut w = World::new();
    let text = String::from_utf8(message("MESSAGE", "z9hG4bKm", "").raw().to_vec()).expect("text");
    let text = text.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(50_000)));
    let new = w.open(udp(1), &Message::parse(text.into_bytes()).expect("a message"));
    let before = w.layer.bytes();
    w.respond(&new, status::OK);
    let Some(Output::Send { bytes, .. }) = w.base.out.pop_back() else { panic!("an answer to a phone") };
    let row = w.layer.bytes() - bytes.len();
    assert!(before > 50_000 && (320..=400).contains(&row), "{row} bytes beside the answer");
    assert_eq!(Branch::read("z9hG4bKm"), None);
}

/// More requests than a network's share has answers for: its oldest answers go, its INVITEs stay, and nobody else's do.
#[test]
fn answers_that_only_wait_for_repetitions_make_room_for_requests_of_their_network() {
    let mut world = World::new();
    let elsewhere = Hop::Phone(Flow {
        transport: Transport::Udp,
        connection: 0,
        local: ([192, 0, 2, 1], 5060).into(),
        remote: ([198, 51, 100, 1], 5060).into(),
    });
    let other = message("OPTIONS", "z9hG4bKother", "");
    let theirs = world.open(elsewhere.clone(), &other);
    world.respond(&theirs, status::OK);
    let invite = message("INVITE", "z9hG4bKinvite", "");
    let ringing = world.open(udp(5060), &invite);
    let request = |n: usize| message("OPTIONS", &format!("z9hG4bK{n}"), "");
    // A stranger's network has a quarter of three quarters; each takes more than 400 bytes of that.
    let many = TRANSACTION_BYTES_MAX / 4 / 400;
    for n in 0..many {
        let new = world.open(udp(5060), &request(n));
        world.respond(&new, status::OK);
        world.sent();
    }
    assert!(matches!(world.receive(udp(5060), &request(0)), Received::New(_)), "the first is forgotten");
    assert!(
        matches!(world.receive(udp(5060), &request(many - 1)), Received::Nothing),
        "the last is repeated"
    );
    assert!(matches!(world.receive(elsewhere, &other), Received::Nothing), "as is that of another network");
    assert!(matches!(world.receive(udp(5060), &invite), Received::Nothing), "the call is there");
    world.respond(&ringing, status::OK);
    // What is not answered does not go: then there is no room.
    let refused = (many..2 * many).find(|n| {
        let Received::New(new) = world.receive(udp(5060), &request(*n)) else { panic!("a new request") };
        !world.with(|layer, cx| layer.accept(cx, &new, USER(), Standing::Stranger))
    });
    assert!(refused.is_some());
    world.wait(Duration::from_secs(40));
    let other = world.receive(theirs.hop.clone(), &other);
    assert!(matches!(other, Received::New(_)), "and has its end, as all have");
}
