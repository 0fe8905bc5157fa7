//! What silence costs, in virtual time: a call toward a peer that hangs and that nobody knows to be dead yet, and toward one
//! that is known to be.

use dots_testnet::sim::{
    World,
    net::Fault,
    phone::{Phone, Plan},
};
use std::time::Duration;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const ALICE: usize = 0;
const PASSWORD: &str = "a good long password";
const PLAN: Plan = Plan { talk: Some(Duration::from_secs(1)), patience: Duration::from_secs(30) };
/// LIVE-11, with the two questions and answers of a phone that is 30 ms away and has to be challenged.
const UNKNOWN: Duration = Duration::from_millis(3_000 + 120);
/// The same of a peer that is known to be dead, and two more between peers, 80 ms away: no home is asked, but others are.
const KNOWN: Duration = Duration::from_millis(100 + 120);

/// alice@r0.test at A and bob@r1.test, whose home is B, at `serves`.
fn world(seed: u64, fault: Fault, serves: usize) -> World {
    let mut world = World::new(seed);
    world.net.fault = fault;
    for (host, user) in [(A, "alice"), (B, "bob"), (C, "carol")] {
        world.add_host();
        world.hosts[host].skew_ms = 0;
        world.add_account(host, user, PASSWORD, true);
        world.start(host);
    }
    world.run_for(Duration::from_secs(2));
    for (phone, (home, server, user)) in [(A, A, "alice"), (B, serves, "bob")].into_iter().enumerate() {
        let address = ([10, 1, 0, 9], 6_000 + phone as u16).into();
        let (server, realm) = (world.hosts[server].address, world.hosts[home].realm.clone());
        world.phones.push(Phone::new(address, server, user, &realm, PASSWORD, phone as u64));
        let at = world.at;
        world.phones[phone].register(at, 600);
        world.carry(phone);
        world.run_for(Duration::from_secs(1));
    }
    // What was put into the DHT is there.
    world.run_for(Duration::from_secs(5));
    world
}

/// The answer to a call, and how long it took.
fn call(world: &mut World) -> (Option<u16>, Duration) {
    let since = world.at;
    world.phones[ALICE].call(since, "bob@r1.test", PLAN);
    world.carry(ALICE);
    let answer = |w: &World| {
        let received =
            w.phones[ALICE].received.iter().filter(|(at, m)| *at >= since && m.method() == "INVITE");
        let finals = received.filter_map(|(at, m)| Some((m.status()?, *at - since)));
        finals.into_iter().find(|(status, _)| *status >= 200 && *status != 407)
    };
    world.run_while(Duration::from_secs(20), |w| answer(w).is_none());
    let (status, took) = answer(world).unzip();
    world.run_for(Duration::from_millis(200));
    (status, took.unwrap_or(Duration::MAX))
}

/// The silent peer is the only home of bob's realm, and whether its log was heard makes no difference.
#[test]
fn a_call_toward_a_peer_that_hangs_fails_within_three_seconds_and_then_at_once() {
    for seed in 0..8 {
        for fault in [Fault::None, Fault::HidesLog] {
            let mut world = world(seed, fault, B);
            assert_eq!(call(&mut world).0, Some(200), "seed {seed}, {fault:?}: before");
            world.run_for(Duration::from_secs(5));
            world.hosts[B].is_hung = true;
            let hung_at = world.at;
            let mut took = Vec::new();
            while world.at < hung_at + Duration::from_secs(6) {
                let is_known = world.at > hung_at + Duration::from_millis(4_500);
                let (status, time) = call(&mut world);
                let limit = match (is_known, fault) {
                    (false, _) => UNKNOWN,
                    (true, Fault::None) => KNOWN,
                    // Those who may know more are asked.
                    (true, _) => KNOWN + Duration::from_millis(200),
                };
                took.push(time);
                assert_eq!(status, Some(480), "seed {seed}, {fault:?}: {took:?}");
                assert!(time <= limit, "seed {seed}, {fault:?}: {took:?}");
            }
            if seed == 0 {
                eprintln!("{fault:?}: {took:?}");
            }
            // It goes on, and so do its phones' calls.
            world.hosts[B].is_hung = false;
            world.connect(A, B);
            world.connect(C, B);
            world.run_for(Duration::from_secs(6));
            assert_eq!(call(&mut world).0, Some(200), "seed {seed}, {fault:?}: after");
        }
    }
}

/// bob is at C, and his home hangs: the log says where he is, or the DHT does.
#[test]
fn a_home_that_hangs_costs_a_call_to_its_roaming_phone_no_more_than_its_time() {
    for seed in 0..8 {
        for fault in [Fault::None, Fault::HidesLog] {
            let mut world = world(seed, fault, C);
            world.hosts[B].is_hung = true;
            let hung_at = world.at;
            while world.at < hung_at + Duration::from_secs(6) {
                let (status, time) = call(&mut world);
                assert_eq!(status, Some(200), "seed {seed}, {fault:?}: {time:?}");
                assert!(time <= UNKNOWN, "seed {seed}, {fault:?}: {time:?}");
                world.run_for(Duration::from_secs(2));
            }
        }
    }
}
