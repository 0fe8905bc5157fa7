//! INVITE server transaction (§17.2.1, RFC 6026 §7.1).
//!
//! ```text
//!  Proceeding --2xx--> Accepted --L--> (done)
//!   `--^ |--300-699--> Completed --ACK--> Confirmed --I--> (done)
//!   its time: 100          `--H--> (done)
//! ```
//!
//! A call whose callee rings or is refused soon has no 100: between two peers that is a message of seven less, and nobody has
//! repeated its INVITE by then (T1 is 500 ms).

use super::{GIVE_UP, Server, T1, T2, T4};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `trying`: when 100 is due, where nothing has been answered.
    Proceeding {
        trying: Option<Instant>,
    },
    Accepted {
        timer_l: Instant,
    },
    Completed {
        timer_g: Option<Instant>,
        interval: std::time::Duration,
        timer_h: Instant,
    },
    Confirmed {
        timer_i: Instant,
    },
}

#[derive(Clone, Debug)]
pub struct InviteServer {
    state: State,
    reliable: bool,
}

impl InviteServer {
    /// `trying`: §17.2.1: when 100 is due, unless another answer comes before.
    pub fn new(trying: Instant, reliable: bool) -> InviteServer {
        InviteServer { state: State::Proceeding { trying: Some(trying) }, reliable }
    }

    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// RFC 6026 §7.1: an ACK that comes now is the 2xx's, and passes.
    pub fn is_accepted(&self) -> bool {
        matches!(self.state, State::Accepted { .. })
    }

    /// The INVITE came again. After a 2xx it is absorbed: the callee repeats its 2xx itself.
    pub fn on_retransmission(&self) -> Server {
        match self.state {
            State::Proceeding { trying: Some(_) } => Server::Trying,
            State::Proceeding { trying: None } | State::Completed { .. } => Server::Resend,
            State::Accepted { .. } | State::Confirmed { .. } => Server::Nothing,
        }
    }

    /// We answer with `status`.
    pub fn on_send(&mut self, now: Instant, status: u16) {
        match (self.state, status) {
            (State::Proceeding { .. }, ..=199) => self.state = State::Proceeding { trying: None },
            (State::Proceeding { .. }, 200..=299) => self.state = State::Accepted { timer_l: now + GIVE_UP },
            (State::Proceeding { .. }, 300..) => {
                let timer_g = (!self.reliable).then(|| now + T1);
                self.state = State::Completed { timer_g, interval: T1, timer_h: now + GIVE_UP };
            }
            _ => {}
        }
    }

    /// An ACK that belongs to this transaction.
    pub fn on_ack(&mut self, now: Instant) -> Server {
        match self.state {
            State::Completed { .. } if self.reliable => Server::Done,
            State::Completed { .. } => {
                self.state = State::Confirmed { timer_i: now + T4 };
                Server::Nothing
            }
            _ => Server::Nothing,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Proceeding { trying } => trying,
            State::Accepted { timer_l } => Some(timer_l),
            State::Completed { timer_g, timer_h, .. } => Some(timer_g.map_or(timer_h, |g| g.min(timer_h))),
            State::Confirmed { timer_i } => Some(timer_i),
        }
    }

    pub fn on_deadline(&mut self, now: Instant) -> Server {
        match &mut self.state {
            State::Proceeding { trying: Some(at) } if now >= *at => Server::Trying,
            State::Proceeding { .. } => Server::Nothing,
            State::Accepted { timer_l: end } | State::Confirmed { timer_i: end } => {
                if now >= *end {
                    Server::Done
                } else {
                    Server::Nothing
                }
            }
            State::Completed { timer_h, .. } if now >= *timer_h => Server::Done,
            State::Completed { timer_g: Some(g), interval, .. } if now >= *g => {
                *interval = (*interval * 2).min(T2);
                *g = now + *interval;
                Server::Resend
            }
            State::Completed { .. } => Server::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    enum Step {
        Send(u16),
        Again,
        Ack,
        Wait(u64),
    }
    use Step::{Ack, Again, Send, Wait};

    #[test]
    fn section_17_2_1() {
        let rows: &[(&str, bool, &[Step], Server)] = &[
            ("§17.2.1: 100 after 200 ms", false, &[Wait(200)], Server::Trying),
            ("and not before", false, &[Wait(199)], Server::Nothing),
            ("nor where something was answered", true, &[Send(180), Wait(200)], Server::Nothing),
            ("whoever repeats it has not heard", false, &[Again], Server::Trying),
            ("in Proceeding the last provisional is sent again", false, &[Send(100), Again], Server::Resend),
            (
                "RFC 6026 §7.1: after a 2xx the INVITE is absorbed",
                false,
                &[Send(200), Again],
                Server::Nothing,
            ),
            ("RFC 6026 §7.1: timer L ends Accepted", false, &[Send(200), Wait(32_000)], Server::Done),
            ("in Completed the final is sent again", false, &[Send(486), Again], Server::Resend),
            ("timer G fires at T1", false, &[Send(486), Wait(500)], Server::Resend),
            ("timer G doubles", false, &[Send(486), Wait(500), Wait(999)], Server::Nothing),
            ("timer G is not set over TCP", true, &[Send(486), Wait(500)], Server::Nothing),
            ("timer H: no ACK came", false, &[Send(486), Wait(32_000)], Server::Done),
            ("an ACK in Completed: Confirmed, quiet", false, &[Send(486), Ack, Again], Server::Nothing),
            ("timer I: T4 over UDP", false, &[Send(486), Ack, Wait(4_999)], Server::Nothing),
            ("timer I ends it", false, &[Send(486), Ack, Wait(5_000)], Server::Done),
            ("timer I is zero over TCP", true, &[Send(486), Ack], Server::Done),
            ("an ACK in Proceeding says nothing", false, &[Ack], Server::Nothing),
        ];
        for (why, reliable, steps, expected) in rows {
            let mut now = Instant::now();
            let mut machine = InviteServer::new(now + Duration::from_millis(200), *reliable);
            let mut verdict = Server::Nothing;
            for step in *steps {
                verdict = match step {
                    Send(status) => {
                        machine.on_send(now, *status);
                        Server::Nothing
                    }
                    Again => machine.on_retransmission(),
                    Ack => machine.on_ack(now),
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
