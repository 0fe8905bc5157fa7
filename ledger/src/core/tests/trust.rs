//! What strangers, liars and noise get: nothing.

use super::super::*;
use super::pair::{CALLEE, CALLER, Machine, Packet, Pair, TALK, key, talked};
use crate::{
    limits::{BATCH, KEPT_MAX},
    receipt::{Claim, Message, Refusal, Refused, Side, read_bundle, sealing, write_bundle},
};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn another_story_of_the_call_is_refused() {
    type Lie = fn(&mut CallAnswered);
    let lies: [(&str, Lie); 6] = [
        ("grant", |c| c.grant = Hash([7; 32])),
        ("salt", |c| c.salt = Hash([7; 32])),
        ("caller_party", |c| c.caller_party = Hash([7; 32])),
        ("callee_party", |c| c.callee_party = Hash([7; 32])),
        ("home", |c| c.caller_home = key(8).peer_id()),
        ("start", |c| c.start = c.start.plus(Duration::from_millis(60_001))),
    ];
    for (what, lie) in lies {
        let mut net = Pair::new();
        for at in [CALLER, CALLEE] {
            let mut call = net.call(at, 1);
            if at == CALLER {
                lie(&mut call);
            }
            net.with(at, |core, now| core.call_answered(now, call));
        }
        net.pass(TALK);
        net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
        net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
        net.run(MINUTE);
        assert_eq!((net.whole(CALLER, 1), net.whole(CALLEE, 1)), (None, None), "{what}");
        assert_eq!(net.state(CALLEE, 1), Some(ReceiptState::Refused), "{what}");
    }
}

#[test]
fn a_call_that_makes_no_sense_is_not_taken() {
    type Lie = fn(&mut CallAnswered);
    let lies: [(&str, Lie); 4] = [
        ("key", |c| c.key = Hash([0; 32])),
        ("one peer", |c| c.callee_peer = c.caller_peer),
        ("of others", |c| c.caller_peer = key(8).peer_id()),
        ("other", |c| c.other = key(8).peer_id()),
    ];
    for (what, lie) in lies {
        let mut net = Pair::new();
        let mut call = net.call(CALLER, 1);
        lie(&mut call);
        net.with(CALLER, |core, now| core.call_answered(now, call));
        assert_eq!(net.counted(CALLER, "receipt_call_invalid"), 1, "{what}");
        assert!(net.machines[CALLER].writing.is_empty(), "{what}");
    }
}

/// The answer of a machine to `from`.
fn ask(net: &mut Pair, at: usize, from: PeerId, body: &[u8]) -> Option<Vec<u8>> {
    let now = net.now;
    let Machine { core, counts, .. } = &mut net.machines[at];
    let core = core.as_mut().expect("up");
    core.on_request(now, from, 1 << 40, body.to_vec());
    core.handle_timeout(now);
    let mut answer = None;
    while let Some(output) = core.poll_output() {
        match output {
            ReceiptOutput::Respond { id, body } if id == 1 << 40 => answer = Some(body),
            ReceiptOutput::Append { token, .. } => core.durable(now, token),
            ReceiptOutput::Count(name) => *counts.entry(name).or_default() += 1,
            _ => {}
        }
    }
    answer.expect("an answer")
}

fn one(body: Option<Vec<u8>>) -> Option<Message> {
    read_bundle(&body?)?.pop()?
}

/// Call 1 has ended at the callee's.
fn over() -> Pair {
    let mut net = talked();
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
    net.sync(CALLEE, usize::MAX);
    net
}

/// What the caller's side says of a call that lasted so long.
fn claim_of(net: &Pair, n: u8, duration_ms: u64) -> Claim {
    let (facts, start) = (net.facts(n), Timestamp(1_700_000_000_000));
    let (duration_ms, cause) = (Some(duration_ms), Some(EndCause::Bye));
    Claim { version: 1, facts, side: Side::Caller, start, duration_ms, cause }
}

fn proposal(net: &mut Pair) -> Vec<u8> {
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.pass(BATCH);
    net.sync(CALLER, usize::MAX);
    let Some(Packet::Request { body, .. }) = net.wire.pop() else { panic!("a proposal") };
    body
}

#[test]
fn a_stranger_learns_nothing_about_the_calls_of_others() {
    let mut net = over();
    let body = proposal(&mut net);
    let call_id = net.id(1);
    let unknown = Message::Refused(Refused { call_id, reason: Refusal::UnknownCall });
    assert_eq!(ask(&mut net, CALLEE, key(7).peer_id(), &body), Some(write_bundle(&[Some(unknown.clone())])));
    let caller = net.peer(CALLER);
    let answer = one(ask(&mut net, CALLEE, caller, &body));
    assert!(matches!(answer, Some(Message::Half(_))));
    // Nor when there is something to tell.
    assert_eq!(ask(&mut net, CALLEE, key(7).peer_id(), &body), Some(write_bundle(&[Some(unknown.clone())])));
}

#[test]
fn a_changed_byte_gets_no_signature() {
    let body = proposal(&mut over());
    for at in 0..body.len() {
        let mut net = over();
        let mut body = body.clone();
        body[at] ^= 1;
        let caller = net.peer(CALLER);
        let answer = one(ask(&mut net, CALLEE, caller, &body));
        assert!(matches!(answer, None | Some(Message::Refused(_))), "byte {at}: {answer:?}");
    }
}

#[test]
fn noise_is_answered_by_nothing() {
    let mut net = talked();
    let caller = net.peer(CALLER);
    let refused = Message::Refused(Refused { call_id: net.id(1), reason: Refusal::Excessive });
    let (refused, nothing) = (write_bundle(&[Some(refused)]), write_bundle(&[None]));
    for body in [vec![], vec![0; 100], vec![0x9f; 5_000], refused, nothing, write_bundle(&[])] {
        assert_eq!(ask(&mut net, CALLEE, caller, &body), None);
    }
    assert_eq!(net.state(CALLEE, 1), None, "the call goes on");
}

#[test]
fn what_is_settled_is_not_signed_again_nor_lost_when_it_is_said_twice() {
    let mut net = over();
    let body = proposal(&mut net);
    let caller = net.peer(CALLER);
    let first = ask(&mut net, CALLEE, caller, &body);
    for _ in 0..3 {
        assert_eq!(ask(&mut net, CALLEE, caller, &body), first);
    }
    assert!(net.machines[CALLEE].writing.is_empty(), "one signature, written once");
}

#[test]
fn our_own_claim_said_back_to_us_is_nothing() {
    let mut net = talked();
    let body = proposal(&mut net);
    let callee = net.peer(CALLEE);
    assert_eq!(ask(&mut net, CALLER, callee, &body), None);
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
    net.run(MINUTE);
    net.both_whole(1);
}

/// RCPT-7.
/// Whoever has two claims of one call taken in at once would find two receipts of it under one signature.
#[test]
fn two_claims_of_one_call_in_one_request_get_no_signature() {
    let mut net = over();
    let claim = |ms| Message::Claim(sealing(&key(1), |signer| claim_of(&net, 1, ms).sign(signer)));
    let body = write_bundle(&[Some(claim(100_000)), Some(claim(99_000))]);
    let single = write_bundle(&[Some(claim(100_000))]);
    let caller = net.peer(CALLER);
    assert_eq!(ask(&mut net, CALLEE, caller, &body), None);
    assert_eq!(net.counted(CALLEE, "receipt_signatures_made"), 0);
    assert!(matches!(one(ask(&mut net, CALLEE, caller, &single)), Some(Message::Half(_))), "one does");
}

/// RCPT-7a: a forged claim costs one look; then its call is deaf for a second, and for two, and so on.
#[test]
fn a_forged_claim_makes_its_call_deaf() {
    let mut net = over();
    let good = proposal(&mut net);
    let forged = |n: u64| {
        let claim = claim_of(&net, 1, 100_000 - n);
        write_bundle(&[Some(Message::Claim(sealing(&key(7), |signer| claim.sign(signer))))])
    };
    let caller = net.peer(CALLER);
    let lies: Vec<Vec<u8>> = (0..100).map(forged).collect();
    for (round, deaf_ms) in [1_000, 2_000, 4_000, 8_000].into_iter().enumerate() {
        for lie in &lies {
            assert_eq!(one(ask(&mut net, CALLEE, caller, lie)), None);
        }
        assert_eq!(net.counted(CALLEE, "receipt_bad_signature"), round + 1, "one look for a hundred lies");
        assert_eq!(one(ask(&mut net, CALLEE, caller, &good)), None, "nor anything else of this call");
        net.pass(Duration::from_millis(deaf_ms));
    }
    assert!(matches!(one(ask(&mut net, CALLEE, caller, &good)), Some(Message::Half(_))), "heard again");
}

/// … and a peer with many calls is not listened to when many lies are of it.
#[test]
fn many_lies_of_one_peer_cost_few_looks() {
    let mut net = Pair::new();
    for n in 0..=200 {
        net.answered(n);
        net.ended(CALLEE, n, 0, EndCause::Bye, false);
    }
    net.settle();
    let caller = net.peer(CALLER);
    let lie = |n: u8| Some(Message::Claim(sealing(&key(7), |signer| claim_of(&net, n, 0).sign(signer))));
    let bundles: Vec<Vec<u8>> =
        (0..6).map(|b| write_bundle(&(b * 32..b * 32 + 32).map(lie).collect::<Vec<_>>())).collect();
    for body in &bundles {
        ask(&mut net, CALLEE, caller, body);
    }
    let looks = net.counted(CALLEE, "receipt_bad_signature");
    assert!((40..=72).contains(&looks), "{looks} of 192");
    // Whoever else has a call is heard.
    net.pass(Duration::from_secs(60));
    net.ended(CALLER, 200, 0, EndCause::Bye, true);
    net.run(MINUTE);
    net.both_whole(200);
}

/// A side that has measured nothing would make a receipt of the first second of a call that goes on for hours.
#[test]
fn a_claim_without_a_duration_ends_no_call_that_is_up() {
    let mut net = talked();
    let (facts, start) = (net.facts(1), Timestamp(1_700_000_000_000));
    let claim = Claim { version: 1, facts, side: Side::Caller, start, duration_ms: None, cause: None };
    let body = write_bundle(&[Some(Message::Claim(sealing(&key(1), |signer| claim.sign(signer))))]);
    let caller = net.peer(CALLER);
    assert!(!matches!(one(ask(&mut net, CALLEE, caller, &body)), Some(Message::Half(_))));
    assert_eq!(net.counted(CALLEE, "receipt_signatures_made"), 0);
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
    assert!(matches!(one(ask(&mut net, CALLEE, caller, &body)), Some(Message::Half(_))), "once it is over");
}

/// What is done is forgotten when more is; the same bundle may ask about it.
#[test]
fn a_call_that_is_forgotten_while_its_bundle_is_read_is_unknown() {
    let mut net = talked();
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.run(MINUTE);
    net.both_whole(1);
    let known = Message::Whole(net.whole(CALLER, 1).expect("it is whole"));
    net.answered(2);
    net.ended(CALLEE, 2, 0, EndCause::Bye, false);
    net.ended(CALLER, 2, 0, EndCause::Bye, true);
    net.pass(BATCH);
    for _ in 0..2 {
        net.sync(CALLER, usize::MAX);
        net.sync(CALLEE, usize::MAX);
        let packet = net.wire.pop().expect("a claim, then a signature");
        net.deliver(packet);
    }
    net.sync(CALLER, usize::MAX);
    let Some(Packet::Request { body, .. }) = net.wire.pop() else { panic!("the whole receipt") };
    let mut bundle = read_bundle(&body).expect("a bundle");
    bundle.push(Some(known));
    let core = net.machines[CALLEE].core.as_mut().expect("up");
    core.finished.extend((0..KEPT_MAX as u32).map(|n| dots_wire::sha256(&n.to_be_bytes())));
    let caller = net.peer(CALLER);
    let answer = ask(&mut net, CALLEE, caller, &write_bundle(&bundle)).and_then(|b| read_bundle(&b));
    let answer = answer.expect("an answer");
    assert!(matches!(&answer[..], [Some(Message::Whole(_)), Some(Message::Refused(_))]), "{answer:?}");
}
