//! What a call across two peers costs, counted: signatures, frames between the peers, records that wait for the disk.
//!
//! Both phones are registered at their homes, so no signature is needed to place a call, and its receipt shares one with all
//! that end within the same five seconds. What is counted here does not depend on the machine.

use dots_testnet::sim::{
    World,
    phone::{Phone, Plan},
};
use std::time::Duration;

const CALLS: u64 = 20;
const PASSWORD: &str = "a good long password";

/// `CALLS` callers at the first peer, as many callees at the second.
fn world() -> World {
    let mut world = World::new(11);
    for host in 0..2 {
        world.add_host();
        world.hosts[host].skew_ms = 0;
        for n in 0..CALLS {
            world.add_account(host, &format!("u{n}"), PASSWORD, true);
        }
        world.start(host);
    }
    world.run_for(Duration::from_secs(2));
    for host in 0..2 {
        for n in 0..CALLS {
            let port = 6_000 + u16::try_from(world.phones.len()).expect("a port");
            let (server, realm) = (world.hosts[host].address, world.hosts[host].realm.clone());
            let seed = u64::from(port);
            let address = ([10, 1, 0, 9], port).into();
            world.phones.push(Phone::new(address, server, &format!("u{n}"), &realm, PASSWORD, seed));
            let (at, phone) = (world.at, world.phones.len() - 1);
            world.phones[phone].register(at, 3_600);
            world.carry(phone);
        }
    }
    world.run_for(Duration::from_secs(10));
    world
}

/// What both hosts counted under this name.
fn counted(world: &World, name: &str) -> u64 {
    world.hosts.iter().map(|host| host.count(name)).sum()
}

const COUNTED: [&str; 6] = [
    "grant_signatures_made",
    "grant_signatures_checked",
    "receipt_signatures_made",
    "receipt_signatures_checked",
    "sim_frames",
    "sim_receipts_synced",
];

#[test]
fn a_call_between_two_homes_costs_no_signature_of_its_own() {
    let mut world = world();
    let before = COUNTED.map(|name| counted(&world, name));
    for caller in 0..CALLS as usize {
        let target = world.phones[CALLS as usize + caller].aor();
        let (talk, patience) = (Some(Duration::from_secs(1)), Duration::from_secs(20));
        let at = world.at;
        world.phones[caller].call(at, &target, Plan { talk, patience });
        world.carry(caller);
        world.run_for(Duration::from_millis(20));
    }
    world.run_for(Duration::from_secs(30));
    let after = COUNTED.map(|name| counted(&world, name));
    let cost: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    eprintln!("{CALLS} calls: {COUNTED:?} {cost:?}");
    // LEG-3: both sides know both nonces, else the two would name two receipts.
    assert_eq!(counted(&world, "receipts_completed"), 2 * CALLS, "each call has its receipt at both");

    let [granted, checked, made, verified, frames, synced] = cost[..] else { panic!("six counters") };
    assert_eq!((granted, checked), (0, 0), "a home speaks for its own phones");
    // Claims of one side, then both sides' seals: one signature over each bundle, however many calls are in it. The calls took
    // two seconds, so they are one bundle or two.
    assert!(made <= 2 * 4 && verified <= 2 * 4, "{made} made, {verified} checked for {CALLS} calls");
    // INVITE, 180, 200, ACK, BYE, 200; the rest, one or two, are acknowledgements of frames that none went back for in 100 ms.
    assert!(frames <= 8 * CALLS, "{frames} frames for {CALLS} calls");
    assert!(synced <= 8, "{synced} syncs of receipts for {CALLS} calls");
}
