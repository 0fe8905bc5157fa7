//! Twenty times SIGKILL at random instants, under a hundred registrations and twenty calls a second. After each: every
//! binding that got its 200 is found through the HTTP API as the phone last heard, every removal that got its 200 stays
//! a removal, and a call that was up is still hung up through the peer that came back.

use dots_clients::types::{AccountChange, AccountImport, ReceiptInfo};
use dots_testnet::{
    Result,
    marks::{Marks, Turns, pace},
    phones::plain::Plain,
    poll,
    process::Peer,
    random,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

const KILLS: usize = 20;
/// A hundred registrations a second: each phone once a second.
const PHONES: u32 = 100;
const REGISTER_EVERY: Duration = Duration::from_secs(1);
/// Twenty calls a second: each caller every two seconds.
const CALLERS: u32 = 40;
const CALL_EVERY: Duration = Duration::from_secs(2);
const CALLEES: u32 = 5;
/// After this many kills one hits the peer while it starts.
const EARLY_EVERY: usize = 4;
/// Longer than any restart.
const ANSWER: Duration = Duration::from_secs(60);
/// A phone whose BYE is answered by an error says it again, for this long.
const HANG_UP: Duration = Duration::from_secs(30);
/// What must have been acknowledged since the last kill, so that each hits a peer at work; and how long that may take.
const REGISTERED_BETWEEN: u64 = 50;
const CALLS_BETWEEN: u64 = 5;
const AT_WORK: Duration = Duration::from_secs(60);
/// The callee picks up at once. An INVITE that a dead peer had answered with 100 is given up after this.
const PICK_UP: Duration = Duration::from_secs(3);
/// design.md: ready again in under 2 s; a debug build on a busy machine gets more here.
const RESTART_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
struct World {
    marks: Marks,
    stop: AtomicBool,
    calls: AtomicU64,
    /// Calls that were up and could not be hung up.
    stranded: Mutex<Vec<String>>,
}

#[test]
fn what_was_acknowledged_survives_twenty_kills() {
    let mut rng = random();
    let mut peer = Peer::start("a.test", &[]).unwrap();
    import(&peer);
    let server = peer.sip().unwrap().to_owned();
    let mut answering = Vec::new();
    for n in 0..CALLEES {
        let mut phone = Plain::new(&server, &format!("callee{n}@a.test"), "secret", &mut rng).unwrap();
        assert_eq!(phone.register(3600, 0, ANSWER).unwrap(), Some(200));
        answering.push(phone.answer().unwrap());
    }
    let (world, start) = (World::default(), Instant::now());
    std::thread::scope(|scope| {
        for n in 0..PHONES {
            let (world, server, seed) = (&world, &server, rng.random());
            scope.spawn(move || {
                let turns = Turns {
                    server,
                    aor: &format!("phone{n}@a.test"),
                    password: "secret",
                    every: REGISTER_EVERY,
                    offset: REGISTER_EVERY * n / PHONES,
                    answer: ANSWER,
                };
                world.marks.register(&world.stop, &turns, ChaCha8Rng::seed_from_u64(seed)).unwrap();
            });
        }
        for n in 0..CALLERS {
            let (world, server, seed) = (&world, &server, rng.random());
            scope.spawn(move || call(world, server, n, ChaCha8Rng::seed_from_u64(seed)).unwrap());
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            kill_and_check(&mut peer, &world, &mut rng);
        }));
        world.stop.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let (acknowledged, calls) = (world.marks.acknowledged(), world.calls.load(Ordering::Relaxed));
    eprintln!("{acknowledged} registrations and {calls} calls were acknowledged in {:.1?}", start.elapsed());
    assert_eq!(*world.stranded.lock().unwrap(), Vec::<String>::new());
    assert!(answering.iter().map(|a| a.ended()).sum::<u64>() >= calls, "a BYE did not reach its phone");
    let receipts: Vec<ReceiptInfo> = peer.client().unwrap().receipts(true).unwrap();
    assert!(receipts.iter().all(|r| r.verified == Some(true)), "{receipts:?}");
    peer.stop().unwrap();
}

fn import(peer: &Peer) {
    let phones = (0..PHONES).map(|n| format!("phone{n}@a.test"));
    let callers = (0..CALLERS).map(|n| format!("caller{n}@a.test"));
    let callees = (0..CALLEES).map(|n| format!("callee{n}@a.test"));
    let accounts = phones
        .chain(callers)
        .chain(callees)
        .map(|aor| AccountChange { aor: Some(aor), password: "secret".into(), roaming: Some(false) })
        .collect();
    peer.client().unwrap().account_import(&AccountImport { accounts }).unwrap();
}

fn kill_and_check(peer: &mut Peer, world: &World, rng: &mut ChaCha8Rng) {
    for kill in 0..KILLS {
        let acknowledged = || (world.marks.acknowledged(), world.calls.load(Ordering::Relaxed));
        let (registered, calls) = acknowledged();
        poll("registrations and calls", AT_WORK, || {
            let now = acknowledged();
            Ok((now.0 >= registered + REGISTERED_BETWEEN && now.1 >= calls + CALLS_BETWEEN).then_some(()))
        })
        .unwrap_or_else(|e| panic!("before kill {kill}: {e}"));
        sleep(Duration::from_millis(rng.random_range(0..500)));
        peer.client().unwrap().account_put(&format!("new{kill}@a.test"), "secret", false).unwrap();
        peer.kill().unwrap();
        let before = world.marks.now();
        if kill % EARLY_EVERY == 0 {
            peer.restart_and_kill(Duration::from_millis(rng.random_range(0..200))).unwrap();
        }
        let start = Instant::now();
        peer.restart().unwrap();
        assert!(start.elapsed() < RESTART_MAX, "restart {kill} took {:?}", start.elapsed());
        world.marks.check(peer, &before).unwrap_or_else(|e| panic!("kill {kill}: {e}"));
        let accounts = peer.client().unwrap().accounts().unwrap();
        let new = accounts.iter().filter(|a| a.aor.starts_with("new")).count();
        assert_eq!(new, kill + 1, "kill {kill}: an account is lost");
    }
}

/// Calls, talks a little, hangs up. A call may fail while the peer is dead; one that is up may not be stranded.
fn call(world: &World, server: &str, number: u32, mut rng: ChaCha8Rng) -> Result<()> {
    let mut phone = Plain::new(server, &format!("caller{number}@a.test"), "secret", &mut rng)?;
    let mut next = Instant::now() + CALL_EVERY * number / CALLERS;
    loop {
        pace(&mut next, CALL_EVERY);
        if world.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let target = format!("sip:callee{}@a.test", rng.random_range(0..CALLEES));
        if let Some((200, Some(dialog))) = phone.invite(&target, PICK_UP)? {
            sleep(Duration::from_millis(rng.random_range(0..200)));
            let end = Instant::now() + HANG_UP;
            loop {
                let answer = phone.bye(&dialog, ANSWER)?;
                if answer == Some(200) {
                    world.calls.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                if Instant::now() >= end {
                    let why = format!("caller{number}: BYE answered {answer:?}");
                    world.stranded.lock().unwrap().push(why);
                    break;
                }
                sleep(Duration::from_millis(500));
            }
        }
    }
}
