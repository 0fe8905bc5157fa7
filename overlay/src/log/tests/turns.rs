//! Neighbours that do not deliver, beside one that does.

use super::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{collections::BTreeMap, sync::OnceLock};

#[derive(serde::Serialize)]
enum Answer {
    Heads { heads: Vec<Head>, more: bool },
    Entries { entries: Vec<serde_bytes::ByteBuf> },
}

#[derive(serde::Serialize)]
enum Question {
    Heads { version: u8, root: Hash, after: Option<(PeerId, String)> },
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Says nothing at all.
    Mute,
    /// Tells of eighteen hundred chains and says nothing of them.
    Tells,
    /// The same, at once and without end.
    TellsMore,
    /// And brings a byte of each.
    Junk,
    /// And brings nothing of each, at once.
    Nothing,
}

const LIES: [Lie; 5] = [Lie::Mute, Lie::Tells, Lie::TellsMore, Lie::Junk, Lie::Nothing];
const TIMEOUT: Duration = Duration::from_secs(5);

struct Crowd {
    clock: Now,
    here: Chains,
    there: Chains,
    sync: Sync,
    other: Sync,
    rng: ChaCha20Rng,
    liars: BTreeMap<PeerId, Lie>,
    answers: BTreeMap<(Instant, u64), Option<Vec<u8>>>,
    told: usize,
    asked: usize,
}

/// Chains that nobody has.
fn invented() -> &'static [PeerId] {
    static INVENTED: OnceLock<Vec<PeerId>> = OnceLock::new();
    INVENTED.get_or_init(|| {
        let id = |n: u32| {
            let mut bytes = [5; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
        };
        let mut ids: Vec<PeerId> = (0..7_200).map(id).collect();
        ids.sort();
        ids
    })
}

/// Its id is above the others', so that an order by ids does not favour it.
fn honest() -> PeerId {
    (100..=200).map(|n| key(n).peer_id()).max().expect("some")
}

impl Crowd {
    fn new(lies: impl IntoIterator<Item = Lie>) -> Crowd {
        let clock = now();
        let liars = lies.into_iter().zip(0u32..).map(|(lie, n)| {
            let mut bytes = [6; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            (SecretKey::from_bytes(&bytes).expect("a scalar").peer_id(), lie)
        });
        Crowd {
            clock,
            here: chains(),
            there: chains(),
            sync: Sync::new(clock, sync::EVERY),
            other: Sync::new(clock, sync::EVERY),
            rng: ChaCha20Rng::seed_from_u64(1),
            liars: liars.collect(),
            answers: BTreeMap::new(),
            told: 0,
            asked: 0,
        }
    }

    /// The next ones: whoever asks for what is above them gets these.
    fn heads(&mut self) -> Vec<Head> {
        let head = |author: &PeerId| {
            let incarnation = Incarnation { started: Timestamp(1), random: 1 };
            Head { author: *author, shard: String::new(), incarnation, seq: 9, hash: Hash([1; 32]) }
        };
        let from = self.told;
        self.told = (from + 1_800) % invented().len();
        invented()[from..].iter().take(1_800).map(head).collect()
    }

    fn on_ask(&mut self, ask: &Ask) {
        self.asked += 1;
        let (soon, late) = (self.clock.mono + Duration::from_millis(20), self.clock.mono + TIMEOUT);
        let is_heads = ask.body.windows(5).any(|w| w == b"Heads");
        let Some(lie) = self.liars.get(&ask.peer).copied() else {
            let answer = self.other.answer(self.clock, key(9).peer_id(), &ask.body, &mut self.there);
            self.answers.insert((soon, ask.id), answer);
            return;
        };
        let heads = |more: bool, heads: Vec<Head>| Some(encode(&Answer::Heads { heads, more }));
        let (at, answer) = match lie {
            Lie::Mute => (late, None),
            Lie::TellsMore if is_heads => (soon, heads(true, self.heads())),
            _ if is_heads => (soon, heads(false, self.heads())),
            Lie::Junk => {
                let entries = vec![serde_bytes::ByteBuf::from([1])];
                (soon, Some(encode(&Answer::Entries { entries })))
            }
            Lie::Nothing => (soon, Some(encode(&Answer::Entries { entries: Vec::new() }))),
            Lie::Tells | Lie::TellsMore => (late, None),
        };
        self.answers.insert((at, ask.id), answer);
    }

    fn on_answer(&mut self, id: u64, answer: Option<Vec<u8>>) {
        let (clock, here) = (self.clock, &mut self.here);
        let Some(brought) = self.sync.on_response(clock, id, answer.as_deref(), here) else { return };
        let before = here.work();
        let mut is_new = false;
        for bytes in &brought.entries {
            is_new |= matches!(here.accept(clock, bytes), Accepted::New { .. });
        }
        let settled = sync::Settled { is_new, is_excused: false, work: here.work() - before, more: None };
        self.sync.settle(clock, &brought, &settled, here);
    }

    /// LOG-12b: liars show a root of their own as often as they may: then they are asked back.
    fn liars_ask(&mut self, n: u8) {
        let question = encode(&Question::Heads {
            version: 2,
            root: Hash([n; 32]),
            after: Some((PeerId(dots_wire::PublicKey([255; 33])), String::new())),
        });
        for liar in self.liars.keys().copied().collect::<Vec<_>>() {
            self.sync.answer(self.clock, liar, &question, &mut self.here);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.clock.mono + time;
        let mut ask_at = self.clock.mono;
        loop {
            while let Some(ask) = self.sync.poll_ask() {
                self.on_ask(&ask);
            }
            let answer = self.answers.first_key_value().map(|((at, _), _)| *at);
            let at = [answer, self.sync.poll_timeout(), Some(ask_at)].into_iter().flatten().min();
            let Some(at) = at.filter(|at| *at <= end) else { break };
            let step = at.saturating_duration_since(self.clock.mono);
            self.clock = Now { mono: self.clock.mono + step, wall: self.clock.wall.plus(step) };
            if ask_at <= self.clock.mono {
                self.liars_ask(u8::try_from(self.asked % 251).expect("small"));
                ask_at = self.clock.mono + Duration::from_millis(800);
            }
            if let Some((id, answer)) = self
                .answers
                .first_entry()
                .filter(|e| e.key().0 <= self.clock.mono)
                .map(|e| (e.key().1, e.remove()))
            {
                self.on_answer(id, answer);
            }
            self.sync.handle_timeout(self.clock, &mut self.rng, &mut self.here);
        }
        let step = end.saturating_duration_since(self.clock.mono);
        self.clock = Now { mono: end, wall: self.clock.wall.plus(step) };
    }
}

/// LOG-12c: the honest neighbour comes after all of them, and its chains are there soon.
fn arrives(lies: Vec<Lie>, disarmed: bool) -> Option<u64> {
    let mut crowd = Crowd::new(lies);
    if disarmed {
        crowd.sync.disarm();
    }
    for author in 1..=3u8 {
        let mut pen = Pen::new(author, 50);
        (0..5).for_each(|n| drop(crowd.there.accept(now(), &pen.write(&[bind(n)]).bytes)));
    }
    for liar in crowd.liars.keys().copied().collect::<Vec<_>>() {
        crowd.sync.on_connected(crowd.clock, liar, &mut crowd.here);
    }
    crowd.pass(Duration::from_secs(3));
    crowd.sync.on_connected(crowd.clock, honest(), &mut crowd.here);
    let is_here = |crowd: &Crowd| (1..=3).all(|n| crowd.here.head(key(n).peer_id()) == Some(4));
    (1..=30).find(|_| {
        crowd.pass(Duration::from_secs(1));
        is_here(&crowd)
    })
}

#[test]
fn a_crowd_that_delivers_nothing_keeps_no_honest_chain_away() {
    for count in [5, 6, 16, 64] {
        for lie in LIES {
            let after = arrives(vec![lie; count], false);
            assert!(after.is_some_and(|seconds| seconds <= 12), "{count} x {lie:?}: {after:?}");
        }
        let mixed = (0..count).map(|n| LIES[n % LIES.len()]).collect();
        let after = arrives(mixed, false);
        assert!(after.is_some_and(|seconds| seconds <= 12), "{count} of all kinds: {after:?}");
    }
    assert_eq!(arrives(vec![Lie::Tells; 6], true), None, "without turns it does");
}

/// They are asked less and less.
#[test]
fn who_never_answers_is_asked_ever_less() {
    for lie in LIES {
        let mut crowd = Crowd::new([lie; 5]);
        for liar in crowd.liars.keys().copied().collect::<Vec<_>>() {
            crowd.sync.on_connected(crowd.clock, liar, &mut crowd.here);
        }
        crowd.pass(Duration::from_secs(300));
        let first = crowd.asked;
        crowd.pass(Duration::from_secs(300));
        let then = crowd.asked - first;
        eprintln!("{lie:?}: {first} questions in five minutes, then {then}");
        // An answer without entries may be honest: it is fifty steps of a thousand in a second.
        let per_second = if matches!(lie, Lie::Nothing) { 20 } else { 2 };
        assert!(then <= 5 * 300 * per_second, "{lie:?}: {then}");
        assert!(!matches!(lie, Lie::Mute) || then < 80, "{lie:?}: {then}");
    }
}

/// LOG-12f: a neighbour whose answers are all work and nothing else is asked for less than a core can do.
#[test]
fn one_neighbours_answers_cost_a_limited_number_of_steps() {
    let mut crowd = Crowd::new([]);
    let many = 60_000u32;
    let mut next = 0u32;
    let source = key(2).peer_id();
    crowd.sync.on_connected(crowd.clock, source, &mut crowd.here);
    while let Some(ask) = crowd.sync.poll_ask() {
        crowd.sync.on_response(crowd.clock, ask.id, None, &mut crowd.here);
    }
    let mut steps = 0u64;
    let start = crowd.clock.mono;
    for _ in 0..600 {
        for _ in 0..100 {
            let mut bytes = [2; 33];
            bytes[1..5].copy_from_slice(&next.to_be_bytes());
            let life = Incarnation { started: Timestamp(1), random: 1 };
            let author = PeerId(dots_wire::PublicKey(bytes));
            crowd.sync.want(crowd.clock, source, author, life, 0, &mut crowd.here);
            next = (next + 1) % many;
        }
        while let Some(ask) = crowd.sync.poll_ask() {
            let entries = vec![serde_bytes::ByteBuf::from([1])];
            let body = encode(&Answer::Entries { entries });
            let Some(brought) = crowd.sync.on_response(crowd.clock, ask.id, Some(&body), &mut crowd.here)
            else {
                continue;
            };
            // Each costs as much as a thousand entries, and says something new.
            steps += 1_000;
            let settled = sync::Settled { is_new: true, is_excused: false, work: 1_000, more: None };
            crowd.sync.settle(crowd.clock, &brought, &settled, &mut crowd.here);
        }
        crowd.clock.mono += Duration::from_millis(100);
    }
    let seconds = (crowd.clock.mono - start).as_secs();
    assert!(steps <= 20_000 + 1_000 * (seconds + 4), "{steps} in {seconds} s");
    assert!(steps >= 1_000 * seconds, "and no less than it may: {steps}");
}

/// Honest neighbours tell of chains of which they do not keep the beginning, and bring what we have no room for. They keep
/// their turn, and pay for each such question.
#[test]
fn who_has_not_all_of_what_he_tells_is_no_liar() {
    let holder = key(2).peer_id();
    let life = Incarnation { started: Timestamp(1), random: 1 };
    let mut crowd = Crowd::new([]);
    crowd.sync.on_connected(crowd.clock, holder, &mut crowd.here);
    while let Some(ask) = crowd.sync.poll_ask() {
        crowd.sync.on_response(crowd.clock, ask.id, None, &mut crowd.here);
    }
    let nothing = encode(&Answer::Entries { entries: Vec::new() });
    let junk = encode(&Answer::Entries { entries: vec![serde_bytes::ByteBuf::from([1])] });
    let mut asked = 0;
    for author in invented() {
        crowd.sync.want(crowd.clock, holder, *author, life, 0, &mut crowd.here);
        let Some(ask) = crowd.sync.poll_ask() else { continue };
        asked += 1;
        let answer = if asked % 2 == 0 { &junk } else { &nothing };
        if let Some(brought) = crowd.sync.on_response(crowd.clock, ask.id, Some(answer), &mut crowd.here) {
            let settled = sync::Settled { is_new: false, is_excused: true, work: 50, more: None };
            crowd.sync.settle(crowd.clock, &brought, &settled, &mut crowd.here);
        }
    }
    assert_eq!(asked, 400, "twenty thousand steps");
}
