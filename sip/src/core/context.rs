//! The response context of a forwarded request (RFC 3261 §16.7): its branches, the best answer so far, who comes next.

use super::{CallInfo, ClientKey, ServerKey};
use crate::{message::Message, token::Side};

/// Where a request may go. Equal `q` fork together, lower ones follow (§16.6).
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub side: Side,
    pub q: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BranchState {
    /// No provisional response yet; a CANCEL has to wait (§9.1).
    Calling,
    Proceeding,
    Done,
}

pub(super) struct Branch {
    pub key: ClientKey,
    pub side: Side,
    pub state: BranchState,
    /// Cancel as soon as a provisional response allows it.
    pub doomed: bool,
}

pub(super) struct Context {
    pub server: ServerKey,
    pub request: Message,
    pub caller_side: Side,
    /// Targets of later groups, best last.
    pub waiting: Vec<Target>,
    pub branches: Vec<Branch>,
    /// The best final so far: its status and the response, without our Via yet removed.
    pub best: Option<(u16, Message)>,
    pub cancelled: bool,
    /// A 2xx or 6xx has come: no new branch is tried.
    pub decided: bool,
    /// A 2xx was passed on: later finals of other branches say nothing to the asker.
    pub answered: bool,
    /// The last branch that ended without an answer: 408 (silence) or 503 (its way broke).
    pub lost: Option<u16>,
    pub is_invite: bool,
    pub info: CallInfo,
    /// In a dialog: nothing is remembered or told about it as a new call.
    pub in_dialog: bool,
    /// Why we were cancelled, for the branches (RFC 3326).
    pub reason: Option<String>,
}

impl Context {
    /// §16.7 step 6: 6xx first, then the lowest class; a challenge or a hint at how to do better wins within 4xx.
    pub fn consider(&mut self, status: u16, response: Message) {
        let better = self.best.as_ref().is_none_or(|(best, _)| rank(status) < rank(*best));
        if better {
            self.best = Some((status, response));
        }
    }

    pub fn new(server: ServerKey, request: Message, caller_side: Side, info: CallInfo) -> Context {
        let is_invite = request.method() == "INVITE";
        Context {
            server,
            request,
            caller_side,
            waiting: Vec::new(),
            branches: Vec::new(),
            best: None,
            cancelled: false,
            decided: false,
            answered: false,
            lost: None,
            is_invite,
            info,
            in_dialog: false,
            reason: None,
        }
    }

    /// What the asker gets. 503 of one branch is no reason to avoid us (§16.7 step 6); in a dialog a broken way is
    /// 500, for 480 and 481 would end the call (RFC 5057 §5.1).
    pub fn verdict(&self) -> u16 {
        match (&self.best, self.lost) {
            (_, Some(408)) if self.cancelled && self.reason.is_none() => 408,
            _ if self.cancelled => 487,
            (Some((503, _)), _) => 500,
            (Some((status, _)), _) => *status,
            (None, Some(408)) => 408,
            (None, Some(_)) if self.in_dialog => 500,
            (None, _) => 480,
        }
    }

    pub fn all_done(&self) -> bool {
        self.branches.iter().all(|b| b.state == BranchState::Done)
    }

    /// The targets of the next group.
    pub fn next_group(&mut self) -> Vec<Target> {
        let Some(q) = self.waiting.last().map(|t| t.q) else { return Vec::new() };
        let at = self.waiting.iter().position(|t| t.q == q).unwrap_or_default();
        self.waiting.split_off(at)
    }
}

fn rank(status: u16) -> u16 {
    match status {
        600.. => 0,
        // 482 from a branch means that the other one has it (design: a call); 408 and 487 say least.
        482 => 590,
        408 | 487 => 499,
        401 | 407 | 415 | 420 | 484 => 400,
        503 => 599,
        status => status + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn best_response() {
        let order = [603, 302, 407, 404, 486, 487, 500, 482, 503];
        assert!(order.windows(2).all(|w| matches!(w, [a, b] if rank(*a) < rank(*b))));
    }
}
