//! The overlay's driver: libp2p behind the words of [`crate::transport`] (docs/spec/5-network.md).
//!
//! One task owns the swarm. Commands come in and events go out through bounded queues; while the program does not take
//! events, the swarm is not polled, and the senders at the other end wait. What an event means is decided elsewhere:
//! here is only who is connected, whom to dial, and how bytes travel. Frames of an open stream go to its own task and come from
//! there: to wake the driver for each would have it look at everything that the swarm does, six times for a call.
//!
//! ```text
//!   program ──NetCommand──▶ Driver ──▶ Swarm: kad, gossipsub, requests, streams, identify, ping, mdns
//!     │  ▲  ◀──NetEvent────   │  ◀──
//!     │  └── frames ───────   └─▶ one task per open stream
//!     └───── frames ──────────────▶
//! ```

mod address;
mod behaviour;
mod codec;
mod counters;
mod dialer;
mod driver;
mod identity;
mod known;
pub mod limits;
mod listen;
mod streams;
#[cfg(test)]
mod tests;

use crate::transport::{NetCommand, NetEvent, StreamId};
use counters::Counters;
use dots_wire::SecretKey;
use driver::Driver;
use limits::{COMMANDS_MAX, EVENTS_MAX, SHUTDOWN_MAX};
use std::{collections::HashMap, path::PathBuf, sync::Arc};
use streams::{Said, task::Writer};
use tokio::{sync::mpsc, task::JoinHandle};

pub struct NetConfig {
    pub key: SecretKey,
    /// The network's name: peers of two names never meet.
    pub network: String,
    /// Multiaddrs, e.g. `/ip4/0.0.0.0/udp/4001/quic-v1`, `/ip4/0.0.0.0/tcp/4001`.
    pub listen: Vec<String>,
    /// Multiaddrs of peers, with `/p2p/<peer id>` or without.
    pub bootstrap: Vec<String>,
    /// Find peers on the LAN.
    pub mdns: bool,
    /// The file that keeps the peers that we knew; without it they are known for one life.
    pub known: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("{address}: not an address of a peer ({reason}); it looks like /ip4/192.0.2.1/udp/4001/quic-v1")]
    Address { address: String, reason: String },
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: String, reason: String },
    #[error("{0:?} is no name for a network: 1 to 63 letters, digits, '-', '_' or '.'")]
    Network(String),
    #[error("the network stack does not start: {0}")]
    Transport(String),
}

/// A peer's place in the network.
pub struct Net {
    commands: mpsc::Sender<NetCommand>,
    events: mpsc::Receiver<Said>,
    /// Of each open stream.
    writers: HashMap<StreamId, Writer>,
    listen_addrs: Vec<String>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Net {
    /// Listens, then runs in the background. The error names the address that cannot be parsed or had.
    pub async fn start(config: NetConfig) -> Result<Net, NetError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if config.network.is_empty() || config.network.len() > 63 || !config.network.chars().all(fits) {
            return Err(NetError::Network(config.network));
        }
        let bootstrap =
            config.bootstrap.iter().map(|a| listen::parse(a)).collect::<Result<Vec<_>, NetError>>()?;
        let mut swarm = behaviour::swarm(&config.key, &config.network, config.mdns)?;
        let listen_addrs = listen::listen(&mut swarm, &config.listen).await?;
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let counters = Arc::new(Counters::default());
        let driver = Driver::new(swarm, &config, bootstrap, commands_out, events_in, counters.clone());
        let task = tokio::spawn(driver.run());
        Ok(Net { commands, events, writers: HashMap::new(), listen_addrs, counters, task })
    }

    /// Where we listen: concrete addresses, each with our peer id.
    pub fn listen_addrs(&self) -> &[String] {
        &self.listen_addrs
    }

    /// `false`: the queue is full (counted), or the driver is gone. Never waits.
    pub fn send(&mut self, command: NetCommand) -> bool {
        match command {
            NetCommand::StreamSend { stream, frame } => self.send_frame(stream, frame),
            NetCommand::StreamClose { stream } => {
                self.writers.remove(&stream);
            }
            command => {
                let sent = self.commands.try_send(command).is_ok();
                if !sent {
                    self.counters.commands_full.add();
                }
                return sent;
            }
        }
        true
    }

    /// On a stream that is gone it is lost; that it is gone was said, or will be.
    fn send_frame(&mut self, stream: StreamId, frame: Vec<u8>) {
        let Some(writer) = self.writers.get(&stream) else { return };
        if !writer.send(frame) {
            self.counters.streams_full.add();
            self.writers.remove(&stream);
        }
    }

    /// The next event. Cancel safe. `None`: the driver is gone.
    pub async fn recv(&mut self) -> Option<NetEvent> {
        let said = self.events.recv().await?;
        Some(self.heard(said))
    }

    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<NetEvent> {
        let said = self.events.try_recv().ok()?;
        Some(self.heard(said))
    }

    fn heard(&mut self, said: Said) -> NetEvent {
        match (&said.event, said.writer) {
            (NetEvent::StreamOpened { stream, .. }, Some(writer)) => {
                self.writers.insert(*stream, writer);
            }
            (NetEvent::StreamClosed { stream }, _) => {
                self.writers.remove(stream);
            }
            (_, writer) => debug_assert!(writer.is_none(), "a writer comes with its stream"),
        }
        said.event
    }

    /// What was refused and dropped since the start: name, count.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.counters.all()
    }

    /// Closes streams after what is queued, then connections, so that others know at once. Afterwards the ports are free.
    pub async fn shutdown(self) {
        let Net { commands, mut events, writers, listen_addrs, task, .. } = self;
        drop((commands, writers));
        let drain = async { while events.recv().await.is_some() {} };
        let _ = tokio::time::timeout(SHUTDOWN_MAX * 2, drain).await;
        let _ = tokio::time::timeout(SHUTDOWN_MAX, task).await;
        let _ = tokio::time::timeout(SHUTDOWN_MAX, listen::wait_until_free(&listen_addrs)).await;
    }
}
