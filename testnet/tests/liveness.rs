//! The failure detector in a small network; `dots-testnet liveness` runs the large one.

use dots_testnet::sim::liveness::{LivenessLie, LivenessOutcome, LivenessPlan, LivenessSim};

fn small() -> LivenessPlan {
    LivenessPlan {
        nodes: 60,
        hours: 0.05,
        degree: 16,
        loss: 0.05,
        pauses: 0.1,
        pause_ms: 2_000,
        kill_every: 10,
        liars: 0,
        lie: LivenessLie::Death,
        credulous: false,
        seed: 1,
    }
}

fn quantile(sorted: &[u64], q: f64) -> u64 {
    sorted[((sorted.len() as f64 - 1.0) * q) as usize]
}

#[test]
fn a_death_is_noticed_in_time_and_nobody_who_lives_is_called_dead() {
    let outcome = LivenessSim::new(small()).run();
    eprintln!("{}", outcome.report());
    assert!(outcome.kills >= 10);
    assert!(quantile(&outcome.noticed_ms, 0.5) <= 1_500, "others are tried first");
    assert!(quantile(&outcome.noticed_ms, 0.99) <= 3_000);
    // What a caller waits for counts from his INVITE; this, from the death: half a round more.
    assert!(quantile(&outcome.dead_ms, 0.5) <= 3_500);
    assert_eq!((outcome.false_deaths, outcome.missed), (0, 0));
    let seconds = outcome.node_hours * 3_600.0;
    assert!(outcome.bytes as f64 / seconds < 10_000.0);
}

#[test]
fn many_neighbours_cost_no_more_than_few() {
    let plan = LivenessPlan { nodes: 80, degree: 64, hours: 0.02, ..small() };
    let outcome = LivenessSim::new(plan).run();
    eprintln!("{}", outcome.report());
    assert!(outcome.bytes as f64 / (outcome.node_hours * 3_600.0) < 10_000.0);
    assert!(quantile(&outcome.noticed_ms, 0.5) <= 1_500 && quantile(&outcome.noticed_ms, 0.99) <= 3_000);
}

/// Every tenth node lies, twice a second, to all of its neighbours.
fn with_liars(lie: LivenessLie, credulous: bool) -> LivenessOutcome {
    let (loss, pauses) = (0.01, 0.0);
    LivenessSim::new(LivenessPlan {
        liars: 6,
        lie,
        credulous,
        loss,
        pauses,
        hours: 0.03,
        kill_every: 3_600,
        ..small()
    })
    .run()
}

#[test]
fn a_death_liar_makes_us_look_and_nothing_else() {
    let outcome = with_liars(LivenessLie::Death, false);
    assert_eq!((outcome.false_deaths, outcome.false_goodbyes), (0, 0), "{}", outcome.report());
    assert!(outcome.bytes as f64 / (outcome.node_hours * 3_600.0) < 10_000.0, "what it costs is bounded");
    assert!(with_liars(LivenessLie::Death, true).false_deaths > 100, "a peer that believes it is lost");
}

#[test]
fn a_goodbye_that_somebody_else_signed_is_none() {
    let outcome = with_liars(LivenessLie::Goodbye, false);
    assert_eq!((outcome.false_deaths, outcome.false_goodbyes), (0, 0), "{}", outcome.report());
    assert!(outcome.counts["live_forged_word"] > 100, "it was told");
    assert!(with_liars(LivenessLie::Goodbye, true).false_goodbyes > 10, "a peer that believes it is lost");
}
