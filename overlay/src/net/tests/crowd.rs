//! Many peers: finding each other, gossip, restarts.

use super::*;
use crate::transport::Verdict;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Long for a message to come, short for its verdict to be given up (`VERDICT_MAX`).
const MISSED: Duration = Duration::from_secs(3);

/// How many each has met and heard.
type Progress = Arc<Mutex<Vec<(usize, usize)>>>;

/// Takes part until told otherwise: publishes one message once it knows everybody, passes on the others', reports when
/// it has all.
async fn gossiper(mut peer: Peer, n: u8, peers: usize, done: mpsc::Sender<u8>, progress: Progress) {
    let (mut connected, mut heard) = (BTreeSet::new(), BTreeSet::new());
    loop {
        progress.lock().expect("nobody fails")[usize::from(n) - 1] = (connected.len(), heard.len());
        match peer.net.recv().await.expect("the driver runs") {
            NetEvent::Connected { peer: other } => {
                assert!(connected.insert(other), "connected twice");
                if connected.len() == peers - 1 {
                    peer.say(NetCommand::Publish { body: format!("message of {n}").into_bytes() });
                }
            }
            NetEvent::Disconnected { peer: other } => {
                panic!("{n} lost {other} of {}: {:?}", connected.len(), peer.net.counters())
            }
            NetEvent::Gossip { id, body, .. } => {
                peer.say(NetCommand::GossipVerdict { id, verdict: Verdict::Forward });
                assert!(heard.insert(body), "one message twice");
                if heard.len() == peers - 1 {
                    done.send(n).await.expect("the test waits");
                }
            }
            _ => {}
        }
    }
}

/// All start with one bootstrap peer; each must hear what each other says.
async fn all_hear_all(peers: u8) {
    let began = std::time::Instant::now();
    let (done, mut all_done) = mpsc::channel(usize::from(peers));
    let first = peer(1, &[]).await;
    let mut all = vec![];
    for n in 2..=peers {
        all.push((n, peer(n, &[&first]).await));
    }
    all.push((1, first));
    let mut tasks = JoinSet::new();
    let progress = Progress::new(Mutex::new(vec![(0, 0); usize::from(peers)]));
    for (n, peer) in all {
        tasks.spawn(gossiper(peer, n, usize::from(peers), done.clone(), progress.clone()));
    }
    let all = async {
        for _ in 0..peers {
            tokio::select! {
                n = all_done.recv() => drop(n.expect("the tasks run")),
                Some(ended) = tasks.join_next() => ended.expect("nobody fails"),
            }
        }
    };
    let ended = timeout(PATIENCE, all).await;
    ended.unwrap_or_else(|_| panic!("met and heard: {:?}", progress.lock().expect("nobody fails")));
    eprintln!("{peers} peers, {} messages each, in {:?}", peers - 1, began.elapsed());
}

#[tokio::test]
async fn twenty_peers_from_one_bootstrap_all_hear_all() {
    all_hear_all(20).await;
}

/// A runtime that is not driven is a process that hangs: its kernel still takes packets, nobody answers.
#[test]
fn a_peer_that_hangs_is_missed() {
    use tokio::runtime::Builder;
    let witness = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    for kind in ["/quic-v1", "/tcp/"] {
        let doomed = Builder::new_current_thread().enable_all().build().expect("starts");
        let mut a = doomed.block_on(peer(1, &[]));
        let a_id = a.id;
        let address = a.net.listen_addrs().iter().find(|l| l.contains(kind)).expect("it listens").clone();
        let mut b =
            witness.block_on(start(NetConfig { bootstrap: vec![address], listen: vec![], ..config(2, &[]) }));
        let b_id = b.id;
        let met = witness.spawn(async move {
            b.connected(a_id).await;
            b
        });
        let mut b = doomed.block_on(async {
            a.connected(b_id).await;
            met.await.expect("it runs")
        });
        let began = std::time::Instant::now();
        witness.block_on(b.disconnected(a_id));
        let took = began.elapsed();
        eprintln!("{kind}: missed after {took:?}");
        assert!(took <= Duration::from_secs(30), "{took:?}");
    }
}

/// NET-8.
#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    b.connected(a.id).await;
    let listen: Vec<String> =
        a.net.listen_addrs().iter().filter_map(|l| Some(l.split_once("/p2p/")?.0.to_owned())).collect();
    let id = a.id;
    a.net.shutdown().await;
    for _ in 0..2 {
        b.disconnected(id).await;
        // It knows nobody: the other one must call.
        let mut again = start(NetConfig { listen: listen.clone(), ..config(1, &[]) }).await;
        again.connected(b.id).await;
        b.connected(id).await;
        b.say(NetCommand::Request { id: 1, peer: id, protocol: Protocol::Log, body: vec![] });
        again.request().await;
        again.net.shutdown().await;
    }
}

/// A port for each of QUIC and TCP that was free just now, as addresses.
async fn addresses(n: u8) -> Vec<String> {
    let peer = peer(n, &[]).await;
    let addresses = peer.net.listen_addrs().to_vec();
    peer.net.shutdown().await;
    addresses
}

/// NET-10: whoever dialled whom.
#[tokio::test]
async fn two_peers_that_call_each_other_at_once_are_connected_once() {
    let (of_a, of_b) = (addresses(1).await, addresses(2).await);
    let bare = |addresses: &[String]| -> Vec<String> {
        addresses.iter().filter_map(|a| Some(a.split_once("/p2p/")?.0.to_owned())).collect()
    };
    // Each also has its own address in its list, as when all share one configuration; and one without a peer id.
    let bootstrap = [of_a.clone(), of_b.clone(), bare(&of_a), bare(&of_b)].concat();
    let with = |n, listen| NetConfig { listen, bootstrap: bootstrap.clone(), ..config(n, &[]) };
    let (mut a, mut b) = tokio::join!(start(with(1, bare(&of_a))), start(with(2, bare(&of_b))));
    for (x, y) in [(&mut a, b.id), (&mut b, SecretKey::from_bytes(&[1; 32]).expect("a scalar").peer_id())] {
        x.connected(y).await;
        // A ping after the first one nothing has changed.
        for _ in 0..2 {
            let seen = |e: &NetEvent| match e {
                NetEvent::Connected { .. } | NetEvent::Disconnected { .. } => panic!("{e:?}"),
                NetEvent::Seen { rtt, .. } => *rtt,
                _ => None,
            };
            x.take("a ping", seen).await;
        }
    }
}

#[tokio::test]
async fn a_bootstrap_address_needs_no_peer_id() {
    let a = peer(1, &[]).await;
    for kind in ["/tcp/", "/quic-v1"] {
        let address = a.net.listen_addrs().iter().find(|l| l.contains(kind)).expect("it listens");
        let bare = address.split_once("/p2p/").expect("has a peer id").0;
        let mut b = start(NetConfig { bootstrap: vec![bare.to_owned()], ..config(2, &[]) }).await;
        b.connected(a.id).await;
        b.net.shutdown().await;
    }
}

/// NET-3: a name of another network is another protocol.
#[tokio::test]
async fn networks_do_not_mix() {
    let mut a = peer(1, &[]).await;
    let mut other = start(NetConfig { network: "other".to_owned(), ..config(2, &[&a]) }).await;
    // Twice: it is told to call there, and tries again.
    other.counted("net_foreign_network", 2, |e| panic!("{e:?}")).await;
    other.say(NetCommand::Request { id: 1, peer: a.id, protocol: Protocol::Log, body: vec![] });
    let answer = other.event("an answer", |_| true).await;
    assert!(matches!(answer, NetEvent::Response { id: 1, result: Err(_) }), "{answer:?}");
    // The first thing that `a` hears of is a peer of its own network.
    let b = peer(3, &[&a]).await;
    assert_eq!(a.event("a connection", |_| true).await, NetEvent::Connected { peer: b.id });
}

/// NET-6.
#[tokio::test]
async fn who_passes_on_invalid_messages_is_no_longer_heard() {
    // b refuses what a says. c passes on none of that (who does is as bad), and so is believed in the end.
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    let mut c = peer(3, &[&a, &b]).await;
    let ids = [a.id, b.id, c.id];
    for one in [&mut a, &mut b, &mut c] {
        one.meets(&ids).await;
    }
    let gossip = |e: &NetEvent| match e {
        NetEvent::Gossip { from, id, body } => Some((*from, *id, body.clone())),
        _ => None,
    };
    for n in 0..100u8 {
        a.say(NetCommand::Publish { body: vec![n; 50] });
        let (_, of_c, _) = c.take("a message", gossip).await;
        let heard = timeout(MISSED, b.take("a message", gossip)).await;
        match heard {
            Ok((from, id, _)) => {
                assert_eq!(from, a.id);
                b.say(NetCommand::GossipVerdict { id, verdict: Verdict::Reject });
            }
            Err(_) => {
                c.say(NetCommand::GossipVerdict { id: of_c, verdict: Verdict::Forward });
                assert_eq!(b.take("a message", gossip).await.0, c.id);
                // Nine are enough; what it counts fades by a hundredth a second, so that a slow run may hear one more.
                return assert!((9..=10).contains(&n), "{n} invalid messages were heard");
            }
        }
    }
    panic!("still heard");
}

#[tokio::test]
async fn a_message_without_a_verdict_is_let_go() {
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    a.connected(b.id).await;
    b.connected(a.id).await;
    a.say(NetCommand::Publish { body: vec![1; 100_000] });
    b.event("a message", |e| matches!(e, NetEvent::Gossip { .. })).await;
    b.counted("net_gossip_unanswered", 1, drop).await;
}

#[tokio::test]
#[ignore = "needs multicast on the host's network"]
async fn peers_on_one_lan_find_each_other() {
    let listen = || vec!["/ip4/0.0.0.0/udp/0/quic-v1".to_owned()];
    let on_lan = |n, network: &str| NetConfig {
        listen: listen(),
        mdns: true,
        network: network.to_owned(),
        ..config(n, &[])
    };
    let mut a = start(on_lan(1, "test")).await;
    let mut other = start(on_lan(2, "other")).await;
    let mut b = start(on_lan(3, "test")).await;
    a.connected(b.id).await;
    b.connected(a.id).await;
    other.counted("net_foreign_network", 1, |e| panic!("{e:?}")).await;
}
