use super::*;
use crate::{
    account::{Account, Digests},
    digest::{self, Algorithm},
    lease::Stamp,
};
use dots_wire::{Hash, SecretKey};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

struct World {
    now: Now,
    judge: Judge,
    via: Via,
    stamp: Stamp,
    account: Account,
}

fn digests(user: &str) -> Digests {
    let ha1 = |algorithm| digest::ha1(algorithm, user, "a.net", "wonderland");
    Digests { sha256: ha1(Algorithm::Sha256), md5: ha1(Algorithm::Md5) }
}

const PHONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl World {
    fn new() -> World {
        let key = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar");
        let account = Account {
            aor: "alice@a.net".into(),
            short: digests("alice"),
            full: digests("alice@a.net"),
            escaped: digests("alice%40a.net"),
            roaming: true,
            changed_at_ms: 0,
            spelt: Vec::new(),
        };
        World {
            now: Now { mono: Instant::now(), wall: Timestamp(1_000_000) },
            judge: Judge::new(Lessor::new(&key(1), [1; 16])),
            via: Via { serving: key(2).peer_id(), is_home: false, source: Hash([1; 32]), network: 7 },
            stamp: Stamp::new(&key(2), [2; 16]),
            account,
        }
    }

    fn nonce(&mut self) -> String {
        let lease = self.judge.lease(self.via.serving, self.now.wall, [7; 8]);
        self.stamp.nonce(&lease, PHONE)
    }

    fn answer(&mut self, username: &str, aor: &str, password: &str) -> Box<Answer> {
        let nonce = self.nonce();
        answer_to(&nonce, username, aor, password)
    }

    fn ask(&mut self, answer: Box<Answer>) -> Result<(), Refused> {
        let account = (answer.aor == self.account.aor).then(|| self.account.clone());
        self.ask_store(answer, Ok(account.as_ref()))
    }

    fn ask_store(
        &mut self,
        answer: Box<Answer>,
        account: Result<Option<&Account>, StoreDown>,
    ) -> Result<(), Refused> {
        let admitted = self.judge.admit(self.now, answer, self.via)?;
        self.judge.judge(self.now, &admitted, account)
    }
}

fn answer_to(nonce: &str, username: &str, aor: &str, password: &str) -> Box<Answer> {
    let ha1 = digest::ha1(Algorithm::Sha256, username, "a.net", password);
    let response = digest::response(Algorithm::Sha256, &ha1, "REGISTER", "sip:a.net", nonce, 1, "c", "auth");
    Box::new(Answer {
        method: "REGISTER".into(),
        username: username.into(),
        realm: "a.net".into(),
        nonce: nonce.into(),
        uri: "sip:a.net".into(),
        response,
        algorithm: "SHA-256".into(),
        qop: "auth".into(),
        nc: 1,
        cnonce: "c".into(),
        aor: aor.into(),
        instance: Some("i".into()),
        target: None,
        source: Hash([1; 32]),
    })
}

/// AUTH-4.
#[test]
fn verdicts() {
    let mut w = World::new();
    for (why, username, aor, password, expected) in [
        ("short", "alice", "alice@a.net", "wonderland", Ok(())),
        ("in full", "alice@a.net", "alice@a.net", "wonderland", Ok(())),
        ("with an escape", "alice%40a.net", "alice@a.net", "wonderland", Ok(())),
        ("another's name", "alice", "bob@a.net", "wonderland", Err(Refused::Forbidden)),
        ("wrong password", "alice", "alice@a.net", "looking-glass", Err(Refused::Wrong)),
        ("unknown user, alike", "nobody", "nobody@a.net", "wonderland", Err(Refused::Wrong)),
    ] {
        let answer = w.answer(username, aor, password);
        assert_eq!(w.ask(answer), expected, "{why}");
    }
    let without_qop =
        Box::new(Answer { qop: String::new(), ..*w.answer("alice", "alice@a.net", "wonderland") });
    assert_eq!(w.ask(without_qop), Err(Refused::Wrong));
}

#[test]
fn what_is_no_answer_to_a_lease_of_ours_costs_nobody_a_try() {
    let mut w = World::new();
    let old = w.nonce();
    w.now.wall = w.now.wall.plus(Duration::from_secs(301));
    let serving = w.via.serving;
    w.via.serving = SecretKey::from_bytes(&[3; 32]).expect("a scalar").peer_id();
    let of_another = w.nonce();
    w.via.serving = serving;
    for n in 0..300 {
        let nonce = [old.as_str(), "made-up", of_another.as_str()][n % 3];
        for password in ["wonderland", "looking-glass"] {
            let answer = answer_to(nonce, "alice", "alice@a.net", password);
            assert_eq!(w.ask(answer), Err(Refused::Stale), "and it tells nothing");
        }
    }
    let right = w.answer("alice", "alice@a.net", "wonderland");
    assert_eq!(w.ask(right.clone()), Ok(()));
    assert_eq!(w.ask(right), Err(Refused::Stale), "used");
}

/// A store that cannot be read says "later", brakes nobody, and tells nobody from anybody.
#[test]
fn a_store_that_cannot_be_read_is_not_a_wrong_password() {
    let mut w = World::new();
    for _ in 0..100 {
        for (aor, user) in [("alice@a.net", "alice"), ("nobody@a.net", "nobody")] {
            let answer = w.answer(user, aor, "wonderland");
            assert_eq!(w.ask_store(answer, Err(StoreDown)), Err(Refused::Unavailable));
        }
    }
    let right = w.answer("alice", "alice@a.net", "wonderland");
    assert_eq!(w.ask(right), Ok(()));
}

#[test]
fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let mut w = World::new();
    let mut admitted = Vec::new();
    for _ in 0..100 {
        let wrong = w.answer("alice", "alice@a.net", "looking-glass");
        admitted.extend(w.judge.admit(w.now, wrong, w.via));
    }
    assert_eq!(admitted.len(), 10, "the address's own, and the account's");
    for a in &admitted {
        assert_eq!(w.judge.judge(w.now, a, Ok(Some(&w.account.clone()))), Err(Refused::Wrong));
    }
    let right = w.answer("alice", "alice@a.net", "wonderland");
    assert_eq!(w.ask(right), Err(Refused::Forbidden), "it has to wait");
}
