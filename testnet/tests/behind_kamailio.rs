//! A phone behind somebody else's proxy, as an office has one, on a peer; the other phone on another peer. Whatever comes over the
//! overlay has to be read by that proxy, and what the proxy adds has to lead back through it.

use dots_testnet::{
    kamailio::Kamailio,
    phones::baresip::{Account, Baresip},
    poll,
    process::Peer,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);
/// Seconds of sound that each side has to hear; in the second call more, so that it is not the first one's.
const TALK: [f64; 2] = [3.0, 6.0];

fn phone(user: &str, realm: &str, outbound: &str, tone: f64) -> Baresip {
    let more = format!(";outbound=\"sip:{outbound}\"");
    let account =
        Account { user, password: "behind-a-proxy", server: realm, transport: "udp", more: &more, tone };
    let mut phone = Baresip::start(&account).unwrap();
    phone.wait_for(&["REGISTER_OK"], SOON).unwrap();
    phone
}

/// Both are in a call and hear each other.
fn hear(one: &mut Baresip, other: &mut Baresip, tones: [f64; 2], talk: f64) {
    for phone in [&mut *one, &mut *other] {
        phone.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    }
    poll("both hear enough", SOON, || {
        let enough = |phone: &Baresip, tone| {
            phone.heard().map(|sound| sound.seconds() >= talk && sound.share(tone) > 0.5)
        };
        Ok((enough(one, tones[1])? && enough(other, tones[0])?).then_some(()))
    })
    .unwrap();
}

#[test]
fn calls_cross_the_overlay_through_a_kamailio_both_ways() {
    let mut a = Peer::start("a.net", &[]).unwrap();
    let mut b = Peer::join(&a, "b.net", &[]).unwrap();
    a.meets(&b).unwrap();
    a.account("alice@a.net", "behind-a-proxy").unwrap();
    b.account("dave@b.net", "behind-a-proxy").unwrap();
    let edge = Kamailio::before(b.sip().unwrap()).unwrap();
    let mut alice = phone("alice", "a.net", a.sip().unwrap(), 440.0);
    let mut dave = phone("dave", "b.net", &edge.server, 1000.0);

    // RFC 3327: the way to him leads through the proxy; and RFC 3261 §16.6: so do the requests in the dialog, from both ends.
    alice.dial("sip:dave@b.net").unwrap();
    hear(&mut alice, &mut dave, [440.0, 1000.0], TALK[0]);
    dave.hangup().unwrap();
    alice.wait_for(&["CALL_CLOSED"], SOON).unwrap();

    dave.dial("sip:alice@a.net").unwrap();
    hear(&mut dave, &mut alice, [1000.0, 440.0], TALK[1]);
    dave.hangup().unwrap();
    alice.wait_for(&["CALL_CLOSED"], SOON).unwrap();

    for peer in [&a, &b] {
        let calls = peer.client().unwrap().calls().unwrap();
        assert!(calls.len() == 2 && calls.iter().all(|call| call.state == "ended"), "{calls:?}");
    }
    assert!(!edge.log().contains("ERROR"), "Kamailio could not read what it was sent:\n{}", edge.log());
    for phone in [&mut alice, &mut dave] {
        phone.stop().unwrap();
    }
    a.stop().unwrap();
    b.stop().unwrap();
}
