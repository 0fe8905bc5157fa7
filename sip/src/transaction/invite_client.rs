//! INVITE client transaction (§17.1.1, RFC 6026 §7.2). Timer C is the proxy's (§16.8).
//!
//! ```text
//!  Calling --1xx--> Proceeding --2xx--> Accepted --M--> (done)
//!     |  `--B--> timed out  `--300-699--> Completed --D--> (done)
//! ```

use super::{Client, GIVE_UP, T1, TIMER_D};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling { timer_a: Option<Instant>, interval: Duration, timer_b: Instant },
    Proceeding,
    Accepted { timer_m: Instant },
    Completed { timer_d: Instant },
}

#[derive(Clone, Debug)]
pub struct InviteClient {
    state: State,
    reliable: bool,
}

impl InviteClient {
    pub fn new(now: Instant, reliable: bool) -> InviteClient {
        let timer_a = (!reliable).then(|| now + T1);
        InviteClient { state: State::Calling { timer_a, interval: T1, timer_b: now + GIVE_UP }, reliable }
    }

    /// §9.1: a CANCEL waits for a provisional response.
    pub fn may_cancel(&self) -> bool {
        self.state == State::Proceeding
    }

    pub fn on_response(&mut self, now: Instant, status: u16) -> Client {
        match (self.state, status) {
            (State::Calling { .. }, ..=199) => {
                self.state = State::Proceeding;
                Client::Pass
            }
            (State::Proceeding, ..=199) => Client::Pass,
            (State::Calling { .. } | State::Proceeding, 200..=299) => {
                self.state = State::Accepted { timer_m: now + GIVE_UP };
                Client::Pass
            }
            (State::Calling { .. } | State::Proceeding, _) => {
                let timer_d = if self.reliable { now } else { now + TIMER_D };
                self.state = State::Completed { timer_d };
                Client::PassAndAck
            }
            (State::Accepted { .. }, 200..=299) => Client::Pass,
            (State::Completed { .. }, 300..) => Client::Ack,
            _ => Client::Nothing,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Calling { timer_a, timer_b, .. } => Some(timer_a.map_or(timer_b, |a| a.min(timer_b))),
            State::Proceeding => None,
            State::Accepted { timer_m: end } | State::Completed { timer_d: end } => Some(end),
        }
    }

    pub fn on_deadline(&mut self, now: Instant) -> Client {
        match &mut self.state {
            State::Calling { timer_b, .. } if now >= *timer_b => Client::TimedOut,
            State::Calling { timer_a: Some(a), interval, .. } if now >= *a => {
                *interval *= 2;
                *a = now + *interval;
                Client::Resend
            }
            State::Accepted { timer_m: end } | State::Completed { timer_d: end } if now >= *end => {
                Client::Done
            }
            _ => Client::Nothing,
        }
    }
}
