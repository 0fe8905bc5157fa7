//! A verifier, a serving peer, and what each refuses.

use super::*;
use crate::hostile::attack;
use dots_wire::{SecretKey, bounded::Standing};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn sign(alive: bool) -> Sign {
    if alive { Sign::Life } else { Sign::Silence }
}

struct World {
    now: Now,
    rng: ChaCha20Rng,
    verifier: Verifier,
    pinger: Pinger,
    peers: BTreeSet<PeerId>,
}

const AOR: Hash = Hash([1; 32]);
const PHONE: Hash = Hash([2; 32]);

impl World {
    fn new() -> World {
        World {
            now: Now { mono: Instant::now(), wall: Timestamp(1_000_000) },
            rng: ChaCha20Rng::seed_from_u64(1),
            verifier: Verifier::new(key(1).peer_id()),
            pinger: Pinger::new(key(2)),
            peers: [key(2).peer_id()].into(),
        }
    }

    fn what(&self) -> Watched {
        (AOR, PHONE, key(2).peer_id())
    }

    fn challenge(&mut self) -> Option<Challenge> {
        self.now.mono = self.now.mono.max(self.verifier.poll_timeout()?);
        let what = self.what();
        self.verifier.handle_timeout(self.now, &mut self.rng, &self.peers, |_| Some(what));
        self.verifier.poll_challenge()
    }

    /// One round: the life that is attested.
    fn round(&mut self, serves: bool, alive: bool) -> Option<Life> {
        let challenge = self.challenge()?;
        let me = key(1).peer_id();
        self.pinger.on_request(self.now, me, 7, &challenge.body, |_, _| serves);
        if let Some(ping) = self.pinger.poll_ping() {
            self.pinger.on_pinged(self.now, ping.id, sign(alive));
        }
        let (inbound, body) = self.pinger.poll_reply()?;
        assert_eq!(inbound, 7);
        match self.verifier.on_response(self.now, challenge.id, body.as_deref(), &mut self.rng)?.2 {
            Event::Attest(a) => a.proof.peek::<PingOutcome>().ok().map(|o| o.life),
            _ => None,
        }
    }
}

/// LOG-21.
#[test]
fn a_phone_is_looked_at_again_and_again() {
    let mut w = World::new();
    w.verifier.on_granted(w.now, 1, Cause::OWN, Some(0), &mut w.rng);
    assert_eq!(w.round(true, false), Some(Life::Unpingable), "never answered");
    assert_eq!(w.round(true, true), Some(Life::Alive));
    assert_eq!(w.round(true, false), Some(Life::Silent), "did answer before");
    assert_eq!(w.round(false, true), Some(Life::Gone));
    assert_eq!(w.verifier.poll_timeout(), None, "nothing left to watch");
}

#[test]
fn an_outcome_for_another_challenge_or_by_another_key_is_no_word() {
    let mut w = World::new();
    w.verifier.on_granted(w.now, 1, Cause::OWN, Some(0), &mut w.rng);
    let first = w.challenge().expect("it is due");
    let outcome = |serving: u8, challenge: Hash, time: u64| PingOutcome {
        version: serving::VERSION,
        serving: key(2).peer_id(),
        verifier: key(1).peer_id(),
        aor_id: AOR,
        instance: PHONE,
        challenge: if serving == 0 { Hash([0; 32]) } else { challenge },
        life: Life::Alive,
        time: Timestamp(time),
    };
    let asked: Question = decode(&first.body).expect("our own question");
    let lies = [
        Signed::new(&key(3), PING_DOMAIN, &outcome(1, asked.challenge, 1_000_000)),
        Signed::new(&key(2), "dots/other/1", &outcome(1, asked.challenge, 1_000_000)),
        Signed::new(&key(2), PING_DOMAIN, &outcome(0, asked.challenge, 1_000_000)),
        Signed::new(&key(2), PING_DOMAIN, &outcome(1, asked.challenge, 1)),
    ];
    let mut id = first.id;
    let mut challenge = asked.challenge;
    for mut lie in lies {
        if let Ok(mut o) = lie.peek::<PingOutcome>()
            && o.challenge == asked.challenge
            && o.challenge != challenge
        {
            o.challenge = challenge;
            lie.payload = encode(&o);
        }
        assert_eq!(w.verifier.on_response(w.now, id, Some(&encode(&lie)), &mut w.rng), None);
        let next = w.challenge().expect("it is asked again soon");
        id = next.id;
        challenge = decode::<Question>(&next.body).expect("our own question").challenge;
    }
    assert_eq!(w.verifier.on_response(w.now, id, Some(b"junk"), &mut w.rng), None);
}

#[test]
fn several_verifiers_share_one_ping() {
    let mut w = World::new();
    for n in 3..6u8 {
        let q = Question { version: 1, aor_id: AOR, instance: PHONE, challenge: Hash([n; 32]) };
        w.pinger.on_request(w.now, key(n).peer_id(), n.into(), &encode(&q), |_, _| true);
    }
    let ping = w.pinger.poll_ping().expect("one");
    assert_eq!(w.pinger.poll_ping(), None);
    w.pinger.on_pinged(w.now, ping.id, Sign::Life);
    let replies: Vec<_> = std::iter::from_fn(|| w.pinger.poll_reply()).collect();
    assert_eq!(replies.len(), 3);
    for (inbound, body) in replies {
        let signed: Signed = decode(&body.unwrap_or_default()).expect("signed");
        let outcome: PingOutcome = signed.peek().expect("an outcome");
        assert_eq!(outcome.challenge, Hash([inbound as u8; 32]));
    }
}

/// LOG-19.
#[test]
fn three_verifiers_are_drawn_and_never_the_serving_peer() {
    let peers: BTreeSet<PeerId> = (1..=10u8).map(|n| key(n).peer_id()).collect();
    for aor in 0..10u8 {
        let what = (Hash([aor; 32]), PHONE, key(3).peer_id());
        let drawn: Vec<&PeerId> =
            peers.iter().filter(|p| place_of(**p, &peers, &what, Timestamp(0)).is_some()).collect();
        assert_eq!(drawn.len(), VERIFIERS);
        let first = peers.iter().filter(|p| place_of(**p, &peers, &what, Timestamp(0)) == Some(0));
        assert_eq!(first.count(), 1, "LOG-21a");
        assert!(!drawn.contains(&&key(3).peer_id()));
    }
}

/// LOG-20. A change here is a new version of the record, or a CHANGELOG line before the first release.
#[test]
fn golden_bytes() {
    let question =
        Question { version: serving::VERSION, aor_id: AOR, instance: PHONE, challenge: Hash([3; 32]) };
    assert_eq!(hex::encode(encode(&question)), GOLDEN_QUESTION);
    let mut w = World::new();
    w.pinger.on_request(w.now, key(1).peer_id(), 7, &encode(&question), |_, _| false);
    let word = w.pinger.poll_reply().and_then(|(_, body)| body).expect("an outcome");
    assert_eq!((word.len(), sha256(&word).to_string().as_str()), GOLDEN_OUTCOME);
}

#[test]
fn a_question_is_of_this_version_and_whole() {
    let question =
        Question { version: serving::VERSION, aor_id: AOR, instance: PHONE, challenge: Hash([3; 32]) };
    let answered = |body: &[u8]| {
        let mut pinger = Pinger::new(key(2));
        let now = World::new().now;
        pinger.on_request(now, key(1).peer_id(), 7, body, |_, _| false);
        pinger.poll_reply().is_some_and(|(_, body)| body.is_some())
    };
    let newer = Question { version: serving::VERSION + 1, ..question.clone() };
    assert!(!answered(&encode(&newer)));
    attack("question", &encode(&question), answered);
}

const GOLDEN_QUESTION: &str = "8401582001010101010101010101010101010101010101010101010101010101010101015820020202020202020202020202\
        0202020202020202020202020202020202020202582003030303030303030303030303030303030303030303030303030303\
        03030303";
const GOLDEN_OUTCOME: (usize, &str) =
    (253, "d79e2b4df900489e4dc297258693100f6af943536bc46b9f5740bcac135a0603");

/// LOG-21: a phone is not rung at as fast as it answers, nor as fast as it does not.
#[test]
fn whoever_asks_within_ten_seconds_is_told_the_same_and_nobody_is_rung() {
    for (answers, life) in [(true, Life::Alive), (false, Life::Unpingable)] {
        let mut w = World::new();
        let ask = |w: &mut World, n: u8| {
            let (aor_id, instance, challenge) = (AOR, PHONE, Hash([n; 32]));
            let body = encode(&Question { version: serving::VERSION, aor_id, instance, challenge });
            w.pinger.on_request(w.now, key(1 + n % 7).peer_id(), u64::from(n), &body, |_, _| true);
            let ping = w.pinger.poll_ping();
            if let Some(ping) = ping {
                w.pinger.on_pinged(w.now, ping.id, sign(answers));
            }
            let (_, word) = w.pinger.poll_reply().expect("each is answered");
            let outcome: PingOutcome = decode::<Signed>(&word.expect("with a word")).unwrap().peek().unwrap();
            assert_eq!((outcome.challenge, outcome.life), (challenge, life), "a word of his own");
            (usize::from(ping.is_some()), outcome.time)
        };
        let said: Vec<(usize, Timestamp)> = (0..200)
            .map(|n| {
                w.now = Now {
                    mono: w.now.mono + Duration::from_millis(49),
                    wall: Timestamp(1_000_000 + u64::from(n)),
                };
                ask(&mut w, n)
            })
            .collect();
        assert_eq!(said.iter().map(|(pings, _)| pings).sum::<usize>(), 1, "{life:?}");
        assert!(said.iter().all(|(_, time)| *time == said[0].1), "it says when it was so");
        w.now.mono += Duration::from_secs(10);
        assert_eq!(ask(&mut w, 201).0, 1);
        w.pinger.on_bound(AOR, PHONE);
        assert_eq!(ask(&mut w, 202).0, usize::from(!answers), "a phone that has come again is looked at");
    }
}

/// One that asks about many silent phones takes no place from others.
#[test]
fn whoever_has_most_pings_under_way_gives_way() {
    let mut w = World::new();
    let ask = |w: &mut World, who: u8, phone: u64, inbound: u64| {
        let mut aor = [0; 32];
        aor[..8].copy_from_slice(&phone.to_be_bytes());
        let (aor_id, instance, challenge) = (Hash(aor), PHONE, Hash([9; 32]));
        let body = encode(&Question { version: serving::VERSION, aor_id, instance, challenge });
        w.pinger.on_request(w.now, key(who).peer_id(), inbound, &body, |_, _| true);
        w.pinger.poll_ping().is_some()
    };
    let taken = (0..1_000).filter(|n| ask(&mut w, 3, *n, *n)).count();
    assert_eq!(taken, 256);
    assert!((0..100).all(|n| ask(&mut w, 4, 5_000 + n, 5_000 + n)), "another has his share");
    let refused = std::iter::from_fn(|| w.pinger.poll_reply()).filter(|(_, word)| word.is_none());
    let of_others = refused.filter(|(inbound, _)| *inbound >= 5_000).count();
    assert_eq!(of_others, 0, "the loud one pays");
    assert!(!ask(&mut w, 3, 9_000, 9_000), "and gets no more");
}

/// A ping that was not sent is no silence, and tells nobody anything.
#[test]
fn what_was_not_asked_says_nothing_of_the_phone() {
    let mut w = World::new();
    let (aor_id, instance, challenge) = (AOR, PHONE, Hash([9; 32]));
    let body = encode(&Question { version: serving::VERSION, aor_id, instance, challenge });
    w.pinger.on_request(w.now, key(1).peer_id(), 7, &body, |_, _| true);
    let ping = w.pinger.poll_ping().expect("one");
    let ended = w.pinger.on_pinged(w.now, ping.id, Sign::NotAsked).expect("it was under way");
    assert_eq!(ended.life, None);
    assert_eq!(w.pinger.poll_reply(), Some((7, None)));
    w.pinger.on_request(w.now, key(1).peer_id(), 8, &body, |_, _| true);
    assert!(w.pinger.poll_ping().is_some(), "nothing is remembered of it");
}

/// What we want to know ourselves has places of its own, and joins what is under way.
#[test]
fn our_own_looks_take_no_place_of_verifiers_and_lose_none_to_them() {
    let mut w = World::new();
    let phone = |n: u64| {
        let mut aor = [0; 32];
        aor[..8].copy_from_slice(&n.to_be_bytes());
        (Hash(aor), PHONE)
    };
    let looks = (0..3_000).filter(|n| w.pinger.look(w.now, phone(*n), Asker::Watch)).count();
    assert_eq!(looks, 2_048);
    assert!(w.pinger.look(w.now, phone(0), Asker::Watch), "it is under way");
    let ask = |w: &mut World, who: u8, n: u64| {
        let ((aor_id, instance), challenge) = (phone(n), Hash([9; 32]));
        let body = encode(&Question { version: serving::VERSION, aor_id, instance, challenge });
        w.pinger.on_request(w.now, key(who).peer_id(), n, &body, |_, _| true);
    };
    (10_000..10_300).for_each(|n| ask(&mut w, 3, n));
    let begun = std::iter::from_fn(|| w.pinger.poll_ping()).count();
    assert_eq!(begun, 2_048 + 256);
    ask(&mut w, 4, 5);
    assert!(w.pinger.poll_ping().is_none(), "one ping tells both");
    w.now.mono += Duration::from_secs(10);
    w.pinger.handle_timeout(w.now);
    assert!(w.pinger.look(w.now, phone(9), Asker::Watch), "room again");
}

/// A realm that binds without end is watched less itself; the bindings of others still are.
#[test]
fn many_bindings_of_one_realm_leave_those_of_others_watched() {
    let mut w = World::new();
    let of = |realm: &[u8]| Cause::new(Standing::Other).of_realm(realm);
    w.verifier.on_granted(w.now, 1, of(b"quiet"), Some(0), &mut w.rng);
    for row in 2..100_000 {
        w.verifier.on_granted(w.now, row, of(b"loud"), Some(0), &mut w.rng);
    }
    w.verifier.on_granted(w.now, 100_000, of(b"late"), Some(0), &mut w.rng);
    assert!(w.verifier.due.len() <= 50_000 && w.verifier.due.len() == w.verifier.watched.len());
    for row in [1, 99_999, 100_000] {
        assert!(w.verifier.due.deadline(&row).is_some(), "{row}");
    }
    assert!(w.verifier.due.deadline(&2).is_none(), "the oldest of the loud one");
}
