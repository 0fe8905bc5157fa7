//! While the home of a realm cannot be asked: who may still call, and on what evidence.

mod common;

use common::*;
use dots_sip::{Flow, Input, Transport, message::Message};

fn nonce_of(challenge: &Message) -> String {
    let text = String::from_utf8_lossy(challenge.raw()).into_owned();
    let (_, rest) = text.split_once("nonce=\"").expect("a nonce");
    rest.split('"').next().expect("its end").to_owned()
}

/// alice (1) and bob (2) of a.test, registered before its home was gone.
fn house() -> World {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.register(w.now, "bob", 2);
    w.a.is_home_away = true;
    w
}

fn call(port: u16, call: &str, nonce: &str) -> String {
    invite(port, call, "alice", "bob", "a.test").replace("nonce=\"nonce\"", &format!("nonce=\"{nonce}\""))
}

#[test]
fn an_invite_counts_when_its_sender_hears_where_it_comes_from() {
    let mut w = house();
    // Whoever writes alice's address on a datagram does not hear the challenge.
    for forged in
        [invite(1, "c1", "alice", "bob", "a.test"), call(1, "c2", "0123456789abcdef0123456789abcdef")]
    {
        w.a.phone(w.now, 1, &forged);
        assert_eq!((w.a.got(1).status(), w.a.silent(2)), (Some(407), true));
    }
    w.a.phone(w.now, 1, &request("INVITE", "sip:bob@127.0.0.1", 1, "c3", "alice", "bob", ""));
    let nonce = nonce_of(&w.a.got(1));
    // A nonce that was heard elsewhere opens nothing: not here, and not there.
    w.a.phone(w.now, 3, &request("INVITE", "sip:bob@127.0.0.1", 3, "c4", "alice", "bob", ""));
    let elsewhere = nonce_of(&w.a.got(3));
    w.a.phone(w.now, 1, &call(1, "c5", &elsewhere));
    assert_eq!((w.a.got(1).status(), w.a.silent(2)), (Some(407), true));
    w.a.phone(w.now, 3, &call(3, "c6", &elsewhere));
    assert_eq!((w.a.got(3).status(), w.a.silent(2)), (Some(503), true), "no phone is bound there");
    // Alice hears it.
    w.a.phone(w.now, 1, &call(1, "c7", &nonce));
    assert_eq!(w.a.got(2).method(), "INVITE");
}

#[test]
fn what_was_heard_is_soon_too_old() {
    let mut w = house();
    w.a.phone(w.now, 1, &request("INVITE", "sip:bob@127.0.0.1", 1, "c1", "alice", "bob", ""));
    let nonce = nonce_of(&w.a.got(1));
    w.now.wall_ms += 61_000;
    w.a.phone(w.now, 1, &call(1, "c2", &nonce));
    assert_eq!((w.a.got(1).status(), w.a.silent(2)), (Some(407), true));
}

/// Only calls go on; and a connection says by itself who hears on it.
#[test]
fn other_requests_wait_for_the_home_and_a_connection_needs_no_nonce() {
    let mut w = house();
    w.a.phone(w.now, 1, &request("MESSAGE", "sip:bob@127.0.0.1", 1, "c1", "alice", "bob", ""));
    assert_eq!(w.a.got(1).status(), Some(503));
    w.a.is_home_away = false;
    let tcp = Flow { transport: Transport::Tcp, connection: 7, ..flow(9) };
    let register = request(
        "REGISTER",
        "sip:127.0.0.1",
        9,
        "reg9",
        "carol",
        "carol",
        "Authorization: Digest username=\"carol\",realm=\"a.test\",nonce=\"nonce\",uri=\"sip:127.0.0.1\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n",
    );
    let says = |w: &mut World, flow: Flow, text: String| {
        let bytes = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace('\n', "\r\n").into_bytes();
        w.a.core.handle(w.now, Input::Message { flow, bytes });
        w.a.drain(w.now);
    };
    says(&mut w, tcp, register);
    assert_eq!(w.a.got(9).status(), Some(200));
    w.a.is_home_away = true;
    let text = request("INVITE", "sip:bob@127.0.0.1", 9, "c2", "carol", "bob", "");
    says(&mut w, Flow { connection: 8, ..tcp }, text.clone());
    assert_eq!((w.a.got(9).status(), w.a.silent(2)), (Some(503), true), "another connection is another flow");
    says(&mut w, tcp, text.replace("c2", "c3"));
    assert_eq!(w.a.got(2).method(), "INVITE");
}
