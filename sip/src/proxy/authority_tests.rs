//! TOK-11 to TOK-14, row by row.

use super::*;

const NOW: u64 = 100 * DAY_MS;

fn asked(method: &Method, is_foreign: bool) -> Asked<'_> {
    Asked {
        method,
        usage: Usage::Call,
        by_caller: true,
        is_foreign,
        is_about_refer: true,
        is_old: false,
        now_ms: NOW,
    }
}

fn whole() -> Dialog {
    Dialog { is_whole: true, ..Dialog::default() }
}

/// A dialog with one leg of the tag `t`.
fn with(phase: Phase, refer: Option<Refer>, passed_ms: u64) -> Dialog {
    let mut dialog = whole();
    let leg = dialog.leg_mut("t", passed_ms).expect("it is the first");
    (leg.phase, leg.refer) = (phase, refer);
    dialog
}

const METHODS: [&str; 10] =
    ["INVITE", "UPDATE", "PRACK", "BYE", "ACK", "INFO", "MESSAGE", "REFER", "NOTIFY", "WINK"];

/// Which of [`METHODS`] pass.
fn passes(dialog: Option<&Dialog>, tag: &str, is_foreign: bool) -> String {
    let may = |method: &str| {
        let method = Method::read(method);
        let leg = dialog.and_then(|dialog| dialog.leg(tag));
        asked(&method, is_foreign).judge(dialog, leg, false).is_ok()
    };
    METHODS.into_iter().filter(|method| may(method)).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_may_be_said_when() {
    let ended = with(Phase::Ended, None, NOW);
    let revoked = Dialog { is_revoked: true, ..with(Phase::Up, None, NOW) };
    let all = METHODS.join(" ");
    for (why, dialog, tag, foreign, own) in [
        (
            "up: all but reports that nobody asked for",
            Some(with(Phase::Up, None, NOW)),
            "t",
            "INVITE UPDATE PRACK BYE ACK INFO MESSAGE REFER WINK",
            all.as_str(),
        ),
        ("over: nothing new, from nobody", Some(ended.clone()), "t", "BYE ACK", "BYE ACK"),
        ("over, with another tag", Some(ended), "other", "BYE ACK", "BYE ACK"),
        ("the account was removed", Some(revoked), "t", "BYE ACK", "BYE ACK"),
        (
            "ringing: what a call is set up by",
            Some(with(Phase::Early, None, NOW)),
            "t",
            "INVITE UPDATE PRACK BYE ACK INFO",
            all.as_str(),
        ),
        ("a tag that nobody gave", Some(whole()), "t", "BYE ACK", "BYE ACK"),
        ("forgotten: what keeps or ends it", None, "t", "INVITE UPDATE PRACK BYE ACK", all.as_str()),
        (
            "forgotten, and one word heard since",
            Some(Dialog::default()),
            "t",
            "INVITE UPDATE PRACK BYE ACK",
            all.as_str(),
        ),
    ] {
        assert_eq!(passes(dialog.as_ref(), tag, true), foreign, "{why}");
        assert_eq!(passes(dialog.as_ref(), tag, false), own, "{why}, own");
    }
}

#[test]
fn a_failed_call_is_no_dialog() {
    for method in METHODS {
        let method = Method::read(method);
        let may = asked(&method, false).judge(None, None, true).is_ok();
        assert_eq!(may, matches!(method, Method::Bye | Method::Ack));
    }
}

/// A report comes to who sent the REFER, also when he has hung up meanwhile (RFC 5589), and for a while only.
#[test]
fn reports_come_to_who_asked_for_them() {
    let refer = |by_caller, until_ms| Some(Refer { by_caller, until_ms });
    for phase in [Phase::Up, Phase::Ended] {
        for (why, refer, method, is_about_refer, may) in [
            ("to the referrer", refer(false, NOW), "NOTIFY", true, true),
            ("to the other one", refer(true, NOW), "NOTIFY", true, false),
            ("too late", refer(false, NOW - 1), "NOTIFY", true, false),
            ("of something else (`talk`, `check-sync`)", refer(false, NOW), "NOTIFY", false, false),
            ("none sent one", None, "NOTIFY", true, false),
            ("he ends it", refer(true, NOW), "SUBSCRIBE", true, true),
            ("the other one asks for more", refer(false, NOW), "SUBSCRIBE", true, false),
        ] {
            let dialog = with(phase, refer, NOW);
            let method = Method::read(method);
            let asked = Asked { is_about_refer, ..asked(&method, true) };
            let judged = asked.judge(Some(&dialog), dialog.leg("t"), false);
            assert_eq!(judged.is_ok(), may, "{phase:?}: {why}");
        }
    }
}

#[test]
fn an_old_token_lives_by_its_dialog() {
    let old = |dialog: Option<&Dialog>| {
        let asked = Asked { is_old: true, ..asked(&Method::Bye, true) };
        asked.judge(dialog, dialog.and_then(|dialog| dialog.leg("t")), false).is_ok()
    };
    assert!(!old(None), "forgotten");
    assert!(old(Some(&with(Phase::Up, None, NOW - DAY_MS))));
    assert!(!old(Some(&with(Phase::Up, None, NOW - DAY_MS - 1))));
    assert!(!old(Some(&with(Phase::Ended, None, NOW))));
}

#[test]
fn in_a_subscription_who_subscribed_refreshes_and_nothing_else() {
    for (dialog, expected) in [
        (Some(with(Phase::Up, None, NOW)), "SUBSCRIBE"),
        (Some(with(Phase::Early, None, NOW)), "SUBSCRIBE"),
        (None, "SUBSCRIBE"),
        (Some(with(Phase::Ended, None, NOW)), ""),
    ] {
        let may = |method: &&str| {
            let method = Method::read(method);
            let asked = Asked { usage: Usage::Subscription, is_about_refer: false, ..asked(&method, true) };
            asked.judge(dialog.as_ref(), dialog.as_ref().and_then(|d| d.leg("t")), false).is_ok()
        };
        let all = ["NOTIFY", "SUBSCRIBE", "INVITE", "MESSAGE", "REFER", "INFO"];
        assert_eq!(all.into_iter().filter(may).collect::<Vec<_>>().join(" "), expected);
    }
}

/// RFC 6665 §4.1.2: in a subscription a stranger says only what his side has to say.
#[test]
fn who_subscribed_reports_nothing_and_who_is_subscribed_to_refreshes_nothing() {
    for (phase, remembered) in [(Some(Phase::Up), true), (Some(Phase::Early), true), (None, false)] {
        let dialog = phase.map(|phase| with(phase, None, NOW));
        for (method, by_caller, may) in [
            ("NOTIFY", false, true),
            ("NOTIFY", true, false),
            ("SUBSCRIBE", true, true),
            ("SUBSCRIBE", false, false),
            ("MESSAGE", true, false),
            ("MESSAGE", false, false),
        ] {
            let method = Method::read(method);
            let asked = Asked { usage: Usage::Subscription, by_caller, ..asked(&method, true) };
            let leg = dialog.as_ref().and_then(|dialog| dialog.leg("t"));
            let judged = asked.judge(dialog.as_ref(), leg, false);
            assert_eq!(
                judged.is_ok(),
                may,
                "{method:?} by the caller: {by_caller}, remembered: {remembered}"
            );
        }
    }
}

/// RFC 6665 §4.1.2.4: it overtakes the 200 of its SUBSCRIBE, and has a tag that nobody has given yet.
#[test]
fn the_first_report_may_be_faster_than_the_answer() {
    let ringing = with(Phase::Early, None, NOW);
    for (why, dialog, usage, method, by_caller, may) in [
        ("nothing was answered", Some(whole()), Usage::Subscription, "NOTIFY", false, true),
        (
            "another one was heard, and not yet said yes",
            Some(ringing),
            Usage::Subscription,
            "NOTIFY",
            false,
            true,
        ),
        ("who subscribed", Some(whole()), Usage::Subscription, "NOTIFY", true, false),
        ("something else", Some(whole()), Usage::Subscription, "MESSAGE", false, false),
        ("a call", Some(whole()), Usage::Call, "NOTIFY", false, false),
        (
            "it is up with another",
            Some(with(Phase::Up, None, NOW)),
            Usage::Subscription,
            "NOTIFY",
            false,
            false,
        ),
        ("it is over", Some(with(Phase::Ended, None, NOW)), Usage::Subscription, "NOTIFY", false, false),
    ] {
        let method = Method::read(method);
        for is_foreign in [true, false] {
            let asked = Asked { usage, by_caller, ..asked(&method, is_foreign) };
            assert_eq!(asked.judge(dialog.as_ref(), None, false).is_ok(), may, "{why}");
        }
    }
}

/// TOK-13: 481 would make a phone end the call that rings.
#[test]
fn what_comes_too_early_ends_nothing() {
    let ringing = with(Phase::Early, None, NOW);
    for method in ["MESSAGE", "REFER", "NOTIFY", "OPTIONS"].map(Method::read) {
        let refused = asked(&method, true).judge(Some(&ringing), ringing.leg("t"), false);
        assert_eq!(refused.map_err(|status| status.0), Err(403), "{method:?}");
    }
}
