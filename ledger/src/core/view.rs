//! What is shown of a receipt, and its check.

use super::call::{Call, State};
use crate::receipt::{Claim, Close, EndCause, ReceiptError, Side, agree, is_within};
use dots_wire::{Checked, Hash, PeerId, Timestamp};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptState {
    /// The other side's signature is missing: being asked for, or given up after a day.
    Half,
    /// Both signatures.
    Whole,
    /// One side would not sign.
    Refused,
}

impl fmt::Display for ReceiptState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReceiptState::Half => "half",
            ReceiptState::Whole => "whole",
            ReceiptState::Refused => "refused",
        })
    }
}

/// One receipt, as `dots receipts` shows it.
#[derive(Clone, Debug)]
pub struct ReceiptView {
    pub call_id: Hash,
    pub state: ReceiptState,
    /// The caller's peer.
    pub originating: PeerId,
    /// The callee's peer.
    pub terminating: PeerId,
    pub start_ms: u64,
    /// Of a whole receipt what both signed, else our own measurement; 0 where a restart has lost it.
    pub duration_ms: u64,
    /// None where we did not see the end and no receipt is signed yet.
    pub cause: Option<EndCause>,
    /// The side whose measurement a restart has lost.
    pub after_restart: Option<Side>,
    call: Call,
}

impl ReceiptView {
    /// Where it stands in the list; none for a call that is still open, or was when it was given up.
    pub(super) fn start_of(call: &Call) -> Option<u64> {
        state(call).map(|_| shown(call, &call.state).0.0)
    }

    pub(super) fn of(call: &Call) -> Option<ReceiptView> {
        let state = state(call)?;
        let (start, duration_ms, cause, after_restart) = shown(call, &call.state);
        Some(ReceiptView {
            call_id: call.facts.call_id,
            state,
            originating: call.facts.peer(Side::Caller),
            terminating: call.facts.peer(Side::Callee),
            start_ms: start.0,
            duration_ms,
            cause,
            after_restart,
            call: call.clone(),
        })
    }

    /// Every signature that we hold, and every rule of RCPT-5 and RCPT-6.
    pub fn check(&self) -> Result<(), ReceiptError> {
        let (call, checked) = (&self.call, &mut Checked::default());
        call.facts.check()?;
        let state = match &call.state {
            State::Closed { before, .. } => before,
            state => state,
        };
        match state {
            State::Whole { whole, .. } => {
                let receipt = whole.verify(checked)?;
                if receipt.facts != call.facts {
                    return Err(ReceiptError::NotOurs);
                }
                if call.measured_ms.is_some_and(|own| !is_within(receipt.duration_ms, own)) {
                    return Err(ReceiptError::Duration);
                }
            }
            State::Signed { own, theirs, half, .. } => {
                let receipt = half.verify(checked)?;
                let own = Claim::verified(checked, own).ok_or(ReceiptError::Signature(call.side))?;
                let theirs =
                    Claim::verified(checked, theirs).ok_or(ReceiptError::Signature(call.side.other()))?;
                let agreed = match call.side {
                    Side::Caller => agree(&own, &theirs),
                    Side::Callee => agree(&theirs, &own),
                };
                if agreed.as_ref() != Ok(&receipt) || own.facts != call.facts {
                    return Err(ReceiptError::NotAgreed);
                }
            }
            State::Stated { own, .. } => {
                let own = Claim::verified(checked, own).ok_or(ReceiptError::Signature(call.side))?;
                if own.facts != call.facts || own.side != call.side {
                    return Err(ReceiptError::NotOurs);
                }
            }
            State::Open { .. } | State::Ended { .. } | State::Closed { .. } => {}
        }
        Ok(())
    }
}

fn state(call: &Call) -> Option<ReceiptState> {
    Some(match &call.state {
        State::Open { .. } => return None,
        State::Closed { before, .. } if matches!(**before, State::Open { .. }) => return None,
        State::Closed { why: Close::Refused(_), .. } => ReceiptState::Refused,
        State::Whole { .. } => ReceiptState::Whole,
        _ => ReceiptState::Half,
    })
}

fn shown(call: &Call, state: &State) -> (Timestamp, u64, Option<EndCause>, Option<Side>) {
    let lost = |duration: Option<u64>| duration.is_none().then_some(call.side);
    match state {
        State::Signed { receipt: r, .. } | State::Whole { receipt: r, .. } => {
            (r.start, r.duration_ms, Some(r.cause), r.after_restart)
        }
        State::Stated { claim: c, .. } => {
            (call.start, c.duration_ms.unwrap_or(0), c.cause, lost(c.duration_ms))
        }
        State::Ended { duration_ms, cause } => {
            (call.start, duration_ms.unwrap_or(0), *cause, lost(*duration_ms))
        }
        State::Closed { before, .. } => shown(call, before),
        State::Open { .. } => (call.start, 0, None, None),
    }
}
