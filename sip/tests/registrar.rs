//! Whom the registrar serves, and what one who wants too much takes from others.

mod common;

use common::*;
use dots_sip::{
    core::{Config, Serve},
    message::Message,
    shards::Shards,
};

/// A REGISTER with the right password, of `user` at `realm`, from `port`.
fn register(realm: &str, user: &str, port: u16, cseq: u32, contact: &str) -> String {
    format!(
        "REGISTER sip:{realm} SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKr{user}{port}x{cseq};rport\n\
         Max-Forwards: 70\nFrom: <sip:{user}@{realm}>;tag=f\nTo: <sip:{user}@{realm}>\nCall-ID: reg{user}{port}\n\
         CSeq: {cseq} REGISTER\nContact: {contact}\nAuthorization: Digest username=\"{user}\",realm=\"{realm}\",\
         nonce=\"nonce\",uri=\"sip:{realm}\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n\
         Content-Length: 0\n\n"
    )
}

fn contact(user: &str, port: u16) -> String {
    format!("<sip:{user}@127.0.0.1:{port}>")
}

impl World {
    fn registers(&mut self, realm: &str, user: &str, port: u16) -> Message {
        self.a.phone(self.now, port, &register(realm, user, port, 1, &contact(user, port)));
        self.a.got(port)
    }
}

#[test]
fn who_serves_his_own_realms_serves_no_other() {
    let mut w = World::new();
    w.a.core = {
        let addressing = dots_sip::address::Addressing {
            own_hosts: ["127.0.0.1".to_owned()].into(),
            default_realm: "a.test".into(),
            local_realms: ["a.test".to_owned()].into(),
            ..Default::default()
        };
        let config = Config { addressing, label: LABEL_A.into(), serve: Serve::Own, ..Config::default() };
        Shards::new(config, [1; 32], 1, 1)
    };
    assert_eq!(w.registers("a.test", "bob", 2).status(), Some(200));
    for realm in ["b.test", "x.a.test", "a.test.b.test"] {
        let refused = w.registers(realm, "eve", 3);
        assert_eq!(refused.status(), Some(403), "{realm}");
        assert!(String::from_utf8_lossy(refused.raw()).starts_with("SIP/2.0 403 Only Phones Of Our Realms"));
    }
    // It is told before it is challenged, so nobody's home is asked; and it may not call from here either.
    let bare = register("b.test", "eve", 3, 2, "<sip:eve@127.0.0.1:3>");
    let bare: String =
        bare.split('\n').filter(|line| !line.starts_with("Auth")).collect::<Vec<_>>().join("\n");
    w.a.phone(w.now, 3, &bare);
    assert_eq!(w.a.got(3).status(), Some(403));
    let call = invite(3, "c1", "eve", "bob", "b.test")
        .replace("From: <sip:eve@127.0.0.1>", "From: <sip:eve@b.test>");
    w.a.phone(w.now, 3, &call);
    assert_eq!(w.a.got(3).status(), Some(403));
    // One's own call, and are called from elsewhere.
    w.a.phone(w.now, 2, &invite(2, "c2", "bob", "bob", "a.test"));
    assert_eq!(w.a.got(2).method(), "INVITE");
    let from_b = request("INVITE", "sip:bob@a.test", 9, "c3", "carol", "bob", "")
        .replace("UDP 127.0.0.1:9", &format!("DOTS p{LABEL_B}.peer.dots"))
        .replace("carol@127.0.0.1>;tag", "carol@b.test>;tag")
        .replace('\n', "\r\n");
    let input = overlay(LABEL_B, from_b.into_bytes(), Some("carol@b.test".to_owned())).expect("readable");
    w.a.core.handle(w.now, input);
    w.a.drain(w.now);
    assert_eq!(w.a.got(2).method(), "INVITE", "a call from another peer");
}

/// The fields of one phone have limits in bytes, each of them.
#[test]
fn what_a_phone_says_of_itself_has_limits() {
    let long = |length: usize| "x".repeat(length);
    let mut w = World::new();
    let cases = [
        (
            "all that is usual",
            "<sip:bob@127.0.0.1:2;ob>;+sip.instance=\"<urn:uuid:1>\"".to_owned(),
            String::new(),
            200,
        ),
        ("Contact URI", format!("<sip:{}@127.0.0.1:2>", long(600)), String::new(), 400),
        ("Contact parameters", format!("<sip:bob@127.0.0.1:2>;x={}", long(600)), String::new(), 400),
        // It is known by its Contact instead.
        (
            "instance",
            format!("<sip:bob@127.0.0.1:2>;+sip.instance=\"<urn:x:{}>\"", long(300)),
            String::new(),
            200,
        ),
        ("one Path", "<sip:bob@127.0.0.1:2>".into(), format!("Path: <sip:{}@h;lr>\n", long(600)), 400),
        (
            "all Paths together",
            "<sip:bob@127.0.0.1:2>".into(),
            format!("Path: <sip:{}@h;lr>\n", long(400)).repeat(4),
            400,
        ),
    ];
    for (cseq, (why, contact, more, status)) in (10..).zip(cases) {
        let text =
            register("a.test", "bob", 2, cseq, &contact).replace("Contact:", &format!("{more}Contact:"));
        let text = text.replace("Call-ID: reg", &format!("Call-ID: {}", why.len()));
        w.a.phone(w.now, 2, &text);
        assert_eq!(w.a.got(2).status(), Some(status), "{why}");
    }
    let name = long(250);
    let named = register("a.test", "bob", 2, 80, "<sip:bob@127.0.0.1:2>");
    w.a.phone(w.now, 2, &named.replace("sip:bob@a.test", &format!("sip:{name}@a.test")));
    assert_eq!(w.a.got(2).status(), Some(404), "no account has such a name");
    let call_id = register("a.test", "bob", 2, 90, "<sip:bob@127.0.0.1:2>");
    w.a.phone(w.now, 2, &call_id.replace("Call-ID: reg", &format!("Call-ID: {}", long(300))));
    assert_eq!(w.a.got(2).status(), Some(400));
    assert_eq!(w.a.core.bindings().count(), 1, "the same Contact, by §19.1.4");
}
