//! LEG-1, LEG-2: the overlay leg. A request counts only with the caller's grant, and in a dialog only with a token.

use super::stage::{A, ALICE, B, BOB, Request, Stage};
use dots::peer::{
    api::Request as Api,
    messages::{ENVELOPE, Envelope},
};
use dots_overlay::{link::FRAME_MAX, records::RealmRecord};
use dots_testnet::sim::{
    liar::{Draft, realm_record},
    phone::{Plan, State},
};
use dots_wire::{SecretKey, Signed, encode};
use serde_bytes::ByteBuf;
use std::time::Duration;

const MALLORY: &str = "mallory@r2.test";
const BOB_AOR: &str = "bob@r1.test";
const ALICE_AOR: &str = "alice@r0.test";

fn mallory_may_invite_bob(stage: &Stage) -> Draft {
    Draft::call(&stage.world, stage.liar.host, stage.liar.id(), MALLORY, "INVITE", BOB_AOR)
}

/// The control: what is right is let through, so that what follows is refused for what is wrong with it.
#[test]
fn an_honest_call_from_the_liars_own_realm_rings() {
    let mut stage = Stage::new();
    let grant = mallory_may_invite_bob(&stage).bytes();
    let record = stage.liar.realm(&stage.world).1;
    stage.attempt(&Request::new("INVITE", MALLORY, BOB_AOR, "control"), Some(grant), Some(record));
    assert_eq!(stage.reached(BOB), ["INVITE"]);
}

/// REC-11, LEG-2: it is the home of its realm and says so itself; twice is two calls.
#[test]
fn a_home_says_of_its_own_phone_what_it_need_not_sign() {
    let mut stage = Stage::new();
    let spoken = mallory_may_invite_bob(&stage).spoken();
    for (n, call_id) in ["once", "twice"].into_iter().enumerate() {
        let record = stage.liar.realm(&stage.world).1;
        let request = Request::new("INVITE", MALLORY, BOB_AOR, call_id);
        stage.attempt(&request, Some(spoken.clone()), Some(record));
        assert_eq!(stage.reached(BOB).len(), n + 1);
    }
    assert_eq!(stage.count(B, "grant_signatures_checked"), 0);
}

struct Attack {
    why: &'static str,
    counter: &'static str,
    request: Request,
    grant: Option<ByteBuf>,
    realm: Option<Signed>,
}

/// LEG-2, as one table: how a grant can be missing, wrong, or another's.
fn attacks(stage: &Stage) -> Vec<Attack> {
    let world = &stage.world;
    let (me, host) = (stage.liar.id(), stage.liar.host);
    let own = || mallory_may_invite_bob(stage);
    let record = || Some(stage.liar.realm(world).1);
    let mut all = Vec::new();
    let mut add = |why, counter, from: &str, grant: Option<ByteBuf>, realm: Option<Signed>| {
        let request = Request::new("INVITE", from, BOB_AOR, &format!("attack-{}", all.len()));
        all.push(Attack { why, counter, request, grant, realm });
    };
    add("no grant", "leg_refused_no_grant", MALLORY, None, record());
    add("another's name, no grant", "leg_refused_no_grant", ALICE_AOR, None, None);
    add("another realm's name with my grant", "leg_refused_grant", ALICE_AOR, Some(own().bytes()), record());
    add("a changed From", "leg_refused_from", "eve@r2.test", Some(own().bytes()), record());

    let other_target = Draft::call(world, host, me, MALLORY, "INVITE", "ben@r1.test");
    add("for another target", "leg_refused_grant", MALLORY, Some(other_target.bytes()), record());
    let other_method = Draft::call(world, host, me, MALLORY, "MESSAGE", BOB_AOR);
    add("for another method", "leg_refused_grant", MALLORY, Some(other_method.bytes()), record());

    let mut expired = own();
    expired.grant.time = expired.grant.time.minus(Duration::from_secs(50));
    expired.grant.not_after = world.now(host).wall.minus(Duration::from_millis(1));
    add("expired", "leg_refused_grant", MALLORY, Some(expired.bytes()), record());
    let mut long = own();
    long.grant.not_after = long.grant.time.plus(Duration::from_secs(61));
    add("longer than a call grant lives", "leg_refused_grant", MALLORY, Some(long.bytes()), record());
    let mut future = own();
    future.grant.time = future.grant.time.plus(Duration::from_secs(120));
    future.grant.not_after = future.grant.time.plus(Duration::from_secs(30));
    add("of the future", "leg_refused_grant", MALLORY, Some(future.bytes()), record());

    // What A's phones got through A: seen on the wire by whoever they called.
    let captured = Draft::call(world, A, world.hosts[A].id, ALICE_AOR, "INVITE", BOB_AOR);
    add("captured, of another serving peer", "leg_refused_grant", ALICE_AOR, Some(captured.bytes()), None);
    let mut forged = Draft::call(world, A, me, ALICE_AOR, "INVITE", BOB_AOR);
    forged.signer = stage.liar.key.clone();
    add("A's word in my hand", "leg_refused_grant", ALICE_AOR, Some(forged.bytes()), None);
    let mut own_word = forged.clone();
    own_word.grant.home = me;
    add("my word on A's realm", "leg_refused_grant", ALICE_AOR, Some(own_word.bytes()), None);
    // REC-11: a bare word is worth nothing out of another mouth, and nothing of a realm that is not one's own.
    add("A's bare word in my mouth", "leg_refused_grant", ALICE_AOR, Some(captured.spoken()), None);
    add("A's bare word, said to be for me", "leg_refused_grant", ALICE_AOR, Some(forged.spoken()), None);
    add("my bare word on A's realm", "leg_refused_grant", ALICE_AOR, Some(own_word.spoken()), None);
    let takeover = realm_record(world, host, "r0.test").sign(&world.hosts[host].config.realm_key);
    add(
        "with a rival record of A's realm",
        "leg_refused_grant",
        ALICE_AOR,
        Some(own_word.bytes()),
        Some(takeover),
    );
    let bind = Draft::bind(world, host, me, "eve@r2.test", "phone");
    add("a bind grant of another AOR", "leg_refused_from", MALLORY, Some(bind.bytes()), record());
    add("junk", "leg_refused_grant", MALLORY, Some(ByteBuf::from(vec![0xff; 40])), record());
    add("endless", "leg_refused_grant", MALLORY, Some(ByteBuf::from(vec![0x80; 20_000])), record());

    add("a realm that nobody knows", "leg_refused_no_realm", "m@nowhere.test", Some(own().bytes()), None);
    let stranger = SecretKey::from_bytes(&[9; 32]).expect("a scalar");
    let wrong_key = realm_record(world, host, "r5.test").sign(&stranger);
    add(
        "a realm record by a wrong key",
        "leg_refused_no_realm",
        "m@r5.test",
        Some(own().bytes()),
        Some(wrong_key),
    );

    let mut text = Attack {
        why: "a MESSAGE on a bind grant",
        counter: "leg_refused_grant",
        request: Request::new("MESSAGE", MALLORY, BOB_AOR, "attack-message"),
        grant: Some(Draft::bind(world, host, me, MALLORY, "phone").bytes()),
        realm: record(),
    };
    all.push(text);
    text = Attack {
        why: "another peer's Via",
        counter: "leg_refused_via",
        request: Request::new("INVITE", MALLORY, BOB_AOR, "attack-via"),
        grant: Some(own().bytes()),
        realm: record(),
    };
    text.request.via = Some(world.hosts[A].id.host());
    all.push(text);
    all
}

#[test]
fn every_forged_request_gets_403_and_no_phone_rings() {
    let mut stage = Stage::new();
    for attack in attacks(&stage) {
        let before = stage.count(B, attack.counter);
        let status = stage.attempt(&attack.request, attack.grant, attack.realm);
        assert_eq!(status, Some(403), "{}", attack.why);
        assert_eq!(stage.count(B, attack.counter), before + 1, "{}", attack.why);
        assert!(stage.reached(BOB).is_empty(), "{}: {:?}", attack.why, stage.reached(BOB));
    }
}

#[test]
fn what_exists_only_in_dialogs_never_starts_one() {
    let mut stage = Stage::new();
    let (me, host) = (stage.liar.id(), stage.liar.host);
    for method in ["REFER", "NOTIFY", "BYE", "UPDATE", "PRACK"] {
        let grant = Draft::call(&stage.world, host, me, MALLORY, method, BOB_AOR).bytes();
        let record = stage.liar.realm(&stage.world).1;
        let bare = Request::new(method, MALLORY, BOB_AOR, &format!("bare-{method}"));
        assert_eq!(stage.attempt(&bare, None, None), Some(403), "{method} without a grant");
        let granted = Request { call_id: format!("granted-{method}"), ..bare.clone() };
        // To another account a REFER or NOTIFY outside a dialog would be a remote control.
        let expected = if matches!(method, "REFER" | "NOTIFY") { 403 } else { 481 };
        assert_eq!(
            stage.attempt(&granted, Some(grant), Some(record)),
            Some(expected),
            "{method} with a grant"
        );
        // An invented To-tag needs no grant, and gets nowhere without a token.
        let tagged = Request { to_tag: ";tag=invented".to_owned(), call_id: format!("tag-{method}"), ..bare };
        assert_eq!(stage.attempt(&tagged, None, None), Some(481), "{method} with an invented tag");
        let route = format!("Route: <sip:{}@10.0.0.2:5060;lr>\r\n", "a".repeat(60));
        let routed = Request { more: route, call_id: format!("route-{method}"), ..tagged };
        assert_eq!(stage.attempt(&routed, None, None), Some(403), "{method} with an invented token");
    }
    assert!(stage.reached(BOB).is_empty(), "{:?}", stage.reached(BOB));
    assert!(stage.count(B, "out_of_dialog_refused") >= 3);
    assert!(stage.count(B, "dialog_refused") >= 10);
    // An ACK is answered by nobody, and goes nowhere.
    let ack = Request { to_tag: ";tag=invented".to_owned(), ..Request::new("ACK", MALLORY, BOB_AOR, "ack") };
    assert_eq!(stage.attempt(&ack, None, None), None);
    // REGISTER is between a phone and its peer.
    let register =
        Request { to_tag: ";tag=t".to_owned(), ..Request::new("REGISTER", BOB_AOR, BOB_AOR, "reg") };
    assert_eq!(stage.attempt(&register, None, None), Some(403));
    assert!(stage.reached(BOB).is_empty());
}

#[test]
fn a_foreign_route_is_not_followed() {
    let mut stage = Stage::new();
    let grant = mallory_may_invite_bob(&stage).bytes();
    let record = stage.liar.realm(&stage.world).1;
    let mut request = Request::new("INVITE", MALLORY, BOB_AOR, "relay");
    request.more = "Route: <sip:192.0.2.66;lr>\r\n".to_owned();
    assert_eq!(stage.attempt(&request, Some(grant), Some(record)), Some(403));
    assert_eq!(stage.count(B, "foreign_route_refused"), 1);
    assert!(stage.reached(BOB).is_empty());
}

/// A real dialog's tokens in the wrong hands: Call-ID, tags and Routes are known to the other side's peer.
#[test]
fn the_tokens_of_a_call_are_worth_nothing_to_a_third_peer() {
    let mut stage = Stage::new();
    let plan = Plan { talk: None, patience: Duration::from_secs(20) };
    let id = stage.with_phone(ALICE, |phone, at| phone.call(at, BOB_AOR, plan));
    stage.wait(1);
    let invite = stage.world.phones[BOB].received.iter().find(|(_, m)| m.method() == "INVITE");
    let invite = invite.map(|(_, m)| m.clone()).expect("bob rings");
    stage.wait(3);
    let routes: String = invite
        .header_lines(&dots_sip::message::Name::RecordRoute)
        .map(|r| format!("Route: {r}\r\n"))
        .collect();
    assert!(!routes.is_empty());
    let from = invite.header(&dots_sip::message::Name::From).expect("From").to_owned();
    let tag = from.split("tag=").nth(1).expect("a tag").to_owned();
    let sip = format!(
        "BYE sip:{BOB_AOR} SIP/2.0\r\nVia: SIP/2.0/DOTS {};branch=z9hG4bKstolen\r\nMax-Forwards: 70\r\n{routes}From: <sip:{ALICE_AOR}>;tag={tag}\r\n\
         To: <sip:{BOB_AOR}>;tag=p6001\r\nCall-ID: {id}\r\nCSeq: 900 BYE\r\nContent-Length: 0\r\n\r\n",
        stage.liar.id().host()
    );
    let before = stage.count(B, "dialog_refused");
    let envelope = Envelope {
        version: ENVELOPE,
        sip: sip.into_bytes(),
        grant: None,
        realm: None,
        nonce: None,
        on_behalf: Vec::new(),
    };
    stage.liar.send(&mut stage.world, B, &envelope);
    stage.wait(1);
    assert_eq!(stage.liar.status_of(&id), Some(403));
    assert_eq!(stage.count(B, "dialog_refused"), before + 1);
    assert!(!stage.reached(BOB).contains(&"BYE".to_owned()));
    assert!(stage.world.phones[BOB].calls.iter().all(|c| c.state != State::Over), "the call goes on");
}

#[test]
fn a_callee_that_challenges_a_bye_in_our_name_learns_no_digest() {
    let mut stage = Stage::new();
    let challenge = "Digest realm=\"r0.test\", nonce=\"collect\", algorithm=MD5, qop=\"auth\"";
    stage.world.phones[BOB].bye_answer = Some((407, challenge.to_owned()));
    let plan = Plan { talk: Some(Duration::from_millis(500)), patience: Duration::from_secs(20) };
    stage.with_phone(ALICE, |phone, at| phone.call(at, BOB_AOR, plan));
    stage.wait(8);
    assert!(stage.reached(BOB).contains(&"BYE".to_owned()), "{:?}", stage.reached(BOB));
    let answer = stage.last_answer(ALICE, "BYE").expect("her BYE is answered");
    assert_eq!(answer.status(), Some(403));
    for header in [dots_sip::message::Name::ProxyAuthenticate, dots_sip::message::Name::WwwAuthenticate] {
        assert_eq!(answer.header(&header), None);
    }
}

#[test]
fn junk_and_oversized_frames_cost_the_liar_its_link_and_nobody_else_anything() {
    let mut stage = Stage::new();
    for junk in [vec![], vec![0xff; 100], encode(&(9u8, "x")), vec![0x85; 60_000]] {
        let before = stage.count(B, "bad_peer_message");
        stage.liar.send_raw(&mut stage.world, B, junk);
        stage.wait(1);
        assert_eq!(stage.count(B, "bad_peer_message"), before + 1);
    }
    let not_sip = Envelope {
        version: ENVELOPE,
        sip: vec![0; 500],
        grant: None,
        realm: None,
        nonce: None,
        on_behalf: Vec::new(),
    };
    stage.liar.send(&mut stage.world, B, &not_sip);
    let newer = Envelope { version: 99, ..not_sip };
    stage.liar.send(&mut stage.world, B, &newer);
    stage.wait(1);
    assert_eq!(stage.count(B, "bad_peer_message"), 6);
    // A frame over the limit, and one that is none: the stream is closed, the peer goes on.
    for frame in [vec![1; FRAME_MAX + 1], vec![77]] {
        stage.liar.break_protocol(&mut stage.world, B, frame);
        stage.wait(1);
    }
    let grant = mallory_may_invite_bob(&stage).bytes();
    let record = stage.liar.realm(&stage.world).1;
    stage.attempt(&Request::new("INVITE", MALLORY, BOB_AOR, "after"), Some(grant), Some(record));
    stage.wait(2);
    assert_eq!(stage.reached(BOB), ["INVITE"], "an honest word is still heard");
    let plan = Plan { talk: Some(Duration::from_secs(1)), patience: Duration::from_secs(20) };
    stage.with_phone(ALICE, |phone, at| phone.call(at, BOB_AOR, plan));
    stage.wait(8);
    assert!(stage.world.phones[ALICE].calls.iter().all(|c| c.was_up), "and others call as before");
}

/// A record that comes with a call is believed before anybody has vouched for the call. So one peer makes another check, write down
/// and tell on no more of them by calls than by any other word, and none that is not the caller's.
#[test]
fn records_that_come_with_calls_are_few_and_news_to_nobody() {
    let mut stage = Stage::new();
    let known = |stage: &mut Stage, host: usize| {
        let reply = stage.world.ask(host, Api::Realms, Duration::from_secs(5)).expect("answered");
        reply.body.as_array().expect("a list").len()
    };
    let before = (known(&mut stage, A), known(&mut stage, B));
    let (own, _) = stage.liar.realm(&stage.world);
    for n in 0..1_200u32 {
        let mut bytes = [5; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let key = SecretKey::from_bytes(&bytes).expect("a scalar");
        let name = dots_trust::names::self_certifying(&key.public());
        let record = RealmRecord { name: name.clone(), key: key.public(), ..own.clone() }.sign(&key);
        // Every third says to be another's than the caller's.
        let caller = if n % 3 == 0 { MALLORY.to_owned() } else { format!("x@{name}") };
        let sip = stage.request(&Request::new("INVITE", &caller, BOB_AOR, &format!("record-{n}")));
        let envelope = Envelope {
            version: ENVELOPE,
            sip,
            grant: None,
            realm: Some(record),
            nonce: None,
            on_behalf: Vec::new(),
        };
        stage.liar.send(&mut stage.world, B, &envelope);
        if n % 100 == 99 {
            stage.liar.wait(&mut stage.world, Duration::from_millis(50));
        }
    }
    stage.wait(2);
    let (at_a, at_b) = (known(&mut stage, A) - before.0, known(&mut stage, B) - before.1);
    assert!((400..=600).contains(&at_b), "{at_b} of 800");
    assert!(at_a <= 110, "{at_a} are told on");
    let plan = Plan { talk: Some(Duration::from_secs(1)), patience: Duration::from_secs(20) };
    stage.with_phone(ALICE, |phone, at| phone.call(at, BOB_AOR, plan));
    stage.wait(8);
    assert!(stage.world.phones[ALICE].calls.iter().all(|c| c.was_up), "alice gets through");
    let (grant, before) = (mallory_may_invite_bob(&stage).bytes(), stage.reached(BOB).len());
    let record = stage.liar.realm(&stage.world).1;
    stage.attempt(&Request::new("INVITE", MALLORY, BOB_AOR, "after"), Some(grant), Some(record));
    assert!(stage.reached(BOB).len() > before, "and so does a realm that is known");
}

#[test]
fn a_flood_of_one_peer_is_cut_and_anothers_call_passes() {
    let mut stage = Stage::new();
    let grant = mallory_may_invite_bob(&stage).bytes();
    for n in 0..2_000 {
        let sip = stage.request(&Request::new("MESSAGE", MALLORY, BOB_AOR, &format!("flood-{n}")));
        let envelope = Envelope {
            version: ENVELOPE,
            sip,
            grant: Some(grant.clone()),
            realm: None,
            nonce: None,
            on_behalf: Vec::new(),
        };
        stage.liar.send(&mut stage.world, B, &envelope);
        if n % 250 == 249 {
            stage.liar.wait(&mut stage.world, Duration::from_millis(50));
        }
    }
    let plan = Plan { talk: Some(Duration::from_secs(1)), patience: Duration::from_secs(20) };
    stage.with_phone(ALICE, |phone, at| phone.call(at, BOB_AOR, plan));
    stage.wait(8);
    assert!(stage.world.phones[ALICE].calls.iter().all(|c| c.was_up), "alice gets through");
    assert!(stage.count(B, "leg_refused_rate") > 0, "{:?}", stage.world.hosts[B].counts);
    let refused = (0..2_000).filter(|n| stage.liar.status_of(&format!("flood-{n}")) == Some(503)).count();
    assert_eq!(refused as u64, stage.count(B, "leg_refused_rate"));
    assert!(!stage.reached(BOB).contains(&"MESSAGE".to_owned()), "the grant is for INVITE");
}
