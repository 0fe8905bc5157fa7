//! When a dialog is over: not when its BYE passes, but when it is believed (RFC 3261 §15.1).
//!
//! Whoever hangs up is done with the call whatever he is answered. But a BYE can be made to be refused: with an old CSeq
//! the other phone answers 500 (§12.2.2) and goes on talking, and what counted the call has stopped. So it ends with 2xx, 481,
//! 408 or silence (§15.1.1). And whoever is called could answer anything else for ever, to a call that is paid for: a
//! refusal of a BYE that no honest phone refuses, by a phone of ours, ends it too.

use super::{Hands, authority::cseq_of, calls::Call, dialog::Pass, memory::Leg};
use crate::{
    border::parties::Parties, hop::Hop, ids::Method, message::Message, output::CallProgress, token::Side,
    transaction::NewRequest,
};
use std::time::Instant;

/// A BYE that no honest phone refuses: nothing in it is to be understood, and its CSeq is higher than its sender's before.
pub(super) fn is_in_order(leg: &Leg, request: &Message, by_caller: bool) -> bool {
    let [of_caller, of_callee] = leg.cseq;
    let before = if by_caller { of_caller } else { of_callee };
    Method::of(request) == Method::Bye && request.body().is_empty() && cseq_of(request) > before
}

/// Is it believed, answered so (TOK-15)? `None`: by nobody. What comes from a peer may be a refusal that its sender made sure
/// of.
fn is_believed(status: Option<u16>, in_order: bool, at_phone: bool) -> bool {
    match status {
        None | Some(200..300 | 408 | 481) => true,
        // To be sent again with credentials.
        Some(401 | 407) => false,
        Some(status) => status >= 300 && in_order && at_phone,
    }
}

/// The BYE that was said then has this final answer, or none. It counts from when it was said.
pub(super) fn answered(
    hands: &mut Hands<'_, '_>,
    new: &NewRequest,
    (pass, parties): (&Pass, &Parties),
    status: Option<u16>,
    said: Instant,
) {
    let at_phone = !matches!(pass.way.recipient(), Side::Peer(_));
    if Method::of(&new.request) != Method::Bye || !is_believed(status, pass.in_order, at_phone) {
        return;
    }
    pass.end(hands.dialogs, hands.cx.now.wall_ms);
    let seen_from_phone = matches!(new.hop, Hop::Phone(_));
    let what = CallProgress::Ended { by_caller: pass.way.by_caller, seen_from_phone, said };
    Call::within(pass, parties).tell(hands.cx, what, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::memory::Dialog;

    /// TOK-15.
    #[test]
    fn a_bye_is_believed_by_its_answer() {
        for (status, ends, ends_plain_at_phone) in [
            (None, true, true),
            (Some(200), true, true),
            (Some(202), true, true),
            (Some(408), true, true),
            (Some(481), true, true),
            (Some(401), false, false),
            (Some(407), false, false),
            (Some(302), false, true),
            (Some(400), false, true),
            (Some(403), false, true),
            (Some(483), false, true),
            (Some(500), false, true),
            (Some(603), false, true),
        ] {
            assert_eq!(is_believed(status, true, true), ends_plain_at_phone, "{status:?}");
            for (in_order, at_phone) in [(false, false), (false, true), (true, false)] {
                assert_eq!(is_believed(status, in_order, at_phone), ends, "{status:?} {in_order} {at_phone}");
            }
        }
    }

    #[test]
    fn an_old_cseq_or_a_body_is_a_reason_to_refuse() {
        let mut dialog = Dialog { first_cseq: 7, ..Dialog::default() };
        let leg = dialog.leg_mut("t", 0).expect("the first");
        leg.cseq[1] = 100;
        let leg = *leg;
        for (method, cseq, body, of_caller, of_callee) in [
            ("BYE", 8, "", true, false),
            ("BYE", 7, "", false, false),
            ("BYE", 0, "", false, false),
            ("BYE", 101, "", true, true),
            ("BYE", 101, "x", false, false),
            ("INFO", 101, "", false, false),
        ] {
            let text = format!(
                "{method} sip:b@b.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@a.test>;tag=1\r\n\
                 To: <sip:b@b.test>;tag=t\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let request = Message::parse(text.into_bytes()).expect("a request");
            assert_eq!(is_in_order(&leg, &request, true), of_caller, "{method} {cseq} {body}");
            assert_eq!(is_in_order(&leg, &request, false), of_callee, "{method} {cseq} {body}");
        }
    }
}
