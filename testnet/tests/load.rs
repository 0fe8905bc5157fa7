//! Many at once, counted by SIPp: no registration and no call may fail, and what the peer answered 200 to is still
//! there after SIGKILL.

use dots_clients::types::BindingInfo;
use dots_testnet::{crowd::Crowd, phones::sipp::Counts, process::Peer};
use std::collections::BTreeSet;

const USERS: usize = 300;
const CALLS: usize = 200;

fn registered(peer: &Peer) -> BTreeSet<String> {
    let bindings: Vec<BindingInfo> = peer.client().unwrap().bindings().unwrap();
    bindings.into_iter().map(|b| b.aor).collect()
}

#[test]
fn three_hundred_users_two_hundred_calls_one_kill() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let crowd = Crowd::new("a.test", USERS).unwrap();
    crowd.import(&peer).unwrap();
    let server = peer.sip().unwrap().to_owned();
    for round in 1..=2 {
        let counts = crowd.register(&server, 100, round).unwrap();
        assert_eq!(counts, Counts { successful: USERS as u64, failed: 0 }, "round {round}");
    }
    let before = registered(&peer);
    assert_eq!(before.len(), USERS);

    let answering = crowd.answer().unwrap();
    let counts = crowd.call(&server, &crowd, CALLS, 50).unwrap().finish().unwrap();
    assert_eq!(counts, Counts { successful: CALLS as u64, failed: 0 });
    drop(answering);

    peer.kill().unwrap();
    peer.restart().unwrap();
    assert_eq!(registered(&peer), before);
    peer.stop().unwrap();
}
