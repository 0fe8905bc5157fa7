//! What goes wrong with calls: forks, silence, lost CANCELs, loops, liars.

mod common;

use common::*;
use dots_sip::{
    Input,
    input::{RemoteTarget, Resolution},
    message::{Message, Name},
    output::CallProgress,
};
use std::time::Duration;

fn failed(peer: &Peer) -> Vec<u16> {
    let failed = peer.calls.iter().filter_map(|c| match c {
        CallProgress::Failed { status } => Some(*status),
        _ => None,
    });
    failed.collect()
}

/// A call from alice (1) to bob's two phones (2 and 3).
fn forked() -> (World, Message, Message) {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.register(w.now, "bob", 2);
    w.a.register(w.now, "bob", 3);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let (two, three) = (w.a.got(2), w.a.got(3));
    w.a.phone(w.now, 2, &answer(&two, "180 Ringing", 2));
    w.a.phone(w.now, 3, &answer(&three, "180 Ringing", 3));
    assert_eq!((w.a.got(1).status(), w.a.got(1).status()), (Some(180), Some(180)));
    (w, two, three)
}

#[test]
fn the_first_phone_that_answers_ends_the_ringing_of_the_other() {
    let (mut w, two, three) = forked();
    w.a.phone(w.now, 2, &answer(&two, "200 OK", 2));
    let cancel = w.a.got(3);
    assert_eq!(cancel.method(), "CANCEL");
    assert!(cancel.header(&Name::Reason).expect("a Reason").contains("cause=200"));
    w.a.phone(w.now, 3, &answer(&cancel, "200 OK", 3));
    w.a.phone(w.now, 3, &answer(&three, "487 Request Terminated", 3));
    assert_eq!(w.a.got(3).method(), "ACK");
    assert_eq!(w.a.got(1).status(), Some(200));
    assert!(w.a.silent(1), "neither the CANCEL's 200 nor the 487 is for the caller");
    w.a.phone(w.now, 2, &answer(&two, "200 OK", 2));
    assert_eq!(w.a.got(1).status(), Some(200), "a repeated 2xx still passes");
    assert_eq!(failed(&w.a), [], "an answered call has not failed");
    let start = w.now.mono;
    while !w.a.core.is_quiet() && w.now.mono < start + Duration::from_secs(60) {
        w.a.wait(&mut w.now);
    }
    assert!(w.a.core.is_quiet());
}

#[test]
fn best_responses() {
    let cases = [
        ("486 Busy Here", "404 Not Found", 404),
        ("486 Busy Here", "503 Service Unavailable", 486),
        ("503 Service Unavailable", "503 Service Unavailable", 500),
        ("407 Proxy Authentication Required", "503 Service Unavailable", 403),
        ("302 Moved Temporarily", "486 Busy Here", 302),
    ];
    for (first, second, expected) in cases {
        let (mut w, two, three) = forked();
        w.a.phone(w.now, 2, &answer(&two, first, 2));
        assert!(w.a.silent(1), "one phone still rings");
        w.a.phone(w.now, 3, &answer(&three, second, 3));
        assert_eq!(w.a.got(1).status(), Some(expected), "{first}, {second}");
        assert!(w.a.core.is_quiet());
    }
    let (mut w, two, three) = forked();
    w.a.phone(w.now, 2, &answer(&two, "603 Decline", 2));
    assert_eq!((w.a.got(2).method(), w.a.got(3).method()), ("ACK", "CANCEL"));
    w.a.phone(w.now, 3, &answer(&three, "487 Request Terminated", 3));
    assert_eq!(w.a.got(1).status(), Some(603), "6xx ends all");
}

#[test]
fn a_lost_cancel_is_repeated_and_a_dead_phone_given_up() {
    let (mut w, _, _) = forked();
    let cancel = request("INVITE", "sip:bob@127.0.0.1", 1, "c1", "alice", "bob", "")
        .replacen("INVITE", "CANCEL", 1)
        .replace("7 INVITE", "7 CANCEL");
    w.a.phone(w.now, 1, &cancel);
    assert_eq!(w.a.got(1).status(), Some(200));
    let start = w.now.mono;
    while w.a.silent(1) && w.now.mono < start + Duration::from_secs(60) {
        w.a.wait(&mut w.now);
    }
    assert_eq!(w.a.got(1).status(), Some(487));
    let cancels = w.a.inbox.iter().filter(|(f, m)| f.remote.port() == 2 && m.method() == "CANCEL").count();
    assert!(cancels >= 7, "{cancels} CANCELs in 64*T1");
    assert!(w.a.core.is_quiet());
}

#[test]
fn ringing_for_ever_ends_with_timer_c() {
    let (mut w, _, _) = forked();
    let start = w.now.mono;
    while w.a.silent(1) && w.now.mono < start + Duration::from_secs(400) {
        w.a.wait(&mut w.now);
    }
    assert_eq!(w.a.got(1).status(), Some(408));
    assert!(w.now.mono >= start + dots_sip::core::TIMER_C);
    assert!(w.a.counts.contains(&"timer_c"));
    assert_eq!(w.a.got(2).method(), "CANCEL");
    assert!(failed(&w.a).contains(&408), "receipts and call lists hear of it");
    assert!(w.a.core.is_quiet());
}

#[test]
fn an_ack_with_the_branch_of_its_invite_still_reaches_the_callee() {
    let (mut w, two, _) = forked();
    w.a.phone(w.now, 2, &answer(&two, "200 OK", 2));
    let ok = w.a.got(1);
    w.a.got(3);
    let ack = in_dialog("ACK", 7, 1, &ok, true, "c1").replace("z9hG4bKACK17", "z9hG4bKINVITEc17");
    w.a.phone(w.now, 1, &ack);
    assert_eq!(w.a.got(2).method(), "ACK");
}

#[test]
fn a_phone_that_sends_a_call_back_gets_482() {
    let (mut w, two, _) = forked();
    let text = String::from_utf8(two.raw().to_vec()).expect("text").replace("\r\n", "\n");
    let back = text.replace("INVITE sip:bob@127.0.0.1:2 ", "INVITE sip:bob@127.0.0.1 ").replacen(
        "Via:",
        "Via: SIP/2.0/UDP 127.0.0.1:2;branch=z9hG4bKback\nVia:",
        1,
    );
    w.a.phone(w.now, 2, &back);
    assert_eq!(w.a.got(2).status(), Some(482));
}

#[test]
fn a_peer_must_be_the_one_in_its_via() {
    let mut w = World::new();
    w.b.register(w.now, "bob", 2);
    for via in ["UDP 192.0.2.1:5060", "DOTS pzzzz.peer.dots"] {
        let text = request("INVITE", "sip:bob@b.test", 9, "v", "x", "bob", "")
            .replace("UDP 127.0.0.1:9", via)
            .replace('\n', "\r\n");
        let caller = Some("x@a.test".to_owned());
        w.b.core.handle(w.now, overlay(LABEL_A, text.into_bytes(), caller).expect("readable"));
        w.b.drain(w.now);
        let answer = w.b.to_peer.pop_front().expect("an answer");
        assert!(answer.starts_with(b"SIP/2.0 403"), "{via}");
    }
    assert!(w.b.silent(2));
}

#[test]
fn an_invite_grows_by_at_most_600_bytes() {
    let (_, ringing, _) = across();
    let sent = invite(1, "c1", "alice", "bob", "a.test").replace('\n', "\r\n");
    let kept = sent.lines().filter(|l| !l.starts_with("Proxy-Authorization")).map(|l| l.len() + 2).sum();
    let grown = ringing.raw().len().saturating_sub(kept);
    assert!(grown <= 600, "{grown} bytes:\n{}", String::from_utf8_lossy(ringing.raw()));
}

#[test]
fn a_configured_outbound_proxy_above_the_route_set_does_no_harm() {
    let (mut w, _, ok) = across();
    let text = in_dialog("BYE", 8, 1, &ok, true, "c1").replace("Route: ", "Route: <sip:127.0.0.1:5060;lr>, ");
    w.a.phone(w.now, 1, &text);
    w.carry();
    let bye = w.b.got(2);
    assert_eq!((bye.method(), bye.header(&Name::Route)), ("BYE", None));
}

/// bob's phone is a proxy (a PBX, say) that sends the call on to carol, through us again. Our two tokens are obeyed one
/// after the other; the PBX sees what follows where it asked for that.
#[test]
fn a_spiral_obeys_its_tokens_one_after_the_other() {
    for stays in [false, true] {
        let World { now, mut a, .. } = World::new();
        for (user, port) in [("alice", 1), ("bob", 2), ("carol", 3)] {
            a.register(now, user, port);
        }
        a.phone(now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
        let text = String::from_utf8(a.got(2).raw().to_vec()).expect("text").replace("\r\n", "\n");
        // The PBX passes alice's call on from its own flow; who she is it proves with her credentials here.
        let auth = invite(1, "c1", "alice", "bob", "a.test");
        let auth = auth.lines().find(|l| l.starts_with("Proxy-Authorization")).expect("it has some");
        let own = if stays { "Record-Route: <sip:127.0.0.1:2;lr>\n" } else { "" };
        let on = text.replace("INVITE sip:bob@127.0.0.1:2 ", "INVITE sip:carol@127.0.0.1 ").replacen(
            "Record-Route:",
            &format!("Via: SIP/2.0/UDP 127.0.0.1:2;branch=z9hG4bKpbx\n{auth}\n{own}Record-Route:"),
            1,
        );
        let on = on.replace("sip:bob@127.0.0.1\",response", "sip:carol@127.0.0.1\",response");
        a.phone(now, 2, &on);
        let ringing = a.got(3);
        assert_eq!(ringing.values(&Name::RecordRoute).count(), 2 + usize::from(stays));
        a.phone(now, 3, &answer(&ringing, "200 OK", 3));
        let ok = a.got(2);
        assert_eq!(ok.status(), Some(200));
        // carol hangs up: first our newer token, which names where the second INVITE came from.
        a.phone(now, 3, &in_dialog("BYE", 1, 3, &ringing, false, "c1"));
        let (port, left) = if stays { (2, 2) } else { (1, 0) };
        let bye = a.got(port);
        assert_eq!((bye.method(), bye.values(&Name::Route).count()), ("BYE", left), "stays: {stays}");
    }
}

#[test]
fn a_token_serves_only_its_own_dialog_and_its_own_sides() {
    let (mut w, ringing, ok) = across();
    let bye = in_dialog("BYE", 8, 1, &ok, true, "c1");
    let cases = [
        ("another call", bye.replace("Call-ID: c1", "Call-ID: c2")),
        ("another caller", bye.replace(";tag=f1", ";tag=f9")),
    ];
    for (why, text) in cases {
        w.a.phone(w.now, 1, &text.replace("z9hG4bK", &format!("z9hG4bK{}", why.len())));
        assert_eq!(w.a.got(1).status(), Some(403), "{why}");
    }
    // The far peer holds the token too, but it is not bob's phone.
    let text = in_dialog("BYE", 9, 2, &ringing, false, "c1")
        .replace("UDP 127.0.0.1:2", &format!("DOTS p{LABEL_A}.peer.dots"))
        .replace('\n', "\r\n");
    w.b.core.handle(w.now, overlay(LABEL_A, text.into_bytes(), None).expect("readable"));
    w.b.drain(w.now);
    assert!(w.b.to_peer.pop_front().expect("an answer").starts_with(b"SIP/2.0 403"));
    assert!(w.b.silent(2));
}

#[test]
fn a_dead_link_ends_the_waiting_but_not_the_call() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    w.a.phone(w.now, 1, &invite(1, "c0", "alice", "bob", "a.test"));
    w.a.core.handle(w.now, Input::OverlayDown { peer: LABEL_B.into() });
    w.a.drain(w.now);
    assert_eq!(w.a.got(1).status(), Some(480));
    assert_eq!(failed(&w.a), [480]);

    let (mut w, _, ok) = across();
    w.a.phone(w.now, 1, &in_dialog("INVITE", 8, 1, &ok, true, "c1"));
    w.a.core.handle(w.now, Input::OverlayDown { peer: LABEL_B.into() });
    w.a.drain(w.now);
    assert_eq!(w.a.got(1).status(), Some(500), "neither 480 nor 481, on which phones hang up");
    assert!(w.a.core.is_quiet());
}

/// LIVE-11: (q of the first, how long it may be silent before alice hears of it, or the next is tried)
#[test]
fn a_peer_that_says_nothing_holds_up_the_next_one_for_less_than_a_second() {
    const LABEL_C: &str = "cccccccccccccccccccc";
    let to_peer = |w: &mut World| {
        std::iter::from_fn(|| w.a.to_peer.pop_front()).filter(|m| m.starts_with(b"INVITE")).count()
    };
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    let target = |peer: &str, q| RemoteTarget { peer: peer.into(), q };
    w.a.resolution = Resolution::Peers(vec![target(LABEL_B, 1000), target(LABEL_C, 1)]);
    w.a.phone(w.now, 1, &invite(1, "c0", "alice", "bob", "a.test"));
    assert_eq!(to_peer(&mut w), 1);
    let mut tried = Vec::new();
    for ms in (100..4_000).step_by(100) {
        w.now.mono += Duration::from_millis(100);
        w.a.core.handle_timeout(w.now);
        w.a.drain(w.now);
        tried.extend(std::iter::repeat_n(ms, to_peer(&mut w)));
        if !failed(&w.a).is_empty() {
            assert_eq!((tried, ms), (vec![700], 2_700), "the last has two seconds");
            return assert_eq!((w.a.got(1).status(), failed(&w.a)), (Some(480), vec![480]));
        }
    }
    panic!("no answer: {tried:?}");
}

/// alice calls bob, whom a peer is said to serve; `elsewhere`: and another one, when it is asked again.
fn called(elsewhere: bool) -> (World, Message) {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    let at = |peer: &str| Resolution::Peers(vec![RemoteTarget { peer: peer.into(), q: 1000 }]);
    w.a.resolution = at(LABEL_B);
    w.a.elsewhere = elsewhere.then(|| at("cccccccccccccccccccc"));
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let invite = w.a.to_peer.pop_front().expect("to the peer");
    (w, Message::parse(invite).expect("readable"))
}

fn peer_says(w: &mut World, request: &Message, status: &str) {
    let text = answer(request, status, 9).replace('\n', "\r\n").into_bytes();
    w.a.core.handle(w.now, overlay(LABEL_B, text, None).expect("readable"));
    w.a.drain(w.now);
}

fn invites(w: &mut World) -> usize {
    let sent = std::iter::from_fn(|| w.a.to_peer.pop_front());
    sent.filter(|m| m.starts_with(b"INVITE")).count()
}

/// LIVE-11a: (why, what the peer says; nothing: it is out of reach; is he looked for elsewhere?)
#[test]
fn a_callee_who_is_not_where_he_was_said_to_be_is_looked_for_once_more() {
    for (why, said, goes_on) in [
        ("he is not there", &["480 Temporarily Unavailable"][..], true),
        ("the peer knows no such phone", &["404 Not Found"], true),
        ("the peer serves nobody just now", &["503 Service Unavailable"], true),
        ("the peer is out of reach", &[], true),
        ("his phone is busy", &["486 Busy Here"], false),
        ("he declines", &["603 Decline"], false),
        ("it rang, and then it did not", &["180 Ringing", "480 Temporarily Unavailable"], false),
    ] {
        let (mut w, request) = called(true);
        said.iter().for_each(|status| peer_says(&mut w, &request, status));
        if said.is_empty() {
            w.a.core.handle(w.now, Input::OverlayDown { peer: LABEL_B.into() });
            w.a.drain(w.now);
        }
        assert_eq!(invites(&mut w), usize::from(goes_on), "{why}");
        assert_eq!(failed(&w.a).is_empty(), goes_on, "{why}");
        if goes_on {
            w.a.core.handle(w.now, Input::OverlayDown { peer: "cccccccccccccccccccc".into() });
            w.a.drain(w.now);
            assert_eq!((invites(&mut w), w.a.got(1).status()), (0, Some(480)), "{why}: once");
        }
    }
}

#[test]
fn a_second_search_that_finds_nobody_new_changes_nothing_and_none_outlives_its_call() {
    let (mut w, request) = called(false);
    peer_says(&mut w, &request, "480 Temporarily Unavailable");
    assert_eq!((invites(&mut w), w.a.got(1).status()), (0, Some(480)));
    let (mut w, request) = called(true);
    w.a.holds = true;
    peer_says(&mut w, &request, "480 Temporarily Unavailable");
    assert!(failed(&w.a).is_empty());
    let call = invite(1, "c1", "alice", "bob", "a.test");
    w.a.phone(w.now, 1, &call.replace("INVITE sip", "CANCEL sip").replace("7 INVITE", "7 CANCEL"));
    let answers = [w.a.got(1), w.a.got(1)].map(|m| (m.cseq().map(|c| c.1.to_owned()), m.status()));
    assert!(answers.iter().any(|(_, status)| *status == Some(487)), "{answers:?}");
    let resolution = w.a.elsewhere.clone().expect("set above");
    let id = w.a.held.expect("it was asked");
    w.a.core.handle(w.now, Input::Resolved { id, resolution });
    w.a.drain(w.now);
    assert_eq!(invites(&mut w), 0, "nobody rings for a call that is over");
}

/// A phone is doubted when it lets a call run out without a word, and when its flow closes; not when it answers.
#[test]
fn a_phone_that_says_no_word_is_told_of() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.register(w.now, "bob", 2);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let ringing = w.a.got(2);
    w.a.phone(w.now, 2, &answer(&ringing, "486 Busy Here", 2));
    assert!(w.a.unanswered.is_empty());
    w.a.phone(w.now, 1, &invite(1, "c2", "alice", "bob", "a.test"));
    let until = w.now.mono + Duration::from_secs(33);
    while w.now.mono < until {
        w.now.mono += Duration::from_millis(500);
        w.now.wall_ms += 500;
        w.a.core.handle_timeout(w.now);
        w.a.drain(w.now);
    }
    assert_eq!(w.a.unanswered, ["bob@a.test"]);
    w.a.core.handle(w.now, Input::FlowClosed { flow: flow(2) });
    w.a.drain(w.now);
    assert_eq!(w.a.unanswered, ["bob@a.test"; 2]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]
    /// Broken copies of every kind of message, from a phone and from a peer, in the middle of a call.
    #[test]
    fn no_bytes_make_the_core_panic(which in 0usize..5, at in 0usize..900, byte in 0u8..=255, cut in 0usize..900) {
        let (mut w, ringing, ok) = across();
        let texts = [
            invite(1, "c2", "alice", "bob", "a.test"),
            in_dialog("BYE", 8, 1, &ok, true, "c1"),
            in_dialog("INVITE", 8, 2, &ringing, false, "c1"),
            answer(&ringing, "180 Ringing", 2),
            request("REGISTER", "sip:127.0.0.1", 1, "r", "alice", "alice", ""),
        ];
        let mut bytes = texts[which].replace('\n', "\r\n").into_bytes();
        if let Some(b) = bytes.get_mut(at) { *b = byte; }
        let short = bytes[..cut.min(bytes.len())].to_vec();
        for bytes in [bytes, short] {
            if let Some(input) = overlay(LABEL_A, bytes.clone(), Some("x@a.test".into())) {
                w.b.core.handle(w.now, input);
                w.b.drain(w.now);
            }
            w.b.core.handle(w.now, Input::Message { flow: flow(2), bytes });
            w.b.drain(w.now);
        }
    }
}
