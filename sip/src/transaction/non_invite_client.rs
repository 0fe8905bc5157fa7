//! Non-INVITE client transaction (§17.1.2).
//!
//! ```text
//!  Trying --1xx--> Proceeding --final--> Completed --K--> (done)
//!     |--F--> timed out <--F--'
//! ```

use super::{Client, GIVE_UP, T1, T2, T4};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Trying and Proceeding differ only in how fast timer E runs.
    Waiting {
        proceeding: bool,
        timer_e: Option<Instant>,
        interval: Duration,
        timer_f: Instant,
    },
    Completed {
        timer_k: Instant,
    },
}

#[derive(Clone, Debug)]
pub struct NonInviteClient {
    state: State,
    reliable: bool,
}

impl NonInviteClient {
    pub fn new(now: Instant, reliable: bool) -> NonInviteClient {
        let timer_e = (!reliable).then(|| now + T1);
        let state = State::Waiting { proceeding: false, timer_e, interval: T1, timer_f: now + GIVE_UP };
        NonInviteClient { state, reliable }
    }

    pub fn on_response(&mut self, now: Instant, status: u16) -> Client {
        match (&mut self.state, status) {
            (State::Waiting { proceeding, .. }, ..=199) => {
                *proceeding = true;
                Client::Pass
            }
            (State::Waiting { .. }, _) => {
                self.state = State::Completed { timer_k: if self.reliable { now } else { now + T4 } };
                Client::Pass
            }
            (State::Completed { .. }, _) => Client::Nothing,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { timer_e, timer_f, .. } => Some(timer_e.map_or(timer_f, |e| e.min(timer_f))),
            State::Completed { timer_k } => Some(timer_k),
        }
    }

    pub fn on_deadline(&mut self, now: Instant) -> Client {
        match &mut self.state {
            State::Waiting { timer_f, .. } if now >= *timer_f => Client::TimedOut,
            State::Waiting { timer_e: Some(e), interval, proceeding, .. } if now >= *e => {
                *interval = if *proceeding { T2 } else { (*interval * 2).min(T2) };
                *e = now + *interval;
                Client::Resend
            }
            State::Completed { timer_k } if now >= *timer_k => Client::Done,
            _ => Client::Nothing,
        }
    }
}
