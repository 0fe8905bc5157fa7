//! Chains of authors who tell the truth, who lose things, and who lie.

use super::*;
use crate::records::{Bind, Entry, Event, Header, Incarnation, entry::VERSION};
use dots_wire::{Hash, Label20, Now, PeerId, SecretKey, Timestamp, encode};
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn now() -> Now {
    Now { mono: Instant::now(), wall: Timestamp(1_000_000) }
}

fn bind(n: u8) -> Event {
    Event::Bind(Bind {
        aor_id: Hash([n; 32]),
        realm: Label20([0; 20]),
        instance: Hash([1; 32]),
        until: Timestamp(u64::MAX),
        grant: None,
    })
}

struct Pen {
    key: SecretKey,
    header: Header,
}

impl Pen {
    fn new(author: u8, started: u64) -> Pen {
        let header = Header {
            version: VERSION,
            author: key(author).peer_id(),
            incarnation: Incarnation { started: Timestamp(started), random: 5 },
            shard: String::new(),
            seq: 0,
            prev: Hash([0; 32]),
            time: Timestamp(1_000_000),
            count: 0,
            events_root: Hash([0; 32]),
        };
        Pen { key: key(author), header }
    }

    fn write(&mut self, events: &[Event]) -> Entry {
        let entry = Entry::seal(&self.key, self.header.clone(), events.iter().map(encode).collect());
        self.header.seq += 1;
        self.header.prev = entry.hash;
        entry
    }
}

fn checkpoint() -> Event {
    Event::Checkpoint(crate::records::Checkpoint { root: Hash([0; 32]), count: 0 })
}

fn chains() -> Chains {
    Chains::new(key(9).peer_id(), Incarnation { started: Timestamp(100), random: 0 })
}

fn name(accepted: &Accepted) -> &'static str {
    match accepted {
        Accepted::New { restart: true, .. } => "restart",
        Accepted::New { .. } => "new",
        Accepted::Known { .. } => "known",
        Accepted::Older => "older",
        Accepted::Gap { .. } => "gap",
        Accepted::GapOfUnknown { .. } => "gap of unknown",
        Accepted::Throttled => "throttled",
        Accepted::Equivocation { .. } => "lie",
        Accepted::RunsTwice => "twice",
        Accepted::Refused => "refused",
        Accepted::Invalid => "invalid",
    }
}

#[test]
fn what_becomes_of_an_entry() {
    let mut first = Pen::new(1, 50);
    let e: Vec<Entry> = (0..4).map(|n| first.write(&[bind(n)])).collect();
    let mut second = Pen::new(1, 60);
    let f: Vec<Entry> = (0..2).map(|n| second.write(&[bind(n)])).collect();
    let start = second.write(&[checkpoint(), bind(1)]);
    second.write(&[bind(2)]);
    let later = second.write(&[checkpoint(), bind(1)]);
    let mut fork = Pen::new(1, 60);
    fork.write(&[bind(0)]);
    let forked = fork.write(&[bind(77)]);
    let mut ours = Pen::new(9, 99);
    let mut twice = Pen::new(9, 101);
    let mut future = Pen::new(2, 1);
    future.header.time = Timestamp(1_060_001);
    let mut shard = Pen::new(2, 1);
    shard.header.shard = "0".into();
    let mut forged = Pen::new(2, 1);
    forged.key = key(3);
    let mut late = Pen::new(4, 1);
    late.header.seq = 8;
    let table: Vec<(&str, Entry, &str)> = vec![
        ("the first", e[0].clone(), "restart"),
        ("the first again", e[0].clone(), "known"),
        ("one is missing", e[2].clone(), "gap"),
        ("here it is", e[1].clone(), "new"),
        ("and on", e[2].clone(), "new"),
        ("a new life, in the middle", f[1].clone(), "gap"),
        ("a new life", f[0].clone(), "restart"),
        ("the old life", e[3].clone(), "older"),
        ("goes on", f[1].clone(), "new"),
        ("a checkpoint", start, "restart"),
        ("a later one, over a gap", later, "restart"),
        ("ours, of an earlier life", ours.write(&[bind(1)]), "older"),
        ("ours, but later", twice.write(&[bind(1)]), "twice"),
        ("from the future", future.write(&[bind(1)]), "invalid"),
        ("a shard that we do not follow", shard.write(&[bind(1)]), "invalid"),
        ("signed by another", forged.write(&[bind(1)]), "invalid"),
        ("a stranger's middle", late.write(&[bind(1)]), "gap of unknown"),
        ("a stranger's checkpoint", late.write(&[checkpoint()]), "restart"),
    ];
    let mut chains = chains();
    for (why, entry, expected) in table {
        assert_eq!(name(&chains.accept(now(), &entry.bytes)), expected, "{why}");
    }
    let mut chains = self::chains();
    assert_eq!(name(&chains.accept(now(), &f[0].bytes)), "restart");
    assert_eq!(name(&chains.accept(now(), &f[1].bytes)), "new");
    assert_eq!(name(&chains.accept(now(), &forked.bytes)), "lie");
    assert_eq!(name(&chains.accept(now(), &f[1].bytes)), "refused", "nothing of a liar counts");
    assert_eq!(name(&chains.accept(now(), b"junk")), "invalid");
    assert_eq!(name(&chains.accept(now(), &vec![0; 50_000])), "invalid");
}

#[test]
fn a_proof_convinces_who_has_seen_neither_but_knows_the_author() {
    let a = Pen::new(1, 50).write(&[bind(1)]);
    let b = Pen::new(1, 50).write(&[bind(2)]);
    let other_life = Pen::new(1, 51).write(&[bind(2)]);
    let mut chains = chains();
    assert_eq!(chains.check_proof(&a.bytes, &b.bytes), None, "of a key that nobody has heard of");
    assert!(!chains.is_convicted(key(1).peer_id()));
    let third = Pen::new(1, 50).write(&[bind(3)]);
    assert_eq!(name(&chains.accept(now(), &third.bytes)), "restart");
    assert_eq!(chains.check_proof(&a.bytes, &a.bytes), None);
    assert_eq!(chains.check_proof(&a.bytes, &other_life.bytes), None, "a restored backup is no offence");
    assert_eq!(chains.check_proof(&a.bytes, &b.bytes), Some(key(1).peer_id()));
    assert_eq!(chains.check_proof(&a.bytes, &b.bytes), None, "known");
    assert!(chains.is_convicted(key(1).peer_id()));
}

#[test]
fn an_event_of_a_later_version_is_kept_and_passed_on() {
    let mut pen = Pen::new(1, 50);
    let events = vec![encode(&bind(1)), encode(&"something new"), encode(&bind(2))];
    let entry = Entry::seal(&pen.key, pen.header.clone(), events);
    pen.header.seq += 1;
    let mut chains = chains();
    match chains.accept(now(), &entry.bytes) {
        Accepted::New { entry, .. } => assert_eq!(entry.events.len(), 2),
        other => panic!("{other:?}"),
    }
    let incarnation = pen.header.incarnation;
    assert_eq!(chains.range(key(1).peer_id(), incarnation, 0, 1 << 20), [entry.bytes]);
}

#[test]
fn a_stranger_that_talks_too_much_waits_and_a_trusted_one_does_not() {
    let mut chains = chains();
    let mut clock = now();
    let mut pen = Pen::new(1, 50);
    let many: Vec<Event> = (0..200).map(|n| bind(n as u8)).collect();
    let entries: Vec<Entry> = (0..7).map(|_| pen.write(&many)).collect();
    for e in &entries[..5] {
        assert!(matches!(chains.accept(clock, &e.bytes), Accepted::New { .. }));
    }
    assert_eq!(name(&chains.accept(clock, &entries[5].bytes)), "throttled");
    clock.mono += Duration::from_secs(121);
    assert_eq!(name(&chains.accept(clock, &entries[5].bytes)), "new");
    assert_eq!(name(&chains.accept(clock, &entries[6].bytes)), "throttled");
    let later = pen.write(&many);
    assert_eq!(
        name(&chains.accept(clock, &later.bytes)),
        "throttled",
        "nor is what is missing before it fetched"
    );
    let head = Head {
        author: key(1).peer_id(),
        shard: String::new(),
        incarnation: later.header.incarnation,
        seq: later.header.seq,
        hash: later.hash,
    };
    assert_eq!(chains.missing(clock, &head), None);
    let rested = Now { mono: clock.mono + Duration::from_secs(121), ..clock };
    assert_eq!(chains.missing(rested, &head), Some(6), "until there is room");
    chains.trust(key(1).peer_id());
    clock.mono += Duration::from_secs(1);
    assert_eq!(name(&chains.accept(clock, &entries[6].bytes)), "new");
}

#[test]
fn a_verifier_that_does_its_duty_can_still_speak_for_itself() {
    let mut chains = chains();
    let proof = dots_wire::Signed::new(&key(2), "dots/test/1", &1u8);
    let attest =
        Event::Attest(crate::records::Attest { kind: crate::records::AttestKind::ServingAlive, proof });
    let mut pen = Pen::new(1, 50);
    let mut clock = now();
    for n in 0..4 {
        let entry = pen.write(&vec![attest.clone(); 250]);
        assert_eq!(name(&chains.accept(clock, &entry.bytes)), if n == 0 { "restart" } else { "new" });
    }
    let binds = pen.write(&(0..100).map(bind).collect::<Vec<_>>());
    assert_eq!(name(&chains.accept(clock, &binds.bytes)), "new", "attests took nothing from it");
    let more = pen.write(&vec![attest; 150]);
    assert_eq!(name(&chains.accept(clock, &more.bytes)), "throttled", "but they have an end too");
    clock.mono += Duration::from_secs(60);
    assert_eq!(name(&chains.accept(clock, &more.bytes)), "new");
}

/// Asks `there` for all that `here` lacks, by the real questions and answers.
fn sync_all(here: &mut Chains, there: &mut Chains, me: PeerId) {
    let mut sync = Sync::new(now(), Duration::ZERO);
    let mut other = Sync::new(now(), Duration::ZERO);
    sync.on_connected(now(), me, here);
    for _ in 0..100 {
        let Some(ask) = sync.poll_ask() else { return };
        let answer = other.answer(now(), me, &ask.body, there);
        let brought = sync.on_response(now(), ask.id, answer.as_deref(), here);
        for bytes in brought.entries {
            here.accept(now(), &bytes);
        }
    }
    panic!("it does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// LOG-12: whatever was lost and in whatever order the rest came, one exchange makes two peers agree.
    #[test]
    fn anti_entropy_finds_what_was_lost(
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        kept in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let mut entries = Vec::new();
        for author in 1..=3u8 {
            let mut pen = Pen::new(author, 50);
            entries.extend((0..4).map(|n| pen.write(&[bind(n)])));
        }
        let (mut whole, mut holed) = (chains(), chains());
        for e in &entries {
            whole.accept(now(), &e.bytes);
        }
        for i in order {
            if kept[i] {
                holed.accept(now(), &entries[i].bytes);
            }
        }
        sync_all(&mut holed, &mut whole, key(8).peer_id());
        prop_assert_eq!(holed.root(), whole.root());
        prop_assert_eq!(holed.heads().count(), 3);
    }

    #[test]
    fn any_bytes_are_judged_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut chains = chains();
        prop_assert_eq!(name(&chains.accept(now(), &bytes)), "invalid");
        prop_assert_eq!(Sync::new(now(), Duration::ZERO).answer(now(), key(1).peer_id(), &bytes, &mut chains), None);
    }
}

#[test]
fn a_lost_question_is_asked_again_before_it_times_out() {
    let (mut here, mut sync) = (chains(), Sync::new(now(), sync::EVERY));
    let mut at = now();
    let holder = key(2).peer_id();
    sync.on_connected(at, holder, &mut here);
    let mut asked = Vec::new();
    let mut rng = <rand_chacha::ChaCha20Rng as rand::SeedableRng>::seed_from_u64(1);
    for _ in 0..8 {
        while let Some(ask) = sync.poll_ask() {
            asked.push(ask.id);
        }
        at.mono += Duration::from_secs(1);
        at.wall = at.wall.plus(Duration::from_secs(1));
        sync.handle_timeout(at, &mut rng, &mut here);
    }
    // At once, after one second, two more, four more.
    assert_eq!(asked.len(), 4, "{asked:?}");
    sync.on_disconnected(holder);
    assert_eq!(sync.poll_timeout(), None);
}
