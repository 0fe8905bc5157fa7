//! A claim: one side's word about a call, and what follows from two of them.

use super::{EndCause, Facts, Receipt, Sealed, Side, Signer, VERSION};
use crate::limits::{DURATION_MAX, START_SKEW, TOLERANCE_MS, TOLERANCE_PART};
use dots_wire::{Checked, Timestamp, encode};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

pub const CLAIM_DOMAIN: &str = "dots/receipt-claim/1";

/// RCPT-2: "I served this side of the call, and measured this." A peer signs one claim per call and never another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Claim {
    pub version: u8,
    pub facts: Facts,
    pub side: Side,
    /// The answer, by this side's wall clock.
    pub start: Timestamp,
    /// By this side's monotonic clock; none where a restart has lost it.
    pub duration_ms: Option<u64>,
    /// None where this side did not see the end and takes the other's word.
    pub cause: Option<EndCause>,
}

impl Claim {
    pub fn sign(&self, signer: &mut Signer) -> Sealed {
        let payload = encode(self);
        let seal = signer.seal(CLAIM_DOMAIN, &payload);
        Sealed { payload, seal }
    }

    /// The claim, if it is signed by the peer of its side.
    pub fn verified(checked: &mut Checked, signed: &Sealed) -> Option<Claim> {
        let claim: Claim = signed.peek().ok()?;
        let key = claim.facts.peer(claim.side).0;
        signed.seal.verify(checked, &key, CLAIM_DOMAIN, &signed.payload).ok()?;
        Some(claim)
    }
}

/// Why there will be no receipt of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("no such call with this peer was answered here")]
    UnknownCall,
    #[error("the two sides know the call otherwise")]
    Mismatch,
    #[error("the claimed duration is more than was measured here, and than the tolerance")]
    Excessive,
    #[error("both sides have lost their measurement")]
    Unmeasured,
    #[error("the call ended too long ago")]
    Lapsed,
}

/// Whether `claimed` may stand beside `own`: not more than max(2 s, 1 %) above it (RCPT-6).
pub fn is_within(claimed_ms: u64, own_ms: u64) -> bool {
    claimed_ms <= own_ms.saturating_add(TOLERANCE_MS.max(own_ms / TOLERANCE_PART))
}

/// The receipt that follows from the claims of both sides, or why none does. The same on both sides: it looks at
/// nothing else.
pub fn agree(caller: &Claim, callee: &Claim) -> Result<Receipt, Refusal> {
    let same = caller.facts == callee.facts
        && (caller.side, callee.side) == (Side::Caller, Side::Callee)
        && (caller.version, callee.version) == (VERSION, VERSION);
    let start = caller.start.min(callee.start);
    if !same || caller.facts.check().is_err() || caller.start.max(callee.start).since(start) > START_SKEW {
        return Err(Refusal::Mismatch);
    }
    let cause = [caller.cause, callee.cause].into_iter().flatten().min().ok_or(Refusal::Mismatch)?;
    let (duration_ms, after_restart) = match (caller.duration_ms, callee.duration_ms) {
        (Some(a), Some(b)) if is_within(a.max(b), a.min(b)) => (a.min(b), None),
        (Some(_), Some(_)) => return Err(Refusal::Excessive),
        (Some(a), None) => (a, Some(Side::Callee)),
        (None, Some(b)) => (b, Some(Side::Caller)),
        (None, None) => return Err(Refusal::Unmeasured),
    };
    if u128::from(duration_ms) > DURATION_MAX.as_millis() {
        return Err(Refusal::Excessive);
    }
    let facts = caller.facts.clone();
    Ok(Receipt { version: VERSION, facts, start, duration_ms, cause, after_restart, media: () })
}
