//! Datagrams, on the loop's own task: no channel and no thread stands between the socket and the peer. What has come is
//! read in batches of one system call each, with the address that it was sent to, and answers leave from that address:
//! so a wildcard is as good as a named address, also for who changes his own with each datagram.

use dots_sip::{Flow, Transport};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    task::Poll,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Keep-alives (CRLF, NULs, `jaK`, nothing) are shorter than any SIP message.
const MESSAGE_BYTES_MIN: usize = 16;
/// System calls in one turn, of all sockets together.
const READS_MAX: usize = 8;
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// The UDP sockets, and the addresses that they are bound to (maybe wildcards).
pub(super) struct Ports {
    ports: Vec<Port>,
    buffers: Vec<Vec<u8>>,
    /// The socket that is read first in the next turn.
    next: usize,
}

struct Port {
    bound: SocketAddr,
    /// Watched for reading only. A datagram that has left frees room to write, and who watches for that is woken by each.
    socket: AsyncFd<UdpSocket>,
    state: UdpSocketState,
}

impl Port {
    fn new(socket: UdpSocket) -> io::Result<Port> {
        let state = UdpSocketState::new((&socket).into())?;
        may_fragment(&socket)?;
        let bound = socket.local_addr()?;
        #[expect(
            deprecated,
            reason = "a UdpSocket owns its descriptor and never changes it; the other way is unsafe code"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Port { bound, socket, state })
    }

    fn recv(&self, buffers: &mut [Vec<u8>], meta: &mut [RecvMeta; BATCH_SIZE]) -> io::Result<usize> {
        let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        self.socket.try_io(Interest::READABLE, |socket| self.state.recv(socket.into(), &mut slices, meta))
    }

    /// Fewer came than there was room for, so nothing more is there: whoever waits for the socket need not ask once more to
    /// learn that. What comes from now on wakes as ever, since the socket reports edges.
    fn is_dry(&self) {
        let dry = |_: &UdpSocket| -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
        let _ = self.socket.try_io(Interest::READABLE, dry);
    }

    fn send(&self, bytes: &[u8], flow: &Flow) -> io::Result<()> {
        let from = self.bound.ip().is_unspecified() && !flow.local.ip().is_unspecified();
        let transmit = Transmit {
            destination: flow.remote,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: from.then(|| flow.local.ip()),
        };
        self.state.try_send(self.socket.get_ref().into(), &transmit)
    }

    /// Is `local` (concrete) an address of this socket?
    fn serves(&self, local: &SocketAddr) -> bool {
        self.bound.port() == local.port()
            && self.bound.is_ipv4() == local.is_ipv4()
            && (self.bound.ip() == local.ip() || self.bound.ip().is_unspecified())
    }
}

/// QUIC forbids fragments; a SIP message may be longer than a packet (RFC 3261 §18.1.1 wants 65,535 bytes taken).
fn may_fragment(socket: &UdpSocket) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt::{
            Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
        };
        match socket.local_addr()? {
            SocketAddr::V4(_) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::WANT)?,
            SocketAddr::V6(_) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT)?,
        }
    }
    Ok(())
}

impl Ports {
    pub fn new(sockets: Vec<UdpSocket>) -> io::Result<Ports> {
        let ports = sockets.into_iter().map(Port::new).collect::<io::Result<_>>()?;
        Ok(Ports { ports, buffers: vec![vec![0; DATAGRAM_BYTES_MAX]; BATCH_SIZE], next: 0 })
    }

    pub fn bound(&self) -> impl Iterator<Item = SocketAddr> {
        self.ports.iter().map(|port| port.bound)
    }

    /// Until a socket has something to read. Cancel-safe.
    pub async fn readable(&self) {
        poll_fn(|cx| {
            let ready = self.ports.iter().any(|port| port.socket.poll_read_ready(cx).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Hands out what is there, in rounds over the sockets: none of them waits for another's flood.
    pub fn read(&mut self, mut take: impl FnMut(Flow, &[u8])) {
        let count = self.ports.len();
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut dry = 0;
        for turn in 0..READS_MAX {
            let Some(port) = self.ports.get((self.next + turn) % count.max(1)) else { return };
            // An error is: nothing there, or a phone's ICMP "port unreachable" for an earlier answer of ours.
            let read = port.recv(&mut self.buffers, &mut meta).unwrap_or_default();
            if read > 0 && read < BATCH_SIZE {
                port.is_dry();
            }
            dry = if read == BATCH_SIZE { 0 } else { dry + 1 };
            for (buffer, meta) in self.buffers.iter().zip(&meta).take(read) {
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                let flow = Flow {
                    transport: Transport::Udp,
                    connection: 0,
                    local: local_of(port.bound, meta),
                    remote: meta.addr,
                };
                // Datagrams of one length may come joined together by the kernel.
                let datagrams = bytes.chunks(meta.stride.max(1));
                datagrams.filter(|d| d.len() >= MESSAGE_BYTES_MIN).for_each(|d| take(flow, d));
            }
            if dry >= count {
                break;
            }
        }
        self.next = self.next.wrapping_add(1) % count.max(1);
    }

    /// Never waits. `false`: no such socket, or its buffer is full.
    pub fn send(&self, flow: &Flow, bytes: &[u8]) -> bool {
        let port = self.ports.iter().find(|port| port.serves(&flow.local));
        port.is_some_and(|port| port.send(bytes, flow).is_ok())
    }

    /// Datagrams that the kernel dropped because we did not read them in time: the last column of `/proc/net/udp` and
    /// `udp6`, for our ports. 0 where there is no such table.
    pub fn kernel_drops(&self) -> u64 {
        let ports: Vec<u16> = self.bound().map(|bound| bound.port()).collect();
        let tables = ["/proc/net/udp", "/proc/net/udp6"].map(std::fs::read_to_string);
        tables.iter().flatten().map(|table| drops_of(table, &ports)).sum()
    }
}

/// The address of ours that a datagram was sent to. A broadcast or multicast address is nobody's to answer from.
fn local_of(bound: SocketAddr, meta: &RecvMeta) -> SocketAddr {
    let is_ours = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    };
    match meta.dst_ip.filter(is_ours) {
        Some(ip) if bound.ip().is_unspecified() => SocketAddr::new(ip, bound.port()),
        Some(_) => bound,
        None => SocketAddr::new(super::local_ip_toward(meta.addr).unwrap_or(bound.ip()), bound.port()),
    }
}

fn drops_of(table: &str, ports: &[u16]) -> u64 {
    let row = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let port = u16::from_str_radix(words.nth(1)?.rsplit_once(':')?.1, 16).ok()?;
        let drops = words.last()?.parse::<u64>().ok()?;
        ports.contains(&port).then_some(drops)
    };
    table.lines().skip(1).filter_map(row).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket_at(address: &str) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    async fn ports_at(addresses: &[&str]) -> (Ports, Vec<SocketAddr>) {
        let mut sockets = Vec::new();
        for address in addresses {
            sockets.push(socket_at(address).expect("a socket"));
        }
        let ports = Ports::new(sockets).expect("options of a socket");
        let bound = ports.bound().collect();
        (ports, bound)
    }

    /// Reads until `enough` have come.
    async fn read(ports: &mut Ports, enough: usize) -> Vec<(Flow, Vec<u8>)> {
        let mut batch = Vec::new();
        while batch.len() < enough {
            ports.readable().await;
            ports.read(|flow, bytes| batch.push((flow, bytes.to_vec())));
        }
        batch
    }

    #[test]
    fn the_kernel_s_drops_of_our_ports_are_found() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                     12: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 1 2 0000000000000000 17\n\
                     13: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 1 2 0000000000000000 5\n";
        assert_eq!(drops_of(table, &[0x13c4]), 17);
        assert_eq!(drops_of(table, &[1]), 0);
        assert_eq!(drops_of("rubbish", &[1]), 0);
    }

    #[tokio::test]
    async fn a_flood_at_one_socket_leaves_the_other_its_turn() {
        let (mut ports, bound) = ports_at(&["127.0.0.1:0", "127.0.0.1:0"]).await;
        let (flooded, quiet) = (bound[0], bound[1]);
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for n in 0..100 {
            phone.send_to(format!("datagram number {n:04}").as_bytes(), flooded).expect("sent");
        }
        phone.send_to(b"a datagram of a quiet phone", quiet).expect("sent");
        let mut batch = read(&mut ports, 1).await;
        assert!(batch.iter().any(|(flow, _)| flow.local == quiet), "in the first turn");
        if batch.len() < 101 {
            batch.extend(read(&mut ports, 101 - batch.len()).await);
        }
        assert_eq!(batch.iter().filter(|(flow, _)| flow.local == flooded).count(), 100);
    }

    /// Behind a wildcard an answer leaves from the address that was written to: a phone takes no other's.
    #[tokio::test]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        for (wildcard, ours, phone) in
            [("0.0.0.0:0", "127.0.0.7", "127.0.0.9:0"), ("[::]:0", "::1", "[::1]:0")]
        {
            let Ok(socket) = socket_at(wildcard) else { continue };
            let mut ports = Ports::new(vec![socket]).expect("options of a socket");
            let port = ports.bound().next().expect("one").port();
            let at = SocketAddr::new(ours.parse().expect("an address"), port);
            let phone = tokio::net::UdpSocket::bind(phone).await.expect("a socket");
            phone.connect(at).await.expect("a route");
            phone.send(b"a datagram of some length").await.expect("sent");
            let (flow, _) = read(&mut ports, 1).await.remove(0);
            assert_eq!((flow.local, flow.remote), (at, phone.local_addr().expect("bound")));
            assert!(ports.send(&flow, b"back"));
            let mut answer = [0; 16];
            assert_eq!(phone.recv(&mut answer).await.expect("from the address that it asked"), 4);
        }
    }

    #[tokio::test]
    async fn a_message_longer_than_a_packet_comes_and_goes() {
        let (mut ports, bound) = ports_at(&["127.0.0.1:0"]).await;
        let phone = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let long = vec![b'x'; 65_000];
        phone.send_to(&long, bound[0]).await.expect("sent");
        let (flow, bytes) = read(&mut ports, 1).await.remove(0);
        assert_eq!(bytes, long);
        assert!(ports.send(&flow, &long));
        let mut answer = vec![0; DATAGRAM_BYTES_MAX];
        assert_eq!(phone.recv(&mut answer).await.expect("an answer"), long.len());
    }

    /// What is sent must not wake who waits for something to read, and a socket that was read dry wakes for the next datagram.
    #[tokio::test]
    async fn only_what_comes_wakes() {
        let (mut ports, bound) = ports_at(&["127.0.0.1:0"]).await;
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for n in 0..50 {
            phone.send_to(format!("datagram number {n:04}").as_bytes(), bound[0]).expect("sent");
            let (flow, _) = read(&mut ports, 1).await.remove(0);
            assert!(ports.send(&flow, b"an answer of some length"));
            phone.recv(&mut [0; 64]).expect("the answer");
            let woken = tokio::time::timeout(std::time::Duration::ZERO, ports.readable()).await;
            assert!(woken.is_err(), "nothing came");
        }
    }

    #[tokio::test]
    async fn datagrams_of_one_length_stay_apart() {
        let (mut ports, bound) = ports_at(&["127.0.0.1:0"]).await;
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sent: Vec<Vec<u8>> = (0..40).map(|n| format!("datagram number {n:04}").into_bytes()).collect();
        for datagram in &sent {
            phone.send_to(datagram, bound[0]).expect("sent");
        }
        let came: Vec<Vec<u8>> = read(&mut ports, 40).await.into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(came, sent);
    }
}
