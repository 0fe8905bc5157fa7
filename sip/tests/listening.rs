//! Phones that send from one port and listen on another: answers, calls, fallback, and strangers that have to prove it.

mod common;

use common::*;
use dots_sip::{
    Flow, Input, Transport,
    input::{RemoteTarget, Resolution},
    message::{Message, Name},
};

/// A REGISTER sent from one port, whose Via and Contact name another (`listens`).
fn register_from(listens: u16, user: &str, realm: &str, cseq: u32) -> String {
    format!(
        "REGISTER sip:{realm} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:{listens};branch=z9hG4bKreg{listens}x{cseq}\n\
         Max-Forwards: 70\nFrom: <sip:{user}@{realm}>;tag=f\nTo: <sip:{user}@{realm}>\nCall-ID: reg{listens}\n\
         CSeq: {cseq} REGISTER\nContact: <sip:{user}@127.0.0.1:{listens}>\nAuthorization: Digest username=\"{user}\",\
         realm=\"{realm}\",nonce=\"nonce\",uri=\"sip:{realm}\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,\
         cnonce=\"x\"\nContent-Length: 0\n\n"
    )
}

/// alice (1) at A, and bob, who sends from 40001 and listens at 6001.
fn office() -> World {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.phone(w.now, 40_001, &register_from(6001, "bob", "a.test", 1));
    assert_eq!(w.a.got(6001).status(), Some(200), "answered at the port in Via (RFC 3261 §18.2.2)");
    assert!(w.a.silent(40_001));
    w
}

#[test]
fn a_call_reaches_the_port_where_the_phone_listens() {
    let mut w = office();
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let ringing = w.a.got(6001);
    assert_eq!((ringing.method(), w.a.silent(40_001)), ("INVITE", true));
    w.a.phone(w.now, 6001, &answer(&ringing, "200 OK", 6001));
    let ok = w.a.got(1);
    w.a.phone(w.now, 1, &in_dialog("ACK", 7, 1, &ok, true, "c1"));
    assert_eq!(w.a.got(6001).method(), "ACK");
    // The phone hangs up from there; and the other way round.
    w.a.phone(w.now, 6001, &in_dialog("BYE", 1, 6001, &ringing, false, "c1"));
    let bye = w.a.got(1);
    w.a.phone(w.now, 1, &answer(&bye, "200 OK", 1));
    assert_eq!(w.a.got(6001).status(), Some(200));
}

#[test]
fn a_silent_port_is_passed_over_after_two_seconds_for_calls_and_for_all_else() {
    for method in ["INVITE", "MESSAGE"] {
        let mut w = office();
        let begun = w.now.mono;
        w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "a.test").replace("INVITE", method));
        let mut sent = 0;
        while w.a.silent(40_001) {
            w.a.wait(&mut w.now);
        }
        while !w.a.silent(6001) {
            sent += usize::from(w.a.got(6001).method() == method);
        }
        assert_eq!(sent, 3, "at 0, 0.5 and 1.5 s");
        assert_eq!((w.now.mono - begun).as_millis(), 2000, "{method}");
        let asked = w.a.got(40_001);
        assert_eq!(asked.method(), method);
        w.a.phone(w.now, 40_001, &answer(&asked, "200 OK", 40_001));
        let ok = w.a.got(1);
        assert_eq!(ok.status(), Some(200));
        if method == "INVITE" {
            w.a.phone(w.now, 1, &in_dialog("ACK", 7, 1, &ok, true, "c1"));
            assert_eq!(w.a.got(40_001).method(), "ACK", "at the port that answered, too");
        }
    }
}

#[test]
fn a_port_that_rings_is_silent_no_more() {
    let mut w = office();
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let ringing = w.a.got(6001);
    w.a.phone(w.now, 6001, &answer(&ringing, "180 Ringing", 6001));
    for _ in 0..3 {
        w.a.wait(&mut w.now);
    }
    assert!(w.a.silent(40_001), "its flow is left alone");
}

#[test]
fn who_hangs_up_within_the_two_seconds_rings_nobody() {
    let mut w = office();
    let call = invite(1, "c1", "alice", "bob", "a.test");
    w.a.phone(w.now, 1, &call);
    let cancel = call.replace("INVITE sip", "CANCEL sip").replace("7 INVITE", "7 CANCEL");
    w.a.phone(w.now, 1, &cancel);
    while w.a.core.poll_timeout().is_some_and(|at| at - w.now.mono < std::time::Duration::from_secs(40)) {
        w.a.wait(&mut w.now);
    }
    assert!(w.a.silent(40_001));
}

/// bob of b.test, who roams at A and sends from 40001.
fn roaming(listens: u16) -> World {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.phone(w.now, 40_001, &register_from(listens, "bob", "b.test", 1));
    w
}

fn call_bob(w: &mut World, call: &str) {
    let text = invite(1, call, "alice", "bob", "a.test").replace("bob@127.0.0.1", "bob@b.test");
    w.a.phone(w.now, 1, &text);
}

#[test]
fn a_strangers_other_port_counts_once_it_answered() {
    let mut w = roaming(6001);
    assert_eq!(w.a.got(6001).status(), Some(200));
    let ping = w.a.got(6001);
    assert!(ping.method() == "OPTIONS" && ping.raw().len() <= 500, "{} bytes", ping.raw().len());
    call_bob(&mut w, "c1");
    assert_eq!(w.a.got(40_001).method(), "INVITE", "not proven yet");
    assert!(w.a.silent(6001));
    w.a.phone(w.now, 6001, &answer(&ping, "404 Not Found", 6001));
    call_bob(&mut w, "c2");
    assert_eq!(w.a.got(6001).method(), "INVITE");
    // A refresh keeps it and asks no more.
    w.a.phone(w.now, 40_001, &register_from(6001, "bob", "b.test", 2));
    assert_eq!(w.a.got(6001).status(), Some(200));
    assert!(w.a.silent(6001));
    call_bob(&mut w, "c3");
    assert_eq!(w.a.got(6001).method(), "INVITE");
}

#[test]
fn nobody_answers_for_another_branch_or_makes_us_call_ourselves() {
    let mut w = roaming(6001);
    assert_eq!(w.a.got(6001).status(), Some(200));
    let ping = w.a.got(6001);
    let forged = answer(&ping, "200 OK", 6001).replace("branch=z9hG4bK", "branch=z9hG4bKf");
    w.a.phone(w.now, 6001, &forged);
    call_bob(&mut w, "c1");
    assert_eq!(w.a.got(40_001).method(), "INVITE");

    let mut w = roaming(5060);
    assert_eq!(w.a.got(40_001).status(), Some(200), "5060 is ours");
    assert!(w.a.silent(5060));
}

/// Where bob is asked, and how, when alice calls.
fn asked(w: &mut World, call: &str, realm: &str) -> Flow {
    let text = invite(1, call, "alice", "bob", "a.test").replace("bob@127.0.0.1", &format!("bob@{realm}"));
    w.a.phone(w.now, 1, &text);
    let at = w.a.inbox.iter().position(|(_, message)| message.method() == "INVITE" && message.is_request());
    w.a.inbox.remove(at.expect("somebody is asked")).expect("it was found there").0
}

/// Over TCP: for an account of ours a connection is opened to the port that it names, for others none is.
#[test]
fn a_connection_is_opened_for_own_accounts_and_for_no_others() {
    for (realm, is_own) in [("a.test", true), ("b.test", false)] {
        let mut w = World::new();
        w.a.register(w.now, "alice", 1);
        let by_tcp =
            register_from(6001, "bob", realm, 1).replace("127.0.0.1:6001>", "127.0.0.1:6001;transport=tcp>");
        w.a.phone(w.now, 40_001, &by_tcp);
        assert_eq!(w.a.got(6001).status(), Some(200));
        assert!(w.a.silent(6001), "nobody is asked by TCP whether he is there");
        let flow = asked(&mut w, "c1", realm);
        let expected = if is_own { (Transport::Tcp, 6001) } else { (Transport::Udp, 40_001) };
        assert_eq!(
            (flow.transport, flow.remote.port(), flow.connection),
            (expected.0, expected.1, 0),
            "{realm}"
        );
        if is_own {
            // Refused: its flow is asked at once.
            w.a.core.handle(w.now, Input::FlowClosed { flow });
            w.a.drain(w.now);
            assert_eq!(w.a.got(40_001).method(), "INVITE");
        }
    }
}

/// A phone on TCP whose connection is gone can be called where it listens, if it may: at the port that its own
/// connection came from anybody.
#[test]
fn a_phone_whose_connection_is_gone_is_called_where_it_listens() {
    for (realm, listens, called) in [
        ("a.test", 40_001, Some(40_001)),
        ("b.test", 40_001, Some(40_001)),
        ("a.test", 6001, Some(6001)),
        ("b.test", 6001, None),
    ] {
        let mut w = World::new();
        w.a.register(w.now, "alice", 1);
        let text = register_from(listens, "bob", realm, 1)
            .replace(&format!("127.0.0.1:{listens}>"), &format!("127.0.0.1:{listens};transport=tcp>"))
            .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        let tcp = Flow { transport: Transport::Tcp, connection: 7, ..flow(40_001) };
        w.a.core.handle(w.now, Input::Message { flow: tcp, bytes: text.replace('\n', "\r\n").into_bytes() });
        w.a.drain(w.now);
        assert_eq!(w.a.got(40_001).status(), Some(200));
        let first = asked(&mut w, "c1", realm);
        let is_other = called == Some(6001);
        assert_eq!(
            first.connection,
            if is_other { 0 } else { 7 },
            "{realm} {listens}: while its connection stands"
        );
        w.a.core.handle(w.now, Input::FlowClosed { flow: tcp });
        w.a.drain(w.now);
        match called {
            Some(port) => {
                let then = asked(&mut w, "c2", realm);
                assert_eq!((then.connection, then.remote.port()), (0, port), "{realm} {listens}");
            }
            None => {
                let text = invite(1, "c2", "alice", "bob", "a.test").replace("bob@127.0.0.1", "bob@b.test");
                w.a.inbox.clear();
                w.a.phone(w.now, 1, &text);
                assert_eq!(w.a.got(1).status(), Some(480));
            }
        }
    }
}

/// A phone that names no address of its own in Via, as behind a NAT, is answered and called on its flow as before.
#[test]
fn behind_a_nat_only_the_flow_counts() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    let behind = register_from(6001, "bob", "a.test", 1).replace("UDP 127.0.0.1:6001", "UDP 10.0.0.9:6001");
    w.a.phone(w.now, 40_001, &behind);
    let ok = w.a.got(40_001);
    assert_eq!(ok.status(), Some(200));
    assert_eq!(ok.via().and_then(|via| via.param("rport").map(str::to_owned)).as_deref(), Some("40001"));
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1 }]);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "a.test"));
    let asked: Message = w.a.got(40_001);
    assert_eq!((asked.method(), w.a.silent(6001)), ("INVITE", true));
    assert!(asked.header(&Name::Route).is_none());
}
