//! Who wants all the room, and what it gets.

use super::*;
use crate::records::{Entry, Header, Incarnation, Revoke, entry::VERSION};
use dots_wire::{SecretKey, encode};
use std::time::Instant;

const AOR: Hash = Hash([1; 32]);
const REALM: Label20 = Label20([0; 20]);
const HOUR: u64 = 3_600_000;
const FROM: PeerId = PeerId(dots_wire::PublicKey([0; 33]));
const OWN: Source = Source { standing: Standing::Own, from: FROM };
const HOME: Source = Source { standing: Standing::Trusted, from: FROM };
const STRANGER: Source = Source { standing: Standing::Other, from: FROM };
const OTHER: Cause = Cause::new(Standing::Other);

fn key(n: u32) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(&bytes).expect("a scalar")
}

fn now() -> Now {
    Now { mono: Instant::now(), wall: Timestamp(1_000_000) }
}

fn phone(n: u32) -> Hash {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    Hash(hash)
}

fn bind(aor_id: Hash, instance: Hash, until: u64) -> Event {
    Event::Bind(Bind { aor_id, realm: REALM, instance, until: Timestamp(until), grant: None })
}

fn say(dir: &mut Directory, author: u32, source: Source, events: &[Event]) -> usize {
    let header = Header {
        version: VERSION,
        author: key(author).peer_id(),
        incarnation: Incarnation { started: Timestamp(1), random: 1 },
        shard: String::new(),
        seq: 0,
        prev: Hash([0; 32]),
        time: now().wall,
        count: 0,
        events_root: Hash([0; 32]),
    };
    let entry = Entry::seal(&key(author), header, events.iter().map(encode).collect());
    dir.hear(now(), &entry, false, source)
}

fn until() -> u64 {
    now().wall.0 + HOUR
}

fn serving(dir: &Directory) -> BTreeSet<PeerId> {
    dir.lookup(now(), AOR, REALM).iter().map(|f| f.serving).collect()
}

/// LOG-14.
#[test]
fn a_word_that_outlives_every_grant_is_refused() {
    let mut dir = Directory::default();
    assert_eq!(say(&mut dir, 1, STRANGER, &[bind(AOR, phone(1), u64::MAX)]), 1);
    assert_eq!(say(&mut dir, 1, STRANGER, &[bind(AOR, phone(1), until() + 60_001)]), 1);
    dir.table.assert_empty();
    assert_eq!(say(&mut dir, 1, STRANGER, &[bind(AOR, phone(1), until() + 60_000)]), 0);
    assert_eq!(
        say(&mut dir, 2, HOME, &[bind(AOR, phone(1), until() + 60_001)]),
        1,
        "a home's clock is a clock"
    );
}

/// LOG-14a.
#[test]
fn a_flood_about_one_aor_keeps_nobody_out_who_has_the_homes_word() {
    let mut dir = Directory::default();
    for author in 100..200 {
        let junk: Vec<Event> = (0..20).map(|n| bind(AOR, phone(author * 100 + n), until())).collect();
        assert_eq!(say(&mut dir, author, STRANGER, &junk), 20 - PER_AUTHOR_MAX);
    }
    assert_eq!(dir.len(), PER_AOR_MAX);
    assert_eq!(say(&mut dir, 1, OWN, &[bind(AOR, phone(1), until())]), 0, "own words are never refused");
    assert_eq!(say(&mut dir, 2, STRANGER, &[bind(AOR, phone(2), until())]), 0, "the oldest junk goes");
    assert!(dir.granted((AOR, phone(2), key(2).peer_id()), OTHER));
    assert_eq!(say(&mut dir, 3, HOME, &[bind(AOR, phone(3), until())]), 0);
    assert!(dir.granted((AOR, phone(3), key(3).peer_id()), OTHER));
    for author in 200..300 {
        say(&mut dir, author, STRANGER, &[bind(AOR, phone(author), until())]);
    }
    let left = serving(&dir);
    assert!([1, 2, 3].iter().all(|n| left.contains(&key(*n).peer_id())), "who was believed stays");
    assert!(dir.len() <= PER_AOR_MAX + 1);
    let last = key(299).peer_id();
    dir.refused((AOR, phone(299), last));
    assert!(!serving(&dir).contains(&last), "what the home did not say is gone at once");
}

#[test]
fn a_realm_of_the_attackers_own_takes_no_room_from_the_victims() {
    let mut dir = Directory::default();
    for author in 100..200 {
        let realm = Label20([9; 20]);
        let event = Event::Bind(Bind {
            aor_id: AOR,
            realm,
            instance: phone(author),
            until: Timestamp(until()),
            grant: None,
        });
        say(&mut dir, author, STRANGER, &[event]);
        dir.granted((AOR, phone(author), key(author).peer_id()), OTHER);
    }
    assert_eq!(dir.lookup(now(), AOR, Label20([9; 20])).len(), PER_AOR_MAX);
    assert!(serving(&dir).is_empty());
    assert_eq!(say(&mut dir, 2, STRANGER, &[bind(AOR, phone(2), until())]), 0);
    assert_eq!(serving(&dir).len(), 1);
}

/// LOG-14b: free keys, and the crowd of self-certifying realms: names are free, addresses are not.
#[test]
fn a_crowd_of_realms_takes_room_from_itself_and_from_nobody_who_stands_better() {
    let kept = Limits::new(400 * 1_024, 400).reserving([250, 200, 150, 150]);
    let mut dir = Directory::with_room(kept, table::WAITING);
    let until = Timestamp(until());
    let bind = |author: u32, n: u32| {
        let (aor_id, realm) = (phone(author * 1_000 + n), Label20([u8::try_from(author).unwrap(); 20]));
        Event::Bind(Bind { aor_id, realm, instance: phone(n), until, grant: None })
    };
    let register = |dir: &mut Directory, author: u32, phones: u32, cause: Cause| {
        let events: Vec<Event> = (0..phones).map(|n| bind(author, n)).collect();
        say(dir, author, STRANGER, &events);
        for n in 0..phones {
            dir.granted((phone(author * 1_000 + n), phone(n), key(author).peer_id()), cause);
        }
    };
    let of = |dir: &Directory, author: u32| dir.table.of_author(key(author).peer_id()).count();
    let cause = |standing, network, realm| Cause { standing, network, realm, who: 0 };
    register(&mut dir, 1, 20, cause(Standing::Other, 1, 1));
    register(&mut dir, 2, 60, cause(Standing::Own, 9, 2));
    for author in 10..110 {
        // As many realms as the attacker likes, behind one address.
        register(&mut dir, author, 5, cause(Standing::Other, 2, author.into()));
    }
    assert_eq!((of(&dir, 1), of(&dir, 2)), (20, 60));
    assert!(dir.len() <= 400);
    register(&mut dir, 3, 20, cause(Standing::Other, 3, 3));
    assert_eq!(of(&dir, 3), 20, "who comes late gets his share");
    register(&mut dir, 4, 90, cause(Standing::Trusted, 2, 4));
    assert_eq!(of(&dir, 4), 90, "an own or a pinned realm has its reserve");
    assert_eq!((of(&dir, 1), of(&dir, 2), of(&dir, 3)), (20, 60, 20));
    let own: Vec<Event> = (0..500).map(|n| bind(5, n)).collect();
    assert_eq!(say(&mut dir, 5, OWN, &own), 0, "what is registered here is a promise");
    dir.sweep(Now { wall: until, ..now() });
    dir.table.assert_empty();
}

/// LOG-18.
#[test]
fn a_flood_of_revocations_does_not_displace_a_homes() {
    let room = Limits::new(120_000, 500).reserving([200, 300, 0, 0]);
    let mut dir = Directory { revoked: revoked::Revoked::with_room(room), ..Directory::default() };
    let revoke = |n: u32, before: u64| Event::Revoke(Revoke { aor_id: phone(n), before: Timestamp(before) });
    let by = |n: u32, standing| Source { standing, from: key(n).peer_id() };
    say(&mut dir, 1, by(1, Standing::Other), &[revoke(0, 900_000)]);
    say(&mut dir, 9, by(2, Standing::Trusted), &(0..50).map(|n| revoke(n, 900_000)).collect::<Vec<_>>());
    // One author that says much, then many that say little, all through one neighbour.
    for chunk in 0..3 {
        let flood: Vec<Event> = (0..1_000).map(|n| revoke(1 + chunk * 1_000 + n, 900_001)).collect();
        say(&mut dir, 2, by(2, Standing::Other), &flood);
    }
    for author in 100..1_000 {
        say(&mut dir, author, by(2, Standing::Other), &[revoke(author, 900_001)]);
    }
    let (home, trusted) = (key(1).peer_id(), key(9).peer_id());
    assert_eq!(
        dir.revoked_before(phone(0), home),
        Some(Timestamp(900_000)),
        "a home that nobody knows to be one"
    );
    assert!((0..50).all(|n| dir.revoked_before(phone(n), trusted).is_some()), "a trusted one");
    assert!(dir.revoked.len() <= 500);
    say(&mut dir, 1, STRANGER, &[revoke(0, 800_000)]);
    assert_eq!(dir.revoked_before(phone(0), home), Some(Timestamp(900_000)), "it is never taken back");
    say(&mut dir, 1, STRANGER, &[revoke(0, 2_000_000)]);
    assert_eq!(dir.revoked_before(phone(0), home), Some(Timestamp(900_000)), "nor said in advance");
    let at = |wall: u64| Now { wall: Timestamp(wall), ..now() };
    dir.sweep(at(900_000 + HOUR + 59_999));
    assert!(dir.revoked_before(phone(0), home).is_some(), "as long as an older grant can live");
    dir.sweep(at(900_001 + HOUR + 60_000));
    assert_eq!(dir.revoked_before(phone(0), home), None);
}

/// LOG-14: one grant pays for its room until it ends, whatever is said of it.
#[test]
fn a_grant_that_is_said_again_with_a_later_end_holds_no_room() {
    let mut dir = Directory::default();
    let with = |grant: u8, until: u64| {
        let (until, grant) = (Timestamp(until), Some(vec![grant; 10].into()));
        Event::Bind(Bind { aor_id: AOR, realm: REALM, instance: phone(1), until, grant })
    };
    let binding = (AOR, phone(1), key(1).peer_id());
    let end = until() - 1_000;
    assert_eq!(say(&mut dir, 1, STRANGER, &[with(1, end)]), 0);
    assert_eq!(dir.take_claims()[0].until, Timestamp(end), "whoever judges compares it with the grant");
    assert!(dir.granted(binding, OTHER));
    for later in [1, 500, 60_000] {
        assert_eq!(
            say(&mut dir, 1, STRANGER, &[with(1, end + later)]),
            1,
            "the same grant, {later} ms later"
        );
    }
    assert_eq!(dir.lookup(now(), AOR, REALM)[0].until, Timestamp(end));
    assert_eq!(say(&mut dir, 1, STRANGER, &[with(1, end), with(1, end - 1)]), 0, "as it is, or for less");
    assert!(dir.take_claims().iter().all(|claim| claim.is_granted), "and nobody judges it again");
    assert_eq!(say(&mut dir, 1, STRANGER, &[with(2, end + 500)]), 0, "another grant is another word");
    assert!(!dir.take_claims()[0].is_granted);
    // Who is the home says so himself, and is believed by the record.
    let own_home = |until: u64| bind(AOR, phone(2), until);
    assert_eq!(say(&mut dir, 2, STRANGER, &[own_home(end)]), 0);
    assert!(dir.granted((AOR, phone(2), key(2).peer_id()), OTHER));
    assert_eq!(say(&mut dir, 2, STRANGER, &[own_home(end + 500)]), 0);
}

/// LOG-14: what nobody has judged is shown as that, so that nobody checks it for each call.
#[test]
fn what_is_shown_says_whether_a_home_said_so() {
    let mut dir = Directory::default();
    for author in 1..=4 {
        say(&mut dir, author, STRANGER, &[bind(AOR, phone(author), until())]);
    }
    dir.granted((AOR, phone(3), key(3).peer_id()), OTHER);
    say(&mut dir, 9, OWN, &[bind(AOR, phone(9), until())]);
    let granted: Vec<Hash> =
        dir.lookup(now(), AOR, REALM).iter().filter(|f| f.is_granted).map(|f| f.instance).collect();
    assert_eq!((granted.len(), granted.contains(&phone(3)), granted.contains(&phone(9))), (2, true, true));
}
