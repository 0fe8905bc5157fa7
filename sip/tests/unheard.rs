//! What an address gets that somebody named and that never said anything.

mod common;

use common::*;
use dots_sip::{address::Addressing, core::Config, shards::Shards};
use std::net::SocketAddr;

const VICTIM: &str = "198.51.100.7:5060";
/// What may go there within the 40 s of these tests.
const BYTES_MAX: usize = 16_384 + 40 * 130 + 1_300;

/// alice (1) at A; the accounts of a.test may register Contacts anywhere.
fn open_office() -> World {
    let mut w = World::new();
    let addressing = Addressing {
        own_hosts: ["127.0.0.1".to_owned()].into(),
        default_realm: "a.test".into(),
        local_realms: ["a.test".to_owned()].into(),
        ..Addressing::default()
    };
    let config = Config {
        addressing,
        label: LABEL_A.into(),
        contacts_any: ["a.test".to_owned()].into(),
        ..Config::default()
    };
    w.a.core = Shards::new(config, [b'a'; 32], 1, 1);
    w.a.register(w.now, "alice", 1);
    w
}

/// bob names these Contacts.
fn register_at(w: &mut World, contacts: &[String]) {
    let contacts: String = contacts.iter().map(|uri| format!("Contact: <{uri}>\n")).collect();
    let text = format!(
        "REGISTER sip:a.test SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:2;branch=z9hG4bKreg2;rport\nMax-Forwards: 70\n\
         From: <sip:bob@a.test>;tag=f\nTo: <sip:bob@a.test>\nCall-ID: reg2\nCSeq: 1 REGISTER\n{contacts}\
         Authorization: Digest username=\"bob\",realm=\"a.test\",nonce=\"nonce\",uri=\"sip:a.test\",response=\"right\",\
         algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\nContent-Length: 0\n\n"
    );
    w.a.phone(w.now, 2, &text);
    assert_eq!(w.a.got(2).status(), Some(200));
}

/// So many requests from alice to bob, and 40 s: bytes of those that went to `at`.
fn ask(w: &mut World, method: &str, times: usize, at: SocketAddr) -> usize {
    for n in 0..times {
        let text = invite(1, &format!("{method}{n}"), "alice", "bob", "a.test").replace("INVITE", method);
        w.a.phone(w.now, 1, &text);
    }
    let end = w.now.mono + std::time::Duration::from_secs(40);
    while w.a.core.poll_timeout().is_some_and(|at| at < end) {
        w.a.wait(&mut w.now);
    }
    let to_it = w.a.inbox.iter().filter(|(flow, message)| flow.remote == at && message.is_request());
    to_it.map(|(_, message)| message.raw().len()).sum()
}

#[test]
fn a_contact_that_is_somebody_elses_gets_little_however_much_is_sent_to_it() {
    let victim: SocketAddr = VICTIM.parse().unwrap();
    for (why, method, contacts) in [
        ("many messages", "MESSAGE", 1),
        ("many calls", "INVITE", 1),
        ("ten Contacts on one socket", "MESSAGE", 10),
        ("ten Contacts that ring", "INVITE", 10),
    ] {
        let mut w = open_office();
        let contacts: Vec<String> = (0..contacts).map(|n| format!("sip:b{n}@{VICTIM}")).collect();
        register_at(&mut w, &contacts);
        let bytes = ask(&mut w, method, 60, victim);
        assert!((4_000..BYTES_MAX).contains(&bytes), "{why}: {bytes}");
        assert!(w.a.counts.contains(&"sip_unheard_unsent"), "{why}");
    }
}

#[test]
fn a_phone_that_registered_from_there_or_answered_gets_all() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    w.a.register(w.now, "bob", 2);
    let own: SocketAddr = "127.0.0.1:2".parse().unwrap();
    assert!(ask(&mut w, "MESSAGE", 60, own) > 4 * BYTES_MAX, "its nonce has reached it");

    let (mut w, there) = (open_office(), "198.51.100.7:5060".parse().unwrap());
    register_at(&mut w, &[format!("sip:b@{VICTIM}")]);
    w.a.phone(w.now, 1, &invite(1, "first", "alice", "bob", "a.test").replace("INVITE", "MESSAGE"));
    let at = w.a.inbox.iter().position(|(flow, _)| flow.remote == there).unwrap();
    let (flow, asked) = w.a.inbox.remove(at).unwrap();
    let bytes = answer(&asked, "200 OK", 5060).replace('\n', "\r\n").into_bytes();
    w.a.handle(w.now, dots_sip::Input::Message { flow, bytes });
    w.a.drain(w.now);
    assert!(ask(&mut w, "MESSAGE", 60, there) > 4 * BYTES_MAX);
}
