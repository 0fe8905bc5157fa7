//! Who wants all the room, and what it gets.

use super::{revoked::PER_STRANGER_MAX, *};
use crate::records::{Entry, Header, Incarnation, Revoke, entry::VERSION};
use dots_wire::SecretKey;
use std::time::Instant;

const AOR: Hash = Hash([1; 32]);
const REALM: Label20 = Label20([0; 20]);
const HOUR: u64 = 3_600_000;
const OWN: Share = Share { standing: Standing::Own };
const HOME: Share = Share { standing: Standing::Trusted };
const STRANGER: Share = Share { standing: Standing::Stranger };

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

fn say(dir: &mut Directory, author: u32, share: Share, events: &[Event]) -> usize {
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
    dir.hear(now(), &entry, false, share)
}

fn until() -> u64 {
    now().wall.0 + HOUR
}

fn serving(dir: &Directory) -> BTreeSet<PeerId> {
    dir.lookup(now(), AOR, REALM).iter().map(|f| f.serving).collect()
}

#[test]
fn a_word_that_outlives_every_grant_is_refused() {
    let mut dir = Directory::default();
    assert_eq!(say(&mut dir, 1, STRANGER, &[bind(AOR, phone(1), u64::MAX)]), 1);
    assert_eq!(say(&mut dir, 1, STRANGER, &[bind(AOR, phone(1), until() + 60_001)]), 1);
    assert!(dir.is_empty() && dir.by_author.is_empty() && dir.by_aor.is_empty(), "nothing is left of it");
    assert_eq!(say(&mut dir, 1, STRANGER, &[bind(AOR, phone(1), until() + 60_000)]), 0);
    assert_eq!(
        say(&mut dir, 2, HOME, &[bind(AOR, phone(1), until() + 60_001)]),
        1,
        "a home's clock is a clock"
    );
}

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
    assert!(dir.granted(AOR, phone(2), key(2).peer_id()));
    assert_eq!(say(&mut dir, 3, HOME, &[bind(AOR, phone(3), until())]), 0);
    for author in 200..300 {
        say(&mut dir, author, STRANGER, &[bind(AOR, phone(author), until())]);
    }
    let left = serving(&dir);
    assert!([1, 2, 3].iter().all(|n| left.contains(&key(*n).peer_id())), "who was believed stays");
    assert!(dir.len() <= PER_AOR_MAX + 1);
    let last = key(299).peer_id();
    dir.refused(AOR, phone(299), last);
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
        dir.granted(AOR, phone(author), key(author).peer_id());
    }
    assert_eq!(dir.lookup(now(), AOR, Label20([9; 20])).len(), PER_AOR_MAX);
    assert!(serving(&dir).is_empty());
    assert_eq!(say(&mut dir, 2, STRANGER, &[bind(AOR, phone(2), until())]), 0);
    assert_eq!(serving(&dir).len(), 1);
}

#[test]
fn strangers_together_have_a_quarter_and_share_it() {
    let mut dir = Directory::with_room(400);
    let few = |n: u32| (0..3).map(|i| bind(phone(n * 1_000 + i), phone(i), until())).collect::<Vec<_>>();
    say(&mut dir, 1, STRANGER, &few(1));
    for i in 0..3 {
        assert!(dir.granted(phone(1_000 + i), phone(i), key(1).peer_id()));
    }
    for author in 10..30 {
        let many: Vec<Event> = (0..50).map(|i| bind(phone(author * 1_000 + i), phone(i), until())).collect();
        say(&mut dir, author, STRANGER, &many);
        if author % 2 == 0 {
            // The home of its own realm says whatever it likes.
            for i in 0..50 {
                dir.granted(phone(author * 1_000 + i), phone(i), key(author).peer_id());
            }
        }
    }
    assert_eq!(dir.len(), 100);
    let of = |dir: &Directory, n: u32| dir.by_author.get(&key(n).peer_id()).map_or(0, |a| a.phones.len());
    assert_eq!(of(&dir, 1), 3, "a crowd takes room from itself");
    assert_eq!(say(&mut dir, 2, STRANGER, &few(2)), 0, "who comes late gets its share");
    assert_eq!((of(&dir, 2), dir.len()), (3, 100));
    let home: Vec<Event> = (0..350).map(|i| bind(phone(i), phone(i), until())).collect();
    assert_eq!(say(&mut dir, 3, HOME, &home), 0, "and who is trusted goes before it");
    assert_eq!((of(&dir, 3), dir.len()), (350, 400));
    let own: Vec<Event> = (0..100).map(|i| bind(phone(i), phone(i), until())).collect();
    assert_eq!(say(&mut dir, 4, OWN, &own), 0);
    dir.sweep(Now { wall: Timestamp(until()), ..now() });
    assert!(dir.is_empty() && dir.by_author.is_empty() && dir.unjudged.is_empty());
    assert_eq!(
        (dir.strangers.len(), dir.strangers.oldest_unjudged(key(0).peer_id())),
        (0, None),
        "the books agree"
    );
}

#[test]
fn a_flood_of_revocations_does_not_displace_a_homes() {
    let mut dir = Directory::default();
    let revoke = |n: u32, before: u64| Event::Revoke(Revoke { aor_id: phone(n), before: Timestamp(before) });
    say(&mut dir, 1, STRANGER, &[revoke(0, 900_000)]);
    for chunk in 0..3 {
        let flood: Vec<Event> = (0..1_000).map(|n| revoke(1 + chunk * 1_000 + n, 900_001)).collect();
        say(&mut dir, 2, STRANGER, &flood);
    }
    let (home, crowd) = (key(1).peer_id(), key(2).peer_id());
    assert_eq!(dir.revoked_before(phone(0), home), Some(Timestamp(900_000)));
    let kept = (1..=3_000).filter(|n| dir.revoked_before(phone(*n), crowd).is_some()).count();
    assert_eq!(kept, PER_STRANGER_MAX);
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
