//! What is believed of a name, and what never is.

use super::*;
use crate::records::{
    Callers,
    realm::{REALM_VERSION, Serving, VALID_MAX},
};
use dots_wire::{Hash, SecretKey, decode, encode};

const NOW: Timestamp = Timestamp(1_000_000_000);

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn record(name: &str, realm: &SecretKey, home: u8, seq: u64) -> RealmRecord {
    RealmRecord {
        version: REALM_VERSION,
        name: name.to_owned(),
        key: realm.public(),
        seq,
        homes: vec![key(home).peer_id()],
        serving: Serving::Any,
        callers: Callers::Any,
        aor_salt: Hash([9; 32]),
        valid_until: NOW.plus(VALID_MAX),
    }
}

fn tell(realms: &mut Realms, record: &RealmRecord, by: &SecretKey, from: u8) -> Result<bool, Refused> {
    realms.accept(&record.sign(by), key(from).peer_id(), NOW).map(|h| h != Heard::Known)
}

/// REC-2.
#[test]
fn names_follow_from_keys() {
    let key = key(5).public();
    let name = self_certifying(&key);
    assert_eq!(name.len(), NAME_CHARS + 5);
    assert!(is_name(&name));
    for bad in ["127.0.0.1", "localhost", "a.localhost", "", "a..b", "A.b", "p1.peer.dots", "[::1]", "a b"] {
        assert!(!is_name(bad), "{bad}");
    }
}

#[test]
fn the_first_key_heard_stays_and_a_second_is_listed() {
    let mut realms = Realms::default();
    let (first, second) = (key(10), key(11));
    assert_eq!(tell(&mut realms, &record("a.net", &first, 1, 1), &first, 1), Ok(true));
    assert_eq!(tell(&mut realms, &record("a.net", &first, 1, 1), &first, 1), Ok(false), "known");
    assert_eq!(tell(&mut realms, &record("a.net", &second, 2, 99), &second, 2), Ok(true), "as a rival");
    assert_eq!(tell(&mut realms, &record("a.net", &second, 2, 99), &second, 2), Err(Refused::Rival));
    assert_eq!(realms.lookup("a.net", NOW).map(|r| r.key), Some(first.public()));
    assert_eq!(realms.get("a.net").map(|k| k.rivals.clone()), Some(vec![second.public()]));
    assert!(realms.pin("a.net", second.public(), Belief::Pinned).is_some());
    assert_eq!(realms.lookup("a.net", NOW), None, "the record of the other key is gone");
    assert_eq!(tell(&mut realms, &record("a.net", &second, 2, 99), &second, 7), Ok(true), "by anybody");
    assert_eq!(realms.lookup("a.net", NOW).map(|r| r.key), Some(second.public()));
    assert!(realms.forget("a.net").is_some());
    assert_eq!(tell(&mut realms, &record("a.net", &first, 1, 1), &first, 1), Ok(true));
}

/// REC-3.
#[test]
fn what_is_refused() {
    let realm = key(10);
    let mut realms = Realms::default();
    assert_eq!(tell(&mut realms, &record("a.net", &realm, 1, 5), &realm, 1), Ok(true));
    let cases = [
        (record("a.net", &realm, 1, 4), realm.clone(), 1, Refused::Older),
        (record("a.net", &realm, 1, 6), key(12), 1, Refused::Signature),
        (record("b.net", &realm, 1, 1), realm.clone(), 2, Refused::NotFromHome),
        (record("abc.dots", &realm, 1, 1), realm.clone(), 1, Refused::NotItsName),
        (record("A.test", &realm, 1, 1), realm.clone(), 1, Refused::Malformed),
        (record("", &realm, 1, 1), realm.clone(), 1, Refused::Malformed),
        (
            RealmRecord { homes: vec![key(1).peer_id(); 9], ..record("c.test", &realm, 1, 1) },
            realm.clone(),
            1,
            Refused::Malformed,
        ),
        (
            RealmRecord { homes: vec![], ..record("c.test", &realm, 1, 1) },
            realm.clone(),
            1,
            Refused::Malformed,
        ),
        (RealmRecord { valid_until: NOW, ..record("c.test", &realm, 1, 1) }, realm.clone(), 1, Refused::Time),
        (
            RealmRecord { valid_until: NOW.plus(VALID_MAX * 2), ..record("c.test", &realm, 1, 1) },
            realm.clone(),
            1,
            Refused::Time,
        ),
        (
            RealmRecord {
                serving: Serving::Listed(vec![key(1).peer_id(); 65]),
                ..record("c.test", &realm, 1, 1)
            },
            realm.clone(),
            1,
            Refused::Malformed,
        ),
        (
            RealmRecord {
                serving: Serving::Listed(vec![key(1).peer_id(); 200]),
                ..record("c.test", &realm, 1, 1)
            },
            realm.clone(),
            1,
            Refused::Unreadable,
        ),
        (RealmRecord { version: 2, ..record("c.test", &realm, 1, 1) }, realm.clone(), 1, Refused::Unreadable),
    ];
    for (record, by, from, why) in cases {
        assert_eq!(tell(&mut realms, &record, &by, from), Err(why), "{record:?}");
    }
    assert_eq!(realms.lookup("a.net", NOW.plus(VALID_MAX)), None, "expired");
}

/// REC-4.
#[test]
fn one_peer_brings_no_more_than_sixteen_names_and_a_name_of_its_key_always_counts() {
    let realm = key(10);
    let mut realms = Realms::default();
    for n in 0..UNCLAIMED_PER_PEER {
        assert_eq!(tell(&mut realms, &record(&format!("r{n}.test"), &realm, 1, 1), &realm, 1), Ok(true));
    }
    assert_eq!(tell(&mut realms, &record("more.test", &realm, 1, 1), &realm, 1), Err(Refused::TooMany));
    let own = self_certifying(&realm.public());
    assert_eq!(tell(&mut realms, &record(&own, &realm, 1, 1), &realm, 5), Ok(true));
    assert!(realms.forget("r0.test").is_some());
    assert_eq!(tell(&mut realms, &record("more.test", &realm, 1, 1), &realm, 1), Ok(true));
}

#[test]
fn dns_outweighs_the_first_heard_and_a_pin_outweighs_dns() {
    let (first, second) = (key(10), key(11));
    let mut realms = Realms::default();
    assert_eq!(tell(&mut realms, &record("a.net", &first, 1, 1), &first, 1), Ok(true));
    assert_eq!(tell(&mut realms, &record("a.net", &second, 2, 1), &second, 2), Ok(true));
    assert!(realms.wants_txt("a.net"));
    assert!(!realms.wants_txt("c.test"));
    assert_eq!(realms.heard_txt("a.net", &["v=spf1".into()], NOW), None);
    assert!(realms.heard_txt("a.net", &[txt_value(&second.public())], NOW).is_some());
    assert_eq!(realms.get("a.net").map(|k| (k.key, k.belief)), Some((second.public(), Belief::Txt)));
    assert!(realms.pin("a.net", first.public(), Belief::Pinned).is_some());
    assert_eq!(realms.heard_txt("a.net", &[txt_value(&second.public())], NOW), None);
}

#[test]
fn what_is_written_down_comes_back() {
    let (first, second) = (key(10), key(11));
    let mut realms = Realms::default();
    let mut journal = Vec::new();
    for (realm, home) in [(&first, 1), (&second, 2)] {
        let signed = record("a.net", realm, home, 1).sign(realm);
        match realms.accept(&signed, key(home).peer_id(), NOW) {
            Ok(Heard::Changed(changes)) => journal.extend(changes),
            other => panic!("{other:?}"),
        }
    }
    journal.extend(realms.pin("b.net", second.public(), Belief::Pinned));
    let mut again = Realms::default();
    for change in journal {
        again.replay(decode(&encode(&change)).expect("what we wrote"));
    }
    assert_eq!(again.known, realms.known);
    assert_eq!(again.announced, realms.announced);
    assert_eq!(again.snapshot().count(), 2);
}

fn many(n: u32) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(&bytes).expect("a scalar")
}

#[test]
fn names_that_prove_themselves_do_not_fill_the_table() {
    let mut realms = Realms::default();
    let mut taken = 0;
    // Three peers make up as many keys as they like; a fourth brings one realm, late.
    for n in 0..3_300u32 {
        let realm = many(n);
        let from = 1 + (n / 1_100) as u8;
        let record = record(&self_certifying(&realm.public()), &realm, from, 1);
        taken += usize::from(tell(&mut realms, &record, &realm, from).is_ok());
    }
    assert!(taken >= REALMS_MAX && realms.known.len() == REALMS_MAX, "{taken} taken");
    let late = key(10);
    let name = self_certifying(&late.public());
    assert_eq!(
        tell(&mut realms, &record(&name, &late, 9, 1), &late, 9),
        Ok(true),
        "who brings little gets in"
    );
    assert_eq!(realms.known.len(), REALMS_MAX);
    assert_eq!(realms.announced, {
        let mut again = Realms::default();
        realms.snapshot().for_each(|change| again.replay(change));
        again.announced
    });
    let pinned = many(0).public();
    realms.pin(&self_certifying(&pinned), pinned, Belief::Pinned);
    let later = NOW.plus(VALID_MAX);
    let next = RealmRecord { valid_until: later.plus(VALID_MAX), ..record("late.test", &late, 9, 1) };
    let heard = realms.accept(&next.sign(&late), key(9).peer_id(), later);
    assert!(matches!(heard, Ok(Heard::Changed(c)) if c.len() == REALMS_MAX), "all that expired is gone");
    assert_eq!(realms.known.len(), 2, "but for what the operator pinned");
}

/// What somebody here wants is believed from whoever was asked, however many names that one was made to tell before; and names
/// that were asked for push nobody's out but those of the network that has most.
#[test]
fn a_name_that_is_asked_for_costs_no_budget_and_no_network_keeps_another_out() {
    let mut realms = Realms::default();
    let teller = |from: u8, network: u64, is_asked: bool| Teller {
        peer: key(from).peer_id(),
        network: Some(network),
        is_asked,
    };
    let mut tell = |n: u32, teller: Teller| {
        let realm = many(n);
        let record = record(&self_certifying(&realm.public()), &realm, 1, 1).sign(&realm);
        realms.accept(&record, teller, NOW).is_ok()
    };
    let unasked = (0..1_100).filter(|n| tell(*n, teller(3, 30, false))).count();
    assert_eq!(unasked, CERTIFIED_PER_PEER);
    assert!(!tell(1_200, teller(3, 30, false)) && tell(1_200, teller(3, 30, true)), "wanted");
    let asked = (2_000..6_000).filter(|n| tell(*n, teller((n % 200) as u8 + 4, 40, true))).count();
    assert!(asked >= REALMS_MAX - 1_001, "{asked}");
    assert!(tell(7_000, teller(9, 50, false)) && tell(7_001, teller(9, 50, true)), "another network");
    assert_eq!(realms.known.len(), REALMS_MAX);
    let of = |network: u64| {
        realms.known.values().filter(|k| k.brought.is_some_and(|b| b.network == network)).count()
    };
    assert_eq!((of(50), of(30) + of(40)), (2, REALMS_MAX - 2));
    let mut again = Realms::default();
    realms.snapshot().for_each(|change| again.replay(decode(&encode(&change)).expect("what we wrote")));
    assert_eq!(again.announced, realms.announced, "as it is after a restart");
}

/// Whoever judges a grant looks at each name of its realm's key, so a key has not thousands; whether asked for or not, and
/// whoever tells them. What is known of it stays.
#[test]
fn one_key_owns_no_more_names_than_can_be_looked_at() {
    let mut realms = Realms::default();
    let realm = key(10);
    let mut told = 0;
    for n in 0..200u8 {
        let home = 1 + n;
        let record = record(&format!("r{n}.net"), &realm, home, 1);
        let teller = Teller { peer: key(home).peer_id(), network: Some(home.into()), is_asked: n % 2 == 0 };
        match realms.accept(&record.sign(&realm), teller, NOW) {
            Ok(_) => told += 1,
            Err(why) => assert_eq!(why, Refused::KeyHasMany),
        }
    }
    assert_eq!(
        (told, realms.by_id(realm.public().label(), NOW).count()),
        (NAMES_OF_KEY_MAX, NAMES_OF_KEY_MAX)
    );
    assert_eq!(
        tell(&mut realms, &record("r0.net", &realm, 1, 2), &realm, 1),
        Ok(true),
        "a newer one of the first"
    );
    let other = key(11);
    assert_eq!(tell(&mut realms, &record("s.net", &other, 1, 1), &other, 1), Ok(true), "another key's");
    assert!(realms.forget("r3.net").is_some());
    assert_eq!(
        tell(&mut realms, &record("new.net", &realm, 99, 1), &realm, 99),
        Ok(true),
        "room for another"
    );
}

#[test]
fn a_realm_that_signs_without_end_is_taken_once_a_minute() {
    let mut realms = Realms::default();
    let realm = key(10);
    let mut taken = 0;
    for seq in 1..100 {
        taken += usize::from(tell(&mut realms, &record("a.net", &realm, 1, seq), &realm, 1).is_ok());
    }
    assert_eq!(taken, 2, "the first, and one newer");
    let later = NOW.plus(RENEWED_EVERY);
    let signed = record("a.net", &realm, 1, 100).sign(&realm);
    assert!(matches!(realms.accept(&signed, key(1).peer_id(), later), Ok(Heard::Changed(_))));
    realms.pin("own.net", realm.public(), Belief::Own);
    let own =
        (1..100).filter(|seq| tell(&mut realms, &record("own.net", &realm, 1, *seq), &realm, 1) == Ok(true));
    assert_eq!(own.count(), 99, "our own as we sign it");
}

#[test]
fn junk_rivals_do_not_keep_out_the_owner_that_dns_names() {
    let owner = key(100);
    for txt_first in [false, true] {
        let mut realms = Realms::default();
        for n in 10..30u8 {
            let thief = key(n);
            let _ = tell(&mut realms, &record("a.net", &thief, n, 1), &thief, n);
        }
        assert_eq!(realms.get("a.net").map(|k| k.rivals.len()), Some(RIVALS_MAX));
        let txt = [txt_value(&owner.public())];
        let mine = record("a.net", &owner, 99, 1);
        let signed = mine.sign(&owner);
        if txt_first {
            assert_eq!(realms.heard_txt("a.net", &txt, NOW), None, "nobody has shown that key yet");
            assert!(matches!(realms.accept(&signed, key(5).peer_id(), NOW), Ok(Heard::Changed(_))));
        } else {
            let later = NOW.plus(Duration::from_secs(60));
            let heard = realms.accept(&signed, key(5).peer_id(), later);
            assert_eq!(heard, Ok(Heard::AskDns("a.net".into())));
            let again = realms.accept(&signed, key(5).peer_id(), later);
            assert_eq!(again, Err(Refused::Rival), "DNS is not asked for each that comes");
            for n in 40..44u8 {
                let thief = key(n);
                let _ = tell(&mut realms, &record("a.net", &thief, n, 1), &thief, n);
            }
            assert!(realms.heard_txt("a.net", &txt, later).is_some());
        }
        assert_eq!(realms.lookup("a.net", NOW), Some(&mine), "txt first: {txt_first}");
        assert_eq!(realms.get("a.net").map(|k| k.belief), Some(Belief::Txt));
        assert_eq!(realms.by_id(mine.id(), NOW).collect::<Vec<_>>(), [&mine]);
        assert_eq!(realms.by_id(key(10).public().label(), NOW).count(), 0, "the thief's key has no name");
    }
}

#[test]
fn what_has_expired_is_not_told_on() {
    let mut realms = Realms::default();
    let realm = key(10);
    assert_eq!(tell(&mut realms, &record("a.net", &realm, 1, 1), &realm, 1), Ok(true));
    realms.pin("pinned.net", realm.public(), Belief::Pinned);
    assert_eq!(realms.tellable(NOW).count(), 1);
    assert_eq!(realms.tellable(NOW.plus(VALID_MAX)).count(), 0);
}

/// REC-1: a change here is a new version of the record, or a CHANGELOG line before the first release.
#[test]
fn golden_bytes() {
    let signed = encode(&record("a.test", &key(10), 1, 7).sign(&key(10)));
    assert_eq!((signed.len(), dots_wire::sha256(&signed).to_string().as_str()), GOLDEN);
}

const GOLDEN: (usize, &str) = (197, "306be9474f9a204274e8db56c45ff316b40616ce663dfe0cca5ce97a596a3e88");

#[test]
fn a_record_is_read_whole_or_not_at_all() {
    let signed = record("a.test", &key(10), 1, 7).sign(&key(10));
    let read = |payload: &[u8]| {
        let signed = Signed { payload: payload.to_vec(), signature: signed.signature };
        Realms::default().accept(&signed, key(1).peer_id(), NOW) != Err(Refused::Unreadable)
    };
    crate::hostile::attack("realm record", &signed.payload, read);
    crate::hostile::attack("signed realm record", &encode(&signed), |b| decode::<Signed>(b).is_ok());
}
