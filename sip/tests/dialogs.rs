//! What may be said in a dialog, how long, and on which way: tokens are capabilities, and these try to misuse them.

mod common;

use common::*;
use dots_sip::{
    Input,
    message::{Message, Name, NameAddr},
};

/// Requests that start something, or go on with what is over.
const NEW: [&str; 8] = ["MESSAGE", "REFER", "NOTIFY", "INFO", "INVITE", "UPDATE", "OPTIONS", "SUBSCRIBE"];

fn hang_up(w: &mut World, ok: &Message) {
    w.a.phone(w.now, 1, &in_dialog("BYE", 8, 1, ok, true, "c1"));
    w.carry();
    let bye = w.b.got(2);
    w.b.phone(w.now, 2, &answer(&bye, "200 OK", 2).replace(";tag=t2;tag=t2", ";tag=t2"));
    w.carry();
    assert_eq!(w.a.got(1).status(), Some(200));
}

/// `text` of a phone of A, as a peer that keeps no rule would send it on to B.
fn lawless(w: &mut World, text: &str) {
    let via = format!("DOTS p{LABEL_A}.peer.dots");
    let text = text.replace("UDP 127.0.0.1:1", &via).replace("<sip:alice@127.0.0.1>", "<sip:alice@a.test>");
    let text = text.replace("<sip:bob@127.0.0.1>", "<sip:bob@b.test>").replace('\n', "\r\n");
    let text = own_routes_only(&text, &["p", LABEL_A].concat());
    w.b.core.handle(w.now, overlay(LABEL_A, text.into_bytes(), None).expect("readable"));
    w.b.drain(w.now);
}

/// Without the Routes of the peer that sends it.
fn own_routes_only(text: &str, of: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("Route: ")).expect("Routes").to_owned();
    let routes = line.trim_start_matches("Route: ").split(", ");
    let left: Vec<&str> =
        routes.filter(|route| !route.contains(of) && !route.contains("127.0.0.1")).collect();
    text.replace(&line, &format!("Route: {}", left.join(", ")))
}

fn status(w: &mut World) -> Option<u16> {
    let bytes = w.b.to_peer.pop_back()?;
    w.b.to_peer.clear();
    Message::parse(bytes).expect("readable").status()
}

/// Attack 17, TOK-13.
#[test]
fn after_a_bye_nothing_reaches_the_phone() {
    let (mut w, ringing, ok) = across();
    hang_up(&mut w, &ok);
    for (method, cseq) in NEW.iter().zip(10..) {
        w.a.phone(w.now, 1, &in_dialog(method, cseq, 1, &ok, true, "c1"));
        assert!(w.a.to_peer.is_empty(), "{method} is not even sent on");
        assert_eq!(w.a.got(1).status(), Some(481), "{method}");
        w.b.phone(w.now, 2, &in_dialog(method, cseq, 2, &ringing, false, "c1"));
        assert_eq!(w.b.got(2).status(), Some(481), "{method} of the callee");
        let text = in_dialog(method, cseq, 1, &ok, true, "c1");
        // Another callee's tag makes no other dialog of it.
        for text in [text.clone(), text.replace(";tag=t2", ";tag=t3").replace("z9hG4bK", "z9hG4bKo")] {
            lawless(&mut w, &text);
            assert!(w.b.silent(2), "{method} of a peer that keeps no rule");
            assert_eq!(status(&mut w), Some(481), "{method}");
        }
    }
    // Both hung up at once.
    w.b.phone(w.now, 2, &in_dialog("BYE", 30, 2, &ringing, false, "c1"));
    w.carry();
    assert_eq!(w.a.got(1).method(), "BYE");
}

#[test]
fn a_call_that_failed_is_no_way_in() {
    let mut w = World::new();
    let (_, _, ok) = across();
    w.a.register(w.now, "alice", 1);
    w.b.register(w.now, "bob", 2);
    w.a.resolution = dots_sip::input::Resolution::Peers(vec![dots_sip::input::RemoteTarget {
        peer: LABEL_B.into(),
        q: 1000,
    }]);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob%40b.test", "a.test"));
    w.carry();
    let ringing = w.b.got(2);
    w.b.phone(w.now, 2, &answer(&ringing, "486 Busy Here", 2));
    assert_eq!(w.b.got(2).method(), "ACK");
    w.carry();
    for (method, cseq) in NEW.iter().zip(10..) {
        lawless(&mut w, &in_dialog(method, cseq, 1, &ok, true, "c1"));
        assert!(w.b.silent(2), "{method}");
    }
}

#[test]
fn after_an_account_was_removed_nothing_new_reaches_its_phones() {
    // The caller is not registered: it is reached on its flow, whatever became of its account.
    for gone in ["alice@a.test", "bob@b.test"] {
        let (mut w, ringing, ok) = across();
        for peer in [&mut w.a, &mut w.b] {
            peer.core.handle(w.now, Input::Gone { aor: gone.into() });
            peer.drain(w.now);
        }
        for (method, cseq) in NEW.iter().zip(10..) {
            lawless(&mut w, &in_dialog(method, cseq, 1, &ok, true, "c1"));
            assert!(w.b.silent(2), "{method}");
            assert_eq!(status(&mut w), Some(481));
            w.b.phone(w.now, 2, &in_dialog(method, cseq, 2, &ringing, false, "c1"));
            assert_eq!(w.b.got(2).status(), Some(481), "{method}");
        }
        w.b.phone(w.now, 2, &in_dialog("BYE", 30, 2, &ringing, false, "c1"));
        w.carry();
        assert_eq!(w.a.got(1).method(), "BYE", "the call that is up can be ended");
    }
}

/// The promise of the tokens: a peer that was restarted carries what keeps or ends a call. And no more, from others.
#[test]
fn a_restarted_peer_carries_its_calls_and_starts_nothing() {
    for (method, passes) in [
        ("BYE", true),
        ("INVITE", true),
        ("UPDATE", true),
        ("ACK", true),
        ("MESSAGE", false),
        ("REFER", false),
        ("NOTIFY", false),
        ("INFO", false),
    ] {
        let (mut w, ringing, ok) = across();
        w.b = Peer::new(LABEL_B, "b.test");
        w.b.register(w.now, "bob", 2);
        w.a.phone(w.now, 1, &in_dialog(method, 8, 1, &ok, true, "c1"));
        w.carry();
        assert_eq!(!w.b.silent(2), passes, "{method}");
        if passes {
            let heard = w.b.got(2);
            assert_eq!(heard.method(), method);
            assert_eq!(heard.from().expect("From").uri(), "sip:alice@a.test", "as the token knows her");
            assert_eq!(heard.uri(), Some("sip:bob@127.0.0.1:2"));
        } else {
            assert_eq!(w.a.got(1).status(), Some(403), "{method}: the call is not ended by it (RFC 5057)");
        }
        // What our own phone says passes, and shows that the dialog is up.
        if method != "BYE" {
            w.b.phone(w.now, 2, &in_dialog("UPDATE", 30, 2, &ringing, false, "c1"));
            w.carry();
            assert_eq!(w.a.got(1).method(), "UPDATE");
            w.a.phone(w.now, 1, &in_dialog("INFO", 31, 1, &ok, true, "c1"));
            w.carry();
            assert_eq!(w.b.got(2).method(), "INFO", "after {method}");
        }
    }
}

/// Both ends agree to a re-INVITE: the dialog is known again.
#[test]
fn a_call_is_remembered_again_when_it_is_refreshed() {
    let (mut w, _, ok) = across();
    w.b = Peer::new(LABEL_B, "b.test");
    w.b.register(w.now, "bob", 2);
    w.a.phone(w.now, 1, &in_dialog("INVITE", 8, 1, &ok, true, "c1"));
    w.carry();
    let again = w.b.got(2);
    w.b.phone(w.now, 2, &answer(&again, "200 OK", 2).replacen(";tag=t2;tag=t2", ";tag=t2", 1));
    w.carry();
    assert_eq!(w.a.got(1).status(), Some(200));
    w.a.phone(w.now, 1, &in_dialog("INFO", 9, 1, &ok, true, "c1"));
    w.carry();
    assert_eq!(w.b.got(2).method(), "INFO");
}

/// TOK-12: after a restart nobody remembers who was vouched for: the token does.
#[test]
fn a_peer_that_lies_about_its_caller_to_a_restarted_one_is_refused() {
    let (mut w, _, ok) = across();
    w.b = Peer::new(LABEL_B, "b.test");
    w.b.register(w.now, "bob", 2);
    let text = in_dialog("UPDATE", 8, 1, &ok, true, "c1");
    for (n, forged) in ["<sip:boss@b.test>", "<sip:alice@b.test>", "\"x\" <sip:Alice@a.test>", "<tel:110>"]
        .iter()
        .enumerate()
    {
        let text = text.replace("<sip:alice@127.0.0.1>", forged).replace("z9hG4bK", &format!("z9hG4bK{n}"));
        lawless(&mut w, &text);
        assert!(w.b.silent(2), "{forged}");
        assert_eq!(status(&mut w), Some(403), "{forged}");
    }
    lawless(&mut w, &text);
    assert_eq!(w.b.got(2).header(&Name::From), Some("<sip:alice@a.test>;tag=f1"));
}

/// TOK-11: a day after its last use a token opens nothing; a call that is used goes on.
#[test]
fn a_token_ends_a_day_after_its_dialog_was_used() {
    let (mut w, _, ok) = across();
    let hours = |w: &mut World, hours: u64| w.now.wall_ms += hours * 3_600_000;
    let register = |w: &mut World, n: u32| {
        for (peer, user, port) in [(&mut w.a, "alice", 1), (&mut w.b, "bob", 2)] {
            let credentials = format!(
                "Authorization: Digest username=\"{user}\",realm=\"{}\",nonce=\"nonce\",uri=\"sip:127.0.0.1\",\
                 response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n",
                peer.realm
            );
            let text = request("REGISTER", "sip:127.0.0.1", port, &format!("r{n}"), user, user, &credentials);
            peer.phone(w.now, port, &text);
            assert_eq!(peer.got(port).status(), Some(200));
        }
    };
    for cseq in 8..11 {
        hours(&mut w, 20);
        register(&mut w, cseq);
        w.a.phone(w.now, 1, &in_dialog("INFO", cseq, 1, &ok, true, "c1"));
        w.carry();
        assert_eq!(w.b.got(2).method(), "INFO", "{cseq}");
    }
    hours(&mut w, 25);
    register(&mut w, 20);
    for method in ["BYE", "INVITE", "INFO"] {
        lawless(&mut w, &in_dialog(method, 20, 1, &ok, true, "c1"));
        assert!(w.b.silent(2), "{method}");
        assert_eq!(status(&mut w), Some(481));
    }
}

/// TOK-14: a peer cannot make a phone answer, reboot or subscribe by a NOTIFY that it did not ask for.
#[test]
fn reports_come_to_who_sent_the_refer_and_to_nobody_else() {
    let (mut w, ringing, ok) = across();
    let notify = |text: String, event: &str| {
        text.replace("Content-Length", &format!("Event: {event}\nContent-Length"))
    };
    for event in ["talk", "check-sync", "refer", "dialog"] {
        w.b.phone(w.now, 2, &notify(in_dialog("NOTIFY", 1, 2, &ringing, false, "c1"), event));
        w.carry();
        assert!(w.a.silent(1), "{event}");
        assert_eq!(w.b.got(2).status(), Some(403), "{event}");
    }
    w.a.phone(w.now, 1, &in_dialog("REFER", 8, 1, &ok, true, "c1"));
    w.carry();
    assert_eq!(w.b.got(2).method(), "REFER");
    // alice hangs up at once; what becomes of her transfer she still hears.
    w.a.phone(w.now, 1, &in_dialog("BYE", 9, 1, &ok, true, "c1"));
    w.carry();
    assert_eq!(w.b.got(2).method(), "BYE");
    for (event, passes) in [("talk", false), ("refer;id=8", true)] {
        w.b.phone(
            w.now,
            2,
            &notify(in_dialog("NOTIFY", 3, 2, &ringing, false, "c1"), event)
                .replace("z9hG4bK", &format!("z9hG4bK{passes}")),
        );
        w.carry();
        assert_eq!(!w.a.silent(1), passes, "{event}");
    }
}

/// TOK-8.
#[test]
fn a_route_is_followed_where_it_is_ours_and_nothing_goes_past_another() {
    for (why, behind, heard) in [
        ("nothing more", "", true),
        ("we ourselves", ", <sip:127.0.0.1;lr>", true),
        ("we, by our name on the overlay", ", <sip:pbbbbccccddddeeeeffffgggghhhh3333.peer.dots;lr>", true),
        ("the phone itself", ", <sip:127.0.0.1:2;lr>", true),
        ("a stranger", ", <sip:192.0.2.66;lr>", false),
        ("a stranger by name", ", <sip:proxy.example;lr>", false),
        ("the phone's own proxy, by another port", ", <sip:127.0.0.1:3;lr>", true),
        ("the same without a port", ", <sip:127.0.0.1;lr;transport=udp>", true),
        ("another address", ", <sip:127.0.0.2:2;lr>", false),
        ("another peer", ", <sip:pzzzz.peer.dots;lr>", false),
        ("what cannot be read", ", <sip:>", false),
        ("a stranger behind the phone", ", <sip:127.0.0.1:2;lr>, <sip:192.0.2.66;lr>", true),
        ("the phone's own proxy, with a word of its own", ", <sip:aaaabbbb@127.0.0.1;lr>", true),
        ("a token of nobody's", ", <sip:aaaabbbb@127.0.0.9;lr>", false),
    ] {
        let (mut w, _, ok) = across();
        let text = in_dialog("INFO", 8, 1, &ok, true, "c1");
        let line = text.lines().find(|line| line.starts_with("Route: ")).expect("Routes").to_owned();
        let far = line.split(", ").find(|route| route.contains(LABEL_B)).expect("B's own").to_owned();
        let text = text.replace(&line, &format!("Route: {}{behind}", far.trim_start_matches("Route: ")));
        let via = format!("DOTS p{LABEL_A}.peer.dots");
        let text = text.replace("UDP 127.0.0.1:1", &via).replace('\n', "\r\n");
        w.b.core.handle(w.now, overlay(LABEL_A, text.into_bytes(), None).expect("readable"));
        w.b.drain(w.now);
        assert_eq!(
            !w.b.silent(2),
            heard,
            "{why}: {:?}",
            w.b.to_peer.back().map(|b| String::from_utf8_lossy(b).into_owned())
        );
        if !heard {
            let refused = Message::parse(w.b.to_peer.pop_back().expect("an answer")).expect("readable");
            assert_eq!((refused.status(), refused.reason()), (Some(403), "Route Not Ours"), "{why}");
        }
    }
}

/// TOK-5, §16.4: a strict router puts our own Route into the Request-URI, and what it found there behind all others.
#[test]
fn what_a_strict_router_did_is_mended() {
    let (mut w, _, ok) = across();
    let text = in_dialog("INFO", 8, 1, &ok, true, "c1");
    let routes: Vec<String> = ok.values(&Name::RecordRoute).map(str::to_owned).collect();
    let [far, near] = &routes[..] else { panic!("two: {routes:?}") };
    let contact = ok.header(&Name::Contact).expect("a Contact");
    let uri = NameAddr::parse(contact).expect("readable").uri().to_owned();
    let line = text.lines().find(|line| line.starts_with("Route: ")).expect("Routes").to_owned();
    let near_uri = NameAddr::parse(near).expect("readable").uri().to_owned();
    let text = text.replacen(&uri, &near_uri, 1).replace(&line, &format!("Route: {far}, {contact}"));
    w.a.phone(w.now, 1, &text);
    let sent = Message::parse(w.a.to_peer.front().expect("an INFO").clone()).expect("readable");
    assert_eq!(sent.uri(), Some(uri.as_str()));
    assert_eq!(sent.values(&Name::Route).collect::<Vec<_>>(), [far.as_str()]);
    w.carry();
    let info = w.b.got(2);
    assert_eq!((info.uri(), info.header(&Name::Route)), (Some("sip:bob@127.0.0.1:2"), None));
}

/// Outside a dialog as well: a client that takes us for a strict router.
#[test]
fn a_first_request_through_us_as_a_strict_router_is_mended() {
    let World { now, mut a, .. } = World::new();
    a.register(now, "alice", 1);
    a.register(now, "bob", 2);
    let text = invite(1, "c1", "alice", "bob", "a.test")
        .replace("INVITE sip:bob@127.0.0.1 ", "INVITE sip:127.0.0.1:5060 ")
        .replace("Max-Forwards", "Route: <sip:bob@127.0.0.1>\nMax-Forwards");
    a.phone(now, 1, &text);
    let ringing = a.got(2);
    assert_eq!((ringing.uri(), ringing.header(&Name::Route)), (Some("sip:bob@127.0.0.1:2"), None));
    for route in ["<sip:bob@192.0.2.1>", "<sip:127.0.0.1;lr>, <sip:192.0.2.1;lr>"] {
        let text = text
            .replace("<sip:bob@127.0.0.1>\nMax", &format!("{route}\nMax"))
            .replace("c1", route.len().to_string().as_str());
        a.phone(now, 1, &text);
        assert!(a.silent(2), "{route}");
    }
}

/// Phones write the domain of their account for the proxy that they were told, outside dialogs and inside (§16.4).
#[test]
fn a_realm_of_ours_is_a_name_of_this_proxy() {
    for (why, route, passes) in [
        ("our realm", "<sip:b.test;lr>", true),
        ("in capitals, with a port and a dot", "<sip:B.Test.:5060;transport=udp;lr>", true),
        ("our realm and our address", "<sip:b.test;lr>, <sip:127.0.0.1;lr>", true),
        ("without lr", "<sip:b.test>", true),
        ("another realm", "<sip:a.test;lr>", false),
        ("a name below it", "<sip:proxy.b.test;lr>", false),
        ("ours, and then a stranger", "<sip:b.test;lr>, <sip:192.0.2.66;lr>", false),
    ] {
        let World { now, mut b, .. } = World::new();
        b.register(now, "carol", 3);
        b.register(now, "bob", 2);
        let routed =
            |text: String| text.replacen("Max-Forwards", &format!("Route: {route}\nMax-Forwards"), 1);
        b.phone(now, 3, &routed(invite(3, "c1", "carol", "bob", "b.test")));
        assert_eq!(!b.silent(2), passes, "{why}");
        if !passes {
            assert_eq!(b.got(3).status(), Some(403), "{why}");
            continue;
        }
        let ringing = b.got(2);
        assert_eq!(ringing.header(&Name::Route), None, "{why}");
        b.phone(now, 2, &answer(&ringing, "200 OK", 2));
        let ok = b.got(3);
        for (method, cseq) in [("ACK", 7), ("INFO", 8), ("BYE", 9)] {
            let text = in_dialog(method, cseq, 3, &ok, true, "c1");
            b.phone(now, 3, &text.replacen("Route: ", &format!("Route: {route}, "), 1));
            assert_eq!(b.got(2).method(), method, "{why}: before our token");
        }
    }
    // Behind our token it may be another proxy of that realm, at a port of its own.
    let (mut w, _, ok) = across();
    let text = in_dialog("INFO", 8, 1, &ok, true, "c1");
    let line = text.lines().find(|line| line.starts_with("Route: ")).expect("Routes").to_owned();
    w.a.phone(w.now, 1, &text.replace(&line, &format!("{line}, <sip:b.test:5080;lr>")));
    w.carry();
    assert!(w.b.silent(2), "nothing goes past a Route that may be somebody else's");
}

/// Call-ID and From-tag of a dialog that is up, in a new request of other accounts: each has a dialog of its own.
#[test]
fn a_dialogs_names_are_nobody_elses() {
    for accomplice_answers in [None, Some("180 Ringing"), Some("200 OK"), Some("486 Busy Here")] {
        let (mut w, ringing, ok) = across();
        w.b.register(w.now, "carol", 3);
        let first = String::from_utf8(w.wire.first().expect("the INVITE").clone()).expect("text");
        let mut at = 0;
        let mut again = |w: &mut World, caller: &str, callee: &str| {
            at += 1;
            let text = first.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{at}"));
            let text = text.replace("alice@a.test", caller).replace("bob@b.test", callee);
            w.b.handle(
                w.now,
                overlay(LABEL_A, text.into_bytes(), Some(caller.to_owned())).expect("readable"),
            );
            w.b.drain(w.now);
        };
        for (caller, callee, port) in [
            ("eve@b.test", "carol@b.test", 3),
            ("eve@a.test", "bob@b.test", 2),
            ("alice@a.test", "carol@b.test", 3),
        ] {
            again(&mut w, caller, callee);
            let invite = w.b.got(port);
            assert_eq!(invite.method(), "INVITE", "{caller} to {callee}: nobody is refused");
            if let Some(status) = accomplice_answers {
                w.b.phone(
                    w.now,
                    port,
                    &answer(&invite, status, 30 + port).replace("127.0.0.1:3", "127.0.0.1:"),
                );
                while !w.b.silent(port) {
                    w.b.got(port);
                }
            }
        }
        w.b.to_peer.clear();
        // The dialog is whose it was, in both directions: a stranger's to bob, who sees alice.
        w.a.phone(w.now, 1, &in_dialog("INFO", 8, 1, &ok, true, "c1"));
        w.carry();
        assert_eq!(w.b.got(2).from().expect("From").uri(), "sip:alice%40a.test@127.0.0.1");
        for (method, cseq) in [("NOTIFY", 20), ("SUBSCRIBE", 21)] {
            lawless(&mut w, &in_dialog(method, cseq, 1, &ok, true, "c1"));
            assert!(w.b.silent(2), "{method}: still from a stranger");
            assert_eq!(status(&mut w), Some(403));
        }
        // By her token and the tag that another gave: no leg of hers.
        for (method, cseq) in [("MESSAGE", 30), ("REFER", 31), ("INFO", 32)] {
            let text = in_dialog(method, cseq, 1, &ok, true, "c1");
            for tag in ["t33", "t32"] {
                let text = text
                    .replace(";tag=t2", &format!(";tag={tag}"))
                    .replace("z9hG4bK", &format!("z9hG4bK{tag}"));
                lawless(&mut w, &text);
                assert!(w.b.silent(2), "{method} with {tag}, {accomplice_answers:?}");
                assert_eq!(status(&mut w), Some(481), "{method} with {tag}");
            }
        }
        w.b.phone(w.now, 2, &in_dialog("INFO", 9, 2, &ringing, false, "c1"));
        w.carry();
        assert_eq!(w.a.got(1).method(), "INFO");
        // The same two again (another way here, or a request that was sent anew) are no others.
        again(&mut w, "alice@a.test", "bob@b.test");
        assert_eq!(w.b.got(2).method(), "INVITE");
    }
}

/// TOK-15: a BYE that is refused ends nothing, at neither peer; one that is believed does.
#[test]
fn a_call_is_over_when_its_bye_is_believed() {
    use dots_sip::output::CallProgress;
    let ended = |peer: &Peer| peer.calls.iter().filter(|c| matches!(c, CallProgress::Ended { .. })).count();
    for (why, cseq, body, refusal, at_a, at_b) in [
        ("an old CSeq", 1, "", Some("500 Server Internal Error"), false, false),
        ("a body", 8, "x", Some("415 Unsupported Media Type"), false, false),
        ("believed", 8, "", Some("200 OK"), true, true),
        ("the phone knows nothing of it", 8, "", Some("481 Gone"), true, true),
        ("a phone that does not let go", 8, "", Some("500 No"), false, true),
        ("silence", 8, "", None, true, true),
    ] {
        let (mut w, _, ok) = across();
        let bye = in_dialog("BYE", cseq, 1, &ok, true, "c1").replace(
            "Content-Length: 0\n\n",
            &format!("Require: nonsense\nContent-Length: {}\n\n{body}", body.len()),
        );
        w.a.phone(w.now, 1, &bye);
        w.carry();
        let heard = w.b.got(2);
        assert_eq!((heard.method(), heard.header(&Name::Require)), ("BYE", None), "{why}");
        assert_eq!((ended(&w.a), ended(&w.b)), (0, 0), "{why}: said, and not yet answered");
        match refusal {
            Some(status) => {
                w.b.phone(w.now, 2, &answer(&heard, status, 2).replace(";tag=t2;tag=t2", ";tag=t2"));
                w.carry();
            }
            None => {
                let mut now = w.now;
                while ended(&w.b) == 0 {
                    w.b.wait(&mut now);
                }
                w.now = now;
                w.carry();
            }
        }
        assert_eq!((ended(&w.a), ended(&w.b)), (usize::from(at_a), usize::from(at_b)), "{why}");
        w.a.phone(w.now, 1, &in_dialog("INFO", 20, 1, &ok, true, "c1"));
        w.carry();
        w.b.counts.clear();
        assert_eq!(w.b.inbox.iter().any(|(_, m)| m.method() == "INFO"), !at_a && !at_b, "{why}");
    }
}

/// RFC 6665 §4.1.2.4, over two peers.
#[test]
fn a_notify_that_overtakes_the_answer_to_its_subscribe_passes() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.b.register(w.now, "bob", 2);
    w.a.resolution = dots_sip::input::Resolution::Peers(vec![dots_sip::input::RemoteTarget {
        peer: LABEL_B.into(),
        q: 1000,
    }]);
    let subscribe = invite(1, "c1", "alice", "bob%40b.test", "a.test").replace("INVITE", "SUBSCRIBE");
    w.a.phone(w.now, 1, &subscribe);
    w.carry();
    let heard = w.b.got(2);
    assert_eq!(heard.method(), "SUBSCRIBE");
    let notify = |cseq, state: &str| {
        in_dialog("NOTIFY", cseq, 2, &heard, false, "c1").replace(
            "Content-Length",
            &format!(
                "Event: presence\nSubscription-State: {state}\nContact: <sip:bob@127.0.0.1:2>\nContent-Length"
            ),
        )
    };
    w.b.phone(w.now, 2, &notify(1, "active"));
    w.carry();
    let first = w.a.got(1);
    assert_eq!(first.method(), "NOTIFY", "before its 200");
    // RFC 6665 §4.4.1: her way back is the one that the NOTIFY came.
    assert_eq!(first.values(&Name::RecordRoute).count(), 2);
    let refresh = in_dialog("SUBSCRIBE", 8, 1, &first, false, "c1").replace(";tag=f1;tag=t1", ";tag=f1");
    w.a.phone(w.now, 1, &refresh);
    w.carry();
    let refreshed = w.b.got(2);
    assert_eq!((refreshed.method(), refreshed.uri()), ("SUBSCRIBE", Some("sip:bob@127.0.0.1:2")));
    w.b.phone(w.now, 2, &answer(&heard, "200 OK", 2));
    w.carry();
    assert_eq!(w.a.got(1).status(), Some(200));
    w.b.phone(w.now, 2, &notify(2, "terminated"));
    w.carry();
    assert_eq!(w.a.got(1).method(), "NOTIFY");
    // Of several cores the one that has the NOTIFY did not see the SUBSCRIBE, and knows only the tags that it heard.
    let is_shared = module_path!().starts_with("four_cores");
    let other = notify(4, "active").replace("tag=t2", "tag=t9");
    for text in [Some(notify(3, "active")), Some(other).filter(|_| !is_shared)].into_iter().flatten() {
        w.b.phone(w.now, 2, &text);
        w.carry();
        assert!(w.a.silent(1), "it is over, under whatever tag");
    }
}

/// RFC 3261 §8.1.3.4: after a 302 the caller asks somebody else, under the same Call-ID and tag.
#[test]
fn a_call_that_failed_leaves_its_names_to_the_caller() {
    for refusal in ["302 Moved Temporarily", "486 Busy Here"] {
        let mut w = World::new();
        w.b.register(w.now, "alice", 1);
        w.b.register(w.now, "bob", 2);
        w.b.register(w.now, "carol", 3);
        w.b.phone(w.now, 1, &invite(1, "c1", "alice", "bob", "b.test"));
        let ringing = w.b.got(2);
        w.b.phone(w.now, 2, &answer(&ringing, refusal, 2));
        assert_eq!(w.b.got(2).method(), "ACK");
        assert_eq!(w.b.got(1).status(), refusal[..3].parse().ok());
        let next = invite(1, "c1", "alice", "carol", "b.test").replace("z9hG4bK", "z9hG4bKnext");
        w.b.phone(w.now, 1, &next);
        assert_eq!(w.b.got(3).method(), "INVITE", "{refusal}");
    }
}
