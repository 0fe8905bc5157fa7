//! Real swarms on 127.0.0.1.

mod crowd;
mod dht;
mod hostile;
mod meeting;
mod streams;

use super::{Net, NetConfig};
use crate::transport::{InboundId, NetCommand, NetEvent, Protocol, StreamId};
use dots_wire::{PeerId, SecretKey};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

/// Generous: the machine may be busy. Nothing waits for it when all goes well.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Peer {
    pub net: Net,
    pub id: PeerId,
}

pub fn config(n: u8, bootstrap: &[&Peer]) -> NetConfig {
    NetConfig {
        key: SecretKey::from_bytes(&[n; 32]).expect("a scalar"),
        network: "test".to_owned(),
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned(), "/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap: bootstrap.iter().flat_map(|p| p.net.listen_addrs().to_vec()).collect(),
        mdns: false,
        known: None,
    }
}

pub async fn start(config: NetConfig) -> Peer {
    let id = config.key.peer_id();
    Peer { net: Net::start(config).await.expect("starts"), id }
}

pub async fn peer(n: u8, bootstrap: &[&Peer]) -> Peer {
    start(config(n, bootstrap)).await
}

impl Peer {
    /// The next event for which `take` has an answer; others are passed over.
    pub async fn take<T>(&mut self, what: &str, mut take: impl FnMut(&NetEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.net.recv().await.expect("the driver runs");
                if let Some(found) = take(&event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("{what} did not happen"))
    }

    pub async fn event(&mut self, what: &str, is: impl Fn(&NetEvent) -> bool) -> NetEvent {
        self.take(what, |e| is(e).then(|| e.clone())).await
    }

    pub async fn connected(&mut self, peer: PeerId) {
        self.event("a connection", |e| *e == NetEvent::Connected { peer }).await;
    }

    /// Is connected to all of `peers`, in whatever order.
    pub async fn meets(&mut self, peers: &[PeerId]) {
        let mut missing: BTreeSet<PeerId> = peers.iter().copied().filter(|p| *p != self.id).collect();
        while !missing.is_empty() {
            let new = |e: &NetEvent| match e {
                NetEvent::Connected { peer } => Some(*peer),
                _ => None,
            };
            missing.remove(&self.take("a connection", new).await);
        }
    }

    pub async fn disconnected(&mut self, peer: PeerId) {
        self.event("a disconnection", |e| *e == NetEvent::Disconnected { peer }).await;
    }

    pub async fn request(&mut self) -> (PeerId, Protocol, InboundId, Vec<u8>) {
        self.take("a request", |e| match e {
            NetEvent::Request { peer, protocol, id, body } => Some((*peer, *protocol, *id, body.clone())),
            _ => None,
        })
        .await
    }

    pub async fn stream(&mut self) -> (PeerId, StreamId, bool) {
        self.take("a stream", |e| match e {
            NetEvent::StreamOpened { peer, stream, outbound } => Some((*peer, *stream, *outbound)),
            _ => None,
        })
        .await
    }

    /// Waits until `name` was counted `at_least` times; events meanwhile go to `see`.
    pub async fn counted(&mut self, name: &str, at_least: u64, mut see: impl FnMut(NetEvent)) {
        let count = async {
            while self.count(name) < at_least {
                if let Ok(event) = timeout(Duration::from_millis(20), self.net.recv()).await {
                    see(event.expect("the driver runs"));
                }
            }
        };
        timeout(PATIENCE, count).await.unwrap_or_else(|_| panic!("{name} was not counted"));
    }

    pub fn say(&mut self, command: NetCommand) {
        assert!(self.net.send(command), "the queue has room");
    }

    pub fn count(&self, name: &str) -> u64 {
        self.net.counters().into_iter().find(|(n, _)| *n == name).expect("a counter").1
    }
}
