//! Chains of authors who tell the truth, who lose things, and who lie.

use super::{sync::Ask, *};
use crate::records::{Bind, Entry, Event, Header, Incarnation, entry::VERSION};
use dots_wire::{
    Hash, Label20, Now, PeerId, SecretKey, Timestamp,
    bounded::{Cause, Standing},
    encode,
};
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

mod filling;
mod shares;
mod turns;

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

/// A stranger's realm.
fn pay(chains: &mut Chains, author: PeerId, realm: Label20) {
    chains.pay(author, realm, Cause::new(Standing::Other).of_realm(&realm.0));
}

fn chains() -> Chains {
    Chains::new(key(9).peer_id(), Incarnation { started: Timestamp(100), random: 0 })
}

fn name(accepted: &Accepted) -> &'static str {
    match accepted {
        Accepted::New { restart: true, .. } => "restart",
        Accepted::New { .. } => "new",
        Accepted::Known { .. } => "known",
        Accepted::Filled { .. } => "filled",
        Accepted::Older => "older",
        Accepted::Gap { .. } => "gap",
        Accepted::GapOfUnknown { .. } => "gap of unknown",
        Accepted::Throttled => "throttled",
        Accepted::Equivocation { .. } => "lie",
        Accepted::RunsTwice => "twice",
        Accepted::Refused => "refused",
        Accepted::Early => "early",
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
    future.header.time = Timestamp(1_090_001);
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
        ("from the future", future.write(&[bind(1)]), "early"),
        ("a shard that we do not follow", shard.write(&[bind(1)]), "refused"),
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

/// LOG-10: what is passed on was checked, byte for byte; else one entry of somebody else makes as many messages as there are
/// signatures that do not fit.
#[test]
fn a_known_entry_is_passed_on_only_as_it_was_checked() {
    let entry = Pen::new(1, 50).write(&[bind(1)]);
    let mut chains = chains();
    assert_eq!(name(&chains.accept_whole(now(), &entry.bytes)), "restart");
    assert!(matches!(chains.accept_whole(now(), &entry.bytes), Accepted::Known { news: true }));
    let mut passed_on = 0;
    for at in 0..entry.bytes.len() {
        let mut bytes = entry.bytes.to_vec();
        bytes[at] ^= 1;
        passed_on += usize::from(matches!(
            chains.accept_whole(now(), &bytes),
            Accepted::Known { news: true } | Accepted::New { .. } | Accepted::Gap { .. }
        ));
    }
    assert_eq!(passed_on, 0);
}

/// A header may promise more than any entry that is read: its parts, each short enough, are not put together.
#[test]
fn parts_of_an_entry_that_is_too_long_are_not_joined() {
    let of = |realm: u8, n: u8| {
        let Event::Bind(bind) = bind(n) else { panic!("a binding") };
        Event::Bind(Bind { realm: Label20([realm; 20]), grant: Some(vec![7; 3_800].into()), ..bind })
    };
    let mut pen = Pen::new(1, 50);
    let events: Vec<Event> = (0..22).map(|n| of(if n < 11 { 4 } else { 9 }, n)).collect();
    let whole = pen.write(&events);
    assert!(whole.bytes.len() > crate::records::entry::ENTRY_MAX);
    let [four, nine] = [9, 4].map(|realm| whole.without(&[Label20([realm; 20])].into()).expect("a part"));
    assert!(four.filled(&nine).is_none());
    let mut chains = chains();
    for part in [&four, &nine, &four] {
        chains.accept(now(), &part.bytes);
    }
    let next = pen.write(&[bind(30)]);
    chains.accept(now(), &next.bytes);
    let life = pen.header.incarnation;
    let kept = chains.range(key(1).peer_id(), life, 0, 1 << 20);
    assert!(kept.iter().all(|entry| Entry::read(entry).is_some()), "what is kept can be read again");
}

/// LOG-1b.
#[test]
fn a_chain_is_checked_by_headers_alone_and_filled_in_later() {
    let of = |realm: u8, n: u8| {
        let Event::Bind(bind) = bind(n) else { panic!("a binding") };
        Event::Bind(Bind { realm: Label20([realm; 20]), ..bind })
    };
    let mut pen = Pen::new(1, 50);
    let first = pen.write(&[checkpoint(), of(4, 1), of(9, 2)]);
    let second = pen.write(&[of(4, 3)]);
    let nine = [Label20([9; 20])].into();
    let part = first.without(&nine).expect("something of nine");
    let mut chains = chains();
    assert_eq!(name(&chains.accept_whole(now(), &part.bytes)), "invalid", "gossip is whole");
    assert_eq!(name(&chains.accept(now(), &part.bytes)), "restart");
    assert_eq!(name(&chains.accept(now(), &second.bytes)), "new", "the chain goes on");
    let life = pen.header.incarnation;
    let author = key(1).peer_id();
    let kept = chains.range(author, life, 0, 1 << 20);
    assert_eq!(kept, [part.bytes.clone(), second.bytes.clone()], "and is passed on as it is");
    let head = chains.heads().next().expect("one author");
    assert_eq!(chains.missing(now(), key(2).peer_id(), &head), None);
    assert_eq!(chains.missing(now(), author, &head), Some(0), "its author has the rest");
    let third = pen.write(&[of(9, 5)]);
    assert_eq!(name(&chains.accept(now(), &third.bytes)), "new");
    assert_eq!(name(&chains.accept_whole(now(), &first.bytes)), "known", "what is gossiped fills nothing");
    assert_eq!(name(&chains.accept(now(), &first.bytes)), "filled");
    let later = chains.take_filled(now(), author);
    let said: Vec<Event> = later.into_iter().flat_map(|(_, events)| events).collect();
    assert_eq!(said, [of(9, 2), of(9, 5)], "what came, and what was said of it since");
    assert!(chains.take_filled(now(), author).is_empty(), "once");
    assert_eq!(chains.range(author, life, 0, 1 << 20)[0], first.bytes);
    assert_eq!(name(&chains.accept(now(), &first.bytes)), "known");
}

/// LOG-7.
#[test]
fn a_proof_convinces_who_has_seen_neither_but_knows_the_author() {
    let a = Pen::new(1, 50).write(&[bind(1)]);
    let b = Pen::new(1, 50).write(&[bind(2)]);
    let other_life = Pen::new(1, 51).write(&[bind(2)]);
    let mut chains = chains();
    assert_eq!(chains.check_proof(&a.bytes, &b.bytes), Proof::NotNeeded, "of a key that nobody has heard of");
    assert!(!chains.is_convicted(key(1).peer_id()));
    let third = Pen::new(1, 50).write(&[bind(3)]);
    assert_eq!(name(&chains.accept(now(), &third.bytes)), "restart");
    assert_eq!(chains.check_proof(&a.bytes, &a.bytes), Proof::False);
    assert_eq!(
        chains.check_proof(&a.bytes, &other_life.bytes),
        Proof::False,
        "a restored backup is no offence"
    );
    let mut forged = b.bytes.to_vec();
    *forged.last_mut().expect("it has bytes") ^= 1;
    for bad in [&forged[..], b"", b"no entry"] {
        assert_eq!(chains.check_proof(&a.bytes, bad), Proof::False, "whoever passes it on did not check it");
        assert_ne!(
            chains.check_proof(bad, &a.bytes),
            Proof::Of { author: key(1).peer_id(), mattered: false }
        );
    }
    assert_eq!(
        chains.check_proof(&a.bytes, &b.bytes),
        Proof::Of { author: key(1).peer_id(), mattered: false }
    );
    assert_eq!(chains.check_proof(&a.bytes, &b.bytes), Proof::NotNeeded, "known");
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

/// An author's own words.
fn words(count: usize) -> Vec<Event> {
    vec![Event::Revoke(crate::records::Revoke { aor_id: Hash([1; 32]), before: Timestamp(5) }); count]
}

/// LOG-12e, LOG-13a, LOG-13c.
#[test]
fn a_stranger_that_talks_too_much_waits_and_a_trusted_one_does_not() {
    let mut chains = chains();
    let mut clock = now();
    let mut pen = Pen::new(1, 50);
    let many = words(200);
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
    assert_eq!(chains.missing(clock, key(8).peer_id(), &head), None);
    let rested = Now { mono: clock.mono + Duration::from_secs(121), ..clock };
    assert_eq!(chains.missing(rested, key(8).peer_id(), &head), Some(6), "until there is room");
    chains.trust(key(1).peer_id());
    clock.mono += Duration::from_secs(1);
    assert_eq!(name(&chains.accept(clock, &entries[6].bytes)), "new");
}

fn phones(realm: u8, count: u32) -> Vec<Event> {
    let bind = |n: u32| {
        let mut aor_id = [realm; 32];
        aor_id[..4].copy_from_slice(&n.to_be_bytes());
        let (aor_id, instance, until) = (Hash(aor_id), Hash([1; 32]), Timestamp(u64::MAX));
        Event::Bind(Bind { aor_id, realm: Label20([realm; 20]), instance, until, grant: None })
    };
    (0..count).map(bind).collect()
}

/// LOG-13.
#[test]
fn a_grant_pays_for_its_binding_and_sixteen_events_more() {
    let mut chains = chains();
    let clock = now();
    let mut pen = Pen::new(1, 50);
    let many = phones(4, 200);
    let mut said = 0;
    for _ in 0..100 {
        let entry = pen.write(&many);
        match chains.accept(clock, &entry.bytes) {
            Accepted::New { entry, .. } => assert_eq!(entry.dropped, 0, "after {said}"),
            other => panic!("{other:?}"),
        }
        said += many.len();
        // Each of these phones has a home that says so.
        many.iter().for_each(|_| pay(&mut chains, key(1).peer_id(), Label20([4; 20])));
    }
    assert_eq!(said, 20_000, "twenty thousand phones that roam at one stranger");
}

/// LOG-13d: a realm whose phones say too much at a serving peer silences neither him nor the other realms there.
#[test]
fn a_realm_that_nobody_grants_is_dropped_and_the_others_are_heard() {
    let mut chains = chains();
    let mut clock = now();
    let mut pen = Pen::new(1, 50);
    let (loud, quiet, author) = (Label20([9; 20]), Label20([4; 20]), key(1).peer_id());
    let mut heard = |chains: &mut Chains, clock: Now, events: &[Event], realm: Label20| {
        let entry = pen.write(events);
        match chains.accept(clock, &entry.bytes) {
            Accepted::New { entry, .. } => {
                entry.counts.iter().filter(|(r, _)| *r == realm).map(|(_, c)| c.events).sum::<u32>()
            }
            other => panic!("the chain goes on: {other:?}"),
        }
    };
    assert_eq!(heard(&mut chains, clock, &phones(4, 20), quiet), 20);
    (0..20).for_each(|_| pay(&mut chains, author, quiet));
    let kept: u32 = (0..50).map(|_| heard(&mut chains, clock, &phones(9, 200), loud)).sum();
    assert!(kept < 1_000, "{kept}");
    for _ in 0..10 {
        let both: Vec<Event> = phones(9, 100).into_iter().chain(phones(4, 20)).collect();
        assert_eq!(heard(&mut chains, clock, &both, quiet), 20, "what is paid for is heard");
    }
    clock.mono += Duration::from_secs(600);
    assert!(chains.hole(clock, author).is_some(), "and the rest is asked for later");
    assert_eq!(heard(&mut chains, clock, &phones(9, 200), loud), 200);
}

/// LOG-13b: keys cost nothing, and neither does a realm that pays for them all.
#[test]
fn a_crowd_of_made_up_authors_keeps_no_newcomer_out_and_displaces_nobody_who_is_paid_for() {
    for payer in [None, Some(Label20([7; 20]))] {
        let mut chains = chains();
        let honest = Pen::new(1, 50).write(&[bind(1)]);
        assert_eq!(name(&chains.accept(now(), &honest.bytes)), "restart");
        pay(&mut chains, key(1).peer_id(), Label20([0; 20]));
        for n in 0..(AUTHORS_MAX as u32 + 500) {
            let mut bytes = [3; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            let key = SecretKey::from_bytes(&bytes).expect("a scalar");
            let mut pen = Pen::new(2, 50);
            let author = key.peer_id();
            (pen.header.author, pen.key) = (author, key);
            assert_eq!(name(&chains.accept(now(), &pen.write(&[bind(1)]).bytes)), "restart");
            if let Some(realm) = payer {
                pay(&mut chains, author, realm);
            }
        }
        assert_eq!(chains.authors(), AUTHORS_MAX);
        assert!(chains.head(key(1).peer_id()).is_some(), "who is paid for by another stays");
        let newcomer = Pen::new(4, 50).write(&[checkpoint()]);
        assert_eq!(name(&chains.accept(now(), &newcomer.bytes)), "restart", "and who comes late gets in");
    }
}

/// What nobody has paid for is kept briefly, and little of it.
#[test]
fn a_flood_of_log_costs_its_author_and_nobody_elses_chain() {
    let mut chains = chains();
    let mut honest = Pen::new(1, 50);
    let kept: Vec<Entry> = (0..20).map(|_| honest.write(&vec![bind(1); 20])).collect();
    for entry in &kept {
        chains.accept(now(), &entry.bytes);
        pay(&mut chains, key(1).peer_id(), Label20([0; 20]));
    }
    let mut pen = Pen::new(2, 50);
    for _ in 0..100 {
        let junk = vec![vec![b'x'; 4_000]; 10];
        let entry = Entry::seal(&pen.key, pen.header.clone(), junk);
        (pen.header.seq, pen.header.prev) = (pen.header.seq + 1, entry.hash);
        assert!(matches!(chains.accept(now(), &entry.bytes), Accepted::New { .. }));
    }
    assert!(chains.bytes_of(key(2).peer_id()) <= 512 * 1024, "until his bindings had time to be judged");
    let held = |chains: &Chains, author: u8| -> usize {
        let life = Incarnation { started: Timestamp(50), random: 5 };
        chains.range(key(author).peer_id(), life, 0, usize::MAX).iter().map(|e| e.len()).sum()
    };
    assert_eq!(held(&chains, 2), 0, "nobody is given what he cannot begin");
    chains.lapse(&[(key(1).peer_id(), 20)].into());
    assert!(chains.bytes_of(key(2).peer_id()) <= 64 * 1024);
    assert_eq!(
        held(&chains, 1),
        kept.iter().map(|e| e.bytes.len()).sum::<usize>(),
        "the honest chain is whole"
    );
}

/// A neighbour that tells of much and delivers nothing.
#[test]
fn a_neighbour_that_delivers_nothing_starves_nobody() {
    let (mut here, mut sync) = (chains(), Sync::new(now(), sync::EVERY));
    let (liar, honest) = (key(2).peer_id(), key(3).peer_id());
    let life = Incarnation { started: Timestamp(50), random: 5 };
    let at = now();
    sync.on_connected(at, liar, &mut here);
    for n in 0..1_800u32 {
        let mut bytes = [3; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let author = SecretKey::from_bytes(&bytes).expect("a scalar").peer_id();
        sync.want(at, liar, author, life, 0, &mut here);
    }
    sync.on_connected(at, honest, &mut here);
    sync.want(at, honest, key(4).peer_id(), life, 0, &mut here);
    let asked: Vec<Ask> = std::iter::from_fn(|| sync.poll_ask()).collect();
    let of = |peer: PeerId| asked.iter().filter(|a| a.peer == peer).count();
    assert!(of(liar) <= 4, "{}", of(liar));
    assert_eq!(of(honest), 2, "its heads and its chain, at once");
    // Nothing comes of what it told: soon it is asked for one thing at a time, and then for none of these.
    let mut asked: VecDeque<Ask> = asked.into_iter().filter(|a| a.peer == liar).collect();
    let mut questions = 0;
    while let Some(ask) = asked.pop_front() {
        sync.on_response(at, ask.id, None, &mut here);
        questions += 1;
        asked.extend(std::iter::from_fn(|| sync.poll_ask()));
    }
    assert!(questions < 20, "{questions}");
}

/// LOG-11: a question is short, an answer is not.
#[test]
fn answers_to_one_neighbour_are_limited_in_bytes_and_another_still_gets_its_own() {
    let (mut there, mut sync) = (chains(), Sync::new(now(), sync::EVERY));
    let mut pen = Pen::new(1, 50);
    for _ in 0..6 {
        let junk = vec![vec![b'x'; 4_000]; 10];
        let entry = Entry::seal(&pen.key, pen.header.clone(), junk);
        (pen.header.seq, pen.header.prev) = (pen.header.seq + 1, entry.hash);
        pay(&mut there, key(1).peer_id(), Label20([0; 20]));
        there.accept(now(), &entry.bytes);
    }
    let mut asker = Sync::new(now(), sync::EVERY);
    let (greedy, modest) = (key(2).peer_id(), key(3).peer_id());
    let mut at = now();
    asker.want(at, greedy, key(1).peer_id(), pen.header.incarnation, 0, &mut chains());
    let question = asker.poll_ask().expect("it asks").body;
    let mut sent = 0;
    while let Some(answer) = sync.answer(at, greedy, &question, &mut there) {
        sent += answer.len();
        assert!(sent < 17 << 20, "it ends");
    }
    assert!(sync.answer(at, modest, &question, &mut there).is_some());
    at.mono += Duration::from_secs(1);
    assert!(sync.answer(at, greedy, &question, &mut there).is_some(), "later there is more");
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
        let Some(brought) = sync.on_response(now(), ask.id, answer.as_deref(), here) else { continue };
        for bytes in &brought.entries {
            here.accept(now(), bytes);
        }
        let settled = sync::Settled { is_new: true, is_excused: false, work: 0, more: None };
        sync.settle(now(), &brought, &settled, here);
    }
    panic!("it does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// LOG-12, LOG-12a: whatever was lost and in whatever order the rest came, one exchange makes two peers agree.
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
