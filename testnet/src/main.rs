//! `dots-testnet up`: a network of real peers to play with, gone without a trace when it is stopped. `dots-testnet
//! bench`: what things cost, beside Kamailio. `dots-testnet proof`: a 200 OK is a promise, with thousands of phones.

use clap::{Parser, Subcommand};
use dots_testnet::{bench, network, proof, sim::liveness};
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(about = "Local networks of real DOTS peers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start peers, say where they are, stop them on Ctrl-C
    Up {
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=network::PEERS_MAX as i64))]
        peers: u16,
        /// Where their data stays [default: a temporary directory]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// What REGISTERs, calls, phones and an overload cost, as ratios to Kamailio's
    Bench(bench::Plan),
    /// A 200 OK is a promise: thousands of phones, all callable at once, while peers stop and die
    #[command(subcommand)]
    Proof(proof::Proof),
    /// Every limit of a peer, as `docs/limits.md` has it
    Limits,
    /// The failure detector alone, a thousand at once: how soon, how often wrongly, at what cost
    Liveness(liveness::LivenessPlan),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Up { peers, dir } => network::up(usize::from(peers), dir.as_deref()),
        Command::Bench(plan) => bench::run(&plan),
        Command::Proof(proof) => proof::run(&proof),
        Command::Limits => {
            print!("{}", dots::tables::page());
            Ok(())
        }
        Command::Liveness(plan) => liveness::run(&plan),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("dots-testnet: {e}");
            ExitCode::FAILURE
        }
    }
}
