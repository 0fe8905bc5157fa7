//! What is kept of a chain, what comes late, and what that costs.

use super::*;
use crate::log::filling::HOLES_MAX;

fn of(realm: u8, n: u32) -> Event {
    let mut aor_id = [realm; 32];
    aor_id[..4].copy_from_slice(&n.to_be_bytes());
    let (aor_id, instance, until) = (Hash(aor_id), Hash([1; 32]), Timestamp(u64::MAX));
    Event::Bind(Bind { aor_id, realm: Label20([realm; 20]), instance, until, grant: None })
}

const FOUR: Label20 = Label20([4; 20]);
const NINE: Label20 = Label20([9; 20]);

/// A chain of so many entries with two realms each, and what is left of each without one of them.
fn partial(count: u32) -> (Pen, Vec<Entry>, Vec<Entry>) {
    let mut pen = Pen::new(1, 50);
    let whole: Vec<Entry> = (0..count).map(|n| pen.write(&[of(4, n), of(9, n)])).collect();
    let parts = whole.iter().map(|entry| entry.without(&[NINE].into()).expect("something of nine")).collect();
    (pen, whole, parts)
}

fn hold(parts: &[Entry]) -> Chains {
    let (mut chains, author) = (chains(), key(1).peer_id());
    for part in parts {
        assert!(matches!(chains.accept(now(), &part.bytes), Accepted::New { .. }));
        (0..2).for_each(|_| pay(&mut chains, author, FOUR));
        pay(&mut chains, author, NINE);
    }
    chains
}

/// A chain in a thousand parts: an answer that fills many of them costs each later entry once, not once for each.
#[test]
fn many_groups_of_one_answer_read_each_later_entry_once() {
    let (_, whole, parts) = partial(1_000);
    let (mut chains, author) = (hold(&parts), key(1).peer_id());
    let before = chains.work();
    let filled = whole.iter().filter(|e| name(&chains.accept(now(), &e.bytes)) == "filled").count();
    assert_eq!(filled, HOLES_MAX, "the others come with the next checkpoint");
    let later = chains.take_filled(now(), author);
    let steps = chains.work() - before;
    assert!(steps <= 1_000 + 2 * HOLES_MAX as u64 + 1_000, "{steps}");
    let heard: Vec<Event> = later.into_iter().flat_map(|(_, events)| events).collect();
    assert_eq!(heard, (0..HOLES_MAX as u32).map(|n| of(9, n)).collect::<Vec<_>>());
}

/// The same spread over many answers: reading pauses for a hundred times as long as it takes.
#[test]
fn a_long_chain_is_asked_for_the_rest_with_pauses() {
    let (_, whole, parts) = partial(1_000);
    let (mut chains, author, mut clock) = (hold(&parts), key(1).peer_id(), now());
    let (mut answers, before) = (0, chains.work());
    for _ in 0..100 {
        if let Some((_, seq)) = chains.hole(clock, author) {
            let seq = usize::try_from(seq).expect("small");
            assert_eq!(name(&chains.accept(clock, &whole[seq].bytes)), "filled");
            assert!(!chains.take_filled(clock, author).is_empty());
            answers += 1;
            let head = chains.heads().next().expect("one");
            assert_eq!(chains.missing(clock, author, &head), None, "nor when it tells of its head");
        }
        clock.mono += Duration::from_secs(1);
    }
    assert!((9..=12).contains(&answers), "{answers} in 100 s");
    assert!(chains.work() - before < 13_000);
}

/// What comes late and had ended meanwhile does not come back.
#[test]
fn each_realm_is_heard_again_from_where_it_came() {
    let unbind = |realm: u8, n: u32| match of(realm, n) {
        Event::Bind(Bind { aor_id, instance, .. }) => {
            (Label20([realm; 20]), encode(&Event::Unbind(crate::records::Unbind { aor_id, instance })))
        }
        other => panic!("{other:?}"),
    };
    let mut pen = Pen::new(1, 50);
    let first = pen.write(&[of(4, 1), of(9, 1)]);
    let second =
        Entry::seal_grouped(&pen.key, pen.header.clone(), vec![unbind(9, 1), (FOUR, encode(&of(4, 2)))]);
    let without = |entry: &Entry, realm: Label20| entry.without(&[realm].into()).expect("it is in it");
    let mut chains = chains();
    chains.accept(now(), &without(&first, NINE).bytes);
    chains.accept(now(), &without(&second, FOUR).bytes);
    for entry in [&second, &first] {
        assert_eq!(name(&chains.accept(now(), &entry.bytes)), "filled");
    }
    let heard: Vec<Event> =
        chains.take_filled(now(), key(1).peer_id()).into_iter().flat_map(|(_, events)| events).collect();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert_eq!(heard[0], of(9, 1));
    assert!(matches!(heard[1..], [Event::Bind(_), Event::Unbind(_)] | [Event::Unbind(_), Event::Bind(_)]));
}

/// LOG-13b: without its checkpoint nobody could begin a chain.
#[test]
fn a_chain_that_is_paid_for_is_never_cut_behind_its_checkpoint() {
    let mut chains = chains();
    let (author, mut pen) = (key(1).peer_id(), Pen::new(1, 50));
    chains.favour(FOUR);
    let start = pen.write(&[checkpoint()]);
    assert_eq!(name(&chains.accept(now(), &start.bytes)), "restart");
    // Twenty thousand phones with a grant of 500 bytes each.
    for batch in 0..400u32 {
        let bind = |n: u32| match of(4, n) {
            Event::Bind(bind) => Event::Bind(Bind { grant: Some(vec![7; 500].into()), ..bind }),
            other => other,
        };
        let events: Vec<Event> = (batch * 50..batch * 50 + 50).map(bind).collect();
        let entry = pen.write(&events);
        assert_eq!(name(&chains.accept(now(), &entry.bytes)), "new");
        (0..50).for_each(|_| pay(&mut chains, author, FOUR));
    }
    let life = pen.header.incarnation;
    let all = chains.range(author, life, 0, usize::MAX);
    assert_eq!(all.len(), 401);
    assert!(all.iter().map(|e| e.len()).sum::<usize>() > 12_000_000);
    assert_eq!(all[0], start.bytes);
    // Nobody pays for them any more: the chain is short again, and nobody is given what he cannot begin.
    chains.lapse(&[].into());
    let more = pen.write(&[bind(1)]);
    assert_eq!(name(&chains.accept(now(), &more.bytes)), "new");
    assert!(chains.range(author, life, 0, usize::MAX).is_empty());
    assert_eq!(chains.range(author, life, 401, usize::MAX), [more.bytes]);
}

/// The author's own chain, whatever its length.
#[test]
fn our_own_chain_is_whole_for_whoever_comes() {
    let (mut chains, mut pen) = (chains(), Pen::new(9, 100));
    pen.header.incarnation = Incarnation { started: Timestamp(100), random: 0 };
    let big = |pen: &mut Pen, first: bool| {
        let mut events = vec![vec![b'x'; 4_000]; 10];
        if first {
            events.insert(0, encode(&checkpoint()));
        }
        let entry = Entry::seal(&pen.key, pen.header.clone(), events);
        (pen.header.seq, pen.header.prev) = (pen.header.seq + 1, entry.hash);
        entry
    };
    for n in 0..500 {
        chains.put_own(&big(&mut pen, n == 0));
    }
    let all = chains.range(key(9).peer_id(), pen.header.incarnation, 0, usize::MAX);
    assert_eq!(all.len(), 500, "{} MiB", all.iter().map(|e| e.len()).sum::<usize>() >> 20);
}

/// One entry to some, another to others, and then a checkpoint that only one of them leads to.
#[test]
fn a_checkpoint_beside_an_entry_that_it_does_not_name_is_no_new_beginning() {
    let (mut a, mut b) = (Pen::new(1, 50), Pen::new(1, 50));
    let first = a.write(&[bind(1)]);
    b.write(&[bind(1)]);
    let (said, other) = (a.write(&[bind(2)]), b.write(&[bind(3)]));
    let (checkpoint, after) = (b.write(&[checkpoint()]), b.write(&[bind(4)]));
    let mut deceived = chains();
    for entry in [&first, &said] {
        deceived.accept(now(), &entry.bytes);
    }
    let mut honest = chains();
    for entry in [&first, &other, &checkpoint, &after] {
        assert!(matches!(honest.accept(now(), &entry.bytes), Accepted::New { .. }));
    }
    let Accepted::Gap { author, incarnation, from } = deceived.accept(now(), &checkpoint.bytes) else {
        panic!("it is no beginning")
    };
    let held = honest.range(author, incarnation, from, usize::MAX);
    assert_eq!(held.len(), 3, "the entry before a checkpoint is kept for this");
    assert_eq!(name(&deceived.accept(now(), &held[0])), "lie");
    assert!(deceived.is_convicted(author));
    // Who comes new begins with the checkpoint, and over a gap it is a beginning.
    assert_eq!(honest.range(author, incarnation, 0, usize::MAX)[0], checkpoint.bytes);
    let mut late = chains();
    late.accept(now(), &first.bytes);
    assert_eq!(name(&late.accept(now(), &checkpoint.bytes)), "restart");
}
