//! One honest machine and a peer that has its own key and says whatever it likes with it, while the honest one is
//! killed at any step. [`Pair`] checks that the honest key never says two things.

use super::super::*;
use super::pair::{CALLEE, CALLER, NETWORK, Packet, Pair, key, receipt};
use crate::receipt::{
    Claim, Half, HalfSigned, Message, Receipt, Refusal, Refused, Seal, Side, Stored, VERSION, Whole, agree,
    is_within, read_bundle, sealing, write_bundle,
};
use proptest::{collection::vec, prelude::*};
use std::time::Duration;

const TALK_MS: u64 = 100_000;

#[derive(Clone, Debug)]
struct Lie {
    duration_ms: Option<u64>,
    start_off: i64,
    cause: Option<EndCause>,
    other_salt: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Claim,
    /// Signed over what follows from both claims.
    Half,
    /// Signed over a receipt with the duration of the lie.
    HalfOfAnother,
    /// With the honest signature, if it was heard.
    Whole,
    /// The same, around a receipt with the duration of the lie.
    WholeOfAnother,
    Refused,
    Noise,
}

#[derive(Clone, Debug)]
enum Step {
    Ask(Lie),
    Answer(Lie),
    Ended(bool),
    Sync(usize),
    Crash(usize),
    Restart,
    Pass(u64),
}

fn lie() -> impl Strategy<Value = Lie> {
    let duration = prop_oneof![
        4 => (TALK_MS - 3_000..TALK_MS + 3_000).prop_map(Some),
        1 => Just(None),
        1 => any::<u64>().prop_map(Some),
        1 => (0..TALK_MS).prop_map(Some),
    ];
    let start = prop_oneof![4 => Just(0i64), 1 => -61_000..61_000i64];
    let cause =
        prop_oneof![4 => Just(Some(EndCause::Bye)), 1 => Just(Some(EndCause::Expired)), 1 => Just(None)];
    let kind = prop_oneof![
        4 => Just(Kind::Claim),
        4 => Just(Kind::Half),
        2 => Just(Kind::HalfOfAnother),
        3 => Just(Kind::Whole),
        2 => Just(Kind::WholeOfAnother),
        1 => Just(Kind::Refused),
        1 => Just(Kind::Noise),
    ];
    (duration, start, cause, prop::bool::weighted(0.1), kind).prop_map(
        |(duration_ms, start_off, cause, other_salt, kind)| Lie {
            duration_ms,
            start_off,
            cause,
            other_salt,
            kind,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => lie().prop_map(Step::Ask),
        4 => lie().prop_map(Step::Answer),
        1 => any::<bool>().prop_map(Step::Ended),
        6 => (1..3usize).prop_map(Step::Sync),
        1 => (0..3usize).prop_map(Step::Crash),
        2 => Just(Step::Restart),
        2 => (1..12_000u64).prop_map(Step::Pass),
    ]
}

struct World {
    net: Pair,
    start: Timestamp,
    /// What the honest peer has said.
    claim: Option<Claim>,
    signature: Option<Seal>,
    /// Its requests that are not answered.
    asked: Vec<(u32, u64)>,
}

impl World {
    fn listen(&mut self) {
        for packet in std::mem::take(&mut self.net.wire) {
            let body = match packet {
                Packet::Request { life, id, body, .. } => {
                    self.asked.push((life, id));
                    Some(body)
                }
                Packet::Response { body, .. } => body,
            };
            let checked = &mut Checked::default();
            match body.and_then(|b| read_bundle(&b)?.pop()?) {
                Some(Message::Claim(claim)) => self.claim = Claim::verified(checked, &claim),
                Some(Message::Half(half)) => {
                    self.claim = Claim::verified(checked, &half.claim);
                    self.signature = Some(half.seal);
                }
                Some(Message::Whole(whole)) => self.signature = Some(whole.callee),
                _ => {}
            }
        }
    }

    fn say(&self, lie: &Lie) -> Vec<u8> {
        let facts = self.net.facts(1);
        let mut claim = Claim {
            version: VERSION,
            facts,
            side: Side::Caller,
            start: Timestamp(self.start.0.saturating_add_signed(lie.start_off)),
            duration_ms: lie.duration_ms,
            cause: lie.cause,
        };
        if lie.other_salt {
            claim.facts.salt = Hash([0; 32]);
        }
        let guess = Claim { side: Side::Callee, start: self.start, ..claim.clone() };
        let agreed = agree(&claim, self.claim.as_ref().unwrap_or(&guess));
        let another = Receipt {
            version: VERSION,
            facts: claim.facts.clone(),
            start: claim.start,
            duration_ms: lie.duration_ms.unwrap_or(0),
            cause: EndCause::Bye,
            after_restart: None,
            media: (),
        };
        let liar = &key(1);
        let half = |r: &Receipt| sealing(liar, |s| HalfSigned::sign(s, Side::Caller, r));
        let whole = |r: &Receipt| -> Whole { half(r).with(self.signature.clone().unwrap_or(half(r).seal)) };
        let agreed = agreed.unwrap_or_else(|_| another.clone());
        let signed = sealing(liar, |s| claim.sign(s));
        let message = match lie.kind {
            Kind::Claim => Message::Claim(signed),
            Kind::Half => Message::Half(Half { claim: signed, seal: half(&agreed).seal }),
            Kind::HalfOfAnother => Message::Half(Half { claim: signed, seal: half(&another).seal }),
            Kind::Whole => Message::Whole(whole(&agreed)),
            Kind::WholeOfAnother => Message::Whole(whole(&another)),
            Kind::Refused => {
                Message::Refused(Refused { call_id: claim.facts.call_id, reason: Refusal::Excessive })
            }
            Kind::Noise => return signed.payload,
        };
        write_bundle(&[Some(message)])
    }

    fn take(&mut self, step: &Step) {
        self.listen();
        match step {
            Step::Ask(lie) => {
                let body = self.say(lie);
                self.net.deliver(Packet::Request { from: CALLER, life: 0, id: 0, body });
            }
            Step::Answer(lie) => {
                let body = Some(self.say(lie));
                if let Some((life, id)) = self.asked.pop() {
                    self.net.deliver(Packet::Response { to: CALLEE, life, id, body });
                }
            }
            Step::Ended(propose) => self.net.ended(CALLEE, 1, TALK_MS, EndCause::Bye, *propose),
            Step::Sync(count) => self.net.sync(CALLEE, *count),
            Step::Crash(kept) => self.net.crash(CALLEE, *kept),
            Step::Restart => self.net.restart(CALLEE),
            Step::Pass(ms) => self.net.pass(Duration::from_millis(*ms)),
        }
    }
}

proptest! {
    // 256 runs; `PROPTEST_CASES=20000` for more. A failing one is printed whole and kept, and comes first the next time.
    #[test]
    fn a_liar_gets_at_most_one_signature_and_never_over_too_much(
        noted in any::<bool>(),
        steps in vec(step(), 0..80),
    ) {
        let mut net = Pair::new();
        net.machines[CALLER].core = None;
        let start = net.now.wall;
        net.answered(1);
        net.sync(CALLEE, usize::from(noted));
        net.pass(Duration::from_millis(TALK_MS));
        let mut world = World { net, start, claim: None, signature: None, asked: vec![] };
        for step in &steps {
            world.take(step);
        }
        world.net.restart(CALLEE);
        world.net.sync(CALLEE, usize::MAX);
        let passed_ms = world.net.now.wall.since(start).as_millis() as u64;
        for record in &world.net.machines[CALLEE].disk {
            let signed = match Stored::read(record) {
                Some(Stored::Half(note)) => note.half.verify(&mut Checked::default()),
                Some(Stored::Whole(note)) => note.whole.verify(&mut Checked::default()),
                _ => continue,
            };
            let signed = signed.expect("what is stored as signed is signed");
            prop_assert_eq!(&signed.facts, &world.net.facts(1));
            let limit_ms = if signed.after_restart == Some(Side::Callee) { passed_ms } else { TALK_MS.max(passed_ms) };
            prop_assert!(is_within(signed.duration_ms, limit_ms));
            if let Some(own) = &world.claim
                && let Some(own_ms) = own.duration_ms
            {
                prop_assert!(signed.duration_ms <= own_ms, "more than it measured");
            }
        }
        if let Some(whole) = world.net.whole(CALLEE, 1) {
            prop_assert_eq!(receipt(&whole).facts.network, NETWORK);
        }
    }
}
