//! What people do with a call, across two real peers: hold it, refuse it, give up, pass it on, write instead.

use dots_testnet::{
    Error,
    phones::{
        baresip::{Account, Baresip},
        plain::Plain,
    },
    poll,
    process::Peer,
};
use rand::SeedableRng;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
/// Bob decides himself.
const MANUAL: &str = ";answermode=manual";

struct World {
    a: Peer,
    b: Peer,
}

impl World {
    fn new() -> World {
        let a = Peer::start("a.net", &[]).unwrap();
        let b = Peer::join(&a, "b.net", &[]).unwrap();
        a.meets(&b).unwrap();
        a.account("alice@a.net", "wonderland").unwrap();
        for user in ["bob", "carol", "eve"] {
            b.account(&format!("{user}@b.net"), "builder").unwrap();
        }
        World { a, b }
    }

    fn alice(&self) -> Baresip {
        phone(&self.a, "alice", "wonderland", "")
    }

    fn at_b(&self, user: &str, more: &str) -> Baresip {
        phone(&self.b, user, "builder", more)
    }

    /// What alice's phone dials, which knows only its server.
    fn to(&self, user: &str) -> String {
        format!("sip:{user}%40b.net@{}", self.a.sip().unwrap())
    }

    fn end(mut self, phones: &mut [&mut Baresip]) {
        for phone in phones {
            phone.stop().unwrap();
        }
        self.a.stop().unwrap();
        self.b.stop().unwrap();
    }
}

fn phone(peer: &Peer, user: &str, password: &str, more: &str) -> Baresip {
    let server = peer.sip().unwrap();
    // All requests go to the peer, whatever host they name.
    let more = format!("{more};outbound=\"sip:{server};lr\"");
    let account = Account { user, password, server, transport: "udp", more: &more, tone: 440.0 };
    let mut phone = Baresip::start(&account).unwrap();
    phone.wait_for(&["REGISTER_OK"], SOON).unwrap();
    phone
}

fn closed(phone: &mut Baresip) -> String {
    let event = phone.wait_for(&["CALL_CLOSED"], SOON).unwrap();
    event["param"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn held_resumed_and_ended_by_the_callee() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.at_b("bob", ""));
    alice.dial(&world.to("bob")).unwrap();
    for phone in [&mut alice, &mut bob] {
        phone.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    }
    for command in ["hold", "resume"] {
        alice.command(command, "").unwrap();
        bob.wait_for(&["CALL_REMOTE_SDP"], SOON).unwrap_or_else(|e| panic!("{command}: {e}"));
    }
    bob.hangup().unwrap();
    closed(&mut alice);
    world.end(&mut [&mut alice, &mut bob]);
}

#[test]
fn given_up_while_it_rings() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.at_b("bob", MANUAL));
    alice.dial(&world.to("bob")).unwrap();
    bob.wait_for(&["CALL_INCOMING"], SOON).unwrap();
    alice.wait_for(&["CALL_RINGING"], SOON).unwrap();
    alice.hangup().unwrap();
    closed(&mut bob);
    let client = world.a.client().unwrap();
    let call = poll("the call has failed", SOON, || {
        let calls = client.calls().map_err(|e| Error::Other(e.to_string()))?;
        Ok(calls.into_iter().find(|c| c.state == "failed"))
    })
    .unwrap();
    assert_eq!(call.cause.as_deref(), Some("487"));
    assert!(client.receipts(false).unwrap().is_empty());
    world.end(&mut [&mut alice, &mut bob]);
}

#[test]
fn busy_unknown_and_offline() {
    let world = World::new();
    let (mut alice, mut bob) = (world.alice(), world.at_b("bob", MANUAL));
    alice.dial(&world.to("bob")).unwrap();
    bob.wait_for(&["CALL_INCOMING"], SOON).unwrap();
    bob.hangup().unwrap();
    let reason = closed(&mut alice);
    assert!(reason.starts_with("486"), "{reason}");
    for (user, status) in [("nobody", "404"), ("eve", "480")] {
        alice.dial(&world.to(user)).unwrap();
        let reason = closed(&mut alice);
        assert!(reason.starts_with(status), "{user}: {reason}");
    }
    world.end(&mut [&mut alice, &mut bob]);
}

#[test]
fn passed_on_to_a_third_phone() {
    let world = World::new();
    let (mut alice, mut bob, mut carol) = (world.alice(), world.at_b("bob", ""), world.at_b("carol", ""));
    alice.dial(&world.to("bob")).unwrap();
    for phone in [&mut alice, &mut bob] {
        phone.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    }
    alice.command("transfer", "sip:carol@b.net").unwrap();
    carol.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    world.end(&mut [&mut alice, &mut bob, &mut carol]);
}

#[test]
fn a_text_instead() {
    let world = World::new();
    let mut bob = world.at_b("bob", "");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut alice = Plain::new(world.a.sip().unwrap(), "alice@a.net", "wonderland", &mut rng).unwrap();
    assert_eq!(alice.message("sip:bob@b.net", "on my way", SOON).unwrap(), Some(200));
    assert_eq!(alice.message("sip:nobody@b.net", "hello?", SOON).unwrap(), Some(404));
    world.end(&mut [&mut bob]);
}
