//! Two real peers and real phones: a call across the overlay, and a phone that registers away from home.

use dots_clients::types::ReceiptInfo;
use dots_testnet::{
    Error,
    phones::{
        baresip::{Account, Baresip},
        plain::Plain,
        voice::Voice,
    },
    poll,
    process::Peer,
    random,
};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);
/// The promise: on disk within a second of the BYE. A debug build that shares its disk gets more here, and says what it took.
const WHOLE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
/// The first question comes at once; one that is lost is asked again after a minute at most.
const VERIFIED: Duration = Duration::from_secs(90);
/// Seconds of sound that each side has to hear.
const TALK: f64 = 4.0;

/// The homes of a.net and b.net, which know each other.
fn pair() -> (Peer, Peer) {
    let a = Peer::start("a.net", &[]).unwrap();
    let b = Peer::join(&a, "b.net", &[]).unwrap();
    a.meets(&b).unwrap();
    (a, b)
}

fn phone(peer: &Peer, user: &str, password: &str, tone: f64, more: &str) -> Baresip {
    let server = peer.sip().unwrap();
    let mut phone =
        Baresip::start(&Account { user, password, server, transport: "udp", more, tone }).unwrap();
    phone.wait_for(&["REGISTER_OK"], SOON).unwrap();
    phone
}

fn talk(caller: &mut Baresip, callee: &mut Baresip, target: &str) {
    caller.dial(target).unwrap();
    caller.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    callee.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    poll("both hear enough", Duration::from_secs(20), || {
        let enough = caller.heard()?.seconds() >= TALK && callee.heard()?.seconds() >= TALK;
        Ok(enough.then_some(()))
    })
    .unwrap();
}

fn assert_heard(who: &str, phone: &Baresip, other: f64, own: f64) {
    let sound = phone.heard().unwrap();
    assert!(sound.seconds() >= TALK, "{who} heard {} s", sound.seconds());
    assert!(sound.share(other) > 0.5, "{who}: {} at {other} Hz", sound.share(other));
    assert!(sound.share(own) < 0.1, "{who}: {} at its own {own} Hz", sound.share(own));
}

fn whole_receipt(peer: &Peer, within: Duration) -> ReceiptInfo {
    let client = peer.client().unwrap();
    let start = Instant::now();
    let receipts = poll("the receipt is whole", within, || {
        let found = client.receipts(true).map_err(|e| Error::Other(e.to_string()))?;
        Ok(found.iter().any(|r| r.state == "whole").then_some(found))
    });
    let receipts =
        receipts.unwrap_or_else(|e| panic!("{e}: {:?} {:?}", client.receipts(true), client.calls()));
    eprintln!("the receipt is whole after {:.1?}", start.elapsed());
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    assert_eq!(receipts[0].verified, Some(true), "{receipts:?}");
    receipts[0].clone()
}

#[test]
fn two_phones_on_two_peers_hear_each_other_encrypted() {
    let (mut a, mut b) = pair();
    a.account("alice@a.net", "wonderland").unwrap();
    b.account("bob@b.net", "builder").unwrap();
    let mut alice = phone(&a, "alice", "wonderland", 440.0, ";mediaenc=srtp");
    let mut bob = phone(&b, "bob", "builder", 1000.0, ";mediaenc=srtp");

    talk(&mut alice, &mut bob, &format!("sip:bob%40b.net@{}", a.sip().unwrap()));
    let calls = a.client().unwrap().calls().unwrap();
    assert_eq!((calls.len(), calls[0].state.as_str()), (1, "up"), "{calls:?}");
    assert_eq!((calls[0].from.as_str(), calls[0].to.as_str()), ("alice@a.net", "bob@b.net"));
    assert_eq!(calls[0].media, "peers-could-read");
    alice.hangup().unwrap();
    bob.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    let receipts = [&a, &b].map(|peer| whole_receipt(peer, WHOLE));
    assert_eq!(receipts[0], receipts[1], "both hold the same");
    assert!(receipts[0].duration_ms as f64 >= TALK * 1000.0, "{:?}", receipts[0]);
    alice.stop().unwrap();
    bob.stop().unwrap();
    assert_heard("alice", &alice, 1000.0, 440.0);
    assert_heard("bob", &bob, 440.0, 1000.0);
    a.stop().unwrap();
    b.stop().unwrap();
}

/// The sound of a call across, seen by a phone of ours: encrypted with the keys that the two SDPs carried, and nothing that
/// was altered or replayed is taken.
#[test]
fn what_is_on_the_wire_is_encrypted_from_phone_to_phone() {
    let (mut a, mut b) = pair();
    a.account("alice@a.net", "wonderland").unwrap();
    b.account("bob@b.net", "builder").unwrap();
    let mut bob = phone(&b, "bob", "builder", 1000.0, ";mediaenc=srtp-mand");
    let mut rng = random();
    let mut alice = Plain::new(a.sip().unwrap(), "alice@a.net", "wonderland", &mut rng).unwrap();
    let voice = Voice::new(&mut rng).unwrap();
    let (status, dialog) = alice.offer("sip:bob@b.net", &voice.sdp().unwrap(), SOON).unwrap().unwrap();
    assert_eq!(status, 200);
    let dialog = dialog.unwrap();
    bob.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    // A little more than what each has to hear.
    let heard = voice.talk(dialog.sdp(), 440.0, Duration::from_secs_f64(TALK + 2.0)).unwrap();
    assert_eq!(alice.bye(&dialog, SOON).unwrap(), Some(200));
    bob.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    bob.stop().unwrap();
    assert_heard("bob", &bob, 440.0, 1000.0);
    assert!(heard.sound.seconds() >= TALK, "alice heard {} s", heard.sound.seconds());
    assert!(heard.sound.share(1000.0) > 0.5, "{} at 1000 Hz", heard.sound.share(1000.0));
    assert!(
        heard.wire.share(1000.0) < 0.1,
        "{} of the tone is there without the key",
        heard.wire.share(1000.0)
    );
    assert_eq!((heard.refused, heard.fooled), (0, 0));
    a.stop().unwrap();
    b.stop().unwrap();
}

#[test]
fn a_phone_registers_away_from_home_and_is_called_there() {
    let (mut home, mut away) = pair();
    home.account("alice@a.net", "wonderland").unwrap();
    away.account("bob@b.net", "builder").unwrap();
    // The name alone selects her realm: server, user and password are all that the phone knows.
    let mut alice = phone(&away, "alice%40a.net", "wonderland", 440.0, "");
    let mut bob = phone(&away, "bob", "builder", 1000.0, "");
    let found = home.client().unwrap().lookup("alice@a.net").unwrap();
    poll("home knows where she is", SOON, || {
        let found = home.client()?.lookup("alice@a.net").map_err(|e| Error::Other(e.to_string()))?;
        Ok(found.bindings.iter().any(|b| b.serving == away.ready().peer_id).then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e}: {found:?}"));
    talk(&mut bob, &mut alice, &format!("sip:alice%40a.net@{}", away.sip().unwrap()));
    bob.hangup().unwrap();
    alice.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    alice.stop().unwrap();
    bob.stop().unwrap();
    assert_heard("alice", &alice, 1000.0, 440.0);
    home.stop().unwrap();
    away.stop().unwrap();
}

#[test]
fn another_peer_verifies_a_phone_and_both_say_so() {
    let (mut a, mut b) = pair();
    b.account("bob@b.net", "builder").unwrap();
    let mut bob = phone(&b, "bob", "builder", 1000.0, "");
    for peer in [&a, &b] {
        let client = peer.client().unwrap();
        let verified = poll("the phone is verified", VERIFIED, || {
            let found = client.lookup("bob@b.net").map_err(|e| Error::Other(e.to_string()))?;
            Ok(found.bindings.into_iter().find(|f| f.state == "verified"))
        });
        let verified = verified.unwrap_or_else(|e| panic!("{e}: {:?}", client.lookup("bob@b.net")));
        assert_eq!(verified.serving, b.ready().peer_id);
        assert_eq!(verified.attests[0].by, a.ready().peer_id, "by the one that does not serve it");
        assert!(verified.attests[0].at_ms > 0);
    }
    bob.stop().unwrap();
    a.stop().unwrap();
    b.stop().unwrap();
}

#[test]
fn a_peer_that_dies_at_hang_up_signs_after_its_restart() {
    let (mut a, mut b) = pair();
    a.account("alice@a.net", "wonderland").unwrap();
    b.account("bob@b.net", "builder").unwrap();
    let mut alice = phone(&a, "alice", "wonderland", 440.0, "");
    let mut bob = phone(&b, "bob", "builder", 1000.0, "");
    talk(&mut alice, &mut bob, &format!("sip:bob%40b.net@{}", a.sip().unwrap()));
    b.kill().unwrap();
    alice.hangup().unwrap();
    alice.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    b.restart().unwrap();
    let receipts = [&a, &b].map(|peer| whole_receipt(peer, Duration::from_secs(30)));
    assert_eq!(receipts[0], receipts[1]);
    assert!(receipts[0].duration_ms as f64 >= TALK * 1000.0, "{:?}", receipts[0]);
    alice.stop().unwrap();
    bob.stop().unwrap();
    a.stop().unwrap();
    b.stop().unwrap();
}

#[test]
fn a_phone_away_from_home_is_found_while_its_home_is_down() {
    let (mut home, mut away) = pair();
    home.account("alice@a.net", "wonderland").unwrap();
    let mut alice = phone(&away, "alice%40a.net", "wonderland", 440.0, "");
    let realms = home.client().unwrap().realms().unwrap();
    let key = &realms.iter().find(|r| r.name == "a.net").unwrap().key;
    home.kill().unwrap();
    // A third peer comes after the home is gone. It knows the realm's key; all else it hears from `away`.
    let trust = format!("a.net={key}");
    let mut third = Peer::join(&away, "c.net", &["--trust-realm", &trust]).unwrap();
    third.account("carol@c.net", "christmas").unwrap();
    let mut carol = phone(&third, "carol", "christmas", 1000.0, "");
    talk(&mut carol, &mut alice, &format!("sip:alice%40a.net@{}", third.sip().unwrap()));
    carol.hangup().unwrap();
    alice.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    for phone in [&mut alice, &mut carol] {
        phone.stop().unwrap();
    }
    third.stop().unwrap();
    away.stop().unwrap();
}
