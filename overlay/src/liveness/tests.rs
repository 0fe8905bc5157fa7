//! One detector, told step by step what happens; thousands of them together are in `testnet/src/sim/liveness.rs`.

use super::{message::Hearsay, *};
use std::collections::BTreeSet;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn peer(n: u8) -> PeerId {
    key(n).peer_id()
}

fn life(started: u64, count: u32) -> Generation {
    Generation { incarnation: Incarnation { started: Timestamp(started), random: 1 }, count }
}

struct Bench {
    detector: Detector,
    now: Now,
    /// Peers that answer.
    living: BTreeSet<u8>,
    states: Vec<(PeerId, MemberState)>,
    counts: BTreeMap<&'static str, usize>,
    asked: Vec<(PeerId, LiveRequest)>,
    runs_twice: bool,
    inbound: u64,
}

const ME: u8 = 9;

impl Bench {
    /// Neighbours 1 to `neighbours`, all answering, the first ones dialled by us, each in a network of its own.
    fn new(neighbours: u8) -> Bench {
        let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
        let detector = Detector::new(key(ME), "test".into(), life(5, 0).incarnation, 1, now);
        let mut bench = Bench {
            detector,
            now,
            living: (1..=neighbours).collect(),
            states: Vec::new(),
            counts: BTreeMap::new(),
            asked: Vec::new(),
            runs_twice: false,
            inbound: 0,
        };
        for n in 1..=neighbours {
            bench.detector.on_connected(now, peer(n));
            bench.detector.on_chosen(peer(n), Some(n.into()));
        }
        bench.pass(3_000);
        bench
    }

    fn of(&self, peer_id: PeerId) -> Option<u8> {
        (1..=8).find(|n| peer(*n) == peer_id)
    }

    fn drain(&mut self) {
        while let Some(output) = self.detector.poll_output() {
            match output {
                LivenessOutput::Ask { id, peer, ask } => {
                    self.asked.push((peer, ask.clone()));
                    let n = self.of(peer).filter(|n| self.living.contains(n));
                    if let Some(reply) = n.and_then(|n| self.reply_of(n, &ask)) {
                        self.detector.on_reply(self.now, id, Ok(reply));
                    }
                }
                LivenessOutput::State { peer, state } => self.states.push((peer, state)),
                LivenessOutput::Count(name) => *self.counts.entry(name).or_default() += 1,
                LivenessOutput::RunsTwice => self.runs_twice = true,
                LivenessOutput::Reply { .. } | LivenessOutput::Clock { .. } => {}
            }
        }
    }

    fn reply_of(&self, n: u8, ask: &LiveRequest) -> Option<LiveReply> {
        Some(match ask {
            LiveRequest::Hello { .. } => LiveReply::Welcome {
                word: Notice::sign(&key(n), "test", life(1, 0), NoticeKind::Alive),
                secret: message::secret(&[n; 32], peer(ME)),
            },
            LiveRequest::Probe { .. } => {
                LiveReply::Alive { life: life(1, 0), next_ms: 60_000, time: Timestamp(1), newer: None }
            }
            LiveRequest::Reach { .. } | LiveRequest::Show { .. } => LiveReply::Silent,
        })
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.mono + Duration::from_millis(ms);
        self.drain();
        while let Some(at) = self.detector.poll_timeout().filter(|at| *at <= end) {
            self.now.mono = self.now.mono.max(at);
            self.detector.handle_timeout(self.now);
            self.drain();
        }
        self.now.mono = end;
    }

    fn says(&mut self, from: u8, news: Hearsay) {
        self.inbound += 1;
        let ask = LiveRequest::Probe {
            version: message::VERSION,
            life: life(1, 0),
            next_ms: 60_000,
            news: vec![news],
        };
        self.detector.on_ask(self.now, peer(from), self.inbound, ask);
        self.drain();
    }

    fn state(&self, n: u8) -> Option<MemberState> {
        self.detector.state(peer(n))
    }
}

/// LIVE-1, LIVE-3: two steps make a doubt, 2.9 s a death, and anything that comes undoes both.
#[test]
fn silence_is_doubt_and_then_death_and_a_single_word_is_life() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.states, [], "nothing happens to those that answer");
    bench.living.remove(&2);
    bench.pass(1_000 + 2 * 350 + 50);
    assert_eq!(bench.state(2), Some(MemberState::Suspect));
    bench.pass(2_000);
    assert_eq!(bench.state(2), Some(MemberState::Dead));
    let told = bench.asked.iter().filter(|(_, ask)| {
        matches!(ask, LiveRequest::Probe { news, .. } if news.iter().any(|n| matches!(n, Hearsay::Dead { .. })))
    });
    assert!(told.count() >= 3, "the others are told");
    bench.detector.heard(bench.now, peer(2));
    assert_eq!(bench.state(2), Some(MemberState::Alive), "whatever it was");
}

/// LIVE-10: a dead one is asked again, ever less often.
#[test]
fn a_dead_one_is_asked_again_and_used_at_once_when_it_answers() {
    let mut bench = Bench::new(2);
    bench.living.remove(&1);
    bench.pass(10_000);
    assert_eq!(bench.state(1), Some(MemberState::Dead));
    bench.living.insert(1);
    bench.pass(30_000);
    assert_eq!(bench.state(1), Some(MemberState::Alive));
}

#[test]
fn who_is_not_connected_and_not_to_be_found_is_dead_at_once() {
    let mut bench = Bench::new(2);
    bench.living.remove(&1);
    bench.detector.on_disconnected(bench.now, peer(1));
    let id = std::iter::from_fn(|| bench.detector.poll_output()).find_map(|o| match o {
        LivenessOutput::Ask { id, peer: p, .. } if p == peer(1) => Some(id),
        _ => None,
    });
    assert_eq!(bench.state(1), Some(MemberState::Suspect));
    bench.detector.on_reply(bench.now, id.expect("it is asked at once"), Err(true));
    assert_eq!(bench.state(1), Some(MemberState::Dead));
}

/// LIVE-5: hearsay makes us look and no more.
#[test]
fn hearsay_makes_us_look_and_does_not_convince() {
    let mut bench = Bench::new(4);
    for from in [1, 2, 3] {
        bench.asked.clear();
        bench.says(from, Hearsay::Dead { peer: peer(4), life: life(1, 0) });
        let looked = bench.asked.iter().any(|(p, _)| *p == peer(4));
        assert!(looked, "we look at once");
    }
    assert_eq!(bench.states, [], "it answered");
    bench.living.remove(&4);
    bench.says(1, Hearsay::Suspect { peer: peer(4), life: life(1, 0) });
    bench.pass(360);
    assert_eq!(bench.state(4), Some(MemberState::Suspect), "doubt is quick where somebody doubts already");
    // Two of other networks whom we chose, while it does not answer us either.
    bench.pass(400);
    bench.says(1, Hearsay::Dead { peer: peer(4), life: life(1, 0) });
    assert_eq!(bench.state(4), Some(MemberState::Suspect), "one is not enough");
    bench.says(1, Hearsay::Dead { peer: peer(4), life: life(1, 0) });
    assert_eq!(bench.state(4), Some(MemberState::Suspect), "nor is one twice");
    bench.says(2, Hearsay::Dead { peer: peer(4), life: life(1, 0) });
    assert_eq!(bench.state(4), Some(MemberState::Dead));
}

#[test]
fn whoever_we_did_not_choose_is_no_witness() {
    let mut bench = Bench::new(4);
    for n in [1, 2, 3] {
        bench.detector.on_chosen(peer(n), None);
    }
    bench.living.remove(&4);
    for from in [1, 2, 3] {
        bench.says(from, Hearsay::Dead { peer: peer(4), life: life(1, 0) });
    }
    bench.pass(1_000);
    for from in [1, 2, 3] {
        bench.says(from, Hearsay::Dead { peer: peer(4), life: life(1, 0) });
    }
    assert_eq!(bench.state(4), Some(MemberState::Suspect));
}

/// LIVE-6, LIVE-7: a goodbye that somebody else signed is none.
#[test]
fn a_goodbye_is_its_own_or_none() {
    let mut bench = Bench::new(3);
    let by = |n: u8, life| Notice::sign(&key(n), "test", life, NoticeKind::Left);
    bench.says(2, Hearsay::Notice(by(1, life(0, 0))));
    assert_eq!(bench.state(1), Some(MemberState::Alive), "of an earlier life");
    let mut forged = by(2, life(1, 0));
    forged.payload = by(1, life(1, 0)).payload;
    bench.says(2, Hearsay::Notice(forged));
    assert_eq!(bench.state(1), Some(MemberState::Alive), "signed by another");
    bench.says(2, Hearsay::Notice(by(1, life(1, 0))));
    assert_eq!(bench.state(1), Some(MemberState::Left), "whoever brings it");
    bench.detector.heard(bench.now, peer(1));
    assert_eq!(bench.state(1), Some(MemberState::Left), "what was on its way is no return");
    bench.detector.on_connected(bench.now, peer(1));
    assert_eq!(bench.state(1), Some(MemberState::Alive));
}

/// LIVE-4: a helper cannot make up that it was answered.
#[test]
fn a_tag_that_the_helper_made_up_is_no_life() {
    let mut bench = Bench::new(3);
    bench.living.remove(&1);
    bench.pass(1_000);
    let now = bench.now;
    let mut forged = 0;
    for id in 0..bench.detector.next_id {
        if matches!(bench.detector.asks.get(&id), Some(Asked::Reach { .. })) {
            bench.detector.on_reply(now, id, Ok(LiveReply::Shown([7; 16])));
            forged += 1;
        }
    }
    bench.drain();
    bench.pass(3_000);
    assert_eq!(bench.state(1), Some(MemberState::Dead));
    assert!(forged == 0 || bench.counts["live_forged_tag"] > 0);
}

/// LIVE-8: who stood still himself accuses nobody.
#[test]
fn a_machine_that_stood_still_blames_itself() {
    let mut bench = Bench::new(4);
    bench.living.clear();
    bench.pass(600);
    // Two seconds in which nothing ran; the answers to what was asked before are read afterwards.
    bench.now.mono += Duration::from_secs(3);
    bench.detector.handle_timeout(bench.now);
    bench.drain();
    assert!(bench.states.iter().all(|(_, s)| *s != MemberState::Dead), "{:?}", bench.states);
    bench.living = (1..=4).collect();
    bench.pass(3_000);
    assert!((1..=4).all(|n| bench.state(n) == Some(MemberState::Alive)));
    assert_eq!(bench.counts["live_stood_still"], 1);
}

#[test]
fn our_own_death_is_refuted_and_not_without_end() {
    let mut bench = Bench::new(3);
    bench.asked.clear();
    for n in 0..100 {
        bench.says(1, Hearsay::Dead { peer: peer(ME), life: life(5, n) });
    }
    let words = bench.asked.iter().filter_map(|(_, ask)| match ask {
        LiveRequest::Probe { news, .. } => news.iter().find_map(|n| match n {
            Hearsay::Notice(w) => Notice::peek(w, "test").filter(|w| w.peer == peer(ME)),
            _ => None,
        }),
        _ => None,
    });
    let latest = words.map(|w| w.life.count).max();
    assert_eq!(latest, Some(4), "four at once, then one a second");
}

/// LIVE-9: one key twice is told by a third peer.
#[test]
fn the_older_of_two_with_one_key_learns_it_from_a_third() {
    let mut bench = Bench::new(2);
    let word = |n: u8, started| Notice::sign(&key(n), "test", life(started, 0), NoticeKind::Alive);
    bench.says(1, Hearsay::Notice(word(ME, 4)));
    assert!(!bench.runs_twice, "an earlier life of ours is no other");
    bench.says(1, Hearsay::Notice(word(ME, 6)));
    assert!(bench.runs_twice, "a later one is");
    // The third: two lives of peer 1 ask it, the older one is told.
    bench.inbound += 1;
    let hello = LiveRequest::Hello { version: message::VERSION, word: word(1, 7) };
    bench.detector.on_ask(bench.now, peer(1), bench.inbound, hello);
    bench.drain();
    let probe = |started| LiveRequest::Probe {
        version: message::VERSION,
        life: life(started, 0),
        next_ms: 1,
        news: vec![],
    };
    for (started, told) in [(1, true), (7, false)] {
        bench.detector.on_ask(bench.now, peer(1), 99, probe(started));
        let newer = std::iter::from_fn(|| bench.detector.poll_output()).any(|o| {
            matches!(o, LivenessOutput::Reply { reply: LiveReply::Alive { newer: Some(_), .. }, .. })
        });
        assert_eq!(newer, told, "the life that began at {started}");
    }
}

/// LIVE-2: probes and questions are bounded.
#[test]
fn nothing_grows_without_end() {
    let mut bench = Bench::new(2);
    for n in 0..MEMBERS_MAX as u32 + 50 {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let stranger = SecretKey::from_bytes(&bytes).expect("a scalar").peer_id();
        bench.detector.suspect(bench.now, stranger, bench.now.mono);
        while bench.detector.poll_output().is_some() {}
    }
    assert!(bench.detector.members.len() <= MEMBERS_MAX && bench.detector.asks.len() <= ASKS_MAX);
    assert_eq!(bench.state(1), Some(MemberState::Alive), "a neighbour does not go for a stranger");
}

/// LIVE-4: two hundred askers in one moment, each with a burst for one that does not answer: what we ask for ourselves keeps its place,
/// and whoever waited longest is told that it is silent.
#[test]
fn helping_strangers_costs_no_probe_of_ours_its_place() {
    let mut bench = Bench::new(2);
    bench.living.remove(&2);
    bench.pass(700);
    let ours: Vec<u64> = bench.detector.asks.keys().copied().collect();
    assert!(!ours.is_empty(), "we ask ourselves");
    let (mut silent, mut askers) = (0, 0);
    for n in 0..200u32 {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let stranger = SecretKey::from_bytes(&bytes).expect("a scalar").peer_id();
        bench.detector.on_connected(bench.now, stranger);
        askers += 1;
        for nonce in 0..40 {
            let ask = LiveRequest::Reach { version: message::VERSION, target: peer(2), nonce };
            bench.detector.on_ask(bench.now, stranger, u64::from(n) * 100 + nonce, ask);
        }
        while let Some(output) = bench.detector.poll_output() {
            let is_silent = matches!(output, LivenessOutput::Reply { reply: LiveReply::Silent, .. });
            silent += usize::from(is_silent);
        }
    }
    assert_eq!(bench.detector.shows.len(), SHOWS_MAX);
    assert_eq!(silent, askers * 40 - SHOWS_MAX, "each is answered, but for those that still wait");
    assert!(ours.iter().all(|id| bench.detector.asks.contains_key(id)), "ours stand");
}

#[test]
fn keys_that_come_and_go_make_us_look_for_few_of_them() {
    let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
    let mut detector = Detector::new(key(ME), "test".into(), life(5, 0).incarnation, 1, now);
    for n in 0..1_000u32 {
        let mut bytes = [8; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let peer = SecretKey::from_bytes(&bytes).expect("a scalar").peer_id();
        detector.on_connected(now, peer);
        detector.on_disconnected(now, peer);
    }
    let (mut at, mut asked) = (now, 0);
    let end = now.mono + Duration::from_secs(300);
    while let Some(next) = detector.poll_timeout().filter(|next| *next <= end) {
        let step = next.saturating_duration_since(at.mono);
        at = Now { mono: at.mono + step, wall: at.wall.plus(step) };
        detector.handle_timeout(at);
        while let Some(output) = detector.poll_output() {
            if let LivenessOutput::Ask { id, .. } = output {
                asked += usize::from(at.mono > now.mono + Duration::from_secs(5));
                detector.on_reply(at, id, Err(true));
            }
        }
    }
    assert!((1_000..64 + 8 * 300 + 8).contains(&asked), "{asked}: each now and then, eight a second at most");
}
