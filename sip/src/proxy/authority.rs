//! What may be said in a dialog, by whom, and how long (TOK-11, TOK-13, TOK-14).
//!
//! A route token is a capability: whoever was in a dialog once holds it. So it ends: with the dialog, with the account, a
//! day after it was last used. And it is for that dialog only: what starts something else is a stranger's request without
//! a grant, wherever he puts it. A REFER is what calls are transferred by, so it passes while the call is up; reports
//! (NOTIFY) pass to who asked for them.
//!
//! What is not remembered, after a restart for one, was a call that may still be up. What keeps or ends it passes by the
//! token alone; the rest waits until one of our phones has shown that it knows the dialog.

use super::memory::{Dialog, Leg, Phase, Refer};
use crate::{
    ids::Method,
    message::{Message, Name},
    status::{self, Status},
    token::{TOKEN_HOURS, Usage},
};

/// So long after a REFER, or a report on it, the next report may come: longer than timer C.
pub(super) const REFER_MS: u64 = 200_000;
const DAY_MS: u64 = TOKEN_HOURS as u64 * 3_600_000;

const NOT_ASKED_FOR: Status = Status(403, "Not Asked For");
const NOT_REMEMBERED: Status = Status(403, "Dialog Not Remembered");

/// A request in a dialog, as far as its right to be there goes.
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub usage: Usage,
    pub by_caller: bool,
    /// Whoever sends it is no friend of the phone that would get it: another peer, or an account of another realm.
    pub is_foreign: bool,
    /// Event (RFC 6665) is that of a REFER.
    pub is_about_refer: bool,
    /// The token's own day is over.
    pub is_old: bool,
    pub now_ms: u64,
}

impl Asked<'_> {
    /// `leg`: of the callee's tag.
    pub fn judge(&self, dialog: Option<&Dialog>, leg: Option<&Leg>, has_failed: bool) -> Result<(), Status> {
        let is_used = leg
            .is_some_and(|leg| leg.phase == Phase::Up && self.now_ms.saturating_sub(leg.passed_ms) <= DAY_MS);
        if self.is_old && !is_used {
            return Err(status::NO_SUCH_DIALOG);
        }
        // What ends a dialog, and what nobody answers, always may: it starts nothing.
        if matches!(self.method, Method::Bye | Method::Ack) {
            return Ok(());
        }
        if dialog.is_some_and(|dialog| dialog.is_revoked) || has_failed {
            return Err(status::NO_SUCH_DIALOG);
        }
        match (leg.map(|leg| leg.phase), dialog.is_some_and(|dialog| dialog.is_whole)) {
            (Some(Phase::Ended), _) => self.reports(leg).ok_or(status::NO_SUCH_DIALOG),
            (Some(Phase::Early), _) => self.early(),
            (Some(Phase::Up), _) => self.up(leg),
            (None, true) if is_first_report((self.method, self.usage), self.by_caller, dialog) => Ok(()),
            // The tag of nobody who has answered.
            (None, true) => Err(status::NO_SUCH_DIALOG),
            (None, false) => self.forgotten(),
        }
    }

    fn up(&self, leg: Option<&Leg>) -> Result<(), Status> {
        match (self.usage, self.method) {
            _ if !self.is_foreign => Ok(()),
            (Usage::Subscription, _) if self.keeps_subscription() => Ok(()),
            (Usage::Subscription, _) => Err(NOT_ASKED_FOR),
            (Usage::Call, Method::Notify | Method::Subscribe) => self.reports(leg).ok_or(NOT_ASKED_FOR),
            (Usage::Call, Method::Publish | Method::Register) => Err(NOT_ASKED_FOR),
            (Usage::Call, _) => Ok(()),
        }
    }

    /// RFC 6665 §4.1.2: who subscribed refreshes, who is subscribed to reports, and not the other way round: a NOTIFY that nobody
    /// asked for makes phones reboot or answer by themselves (`check-sync`, `talk`).
    fn keeps_subscription(&self) -> bool {
        match self.method {
            Method::Notify => !self.by_caller,
            Method::Subscribe => self.by_caller,
            _ => false,
        }
    }

    fn early(&self) -> Result<(), Status> {
        let belongs = match self.usage {
            Usage::Call => {
                matches!(self.method, Method::Prack | Method::Update | Method::Invite | Method::Info)
            }
            Usage::Subscription => self.keeps_subscription(),
        };
        // Not 481: a phone would end the call that rings.
        if belongs || !self.is_foreign { Ok(()) } else { Err(NOT_ASKED_FOR) }
    }

    fn forgotten(&self) -> Result<(), Status> {
        let keeps = match self.usage {
            Usage::Call => matches!(self.method, Method::Invite | Method::Update | Method::Prack),
            Usage::Subscription => self.keeps_subscription(),
        };
        if keeps || !self.is_foreign { Ok(()) } else { Err(NOT_REMEMBERED) }
    }

    /// RFC 3515 §2.4.4: NOTIFY to whoever sent the REFER; §2.4.5: he may end that by SUBSCRIBE. Both outlive the call.
    fn reports(&self, leg: Option<&Leg>) -> Option<()> {
        let refer = leg?.refer.filter(|refer| refer.until_ms >= self.now_ms && self.is_about_refer)?;
        let may = match self.method {
            Method::Notify => refer.by_caller != self.by_caller,
            Method::Subscribe => refer.by_caller == self.by_caller,
            _ => false,
        };
        may.then_some(())
    }
}

/// RFC 6665 §4.1.2.4: over UDP the first NOTIFY may be faster than the answer that has its tag. It begins the leg.
pub(super) fn is_first_report(
    (method, usage): (&Method, Usage),
    by_caller: bool,
    dialog: Option<&Dialog>,
) -> bool {
    let is_open = dialog.is_some_and(|dialog| dialog.legs.iter().all(|leg| leg.phase == Phase::Early));
    usage == Usage::Subscription && *method == Method::Notify && !by_caller && is_open
}

/// What a request that passes changes in its leg. A BYE changes nothing before it is believed
/// ([`super::ending`]).
pub(super) fn passed(leg: &mut Leg, request: &Message, (usage, by_caller): (Usage, bool), now_ms: u64) {
    leg.passed_ms = now_ms;
    let [of_caller, of_callee] = &mut leg.cseq;
    let cseq = if by_caller { of_caller } else { of_callee };
    *cseq = (*cseq).max(cseq_of(request));
    match Method::of(request) {
        Method::Refer => leg.refer = Some(Refer { by_caller, until_ms: now_ms + REFER_MS }),
        Method::Notify if is_about_refer(request) && leg.refer.is_some() => {
            let goes_on = leg.refer.map(|refer| Refer { until_ms: now_ms + REFER_MS, ..refer });
            leg.refer = goes_on.filter(|_| !is_last(request));
        }
        Method::Notify if usage == Usage::Subscription => {
            leg.phase = if is_last(request) { Phase::Ended } else { Phase::Up };
        }
        _ => {}
    }
}

pub(super) fn cseq_of(request: &Message) -> u32 {
    request.cseq().map_or(0, |(number, _)| number)
}

pub(super) fn is_about_refer(request: &Message) -> bool {
    let event = request.header(&Name::Event).and_then(|event| event.split(';').next());
    event.is_some_and(|event| event.trim().eq_ignore_ascii_case("refer"))
}

/// Subscription-State: terminated.
fn is_last(request: &Message) -> bool {
    let state = request.header(&Name::Other("subscription-state".to_owned()));
    let state = state.and_then(|state| state.split(';').next());
    state.is_some_and(|state| state.trim().eq_ignore_ascii_case("terminated"))
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
