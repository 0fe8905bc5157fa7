//! Two real phones on one real peer: they register with nothing but an address and a password, call each other, and
//! hear each other. The proof is in the recordings.

use dots_testnet::{
    phones::baresip::{Account, Baresip},
    poll,
    process::Peer,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
/// Seconds of sound that each side has to hear.
const TALK: f64 = 4.0;

fn phone(peer: &Peer, user: &str, password: &str, tone: f64, more: &str) -> Baresip {
    let server = peer.sip().unwrap();
    Baresip::start(&Account { user, password, server, transport: "udp", more, tone }).unwrap()
}

fn two_phones_talk(more: &str) {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    peer.account("alice@a.test", "wonderland").unwrap();
    peer.account("bob@a.test", "builder").unwrap();
    let mut alice = phone(&peer, "alice", "wonderland", 440.0, more);
    let mut bob = phone(&peer, "bob", "builder", 1000.0, more);
    for phone in [&mut alice, &mut bob] {
        phone.wait_for(&["REGISTER_OK"], SOON).unwrap();
    }
    assert_eq!(peer.client().unwrap().bindings().unwrap().len(), 2);

    alice.dial(&format!("sip:bob@{}", peer.sip().unwrap())).unwrap();
    alice.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    bob.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    poll("both hear enough", Duration::from_secs(20), || {
        let enough = alice.heard()?.seconds() >= TALK && bob.heard()?.seconds() >= TALK;
        Ok(enough.then_some(()))
    })
    .unwrap();
    alice.hangup().unwrap();
    bob.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    alice.stop().unwrap();
    bob.stop().unwrap();

    for (who, sound, other, own) in
        [("alice", alice.heard().unwrap(), 1000.0, 440.0), ("bob", bob.heard().unwrap(), 440.0, 1000.0)]
    {
        assert!(sound.seconds() >= TALK, "{who} heard {} s", sound.seconds());
        assert!(sound.share(other) > 0.5, "{who}: {} at {other} Hz", sound.share(other));
        assert!(sound.share(own) < 0.1, "{who}: {} at its own {own} Hz", sound.share(own));
    }
    peer.stop().unwrap();
}

#[test]
fn two_phones_hear_each_other() {
    two_phones_talk("");
}

#[test]
fn two_phones_hear_each_other_encrypted() {
    two_phones_talk(";mediaenc=srtp");
}

#[test]
fn a_wrong_password_is_refused() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    peer.account("alice@a.test", "wonderland").unwrap();
    let mut alice = phone(&peer, "alice", "looking-glass", 440.0, "");
    let event = alice.wait_for(&["REGISTER_FAIL", "REGISTER_OK"], SOON).unwrap();
    assert_eq!(event["type"], "REGISTER_FAIL", "{event}");
    // By the peer's word, not because the phone did not understand the challenge.
    let reason = event["param"].as_str().unwrap();
    assert!(reason.starts_with("401") || reason.starts_with("403"), "{event}");
    assert!(peer.client().unwrap().bindings().unwrap().is_empty());
    alice.stop().unwrap();
    peer.stop().unwrap();
}
