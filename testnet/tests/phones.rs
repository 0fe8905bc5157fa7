//! The instruments by themselves: two baresips without any peer call each other directly. Where this fails, no other
//! failure of a test with phones says anything about DOTS.

use dots_testnet::{
    phones::baresip::{Account, Baresip},
    poll,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
/// Nobody listens there, so registration fails, and is not needed.
const NOBODY: &str = "127.0.0.1:9";

fn phone(user: &str, tone: f64) -> Baresip {
    Baresip::start(&Account { user, password: "x", server: NOBODY, transport: "udp", more: "", tone })
        .unwrap()
}

#[test]
fn sound_goes_both_ways_and_is_recognised() {
    let (mut alice, mut bob) = (phone("alice", 440.0), phone("bob", 1000.0));
    bob.wait_for(&["REGISTERING"], SOON).unwrap();
    alice.dial(&format!("sip:bob@{}", bob.address())).unwrap();
    alice.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    bob.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    poll("both hear", SOON, || {
        Ok((alice.heard()?.seconds() > 2.0 && bob.heard()?.seconds() > 2.0).then_some(()))
    })
    .unwrap();
    alice.hangup().unwrap();
    bob.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    assert!(alice.heard().unwrap().share(1000.0) > 0.5);
    assert!(bob.heard().unwrap().share(440.0) > 0.5);
}
