//! What the driver refused or dropped, counted.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Counters {
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((concat!("net_", stringify!($name)), self.$name.value()),)*]
            }
        }
    };
}

counters! {
    /// Commands that found the queue full.
    commands_full,
    /// Peers whose key is not secp256k1.
    foreign_key,
    /// Peers of another network.
    foreign_network,
    /// Peers of our network that speak none of our protocols' versions.
    other_version,
    /// Peers that did not say who they are.
    silent,
    /// Connections beyond those that one address may have.
    crowded,
    /// Connections closed for others: their network had most of all.
    displaced,
    /// Incoming connections that failed before they were authenticated.
    handshakes_failed,
    /// Dials that failed.
    dials_failed,
    /// Connections closed because pings were not answered.
    pings_lost,
    /// Requests from outside beyond the limit.
    requests_refused,
    /// Requests of ours that waited for their turn at a busy peer.
    asks_waited,
    /// Requests of ours that failed: no room for what waits at that peer, no answer in time, refused there, its connection gone.
    asks_full,
    asks_timeout,
    asks_refused,
    asks_unreachable,
    /// Requests and streams toward peers that were not reached.
    unreached,
    /// Streams from outside beyond the limit.
    streams_refused,
    /// Streams closed because their queue was full.
    streams_full,
    /// Gossiped messages that got no verdict in time, or came beyond the limit.
    gossip_unanswered,
    /// Messages that reached nobody when they were published.
    gossip_unheard,
    /// Records offered that are too long.
    records_refused,
    /// Values not put because too many queries were under way.
    puts_dropped,
    /// Records dropped for others before their end.
    records_evicted,
}

#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
