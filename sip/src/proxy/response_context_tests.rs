//! Each row: why, what happens to the context, and all that it says to the last step.

use super::*;

type Context = ResponseContext<&'static str, &'static str>;

enum Step {
    Provisional(BranchNumber, u16),
    Success(BranchNumber),
    Failure(BranchNumber, u16),
    Lost(BranchNumber, u16),
    Ended(BranchNumber),
    Cancel,
    TimerC,
}
use Step::{Cancel, Ended, Failure, Lost, Provisional, Success, TimerC};

const INVITE: Kind = Kind { is_invite: true, in_dialog: false };
const RE_INVITE: Kind = Kind { is_invite: true, in_dialog: true };
const MESSAGE: Kind = Kind { is_invite: false, in_dialog: false };

fn take(context: &mut Context, step: &Step) -> Actions<&'static str, &'static str> {
    match step {
        Provisional(branch, status) => context.on_provisional(*branch, *status, "1xx"),
        Success(branch) => context.on_success(*branch, 200, "2xx"),
        Failure(branch, status) => context.on_failure(*branch, *status, "final"),
        Lost(branch, status) => context.on_lost(*branch, *status),
        Ended(branch) => context.on_ended(*branch),
        Cancel => context.on_cancel(None),
        TimerC => context.on_timer_c(),
    }
}

fn finish(status: u16) -> Vec<Action<&'static str, &'static str>> {
    vec![Action::TimerC { runs: false }, Action::Finish(Final::Own(status)), Action::Forget]
}

fn best(branch: BranchNumber, status: u16) -> Vec<Action<&'static str, &'static str>> {
    let best = Final::Best { branch, status, response: "final", others: Vec::new() };
    vec![Action::TimerC { runs: false }, Action::Finish(best), Action::Forget]
}

fn pass(branch: BranchNumber) -> Action<&'static str, &'static str> {
    Action::Pass { branch, status: 200, response: "2xx" }
}

fn cancel(branch: BranchNumber, reason: Option<&str>) -> Action<&'static str, &'static str> {
    Action::Cancel { branch, reason: reason.map(str::to_owned) }
}

const ELSEWHERE: Option<&str> = Some("SIP;cause=200;text=\"Call completed elsewhere\"");

/// Two phones that ring together, unless the row says otherwise.
#[test]
fn section_16_7() {
    let off = || Action::TimerC { runs: false };
    type Row = (&'static str, Kind, &'static [Step], Actions<&'static str, &'static str>);
    let rows: Vec<Row> = vec![
        ("step 5: 100 is not forwarded", INVITE, &[Provisional(0, 100)], vec![]),
        (
            "step 2 and 5: other provisionals set timer C anew and pass",
            INVITE,
            &[Provisional(0, 180)],
            vec![Action::TimerC { runs: true }, Action::Pass { branch: 0, status: 180, response: "1xx" }],
        ),
        ("step 5: finals wait for all branches", INVITE, &[Failure(0, 486)], vec![]),
        ("step 6: the best of all", INVITE, &[Failure(0, 500), Failure(1, 486)], best(1, 486)),
        ("step 6: 503 alone becomes 500", INVITE, &[Failure(0, 503), Lost(1, 503)], finish(500)),
        ("step 6: a final beats silence", INVITE, &[Failure(0, 486), Lost(1, 408)], best(0, 486)),
        ("silence everywhere is 408", INVITE, &[Lost(0, 503), Lost(1, 408)], finish(408)),
        ("broken ways alone: 480", INVITE, &[Lost(0, 503), Lost(1, 503)], finish(480)),
        ("RFC 5057 §5.1: in a dialog 500", RE_INVITE, &[Lost(0, 503), Lost(1, 503)], finish(500)),
        (
            "step 10: a 2xx passes and the others are cancelled",
            INVITE,
            &[Success(0)],
            vec![off(), pass(0), cancel(1, ELSEWHERE)],
        ),
        ("a repeated 2xx passes", INVITE, &[Success(0), Success(0)], vec![pass(0)]),
        ("a second branch's 2xx passes too", INVITE, &[Success(0), Success(1)], vec![pass(1)]),
        ("after a 2xx no failure is told", INVITE, &[Success(0), Failure(1, 487)], vec![]),
        (
            "it is over when nothing can be repeated",
            INVITE,
            &[Success(0), Failure(1, 487), Ended(0)],
            vec![Action::Forget],
        ),
        ("a 1xx after a 2xx is not told", INVITE, &[Success(0), Provisional(1, 180)], vec![]),
        (
            "step 5: a 6xx cancels the others",
            INVITE,
            &[Failure(0, 603)],
            vec![cancel(1, Some("SIP;cause=600"))],
        ),
        ("and is the answer", INVITE, &[Failure(0, 603), Failure(1, 487)], best(0, 603)),
        ("a 2xx that crosses the 6xx passes", INVITE, &[Failure(0, 603), Success(1)], vec![off(), pass(1)]),
        (
            "§16.10: CANCEL goes to all branches",
            INVITE,
            &[Cancel],
            vec![off(), cancel(0, Some("SIP;cause=487")), cancel(1, Some("SIP;cause=487"))],
        ),
        ("then 487", INVITE, &[Cancel, Failure(0, 487), Failure(1, 487)], finish(487)),
        (
            "487 even where a branch was busy before",
            INVITE,
            &[Failure(0, 486), Cancel, Lost(1, 408)],
            finish(487),
        ),
        ("a second CANCEL says nothing", INVITE, &[Cancel, Cancel], vec![]),
        ("a CANCEL too late says nothing", INVITE, &[Success(0), Cancel], vec![]),
        ("a 2xx that crosses the CANCEL passes", INVITE, &[Cancel, Success(1)], vec![off(), pass(1)]),
        ("§16.8: timer C cancels", INVITE, &[TimerC], vec![off(), cancel(0, None), cancel(1, None)]),
        ("and is 408", INVITE, &[TimerC, Failure(0, 487), Lost(1, 408)], finish(408)),
        ("timer C after an answer says nothing", INVITE, &[Success(0), TimerC], vec![]),
        (
            "the first 2xx to another request ends it",
            MESSAGE,
            &[Success(0)],
            vec![off(), pass(0), Action::Forget],
        ),
        ("§9.2: CANCEL does nothing to it", MESSAGE, &[Cancel], vec![]),
    ];
    for (why, kind, steps, expected) in rows {
        let mut context = Context::new(kind, vec![(1000, "two"), (1000, "three")]);
        let tries = context.start().iter().filter(|a| matches!(a, Action::Try { .. })).count();
        assert_eq!(tries, 2, "{why}");
        let mut said = Vec::new();
        for step in steps {
            said = take(&mut context, step);
        }
        assert_eq!(said, expected, "{why}");
    }
}

/// §16.6: "the proxy MAY … proceed to lower q-values".
#[test]
fn groups_follow_each_other() {
    let mut context = Context::new(INVITE, vec![(1, "last"), (1000, "first"), (500, "second")]);
    let tried = |actions: &[Action<&'static str, &'static str>]| -> Vec<&'static str> {
        let targets = actions.iter().filter_map(|action| match action {
            Action::Try { target, .. } => Some(*target),
            _ => None,
        });
        targets.collect()
    };
    assert_eq!(tried(&context.start()), ["first"]);
    assert_eq!(tried(&context.on_failure(0, 486, "final")), ["second"]);
    assert_eq!(tried(&context.on_lost(1, 503)), ["last"]);
    assert_eq!(context.on_failure(2, 404, "final"), best(2, 404), "the better of both finals");
    let mut none = Context::new(INVITE, Vec::new());
    assert_eq!(none.start(), finish(480));
    let mut cancelled = Context::new(INVITE, vec![(2, "a"), (1, "b")]);
    cancelled.start();
    cancelled.on_cancel(Some("SIP;cause=26"));
    assert_eq!(cancelled.on_failure(0, 487, "final"), finish(487), "nobody else is tried");
}

/// §16.7 step 7: "the proxy MUST collect any WWW-Authenticate and Proxy-Authenticate header field values from all other 401
/// and 407 responses".
#[test]
fn challenges_of_all_branches_are_kept_for_the_best_one() {
    let mut context = Context::new(INVITE, vec![(1, "a"), (1, "b"), (1, "c")]);
    context.start();
    context.on_failure(0, 407, "first");
    context.on_failure(1, 486, "busy");
    let actions = context.on_failure(2, 401, "second");
    let others = actions.iter().find_map(|action| match action {
        Action::Finish(Final::Best { status, others, .. }) => Some((*status, others.clone())),
        _ => None,
    });
    assert_eq!(others, Some((407, vec!["second"])));
}

#[test]
fn the_order_of_answers() {
    let order = [603, 302, 407, 404, 486, 487, 500, 482, 503];
    assert!(order.windows(2).all(|w| matches!(w, [a, b] if rank(*a) < rank(*b))));
}

#[test]
fn a_search_is_never_broader_than_its_bound() {
    let targets = (0..200).map(|_| (1, "x")).collect();
    let mut context = Context::new(INVITE, targets);
    let tries = context.start().iter().filter(|a| matches!(a, Action::Try { .. })).count();
    assert_eq!(tries, BRANCHES_MAX);
}
