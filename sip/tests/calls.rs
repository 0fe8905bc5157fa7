//! The core as a whole: phones at one core, and at two cores that an overlay leg joins. No sockets, no time passes
//! unless a test says so.

mod common;

use common::*;
use dots_sip::{
    Now,
    input::{RemoteTarget, Resolution},
    message::Name,
    output::CallProgress,
};
use std::time::Duration;

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
    assert!(matches!(a.calls.last(), Some(CallProgress::Acknowledged)), "the caller has taken it");
    a.phone(now, 2, &answer(&ringing, "200 OK", 2));
    assert_eq!(a.got(1).status(), Some(200), "a repeated 2xx passes");
    a.phone(now, 2, &in_dialog("BYE", 1, 2, &ringing, false, "c1"));
    let bye = a.got(1);
    assert_eq!((bye.method(), bye.uri()), ("BYE", Some("sip:alice@127.0.0.1:1")));
    a.phone(now, 1, &answer(&bye, "200 OK", 1));
    assert_eq!(a.got(2).status(), Some(200));
    assert!(a.calls.iter().any(|c| matches!(c, CallProgress::Answered { .. })));
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

/// TOK-6.
#[test]
fn nothing_out_of_dialog_or_with_an_invented_tag_reaches_a_phone() {
    let World { now, mut a, .. } = World::new();
    a.register(now, "bob", 2);
    let before = a.core.poll_timeout();
    for (method, outside) in [("REFER", 407), ("NOTIFY", 407), ("INFO", 407), ("BYE", 481), ("UPDATE", 481)] {
        a.phone(now, 3, &request(method, "sip:bob@127.0.0.1", 3, method, "eve", "bob", ""));
        assert_eq!(a.got(3).status(), Some(outside), "{method} out of dialog");
        let tagged = request(method, "sip:bob@127.0.0.1:2", 3, &format!("t{method}"), "eve", "bob", "")
            .replace("To: <sip:bob@127.0.0.1>", "To: <sip:bob@127.0.0.1>;tag=made-up");
        a.phone(now, 3, &tagged);
        assert_eq!(
            a.got(3).status(),
            Some(481),
            "{method} with an invented To tag: a dialog that nobody knows"
        );
        let routed = tagged.replace(
            "Max-Forwards: 70\n",
            "Max-Forwards: 70\nRoute: <sip:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@127.0.0.1:5060;lr>\n",
        );
        a.phone(now, 3, &routed.replace("z9hG4bK", "z9hG4bKr"));
        assert_eq!(a.got(3).status(), Some(403), "{method} with an invented token");
    }
    assert_eq!(a.core.poll_timeout(), before, "nothing is kept of it");
    let relay = request("INVITE", "sip:x@192.0.2.9", 3, "relay", "eve", "x", "Route: <sip:192.0.2.9;lr>\n");
    a.phone(now, 3, &relay);
    assert_eq!(a.got(3).status(), Some(403), "no open relay");
    assert!(a.silent(2));
}

#[test]
fn a_call_across_hides_addresses_and_restores_names() {
    let (mut w, ringing, ok) = across();
    assert_eq!(ringing.from().expect("From").uri(), "sip:alice%40a.test@127.0.0.1");
    let contact = ringing.header(&Name::Contact).expect("a Contact").to_owned();
    assert!(contact.contains(&format!("@p{LABEL_A}.peer.dots")), "{contact}");
    assert_eq!(ringing.values(&Name::RecordRoute).count(), 2, "one for each peer");
    assert_eq!(ok.from().expect("From").uri(), "sip:alice@127.0.0.1", "as the phone wrote it");
    assert!(ok.header(&Name::Contact).expect("a Contact").contains(&format!("@p{LABEL_B}.peer.dots")));
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
        assert!(peer.calls.iter().any(|c| matches!(c, CallProgress::Answered { .. })));
        assert!(peer.calls.iter().any(|c| matches!(c, CallProgress::Ended { by_caller: false, .. })));
    }
}

/// RFC 3261 §16.3: whatever the method, a request to a user is his phone's to answer; and one without a hop left is nobody's.
#[test]
fn requests_of_any_method_to_a_user_reach_his_phone() {
    for method in ["OPTIONS", "INFO", "MESSAGE", "WINK"] {
        let mut w = World::new();
        w.a.register(w.now, "alice", 1);
        w.b.register(w.now, "bob", 2);
        w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
        let text = invite(1, method, "alice", "bob%40b.test", "a.test").replace("INVITE", method);
        w.a.phone(w.now, 1, &text);
        w.carry();
        let heard = w.b.got(2);
        assert_eq!((heard.method(), heard.uri()), (method, Some("sip:bob@127.0.0.1:2")));
        w.b.phone(w.now, 2, &answer(&heard, "202 Accepted", 2));
        w.carry();
        assert_eq!(w.a.got(1).status(), Some(202), "{method}");
        let text = text.replace("Max-Forwards: 70", "Max-Forwards: 0").replace("z9hG4bK", "z9hG4bK0");
        w.a.phone(w.now, 1, &text);
        assert_eq!(w.a.got(1).status(), Some(483), "{method}");
    }
    for method in ["REFER", "NOTIFY"] {
        let World { now, mut a, .. } = World::new();
        a.register(now, "alice", 1);
        a.register(now, "bob", 2);
        a.phone(now, 1, &invite(1, method, "alice", "bob", "a.test").replace("INVITE", method));
        let refused = a.got(1);
        assert_eq!((refused.status(), refused.reason()), (Some(403), "Only To Own Phones"));
    }
}

#[test]
fn a_peer_cannot_speak_for_a_phone_and_unvouched_requests_stop() {
    let mut w = World::new();
    w.b.register(w.now, "bob", 2);
    for (method, caller) in [("INVITE", None), ("REFER", Some("x@a.test".to_owned())), ("NOTIFY", None)] {
        let text = request(method, "sip:bob@b.test", 9, method, "x", "bob", "")
            .replace("UDP 127.0.0.1:9", "DOTS paaaabbbbccccddddeeeeffffgggg2222.peer.dots")
            .replace('\n', "\r\n");
        w.b.core.handle(w.now, overlay(LABEL_A, text.into_bytes(), caller).expect("readable"));
        w.b.drain(w.now);
    }
    assert!(w.b.silent(2));
    assert_eq!(w.b.to_peer.len(), 3);
    assert!(w.b.to_peer.iter().all(|b| b.starts_with(b"SIP/2.0 403")));
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
