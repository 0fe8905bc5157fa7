//! The home's side of "is this the right password?" (design §3.4).
//!
//! ```text
//!   answer ─ admit ─▶ asked for the account's own name? digest with qop? ─▶ a fresh lease of ours, for this peer?
//!                     ─▶ a token of whoever pays ([`crate::brakes`]) ─ account store ─▶ judge ─▶ right? first use?
//! ```
//!
//! AUTH-4: unknown users and wrong passwords take the same path and answer alike. Only an answer to a fresh lease of ours is judged
//! at all, so nobody can spend another's tries without hearing our challenge. An account store that cannot be read says
//! nothing about anybody: the answer is "not now", and no try is counted.

use crate::{
    account::Account,
    answer::Answer,
    brakes::{Braked, Brakes, Charged, Familiar, Via},
    lease::{Lease, LeaseCheck, Lessor, Nonce},
    used::{Use, Used},
};
use dots_wire::{Now, PeerId, Timestamp};

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Unknown user or wrong password.
    Wrong,
    /// Whatever the password: an old nonce, a used one, or none of ours. Challenge anew.
    Stale,
    /// Another's name, or tried too often.
    Forbidden,
    /// Later: the store, or strangers' places, are not to be had.
    Unavailable,
}

/// The account store could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreDown;

/// An answer that is worth a look at its account.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub answer: Box<Answer>,
    pub via: Via,
    nonce: Nonce,
    charged: Charged,
}

pub struct Judge {
    lessor: Lessor,
    used: Used,
    brakes: Brakes,
    familiar: Option<Familiar>,
}

impl Judge {
    pub fn new(lessor: Lessor) -> Judge {
        Judge { lessor, used: Used::default(), brakes: Brakes::default(), familiar: None }
    }

    pub fn lease(&self, serving: PeerId, now: Timestamp, random: [u8; 8]) -> Lease {
        self.lessor.lease(serving, now, random)
    }

    /// The checks that need no account, cheap ones first.
    pub fn admit(&mut self, now: Now, answer: Box<Answer>, via: Via) -> Result<Admitted, Refused> {
        if answer.account() != answer.aor {
            return Err(Refused::Forbidden);
        }
        if answer.qop != "auth" {
            return Err(Refused::Wrong);
        }
        let nonce = Nonce::read(&answer.nonce).ok_or(Refused::Stale)?;
        if self.lessor.check(&nonce.lease, via.serving, now.wall) != LeaseCheck::Fresh {
            return Err(Refused::Stale);
        }
        match self.brakes.take(now, &answer.aor, &via) {
            Ok(charged) => Ok(Admitted { answer, via, nonce, charged }),
            // Not 503: a phone with a wrong password would try again at once, and for ever.
            Err(Braked::Account) => Err(Refused::Forbidden),
            Err(Braked::Strangers) => Err(Refused::Unavailable),
        }
    }

    /// The verdict, by what the account store said.
    pub fn judge(
        &mut self,
        now: Now,
        admitted: &Admitted,
        account: Result<Option<&Account>, StoreDown>,
    ) -> Result<(), Refused> {
        let Admitted { answer, via, nonce, charged } = admitted;
        let Ok(account) = account else {
            self.brakes.was_not_judged(now, via, *charged);
            return Err(Refused::Unavailable);
        };
        if !answer.is_right(account) {
            return Err(Refused::Wrong);
        }
        self.familiar = self.brakes.was_right(now, &answer.aor, via, *charged);
        let once = (nonce.lease.mac(), nonce.counter, answer.nc);
        match self.used.take(now.wall, once, &answer.aor, via) {
            Use::First => Ok(()),
            Use::Replayed => Err(Refused::Stale),
            Use::OverShare => Err(Refused::Unavailable),
        }
    }

    /// It never came to a verdict: there was no room for the question.
    pub fn not_judged(&mut self, now: Now, admitted: &Admitted) {
        self.brakes.was_not_judged(now, &admitted.via, admitted.charged);
    }

    /// What the last verdict wants written down.
    pub fn take_familiar(&mut self) -> Option<Familiar> {
        self.familiar.take()
    }

    pub fn recall(&mut self, now: Timestamp, familiar: &Familiar) {
        self.brakes.recall(now, familiar);
    }

    pub fn sweep(&mut self, now: Now) {
        self.brakes.sweep(now.mono);
    }
}

#[cfg(test)]
mod tests;
