//! Phones that behave: each refreshes every few seconds and repeats what was not answered, at T1, 2 T1, … up to T2 apart, until 64
//! T1 are over (RFC 3261 §17.1.2.2, timers E and F).

use super::{
    batch::Batch,
    phone::{Heard, Phone},
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMER_F: Duration = T1.saturating_mul(64);
/// Between the starts of two refreshes of one phone.
const PERIOD: Duration = Duration::from_secs(4);

/// One of them.
pub struct Watched {
    next_at: Instant,
    refresh: Option<Refresh>,
}

struct Refresh {
    text: Vec<u8>,
    cseq: u32,
    started: Instant,
    repeat_at: Instant,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshes {
    pub started: u64,
    pub answered: u64,
    /// Refused with something else than a challenge, or silence to the end.
    pub failed: u64,
    pub repeated: u64,
}

impl Watched {
    /// `phase`: 0 to 1, when in its period it begins.
    pub fn new(start: Instant, phase: f64) -> Watched {
        Watched { next_at: start + PERIOD.mul_f64(phase), refresh: None }
    }

    pub fn is_busy(&self) -> bool {
        self.refresh.is_some()
    }

    /// What is due now. `new`: may a refresh begin?
    #[allow(clippy::too_many_arguments)]
    pub fn step(
        &mut self,
        phone: &mut Phone,
        batch: &mut Batch,
        (realm, at): (&str, SocketAddr),
        now: Instant,
        now_ms: u64,
        new: bool,
        counts: &mut Refreshes,
    ) {
        if let Some(refresh) = &mut self.refresh {
            if now >= refresh.started + TIMER_F {
                counts.failed += 1;
                self.refresh = None;
            } else if now >= refresh.repeat_at {
                batch.add().extend_from_slice(&refresh.text);
                refresh.pause = (2 * refresh.pause).min(T2);
                refresh.repeat_at = now + refresh.pause;
                counts.repeated += 1;
            }
        } else if new && now >= self.next_at {
            self.next_at = now + PERIOD;
            counts.started += 1;
            self.ask(phone, batch, (realm, at), now, now_ms);
        }
    }

    fn ask(
        &mut self,
        phone: &mut Phone,
        batch: &mut Batch,
        (realm, at): (&str, SocketAddr),
        now: Instant,
        now_ms: u64,
    ) {
        let mut text = Vec::new();
        phone.register(&mut text, realm, at, now_ms);
        batch.add().extend_from_slice(&text);
        let started = self.refresh.as_ref().map_or(now, |earlier| earlier.started);
        let cseq = phone.cseq();
        self.refresh = Some(Refresh { text, cseq, started, repeat_at: now + T1, pause: T1 });
    }

    /// An answer came. A challenge is answered at once.
    #[allow(clippy::too_many_arguments)]
    pub fn hear(
        &mut self,
        heard: Heard,
        cseq: u32,
        phone: &mut Phone,
        batch: &mut Batch,
        place: (&str, SocketAddr),
        now: Instant,
        now_ms: u64,
        counts: &mut Refreshes,
    ) {
        // What was repeated is answered more than once.
        if self.refresh.as_ref().is_none_or(|refresh| refresh.cseq != cseq) {
            return;
        }
        match heard {
            Heard::Registered => {
                counts.answered += 1;
                self.refresh = None;
            }
            Heard::Challenged => self.ask(phone, batch, place, now, now_ms),
            Heard::Refused(_) => {
                counts.failed += 1;
                self.refresh = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_repeats_and_gives_up() {
        let (start, place) = (Instant::now(), ("a.test", "127.0.0.1:5062".parse().unwrap()));
        let (mut watched, mut phone, mut counts) =
            (Watched::new(start, 0.0), Phone::new(0), Refreshes::default());
        let mut sent = Vec::new();
        for ms in (0..40_000).step_by(100) {
            let mut batch = Batch::default();
            let now = start + Duration::from_millis(ms);
            watched.step(&mut phone, &mut batch, place, now, ms, ms < 1_000, &mut counts);
            if !batch.is_empty() {
                sent.push(ms);
            }
        }
        assert_eq!(sent[..5], [0, 500, 1_500, 3_500, 7_500]);
        assert_eq!(sent[5..], [11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!(counts, Refreshes { started: 1, answered: 0, failed: 1, repeated: 10 });
    }

    #[test]
    fn it_answers_a_challenge_and_is_done_once() {
        let (now, place) = (Instant::now(), ("a.test", "127.0.0.1:5062".parse().unwrap()));
        let (mut watched, mut phone) = (Watched::new(now, 0.0), Phone::new(0));
        let (mut counts, mut batch) = (Refreshes::default(), Batch::default());
        watched.step(&mut phone, &mut batch, place, now, 0, true, &mut counts);
        for (heard, cseq, is_busy) in [
            (Heard::Challenged, 1, true),
            // A late answer to the first.
            (Heard::Refused(500), 1, true),
            (Heard::Registered, 2, false),
            (Heard::Registered, 2, false),
        ] {
            watched.hear(heard, cseq, &mut phone, &mut batch, place, now, 0, &mut counts);
            assert_eq!(watched.is_busy(), is_busy, "{heard:?}");
        }
        assert_eq!(counts, Refreshes { started: 1, answered: 1, failed: 0, repeated: 0 });
    }
}
