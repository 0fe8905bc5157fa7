//! `dots-testnet bench`: what a REGISTER and a call cost a server in CPU time. One peer, two peers and Kamailio get the
//! same SIPp load, one after the other in one run, so the ratios hold on any machine; the figures alone do not. It only
//! prints: a number that is good enough is for people to name.
//!
//! - REGISTER: a refresh with the same Contact, challenged and answered (two requests, as SIPp never keeps a nonce).
//! - call: INVITE, 407, INVITE with the answer, 180, 200, ACK, BYE, 200.
//! - two peers: callers at one, callees at the other; what both spend together.

mod cpu;
mod kamailio;

use crate::{
    Result,
    crowd::Crowd,
    phones::sipp::Counts,
    process::{self, Peer},
};
use kamailio::Kamailio;
use std::path::PathBuf;

/// How much load.
#[derive(clap::Args)]
pub struct Plan {
    /// Users that register, and refresh once
    #[arg(long, default_value_t = 5_000)]
    users: usize,
    /// REGISTERs a second
    #[arg(long, default_value_t = 500)]
    rate: usize,
    #[arg(long, default_value_t = 3_000)]
    calls: usize,
    /// Calls a second
    #[arg(long, default_value_t = 100)]
    call_rate: usize,
}

/// A server, or two, and who is where.
struct Setup<'a> {
    name: String,
    processes: Vec<u32>,
    callers: (&'a Crowd, &'a str),
    callees: (&'a Crowd, &'a str),
}

/// Microseconds of CPU time.
struct Cost {
    name: String,
    register: f64,
    call: f64,
    /// The same in each second, with all users registered and nobody asking; it is part of the two above.
    idle: f64,
    failed: u64,
}

pub fn run(plan: &Plan) -> Result<()> {
    let (binary, build) = best_binary()?;
    let costs = [reference(plan)?, one_peer(plan, &binary, build)?, two_peers(plan, &binary, build)?];
    print(&costs);
    Ok(())
}

fn reference(plan: &Plan) -> Result<Cost> {
    let kamailio = Kamailio::start()?;
    let crowd = Crowd::new("a.test", plan.users)?;
    let at = (&crowd, kamailio.server.as_str());
    let name = format!("kamailio {} (bindings in memory)", kamailio.version);
    measure(plan, &Setup { name, processes: vec![kamailio.id()], callers: at, callees: at })
}

fn one_peer(plan: &Plan, binary: &std::path::Path, build: &str) -> Result<Cost> {
    let mut peer = Peer::start_from(binary, None, "a.test", &[])?;
    let crowd = Crowd::new("a.test", plan.users)?;
    crowd.import(&peer)?;
    let at = (&crowd, peer.sip()?);
    let setup = Setup { name: format!("dots ({build})"), processes: ids(&[&peer]), callers: at, callees: at };
    let cost = measure(plan, &setup)?;
    peer.stop()?;
    Ok(cost)
}

fn two_peers(plan: &Plan, binary: &std::path::Path, build: &str) -> Result<Cost> {
    let mut a = Peer::start_from(binary, None, "a.test", &[])?;
    let mut b = Peer::start_from(binary, None, "b.test", &["--bootstrap", a.p2p()?])?;
    b.meets(&a)?;
    a.meets(&b)?;
    let half = (plan.users / 2).max(1);
    let (callers, callees) = (Crowd::new("a.test", half)?, Crowd::new("b.test", half)?);
    callers.import(&a)?;
    callees.import(&b)?;
    let setup = Setup {
        name: format!("dots, two peers ({build})"),
        processes: ids(&[&a, &b]),
        callers: (&callers, a.sip()?),
        callees: (&callees, b.sip()?),
    };
    let cost = measure(plan, &setup)?;
    a.stop()?;
    b.stop()?;
    Ok(cost)
}

fn ids(peers: &[&Peer]) -> Vec<u32> {
    peers.iter().filter_map(|p| p.id()).collect()
}

fn measure(plan: &Plan, setup: &Setup<'_>) -> Result<Cost> {
    println!("{}: {} users, {} calls …", setup.name, plan.users, plan.calls);
    let micros = 1e6 / cpu::ticks_per_second()?;
    let mut sides = vec![setup.callers];
    if !std::ptr::eq(setup.callers.0, setup.callees.0) {
        sides.push(setup.callees);
    }
    let register = |round| -> Result<Counts> {
        let mut sum = Counts::default();
        for (crowd, server) in &sides {
            let counts = crowd.register(server, plan.rate, round)?;
            sum.successful += counts.successful;
            sum.failed += counts.failed;
        }
        Ok(sum)
    };
    register(1)?;
    let idle = cpu::idle(&setup.processes)?;
    let before = cpu::used(&setup.processes)?;
    let refreshed = register(2)?;
    let between = cpu::used(&setup.processes)?;
    let answering = setup.callees.0.answer()?;
    let (callers, server) = setup.callers;
    let called = callers.call(server, setup.callees.0, plan.calls, plan.call_rate)?.finish()?;
    let after = cpu::used(&setup.processes)?;
    drop(answering);
    let each = |ticks: u64, counts: Counts| ticks as f64 * micros / counts.successful.max(1) as f64;
    Ok(Cost {
        name: setup.name.clone(),
        register: each(between.saturating_sub(before), refreshed),
        call: each(after.saturating_sub(between), called),
        idle,
        failed: refreshed.failed + called.failed,
    })
}

fn print(costs: &[Cost]) {
    println!("\nCPU time (user and system) of the server in microseconds, and its ratio to the first line");
    println!(
        "{:<42} {:>9} {:>7} {:>9} {:>7} {:>9} {:>7}",
        "", "REGISTER", "", "call", "", "idle/s", "failed"
    );
    let Some(base) = costs.first() else { return };
    for cost in costs {
        println!(
            "{:<42} {:>9.1} {:>6.2}x {:>9.1} {:>6.2}x {:>9.0} {:>7}",
            cost.name,
            cost.register,
            cost.register / base.register,
            cost.call,
            cost.call / base.call,
            cost.idle,
            cost.failed
        );
    }
}

/// The release build beside us, if it is there and of these sources; else whatever is, and that is said loudly.
fn best_binary() -> Result<(PathBuf, &'static str)> {
    match process::release_binary()? {
        Some(binary) => Ok((binary, "release build")),
        None => {
            eprintln!(
                "!!! NO RELEASE BUILD of these sources: the debug build is measured, and its numbers say nothing"
            );
            eprintln!("!!! about the peer that people run. `cargo build --release --bins` first.");
            Ok((process::binary()?, "DEBUG build"))
        }
    }
}
