//! SIP sockets: UDP and TCP on the same addresses. Whole messages come out as events with the flow that they came on;
//! bytes go in with the flow that they shall leave on. A connection is opened only where the flow says so ([`dial`]): else a
//! phone's own flow is used.

pub(crate) mod begun;
mod dial;
mod places;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
pub(crate) mod waiting;

pub use tcp::Counts;

use crate::{drivers::descriptors, peer::Sender};
use dial::Dialer;
use dots_sip::{Flow, Transport};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};
use tcp::Connections;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use waiting::{Datagram, WaitingRoom};

/// Messages of TCP phones that wait for the peer. A full queue stops reading, which slows their senders.
const EVENTS_MAX: usize = 4_096;
/// `;received=<IPv6 address>;rport=<port>` and a little.
const STAMP_BYTES: usize = 72;
/// What a socket holds for us between two turns.
const RECEIVE_BYTES: usize = 4 << 20;
/// Connected phones over TCP, where there are descriptors for so many.
const CONNECTIONS_MAX: usize = 10_000;
/// A phone registers within seconds of connecting; what has proved no account within this time is closed.
const STRANGER: Duration = Duration::from_secs(60);

/// What connections may take.
#[derive(Clone, Copy)]
struct Rules {
    most: usize,
    /// From its first packet on, for one that proves no account.
    stranger: Duration,
    /// A message that has begun is whole by then.
    whole_within: Duration,
}

#[derive(Debug)]
pub enum SipEvent {
    Message {
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// After these headers a stream holds nothing that can be told apart; they are empty where not even they are whole.
    Unframed {
        flow: Flow,
        head: Vec<u8>,
    },
    /// All of that connection has been handed out: what answers it goes out, then it is closed.
    End {
        flow: Flow,
    },
    Closed {
        flow: Flow,
    },
}

/// Why nothing more is read.
enum Ended {
    /// The peer stops.
    Peer,
    /// No messages can be told apart any more (RFC 3261 §18.3).
    Unframed,
}

/// Everything that listens, and the way out.
pub struct SipSockets {
    udp: udp::Ports,
    waiting: WaitingRoom,
    events: mpsc::Receiver<SipEvent>,
    connections: Connections,
    dialer: Dialer,
    /// Where, with real ports; a wildcard stays one.
    pub bound: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
}

/// What is there to be read.
pub enum SipInput {
    Datagrams,
    Event(SipEvent),
}

impl SipSockets {
    /// Binds UDP and TCP on each address; with port 0 both get the same free port.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<SipSockets, (SocketAddr, io::Error)> {
        let most = CONNECTIONS_MAX.min(descriptors::for_phones());
        SipSockets::with_rules(
            addresses,
            Rules { most, stranger: STRANGER, whole_within: begun::WHOLE_WITHIN },
        )
        .await
    }

    async fn with_rules(
        addresses: &[SocketAddr],
        rules: Rules,
    ) -> Result<SipSockets, (SocketAddr, io::Error)> {
        let first = addresses.first().copied().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        let (stop, stopped) = watch::channel(false);
        let connections = Connections::new(rules);
        let dialer = Dialer::new(connections.clone(), events_tx.clone(), rules.most);
        let mut sockets = Vec::new();
        let mut listeners = Vec::new();
        for address in addresses {
            let (udp, tcp) = both(*address).await.map_err(|e| (*address, e))?;
            let local = udp.local_addr().map_err(|e| (*address, e))?;
            sockets.push(udp);
            listeners.push((local, tcp));
        }
        for (_, listener) in listeners {
            tokio::spawn(tcp::accept(
                listener,
                connections.clone(),
                rules,
                events_tx.clone(),
                stopped.clone(),
            ));
        }
        let udp = udp::Ports::new(sockets).map_err(|e| (first, e))?;
        let bound = udp.bound().collect();
        Ok(SipSockets { udp, waiting: WaitingRoom::new(), events, connections, dialer, bound, stop })
    }

    /// The next thing that came: datagrams, which [`SipSockets::read_datagrams`] takes, or one event of a connection.
    /// Cancel-safe; never ends.
    pub async fn recv(&mut self) -> SipInput {
        loop {
            let event = tokio::select! {
                () = self.udp.readable() => return SipInput::Datagrams,
                () = std::future::ready(()), if !self.waiting.is_empty() => return SipInput::Datagrams,
                Some(event) = self.events.recv() => event,
            };
            match event {
                // What came before it has been answered as far as it can be.
                SipEvent::End { flow } => self.connections.end(flow.connection),
                event => return SipInput::Event(event),
            }
        }
    }

    /// The datagrams that this turn handles. Where more have come, `who` sends them says which, and the rest wait.
    pub fn read_datagrams(&mut self, batch: &mut Vec<Datagram>, who: impl Fn(&Flow, &[u8]) -> Sender) {
        self.udp.read(|flow, bytes| batch.push((flow, with_room(bytes))));
        self.waiting.turn(batch, who);
    }

    /// Never waits. `false`: the flow is gone or full.
    pub fn send(&self, flow: &Flow, bytes: Vec<u8>) -> bool {
        match flow.transport {
            Transport::Udp => self.udp.send(flow, &bytes),
            Transport::Tcp if flow.connection == 0 => self.dialer.send(flow, bytes),
            Transport::Tcp => self.connections.send(flow.connection, bytes),
        }
    }

    /// An account has answered a challenge on this connection: it may stay.
    pub fn prove(&self, flow: &Flow) {
        self.connections.prove(flow.connection);
    }

    pub fn connections(&self) -> Counts {
        self.connections.counts()
    }

    /// Datagrams that were not handled since the start, because more came than could be.
    pub fn shed(&self) -> u64 {
        self.waiting.shed()
    }

    /// Datagrams that the kernel dropped since the start.
    pub fn kernel_drops(&self) -> u64 {
        self.udp.kernel_drops()
    }

    /// No new connections; those that are open live on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }
}

/// A datagram with room for the stamp of its Via (`received` and `rport`), which is written into it.
fn with_room(bytes: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(bytes.len() + STAMP_BYTES);
    datagram.extend_from_slice(bytes);
    datagram
}

async fn both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    // With port 0 the free UDP port may be taken on TCP: another one then.
    let mut tries = if address.port() == 0 { 20 } else { 1 };
    loop {
        let udp = udp_socket(address)?;
        let port = udp.local_addr()?.port();
        tries -= 1;
        match tcp_listener(SocketAddr::new(address.ip(), port)) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(e) if tries == 0 => return Err(e),
            Err(_) => {}
        }
    }
}

fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address, socket2::Type::DGRAM)?;
    // A burst must not be lost while one turn is at work. Only root may have more than the system's limit.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
        let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address, socket2::Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    TcpListener::from_std(socket.into())
}

fn new_socket(address: SocketAddr, kind: socket2::Type) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // IPv4 has sockets of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Connecting a UDP socket sends nothing; it only asks the kernel for the route.
pub fn local_ip_toward(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
