//! Is this machine's clock right? Grants, records and log entries are timed, so a peer whose clock is wrong is a peer whose phones
//! nobody can reach.
//!
//! TIME-1: each neighbour tells its time; how far it is ahead is known from then on, for ours may be set, but what has passed is
//! measured. What we do about it rests on peers that *we* dialled: of each network their median, and of at least three networks
//! the median of that. If it is 30 s for a minute, phones of other realms that are not here yet are refused (503, so that
//! they go elsewhere); our own are served, and `dots status` says that others cannot reach them. Whoever dials us can at the
//! most have a warning shown.

use dots_wire::{Now, Timestamp};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A difference that makes grants fail now and then: said.
const WARNING_MS: i128 = 10_000;
/// One that makes them fail: acted on, when it has lasted.
const OFF_MS: i128 = 30_000;
const OFF_FOR: Duration = Duration::from_secs(60);
/// Networks of peers that we dialled.
const NETWORKS_MIN: usize = 3;
/// The log says it again after this.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// What a peer told.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    ms: i128,
    mono: Instant,
    wall: Timestamp,
}

impl Ahead {
    pub fn told(time_ms: u64, now: Now) -> Ahead {
        let ms = i128::from(time_ms) - i128::from(now.wall.0);
        Ahead { ms, mono: now.mono, wall: now.wall }
    }

    /// Its clock minus ours, ms, if its own has gone right since.
    pub fn now(&self, now: Now) -> i128 {
        let passed = now.mono.saturating_duration_since(self.mono).as_millis();
        let by_wall = i128::from(now.wall.0) - i128::from(self.wall.0);
        self.ms + i128::try_from(passed).unwrap_or(i128::MAX / 2) - by_wall
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub ahead_ms: i128,
    /// Of a peer that we dialled.
    pub network: Option<u64>,
}

#[derive(Default)]
pub struct Clock {
    /// What our clock is measured by now, and whether peers that we chose say so.
    measured: Option<(i128, bool)>,
    off_since: Option<Instant>,
    said: Option<Instant>,
}

impl Clock {
    /// Returns what the log is to say.
    pub fn watch(&mut self, now: Now, samples: &[Sample]) -> Option<String> {
        self.measured = measure(samples);
        let is_off = self.measured.is_some_and(|(ms, is_chosen)| is_chosen && ms.abs() > OFF_MS);
        self.off_since = is_off.then(|| self.off_since.unwrap_or(now.mono));
        let line = self.warning(now);
        if line.is_none() {
            self.said = None;
            return None;
        }
        if self.said.is_some_and(|at| now.mono.saturating_duration_since(at) < SAY_AGAIN) {
            return None;
        }
        self.said = Some(now.mono);
        line
    }

    pub fn is_off(&self, now: Now) -> bool {
        self.off_since.is_some_and(|since| now.mono.saturating_duration_since(since) >= OFF_FOR)
    }

    pub fn warning(&self, now: Now) -> Option<String> {
        let (ms, _) = self.measured.filter(|(ms, _)| ms.abs() >= WARNING_MS)?;
        let way = if ms > 0 { "behind" } else { "ahead of" };
        let follows = match self.is_off(now) {
            true => {
                "others cannot reach the phones that are registered here, and phones of other realms are refused"
            }
            false => "grants will fail",
        };
        let seconds = ms.unsigned_abs() / 1_000;
        Some(format!("this machine's clock is {seconds} s {way} its neighbours': {follows}; set the clock"))
    }
}

/// The median over networks of peers that we dialled; of all peers where those are too few.
fn measure(samples: &[Sample]) -> Option<(i128, bool)> {
    let mut networks: BTreeMap<u64, Vec<i128>> = BTreeMap::new();
    for sample in samples {
        if let Some(network) = sample.network {
            networks.entry(network).or_default().push(sample.ahead_ms);
        }
    }
    match networks.len() >= NETWORKS_MIN {
        true => Some((median(networks.into_values().filter_map(median).collect())?, true)),
        false => Some((median(samples.iter().map(|sample| sample.ahead_ms).collect())?, false)),
    }
}

/// Of an even number the one that is nearer to right: half of them do not outvote our own clock.
fn median(mut ms: Vec<i128>) -> Option<i128> {
    ms.sort_unstable();
    let upper = *ms.get(ms.len() / 2)?;
    let lower = *ms.get(ms.len().saturating_sub(1) / 2)?;
    Some(if lower.abs() < upper.abs() { lower } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Now {
        Now { mono: Instant::now(), wall: Timestamp(1_700_000_000_000) }
    }

    fn later(now: Now, seconds: u64) -> Now {
        let by = Duration::from_secs(seconds);
        Now { mono: now.mono + by, wall: now.wall.plus(by) }
    }

    fn dialled(network: u64, ahead_s: i128) -> Sample {
        Sample { ahead_ms: ahead_s * 1_000, network: Some(network) }
    }

    fn incoming(ahead_s: i128) -> Sample {
        Sample { ahead_ms: ahead_s * 1_000, network: None }
    }

    /// TIME-1: (why, what neighbours say, is it a warning, is it acted on after a minute)
    #[test]
    fn only_three_networks_that_we_dialled_make_us_refuse_anybody() {
        let flood: Vec<Sample> = (0..100).map(|_| incoming(90)).collect();
        let with = |more: &[Sample]| [flood.as_slice(), more].concat();
        for (why, samples, warns, off) in [
            ("nobody", vec![], false, false),
            ("three networks", vec![dialled(1, 31), dialled(2, 40), dialled(3, 90)], true, true),
            ("behind them", vec![dialled(1, -31), dialled(2, -40), dialled(3, -90)], true, true),
            ("less than 30 s", vec![dialled(1, 29), dialled(2, 29), dialled(3, 90)], true, false),
            ("two networks", vec![dialled(1, 90), dialled(2, 90), dialled(2, 91)], true, false),
            ("one of three", vec![dialled(1, 0), dialled(2, 1), dialled(3, 9_000)], false, false),
            (
                "many peers of one network",
                [vec![dialled(9, 900); 20], vec![dialled(1, 0), dialled(2, 0)]].concat(),
                false,
                false,
            ),
            (
                "half of four",
                vec![dialled(1, 90), dialled(2, 90), dialled(3, 0), dialled(4, 0)],
                false,
                false,
            ),
            ("strangers who dialled us, alone", flood.clone(), true, false),
            (
                "strangers against those that we chose",
                with(&[dialled(1, 0), dialled(2, 0), dialled(3, 0)]),
                false,
                false,
            ),
        ] {
            let (mut clock, now) = (Clock::default(), start());
            clock.watch(now, &samples);
            assert!(!clock.is_off(now), "{why}: it has to last");
            let then = later(now, 60);
            clock.watch(then, &samples);
            assert_eq!((clock.warning(then).is_some(), clock.is_off(then)), (warns, off), "{why}");
            clock.watch(then, &[]);
            assert!(!clock.is_off(then), "{why}: over at once");
        }
    }

    #[test]
    fn a_clock_that_is_set_is_right_without_anybody_being_asked() {
        let now = start();
        let ahead = Ahead::told(now.wall.0 + 90_000, now);
        let then = later(now, 3_600);
        assert_eq!(ahead.now(then), 90_000);
        let set = Now { wall: then.wall.plus(Duration::from_secs(90)), ..then };
        assert_eq!(ahead.now(set), 0, "set right");
        let wrong = Now { wall: then.wall.minus(Duration::from_secs(300)), ..then };
        assert_eq!(ahead.now(wrong), 390_000, "set wrong while we run");
    }

    /// Attack 28.
    #[test]
    fn the_log_says_it_once_in_ten_minutes() {
        let (mut clock, now) = (Clock::default(), start());
        let said = (0..1_200).filter(|s| clock.watch(later(now, *s), &[incoming(90)]).is_some()).count();
        assert_eq!(said, 2);
    }
}
