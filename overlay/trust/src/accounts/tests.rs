//! Tables of what is decided about accounts.

use super::*;
use crate::{account::Account, records::grant::BIND_LIFE_MAX};
use dots_wire::Timestamp;
use std::{collections::BTreeMap, time::Duration};

const NOW: u64 = 1_700_000_000_000;

fn made(aor: &str, password: &str, roaming: bool, at: u64) -> Account {
    account(aor, password, roaming, at).expect("a good account")
}

fn wanted<'a>(aor: &'a str, password: &'a str, roaming: Option<bool>) -> Wanted<'a> {
    Wanted { aor, password, is_ha1: false, roaming }
}

fn aliases() -> BTreeMap<String, String> {
    [("12".to_owned(), "bob@b.test".to_owned())].into()
}

#[test]
fn who_may_have_an_account() {
    let (realms, aliases) = (["a.test".to_owned(), "b.test".to_owned()], aliases());
    let home = Home { realms: &realms, aliases: &aliases };
    let known = made("12@a.test", "old", false, 1);
    for (why, known, aor, password, says, roams) in [
        ("a new one may roam", None, "alice@a.test", "secret", Ok(()), true),
        ("in any spelling", None, "sip:alice@A.Test.", "secret", Ok(()), true),
        ("in another realm of ours", None, "alice@b.test", "secret", Ok(()), true),
        ("not elsewhere", None, "alice@c.test", "secret", Err("not home"), true),
        ("not below ours", None, "alice@x.a.test", "secret", Err("not home"), true),
        ("not behind an alias", None, "12@a.test", "secret", Err("is an alias of bob@b.test"), true),
        ("one that was there before the alias", Some(&known), "12@a.test", "new", Ok(()), false),
        ("no password", None, "alice@a.test", "", Err("password"), true),
        ("no name", None, "@a.test", "secret", Err("address of record"), true),
    ] {
        let put = home.put(known, &wanted(aor, password, None), NOW);
        match says {
            Ok(()) => {
                let put = put.unwrap_or_else(|e| panic!("{why}: {e}"));
                assert_eq!((put.roaming, put.changed_at_ms), (roams, NOW), "{why}");
                assert_eq!(canonical(aor).as_ref(), Ok(&put.aor), "{why}");
            }
            Err(text) => {
                let told = put.map(drop).expect_err(why).to_string();
                assert!(told.contains(text), "{why}: {told}");
            }
        }
    }
    let said = home.put(Some(&known), &wanted("12@a.test", "new", Some(true)), NOW).expect("it is there");
    assert!(said.roaming, "what is said counts");
    assert_eq!(home.hidden_by("12"), ["12@a.test", "12@b.test"]);
}

#[test]
fn what_an_import_does_to_an_account() {
    let known = made("alice@a.test", "secret", false, 1);
    let import = |password, roaming: Option<bool>| Imported {
        account: made("alice@a.test", password, roaming.unwrap_or(true), NOW),
        keeps_roaming: roaming.is_none(),
    };
    let differs = |o: &Outcome| matches!(o, Outcome::Differs(_));
    assert!(matches!(import("secret", None).beside(None), Outcome::New(a) if a.roaming));
    assert_eq!(import("secret", None).beside(Some(&known)), Outcome::Same, "whenever it was given");
    assert_eq!(import("secret", Some(false)).beside(Some(&known)), Outcome::Same);
    assert!(differs(&import("other", None).beside(Some(&known))), "another password");
    assert!(differs(&import("secret", Some(true)).beside(Some(&known))), "other rights");
    let Outcome::Differs(kept) = import("other", None).beside(Some(&known)) else { panic!("it differs") };
    assert!(!kept.roaming, "what was not said stays");
}

#[test]
fn everything_that_is_wrong_with_an_import_is_told() {
    let (realms, aliases) = (["a.test".to_owned()], aliases());
    let home = Home { realms: &realms, aliases: &aliases };
    let rows = [
        wanted("alice@a.test", "one", None),
        wanted("alice@c.test", "one", None),
        wanted("sip:alice@A.test", "two", None),
        wanted("12@a.test", "one", None),
        wanted("bob@a.test", "\n", None),
    ];
    let wrong = home.prepare(&rows, NOW).expect_err("four of five");
    assert_eq!(wrong.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(matches!(&wrong[1].1, Wrong::Double { first: 1, .. }));
    assert_eq!(home.prepare(&rows[..1], NOW).map(|good| good.len()).ok(), Some(1));
}

/// DISK-9a.
#[test]
fn changes_are_numbered_and_void_what_was_proved_before() {
    let put = |aor: &str, at| Change::Put(made(aor, "secret", true, at));
    let changes = [
        put("alice@a.test", 10),
        put("bob@a.test", 11),
        put("alice@a.test", 20),
        Change::removed("bob@a.test", 30),
        put("bob@a.test", 40),
        put("carl@a.test", 50),
        Change::removed("nobody@a.test", 60),
    ];
    let (mut numbers, mut voided) = (Numbers::default(), Voided::default());
    for (place, change) in (1..).zip(&changes) {
        assert_eq!(numbers.take(), place);
        assert_eq!(Change::read(&change.to_bytes()).as_ref(), Some(change));
        voided.hear(change);
    }
    assert_eq!(numbers.last(), 7);
    let expected = [("alice@a.test", 20), ("bob@a.test", 40), ("nobody@a.test", 60)];
    let expected: BTreeMap<String, u64> = expected.map(|(aor, at)| (aor.to_owned(), at)).into();
    assert_eq!(voided.into_times(), expected);
}

#[test]
fn a_proof_is_void_that_was_given_before_the_change() {
    let (now, hour) = (Timestamp(NOW), BIND_LIFE_MAX);
    let minute = Duration::from_secs(60);
    let given = |at: Timestamp| at.plus(hour);
    let changed = now.minus(minute);
    assert!(is_void(now, given(changed.minus(Duration::from_millis(1))), changed));
    assert!(!is_void(now, given(changed), changed));
    assert!(!is_void(now, given(now), changed));
    assert!(is_void(now, given(now).plus(minute), changed), "by a clock that was ahead");
}
