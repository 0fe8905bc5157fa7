//! What is believed of a name, and what never is.

use super::*;
use crate::records::{Callers, Serving};
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
    realms.accept(&record.sign(by), key(from).peer_id(), NOW).map(|c| c.is_some())
}

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
        (RealmRecord { version: 2, ..record("c.test", &realm, 1, 1) }, realm.clone(), 1, Refused::Unreadable),
    ];
    for (record, by, from, why) in cases {
        assert_eq!(tell(&mut realms, &record, &by, from), Err(why), "{record:?}");
    }
    assert_eq!(realms.lookup("a.net", NOW.plus(VALID_MAX)), None, "expired");
}

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
    assert_eq!(realms.heard_txt("a.net", &["v=spf1".into()]), None);
    assert!(realms.heard_txt("a.net", &[txt_value(&second.public())]).is_some());
    assert_eq!(realms.get("a.net").map(|k| (k.key, k.belief)), Some((second.public(), Belief::Txt)));
    assert!(realms.pin("a.net", first.public(), Belief::Pinned).is_some());
    assert_eq!(realms.heard_txt("a.net", &[txt_value(&second.public())]), None);
}

#[test]
fn what_is_written_down_comes_back() {
    let (first, second) = (key(10), key(11));
    let mut realms = Realms::default();
    let mut journal = Vec::new();
    for (realm, home) in [(&first, 1), (&second, 2)] {
        let signed = record("a.net", realm, home, 1).sign(realm);
        journal.extend(realms.accept(&signed, key(home).peer_id(), NOW).expect("taken"));
    }
    journal.extend(realms.pin("b.net", second.public(), Belief::Pinned));
    let mut again = Realms::default();
    for change in journal {
        again.replay(decode(&encode(&change)).expect("what we wrote"));
    }
    assert_eq!(again.known, realms.known);
    assert_eq!(again.unclaimed, realms.unclaimed);
    assert_eq!(again.snapshot().count(), 2);
}

/// A change here is a new version of the record, or a CHANGELOG line before the first release.
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
