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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn section_17_2_2() {
        let now = Instant::now();
        // Why; reliable; statuses sent; what a repetition of the request gets; what 32 s later brings.
        let rows: &[(&str, bool, &[u16], Server, Server)] = &[
            ("in Trying a repetition is discarded", false, &[], Server::Nothing, Server::Nothing),
            ("in Proceeding the last provisional again", false, &[100], Server::Resend, Server::Nothing),
            ("in Completed the final again; timer J", false, &[200], Server::Resend, Server::Done),
            ("a final after a provisional", false, &[100, 404], Server::Resend, Server::Done),
            ("only the first final counts", false, &[404, 200], Server::Resend, Server::Done),
        ];
        for (why, reliable, sent, again, later) in rows {
            let mut machine = NonInviteServer::new(*reliable);
            sent.iter().for_each(|status| machine.on_send(now, *status));
            assert_eq!(machine.on_retransmission(), *again, "{why}");
            assert_eq!(machine.on_deadline(now + Duration::from_secs(32)), *later, "{why}");
        }
        let mut machine = NonInviteServer::new(true);
        machine.on_send(now, 200);
        assert_eq!(machine.on_deadline(now), Server::Done, "timer J is zero over TCP");
    }
}
