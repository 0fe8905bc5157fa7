//! Many at once, counted by SIPp: no registration and no call may fail, and what the peer answered 200 to is still
//! there after SIGKILL.

use dots_clients::types::{AccountChange, AccountImport, BindingInfo};
use dots_testnet::{
    free_port,
    phones::sipp::{Counts, Run, Sipp},
    process::Peer,
};
use std::collections::BTreeSet;

const USERS: usize = 300;
const CALLS: usize = 200;

fn user(n: usize) -> String {
    format!("u{n}")
}
fn password(n: usize) -> String {
    format!("secret-{n}")
}
fn answer(n: usize) -> String {
    format!("[authentication username={} password={}]", user(n), password(n))
}
fn import(peer: &Peer) {
    let account =
        |n| AccountChange { aor: Some(format!("{}@a.test", user(n))), password: password(n), roaming: false };
    let import = AccountImport { accounts: (0..USERS).map(account).collect() };
    peer.client().unwrap().account_import(&import).unwrap();
}
fn registered(peer: &Peer) -> BTreeSet<String> {
    let bindings: Vec<BindingInfo> = peer.client().unwrap().bindings().unwrap();
    bindings.into_iter().map(|b| b.aor).collect()
}

#[test]
fn three_hundred_users_two_hundred_calls_one_kill() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    import(&peer);
    let target = peer.sip().unwrap().to_owned();

    // The phones answer where they registered from: one SIPp leaves the port, the next takes it.
    let port = free_port().unwrap();
    let users: Vec<String> = (0..USERS).map(|n| format!("{};{}", user(n), answer(n))).collect();
    let registrations = Run {
        scenario: "register",
        target: Some(&target),
        users: &users,
        calls: USERS,
        rate: 100,
        port,
        keys: &[],
    };
    let counts = Sipp::start(&registrations).unwrap().finish().unwrap();
    assert_eq!(counts, Counts { successful: USERS as u64, failed: 0 });
    let before = registered(&peer);
    assert_eq!(before.len(), USERS);

    let phones = Sipp::start(&Run {
        scenario: "answer",
        target: None,
        users: &[],
        calls: CALLS * 10,
        rate: 1,
        port,
        keys: &[],
    })
    .unwrap();
    let pairs: Vec<String> =
        (0..CALLS).map(|n| format!("{};{};{}", user(n), user(USERS - 1 - n), answer(n))).collect();
    let calls = Run {
        scenario: "call",
        target: Some(&target),
        users: &pairs,
        calls: CALLS,
        rate: 50,
        port: 0,
        keys: &[],
    };
    let counts = Sipp::start(&calls).unwrap().finish().unwrap();
    assert_eq!(counts, Counts { successful: CALLS as u64, failed: 0 });
    drop(phones);

    peer.kill().unwrap();
    peer.restart().unwrap();
    assert_eq!(registered(&peer), before);
    peer.stop().unwrap();
}
