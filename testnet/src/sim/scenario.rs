//! One day in the life of a small network: phones come, call, move and go, connections break, one peer is killed; then
//! quiet, and the checkers.
//!
//! All choices come from the seed. What is broken on purpose ([`Sabotage`]) is broken in the disk or the network, never in
//! a peer: it shows that each checker can fail.

use super::{
    World, checkers,
    checkers::Faults,
    disk, net,
    phone::{Phone, Plan, State},
};
use rand::Rng;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// Packets, requests and gossip hops that are lost, of 1.
const LOSS: f64 = 0.05;
/// Things happen until then.
const BUSY: Duration = Duration::from_secs(15);
/// What must be enough for all to agree.
const QUIET: Duration = Duration::from_secs(5);
/// Calls end, receipts are exchanged and transactions run out: longer than timer C and the end of a CANCEL after it.
const AFTERMATH: Duration = Duration::from_secs(240);
/// Events in the report of a failure.
const SHOWN: usize = 60;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    #[default]
    None,
    Disk(disk::Fault),
    Net(net::Fault),
    /// The second life of the killed peer gets the clock and the randomness of the first, and no log.
    Clone,
}

/// What a run saw, so that a test can tell that it saw anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub peers: usize,
    pub registered: usize,
    pub calls: usize,
    pub answered: usize,
    pub receipts: usize,
    pub entries: usize,
}

/// Runs one seed. A failure says all that is needed to look into it.
pub fn run(seed: u64, sabotage: Sabotage) -> Result<Seen, String> {
    let mut world = World::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| play(&mut world, seed, sabotage)));
    let faults = match outcome {
        Ok(Ok(seen)) => return Ok(seen),
        Ok(Err(faults)) => faults.join("\n"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            format!("panic: {}", text.unwrap_or_default())
        }
    };
    let events = world.last_events(SHOWN);
    Err(format!("DOTS_SEED={seed} at {:.3} s\n{faults}\nthe last events:\n{events}", world.at.as_secs_f64()))
}

fn play(world: &mut World, seed: u64, sabotage: Sabotage) -> Result<Seen, Faults> {
    let peers = 2 + usize::try_from(seed % 4).unwrap_or_default();
    set_up(world, peers);
    let victim = world.rng.random_range(0..peers);
    match sabotage {
        Sabotage::Disk(fault) => world.hosts[victim].disk.fault = fault,
        Sabotage::Net(fault) => world.net.fault = fault,
        Sabotage::None | Sabotage::Clone => {}
    }
    let killed_at = Duration::from_millis(world.rng.random_range(2_500..BUSY.as_millis() as u64));
    let mut killed = false;
    while world.at < BUSY {
        if !killed && world.at >= killed_at {
            killed = true;
            kill(world, victim, sabotage);
        }
        act(world);
        let pause = Duration::from_millis(world.rng.random_range(20..400));
        world.run_for(pause);
        let broken: Faults = (0..peers).flat_map(|h| checkers::durability(world, h)).collect();
        if !broken.is_empty() && world.hosts.iter().all(|h| h.is_running()) {
            return Err(broken);
        }
    }
    world.note(|| "quiet".to_owned());
    while world.at < world.changed_at + QUIET {
        world.run_until(world.changed_at + QUIET);
    }
    // The questions of the checkers are not part of the day: nothing of them is lost.
    world.net.loss = 0.0;
    world.sip_loss = 0.0;
    let mut faults = checkers::agreement(world);
    faults.extend((0..peers).flat_map(|h| checkers::durability(world, h)));
    let at = world.at;
    for phone in 0..world.phones.len() {
        world.phones[phone].hang_up(at);
    }
    world.run_for(AFTERMATH);
    faults.extend(checkers::receipts(world));
    faults.extend(checkers::equivocation(world));
    faults.extend(checkers::calm(world));
    faults.extend((0..peers).flat_map(|h| checkers::durability(world, h)));
    if faults.is_empty() { Ok(seen(world)) } else { Err(faults) }
}

fn set_up(world: &mut World, peers: usize) {
    for _ in 0..peers {
        world.add_host();
    }
    for host in 0..peers {
        for user in ["ann", "bob"].iter().take(world.rng.random_range(1..=2)) {
            world.add_account(host, user, "a good long password", true);
            for _ in 0..world.rng.random_range(1..=2) {
                let at_home = world.rng.random_bool(0.6);
                let server = if at_home { host } else { world.rng.random_range(0..peers) };
                add_phone(world, host, server, user);
            }
        }
    }
    (world.net.loss, world.sip_loss) = (LOSS, LOSS);
    for host in 0..peers {
        let after = Duration::from_millis(world.rng.random_range(0..300));
        world.restart_after(host, after);
    }
    world.run_until(Duration::from_secs(1));
}

fn add_phone(world: &mut World, home: usize, server: usize, user: &str) {
    let port = 6_000 + u16::try_from(world.phones.len()).unwrap_or_default();
    let address = ([10, 1, 0, 1], port).into();
    let (server, realm) = (world.hosts[server].address, world.hosts[home].realm.clone());
    let seed = world.rng.random();
    world.phones.push(Phone::new(address, server, user, &realm, "a good long password", seed));
}

fn kill(world: &mut World, victim: usize, sabotage: Sabotage) {
    world.crash(victim);
    let away = Duration::from_millis(world.rng.random_range(100..4_000));
    if sabotage == Sabotage::Clone {
        world.repeat_life(victim, away);
    }
    world.restart_after(victim, away);
}

/// One thing that a person, a phone or a cable does.
fn act(world: &mut World) {
    let phone = world.rng.random_range(0..world.phones.len());
    let at = world.at;
    match world.rng.random_range(0..100) {
        0..35 => {
            let expires = if world.rng.random_bool(0.9) { 600 } else { 3_600 };
            world.phones[phone].register(at, expires);
        }
        35..45 => {
            world.phones[phone].register(at, 0);
        }
        45..55 => {
            // It moves; sometimes without a word to the peer that it leaves.
            if world.rng.random_bool(0.5) {
                world.phones[phone].register(at, 0);
                world.carry(phone);
            }
            let to = world.rng.random_range(0..world.hosts.len());
            world.phones[phone].server = world.hosts[to].address;
            world.phones[phone].register(at, 600);
        }
        55..85 => {
            let callee = world.rng.random_range(0..world.phones.len());
            let target = world.phones[callee].aor();
            let talk = Duration::from_millis(world.rng.random_range(300..6_000));
            let plan = Plan {
                talk: world.rng.random_bool(0.6).then_some(talk),
                patience: Duration::from_millis(world.rng.random_range(500..20_000)),
            };
            if target != world.phones[phone].aor() {
                world.phones[phone].call(at, &target, plan);
            }
        }
        85..92 => {
            let other = world.rng.random_range(0..world.phones.len());
            let target = world.phones[other].aor();
            world.phones[phone].message(at, &target, "hello");
        }
        92..97 => world.break_a_stream(),
        _ => {
            let (a, b) =
                (world.rng.random_range(0..world.hosts.len()), world.rng.random_range(0..world.hosts.len()));
            let time = Duration::from_millis(world.rng.random_range(50..3_000));
            if a != b {
                world.interrupt(a, b, time);
            }
        }
    }
    world.carry(phone);
}

fn seen(world: &mut World) -> Seen {
    let registered = (0..world.hosts.len()).map(|h| world.hosts[h].count("registrations") as usize).sum();
    let calls = || world.phones.iter().flat_map(|p| &p.calls).filter(|c| c.is_caller);
    let mut ignored = Vec::new();
    Seen {
        peers: world.hosts.len(),
        registered,
        calls: calls().count(),
        answered: calls().filter(|c| c.was_up && c.state == State::Over).count(),
        receipts: (0..world.hosts.len())
            .map(|h| checkers::whole(world, h, &mut ignored).len())
            .sum::<usize>()
            / 2,
        entries: world.watch.entries(),
    }
}
