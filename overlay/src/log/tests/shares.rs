//! Whose words are taken, and at whose expense.

use super::*;
use std::collections::BTreeMap;

const AUTHOR: u8 = 1;

fn author() -> PeerId {
    key(AUTHOR).peer_id()
}

/// How many events of a realm are taken of an entry.
fn taken(chains: &mut Chains, clock: Now, entry: &Entry, realm: Label20) -> u32 {
    match chains.accept(clock, &entry.bytes) {
        Accepted::New { entry, .. } => {
            entry.counts.iter().filter(|(r, _)| *r == realm).map(|(_, counts)| counts.events).sum()
        }
        other => panic!("the chain goes on: {other:?}"),
    }
}

fn label(n: u8) -> Label20 {
    Label20([n; 20])
}

/// Free realms whose phones register there have burnt what the author has.
fn burnt(chains: &mut Chains, pen: &mut Pen, clock: Now) {
    for n in 0..300u32 {
        let entry = pen.write(&phones(200, if n < 20 { 100 } else { 1 }));
        taken(chains, clock, &entry, label(200));
    }
    assert_eq!(taken(chains, clock, &pen.write(&phones(200, 2)), label(200)), 0);
}

/// What free accounts burn at a peer keeps no realm from being heard there the first time.
#[test]
fn the_first_word_of_a_realm_is_judged_before_it_is_charged() {
    let (mut chains, clock, mut pen) = (chains(), now(), Pen::new(AUTHOR, 50));
    chains.know(label(4));
    burnt(&mut chains, &mut pen, clock);
    assert_eq!(taken(&mut chains, clock, &pen.write(&phones(5, 20)), label(5)), 0, "nobody could judge that");
    for _ in 0..100 {
        assert_eq!(taken(&mut chains, clock, &pen.write(&phones(4, 20)), label(4)), 20);
        (0..20).for_each(|_| pay(&mut chains, author(), label(4)));
    }
}

/// A known name in an author's mouth is credit, and each realm's credit ends with what nobody has paid.
#[test]
fn an_author_that_uses_others_names_has_little_of_it() {
    let (mut chains, clock, mut pen) = (chains(), now(), Pen::new(AUTHOR, 50));
    [4, 5].into_iter().for_each(|n| chains.know(label(n)));
    let mut heard = |chains: &mut Chains, realm: u8, count: u32| {
        taken(chains, clock, &pen.write(&phones(realm, count)), label(realm))
    };
    let on_credit: u32 = (0..30).map(|_| heard(&mut chains, 4, 100)).sum();
    assert!((1_000..=2_000).contains(&on_credit), "credit, and half of his own purse: {on_credit}");
    while heard(&mut chains, 4, 1) > 0 {}
    assert_eq!(heard(&mut chains, 5, 100), 100, "each realm for itself");
    pay(&mut chains, author(), label(4));
    assert_eq!(heard(&mut chains, 4, 10), 10, "what was paid for is heard");
}

/// LOG-13d.
#[test]
fn what_is_said_of_a_realm_of_ours_is_never_over() {
    let (mut chains, clock, mut pen) = (chains(), now(), Pen::new(AUTHOR, 50));
    chains.favour(label(4));
    burnt(&mut chains, &mut pen, clock);
    for _ in 0..100 {
        let both: Vec<Event> = phones(4, 200).into_iter().chain(phones(9, 50)).collect();
        assert_eq!(taken(&mut chains, clock, &pen.write(&both), label(4)), 200);
    }
}

/// Many realms with one phone each, granted by one network: each is heard, and none takes another's credit.
#[test]
fn ten_thousand_realms_at_one_author_leave_each_its_own() {
    let (mut chains, clock, mut pen) = (chains(), now(), Pen::new(AUTHOR, 50));
    let realm = |n: u32| {
        let mut label = [3; 20];
        label[..4].copy_from_slice(&n.to_be_bytes());
        Label20(label)
    };
    for n in 0..10_000u32 {
        chains.know(realm(n));
        let Event::Bind(bind) = bind(1) else { panic!("a binding") };
        let entry = pen.write(&[Event::Bind(Bind { realm: realm(n), ..bind })]);
        assert_eq!(taken(&mut chains, clock, &entry, realm(n)), 1);
        // Of half of them nothing can be judged yet.
        if n % 2 == 0 {
            pay(&mut chains, author(), realm(n));
        }
        if n % 500 == 0 {
            chains.know(label(4));
            let honest = phones(4, 50);
            assert_eq!(taken(&mut chains, clock, &pen.write(&honest), label(4)), 50, "after {n}");
            honest.iter().for_each(|_| pay(&mut chains, author(), label(4)));
        }
    }
}

/// Words that cost nothing are heard whatever else was said.
#[test]
fn what_is_over_takes_no_author_below_nothing() {
    let (mut chains, clock, mut pen) = (chains(), now(), Pen::new(AUTHOR, 50));
    pay(&mut chains, author(), label(4));
    burnt(&mut chains, &mut pen, clock);
    chains.know(label(4));
    pay(&mut chains, author(), label(4));
    assert_eq!(taken(&mut chains, clock, &pen.write(&phones(4, 17)), label(4)), 17);
}

fn made_up(n: u32) -> (Pen, PeerId) {
    let mut bytes = [3; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    let key = SecretKey::from_bytes(&bytes).expect("a scalar");
    let mut pen = Pen::new(2, 50);
    let author = key.peer_id();
    (pen.header.author, pen.key) = (author, key);
    (pen, author)
}

/// LOG-13b: grants end, and with them what they pay for; many realms of one network are that network.
#[test]
fn an_author_whose_bindings_have_ended_gives_way_before_one_that_is_paid_for() {
    let mut chains = chains();
    let network =
        |network, n: u32| Cause { network, ..Cause::new(Standing::Other).of_realm(&n.to_be_bytes()) };
    for n in 0..AUTHORS_MAX as u32 {
        let (mut pen, author) = made_up(n);
        assert_eq!(name(&chains.accept(now(), &pen.write(&[bind(1)]).bytes)), "restart");
        let realm = Label20([(n % 251) as u8; 20]);
        chains.pay(author, realm, network(if n < 10 { 7 } else { 4 }, n));
    }
    let newcomer = |chains: &mut Chains, n: u32| {
        let (mut pen, author) = made_up(n);
        assert_eq!(name(&chains.accept(now(), &pen.write(&[bind(1)]).bytes)), "restart");
        chains.pay(author, label(1), network(4, n));
        author
    };
    (20_000..20_100).for_each(|n| {
        newcomer(&mut chains, n);
    });
    assert!((0..10).all(|n| chains.head(made_up(n).1).is_some()), "the network that pays for most gives");
    // The bindings of all but one have ended.
    let live: BTreeMap<PeerId, u32> = [(made_up(5).1, 1)].into();
    chains.lapse(&live);
    (30_000..39_000).for_each(|n| {
        newcomer(&mut chains, n);
    });
    assert!(chains.head(made_up(5).1).is_some());
    assert_eq!(chains.authors(), AUTHORS_MAX);
}

/// LOG-7a: liars that nobody pays for are as many as somebody likes; the next one is caught all the same.
#[test]
fn no_crowd_of_liars_lets_another_one_go() {
    let mut chains = chains();
    let lie = |chains: &mut Chains, n: u32| {
        let ((mut a, author), (mut b, _)) = (made_up(n), made_up(n));
        assert_eq!(name(&chains.accept(now(), &a.write(&[bind(1)]).bytes)), "restart");
        assert_eq!(name(&chains.accept(now(), &b.write(&[bind(2)]).bytes)), "lie");
        author
    };
    let mut pen = Pen::new(AUTHOR, 50);
    let mut other = Pen::new(AUTHOR, 50);
    chains.accept(now(), &pen.write(&[bind(1)]).bytes);
    pay(&mut chains, author(), label(4));
    assert_eq!(name(&chains.accept(now(), &other.write(&[bind(2)]).bytes)), "lie");
    let first = lie(&mut chains, 0);
    for n in 1..=10_000 {
        let liar = lie(&mut chains, n);
        assert!(chains.is_convicted(liar));
    }
    assert_eq!(chains.take_pardoned(), [first]);
    assert!(chains.is_convicted(author()), "who stood for something is not forgotten");
}

/// The root costs what has changed, and is that of the heads, whatever came and went.
#[test]
fn a_root_is_of_the_heads_alone() {
    let (mut one, mut other) = (chains(), chains());
    for n in 0..50u32 {
        let (mut pen, _) = made_up(n);
        let entries: Vec<Entry> = (0..3).map(|n| pen.write(&[bind(n)])).collect();
        entries.iter().for_each(|e| drop(one.accept(now(), &e.bytes)));
        one.root();
        entries.iter().take(if n == 7 { 2 } else { 3 }).for_each(|e| drop(other.accept(now(), &e.bytes)));
    }
    assert_ne!(one.root(), other.root());
    let (mut pen, _) = made_up(7);
    (0..3).for_each(|n| drop(other.accept(now(), &pen.write(&[bind(n)]).bytes)));
    assert_eq!(one.root(), other.root());
    let (_, gone) = made_up(9);
    one.forget(gone);
    assert_ne!(one.root(), other.root());
    other.forget(gone);
    assert_eq!(one.root(), other.root());
}

/// Who is at the edge of our clock is heard and not passed on, who is beyond waits, and nobody is to blame (LOG-6).
#[test]
fn an_entry_that_is_early_is_judged_more_widely_than_it_is_passed_on() {
    const { assert!(order::FUTURE_MAX.as_secs() > FORWARD_MAX.as_secs() + 20) };
    for (ahead, expected) in
        [(60_000, "restart"), (60_001, "restart"), (90_000, "restart"), (90_001, "early")]
    {
        let mut pen = Pen::new(AUTHOR, 50);
        pen.header.time = Timestamp(1_000_000 + ahead);
        assert_eq!(name(&chains().accept(now(), &pen.write(&[bind(1)]).bytes)), expected, "{ahead}");
    }
}

/// One entry again and again: no signature is checked for it, and a forgery does not make the chain wait.
#[test]
fn what_is_throttled_costs_one_signature_and_no_forgery_stops_a_chain() {
    let (mut chains, clock, mut pen) = (chains(), now(), Pen::new(AUTHOR, 50));
    for _ in 0..5 {
        assert!(matches!(chains.accept(clock, &pen.write(&words(200)).bytes), Accepted::New { .. }));
    }
    let (header, honest) = (pen.header.clone(), pen.write(&words(10)));
    let forged = Entry::seal(&key(8), header, words(900).iter().map(encode).collect());
    assert_eq!(name(&chains.accept(clock, &forged.bytes)), "invalid");
    assert_eq!(name(&chains.accept(clock, &honest.bytes)), "throttled");
    let before = chains.work();
    (0..100).for_each(|_| assert_eq!(name(&chains.accept(clock, &honest.bytes)), "throttled"));
    assert_eq!(chains.work() - before, 100, "read, and no more");
    let later = Now { mono: clock.mono + Duration::from_secs(7), ..clock };
    assert_eq!(name(&chains.accept(later, &honest.bytes)), "new", "ten events, not nine hundred");
}
