//! The serving peer looks after its own phones: one that vanished is not called verified until somebody happens to ask.
//!
//! ```text
//!            silence (a ping, a call, a connection that closed)     a second one
//!   there ─────────────────────────────────────────────▶ doubted ──────────────▶ silent, and said so
//!     ▲                                                     │                       │
//!     └──────────────── a ping is answered, or a REGISTER comes ────────────────────┘ said too
//! ```
//!
//! Each phone is pinged once a minute. Answers are not written down, only what changes: idle phones cost no line of log. A
//! phone that never answered a ping is no silent one for that; a call that it lets run out without a word is a silence.
//!
//! Pings are spread over the minute, and bounded: 20,000 phones are 333 a second, some 250 kB/s to the phones and back.

use super::Row;
use crate::records::Life;
use dots_wire::{Allowance, Now, Timers, TokenBucket};
use rand::Rng;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// LOG-25: a phone is looked at so often: a little less than a minute apart, so that no two keep in step.
const EVERY: Duration = Duration::from_secs(60);
/// One that never answered: its silence says nothing.
const SELDOM: Duration = Duration::from_secs(600);
/// After a silence.
const SOON: Duration = Duration::from_secs(5);
/// Silences that make a phone a silent one.
const SILENCES: u8 = 2;
/// After we said that it is silent we do not say so again within this: a connection that comes and goes writes two lines a minute.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Pings begun in a second.
const PINGS: Allowance = Allowance::new(500.0, 50.0);

struct Doubt {
    silences: u8,
    /// Others were told that it is silent.
    is_said: bool,
    said_at: Option<Instant>,
    /// Of the last call that it let run out: two at once are one silence, for one packet that was too long is no absence.
    unanswered_at: Option<Instant>,
}

#[derive(Default)]
pub struct Watch {
    /// Of each phone that we serve, by its row in the directory.
    due: Timers<Row>,
    /// Those that were silent lately.
    doubted: BTreeMap<Row, Doubt>,
    purse: TokenBucket,
    not_before: Option<Instant>,
}

impl Watch {
    /// A phone of ours is bound in our log. One that is known keeps its turn.
    pub fn on_bound(&mut self, now: Now, row: Row, rng: &mut impl Rng) {
        if self.due.deadline(&row).is_none() {
            self.schedule(now, row, EVERY.mul_f64(0.25 + 0.75 * rng.random::<f64>()));
        }
    }

    fn schedule(&mut self, now: Now, row: Row, after: Duration) {
        self.due.set(row, now.mono + after);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.poll_timeout()?;
        Some(self.not_before.map_or(due, |at| at.max(due)))
    }

    /// The next phone to look at now. `is_there`: is it still bound?
    pub fn next(&mut self, now: Now, is_there: impl Fn(Row) -> bool) -> Option<Row> {
        if self.not_before.is_some_and(|at| at > now.mono) {
            return None;
        }
        self.not_before = None;
        while self.due.poll_timeout().is_some_and(|at| at <= now.mono) {
            if !self.purse.take(now.mono, PINGS, 1.0) {
                let wait = self.purse.wait(now.mono, PINGS, 1.0).max(Duration::from_millis(1));
                self.not_before = Some(now.mono + wait);
                return None;
            }
            let row = self.due.expired(now.mono)?;
            if is_there(row) {
                // If no answer to this comes at all, it is looked at again.
                self.schedule(now, row, EVERY);
                return Some(row);
            }
            self.doubted.remove(&row);
        }
        None
    }

    /// What came of a ping, whoever asked for it. Gives back what others have to be told.
    pub fn on_life(&mut self, now: Now, row: Row, life: Life, rng: &mut impl Rng) -> Option<Life> {
        match life {
            Life::Alive => {
                self.schedule(now, row, EVERY.mul_f64(0.9 + 0.1 * rng.random::<f64>()));
                self.on_sign(now, row)
            }
            Life::Silent => self.on_silence(now, row, SOON),
            // It never answered; calls will tell.
            Life::Unpingable => {
                self.schedule(now, row, SELDOM);
                None
            }
            Life::Gone => None,
        }
    }

    /// A call to it ran out without a word, or its connection closed: it is looked at at once.
    pub fn on_unanswered(&mut self, now: Now, row: Row) -> Option<Life> {
        let doubt = self.doubt(row);
        let lately = |at: Instant| now.mono.saturating_duration_since(at) < SOON;
        if doubt.unanswered_at.is_some_and(lately) {
            return None;
        }
        doubt.unanswered_at = Some(now.mono);
        self.on_silence(now, row, Duration::ZERO)
    }

    /// Nothing can be sent to it.
    pub fn on_unreachable(&mut self, now: Now, row: Row) -> Option<Life> {
        self.on_silence(now, row, EVERY);
        self.on_silence(now, row, EVERY)
    }

    /// It has registered: it is there.
    pub fn on_registered(&mut self, now: Now, row: Row) -> Option<Life> {
        self.on_sign(now, row)
    }

    /// Is there any phone that was silent lately?
    pub fn is_calm(&self) -> bool {
        self.doubted.is_empty()
    }

    fn doubt(&mut self, row: Row) -> &mut Doubt {
        let fresh = Doubt { silences: 0, is_said: false, said_at: None, unanswered_at: None };
        self.doubted.entry(row).or_insert(fresh)
    }

    fn on_silence(&mut self, now: Now, row: Row, again: Duration) -> Option<Life> {
        let doubt = self.doubt(row);
        doubt.silences = doubt.silences.saturating_add(1);
        let is_first = doubt.silences < SILENCES;
        let may_say = doubt.said_at.is_none_or(|at| now.mono.saturating_duration_since(at) >= SAY_AGAIN);
        let says = !is_first && !doubt.is_said && may_say;
        if says {
            (doubt.is_said, doubt.said_at) = (true, Some(now.mono));
        }
        self.schedule(now, row, if is_first { again } else { EVERY });
        says.then_some(Life::Silent)
    }

    fn on_sign(&mut self, now: Now, row: Row) -> Option<Life> {
        let doubt = self.doubted.get_mut(&row)?;
        let was_said = std::mem::take(&mut doubt.is_said);
        doubt.silences = 0;
        // When it was said last is remembered for as long as that counts.
        if doubt.said_at.is_none_or(|at| now.mono.saturating_duration_since(at) >= SAY_AGAIN) {
            self.doubted.remove(&row);
        }
        was_said.then_some(Life::Alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::Timestamp;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    struct World {
        now: Now,
        watch: Watch,
        rng: ChaCha20Rng,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ping(Life),
        Unanswered,
        Unreachable,
        Registers,
        Wait(u64),
    }
    use Step::*;

    impl World {
        fn new() -> World {
            let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
            World { now, watch: Watch::default(), rng: ChaCha20Rng::seed_from_u64(1) }
        }

        fn does(&mut self, step: Step) -> Option<Life> {
            match step {
                Ping(life) => self.watch.on_life(self.now, 1, life, &mut self.rng),
                Unanswered => self.watch.on_unanswered(self.now, 1),
                Unreachable => self.watch.on_unreachable(self.now, 1),
                Registers => self.watch.on_registered(self.now, 1),
                Wait(seconds) => {
                    self.now.mono += Duration::from_secs(seconds);
                    None
                }
            }
        }
    }

    /// LOG-25: (why, what happens, what is said to the last step)
    #[test]
    fn two_silences_make_a_phone_silent_and_only_changes_are_said() {
        let (alive, silent) = (Ping(Life::Alive), Ping(Life::Silent));
        for (why, steps, said) in [
            ("it answers", &[alive, alive][..], None),
            ("one silence", &[silent], None),
            ("two", &[silent, silent], Some(Life::Silent)),
            ("a third is no news", &[silent, silent, silent], None),
            ("not in a row", &[silent, alive, silent], None),
            ("a call without an answer counts", &[silent, Unanswered], Some(Life::Silent)),
            ("two calls at once", &[Unanswered, Unanswered], None),
            (
                "two calls, and it never answered a ping",
                &[Unanswered, Wait(5), Unanswered],
                Some(Life::Silent),
            ),
            ("pings that it never answered", &[Ping(Life::Unpingable); 5], None),
            ("its connection is gone", &[Unreachable], Some(Life::Silent)),
            ("it is back", &[silent, silent, alive], Some(Life::Alive)),
            ("it registers", &[Unreachable, Registers], Some(Life::Alive)),
            ("nobody was told, so nothing is taken back", &[silent, Registers], None),
            ("it comes and goes", &[Unreachable, Registers, Unreachable], None),
            ("and later", &[Unreachable, Registers, Wait(60), Unreachable], Some(Life::Silent)),
            ("in between it was not said", &[Unreachable, Registers, Unreachable, Registers], None),
        ] {
            let mut w = World::new();
            let last = steps.iter().map(|step| w.does(*step)).last();
            assert_eq!(last, Some(said), "{why}");
        }
    }

    /// LOG-25: the second ping follows soon, so what is gone is known in less than 80 s.
    #[test]
    fn who_vanished_is_known_within_eighty_seconds() {
        let mut w = World::new();
        w.watch.on_bound(w.now, 1, &mut w.rng);
        w.watch.on_life(w.now, 1, Life::Alive, &mut w.rng);
        let (since, answer) = (w.now.mono, Duration::from_secs(5));
        let mut said = None;
        while said.is_none() {
            w.now.mono = w.watch.poll_timeout().expect("it is watched");
            assert_eq!(w.watch.next(w.now, |_| true), Some(1));
            w.now.mono += answer;
            said = w.watch.on_life(w.now, 1, Life::Silent, &mut w.rng);
        }
        assert!(w.now.mono - since < Duration::from_secs(80), "{:?}", w.now.mono - since);
    }

    /// LOG-25: also after a start, when all come at once.
    #[test]
    fn pings_of_many_phones_are_spread_and_bounded() {
        let mut w = World::new();
        for row in 0..20_000 {
            w.watch.on_bound(w.now, row, &mut w.rng);
        }
        let (start, mut of_second) = (w.now.mono, BTreeMap::<u64, usize>::new());
        while w.now.mono < start + Duration::from_secs(180) {
            w.now.mono = w.now.mono.max(w.watch.poll_timeout().expect("they are watched"));
            while let Some(row) = w.watch.next(w.now, |_| true) {
                *of_second.entry((w.now.mono - start).as_secs()).or_default() += 1;
                w.watch.on_life(w.now, row, Life::Alive, &mut w.rng);
            }
        }
        assert!(of_second.values().all(|count| *count <= 550), "{of_second:?}");
        let settled: usize = (120..180).filter_map(|second| of_second.get(&second)).sum();
        assert!((19_000..23_000).contains(&settled), "each about once a minute: {settled}");
        assert!(w.watch.is_calm());
        // One that is bound no more is looked at no more.
        let mut gone = 0;
        while let Some(at) = w.watch.poll_timeout() {
            w.now.mono = w.now.mono.max(at);
            gone += usize::from(w.watch.next(w.now, |_| false).is_some());
        }
        assert_eq!((gone, w.watch.due.len()), (0, 0));
    }
}
