//! Passwords: a home judges answers that strangers bring, and gives each answer one grant at most.

use super::stage::{A, ALICE, B, PASSWORD, Stage};
use dots::{
    drivers::store::account,
    peer::{
        api::Request as Api,
        messages::{AuthReply, AuthRequest, LookupReply, LookupRequest, VERSION},
    },
};
use dots_overlay::transport::Protocol;
use dots_testnet::sim::{
    liar::{Draft, Liar},
    phone::Phone,
};
use dots_trust::{
    answer::Answer,
    digest::{Algorithm, ha1, response},
};
use dots_wire::{Hash, decode, encode, sha256};
use serde_bytes::ByteBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// What alice's phone answers to this challenge when it registers at the liar.
fn answer(nonce: &str, nc: u32, password: &str) -> Answer {
    let uri = "sip:r0.test";
    let ha1 = ha1(Algorithm::Sha256, "alice", "r0.test", password);
    Answer {
        method: "REGISTER".to_owned(),
        username: "alice".to_owned(),
        realm: "r0.test".to_owned(),
        nonce: nonce.to_owned(),
        uri: uri.to_owned(),
        response: response(Algorithm::Sha256, &ha1, "REGISTER", uri, nonce, nc, "c", "auth"),
        algorithm: "SHA-256".to_owned(),
        qop: "auth".to_owned(),
        nc,
        cnonce: "c".to_owned(),
        aor: "alice@r0.test".to_owned(),
        instance: Some("her phone".to_owned()),
        target: None,
        source: Hash([7; 32]),
    }
}

fn verify(stage: &mut Stage, answer: Answer) -> AuthReply {
    let request = AuthRequest::Verify { version: VERSION, answer: Box::new(answer) };
    stage.liar.ask_auth(&mut stage.world, A, &request)
}

fn is_granted(reply: &AuthReply) -> bool {
    matches!(reply, AuthReply::Granted { .. })
}

#[test]
fn an_answer_is_good_once_and_for_five_minutes() {
    let mut stage = Stage::new();
    let nonce = stage.liar.nonce(&mut stage.world, A);
    let first = answer(&nonce, 2, PASSWORD);
    assert!(is_granted(&verify(&mut stage, first.clone())), "alice registers at the liar, as she may");
    assert_eq!(verify(&mut stage, first), AuthReply::Stale, "replayed");
    assert_eq!(verify(&mut stage, answer(&nonce, 1, PASSWORD)), AuthReply::Stale, "an older count");
    assert!(is_granted(&verify(&mut stage, answer(&nonce, 3, PASSWORD))), "a new count is a new answer");
    let old = stage.liar.nonce(&mut stage.world, A);
    stage.wait(301);
    assert_eq!(verify(&mut stage, answer(&old, 1, PASSWORD)), AuthReply::Stale, "too old");
    assert_eq!(stage.count(A, "auth_wrong_elsewhere"), 0);
}

#[test]
fn an_answer_is_not_good_again_after_the_home_was_killed() {
    let mut stage = Stage::new();
    let nonce = stage.liar.nonce(&mut stage.world, A);
    let used = answer(&nonce, 1, PASSWORD);
    assert!(is_granted(&verify(&mut stage, used.clone())));
    stage.world.crash(A);
    stage.world.start(A);
    stage.wait(2);
    assert_eq!(verify(&mut stage, used), AuthReply::Stale, "what it has forgotten it must not accept");
    let fresh = stage.liar.nonce(&mut stage.world, A);
    assert!(is_granted(&verify(&mut stage, answer(&fresh, 1, PASSWORD))));
}

#[test]
fn an_answer_to_a_nonce_of_another_serving_peer_is_none() {
    let mut stage = Stage::new();
    let mut other = Liar::join(&mut stage.world);
    let nonce = stage.liar.nonce(&mut stage.world, A);
    let request = AuthRequest::Verify { version: VERSION, answer: Box::new(answer(&nonce, 1, PASSWORD)) };
    assert_eq!(other.ask_auth(&mut stage.world, A, &request), AuthReply::Stale);
    // It was not used up: the peer that it was minted for can still use it.
    assert!(is_granted(&verify(&mut stage, answer(&nonce, 1, PASSWORD))));
    let made_up = answer(&"A".repeat(114), 1, PASSWORD);
    assert_eq!(verify(&mut stage, made_up), AuthReply::Stale);
}

#[test]
fn what_is_asked_must_fit_what_was_answered() {
    let mut stage = Stage::new();
    type Bend = fn(&mut Answer);
    let bent: [(&str, Bend, AuthReply); 7] = [
        ("a wrong password", |a| a.response = "0".repeat(64), AuthReply::Wrong),
        ("another AOR", |a| a.aor = "ann@r0.test".to_owned(), AuthReply::Forbidden),
        ("both purposes", |a| a.target = Some("bob@r1.test".to_owned()), AuthReply::Forbidden),
        ("no purpose", |a| a.instance = None, AuthReply::Forbidden),
        (
            "a call with a REGISTER's answer",
            |a| {
                (a.instance, a.target) = (None, Some("bob@r1.test".to_owned()));
            },
            AuthReply::Forbidden,
        ),
        ("without qop", |a| a.qop = String::new(), AuthReply::Wrong),
        ("a realm of another home", |a| a.realm = "r1.test".to_owned(), AuthReply::Forbidden),
    ];
    for (why, bend, expected) in bent {
        let nonce = stage.liar.nonce(&mut stage.world, A);
        let mut record = answer(&nonce, 1, PASSWORD);
        bend(&mut record);
        assert_eq!(verify(&mut stage, record), expected, "{why}");
    }
}

#[test]
fn guesses_through_one_peer_are_slowed_down_and_lock_nobody_else_out() {
    let mut stage = Stage::new();
    let elsewhere = stage.add_phone(A, B, "alice");
    assert_eq!(stage.answered(elsewhere, "REGISTER"), Some(200), "her usual peer");
    for n in 0..12 {
        let nonce = stage.liar.nonce(&mut stage.world, A);
        let reply = verify(&mut stage, answer(&nonce, 1, &format!("guess {n}")));
        assert!(matches!(reply, AuthReply::Wrong | AuthReply::Forbidden), "{reply:?}");
    }
    let nonce = stage.liar.nonce(&mut stage.world, A);
    assert_eq!(
        verify(&mut stage, answer(&nonce, 1, PASSWORD)),
        AuthReply::Forbidden,
        "even the right one waits"
    );
    for (why, phone) in [("at home", ALICE), ("through another peer", elsewhere)] {
        stage.with_phone(phone, |phone, at| phone.register(at, 600));
        stage.wait(2);
        assert_eq!(stage.answered(phone, "REGISTER"), Some(200), "{why} she gets in");
    }
}

#[test]
fn an_account_that_must_not_roam_gets_no_grant() {
    let mut stage = Stage::new();
    let made = account("alice@r0.test", PASSWORD, false, 1).expect("an account");
    stage.world.ask(A, Api::AccountPut { account: made }, SOON).expect("stored");
    let nonce = stage.liar.nonce(&mut stage.world, A);
    assert_eq!(verify(&mut stage, answer(&nonce, 1, PASSWORD)), AuthReply::Forbidden);
    let away = stage.add_phone(A, B, "alice");
    assert_eq!(stage.answered(away, "REGISTER"), Some(403));
    stage.with_phone(ALICE, |phone, at| phone.register(at, 600));
    stage.wait(2);
    assert_eq!(stage.answered(ALICE, "REGISTER"), Some(200), "at home she may");
}

#[test]
fn an_unknown_user_and_a_wrong_password_answer_alike() {
    let mut stage = Stage::new();
    let nonce = stage.liar.nonce(&mut stage.world, A);
    let mut nobody = answer(&nonce, 1, PASSWORD);
    (nobody.username, nobody.aor) = ("nobody".to_owned(), "nobody@r0.test".to_owned());
    let unknown = verify(&mut stage, nobody);
    let nonce = stage.liar.nonce(&mut stage.world, A);
    assert_eq!(unknown, verify(&mut stage, answer(&nonce, 1, "wrong")));
}

#[test]
fn a_new_password_voids_older_grants_everywhere_and_after_restarts() {
    let mut stage = Stage::new();
    let nonce = stage.liar.nonce(&mut stage.world, A);
    let AuthReply::Granted { grant, .. } = verify(&mut stage, answer(&nonce, 1, PASSWORD)) else {
        panic!("alice registers at the liar");
    };
    stage.publish_bind("alice@r0.test", "her phone", Some(grant.clone()));
    assert!(stage.is_routed_to_liar("alice@r0.test"), "her place is believed");
    assert!(stage.invite_with("alice@r0.test", grant.clone()), "and her calls");

    let made = account("alice@r0.test", "another good password", true, 2).expect("an account");
    stage.world.ask(A, Api::AccountPut { account: made }, SOON).expect("stored");
    stage.wait(2);
    assert!(!stage.is_routed_to_liar("alice@r0.test"));
    assert!(!stage.invite_with("alice@r0.test", grant.clone()));

    for host in [A, B] {
        stage.world.crash(host);
        stage.world.start(host);
        stage.wait(6);
        assert!(!stage.is_routed_to_liar("alice@r0.test"), "{host} was restarted");
        assert!(!stage.invite_with("alice@r0.test", grant.clone()), "{host} was restarted");
    }
    let after = Draft::bind(&stage.world, A, stage.liar.id(), "alice@r0.test", "her phone");
    assert_eq!(after.grant.permit, dots_overlay::records::Permit::Bind { instance: sha256(b"her phone") });
    assert!(stage.invite_with("alice@r0.test", after.bytes()), "a newer grant is good");
}

/// A store that cannot be read is 503 for everybody: no wrong password, no unknown user, and nobody is braked for it.
#[test]
fn an_account_store_that_cannot_be_read_is_503() {
    let mut stage = Stage::new();
    let away = stage.add_phone(A, B, "ann");
    stage.world.hosts[A].disk.is_unreadable = true;
    for _ in 0..20 {
        let nonce = stage.liar.nonce(&mut stage.world, A);
        assert_eq!(verify(&mut stage, answer(&nonce, 1, PASSWORD)), AuthReply::Unavailable);
    }
    let newcomer = stage.add_phone(A, A, "ann");
    assert_eq!(stage.answered(newcomer, "REGISTER"), Some(503));
    stage.world.hosts[A].disk.is_unreadable = false;
    for phone in [newcomer, away, ALICE] {
        stage.with_phone(phone, |phone, at| phone.register(at, 600));
        stage.wait(2);
        assert_eq!(stage.answered(phone, "REGISTER"), Some(200));
    }
    let nonce = stage.liar.nonce(&mut stage.world, A);
    assert!(is_granted(&verify(&mut stage, answer(&nonce, 1, PASSWORD))));
}

/// Attack 12: what the phone dialled, and nothing else, is what the home lets its serving peer ask.
#[test]
fn a_serving_peer_gets_no_grant_for_another_target() {
    let mut stage = Stage::new();
    for (target, expected) in [("bob@r1.test", true), ("+99900900@r1.test", false), ("ben@r1.test", false)] {
        let nonce = stage.liar.nonce(&mut stage.world, A);
        let uri = "sip:bob@r1.test";
        let ha1 = ha1(Algorithm::Sha256, "alice", "r0.test", PASSWORD);
        let dialled = Answer {
            method: "INVITE".to_owned(),
            uri: uri.to_owned(),
            response: response(Algorithm::Sha256, &ha1, "INVITE", uri, &nonce, 1, "c", "auth"),
            instance: None,
            target: Some(target.to_owned()),
            ..answer(&nonce, 1, PASSWORD)
        };
        assert_eq!(is_granted(&verify(&mut stage, dialled)), expected, "{target}");
    }
}

/// LOOKUP-3: a peer asks a home about every name it can think of.
#[test]
fn a_home_tells_no_peer_which_accounts_it_has() {
    let mut stage = Stage::new();
    stage.with_phone(ALICE, |phone, at| phone.register(at, 0));
    stage.wait(2);
    let mut ask = |grant: Option<ByteBuf>| {
        ["alice@r0.test", "nobody@r0.test"].map(|aor: &str| {
            let body = encode(&LookupRequest::Aor {
                version: VERSION,
                aor: aor.to_owned(),
                grant: grant.clone(),
                realm: None,
            });
            let reply = stage.liar.ask(&mut stage.world, A, Protocol::Lookup, body).expect("answered");
            decode::<LookupReply>(&reply).expect("a reply")
        })
    };
    let [alice, nobody] = ask(None);
    assert_eq!(alice, nobody);
    assert_eq!(alice, LookupReply::Aor { exists: None, bindings: Vec::new(), unsure: true });
}

/// LOOKUP-4: each REGISTER of a realm whose record ran out costs one small question a minute and home, no more.
#[test]
fn a_realm_that_nobody_is_home_of_is_asked_for_by_name_and_seldom() {
    let mut stage = Stage::new();
    let address = ([10, 1, 0, 9], 7_000).into();
    let server = stage.world.hosts[A].address;
    stage.world.phones.push(Phone::new(address, server, "eve", "nowhere.test", PASSWORD, 99));
    let eve = stage.world.phones.len() - 1;
    let mut refused = Vec::new();
    for _ in 0..10 {
        stage.with_phone(eve, |phone, at| phone.register(at, 600));
        stage.wait(1);
        refused.push(stage.answered(eve, "REGISTER"));
    }
    assert_eq!(refused.first(), Some(&Some(503)), "neighbours are asked");
    assert_eq!(
        refused.last(),
        Some(&Some(503)),
        "one does not answer: nobody has said that there is no such realm"
    );
    let names = |(protocol, body): &(Protocol, Vec<u8>)| {
        *protocol == Protocol::Lookup && matches!(decode(body), Ok(LookupRequest::Named { .. }))
    };
    assert_eq!(stage.liar.asked.iter().filter(|asked| names(asked)).count(), 1);
}
