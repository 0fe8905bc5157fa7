//! The response context of a forwarded request (RFC 3261 §16.7): which branches are out, the best answer so far, who is
//! tried next, and what the asker hears.
//!
//! ```text
//!                    ┌──────────── 2xx ─────────────┐
//!   Searching ──6xx──▶ Declined ──── 2xx ───────────▶ Answered ─ all branches ended ─▶ Over
//!       │                │ all branches ended             ▲
//!       ├─ CANCEL, C ──▶ Cancelled ───────── 2xx ─────────┘
//!       │                │ all branches ended
//!       └────────────────┴── the best final, or one of our own ─▶ Over
//! ```
//!
//! A machine of its own: it knows no message, no hop and no clock. Targets and responses are whatever its user says; each
//! input gives a list of [`Action`]s, to be done in their order.

use crate::limits::BRANCHES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Branches are out, or groups of targets wait.
    Searching,
    /// The caller gave up, or it rang too long: no new branch, and those that are out are to end.
    Cancelled(Cause),
    /// A 6xx came (§16.7 step 5): as Cancelled, but the 6xx is the answer.
    Declined,
    /// A 2xx was passed on. More of them, from any branch, pass too.
    Answered,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Caller,
    TimerC,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BranchPhase {
    /// No final response yet.
    Open,
    /// It gave a 2xx to an INVITE and may repeat it.
    Accepted,
    Ended,
}

/// Names a branch within its context, in the order of their trying.
pub type BranchNumber = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<T, R> {
    /// Send the request there; [`ResponseContext::on_lost`] if it cannot be.
    Try { branch: BranchNumber, target: T },
    /// CANCEL it (§9.1), with this Reason (RFC 3326).
    Cancel { branch: BranchNumber, reason: Option<String> },
    /// Pass this response to the asker at once.
    Pass { branch: BranchNumber, status: u16, response: R },
    /// Set timer C anew, or stop it (§16.7 step 2, §16.8).
    TimerC { runs: bool },
    /// The final answer to the asker.
    Finish(Final<R>),
    /// Nothing more can come: forget the context.
    Forget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Final<R> {
    /// The response of a branch. `others`: the 401 and 407 of other branches, whose challenges are added to it (§16.7
    /// step 7).
    Best { branch: BranchNumber, status: u16, response: R, others: Vec<R> },
    /// No branch gave one that the asker should see.
    Own(u16),
}

/// What kind of request it is; the rules differ a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub is_invite: bool,
    pub in_dialog: bool,
}

struct Best<R> {
    branch: BranchNumber,
    status: u16,
    response: R,
}

pub struct ResponseContext<T, R> {
    kind: Kind,
    phase: Phase,
    /// Targets not yet tried with their `q`, the next ones last.
    waiting: Vec<(u16, T)>,
    branches: Vec<BranchPhase>,
    best: Option<Best<R>>,
    /// Challenges that are not the best response.
    challenges: Vec<R>,
    /// How the last branch that gave no answer ended: 408 (silence) or 503 (its way broke).
    lost: Option<u16>,
}

type Actions<T, R> = Vec<Action<T, R>>;

impl<T, R> ResponseContext<T, R> {
    /// `targets` with their `q`: equal ones fork together, lower ones follow (§16.6).
    pub fn new(kind: Kind, mut targets: Vec<(u16, T)>) -> ResponseContext<T, R> {
        targets.sort_by_key(|(q, _)| *q);
        let excess = targets.len().saturating_sub(BRANCHES_MAX);
        targets.drain(..excess);
        ResponseContext {
            kind,
            phase: Phase::Searching,
            waiting: targets,
            branches: Vec::new(),
            best: None,
            challenges: Vec::new(),
            lost: None,
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn start(&mut self) -> Actions<T, R> {
        self.settle()
    }

    /// Are answers still wanted: nobody has cancelled, nobody has answered?
    pub fn is_searching(&self) -> bool {
        self.phase == Phase::Searching
    }

    /// Does nobody wait to be tried after those that are out?
    pub fn is_last_group(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered | Phase::Over)
    }

    /// A 1xx. §16.7 step 5: all but 100 go to the asker at once.
    pub fn on_provisional(&mut self, branch: BranchNumber, status: u16, response: R) -> Actions<T, R> {
        match self.phase {
            Phase::Searching if status > 100 => {
                let timer = self.kind.is_invite.then_some(Action::TimerC { runs: true });
                timer.into_iter().chain([Action::Pass { branch, status, response }]).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A 2xx: passed at once, each repetition and each further branch's too (§16.7 step 5); the other branches are to end
    /// (step 10).
    pub fn on_success(&mut self, branch: BranchNumber, status: u16, response: R) -> Actions<T, R> {
        let is_invite = self.kind.is_invite;
        self.set(branch, if is_invite { BranchPhase::Accepted } else { BranchPhase::Ended });
        let pass = Action::Pass { branch, status, response };
        if self.phase == Phase::Answered {
            return vec![pass];
        }
        let was_cancelled = self.phase != Phase::Searching;
        self.phase = Phase::Answered;
        self.waiting.clear();
        let mut actions = vec![Action::TimerC { runs: false }, pass];
        if !is_invite {
            self.phase = Phase::Over;
            actions.push(Action::Forget);
        } else if !was_cancelled {
            self.cancel_open(Some("SIP;cause=200;text=\"Call completed elsewhere\""), &mut actions);
        }
        actions
    }

    /// A final other than 2xx.
    pub fn on_failure(&mut self, branch: BranchNumber, status: u16, response: R) -> Actions<T, R> {
        self.set(branch, BranchPhase::Ended);
        let mut actions = Vec::new();
        if self.phase == Phase::Searching && status >= 600 {
            self.phase = Phase::Declined;
            self.waiting.clear();
            self.cancel_open(Some("SIP;cause=600"), &mut actions);
        }
        self.consider(branch, status, response);
        actions.extend(self.settle());
        actions
    }

    /// No final response will come on this branch: `status` is 408 (silence) or 503 (it broke, or could not be sent).
    pub fn on_lost(&mut self, branch: BranchNumber, status: u16) -> Actions<T, R> {
        if self.branches.get(branch) == Some(&BranchPhase::Open) {
            self.set(branch, BranchPhase::Ended);
            if matches!(self.phase, Phase::Searching | Phase::Declined) {
                self.lost = Some(status);
            }
        }
        self.settle()
    }

    /// The transaction of this branch is over: no repeated 2xx will come.
    pub fn on_ended(&mut self, branch: BranchNumber) -> Actions<T, R> {
        self.set(branch, BranchPhase::Ended);
        self.settle()
    }

    /// The caller cancelled (§16.10).
    pub fn on_cancel(&mut self, reason: Option<&str>) -> Actions<T, R> {
        if !self.kind.is_invite || self.phase != Phase::Searching {
            return Vec::new();
        }
        self.give_up(Cause::Caller, Some(reason.unwrap_or("SIP;cause=487")))
    }

    /// §16.8: it rang too long.
    pub fn on_timer_c(&mut self) -> Actions<T, R> {
        if self.phase != Phase::Searching {
            return Vec::new();
        }
        self.give_up(Cause::TimerC, None)
    }

    fn give_up(&mut self, cause: Cause, reason: Option<&str>) -> Actions<T, R> {
        self.phase = Phase::Cancelled(cause);
        self.waiting.clear();
        let mut actions = vec![Action::TimerC { runs: false }];
        self.cancel_open(reason, &mut actions);
        actions.extend(self.settle());
        actions
    }

    fn cancel_open(&self, reason: Option<&str>, actions: &mut Actions<T, R>) {
        let open = self.branches.iter().enumerate().filter(|(_, phase)| **phase == BranchPhase::Open);
        actions.extend(open.map(|(branch, _)| Action::Cancel { branch, reason: reason.map(str::to_owned) }));
    }

    fn set(&mut self, branch: BranchNumber, phase: BranchPhase) {
        let slot = self.branches.get_mut(branch).expect("a branch is named after it was tried");
        *slot = phase;
    }

    /// Where all branches of a group have ended: the next group, or the end.
    fn settle(&mut self) -> Actions<T, R> {
        let is_out = |phase: &BranchPhase| *phase != BranchPhase::Ended;
        if self.phase == Phase::Over || self.branches.iter().any(is_out) {
            return Vec::new();
        }
        if self.phase == Phase::Searching && !self.waiting.is_empty() {
            return self.next_group();
        }
        let mut actions = Vec::new();
        if self.phase != Phase::Answered {
            actions.push(Action::TimerC { runs: false });
            actions.push(Action::Finish(self.verdict()));
        }
        self.phase = Phase::Over;
        actions.push(Action::Forget);
        actions
    }

    fn next_group(&mut self) -> Actions<T, R> {
        let mut actions = Vec::new();
        if self.kind.is_invite {
            actions.push(Action::TimerC { runs: true });
        }
        let q = self.waiting.last().map(|(q, _)| *q);
        let at = self.waiting.iter().position(|(other, _)| Some(*other) == q).unwrap_or_default();
        for (_, target) in self.waiting.split_off(at) {
            let branch = self.branches.len();
            self.branches.push(BranchPhase::Open);
            actions.push(Action::Try { branch, target });
        }
        actions
    }

    /// §16.7 step 6. A challenge that is not chosen is kept for step 7.
    fn consider(&mut self, branch: BranchNumber, status: u16, response: R) {
        let new = Best { branch, status, response };
        let better = self.best.as_ref().is_none_or(|best| rank(status) < rank(best.status));
        let loser = if better { self.best.replace(new) } else { Some(new) };
        if let Some(loser) = loser.filter(|loser| is_challenge(loser.status)) {
            self.challenges.push(loser.response);
        }
    }

    /// What the asker gets. 503 of one branch is no reason to avoid us (§16.7 step 6); in a dialog a broken way is 500, for
    /// 480 and 481 would end the call (RFC 5057 §5.1).
    fn verdict(&mut self) -> Final<R> {
        match self.phase {
            Phase::Cancelled(Cause::TimerC) => return Final::Own(408),
            Phase::Cancelled(Cause::Caller) => return Final::Own(487),
            _ => {}
        }
        match (self.best.take(), self.lost) {
            (Some(Best { status: 503, .. }), _) => Final::Own(500),
            (Some(Best { branch, status, response }), _) => {
                let others = std::mem::take(&mut self.challenges);
                let others = if is_challenge(status) { others } else { Vec::new() };
                Final::Best { branch, status, response, others }
            }
            (None, Some(408)) => Final::Own(408),
            (None, Some(_)) if self.kind.in_dialog => Final::Own(500),
            (None, _) => Final::Own(480),
        }
    }
}

fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 407)
}

/// §16.7 step 6: 6xx first, then the lowest class; a challenge or a hint at how to do better wins within 4xx.
fn rank(status: u16) -> u16 {
    match status {
        600.. => 0,
        // From a branch it means that the other one has it.
        482 => 590,
        // These say least.
        408 | 487 => 499,
        401 | 407 | 415 | 420 | 484 => 400,
        503 => 599,
        status => status + 1,
    }
}

#[cfg(test)]
#[path = "response_context_tests.rs"]
mod tests;
