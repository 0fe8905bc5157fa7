//! SIP sockets: UDP and TCP on the same addresses. Whole messages come out as events with the flow that they came on;
//! bytes go in with the flow that they shall leave on. Nothing is opened toward a phone: a phone's own flow is used.

mod tcp;
mod udp;

use dots_sip::{Flow, Transport};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{mpsc, watch},
};

/// Messages of TCP phones that wait for the peer. A full queue stops reading, which slows their senders.
const EVENTS_MAX: usize = 4_096;
/// Connected phones over TCP, where there are descriptors for so many; more are closed at once.
const CONNECTIONS_MAX: usize = 10_000;
/// One address (of IPv6, one /64) gets a quarter of them: enough for a house behind one NAT, too little to shut others out.
const PER_NETWORK: usize = 4;
/// Messages that wait for one slow TCP phone; more are dropped and counted.
const WRITES_MAX: usize = 256;

#[derive(Debug)]
pub enum SipEvent {
    Message { flow: Flow, bytes: Vec<u8> },
    Closed { flow: Flow },
}

/// Everything that listens, and the way out.
pub struct SipSockets {
    udp: udp::Ports,
    events: mpsc::Receiver<SipEvent>,
    connections: Connections,
    /// Where, with real ports; a wildcard stays one.
    pub bound: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
}

/// What is there to be read.
pub enum SipInput {
    Datagrams,
    Event(SipEvent),
}

type Connections = Arc<Mutex<HashMap<u64, Connection>>>;

struct Connection {
    remote: IpAddr,
    writes: mpsc::Sender<Vec<u8>>,
}

impl SipSockets {
    /// Binds UDP and TCP on each address; with port 0 both get the same free port.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<SipSockets, (SocketAddr, io::Error)> {
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        let (stop, stopped) = watch::channel(false);
        let connections: Connections = Arc::default();
        let mut sockets = Vec::new();
        let mut listeners = Vec::new();
        for address in addresses {
            let (udp, tcp) = both(*address).await.map_err(|e| (*address, e))?;
            let local = udp.local_addr().map_err(|e| (*address, e))?;
            sockets.push((local, udp));
            listeners.push((local, tcp));
        }
        for (_, listener) in listeners {
            tokio::spawn(tcp::accept(listener, connections.clone(), events_tx.clone(), stopped.clone()));
        }
        let udp = udp::Ports::new(sockets);
        let bound = udp.bound().collect();
        Ok(SipSockets { udp, events, connections, bound, stop })
    }

    /// The next thing that came: datagrams, which [`SipSockets::read_datagrams`] takes, or one event of a connection.
    /// Cancel-safe; never ends.
    pub async fn recv(&mut self) -> SipInput {
        tokio::select! {
            () = self.udp.readable() => SipInput::Datagrams,
            Some(event) = self.events.recv() => SipInput::Event(event),
        }
    }

    /// Datagrams that have come, a batch of them.
    pub fn read_datagrams(&mut self, batch: &mut Vec<(Flow, Vec<u8>)>) {
        self.udp.read(batch);
    }

    /// Never waits. `false`: the flow is gone or full.
    pub fn send(&self, flow: &Flow, bytes: Vec<u8>) -> bool {
        match flow.transport {
            Transport::Udp => self.udp.send(flow, &bytes),
            Transport::Tcp => {
                let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
                connections.get(&flow.connection).is_some_and(|c| c.writes.try_send(bytes).is_ok())
            }
        }
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

/// May one more come from there, when `most` fit?
fn has_room(open: &HashMap<u64, Connection>, remote: IpAddr, most: usize) -> bool {
    let from_there = open.values().filter(|c| network(c.remote) == network(remote)).count();
    open.len() < most && from_there < (most / PER_NETWORK).max(1)
}

/// What one stranger can have many addresses of: in IPv6 it is the lower half.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
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
    // A burst of registrations must not be lost while one batch is at work.
    let _ = socket.set_recv_buffer_size(4 << 20);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    /// The next message or event, a datagram by itself.
    async fn next(sip: &mut SipSockets) -> SipEvent {
        loop {
            match sip.recv().await {
                SipInput::Event(event) => return event,
                SipInput::Datagrams => {
                    let mut batch = Vec::new();
                    sip.read_datagrams(&mut batch);
                    assert!(batch.len() <= 1, "one was sent");
                    if let Some((flow, bytes)) = batch.pop() {
                        return SipEvent::Message { flow, bytes };
                    }
                }
            }
        }
    }

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn udp_and_tcp_in_and_out_on_one_port() {
        let mut sip = SipSockets::bind(&["127.0.0.1:0".parse().expect("an address")]).await.expect("free");
        let at = sip.bound[0];
        let phone = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        phone.send_to(b"\r\n\r\n", at).await.expect("sent");
        phone.send_to(OPTIONS, at).await.expect("sent");
        let SipEvent::Message { flow, bytes } = next(&mut sip).await else { panic!("a message") };
        assert_eq!((flow.transport, flow.local, bytes.as_slice()), (Transport::Udp, at, OPTIONS));
        assert!(sip.send(&flow, b"back".to_vec()));
        let mut buffer = [0; 16];
        let (n, from) = phone.recv_from(&mut buffer).await.expect("an answer");
        assert_eq!((&buffer[..n], from), (&b"back"[..], at));

        let mut phone = TcpStream::connect(at).await.expect("connected");
        phone.write_all(b"\r\n\r\n").await.expect("sent");
        phone.read_exact(&mut buffer[..2]).await.expect("a pong");
        assert_eq!(&buffer[..2], b"\r\n");
        phone.write_all(OPTIONS).await.expect("sent");
        let SipEvent::Message { flow, .. } = next(&mut sip).await else { panic!("a message") };
        assert_eq!(flow.transport, Transport::Tcp);
        assert!(sip.send(&flow, b"back".to_vec()));
        phone.read_exact(&mut buffer[..4]).await.expect("an answer");
        drop(phone);
        let SipEvent::Closed { flow: closed } = next(&mut sip).await else { panic!("closed") };
        assert_eq!(closed, flow);
        assert!(!sip.send(&flow, b"late".to_vec()));
    }
    #[test]
    fn one_network_gets_a_quarter() {
        let mut open = HashMap::new();
        let mut come = |text: &str| {
            let remote: IpAddr = text.parse().expect("an address");
            let fits = has_room(&open, remote, 8);
            if fits {
                open.insert(open.len() as u64, Connection { remote, writes: mpsc::channel(1).0 });
            }
            fits
        };
        assert_eq!(["192.0.2.1", "192.0.2.1", "192.0.2.1"].map(&mut come), [true, true, false]);
        assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(&mut come), [true, true, false]);
        assert_eq!(["2001:db8:0:1::1", "192.0.2.2", "192.0.2.3"].map(&mut come), [true; 3]);
        assert_eq!(["192.0.2.4", "192.0.2.5"].map(&mut come), [true, false], "all are taken");
    }

    #[tokio::test]
    async fn what_came_before_rubbish_is_answered_then_the_connection_ends() {
        let mut sip = SipSockets::bind(&["127.0.0.1:0".parse().expect("an address")]).await.expect("free");
        let mut phone = TcpStream::connect(sip.bound[0]).await.expect("connected");
        let rubbish = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n";
        phone.write_all(&[OPTIONS, rubbish, OPTIONS].concat()).await.expect("sent");
        let SipEvent::Message { flow, .. } = next(&mut sip).await else { panic!("a message") };
        assert!(sip.send(&flow, b"back".to_vec()));
        let mut all = Vec::new();
        phone.read_to_end(&mut all).await.expect("an end");
        assert_eq!(all, b"back");
        let SipEvent::Closed { .. } = next(&mut sip).await else { panic!("closed, and nothing else") };
    }
}
