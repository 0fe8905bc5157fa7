//! `dots-testnet bench`: what things cost a server, as ratios to Debian's Kamailio. Both get the same load in the same run, in turns
//! (A B A B A B), each time from a fresh start, so the ratios hold on any machine, and on one that others use too; the figures
//! alone do not. CPU time is user and system time of the whole process tree. Median and range are printed, and kept in
//! `testnet/bench/results.csv`, so that what has become worse is seen.
//!
//! One file a part: [`calls`] (REGISTER, call, two peers), [`memory`], [`overload`], [`latency`].

mod calls;
mod cores;
mod cpu;
mod latency;
mod memory;
mod overload;
mod plan;
mod results;
mod rows;
mod servers;

pub use plan::Plan;

use crate::{Error, Result, kamailio};
use plan::Part;
use results::{Context, Outcome, Spread};
use rows::{Better, Goal, Measure, ROWS};
use servers::{SIDES, Side};
use std::collections::BTreeMap;

/// What was measured so far.
type Samples = BTreeMap<(&'static str, bool), Vec<f64>>;

pub fn run(plan: &Plan) -> Result<()> {
    plan.warn_of_debug_build()?;
    let context = Context::new(plan.name(), plan.commit.as_deref());
    let version = kamailio::version().unwrap_or_else(|| "(none)".to_owned());
    println!(
        "{} plan, {} pairs; {} with {}",
        plan.name(),
        plan.pairs(),
        context.machine,
        results::machine_now()
    );
    println!("dots {} ({}) beside Kamailio {version}", context.commit, plan.binary()?.display());
    let mut samples = Samples::new();
    let mut failed = Vec::new();
    for part in plan.parts() {
        for pair in 1..=plan.pairs() {
            for side in SIDES {
                println!("{part:?} {pair}/{}: {side:?} …", plan.pairs());
                // What fails is told, and the rest is measured all the same.
                match measure(part, side, plan) {
                    Ok(all) => add(&mut samples, side, &all),
                    Err(why) => {
                        eprintln!("!!! {part:?} of {side:?}: {why}");
                        failed.push(format!("{part:?} of {side:?}"));
                    }
                }
            }
        }
    }
    let outcomes = outcomes(&samples);
    let worse = print(plan, &context, &outcomes);
    if !plan.forget {
        results::keep(&plan.results(), &context, &outcomes)?;
    }
    match (failed.is_empty(), plan.compare && !worse.is_empty()) {
        (true, false) => Ok(()),
        (true, true) => Err(Error::Other(format!("worse than before: {}", worse.join(", ")))),
        (false, _) => Err(Error::Other(format!("not measured: {}", failed.join(", ")))),
    }
}

fn measure(part: Part, side: Side, plan: &Plan) -> Result<Vec<Measure>> {
    match part {
        Part::Register => calls::register(side, plan),
        Part::Call => calls::call(side, plan),
        Part::TwoPeers => calls::two_peers(side, plan),
        Part::Memory => memory::per_phone(side, plan),
        Part::Overload => overload::overload(side, plan),
        Part::Latency => latency::latency(side, plan),
    }
}

fn add(samples: &mut Samples, side: Side, measures: &[Measure]) {
    for measure in measures {
        println!("  {:<18} {:>10.1}", measure.row, measure.value);
        samples.entry((measure.row, side == Side::Dots)).or_default().push(measure.value);
    }
}

fn outcomes(samples: &Samples) -> Vec<Outcome> {
    let spread = |name, is_dots| Spread::of(samples.get(&(name, is_dots)).cloned().unwrap_or_default());
    let of = |row: &'static rows::Row| {
        Some(Outcome { row, dots: spread(row.name, true)?, kamailio: spread(row.name, false) })
    };
    ROWS.iter().filter_map(of).collect()
}

/// Returns the rows that are worse than when they were last kept.
fn print(plan: &Plan, context: &Context, outcomes: &[Outcome]) -> Vec<&'static str> {
    let kept = std::fs::read_to_string(plan.results()).unwrap_or_default();
    println!(
        "\nMedian (range); the ratio is ours to Kamailio's; change: to the last kept run, above 1 is worse"
    );
    println!(
        "{:<18} {:<9} {:>28} {:>28} {:>7} {:>8} {:>5} {:>7}",
        "", "", "dots", "kamailio", "ratio", "goal", "", "change"
    );
    let mut worse = Vec::new();
    for outcome in outcomes {
        let row = outcome.row;
        let range = |s: Spread| format!("{:.1} ({:.1}-{:.1})", s.median, s.low, s.high);
        let ratio = outcome.ratio().map(|r| format!("{r:.2}x")).unwrap_or_default();
        let goal = match (row.goal, row.better) {
            (Goal::None, _) => String::new(),
            (Goal::Ratio(most), _) => format!("<={most}x"),
            (Goal::Value(most), Better::Less) => format!("<={most}"),
            (Goal::Value(least), Better::More) => format!(">={least}"),
        };
        let reached = outcome.reaches_goal().map_or("", |reached| if reached { "yes" } else { "NO" });
        let change = results::last(&kept, context, outcome).map(|last| results::change(outcome, last));
        if change.is_some_and(results::is_worse) {
            worse.push(row.name);
        }
        let mark = if change.is_some_and(results::is_worse) { " WORSE" } else { "" };
        println!(
            "{:<18} {:<9} {:>28} {:>28} {ratio:>7} {goal:>8} {reached:>5} {:>7}{mark}  {}",
            row.name,
            row.unit,
            range(outcome.dots),
            outcome.kamailio.map(range).unwrap_or_default(),
            change.map(|c| format!("{c:.2}")).unwrap_or_default(),
            row.what
        );
    }
    worse
}
