//! `dots-testnet up --peers N`: a network of real peers to play with, gone without a trace when it is stopped.

use clap::{Parser, Subcommand};
use dots_testnet::{Error, Result, process::Peer};
use std::process::ExitCode;

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
        #[arg(long, default_value_t = 3)]
        peers: usize,
    },
}

fn main() -> ExitCode {
    let Command::Up { peers } = Arguments::parse().command;
    match up(peers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("dots-testnet: {e}");
            ExitCode::FAILURE
        }
    }
}

fn up(count: usize) -> Result<()> {
    let mut peers: Vec<Peer> = Vec::new();
    for n in 0..count {
        let joined = peers.first().and_then(|p| p.ready().p2p.first().cloned());
        let flags: Vec<&str> = joined.iter().flat_map(|a| ["--bootstrap", a]).collect();
        let peer = Peer::start(&format!("p{n}.test"), &flags)?;
        let ready = peer.ready();
        println!("peer {n}: sip {} http {} realm p{n}.test", ready.sip.join(" "), ready.http);
        println!("        data {}", peer.data().display());
        peers.push(peer);
    }
    println!("Ctrl-C stops them.");
    interrupted()?;
    for peer in &mut peers {
        peer.stop()?;
    }
    Ok(())
}

/// Returns at Ctrl-C. The peers have process groups of their own, so the terminal does not reach them.
fn interrupted() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::Io("runtime".into(), e))?;
    runtime.block_on(tokio::signal::ctrl_c()).map_err(|e| Error::Io("Ctrl-C".into(), e))
}
