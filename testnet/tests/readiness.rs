//! A hundred thousand accounts: imported by the command into a peer that runs and into a data directory that nobody
//! holds; after SIGKILL the peer is ready again soon, and the accounts register.

use dots_testnet::{phones::plain::Plain, process::Peer};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    fmt::Write,
    time::{Duration, Instant},
};

const ACCOUNTS: usize = 100_000;
/// design.md: from the start of the process to the ready file.
const READY: Duration = Duration::from_secs(2);
/// What a debug build gets, on a machine that has other things to do.
const READY_DEBUG: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(10);

/// `user@realm,password`, each with its own.
fn lines() -> String {
    (0..ACCOUNTS).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "user{n}@a.test,password{n}");
        text
    })
}

#[test]
fn imported_while_the_peer_runs() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    import(&peer, "a running peer");
    peer.kill().unwrap();
    ready_again(&mut peer, 1);
}

#[test]
fn imported_while_no_peer_runs() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    peer.kill().unwrap();
    import(&peer, "a data directory");
    let start = Instant::now();
    let listed = peer.dots(&["account", "list", "--json"], "").unwrap().list("accounts").unwrap();
    eprintln!("listed in {:.1?}", start.elapsed());
    assert_eq!(listed.len(), ACCOUNTS + 1);
    ready_again(&mut peer, 1);
    // What was imported is read from its index now, after one more death.
    ready_again(&mut peer, 2);
}

fn import(peer: &Peer, into: &str) {
    let (lines, start) = (lines(), Instant::now());
    let said = peer.dots(&["account", "import", "-"], &lines).unwrap().ok().unwrap();
    assert_eq!(said, format!("imported {ACCOUNTS} accounts\n"));
    eprintln!("{ACCOUNTS} accounts into {into} in {:.1?}", start.elapsed());
}

/// `life`: its phones are others each time; the same ones would begin their CSeq anew.
fn ready_again(peer: &mut Peer, life: u64) {
    let start = Instant::now();
    peer.restart().unwrap();
    let took = start.elapsed();
    let limit = if cfg!(debug_assertions) { READY_DEBUG } else { READY };
    eprintln!("ready {took:.2?} after the start of its process");
    assert!(took < limit, "{took:?}");
    // With the one that every first start makes.
    assert_eq!(peer.client().unwrap().accounts().unwrap().len(), ACCOUNTS + 1);
    for n in [0, ACCOUNTS / 2, ACCOUNTS - 1] {
        let mut rng = ChaCha8Rng::seed_from_u64(life);
        let aor = format!("user{n}@a.test");
        let mut phone = Plain::new(peer.sip().unwrap(), &aor, &format!("password{n}"), &mut rng).unwrap();
        assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200), "{aor}");
    }
    peer.kill().unwrap();
}
