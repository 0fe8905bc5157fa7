//! SIP sockets: UDP and TCP on the same addresses. Whole messages come out as events with the flow that they came on;
//! bytes go in with the flow that they shall leave on. Nothing is opened toward a phone: a phone's own flow is used.

mod tcp;
mod udp;

use dots_sip::{Flow, Transport};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{mpsc, watch},
};

/// Messages that wait for the peer. A full queue stops reading: UDP then drops in the kernel, TCP slows its sender.
const EVENTS_MAX: usize = 4_096;
/// Connected phones over TCP, where there are descriptors for so many; more are closed at once.
const CONNECTIONS_MAX: usize = 10_000;
/// One address (of IPv6, one /64) gets a quarter of them: enough for a house behind one NAT, too little to shut others out.
const PER_NETWORK: usize = 4;
/// Messages that wait for one slow TCP phone; more are dropped and counted.
const WRITES_MAX: usize = 256;
/// Remote addresses whose route we remember.
const ROUTES_MAX: usize = 10_000;

#[derive(Debug)]
pub enum SipEvent {
    Message { flow: Flow, bytes: Vec<u8> },
    Closed { flow: Flow },
}

/// Everything that listens.
pub struct SipSockets {
    pub events: mpsc::Receiver<SipEvent>,
    pub sender: SipSender,
    /// Where, with real ports; a wildcard stays one.
    pub bound: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
}

/// The way out.
#[derive(Clone)]
pub struct SipSender {
    udp: Arc<BTreeMap<SocketAddr, Arc<UdpSocket>>>,
    connections: Connections,
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
        let mut sockets = BTreeMap::new();
        let mut listeners = Vec::new();
        for address in addresses {
            let (udp, tcp) = both(*address).await.map_err(|e| (*address, e))?;
            let local = udp.local_addr().map_err(|e| (*address, e))?;
            sockets.insert(local, Arc::new(udp));
            listeners.push((local, tcp));
        }
        let routes = Arc::new(Routes::default());
        for (local, socket) in &sockets {
            tokio::spawn(udp::read(socket.clone(), *local, routes.clone(), events_tx.clone()));
        }
        for (_, listener) in listeners {
            tokio::spawn(tcp::accept(listener, connections.clone(), events_tx.clone(), stopped.clone()));
        }
        let bound = sockets.keys().copied().collect();
        let sender = SipSender { udp: Arc::new(sockets), connections };
        Ok(SipSockets { events, sender, bound, stop })
    }

    /// No new connections; those that are open live on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }
}

impl SipSender {
    /// Never waits. `false`: the flow is gone or full.
    pub fn send(&self, flow: &Flow, bytes: Vec<u8>) -> bool {
        match flow.transport {
            Transport::Udp => {
                let socket = self.udp.iter().find(|(bound, _)| serves(bound, &flow.local)).map(|(_, s)| s);
                socket.is_some_and(|s| s.try_send_to(&bytes, flow.remote).is_ok())
            }
            Transport::Tcp => {
                let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
                connections.get(&flow.connection).is_some_and(|c| c.writes.try_send(bytes).is_ok())
            }
        }
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

/// Is `local` (concrete) an address of the socket bound to `bound` (maybe a wildcard)?
fn serves(bound: &SocketAddr, local: &SocketAddr) -> bool {
    bound.port() == local.port()
        && bound.is_ipv4() == local.is_ipv4()
        && (bound.ip() == local.ip() || bound.ip().is_unspecified())
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

/// Our address toward a remote one, where we listen on a wildcard: what the kernel would send from.
#[derive(Default)]
struct Routes(Mutex<HashMap<IpAddr, IpAddr>>);

impl Routes {
    fn local_toward(&self, bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
        if !bound.ip().is_unspecified() {
            return bound;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ip) = known.get(&remote.ip()) {
            return SocketAddr::new(*ip, bound.port());
        }
        let ip = local_ip_toward(remote).unwrap_or(bound.ip());
        if known.len() >= ROUTES_MAX {
            known.clear();
        }
        known.insert(remote.ip(), ip);
        SocketAddr::new(ip, bound.port())
    }
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

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn udp_and_tcp_in_and_out_on_one_port() {
        let mut sip = SipSockets::bind(&["127.0.0.1:0".parse().expect("an address")]).await.expect("free");
        let at = sip.bound[0];
        let phone = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        phone.send_to(b"\r\n\r\n", at).await.expect("sent");
        phone.send_to(OPTIONS, at).await.expect("sent");
        let Some(SipEvent::Message { flow, bytes }) = sip.events.recv().await else { panic!("a message") };
        assert_eq!((flow.transport, flow.local, bytes.as_slice()), (Transport::Udp, at, OPTIONS));
        assert!(sip.sender.send(&flow, b"back".to_vec()));
        let mut buffer = [0; 16];
        let (n, from) = phone.recv_from(&mut buffer).await.expect("an answer");
        assert_eq!((&buffer[..n], from), (&b"back"[..], at));

        let mut phone = TcpStream::connect(at).await.expect("connected");
        phone.write_all(b"\r\n\r\n").await.expect("sent");
        phone.read_exact(&mut buffer[..2]).await.expect("a pong");
        assert_eq!(&buffer[..2], b"\r\n");
        phone.write_all(OPTIONS).await.expect("sent");
        let Some(SipEvent::Message { flow, .. }) = sip.events.recv().await else { panic!("a message") };
        assert_eq!(flow.transport, Transport::Tcp);
        assert!(sip.sender.send(&flow, b"back".to_vec()));
        phone.read_exact(&mut buffer[..4]).await.expect("an answer");
        drop(phone);
        let Some(SipEvent::Closed { flow: closed }) = sip.events.recv().await else { panic!("closed") };
        assert_eq!(closed, flow);
        assert!(!sip.sender.send(&flow, b"late".to_vec()));
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
        let Some(SipEvent::Message { flow, .. }) = sip.events.recv().await else { panic!("a message") };
        assert!(sip.sender.send(&flow, b"back".to_vec()));
        let mut all = Vec::new();
        phone.read_to_end(&mut all).await.expect("an end");
        assert_eq!(all, b"back");
        let Some(SipEvent::Closed { .. }) = sip.events.recv().await else {
            panic!("closed, and nothing else")
        };
    }
}
