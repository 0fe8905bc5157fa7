//! One call, from its answer to a receipt that both sides hold. Decides what is claimed and signed; when to ask and
//! what to write is the business of [`super`].
//!
//! ```text
//!          call_ended       proposes           their Claim      their Half
//!   Open ─────────────▶ Ended ────────▶ Stated ───────────▶ Signed ───────▶ Whole ──▶ told
//!     ┆                  └── their Claim ──────────────────▶ ▲ │              ▲
//!     └┄┄ after a restart alone: their Claim ┄┄┄┄┄┄┄┄┄┄┄┄┄┄▶ ┘ └─ their Whole ┘
//!   any but Whole ──▶ Closed: refused, or nobody answered for a day. A Whole with our signature still counts there.
//! ```
//!
//! A claim is fixed when it is stated, a receipt when it is signed; neither ever changes.

use crate::{
    limits::{BYE_LATE_MAX, DURATION_MAX},
    receipt::{
        CLAIM_DOMAIN, Claim, ClaimNote, Close, CloseNote, EndCause, EndNote, Facts, Half, HalfNote,
        HalfSigned, Message, OpenNote, RECEIPT_DOMAIN, Receipt, Refusal, Refused, Seal, Sealed, Seals, Side,
        Signer, Stored, VERSION, Whole, WholeNote, agree, is_within,
    },
};
use dots_wire::{Checked, Now, PeerId, Timestamp};
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub enum State {
    /// `answered`: none after a restart, which loses the monotonic measurement.
    Open {
        answered: Option<Instant>,
    },
    /// Measured, but no claim has left.
    Ended {
        duration_ms: Option<u64>,
        cause: Option<EndCause>,
    },
    Stated {
        own: Sealed,
        claim: Claim,
    },
    Signed {
        own: Sealed,
        theirs: Sealed,
        receipt: Receipt,
        half: HalfSigned,
    },
    Whole {
        receipt: Receipt,
        whole: Whole,
        is_told: bool,
    },
    Closed {
        before: Box<State>,
        why: Close,
    },
}

impl State {
    fn fill(&mut self, side: Side, seals: &mut Seals) {
        match self {
            State::Open { .. } | State::Ended { .. } => {}
            State::Stated { own, .. } => seals.fill(CLAIM_DOMAIN, &own.payload, &mut own.seal),
            State::Signed { own, half, .. } => {
                seals.fill(CLAIM_DOMAIN, &own.payload, &mut own.seal);
                seals.fill(RECEIPT_DOMAIN, &half.receipt, &mut half.seal);
            }
            State::Whole { whole, .. } => {
                let receipt = std::mem::take(&mut whole.receipt);
                seals.fill(RECEIPT_DOMAIN, &receipt, whole.seal_mut(side));
                whole.receipt = receipt;
            }
            // It was signed and given up in one step.
            State::Closed { before, .. } => before.fill(side, seals),
        }
    }

    /// Is all that we signed in it sealed?
    fn is_sealed(&self, side: Side) -> bool {
        match self {
            State::Open { .. } | State::Ended { .. } => true,
            State::Stated { own, .. } => own.seal.is_made(),
            State::Signed { own, half, .. } => own.seal.is_made() && half.seal.is_made(),
            State::Whole { whole, .. } => whole.seal(side).is_made(),
            State::Closed { before, .. } => before.is_sealed(side),
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The state is another: write it down before it is acted on.
    Changed,
    /// Nothing new.
    Same,
}

/// Why a message changed nothing, or ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// No receipt can come of this call.
    Refuse(Refusal),
    /// This message contradicts what is settled; the call goes on.
    Contradicts,
    /// A signature does not hold.
    Forged,
    /// Here the call is still up.
    StillUp,
    /// Signatures about this call, or of this peer, did not hold of late: for a while nothing of it is looked at.
    Unheard,
}

/// What costs time on the curve: what is signed in this step, and what was checked before.
pub struct Curve<'a> {
    pub signer: &'a mut Signer,
    pub checked: &'a mut Checked,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub facts: Facts,
    pub side: Side,
    /// The answer, by our wall clock.
    pub start: Timestamp,
    /// When it ended for us.
    pub ended: Timestamp,
    /// Our own measurement, where there is one.
    pub measured_ms: Option<u64>,
    pub state: State,
}

impl Call {
    pub fn open(facts: Facts, side: Side, start: Timestamp, answered: Option<Instant>) -> Call {
        let state = State::Open { answered };
        Call { facts, side, start, ended: start, measured_ms: None, state }
    }

    pub fn other(&self) -> PeerId {
        self.facts.peer(self.side.other())
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Nothing more will be asked.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Whole { is_told: true, .. } | State::Closed { .. })
    }

    /// It is over, by our own measurement or, after a restart, without one.
    pub fn end(&mut self, now: Now, duration_ms: u64, cause: Option<EndCause>) {
        if let State::Open { answered } = self.state {
            let duration_ms = answered.map(|_| duration_ms.min(millis(DURATION_MAX)));
            self.ended = now.wall;
            self.measured_ms = duration_ms;
            self.state = State::Ended { duration_ms, cause };
        }
    }

    /// Fixes our claim at our own measurement.
    pub fn state_claim(&mut self, signer: &mut Signer) {
        if let State::Ended { duration_ms, cause } = self.state {
            let claim = self.claim(duration_ms, cause);
            self.state = State::Stated { own: claim.sign(signer), claim };
        }
    }

    /// The step is signed: puts its seals where they belong.
    pub fn fill(&mut self, seals: &mut Seals) {
        self.state.fill(self.side, seals);
    }

    /// Whether a claim, with or without a signature, is nothing new.
    fn knows(&self, signed: &Sealed, seal: Option<&Seal>) -> bool {
        match &self.state {
            State::Whole { .. } | State::Closed { .. } => true,
            State::Signed { theirs, .. } => seal.is_none() && theirs.payload == signed.payload,
            _ => false,
        }
    }

    /// Takes in what the other side says. An error changes nothing that was signed.
    pub fn hear(&mut self, now: Now, curve: &mut Curve<'_>, message: &Message) -> Result<Heard, Wrong> {
        let (signed, seal) = match message {
            Message::Claim(claim) => (claim, None),
            Message::Half(Half { claim, seal }) => (claim, Some(seal)),
            Message::Whole(whole) => return self.on_whole(curve.checked, whole),
            Message::Refused(_) => return Err(Wrong::Forged),
        };
        // No signature is checked for a message that can change nothing.
        if self.knows(signed, seal) {
            return Ok(Heard::Same);
        }
        let claim = Claim::verified(curve.checked, signed).ok_or(Wrong::Forged)?;
        if claim.facts.peer(claim.side) != self.other() {
            return Err(Wrong::Forged);
        }
        self.on_claim(now, curve, signed, &claim, seal)
    }

    /// The other side's claim, whose seal holds; with `seal`, it has signed the receipt as well.
    fn on_claim(
        &mut self,
        now: Now,
        curve: &mut Curve<'_>,
        signed: &Sealed,
        theirs: &Claim,
        seal: Option<&Seal>,
    ) -> Result<Heard, Wrong> {
        match &self.state {
            // RCPT-5a: what the other side says ends no call that is up here, whatever it says.
            State::Open { answered: Some(_) } => Err(Wrong::StillUp),
            State::Open { answered: None } => {
                let mut ended = self.clone();
                ended.end(now, 0, None);
                let heard = ended.on_claim(now, curve, signed, theirs, seal);
                if heard != Err(Wrong::Forged) {
                    *self = ended;
                }
                heard
            }
            // RCPT-5: a side that has not claimed yet claims the lower of both measurements; but where it saw the end itself
            // (RCPT-6a), the other's may be lower only by what a BYE can be late.
            State::Ended { duration_ms, cause } => {
                let claimed = duration_ms.map(|own| {
                    let lower = own.min(theirs.duration_ms.unwrap_or(own));
                    let is_far = *cause == Some(EndCause::Bye) && own - lower > millis(BYE_LATE_MAX);
                    if is_far { own } else { lower }
                });
                let claim = self.claim(claimed, *cause);
                let own = claim.sign(curve.signer);
                self.sign(now, curve, (own, &claim), (signed, theirs), seal)
            }
            State::Stated { own, claim } => {
                let (own, claim) = (own.clone(), claim.clone());
                self.sign(now, curve, (own, &claim), (signed, theirs), seal)
            }
            State::Signed { theirs: known, half, receipt, .. } => {
                if known.payload != signed.payload {
                    return Err(Wrong::Contradicts);
                }
                let Some(seal) = seal else { return Ok(Heard::Same) };
                let whole = half.complete(curve.checked, receipt, seal).map_err(|_| Wrong::Forged)?;
                self.state = State::Whole { receipt: receipt.clone(), whole, is_told: false };
                Ok(Heard::Changed)
            }
            State::Whole { .. } | State::Closed { .. } => Ok(Heard::Same),
        }
    }

    /// The other side holds both signatures. Ours in it proves that we agreed, whatever happened to our disk since.
    fn on_whole(&mut self, checked: &mut Checked, whole: &Whole) -> Result<Heard, Wrong> {
        if let State::Whole { whole: known, is_told, .. } = &mut self.state {
            if known.receipt != whole.receipt {
                return Err(Wrong::Contradicts);
            }
            return Ok(if std::mem::replace(is_told, true) { Heard::Same } else { Heard::Changed });
        }
        let before = match &self.state {
            State::Closed { before, .. } => before,
            state => state,
        };
        let (receipt, whole) = if let State::Signed { receipt, half, .. } = before {
            if half.receipt != whole.receipt {
                return Err(Wrong::Contradicts);
            }
            let theirs = whole.seal(half.side.other());
            (receipt.clone(), half.complete(checked, receipt, theirs).map_err(|_| Wrong::Forged)?)
        } else {
            (whole.verify(checked).map_err(|_| Wrong::Forged)?, whole.clone())
        };
        if receipt.facts != self.facts {
            return Err(Wrong::Contradicts);
        }
        self.state = State::Whole { receipt, whole, is_told: true };
        Ok(Heard::Changed)
    }

    /// A whole receipt stays whole: only the attempts to tell the other side end.
    pub fn close(&mut self, why: Close) {
        if let State::Whole { is_told, .. } = &mut self.state {
            *is_told = true;
        } else if !self.is_finished() {
            let before = Box::new(std::mem::replace(&mut self.state, State::Open { answered: None }));
            self.state = State::Closed { before, why };
        }
    }

    /// What we have to say about it, asked or not; nothing while we have stated nothing.
    pub fn message(&self) -> Option<Message> {
        debug_assert!(self.state.is_sealed(self.side), "a step is sealed before anything of it is said");
        let refused = |reason| Message::Refused(Refused { call_id: self.facts.call_id, reason });
        match &self.state {
            State::Open { .. } | State::Ended { .. } => None,
            State::Stated { own, .. } => Some(Message::Claim(own.clone())),
            State::Signed { own, half, .. } => {
                Some(Message::Half(Half { claim: own.clone(), seal: half.seal.clone() }))
            }
            State::Whole { whole, .. } => Some(Message::Whole(whole.clone())),
            State::Closed { why: Close::Refused(reason), .. } => Some(refused(*reason)),
            State::Closed { .. } => Some(refused(Refusal::Lapsed)),
        }
    }

    /// The record from which this state can be taken up again.
    pub fn record(&self) -> Stored {
        debug_assert!(self.state.is_sealed(self.side), "a step is sealed before anything of it is written");
        let (call_id, ended) = (self.facts.call_id, self.ended);
        match &self.state {
            State::Open { .. } => Stored::Open(OpenNote { facts: self.facts.clone(), start: self.start }),
            State::Ended { duration_ms, cause } => {
                Stored::End(EndNote { call_id, duration_ms: *duration_ms, cause: *cause, ended })
            }
            State::Stated { own, .. } => Stored::Claim(ClaimNote { own: own.clone(), ended }),
            State::Signed { own, theirs, half, .. } => {
                Stored::Half(HalfNote { own: own.clone(), theirs: theirs.clone(), half: half.clone(), ended })
            }
            State::Whole { whole, is_told, .. } => {
                Stored::Whole(WholeNote { whole: whole.clone(), is_told: *is_told, ended })
            }
            State::Closed { why, .. } => Stored::Close(CloseNote { call_id, why: *why }),
        }
    }

    fn claim(&self, duration_ms: Option<u64>, cause: Option<EndCause>) -> Claim {
        let (facts, side, start) = (self.facts.clone(), self.side, self.start);
        Claim { version: VERSION, facts, side, start, duration_ms, cause }
    }

    /// The only place where a receipt is signed. Not reached once the state is `Signed`.
    fn sign(
        &mut self,
        now: Now,
        curve: &mut Curve<'_>,
        (own, claim): (Sealed, &Claim),
        (signed, theirs): (&Sealed, &Claim),
        seal: Option<&Seal>,
    ) -> Result<Heard, Wrong> {
        let receipt = match self.side {
            Side::Caller => agree(claim, theirs),
            Side::Callee => agree(theirs, claim),
        }
        .map_err(Wrong::Refuse)?;
        let limit_ms = claim.duration_ms.unwrap_or_else(|| self.wall_ms(now));
        if !is_within(receipt.duration_ms, limit_ms) {
            return Err(Wrong::Refuse(Refusal::Excessive));
        }
        let half = HalfSigned::sign(curve.signer, self.side, &receipt);
        self.state = match seal {
            None => State::Signed { own, theirs: signed.clone(), receipt, half },
            Some(seal) => {
                let whole = half.complete(curve.checked, &receipt, seal).map_err(|_| Wrong::Forged)?;
                State::Whole { receipt, whole, is_told: false }
            }
        };
        Ok(Heard::Changed)
    }

    /// RCPT-6: the limit of a side whose measurement a restart has lost: the time since the answer that it noted.
    fn wall_ms(&self, now: Now) -> u64 {
        millis(now.wall.since(self.start).min(DURATION_MAX))
    }
}

pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
