//! What must not pass from one leg to the other, and what happens when a peer hangs or ends.

mod common;

use common::*;
use dots_sip::{
    Flow, Input, Transport,
    input::{RemoteTarget, Resolution},
    message::{Message, Name},
};

fn challenge(request: &Message, realm: &str, port: u16) -> String {
    let line = format!("Proxy-Authenticate: Digest realm=\"{realm}\",nonce=\"trap\",qop=\"auth\"\n");
    answer(request, "407 Proxy Authentication Required", port)
        .replace("Content-Length", &format!("{line}Content-Length"))
}

#[test]
fn a_bye_answered_with_a_challenge_in_the_name_of_a_realm_gives_no_digest_away() {
    // Either party's realm: the one who hangs up may be roaming, and then its peer is home of neither.
    for realm in ["a.test", "b.test", "A.Test"] {
        let (mut w, _, ok) = across();
        w.a.phone(w.now, 1, &in_dialog("BYE", 8, 1, &ok, true, "c1"));
        w.carry();
        let bye = w.b.got(2);
        w.b.phone(w.now, 2, &challenge(&bye, realm, 2));
        w.carry();
        let refused = w.a.got(1);
        assert_eq!(refused.status(), Some(403), "{realm}");
        assert_eq!(refused.header(&Name::ProxyAuthenticate), None);

        let (mut w, ringing, _) = across();
        w.b.phone(w.now, 2, &in_dialog("BYE", 1, 2, &ringing, false, "c1"));
        w.carry();
        let bye = w.a.got(1);
        w.a.phone(w.now, 1, &challenge(&bye, realm, 1));
        w.carry();
        let refused = w.b.got(2);
        assert_eq!(refused.status(), Some(403), "{realm}");
        assert_eq!(refused.header(&Name::ProxyAuthenticate), None);
    }
}

#[test]
fn credentials_for_a_realm_stay_at_their_peer_in_dialogs_too() {
    let (mut w, ringing, _) = across();
    let credentials = "Proxy-Authorization: Digest username=\"bob\",realm=\"b.test\",nonce=\"n\",uri=\"sip:x\",\
                       response=\"secret\"\n";
    let info = in_dialog("INFO", 1, 2, &ringing, false, "c1")
        .replace("Content-Length", &format!("{credentials}Content-Length"));
    w.b.phone(w.now, 2, &info);
    assert!(w.b.to_peer.iter().all(|bytes| !String::from_utf8_lossy(bytes).contains("secret")));
    w.carry();
    let info = w.a.got(1);
    assert_eq!((info.method(), info.header(&Name::ProxyAuthorization)), ("INFO", None));
}

#[test]
fn the_overlay_leg_knows_no_address_of_a_phone_and_the_phone_gets_its_via_back() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.b.register(w.now, "bob", 2);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob%40b.test", "a.test"));
    let sent = Message::parse(w.a.to_peer.front().expect("an INVITE").clone()).expect("readable");
    assert_eq!(sent.values(&Name::Via).count(), 1);
    assert!(!String::from_utf8_lossy(sent.raw()).contains("127.0.0.1:1"), "the phone's address");
    w.carry();
    let ringing = w.b.got(2);
    assert_eq!(ringing.values(&Name::Via).count(), 1, "its own peer's");
    assert!(!String::from_utf8_lossy(ringing.raw()).contains("SIP/2.0/DOTS"), "standard parsers refuse it");
    w.b.phone(w.now, 2, &answer(&ringing, "486 Busy Here", 2));
    w.carry();
    let busy = w.a.got(1);
    assert_eq!(busy.status(), Some(486));
    let via = busy.via().expect("its own");
    assert_eq!((busy.values(&Name::Via).count(), via.port()), (1, Some(1)));
}

#[test]
fn a_peer_that_says_nothing_is_passed_over_after_two_seconds() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob%40b.test", "a.test"));
    let start = w.now.mono;
    while w.a.silent(1) || w.a.inbox.iter().all(|(_, m)| m.status() == Some(100)) {
        w.a.wait(&mut w.now);
    }
    assert_eq!(w.a.got(1).status(), Some(480));
    assert_eq!((w.now.mono - start).as_secs(), 2);
    let methods: Vec<String> = std::mem::take(&mut w.a.to_peer)
        .into_iter()
        .map(|bytes| Message::parse(bytes).expect("readable").method().to_owned())
        .collect();
    assert_eq!(methods, ["INVITE", "CANCEL"], "should it wake up, nobody rings for nothing");
    assert!(w.a.counts.contains(&"peer_said_nothing"));
    assert!(w.a.core.is_quiet());
}

#[test]
fn while_it_ends_nothing_new_begins_and_calls_may_finish() {
    let (mut w, _, ok) = across();
    w.a.core.handle(w.now, Input::Drain);
    w.a.phone(w.now, 1, &invite(1, "c2", "alice", "bob%40b.test", "a.test"));
    let refused = w.a.got(1);
    assert_eq!(refused.status(), Some(503));
    assert!(refused.header(&Name::RetryAfter).is_some());
    w.a.phone(w.now, 1, &in_dialog("BYE", 8, 1, &ok, true, "c1"));
    w.carry();
    assert_eq!(w.b.got(2).method(), "BYE");
}

#[test]
fn a_full_link_fails_one_branch_and_leaves_the_others_alone() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.register(w.now, "carol", 3);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob%40b.test", "a.test"));
    w.a.to_peer.clear();
    w.a.phone(w.now, 3, &invite(3, "c2", "carol", "bob%40b.test", "a.test"));
    let refused = w.a.to_peer.pop_front().expect("carol's INVITE");
    let refused = Message::parse(refused).expect("readable");
    w.a.core.handle(w.now, Input::OverlayRefused { message: refused });
    w.a.drain(w.now);
    assert_eq!(w.a.got(3).status(), Some(480));
    assert!(
        w.a.inbox.iter().all(|(f, m)| f.remote.port() != 1 || m.status() == Some(100)),
        "alice still waits"
    );
}

#[test]
fn a_peer_that_invents_dialogs_holds_no_transaction_of_ours() {
    let mut w = World::new();
    w.b.register(w.now, "bob", 2);
    let before = w.b.core.poll_timeout();
    for n in 0..100 {
        let text = request("INVITE", "sip:bob@b.test", 9, &format!("x{n}"), "x", "bob", "")
            .replace("UDP 127.0.0.1:9", &format!("DOTS p{LABEL_A}.peer.dots"))
            .replace("To: <sip:bob@127.0.0.1>", "To: <sip:bob@b.test>;tag=made-up")
            .replace('\n', "\r\n");
        w.b.core.handle(w.now, overlay(LABEL_A, text.into_bytes(), None).expect("readable"));
        w.b.drain(w.now);
    }
    assert!(w.b.silent(2));
    assert!(w.b.to_peer.iter().all(|b| b.starts_with(b"SIP/2.0 481")));
    assert_eq!(w.b.core.poll_timeout(), before, "nothing waits that did not wait before");
}

#[test]
fn an_account_that_is_gone_is_bound_no_longer() {
    let mut w = World::new();
    w.b.register(w.now, "bob", 2);
    w.b.core.handle(w.now, Input::Unbind { aor: "bob@b.test".into() });
    assert_eq!(w.b.core.bindings().count(), 0);
    assert!(
        matches!(w.b.core.poll_output(), Some(dots_sip::Output::Expired { change }) if change.removed.len() == 1)
    );
}

#[test]
fn a_phone_that_knows_only_its_server_can_call_back() {
    let (mut w, ringing, ok) = across();
    // bob registered at `sip:bob@127.0.0.1`: what he sees he can dial, through the only server that he knows.
    assert_eq!(ringing.from().expect("From").uri(), "sip:alice%40a.test@127.0.0.1");
    assert_eq!(ok.from().expect("From").uri(), "sip:alice@127.0.0.1", "she sees what she wrote");
    w.a.phone(w.now, 1, &in_dialog("INFO", 8, 1, &ok, true, "c1"));
    w.carry();
    let info = w.b.got(2);
    assert_eq!(info.from().expect("From").uri(), "sip:alice%40a.test@127.0.0.1", "in the dialog too");
    w.b.phone(w.now, 2, &in_dialog("BYE", 1, 2, &ringing, false, "c1"));
    let sent = Message::parse(w.b.to_peer.front().expect("a BYE").clone()).expect("readable");
    assert_eq!(sent.to().expect("To").uri(), "sip:alice@a.test", "peers know her by her name");
    w.carry();
    assert_eq!(w.a.got(1).to().expect("To").uri(), "sip:alice@127.0.0.1");
    // He calls her back by that name.
    w.b.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_A.into(), q: 1000 }]);
    w.b.phone(w.now, 2, &invite(2, "c9", "bob", "alice%40a.test", "b.test"));
    w.carry();
    let back = w.a.got(1);
    assert_eq!((back.method(), back.from().expect("From").uri()), ("INVITE", "sip:bob%40b.test@127.0.0.1"));
}

/// RFC 3261 §18.3: without a length nothing after these headers can be told apart. Whoever sent them is told so.
#[test]
fn headers_without_a_right_length_are_answered_where_they_can_be() {
    let tcp = Flow { transport: Transport::Tcp, connection: 7, ..flow(1) };
    let head = |method: &str| {
        let text = request(method, "sip:127.0.0.1", 1, "broken", "al", "al", "");
        text.replace("Content-Length: 0", "Content-Length: -1").replace('\n', "\r\n").into_bytes()
    };
    let mut w = World::new();
    w.a.core.handle(w.now, Input::Unframed { flow: tcp, head: head("OPTIONS") });
    w.a.drain(w.now);
    let (flow, answer) = w.a.inbox.pop_front().expect("an answer");
    assert_eq!((flow, answer.status()), (tcp, Some(400)));
    assert!(answer.to().expect("a To").tag().is_some());
    for unanswerable in
        [head("ACK"), b"OPTIONS sip:x SIP/2.0\r\n\r\n".to_vec(), b"\x16\x03\x01".to_vec(), Vec::new()]
    {
        w.a.core.handle(w.now, Input::Unframed { flow: tcp, head: unanswerable });
        w.a.drain(w.now);
        assert!(w.a.inbox.is_empty());
    }
}

/// What the driver lets a connection stay for: credentials that the home has vouched for, and nothing less.
#[test]
fn a_connection_has_proved_an_account_when_its_home_says_so() {
    let tcp = Flow { transport: Transport::Tcp, connection: 7, ..flow(1) };
    let mut w = World::new();
    for (response, flow, proved) in
        [("", tcp, vec![]), ("wrong", tcp, vec![]), ("right", flow(1), vec![]), ("right", tcp, vec![tcp])]
    {
        let credentials = format!(
            "\nAuthorization: Digest username=\"al\",realm=\"a.test\",nonce=\"nonce\",uri=\"sip:127.0.0.1\",response=\"{response}\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n\n"
        );
        let call = format!("{response}{:?}", flow.transport);
        let text = request("REGISTER", "sip:127.0.0.1", 1, &call, "al", "al", "");
        let text = if response.is_empty() { text } else { text.replace("\n\n", &credentials) };
        w.a.core.handle(w.now, Input::Message { flow, bytes: text.replace('\n', "\r\n").into_bytes() });
        w.a.drain(w.now);
        assert_eq!(w.a.proved, proved, "{response:?} over {:?}", flow.transport);
    }
}

/// RFC 3261 §8.1.1, §17.1.3: what is missing is said, where a branch tells the sender what the answer is to.
#[test]
fn a_request_without_a_cseq_is_answered_400_and_an_ack_never() {
    let mut w = World::new();
    let text = request("OPTIONS", "sip:127.0.0.1", 1, "c1", "alice", "bob", "");
    for (cseq, why) in [("", "missing"), ("CSeq: x OPTIONS\n", "no number"), ("CSeq: 1\n", "no method")] {
        w.a.phone(w.now, 1, &text.replace("CSeq: 7 OPTIONS\n", cseq));
        assert_eq!(w.a.got(1).status(), Some(400), "{why}");
    }
    let ack = text.replace("OPTIONS", "ACK").replace("CSeq: 7 ACK\n", "");
    w.a.phone(w.now, 1, &ack);
    let nameless = text.replace("CSeq: 7 OPTIONS\n", "").replace("branch=", "b=");
    w.a.phone(w.now, 1, &nameless);
    assert!(w.a.silent(1), "nothing says what an answer would be to");
}

/// No account has a name of more than 255 bytes, and what is called is kept while it rings and after.
#[test]
fn a_name_that_no_account_has_is_refused_before_anybody_is_asked() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.b.register(w.now, "bob", 2);
    let long = |user: usize| "x".repeat(user);
    for (why, from, to, expected) in [
        ("the longest target", "alice".to_owned(), long(248), 480),
        ("a longer one", "alice".to_owned(), long(249), 404),
        ("much longer", "alice".to_owned(), long(15_000), 404),
        ("a caller", long(250), "alice".to_owned(), 403),
    ] {
        w.a.phone(w.now, 1, &invite(1, &format!("c{}", to.len() + from.len()), &from, &to, "a.test"));
        let refused = w.a.got(1);
        assert_eq!(refused.status(), Some(expected), "{why}");
        let asks_for_password = refused.header(&Name::ProxyAuthenticate).is_some();
        assert!(!asks_for_password, "{why}");
    }
    // Of a peer's own realm, whose home vouches for any name.
    for (length, is_refused) in [(245, false), (246, true), (50_000, true)] {
        let caller = format!("{}@evil.dots", long(length));
        let via = format!("DOTS p{LABEL_A}.peer.dots");
        let text = invite(9, &format!("p{length}"), "eve", "bob", "evil.dots")
            .replace("sip:bob@127.0.0.1", "sip:bob@b.test")
            .replace("<sip:eve@127.0.0.1>", &format!("<sip:{caller}>"))
            .replace("UDP 127.0.0.1:9", &via)
            .replace('\n', "\r\n");
        w.b.handle(w.now, overlay(LABEL_A, text.into_bytes(), Some(caller)).expect("readable"));
        w.b.drain(w.now);
        assert_eq!(w.b.silent(2), is_refused, "{length}");
        let answer =
            w.b.to_peer.drain(..).next_back().map(|bytes| Message::parse(bytes).expect("readable").status());
        assert_eq!(answer == Some(Some(403)), is_refused, "{length}");
        w.b.inbox.clear();
    }
}
