//! Connections that we open, to the port where a phone listens. The core decides which; it knows such a way as the flow
//! with the number 0, and every message that it sends there goes on the one connection that leads there, opened by the
//! first.
//!
//! ```text
//!   a message for flow 0 ─▶ is there one? ─ yes ─▶ its queue
//!                               └ no ─▶ connect (4 s) ─▶ as any other connection, under a number of its own
//!                                            └ refused, silent ─▶ flow 0 is closed: whoever waits on it is told
//! ```

use super::{
    SipEvent,
    tcp::{Connections, Dialled},
};
use dots_sip::Flow;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// Longer than a phone is asked there before its flow is tried, so that a slow one may still be reached by the next.
const CONNECT: Duration = Duration::from_secs(4);
/// Open at once, where there are descriptors for so many.
const DIALLED_MAX: usize = 2_500;

#[derive(Clone)]
pub(super) struct Dialer {
    connections: Connections,
    events: mpsc::Sender<SipEvent>,
    most: usize,
    /// Flows with the number 0, and the number of the connection that leads there.
    ways: Arc<Mutex<HashMap<Flow, u64>>>,
}

impl Dialer {
    /// `places`: of all connections.
    pub fn new(connections: Connections, events: mpsc::Sender<SipEvent>, places: usize) -> Dialer {
        let most = DIALLED_MAX.min(places / 4).max(1);
        Dialer { connections, events, most, ways: Arc::default() }
    }

    fn ways(&self) -> MutexGuard<'_, HashMap<Flow, u64>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits. `false`: what leads there is full, or there is no place for another connection.
    pub fn send(&self, way: &Flow, bytes: Vec<u8>) -> bool {
        let mut ways = self.ways();
        if let Some(number) = ways.get(way) {
            return self.connections.send(*number, bytes);
        }
        if ways.len() >= self.most {
            return false;
        }
        let Some(dialled) = self.connections.dial(way.remote.ip()) else { return false };
        let number = dialled.number();
        ways.insert(*way, number);
        drop(ways);
        let is_queued = self.connections.send(number, bytes);
        tokio::spawn(self.clone().open(*way, dialled));
        is_queued
    }

    /// One connection, from its first packet to its end.
    async fn open(self, way: Flow, dialled: Dialled) {
        let number = dialled.number();
        match timeout(CONNECT, connect(&way)).await {
            Ok(Ok(stream)) => dialled.serve(stream, self.connections.clone(), self.events.clone()).await,
            Ok(Err(e)) => tracing::debug!(remote = %way.remote, %e, "a phone does not listen where it says"),
            Err(_) => {
                tracing::debug!(remote = %way.remote, "nobody answers where a phone says that it listens")
            }
        }
        self.connections.forget(number);
        self.ways().remove(&way);
        // The receiver is gone only when the peer stops.
        let _ = self.events.send(SipEvent::Closed { flow: way }).await;
    }
}

/// From the address that the phone knows us by.
async fn connect(way: &Flow) -> std::io::Result<TcpStream> {
    let socket = match way.remote {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if way.local.is_ipv4() == way.remote.is_ipv4() && !way.local.ip().is_unspecified() {
        socket.bind(SocketAddr::new(way.local.ip(), 0))?;
    }
    socket.connect(way.remote).await
}

#[cfg(test)]
mod tests;
