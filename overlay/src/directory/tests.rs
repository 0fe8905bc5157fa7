//! A small world of three authors.

use super::restating::RESTATE;
use super::*;
use crate::records::{
    Attest, AttestKind, Entry, Header, Incarnation, Life, PingOutcome, Revoke, Unbind, entry::VERSION,
    event::PING_DOMAIN,
};
use dots_wire::{SecretKey, Signed, encode};
use std::time::Instant;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn at(wall: u64) -> Now {
    Now { mono: Instant::now(), wall: Timestamp(wall) }
}

fn entry(author: u8, time: u64, events: &[Event]) -> Entry {
    let header = Header {
        version: VERSION,
        author: key(author).peer_id(),
        incarnation: Incarnation { started: Timestamp(1), random: 1 },
        shard: String::new(),
        seq: 0,
        prev: Hash([0; 32]),
        time: Timestamp(time),
        count: 0,
        events_root: Hash([0; 32]),
    };
    Entry::seal(&key(author), header, events.iter().map(encode).collect())
}

impl Directory {
    /// An entry; `restart`: what its author said before is void unless it says it again.
    pub(super) fn hear(&mut self, now: Now, entry: &Entry, restart: bool, source: Source) -> usize {
        if restart {
            self.restarts(now, entry.header.author);
        }
        self.apply(now, entry.said(), source)
    }
}

const STRANGER: Source = Source { standing: Standing::Other, from: PeerId(dots_wire::PublicKey([0; 33])) };
const OTHER: Cause = Cause::new(Standing::Other);
const REALM: Label20 = Label20([0; 20]);

const AOR: Hash = Hash([1; 32]);
const PHONE: Hash = Hash([2; 32]);

fn bind(phone: Hash, until: u64) -> Event {
    let until = Timestamp(until);
    Event::Bind(Bind { aor_id: AOR, realm: REALM, instance: phone, until, grant: None })
}

fn attest(serving: u8, verifier: u8, life: Life, time: u64) -> Event {
    word(serving, verifier, AOR, life, time)
}

fn attest_of(serving: u8, verifier: u8, aor_id: Hash, time: u64) -> Event {
    word(serving, verifier, aor_id, Life::Alive, time)
}

fn word(serving: u8, verifier: u8, aor_id: Hash, life: Life, time: u64) -> Event {
    let outcome = PingOutcome {
        version: VERSION,
        serving: key(serving).peer_id(),
        verifier: key(verifier).peer_id(),
        aor_id,
        instance: PHONE,
        challenge: Hash([0; 32]),
        life,
        time: Timestamp(time),
    };
    let proof = Signed::new(&key(serving), PING_DOMAIN, &outcome);
    Event::Attest(Attest { kind: AttestKind::ServingAlive, proof })
}

/// LOG-15, LOG-16.
#[test]
fn states_follow_what_others_attest() {
    type Case = (&'static str, Vec<(u8, Event)>, State);
    let table: [Case; 9] = [
        ("nobody looked", vec![], State::Pending),
        ("one saw it", vec![(2, attest(1, 2, Life::Alive, 20))], State::Verified),
        ("its own word is none", vec![(1, attest(1, 1, Life::Alive, 20))], State::Pending),
        ("another's outcome", vec![(3, attest(1, 2, Life::Alive, 20))], State::Pending),
        ("never answers", vec![(2, attest(1, 2, Life::Unpingable, 20))], State::Unpingable),
        (
            "one verifier is not enough",
            vec![(2, attest(1, 2, Life::Alive, 20)), (3, attest(1, 3, Life::Silent, 30))],
            State::Verified,
        ),
        (
            "two are",
            vec![(2, attest(1, 2, Life::Silent, 20)), (3, attest(1, 3, Life::Silent, 30))],
            State::Stale,
        ),
        (
            "and it came back",
            vec![
                (2, attest(1, 2, Life::Silent, 20)),
                (3, attest(1, 3, Life::Silent, 30)),
                (2, attest(1, 2, Life::Alive, 40)),
            ],
            State::Verified,
        ),
        (
            "an older word does not displace a newer one",
            vec![(2, attest(1, 2, Life::Alive, 40)), (2, attest(1, 2, Life::Silent, 20))],
            State::Verified,
        ),
    ];
    for (why, words, state) in table {
        let mut dir = Directory::default();
        dir.hear(at(10), &entry(1, 10, &[bind(PHONE, 1_000)]), true, STRANGER);
        for (author, event) in words {
            dir.hear(at(50), &entry(author, 50, &[event]), false, STRANGER);
        }
        assert_eq!(dir.lookup(at(50), AOR, REALM).first().map(|f| f.state), Some(state), "{why}");
    }
}

/// LOG-17.
#[test]
fn two_phones_both_ring_and_one_phone_at_two_peers_follows_its_newest_grant_once_stale() {
    let mut dir = Directory::default();
    let (a, b) = (key(1).peer_id(), key(2).peer_id());
    dir.hear(at(10), &entry(1, 10, &[bind(PHONE, 1_000)]), true, STRANGER);
    dir.hear(at(10), &entry(2, 10, &[bind(PHONE, 2_000), bind(Hash([9; 32]), 1_500)]), true, STRANGER);
    assert_eq!(dir.lookup(at(20), AOR, REALM).len(), 3, "a live binding is not displaced");
    dir.set_dead(a, true);
    let left: Vec<PeerId> = dir.lookup(at(20), AOR, REALM).iter().map(|f| f.serving).collect();
    assert_eq!(left, [b, b], "the stale one gives way");
    dir.set_dead(a, false);
    assert_eq!(dir.lookup(at(20), AOR, REALM).len(), 3);
    assert_eq!(dir.lookup(at(1_000), AOR, REALM).len(), 2, "ended");
    dir.hear(
        at(30),
        &entry(2, 30, &[Event::Unbind(Unbind { aor_id: AOR, instance: PHONE })]),
        false,
        STRANGER,
    );
    dir.sweep(at(1_000));
    assert_eq!(dir.len(), 1);
    assert_eq!(dir.take_changed().into_iter().collect::<Vec<_>>(), [AOR]);
}

#[test]
fn a_restart_keeps_what_is_said_again_and_a_liar_loses_all() {
    let mut dir = Directory::default();
    let other = Hash([9; 32]);
    dir.hear(at(10), &entry(1, 10, &[bind(PHONE, 100_000), bind(other, 100_000)]), true, STRANGER);
    dir.hear(at(20), &entry(1, 20, &[bind(PHONE, 100_000)]), true, STRANGER);
    assert_eq!(dir.lookup(at(21), AOR, REALM).len(), 2, "the rest may be on its way");
    let later = at(20 + RESTATE.as_millis() as u64);
    assert_eq!(dir.lookup(later, AOR, REALM).len(), 1);
    dir.sweep(later);
    assert_eq!(dir.len(), 1);
    dir.drop_author(key(1).peer_id());
    assert!(dir.is_empty() && dir.lookup(later, AOR, REALM).is_empty());
}

/// LOG-14, LOG-14a, LOG-14b.
#[test]
fn what_nobody_has_judged_has_an_end_and_what_a_home_granted_has_none() {
    let mut dir = Directory::default();
    let phones: Vec<Event> = (0..40u8).map(|n| bind(Hash([n; 32]), 1_000)).collect();
    assert_eq!(dir.hear(at(10), &entry(1, 10, &phones), true, STRANGER), 40 - PER_AUTHOR_MAX);
    let mut dir = Directory::default();
    let phone = |n: u32| {
        let mut aor = [0; 32];
        aor[..4].copy_from_slice(&n.to_be_bytes());
        let grant = Some(vec![0; 1_000].into());
        Event::Bind(Bind { aor_id: Hash(aor), realm: REALM, instance: PHONE, until: Timestamp(1_000), grant })
    };
    let binding = |n: u32| {
        let Event::Bind(bind) = phone(n) else { panic!("a binding") };
        (bind.aor_id, PHONE, key(1).peer_id())
    };
    let say = |dir: &mut Directory, phones: std::ops::Range<u32>| -> usize {
        let entries = phones.map(|n| entry(1, 10, &[phone(n)])).collect::<Vec<_>>();
        entries.iter().map(|e| dir.hear(at(10), e, false, STRANGER)).sum()
    };
    say(&mut dir, 0..40_000);
    assert!(dir.len() < 30_000, "32 MiB: {}", dir.len());
    let granted = (0..40_000).filter(|n| dir.granted(binding(*n), OTHER)).count();
    assert_eq!(granted, dir.len(), "what was pushed out is not here");
    say(&mut dir, 40_000..50_000);
    assert_eq!(dir.len(), granted + 10_000, "what homes say is not in the pool any more");
    assert!(dir.is_granted(binding(39_999)) && !dir.is_granted(binding(49_999)));
    let revoke = Event::Revoke(Revoke { aor_id: AOR, before: Timestamp(5) });
    dir.hear(at(10), &entry(1, 11, &[revoke]), false, STRANGER);
    assert_eq!(dir.revoked_before(AOR, key(1).peer_id()), Some(Timestamp(5)));
    assert_eq!(dir.revoked_before(AOR, key(2).peer_id()), None, "a stranger's word");
}

/// LOG-13: a grant is checked once and pays once, however often its author says it again.
#[test]
fn a_grant_that_is_said_again_is_judged_once() {
    let mut dir = Directory::default();
    let with = |grant: u8, until: u64| {
        let (until, grant) = (Timestamp(until), Some(vec![grant; 10].into()));
        Event::Bind(Bind { aor_id: AOR, realm: REALM, instance: PHONE, until, grant })
    };
    let binding = (AOR, PHONE, key(1).peer_id());
    let judged = |dir: &mut Directory, event: Event, time: u64| {
        dir.hear(at(time), &entry(1, time, &[event]), false, STRANGER);
        let claims = dir.take_claims();
        assert_eq!(claims.len(), 1);
        let was_granted = claims[0].is_granted;
        assert_eq!(dir.granted(binding, OTHER), !was_granted, "it pays once");
        was_granted
    };
    assert!(!judged(&mut dir, with(1, 1_000), 10));
    assert!(judged(&mut dir, with(1, 1_000), 20), "known");
    assert!(!judged(&mut dir, with(2, 2_000), 30), "another grant");
    assert_eq!((dir.len(), dir.lookup(at(40), AOR, REALM)[0].until), (1, Timestamp(2_000)));
}

/// LOG-9: an entry's events come realm by realm: a phone that is new between them is not one that was said again.
#[test]
fn a_checkpoint_is_complete_when_its_entry_was_heard_and_not_before() {
    let bind = |realm: u8, n: u8| {
        let (aor_id, realm, until) = (Hash([n; 32]), Label20([realm; 20]), Timestamp(100_000));
        Event::Bind(Bind { aor_id, realm, instance: PHONE, until, grant: None })
    };
    let mut dir = Directory::default();
    dir.hear(at(10), &entry(1, 10, &[bind(4, 1), bind(9, 2)]), true, STRANGER);
    dir.hear(at(20), &entry(2, 20, &[attest_of(1, 2, Hash([2; 32]), 20)]), false, STRANGER);
    assert_eq!(dir.lookup(at(30), Hash([2; 32]), Label20([9; 20]))[0].state, State::Verified);
    let again = Event::Checkpoint(crate::records::Checkpoint { root: Hash([0; 32]), count: 2 });
    dir.hear(at(40), &entry(1, 40, &[again, bind(4, 1), bind(9, 2), bind(4, 3)]), true, STRANGER);
    assert_eq!(
        dir.lookup(at(50), Hash([2; 32]), Label20([9; 20]))[0].state,
        State::Verified,
        "it never left"
    );
    assert_eq!(dir.len(), 3);
}

#[test]
fn what_a_complete_checkpoint_does_not_say_again_has_gone() {
    let mut directory = Directory::default();
    let other = Hash([3; 32]);
    let checkpoint = |count| Event::Checkpoint(crate::records::Checkpoint { root: Hash([0; 32]), count });
    let mut say = |time: u64, events: &[Event], restart: bool| {
        directory.hear(at(time), &entry(1, time, events), restart, STRANGER);
        directory.lookup(at(time), AOR, REALM).into_iter().map(|f| f.instance).collect::<BTreeSet<_>>()
    };
    let both: BTreeSet<Hash> = [PHONE, other].into();
    assert_eq!(say(10, &[bind(PHONE, 90_000), bind(other, 90_000)], true), both);
    assert_eq!(say(20, &[checkpoint(1)], true), both, "one is still to come");
    assert_eq!(say(21, &[bind(PHONE, 90_000)], false), [PHONE].into());
    assert_eq!(say(22, &[bind(other, 90_000)], false), both, "what is said later is new");
    assert_eq!(say(30, &[checkpoint(0)], true), BTreeSet::new(), "an empty life");
}

/// LOG-9a: what we dropped ourselves, or a neighbour on the way to us, was not taken back by its author.
#[test]
fn bindings_of_a_realm_whose_words_did_not_reach_us_do_not_lapse() {
    let of = |realm: u8, n: u8| {
        let (aor_id, instance, until) = (Hash([realm; 32]), Hash([n; 32]), Timestamp(1_000_000));
        Event::Bind(Bind { aor_id, realm: Label20([realm; 20]), instance, until, grant: None })
    };
    let restart = |count: u32| Event::Checkpoint(crate::records::Checkpoint { root: Hash([0; 32]), count });
    // Whether all that was announced comes, or the author's time passes.
    for (count, sweep_at) in [(2, 20), (3, 30_020)] {
        let mut dir = Directory::default();
        dir.hear(at(10), &entry(1, 10, &[of(4, 1), of(4, 2), of(9, 1), of(9, 2)]), true, STRANGER);
        let whole = entry(1, 20, &[restart(count), of(4, 1), of(9, 1)]);
        let part = whole.without(&[Label20([9; 20])].into()).expect("it is in it");
        dir.hear(at(20), &part, true, STRANGER);
        dir.sweep(at(sweep_at));
        let holds = |realm: u8, n: u8| dir.holds((Hash([realm; 32]), Hash([n; 32]), key(1).peer_id()));
        assert!(holds(4, 1) && !holds(4, 2), "what was not said again has gone");
        assert!(holds(9, 1) && holds(9, 2), "of these nobody knows");
        // Said whole the next time, it counts as ever.
        dir.hear(at(sweep_at + 1), &entry(1, 30, &[restart(1), of(9, 1)]), true, STRANGER);
        assert!(dir.holds((Hash([9; 32]), Hash([1; 32]), key(1).peer_id())));
        assert!(!dir.holds((Hash([9; 32]), Hash([2; 32]), key(1).peer_id())));
        dir.sweep(at(2_000_000));
        assert!(dir.is_empty() && dir.spared.is_empty() && dir.restating.is_empty());
    }
}
