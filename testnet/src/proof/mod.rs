//! `dots-testnet proof`: what a 200 OK promises, tried with thousands of phones on real peers. Too long for the check; what it
//! prints is what it saw, and whoever got 200 and cannot be called makes it fail.
//!
//! - [`roaming`]: everybody of some realms registers at one peer that is not their home, and is called from a third.
//! - [`deaths`]: of many peers some are killed at once; their phones register elsewhere and are called there.

mod deaths;
mod roaming;

use crate::{
    Error, Result,
    process::{self, Peer},
};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Proof {
    /// Phones far from home, called from a third peer, before and after the restart of each peer
    Roaming(roaming::Plan),
    /// Some of many peers killed at once
    Deaths(deaths::Plan),
}

/// An error where a promise was broken.
pub fn run(proof: &Proof) -> Result<()> {
    match proof {
        Proof::Roaming(plan) => roaming::run(plan),
        Proof::Deaths(plan) => deaths::run(plan),
    }
}

/// The `dots` that was named, or the one beside us.
fn binary(named: Option<&PathBuf>) -> Result<PathBuf> {
    match (named, process::release_binary()?) {
        (Some(named), _) => Ok(named.clone()),
        (None, Some(release)) => Ok(release),
        (None, None) => process::binary(),
    }
}

/// A peer that joins by the first of `peers`, if there is one, and knows it.
fn join(binary: &std::path::Path, peers: &[Peer], realm: &str) -> Result<Peer> {
    let Some(first) = peers.first() else { return Peer::start_from(binary, None, realm, &[]) };
    let peer = Peer::start_from(binary, None, realm, &["--bootstrap", first.p2p()?])?;
    peer.meets(first)?;
    Ok(peer)
}

/// Waits until each peer knows each other one and its realms.
fn all_meet(peers: &[Peer]) -> Result<()> {
    for peer in peers {
        for other in peers.iter().filter(|other| other.ready().peer_id != peer.ready().peer_id) {
            peer.meets(other)?;
        }
    }
    Ok(())
}

/// What each peer has counted so far, where something went wrong.
fn counted(peers: &[Peer]) {
    for (n, peer) in peers.iter().enumerate() {
        let metrics = peer.metrics().unwrap_or_default();
        let told = metrics.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
        println!("peer {n} counts: {}", told.collect::<Vec<_>>().join("; "));
    }
}

fn broken(what: String) -> Error {
    Error::Other(format!("broken: {what}"))
}
