//! The bytes of `/dots/log/2`, and what is refused there.

use super::*;
use crate::hostile::attack;
use dots_wire::{SecretKey, Timestamp};

fn peer(n: u8) -> PeerId {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
}

fn incarnation() -> Incarnation {
    Incarnation { started: Timestamp(1_000), random: 7 }
}

fn head() -> Head {
    let (author, shard) = (peer(7), "01".to_owned());
    Head { author, shard, incarnation: incarnation(), seq: 3, hash: Hash([9; 32]) }
}

fn questions() -> [(&'static str, Question); 3] {
    let root = Hash([8; 32]);
    [
        ("heads", Question::Heads { version: VERSION, root, after: None }),
        ("heads-after", Question::Heads { version: VERSION, root, after: Some((peer(7), "01".into())) }),
        (
            "range",
            Question::Range {
                version: VERSION,
                author: peer(7),
                shard: String::new(),
                incarnation: incarnation(),
                from: 300,
            },
        ),
    ]
}

fn answers() -> [(&'static str, Answer); 3] {
    [
        ("same", Answer::Same),
        ("heads", Answer::Heads { heads: vec![head()], more: true }),
        ("entries", Answer::Entries { entries: vec![ByteBuf::from([1, 2]), ByteBuf::from([3])] }),
    ]
}

/// A change here is a new version of the protocol, or a CHANGELOG line before the first release.
#[test]
fn golden_bytes() {
    let mut got = String::new();
    for (name, question) in questions() {
        got += &format!("question-{name} {}\n", hex::encode(encode(&question)));
    }
    for (name, answer) in answers() {
        got += &format!("answer-{name} {}\n", hex::encode(encode(&answer)));
    }
    got += &format!("head {}\n", hex::encode(encode(&head())));
    assert!(got == include_str!("golden.txt"), "other bytes than golden.txt:\n{got}");
}

/// One that may be asked anything.
fn answered(body: &[u8]) -> Option<Answer> {
    let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
    let mut chains = Chains::new(peer(9), incarnation());
    let answer = Sync::new(now, EVERY).answer(now, peer(1), body, &mut chains)?;
    Some(decode(&answer).expect("our own answer"))
}

#[test]
fn a_question_is_of_this_version_and_whole() {
    for (name, question) in questions() {
        let bytes = encode(&question);
        assert!(answered(&bytes).is_some(), "{name}");
        attack(name, &bytes, |b| answered(b).is_some());
    }
    let newer = Question::Heads { version: VERSION + 1, root: Hash([8; 32]), after: None };
    assert!(answered(&encode(&newer)).is_none());
    let (author, version) = (peer(7), VERSION + 1);
    let range = |version: u8, shard: &str| {
        let shard = shard.to_owned();
        encode(&Question::Range { version, author, shard, incarnation: incarnation(), from: 0 })
    };
    assert!(answered(&range(version, "")).is_none());
    assert!(answered(&range(VERSION, "0")).is_none(), "a shard that we do not follow");
}

#[test]
fn an_answer_is_read_whole_or_not_at_all() {
    for (name, answer) in answers() {
        let bytes = encode(&answer);
        attack(name, &bytes, |b| decode::<Answer>(b).is_ok());
        let again = decode::<Answer>(&bytes).expect("what we wrote");
        assert_eq!(format!("{again:?}"), format!("{answer:?}"));
    }
}
