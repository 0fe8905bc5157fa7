//! Many at once, counted by SIPp: no registration and no call may fail, on one peer and across two. What a peer answered
//! 200 to is still there after SIGKILL, and each call across has its receipt, the same at both.

use dots_clients::types::BindingInfo;
use dots_testnet::{Error, crowd::Crowd, phones::sipp::Counts, poll, process::Peer};
use std::{collections::BTreeSet, time::Duration};

const USERS: usize = 300;
const CALLS: usize = 200;
/// On each of two peers; half of the calls in each direction.
const USERS_EACH: usize = 100;
const CALLS_EACH: usize = 500;

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

/// The calls that both peers have signed for.
fn receipts(peer: &Peer, count: usize) -> BTreeSet<String> {
    let client = peer.client().unwrap();
    let mut found = BTreeSet::new();
    let done = poll("the receipts are whole", Duration::from_secs(60), || {
        let all = client.receipts(true).map_err(|e| Error::Other(e.to_string()))?;
        let whole = all.into_iter().filter(|r| r.state == "whole" && r.verified == Some(true));
        found = whole.map(|r| r.call_id).collect();
        Ok((found.len() >= count).then_some(()))
    });
    done.unwrap_or_else(|e| panic!("{e}: {} of {count}", found.len()));
    found
}

#[test]
fn a_thousand_calls_across_two_peers() {
    let mut a = Peer::start("a.test", &[]).unwrap();
    let mut b = Peer::join(&a, "b.test", &[]).unwrap();
    a.meets(&b).unwrap();
    let (at_a, at_b) = (Crowd::new("a.test", USERS_EACH).unwrap(), Crowd::new("b.test", USERS_EACH).unwrap());
    for (crowd, peer) in [(&at_a, &a), (&at_b, &b)] {
        crowd.import(peer).unwrap();
        let counts = crowd.register(peer.sip().unwrap(), 100, 1).unwrap();
        assert_eq!(counts, Counts { successful: USERS_EACH as u64, failed: 0 });
    }
    let answering = [at_a.answer().unwrap(), at_b.answer().unwrap()];
    let calls = [
        at_a.call(a.sip().unwrap(), &at_b, CALLS_EACH, 25).unwrap(),
        at_b.call(b.sip().unwrap(), &at_a, CALLS_EACH, 25).unwrap(),
    ];
    for calls in calls {
        assert_eq!(calls.finish().unwrap(), Counts { successful: CALLS_EACH as u64, failed: 0 });
    }
    drop(answering);
    assert_eq!(receipts(&a, 2 * CALLS_EACH), receipts(&b, 2 * CALLS_EACH), "both hold the same");
    a.stop().unwrap();
    b.stop().unwrap();
}
