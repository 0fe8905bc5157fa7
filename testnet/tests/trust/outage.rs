//! The home is down: what was granted goes on, nothing new begins, and nobody is told that a password is wrong.

use super::stage::{A, B, BOB, Stage};
use dots_testnet::sim::phone::Plan;
use std::time::Duration;

const PLAN: Plan = Plan { talk: Some(Duration::from_secs(1)), patience: Duration::from_secs(20) };

/// alice, whose home is A, registered at B; then A dies.
fn alice_away_without_a_home() -> (Stage, usize) {
    let mut stage = Stage::new();
    let away = stage.add_phone(A, B, "alice");
    assert_eq!(stage.answered(away, "REGISTER"), Some(200));
    stage.world.crash(A);
    stage.wait(5);
    (stage, away)
}

#[test]
fn an_unchanged_refresh_and_a_call_on_the_bindings_flow_are_honoured() {
    for minutes in [0, 4, 20] {
        let (mut stage, away) = alice_away_without_a_home();
        stage.with_phone(BOB, |phone, at| phone.register(at, 3_600));
        for _ in 0..minutes {
            stage.wait(55);
            stage.with_phone(away, |phone, at| phone.register(at, 600));
            stage.wait(5);
            assert_eq!(stage.answered(away, "REGISTER"), Some(200), "within {minutes} minutes");
        }
        stage.with_phone(away, |phone, at| phone.register(at, 600));
        stage.wait(10);
        assert_eq!(stage.answered(away, "REGISTER"), Some(200), "after {minutes} minutes");
        stage.with_phone(away, |phone, at| phone.call(at, "bob@r1.test", PLAN));
        stage.wait(15);
        assert!(stage.world.phones[away].calls.iter().all(|c| c.was_up), "after {minutes} minutes");
        assert!(stage.reached(BOB).contains(&"INVITE".to_owned()));
    }
}

#[test]
fn all_else_is_503_and_never_401_or_403() {
    let (mut stage, away) = alice_away_without_a_home();
    let newcomer = stage.add_phone(A, B, "ann");
    stage.wait(20);
    let answer = stage.last_answer(newcomer, "REGISTER").expect("answered");
    assert_eq!(answer.status(), Some(503));
    assert!(answer.header(&dots_sip::message::Name::RetryAfter).is_some());
    stage.with_phone(newcomer, |phone, at| phone.call(at, "bob@r1.test", PLAN));
    stage.wait(20);
    assert_eq!(stage.answered(newcomer, "INVITE"), Some(503), "no binding, no call");
    // A second phone of alice's, and a change of the first.
    let second = stage.add_phone(A, B, "alice");
    stage.wait(20);
    assert_eq!(stage.answered(second, "REGISTER"), Some(503));
    assert!(!stage.reached(BOB).contains(&"INVITE".to_owned()));
    // Text is no call.
    let before = stage.reached(BOB).len();
    stage.with_phone(away, |phone, at| phone.message(at, "bob@r1.test", "hello"));
    stage.wait(20);
    assert_eq!(stage.answered(away, "MESSAGE"), Some(503));
    assert_eq!(stage.reached(BOB).len(), before);
    stage.with_phone(away, |phone, at| phone.register(at, 0));
    stage.wait(20);
    assert_eq!(stage.answered(away, "REGISTER"), Some(503), "a removal is a change");
}

#[test]
fn the_home_comes_back_and_everything_works_again() {
    let (mut stage, away) = alice_away_without_a_home();
    stage.world.start(A);
    stage.wait(5);
    let newcomer = stage.add_phone(A, B, "ann");
    stage.wait(10);
    assert_eq!(stage.answered(newcomer, "REGISTER"), Some(200));
    stage.with_phone(away, |phone, at| phone.register(at, 0));
    stage.wait(10);
    assert_eq!(stage.answered(away, "REGISTER"), Some(200));
}
