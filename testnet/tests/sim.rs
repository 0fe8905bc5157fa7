//! The simulator: two hundred small networks of two to five peers, five percent loss, one killed peer each.
//!
//! `DOTS_SEED=n cargo test -p dots-testnet --test sim` replays one; `DOTS_SEEDS=n` runs that many instead of 200;
//! `DOTS_TRACE=1` prints every event.

use dots::peer::Stream;
use dots_overlay::transport::Protocol;
use dots_testnet::sim::{
    disk, net,
    scenario::{Sabotage, Seen, run},
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

const SEEDS: u64 = 200;
/// A planted fault may need several days to do harm.
const PLANTED_SEEDS: u64 = 40;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `seeds` on all cores.
fn run_all(seeds: std::ops::Range<u64>, sabotage: Sabotage) -> (Vec<Seen>, Vec<String>) {
    let next = AtomicU64::new(seeds.start);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let work = || {
        let (mut seen, mut failed) = (Vec::new(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (seen, failed);
            }
            match run(seed, sabotage) {
                Ok(one) => seen.push(one),
                Err(why) => failed.push(why),
            }
        }
    };
    thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut all = (Vec::new(), Vec::new());
        for handle in handles {
            let (seen, failed) = handle.join().expect("a worker catches what a run panics");
            all.0.extend(seen);
            all.1.extend(failed);
        }
        all
    })
}

#[test]
fn peers_agree_lose_nothing_and_never_contradict_themselves() {
    let started = Instant::now();
    let seeds = match number("DOTS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DOTS_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let (seen, failed) = run_all(seeds, Sabotage::None);
    let sum = |of: fn(&Seen) -> usize| seen.iter().map(of).sum::<usize>();
    eprintln!(
        "{count} seeds in {:.1} s: {} registrations, {} calls, {} answered, {} receipts, {} log entries",
        started.elapsed().as_secs_f64(),
        sum(|s| s.registered),
        sum(|s| s.calls),
        sum(|s| s.answered),
        sum(|s| s.receipts),
        sum(|s| s.entries),
    );
    assert!(failed.is_empty(), "{} of {count} failed\n{}", failed.len(), failed.join("\n\n"));
    // A day on which nothing happens proves nothing.
    assert!(count < 50 || sum(|s| s.answered) > 4 * count as usize, "few calls were answered");
    assert!(count < 50 || sum(|s| s.receipts) > count as usize, "few receipts were signed");
}

/// Each checker fails where what it watches is broken: the first complaint names it.
fn assert_caught(by: &str, sabotage: Sabotage) {
    for seed in 0..PLANTED_SEEDS {
        if let Err(why) = run(seed, sabotage)
            && why.lines().any(|l| l.starts_with(by))
        {
            return;
        }
    }
    panic!("{PLANTED_SEEDS} seeds with {sabotage:?}, and the checker of {by} saw nothing");
}

#[test]
fn a_log_that_does_not_spread_is_noticed() {
    assert_caught("agreement", Sabotage::Net(net::Fault::HidesLog));
}

#[test]
fn a_disk_that_forgets_bindings_is_noticed() {
    assert_caught("durability", Sabotage::Disk(disk::Fault::Forgets(Stream::Bindings)));
}

#[test]
fn a_disk_that_forgets_receipts_is_noticed() {
    assert_caught("receipts", Sabotage::Disk(disk::Fault::Forgets(Stream::Receipts)));
}

#[test]
fn a_life_that_is_lived_twice_is_noticed() {
    assert_caught("equivocation", Sabotage::Clone);
}

#[test]
fn a_disk_that_never_answers_is_noticed() {
    assert_caught("calm", Sabotage::Disk(disk::Fault::Stalls));
}

#[test]
fn a_home_that_cannot_be_asked_is_noticed() {
    assert_caught("agreement", Sabotage::Net(net::Fault::Mutes(Protocol::Lookup)));
}
