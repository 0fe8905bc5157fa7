use super::*;
use dots_wire::{Timestamp, bounded::Standing};
use std::time::Instant;

fn at(now: &mut Now, seconds: u64) -> Now {
    let time = Duration::from_secs(seconds);
    *now = Now { mono: now.mono + time, wall: now.wall.plus(time) };
    *now
}

fn start() -> Now {
    Now { mono: Instant::now(), wall: Timestamp(1_000_000) }
}

/// An event of attempt `n` of one caller, who gives every call the same Call-ID and tag.
fn event(n: u64, side: CallSide, to_tag: Option<&str>, what: CallProgress) -> CallEvent {
    let ends = matches!(
        what,
        CallProgress::Ended { .. } | CallProgress::Refreshed { .. } | CallProgress::Acknowledged
    );
    CallEvent {
        attempt: (!ends).then(|| AskId::new(0, n)),
        call_id: "one".into(),
        from_tag: "f".into(),
        to_tag: to_tag.map(str::to_owned),
        side,
        caller: "eve@a.test".into(),
        callee: format!("callee{n}@b.test"),
        peer: Some("peer".into()),
        vouch: None,
        nonce: Some([n as u8; 32]),
        what,
        sdp: Vec::new(),
    }
}

const UP: CallProgress = CallProgress::Answered { session_s: None };

/// It is answered with this tag, and the caller takes it.
fn taken(calls: &mut Calls, now: Now, n: u64, side: CallSide, tag: &str) -> Step {
    assert!(matches!(on(calls, now, event(n, side, Some(tag), UP)), Step::Nothing), "a callee's word alone");
    on(calls, now, event(n, side, Some(tag), CallProgress::Acknowledged))
}

fn bye(said: Now) -> CallProgress {
    CallProgress::Ended { by_caller: true, seen_from_phone: true, said: said.mono }
}

fn on(calls: &mut Calls, now: Now, event: CallEvent) -> Step {
    let fresh = event.to_tag.as_deref().map_or(9, |tag| tag.as_bytes()[0]);
    calls.on_event(now, &event, Cause::new(Standing::Other).by(b"caller"), (None, Hash([fresh; 32])))
}

/// LEG-3.
#[test]
fn one_call_id_for_two_callees_is_two_calls_at_both_peers() {
    for side in [CallSide::Caller, CallSide::Callee] {
        let (mut calls, mut now) = (Calls::default(), start());
        let mut names = Vec::new();
        for (n, tag) in [(1, "bob"), (2, "carl")] {
            on(&mut calls, now, event(n, side, None, CallProgress::Started));
            calls.nonce(AskId::new(0, n), Hash([40 + n as u8; 32]));
            let Step::Answered { nonces, .. } = taken(&mut calls, now, n, side, tag) else {
                panic!("{side:?}: {tag} answers");
            };
            names.push(receipt_id(nonces));
        }
        assert_eq!((calls.up(), names[0] == names[1]), (2, false), "{side:?}");
        let later = at(&mut now, 10);
        let Step::Ended { nonces, duration, .. } =
            on(&mut calls, later, event(2, side, Some("carl"), bye(later)))
        else {
            panic!("carl's call ends");
        };
        assert_eq!((receipt_id(nonces), duration.as_secs()), (names[1], 10));
        let states: Vec<String> = calls.list().into_iter().map(|call| call.state).collect();
        assert_eq!(states, ["ended", "up"], "{side:?}: bob's call is still up, and listed");
        assert!(
            matches!(on(&mut calls, later, event(2, side, Some("carl"), bye(later))), Step::Nothing),
            "once"
        );
    }
}

/// A caller whose peer died begins anew under the names of the call that it lost: that one is over, and its receipt is asked for.
#[test]
fn a_call_that_is_begun_again_under_its_names_ends_the_one_before() {
    for side in [CallSide::Caller, CallSide::Callee] {
        let (mut calls, mut now) = (Calls::default(), start());
        on(&mut calls, now, event(1, side, None, CallProgress::Started));
        calls.nonce(AskId::new(0, 1), Hash([41; 32]));
        let Step::Answered { nonces: first, .. } = taken(&mut calls, now, 1, side, "bob") else {
            panic!("bob answers");
        };
        let later = at(&mut now, 10);
        on(&mut calls, later, event(2, side, None, CallProgress::Started));
        calls.nonce(AskId::new(0, 2), Hash([42; 32]));
        let Step::Ended { nonces, lost, .. } = on(&mut calls, later, event(2, side, Some("bob"), UP)) else {
            panic!("{side:?}: the one before ends");
        };
        assert_eq!((nonces, lost, calls.up()), (first, true, 1), "{side:?}");
        let again = on(&mut calls, later, event(2, side, Some("bob"), CallProgress::Acknowledged));
        assert!(matches!(again, Step::Answered { nonces, .. } if nonces != first), "{side:?}");
    }
}

#[test]
fn a_fork_that_two_phones_answered_is_two_calls() {
    let (mut calls, now) = (Calls::default(), start());
    on(&mut calls, now, event(1, CallSide::Callee, None, CallProgress::Started));
    let mut names = Vec::new();
    for tag in ["desk", "mobile"] {
        if let Step::Answered { nonces, .. } = taken(&mut calls, now, 1, CallSide::Callee, tag) {
            names.push(receipt_id(nonces));
        }
    }
    assert_eq!((calls.up(), names.len(), names[0] == names[1]), (2, 2, false));
    on(&mut calls, now, event(1, CallSide::Callee, Some("desk"), UP));
    assert_eq!(calls.up(), 2, "a repeated 2xx is no call");
}

#[test]
fn a_session_without_refresh_ends_by_age_and_says_so() {
    let (mut calls, mut now) = (Calls::default(), start());
    on(&mut calls, now, event(1, CallSide::Callee, None, CallProgress::Started));
    let session = CallProgress::Answered { session_s: Some(1800) };
    on(&mut calls, now, event(1, CallSide::Callee, Some("bob"), session));
    on(&mut calls, now, event(1, CallSide::Callee, Some("bob"), CallProgress::Acknowledged));
    let later = at(&mut now, 1700);
    on(
        &mut calls,
        later,
        event(1, CallSide::Callee, Some("bob"), CallProgress::Refreshed { session_s: Some(1800) }),
    );
    assert!(calls.expire(at(&mut now, 1700)).is_empty(), "it was refreshed");
    let steps = calls.expire(at(&mut now, 200));
    assert!(matches!(&steps[..], [Step::Ended { lost: true, propose: true, .. }]));
    assert_eq!(calls.list()[0].cause.as_deref(), Some("no BYE came"));
}

/// RFC 4028 §7.1: each refresh says anew how long. And a call lasted until its BYE was said, however long it took to be
/// believed.
#[test]
fn a_refresh_says_how_long_and_a_bye_when() {
    for (refreshed, lasts_s) in [(Some(3_600), 3_600 + 32), (Some(1), 90 + 32), (None, 6 * 3_600)] {
        let (mut calls, mut now) = (Calls::default(), start());
        on(&mut calls, now, event(1, CallSide::Callee, None, CallProgress::Started));
        let session = CallProgress::Answered { session_s: Some(90) };
        on(&mut calls, now, event(1, CallSide::Callee, Some("bob"), session));
        on(&mut calls, now, event(1, CallSide::Callee, Some("bob"), CallProgress::Acknowledged));
        let said = at(&mut now, 60);
        on(
            &mut calls,
            said,
            event(1, CallSide::Callee, Some("bob"), CallProgress::Refreshed { session_s: refreshed }),
        );
        assert!(calls.expire(at(&mut now, lasts_s - 1)).is_empty(), "{refreshed:?}");
        let believed = at(&mut now, 32);
        let step = on(&mut calls, believed, event(1, CallSide::Callee, Some("bob"), bye(said)));
        let Step::Ended { duration, lost: false, .. } = step else { panic!("{refreshed:?}: {step:?}") };
        assert_eq!(duration.as_secs(), 60, "until it was said");
    }
}

#[test]
fn a_session_is_no_shorter_than_sessions_may_be() {
    for (said, lasts) in
        [(Some(1), 122), (Some(89), 122), (Some(90), 122), (Some(1_800), 1_832), (None, 21_600)]
    {
        let (mut calls, mut now) = (Calls::default(), start());
        on(&mut calls, now, event(1, CallSide::Callee, None, CallProgress::Started));
        on(
            &mut calls,
            now,
            event(1, CallSide::Callee, Some("bob"), CallProgress::Answered { session_s: said }),
        );
        on(&mut calls, now, event(1, CallSide::Callee, Some("bob"), CallProgress::Acknowledged));
        assert!(calls.expire(at(&mut now, lasts - 1)).is_empty(), "{said:?}: it may be up");
        assert_eq!(calls.expire(at(&mut now, 1)).len(), 1, "{said:?}");
    }
}

/// Whoever rings without end has no receipts; everybody else has. (why, the causes of a flood)
#[test]
fn who_calls_without_end_is_over_his_share_alone() {
    type Flood = fn(u64) -> Cause;
    let peers: Flood = |n| Cause { network: 7, ..Cause::new(Standing::Other) }.of_realm(&n.to_be_bytes());
    let floods: [(&str, Flood); 4] = [
        ("many peers and realms of one network", peers),
        ("one realm from many networks", |n| {
            Cause { network: n, ..Cause::new(Standing::Other) }.of_realm(b"e.test")
        }),
        ("one account", |_| {
            Cause { network: 7, ..Cause::new(Standing::Other) }.of_realm(b"e.test").by(b"eve")
        }),
        ("one phone of ours", |_| Cause::new(Standing::Trusted).of_realm(b"a.test").by(b"wild")),
    ];
    for (why, flood) in floods {
        let (mut calls, now) = (Calls::default(), start());
        let side = CallSide::Callee;
        let rings = |calls: &mut Calls, n, cause| {
            calls.on_event(now, &event(n, side, None, CallProgress::Started), cause, (None, Hash([9; 32])));
            calls.setups.contains_key(&AskId::new(0, n))
        };
        let listed = (0..2_000).filter(|n| rings(&mut calls, *n, flood(*n))).count();
        assert!(listed < 450 && calls.take_over_share() == 2_000 - listed, "{why}: {listed}");
        let honest = Cause { network: 8, ..Cause::new(Standing::Other) }.of_realm(b"b.test");
        for n in 5_000..5_020u64 {
            assert!(rings(&mut calls, n, honest.by(&n.to_be_bytes())), "{why}: a stranger's");
            let own = Cause::new(Standing::Trusted).of_realm(b"a.test").by(&n.to_be_bytes());
            assert!(rings(&mut calls, n + 1_000, own), "{why}: another phone of ours");
            let step = taken(&mut calls, now, n, side, &format!("bob{n}"));
            assert!(matches!(step, Step::Answered { .. }), "{why}: and has a receipt");
        }
        for n in 0..7_000 {
            on(&mut calls, now, event(n, side, None, CallProgress::Failed { status: 486 }));
            on(&mut calls, now, event(n, side, Some(&format!("bob{n}")), bye(now)));
        }
        calls.expire(Now { mono: now.mono + DURATION_MAX, ..now });
        assert!(calls.room.is_empty(), "{why}: all is given back");
    }
}

/// RCPT-13: what is answered again after its end is no call, and neither is what no caller takes.
#[test]
fn an_answer_is_one_call_once_and_only_if_its_caller_takes_it() {
    for side in [CallSide::Caller, CallSide::Callee] {
        for (why, acknowledged, ends_after, talked_ms, is_receipted) in [
            ("taken, and a BYE", true, Some(10), 10_000, true),
            ("taken, and nothing more", true, None, 21_600_000, true),
            ("not taken, and a BYE of whoever made it up", false, Some(39), 0, false),
            ("not taken", false, None, 0, false),
        ] {
            let (mut calls, mut now) = (Calls::default(), start());
            on(&mut calls, now, event(1, side, None, CallProgress::Started));
            calls.nonce(AskId::new(0, 1), Hash([1; 32]));
            on(&mut calls, now, event(1, side, Some("bob"), UP));
            if acknowledged {
                let first = on(&mut calls, now, event(1, side, Some("bob"), CallProgress::Acknowledged));
                let again = on(&mut calls, now, event(1, side, Some("bob"), CallProgress::Acknowledged));
                assert!(matches!((first, again), (Step::Answered { .. }, Step::Nothing)), "{why}");
            }
            let step = match ends_after {
                Some(seconds) => {
                    let later = at(&mut now, seconds);
                    on(&mut calls, later, event(1, side, Some("bob"), bye(later)))
                }
                None => {
                    let limit = if acknowledged { 21_600 } else { 40 };
                    assert!(calls.expire(at(&mut now, limit - 1)).is_empty(), "{why}");
                    calls.expire(at(&mut now, 1)).pop().expect("it ends")
                }
            };
            assert_eq!(matches!(step, Step::Ended { .. }), is_receipted, "{why}");
            assert_eq!(calls.list()[0].duration_ms, Some(talked_ms), "{why}");
            // Its 200 comes again, and with it an ACK, as long as branches may answer.
            for tag in ["bob", "bob"] {
                let step = taken(&mut calls, now, 1, side, tag);
                assert!(matches!(step, Step::Nothing), "{why}: {side:?}");
            }
            assert_eq!(calls.up(), 0, "{why}: a repeated 2xx is no call, when the first has ended");
            calls.expire(at(&mut now, 600));
            assert!(calls.room.is_empty(), "{why}: all is given back");
        }
    }
}

#[test]
fn a_callee_who_answers_with_many_tags_takes_no_more_than_the_callers_share() {
    let (mut calls, now) = (Calls::default(), start());
    on(&mut calls, now, event(1, CallSide::Caller, None, CallProgress::Started));
    calls.nonce(AskId::new(0, 1), Hash([1; 32]));
    for n in 0..3_000 {
        on(&mut calls, now, event(1, CallSide::Caller, Some(&format!("t{n}")), UP));
    }
    assert_eq!(calls.up(), ANSWERS_MAX);
    assert!(calls.expire(Now { mono: now.mono + Duration::from_secs(64), ..now }).len() == ANSWERS_MAX);
    assert!(calls.room.is_empty() && calls.up() == 0);
}

/// The list of ended calls belongs to all who called.
#[test]
fn one_callers_failed_calls_leave_the_others_on_the_list() {
    let (mut calls, now) = (Calls::default(), start());
    let failed = |calls: &mut Calls, n, who: &[u8]| {
        let event = CallEvent {
            peer: None,
            ..event(n, CallSide::Caller, None, CallProgress::Failed { status: 404 })
        };
        calls.on_event(now, &event, Cause::new(Standing::Trusted).by(who), (None, Hash([9; 32])));
    };
    failed(&mut calls, 70_000, b"alice");
    for n in 0..3_000 {
        failed(&mut calls, n, b"wild");
    }
    let listed = calls.list();
    assert!(listed.len() <= 1_000);
    assert!(listed.iter().any(|call| call.to == "callee70000@b.test"));
}
