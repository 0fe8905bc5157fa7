//! INVITE client transaction (§17.1.1, RFC 6026 §7.2). Timer C is the proxy's (§16.8).
//!
//! ```text
//!  Calling --1xx--> Proceeding --2xx--> Accepted --M--> (done)
//!     |  `--B--> timed out  |`--300-699--> Completed --D--> (done)
//!                           `--cancelled, 64*T1--> timed out
//! ```

use super::{Client, GIVE_UP, T1, TIMER_D};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling {
        timer_a: Option<Instant>,
        interval: Duration,
        timer_b: Instant,
    },
    /// `give_up`: a CANCEL has gone, and a final answer is due by then (§9.1).
    Proceeding {
        give_up: Option<Instant>,
    },
    Accepted {
        timer_m: Instant,
    },
    Completed {
        timer_d: Instant,
    },
}

#[derive(Clone, Debug)]
pub struct InviteClient {
    state: State,
    reliable: bool,
}

impl InviteClient {
    /// `timer_b`: how long the first answer of any kind may take; 64*T1 by the RFC, less where the hop is known to be
    /// quick.
    pub fn new(now: Instant, reliable: bool, timer_b: Duration) -> InviteClient {
        let timer_a = (!reliable).then(|| now + T1);
        InviteClient { state: State::Calling { timer_a, interval: T1, timer_b: now + timer_b }, reliable }
    }

    /// §9.1: `true`: the CANCEL goes now, and the INVITE has 64*T1 to end. `false`: it waits for a provisional response,
    /// or comes too late.
    pub fn on_cancel(&mut self, now: Instant) -> bool {
        match self.state {
            State::Proceeding { give_up: None } => {
                self.state = State::Proceeding { give_up: Some(now + GIVE_UP) };
                true
            }
            _ => false,
        }
    }

    /// No response at all has come.
    pub fn is_calling(&self) -> bool {
        matches!(self.state, State::Calling { .. })
    }

    pub fn on_response(&mut self, now: Instant, status: u16) -> Client {
        match (self.state, status) {
            (State::Calling { .. }, ..=199) => {
                self.state = State::Proceeding { give_up: None };
                Client::Pass
            }
            (State::Proceeding { .. }, ..=199) => Client::Pass,
            (State::Calling { .. } | State::Proceeding { .. }, 200..=299) => {
                self.state = State::Accepted { timer_m: now + GIVE_UP };
                Client::Pass
            }
            (State::Calling { .. } | State::Proceeding { .. }, _) => {
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
            State::Proceeding { give_up } => give_up,
            State::Accepted { timer_m: end } | State::Completed { timer_d: end } => Some(end),
        }
    }

    pub fn on_deadline(&mut self, now: Instant) -> Client {
        match &mut self.state {
            State::Calling { timer_b, .. } if now >= *timer_b => Client::TimedOut,
            State::Proceeding { give_up: Some(end) } if now >= *end => Client::TimedOut,
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

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Hear(u16),
        Wait(u64),
        Cancel(bool),
    }
    use Step::{Cancel, Hear, Wait};

    /// Each row: why, what happens, what the machine says to the last step.
    #[test]
    fn section_17_1_1() {
        let rows: &[(&str, bool, &[Step], Client)] = &[
            ("timer A fires at T1 and resends", false, &[Wait(500)], Client::Resend),
            ("timer A doubles: nothing at 1.4 s", false, &[Wait(500), Wait(900)], Client::Nothing),
            ("timer A doubles: again at 1.5 s", false, &[Wait(500), Wait(1000)], Client::Resend),
            ("over a reliable transport timer A is not set", true, &[Wait(500)], Client::Nothing),
            ("timer B: the TU is told of a timeout", false, &[Wait(32_000)], Client::TimedOut),
            ("any 1xx: Proceeding, passed to the TU", false, &[Hear(100)], Client::Pass),
            (
                "in Proceeding the request is not retransmitted",
                false,
                &[Hear(180), Wait(1_000)],
                Client::Nothing,
            ),
            ("Proceeding waits as long as it rings", false, &[Hear(180), Wait(100_000)], Client::Nothing),
            ("2xx: passed", false, &[Hear(100), Hear(200)], Client::Pass),
            ("RFC 6026 §7.2: each repeated 2xx passes", false, &[Hear(200), Hear(200)], Client::Pass),
            ("RFC 6026 §7.2: what is no 2xx does not", false, &[Hear(200), Hear(486)], Client::Nothing),
            ("RFC 6026 §7.2: timer M ends Accepted", true, &[Hear(200), Wait(32_000)], Client::Done),
            ("300-699: passed, and the layer writes the ACK", false, &[Hear(486)], Client::PassAndAck),
            ("a repeated final is only ACKed again", false, &[Hear(486), Hear(486)], Client::Ack),
            ("in Completed a late 1xx is nothing", false, &[Hear(486), Hear(180)], Client::Nothing),
            ("timer D: 32 s over UDP", false, &[Hear(486), Wait(31_999)], Client::Nothing),
            ("timer D ends it", false, &[Hear(486), Wait(32_000)], Client::Done),
            ("timer D is zero over TCP", true, &[Hear(486), Wait(0)], Client::Done),
            ("§9.1: no CANCEL before a provisional", false, &[Cancel(false)], Client::Nothing),
            (
                "§9.1: after it at once, and once",
                false,
                &[Hear(180), Cancel(true), Cancel(false)],
                Client::Nothing,
            ),
            ("§9.1: too late after a final", false, &[Hear(486), Cancel(false)], Client::Nothing),
            (
                "§9.1: 64*T1 after the CANCEL it is over",
                false,
                &[Hear(180), Cancel(true), Wait(32_000)],
                Client::TimedOut,
            ),
            (
                "a 487 in time ends it well",
                false,
                &[Hear(180), Cancel(true), Wait(9_000), Hear(487)],
                Client::PassAndAck,
            ),
        ];
        for (why, reliable, steps, expected) in rows {
            let mut now = Instant::now();
            let mut machine = InviteClient::new(now, *reliable, GIVE_UP);
            let mut verdict = Client::Nothing;
            for step in *steps {
                verdict = match step {
                    Hear(status) => machine.on_response(now, *status),
                    Wait(ms) => {
                        now += Duration::from_millis(*ms);
                        machine.on_deadline(now)
                    }
                    Cancel(goes) => {
                        assert_eq!(machine.on_cancel(now), *goes, "{why}");
                        Client::Nothing
                    }
                };
            }
            assert_eq!(verdict, *expected, "{why}");
        }
    }

    #[test]
    fn a_quick_hop_has_less_time_for_its_first_answer() {
        let now = Instant::now();
        let quick = || InviteClient::new(now, true, Duration::from_secs(2));
        assert_eq!(quick().deadline(), Some(now + Duration::from_secs(2)));
        assert_eq!(quick().on_deadline(now + Duration::from_secs(2)), Client::TimedOut);
        let mut heard = quick();
        heard.on_response(now, 100);
        assert_eq!(heard.deadline(), None);
        assert!(!heard.is_calling());
    }
}
