//! One test per rule, over a good network and a disk that is told when to work.

use super::super::*;
use super::pair::{CALLEE, CALLER, Packet, Pair, TALK, talked};
use crate::{
    limits::{BATCH, DURATION_MAX, KEPT_MAX, REQUESTS_PER_PEER, RETRY_FOR},
    receipt::Side,
};
use dots_wire::sha256;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// RCPT-8, RCPT-9.
#[test]
fn both_hold_one_receipt_after_two_round_trips() {
    let mut net = talked();
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.ended(CALLEE, 1, 100_040, EndCause::Bye, false);
    net.sync(CALLER, usize::MAX);
    assert!(net.wire.is_empty(), "the claim waits for its batch");
    net.pass(BATCH);
    assert!(net.wire.is_empty(), "and for the disk");
    let mut said = vec![];
    for _ in 0..10 {
        for at in [CALLER, CALLEE] {
            net.sync(at, usize::MAX);
        }
        let Some(packet) = net.wire.pop() else { break };
        said.push(matches!(packet, Packet::Request { from: CALLER, .. }));
        net.deliver(packet);
        for at in [CALLER, CALLEE] {
            assert_ne!(net.state(at, 1), None);
        }
    }
    assert_eq!(said, [true, false, true, false]);
    let receipt = net.both_whole(1);
    assert_eq!((receipt.duration_ms, receipt.cause, receipt.after_restart), (100_000, EndCause::Bye, None));
    for at in [CALLER, CALLEE] {
        assert_eq!(net.machines[at].completed, [net.id(1)]);
        let core = net.machines[at].core.as_ref().expect("up");
        assert_eq!((core.count(), core.poll_timeout()), (1, None), "nothing is left to do");
        net.sync(at, usize::MAX);
        net.crash(at, 0);
        net.restart(at);
        let core = net.machines[at].core.as_ref().expect("up");
        assert_eq!((core.count(), core.poll_timeout()), (1, None), "nor after a restart");
    }
    net.both_whole(1);
}

/// RCPT-5, RCPT-6.
/// (why, caller's and callee's measurement, who proposes, what becomes of it)
#[test]
fn the_lower_measurement_counts_and_an_excessive_claim_gets_no_signature() {
    let table = [
        ("equal", 100_000, 100_000, CALLER, Some(100_000)),
        ("the callee's lower one counts", 100_000, 99_000, CALLER, Some(99_000)),
        ("the caller's lower one counts", 99_000, 100_000, CALLEE, Some(99_000)),
        ("2 s above is still signed", 102_000, 100_000, CALLER, Some(100_000)),
        ("more than 2 s above is not", 102_001, 100_000, CALLER, None),
        ("nor from the callee", 100_000, 102_001, CALLEE, None),
        ("1 % of a long call", 1_010_000, 1_000_000, CALLER, Some(1_000_000)),
        ("more than 1 % of it", 1_010_001, 1_000_000, CALLER, None),
        ("a BYE can be late", 60_000, 100_000, CALLER, Some(60_000)),
        ("but not so late: who pays could say what he likes", 59_999, 100_000, CALLER, None),
        ("nor from the callee", 100_000, 10_000, CALLEE, None),
        ("nothing at all", 0, 100_000, CALLER, None),
        ("nothing was said", 0, 0, CALLEE, Some(0)),
        ("a claim beyond all bounds", u64::MAX, 100_000, CALLER, None),
    ];
    for (why, caller_ms, callee_ms, proposer, want) in table {
        let mut net = talked();
        net.ended(CALLER, 1, caller_ms, EndCause::Bye, proposer == CALLER);
        net.ended(CALLEE, 1, callee_ms, EndCause::Bye, proposer == CALLEE);
        net.run(MINUTE);
        match want {
            Some(duration_ms) => assert_eq!(net.both_whole(1).duration_ms, duration_ms, "{why}"),
            None => {
                for at in [CALLER, CALLEE] {
                    assert_eq!(net.whole(at, 1), None, "{why}");
                    assert_eq!(net.state(at, 1), Some(ReceiptState::Refused), "{why}");
                    assert_eq!(net.view(at, 1).map(|v| v.check()), Some(Ok(())), "{why}");
                }
                assert_eq!(net.counted(1 - proposer, "receipt_excessive"), 1, "{why}");
                net.run(RETRY_FOR * 2);
                assert_eq!((net.whole(CALLER, 1), net.whole(CALLEE, 1)), (None, None), "{why}");
            }
        }
    }
}

#[test]
fn both_propose_and_one_receipt_comes_of_it() {
    let mut net = talked();
    net.ended(CALLER, 1, 100_300, EndCause::Bye, true);
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, true);
    net.run(MINUTE);
    assert_eq!(net.both_whole(1).duration_ms, 100_000);
}

#[test]
fn the_proposal_comes_before_the_bye() {
    let mut net = talked();
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.run(MINUTE);
    net.ended(CALLEE, 1, 130_000, EndCause::Bye, false);
    net.run(MINUTE);
    assert_eq!(net.both_whole(1).duration_ms, 100_000);
}

/// No BYE came to the callee's peer: the caller's knows when it was, and is asked before the longer measurement is stated.
#[test]
fn who_lost_the_call_waits_for_who_saw_its_end() {
    let mut net = talked();
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.run(MINUTE * 20);
    assert_eq!(net.whole(CALLEE, 1), None, "still up there");
    net.ended(CALLEE, 1, 1_300_000, EndCause::Expired, true);
    net.run(MINUTE * 15);
    let receipt = net.both_whole(1);
    assert_eq!((receipt.duration_ms, receipt.cause), (100_000, EndCause::Bye));
}

/// RCPT-5a, RCPT-6a: who pays cannot end a call for the other side, nor make it a short one, whatever it claims and when.
#[test]
fn a_claim_while_the_call_is_up_ends_nothing_and_makes_no_short_receipt() {
    let after = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(6), TALK, TALK * 36];
    let claims =
        [(0, "nothing"), (1, "next to nothing"), (2_000, "the tolerance"), (30_000, "half a minute")];
    for (after, (claimed_ms, why)) in after.into_iter().flat_map(|a| claims.map(|c| (a, c))) {
        let mut net = Pair::new();
        net.answered(1);
        net.settle();
        net.pass(after);
        net.ended(CALLER, 1, claimed_ms, EndCause::Bye, true);
        net.run(MINUTE);
        assert_eq!(net.whole(CALLEE, 1), None, "{why}, claimed after {after:?}: still up at the callee's");
        assert_eq!(net.counted(CALLEE, "receipt_signatures_made"), 0, "{why}, after {after:?}");
        assert!(net.counted(CALLEE, "receipt_claim_too_early") >= 1);
        let talked_ms = 6 * 3_600_000;
        net.ended(CALLEE, 1, talked_ms, EndCause::Bye, false);
        net.run(RETRY_FOR / 24);
        assert_eq!((net.whole(CALLEE, 1), net.whole(CALLER, 1)), (None, None), "{why}, after {after:?}");
        assert_eq!(net.state(CALLEE, 1), Some(ReceiptState::Refused), "and who looks sees that");
    }
}

#[test]
fn no_bye_and_nobody_proposes_at_once() {
    let mut net = talked();
    net.ended(CALLER, 1, 1_000_000, EndCause::Expired, false);
    net.ended(CALLEE, 1, 1_000_900, EndCause::PeerLost, false);
    net.run(Duration::from_secs(4));
    assert_eq!(net.state(CALLER, 1), Some(ReceiptState::Half));
    net.run(MINUTE);
    assert_eq!(net.both_whole(1).cause, EndCause::Expired);
}

#[test]
fn a_peer_that_dies_at_hang_up_signs_after_its_restart() {
    let mut net = talked();
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.crash(CALLEE, 0);
    net.run(MINUTE);
    assert_eq!(net.state(CALLER, 1), Some(ReceiptState::Half));
    net.restart(CALLEE);
    net.connected();
    net.settle();
    let receipt = net.both_whole(1);
    assert_eq!((receipt.duration_ms, receipt.after_restart), (100_000, Some(Side::Callee)));
}

#[test]
fn after_a_restart_wall_time_bounds_what_is_signed() {
    let mut net = talked();
    net.crash(CALLEE, 0);
    net.restart(CALLEE);
    // It is claimed five seconds later, with its batch.
    net.ended(CALLER, 1, 107_001, EndCause::Bye, true);
    net.run(MINUTE);
    assert_eq!(net.state(CALLEE, 1), Some(ReceiptState::Refused));
    assert_eq!((net.whole(CALLER, 1), net.whole(CALLEE, 1)), (None, None));
}

#[test]
fn a_peer_that_dies_after_it_measured_keeps_its_measurement() {
    let mut net = talked();
    net.ended(CALLEE, 1, 99_500, EndCause::Bye, false);
    net.crash(CALLEE, usize::MAX);
    net.restart(CALLEE);
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.run(BATCH);
    let receipt = net.both_whole(1);
    assert_eq!((receipt.duration_ms, receipt.after_restart), (99_500, None));
}

#[test]
fn the_side_that_saw_the_bye_dies_for_good_and_the_other_proposes() {
    let mut net = talked();
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
    net.crash(CALLER, 0);
    net.restart(CALLER);
    net.run(MINUTE);
    assert_eq!(net.both_whole(1).after_restart, Some(Side::Caller));
}

/// RCPT-10c.
#[test]
fn both_have_lost_the_call_and_it_lapses() {
    let mut net = talked();
    for at in [CALLER, CALLEE] {
        net.crash(at, 0);
        net.restart(at);
    }
    net.run(DURATION_MAX + RETRY_FOR);
    for at in [CALLER, CALLEE] {
        assert_eq!(net.state(at, 1), None);
        assert_eq!(net.counted(at, "receipt_lapsed"), 1);
        assert_eq!(net.machines[at].core.as_ref().and_then(ReceiptCore::poll_timeout), None);
    }
}

/// RCPT-10, RCPT-10a.
#[test]
fn an_unanswered_proposal_is_kept_for_a_day_across_restarts() {
    let mut net = talked();
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
    net.sync(CALLEE, usize::MAX);
    net.crash(CALLEE, 0);
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    for _ in 0..11 {
        net.run(RETRY_FOR / 12);
        net.crash(CALLER, usize::MAX);
        net.restart(CALLER);
    }
    assert_eq!(net.state(CALLER, 1), Some(ReceiptState::Half));
    net.restart(CALLEE);
    net.connected();
    net.settle();
    net.both_whole(1);
}

#[test]
fn after_a_day_nobody_asks_any_more() {
    let mut net = talked();
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.crash(CALLEE, 0);
    net.run(RETRY_FOR - Duration::from_secs(1));
    assert!(net.machines[CALLER].core.as_ref().is_some_and(|c| c.poll_timeout().is_some()));
    net.run(Duration::from_secs(2));
    assert!(net.machines[CALLER].core.as_ref().is_some_and(|c| c.poll_timeout().is_none()));
    assert_eq!(net.counted(CALLER, "receipt_lapsed"), 1);
    assert_eq!(net.state(CALLER, 1), Some(ReceiptState::Half));
    net.restart(CALLEE);
    net.connected();
    net.settle();
    assert_eq!(net.whole(CALLEE, 1), None);
}

/// RCPT-8a: what ends together is claimed, signed and asked together.
#[test]
fn fifty_calls_that_end_together_cost_few_signatures_and_few_requests() {
    let mut net = Pair::new();
    for n in 0..50 {
        net.answered(n);
    }
    net.pass(TALK);
    for n in 0..50 {
        net.ended(CALLEE, n, 100_000, EndCause::Bye, false);
        net.ended(CALLER, n, 100_000, EndCause::Bye, true);
        net.pass(Duration::from_millis(50));
    }
    net.pass(BATCH);
    net.sync(CALLER, usize::MAX);
    assert_eq!(net.wire.len(), 2, "32 calls in a request");
    net.settle();
    for n in 0..50 {
        net.both_whole(n);
    }
    for at in [CALLER, CALLEE] {
        let (made, checked) =
            (net.counted(at, "receipt_signatures_made"), net.counted(at, "receipt_signatures_checked"));
        assert!(made <= 4 && checked <= 4, "{made} made and {checked} checked for 50 calls");
    }
}

/// RCPT-10b.
#[test]
fn few_requests_are_under_way_to_one_peer() {
    let mut net = Pair::new();
    let calls = (REQUESTS_PER_PEER + 4) * crate::limits::BUNDLE_MAX;
    let keys = many(&mut net, calls as u32, 0, |n| Cause::new(Standing::Other).by(&n.to_be_bytes()));
    net.pass(TALK);
    for key in keys {
        let end = CallEnded { key, duration_ms: 100_000, cause: EndCause::Bye, propose: true };
        net.with(CALLER, |core, now| core.call_ended(now, end));
    }
    net.pass(BATCH);
    net.sync(CALLER, usize::MAX);
    assert_eq!(net.wire.len(), REQUESTS_PER_PEER);
}

/// The caller's peer is whole just before the callee's gives up: what it says then still counts.
#[test]
fn a_whole_receipt_counts_though_its_other_side_has_given_up() {
    let mut net = talked();
    net.ended(CALLEE, 1, 100_000, EndCause::Bye, false);
    net.sync(CALLEE, usize::MAX);
    net.pass(Duration::from_secs(3));
    net.ended(CALLER, 1, 100_000, EndCause::Bye, true);
    net.pass(BATCH);
    for _ in 0..2 {
        net.sync(CALLER, usize::MAX);
        net.sync(CALLEE, usize::MAX);
        let packet = net.wire.pop().expect("a claim, then a signature");
        net.deliver(packet);
    }
    net.sync(CALLER, usize::MAX);
    net.sync(CALLEE, usize::MAX);
    assert_eq!(net.state(CALLER, 1), Some(ReceiptState::Whole));
    net.wire.clear();
    assert_eq!(net.state(CALLEE, 1), Some(ReceiptState::Half));
    while net.counted(CALLEE, "receipt_lapsed") == 0 {
        let next = net.machines.iter().filter_map(|m| m.core.as_ref()?.poll_timeout()).min();
        net.pass(next.expect("it lapses").saturating_duration_since(net.now.mono));
        net.sync(CALLER, usize::MAX);
        net.sync(CALLEE, usize::MAX);
        net.wire.clear();
    }
    assert_eq!((net.counted(CALLER, "receipt_untold"), net.whole(CALLEE, 1)), (0, None));
    net.connected();
    net.run(MINUTE);
    net.both_whole(1);
}

fn many(net: &mut Pair, count: u32, first: u32, cause: impl Fn(u32) -> Cause) -> Vec<Hash> {
    let mut keys = Vec::new();
    for n in first..first + count {
        let mut call = net.call(CALLER, 0);
        call.nonce_caller.0[..4].copy_from_slice(&n.to_be_bytes());
        call.key = sha256(&[call.nonce_caller.0, call.nonce_callee.0].concat());
        keys.push(call.key);
        call.cause = cause(n);
        net.with(CALLER, |core, now| core.call_answered(now, call));
    }
    keys
}

/// RCPT-12: one account, one realm or one network of peers that never sign leaves everybody else room, our own phones first.
#[test]
fn whoever_holds_much_is_refused_alone() {
    let stranger = Cause { network: 7, ..Cause::new(Standing::Other).of_realm(b"evil.test") };
    let by = |n: u32| n.to_be_bytes();
    type Flood = fn(Cause, u32) -> Cause;
    let floods: [(&str, Flood); 3] = [
        ("one account", |c, _| c.by(b"eve")),
        ("many accounts of one realm, from many networks", |c, n| {
            Cause { network: u64::from(n), ..c }.by(&n.to_be_bytes())
        }),
        ("many realms of one network", |c, n| c.of_realm(&n.to_be_bytes())),
    ];
    for (why, flood) in floods {
        let mut net = Pair::new();
        net.machines[CALLEE].core = None;
        many(&mut net, 3_000, 0, |n| flood(stranger, n));
        let refused = net.counted(CALLER, "receipt_over_share");
        assert!((1_800..2_600).contains(&refused), "{why}: {refused}");
        let honest = Cause { network: 8, ..Cause::new(Standing::Other).of_realm(b"a.test") };
        many(&mut net, 50, 1 << 24, |n| honest.by(&by(n)));
        assert_eq!(net.counted(CALLER, "receipt_over_share"), refused, "{why}: others have room");
        // Our own phones, one of which calls without end.
        many(&mut net, 1_000, 2 << 24, |_| Cause::new(Standing::Trusted).by(b"wild"));
        let wild = net.counted(CALLER, "receipt_over_share") - refused;
        assert!((300..900).contains(&wild), "{why}: {wild}");
        many(&mut net, 50, 3 << 24, |n| Cause::new(Standing::Trusted).by(&by(n)));
        assert_eq!(net.counted(CALLER, "receipt_over_share"), refused + wild, "{why}: our other phones");
    }
}

#[test]
fn what_is_done_gives_its_room_back() {
    let mut net = Pair::new();
    net.machines[CALLEE].core = None;
    for round in 0..22u32 {
        many(&mut net, 1_000, round << 24, |_| Cause::OWN);
        net.pass(DURATION_MAX + RETRY_FOR);
        net.machines[CALLER].writing.clear();
    }
    assert_eq!(net.counted(CALLER, "receipt_over_share"), 0);
    let core = net.machines[CALLER].core.as_ref().expect("up");
    assert_eq!((core.calls.len(), core.finished.len(), core.book.bytes()), (KEPT_MAX, KEPT_MAX, 0));
    assert!(core.toward.is_empty() && core.timers.is_empty() && core.listed.is_empty());
}
