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
    begun: Instant,
}

impl NonInviteClient {
    /// `give_up`: [`GIVE_UP`], or sooner while nothing at all was heard.
    pub fn new(now: Instant, reliable: bool, give_up: Duration) -> NonInviteClient {
        let timer_e = (!reliable).then(|| now + T1);
        let state = State::Waiting { proceeding: false, timer_e, interval: T1, timer_f: now + give_up };
        NonInviteClient { state, reliable, begun: now }
    }

    pub fn on_response(&mut self, now: Instant, status: u16) -> Client {
        match (&mut self.state, status) {
            (State::Waiting { proceeding, timer_f, .. }, ..=199) => {
                *proceeding = true;
                *timer_f = self.begun + GIVE_UP;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_say_a_word_soon_and_does_not_is_given_up_soon() {
        let (now, soon) = (Instant::now(), Duration::from_secs(2));
        let mut silent = NonInviteClient::new(now, false, soon);
        assert_eq!(silent.on_deadline(now + soon), Client::TimedOut);
        let mut busy = NonInviteClient::new(now, false, soon);
        assert_eq!(busy.on_response(now, 100), Client::Pass);
        assert_eq!(busy.on_deadline(now + soon), Client::Resend);
        assert_eq!(busy.on_deadline(now + GIVE_UP), Client::TimedOut);
    }

    enum Step {
        Hear(u16),
        Wait(u64),
    }
    use Step::{Hear, Wait};

    #[test]
    fn section_17_1_2() {
        let rows: &[(&str, bool, &[Step], Client)] = &[
            ("timer E fires at T1", false, &[Wait(500)], Client::Resend),
            ("timer E doubles", false, &[Wait(500), Wait(1_000)], Client::Resend),
            (
                "timer E is capped at T2",
                false,
                &[Wait(500), Wait(1_000), Wait(2_000), Wait(4_000), Wait(4_000)],
                Client::Resend,
            ),
            ("in Proceeding timer E is T2", false, &[Hear(100), Wait(500), Wait(3_999)], Client::Nothing),
            ("timer E is not set over TCP", true, &[Wait(500)], Client::Nothing),
            ("timer F", true, &[Wait(32_000)], Client::TimedOut),
            ("timer F in Proceeding", false, &[Hear(100), Wait(32_000)], Client::TimedOut),
            ("a provisional passes", false, &[Hear(100)], Client::Pass),
            ("a final passes", false, &[Hear(404)], Client::Pass),
            ("a repeated final is absorbed", false, &[Hear(200), Hear(200)], Client::Nothing),
            ("timer K: T4", false, &[Hear(200), Wait(5_000)], Client::Done),
            ("timer K is zero over TCP", true, &[Hear(200), Wait(0)], Client::Done),
        ];
        for (why, reliable, steps, expected) in rows {
            let mut now = Instant::now();
            let mut machine = NonInviteClient::new(now, *reliable, GIVE_UP);
            let mut verdict = Client::Nothing;
            for step in *steps {
                verdict = match step {
                    Hear(status) => machine.on_response(now, *status),
                    Wait(ms) => {
                        now += Duration::from_millis(*ms);
                        machine.on_deadline(now)
                    }
                };
            }
            assert_eq!(verdict, *expected, "{why}");
        }
    }
}
