//! Three real peers, one of which dies, hangs, or says goodbye: what does a call toward its phones cost, and how soon does
//! it work again? And what a peer still knows of the others after a start, and of itself.

use dots_testnet::{
    phones::plain::{Answering, Plain},
    poll,
    process::Peer,
    random,
};
use rand_chacha::ChaCha8Rng;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// LIVE-11: 100 ms toward a peer that is known to be dead, 3 s toward one that is not yet; the rest is for a debug build.
const KNOWN: Duration = Duration::from_millis(400);
const UNKNOWN: Duration = Duration::from_millis(3_400);
const LONG: Duration = Duration::from_secs(30);

struct World {
    rng: ChaCha8Rng,
    a: Peer,
    b: Peer,
    c: Peer,
    alice: Plain,
    bob: Answering,
}

impl World {
    fn new() -> World {
        let mut rng = random();
        let a = Peer::start("a.net", &[]).unwrap();
        let b = Peer::join(&a, "b.net", &[]).unwrap();
        let c = Peer::join(&a, "c.net", &[]).unwrap();
        a.meets(&b).unwrap();
        c.meets(&b).unwrap();
        a.account("alice@a.net", "wonderland").unwrap();
        b.account("bob@b.net", "builder").unwrap();
        let mut alice = Plain::new(a.sip().unwrap(), "alice@a.net", "wonderland", &mut rng).unwrap();
        let mut bob = Plain::new(b.sip().unwrap(), "bob@b.net", "builder", &mut rng).unwrap();
        assert_eq!(alice.register(600, 1, LONG).unwrap(), Some(200));
        assert_eq!(bob.register(600, 1, LONG).unwrap(), Some(200));
        let bob = bob.answer().unwrap();
        let mut world = World { rng, a, b, c, alice, bob };
        world.works();
        world
    }

    fn call(&mut self) -> (Option<u16>, Duration) {
        let since = Instant::now();
        let called = self.alice.invite("sip:bob@b.net", LONG).unwrap();
        let took = since.elapsed();
        let status = called.map(|(status, dialog)| {
            if let Some(dialog) = dialog {
                self.alice.bye(&dialog, LONG).unwrap();
            }
            status
        });
        (status, took)
    }

    /// Sooner or later a call comes up again.
    fn works(&mut self) -> Duration {
        let since = Instant::now();
        poll("a call comes up", LONG, || Ok((self.call().0 == Some(200)).then_some(()))).unwrap();
        since.elapsed()
    }

    /// Each call fails within its time, and sooner or later at once, all that follow too: within 3 s on a machine that is not busy.
    /// One whose timers are late doubts itself first and gives others twice the time, again each time it stands still.
    fn is_soon_known(&mut self, why: &str) {
        let (since, mut all) = (Instant::now(), Vec::new());
        poll(why, LONG, || {
            let (status, took) = self.call();
            all.push(took);
            assert_eq!(status, Some(480), "{why}: {all:?}");
            assert!(took <= UNKNOWN, "{why}: {all:?}");
            Ok((took <= KNOWN).then_some(()))
        })
        .unwrap();
        eprintln!("{why}: a call failed at once after {:?}: {all:?}", since.elapsed());
        for _ in 0..3 {
            self.fails_within(KNOWN, why);
        }
    }

    fn fails_within(&mut self, limit: Duration, why: &str) {
        let (status, took) = self.call();
        eprintln!("{why}: {status:?} after {took:?}");
        assert_eq!(status, Some(480), "{why}");
        assert!(took <= limit, "{why}: {took:?}");
    }

    fn signal(&self, name: &str) {
        let id = self.b.id().expect("it runs").to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    fn end(mut self) {
        for peer in [&mut self.a, &mut self.b, &mut self.c] {
            peer.stop().unwrap();
        }
        drop((self.bob, self.rng));
    }
}

#[test]
fn killed() {
    let mut world = World::new();
    world.b.kill().unwrap();
    world.is_soon_known("a peer that was killed a moment ago");
    world.b.restart().unwrap();
    eprintln!("back after {:?}", world.works());
    world.end();
}

#[test]
fn hung() {
    let mut world = World::new();
    world.signal("-STOP");
    world.is_soon_known("a peer that hangs");
    world.signal("-CONT");
    eprintln!("back after {:?}", world.works());
    world.end();
}

#[test]
fn said_goodbye() {
    let mut world = World::new();
    world.b.stop().unwrap();
    world.fails_within(KNOWN, "a peer that said goodbye");
    world.b.restart().unwrap();
    eprintln!("back after {:?}", world.works());
    world.end();
}

/// Both lose their bootstrap peer, and their process: without a list of their own they would never meet again.
#[test]
fn two_that_knew_each_other_meet_again_without_their_bootstrap_peer() {
    let mut a = Peer::start("a.net", &[]).unwrap();
    let mut b = Peer::join(&a, "b.net", &[]).unwrap();
    let mut c = Peer::join(&a, "c.net", &[]).unwrap();
    c.meets(&b).unwrap();
    b.meets(&c).unwrap();
    for peer in [&mut a, &mut b, &mut c] {
        peer.stop().unwrap();
    }
    b.restart().unwrap();
    c.restart().unwrap();
    let since = Instant::now();
    c.meets(&b).unwrap();
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    b.stop().unwrap();
    c.stop().unwrap();
}

/// A copy of a data directory is started while the first one runs; both know only a third peer.
#[test]
fn of_two_with_one_key_the_older_one_ends_though_they_never_meet() {
    let hub = Peer::start("hub.net", &[]).unwrap();
    let bootstrap = ["--bootstrap", hub.p2p().unwrap()];
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let binary = dots_testnet::process::binary().unwrap();
    let mut older = Peer::start_from(&binary, Some(first.path()), "a.net", &bootstrap).unwrap();
    older.meets(&hub).unwrap();
    let copied = Command::new("cp").arg("-a").arg(older.data()).arg(second.path()).status().unwrap();
    assert!(copied.success());
    let mut newer = Peer::start_from(&binary, Some(second.path()), "a.net", &bootstrap).unwrap();
    let ended = older.ended().unwrap().expect("it ran");
    assert_eq!(ended.code(), Some(9));
    assert!(!newer.is_gone().unwrap(), "the newer one goes on");
    newer.stop().unwrap();
}
