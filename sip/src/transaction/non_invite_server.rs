//! Non-INVITE server transaction (§17.2.2).
//!
//! ```text
//!  Trying --1xx--> Proceeding --final--> Completed --J--> (done)
//!     `------------final-----------------^
//! ```

use super::{GIVE_UP, Server};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed { timer_j: Instant },
}

#[derive(Clone, Debug)]
pub struct NonInviteServer {
    state: State,
    reliable: bool,
}

impl NonInviteServer {
    pub fn new(reliable: bool) -> NonInviteServer {
        NonInviteServer { state: State::Trying, reliable }
    }

    pub fn is_completed(&self) -> bool {
        matches!(self.state, State::Completed { .. })
    }

    pub fn on_retransmission(&self) -> Server {
        if self.state == State::Trying { Server::Nothing } else { Server::Resend }
    }

    pub fn on_send(&mut self, now: Instant, status: u16) {
        self.state = match (self.state, status) {
            (State::Completed { timer_j }, _) => State::Completed { timer_j },
            (_, ..=199) => State::Proceeding,
            // Timer J is zero on a reliable transport: the next look at the clock ends it.
            (_, _) => State::Completed { timer_j: if self.reliable { now } else { now + GIVE_UP } },
        };
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Completed { timer_j } => Some(timer_j),
            State::Trying | State::Proceeding => None,
        }
    }

    pub fn on_deadline(&mut self, now: Instant) -> Server {
        match self.state {
            State::Completed { timer_j } if now >= timer_j => Server::Done,
            _ => Server::Nothing,
        }
    }
}
