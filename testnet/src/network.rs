//! `dots-testnet up`: several peers that have met, until Ctrl-C or SIGTERM.

use crate::{
    Error, Result,
    process::{Peer, binary},
};
use std::{path::Path, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Each is a process with sockets, threads and files; more need more machines.
pub const PEERS_MAX: usize = 64;
/// How often we look whether a peer has ended by itself.
const LOOK: Duration = Duration::from_millis(500);

/// Starts `count` peers, says where they are, and ends them. An error where one of them did not end well.
pub fn up(count: usize, dir: Option<&Path>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("runtime"))?;
    // Before the first peer: these have process groups of their own, so a Ctrl-C that ended us would leave them behind.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let mut peers = start(count, dir)?;
    print(&peers);
    runtime.block_on(signals.wait(&mut peers))?;
    stop(&mut peers)
}

fn start(count: usize, dir: Option<&Path>) -> Result<Vec<Peer>> {
    let binary = binary()?;
    let mut peers: Vec<Peer> = Vec::new();
    for n in 0..count.min(PEERS_MAX) {
        let dir = dir.map(|dir| dir.join(format!("p{n}")));
        let first = peers.first();
        let bootstrap = first.map(Peer::p2p).transpose()?;
        let flags: Vec<&str> = bootstrap.into_iter().flat_map(|at| ["--bootstrap", at]).collect();
        let peer = Peer::start_from(&binary, dir.as_deref(), &format!("p{n}.test"), &flags)?;
        if let Some(first) = first {
            peer.meets(first)?;
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn print(peers: &[Peer]) {
    println!("{:<12} {:<22} {:<22} {:<55} password file", "user", "sip", "http", "peer");
    for (n, peer) in peers.iter().enumerate() {
        let ready = peer.ready();
        println!(
            "{:<12} {:<22} {:<22} {:<55} {}",
            format!("me@p{n}.test"),
            ready.sip.join(","),
            ready.http,
            ready.peer_id,
            peer.data().join("me.password").display()
        );
    }
    println!("Ctrl-C stops them.");
}

fn stop(peers: &mut [Peer]) -> Result<()> {
    for peer in &mut *peers {
        peer.ask_to_stop()?;
    }
    let mut bad = 0;
    for (n, peer) in peers.iter_mut().enumerate() {
        match peer.ended() {
            Ok(Some(status)) => {
                println!("p{n}.test: {status}");
                bad += usize::from(!status.success());
            }
            Ok(None) => {}
            Err(e) => {
                println!("p{n}.test: {e}; killed");
                bad += 1;
            }
        }
    }
    if bad > 0 {
        return Err(Error::Other(format!("{bad} of {} peers did not end well", peers.len())));
    }
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let on = |kind| signal(kind).map_err(Error::io("signals"));
        Ok(Signals { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Until we are told to stop, or no peer is left.
    async fn wait(&mut self, peers: &mut [Peer]) -> Result<()> {
        let mut look = tokio::time::interval(LOOK);
        let mut told = vec![false; peers.len()];
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.terminate.recv() => return Ok(()),
                _ = look.tick() => {}
            }
            for ((n, peer), told) in peers.iter_mut().enumerate().zip(&mut told) {
                if !*told && peer.is_gone()? {
                    *told = true;
                    println!("p{n}.test has ended by itself:\n{}", peer.log());
                }
            }
            if told.iter().all(|told| *told) {
                return Ok(());
            }
        }
    }
}
