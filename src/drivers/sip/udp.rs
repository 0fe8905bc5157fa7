//! Datagrams, on the loop's own task: no channel and no thread stands between the socket and the peer. What has come is
//! read in batches, so that a burst is taken at once and still leaves the other sources of events their turn.

use dots_sip::{Flow, Transport};
use std::{
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    task::Poll,
};
use tokio::net::UdpSocket;

/// Keep-alives (CRLF, NULs, `jaK`, nothing) are shorter than any SIP message.
const MESSAGE_BYTES_MIN: usize = 16;
/// Datagrams read in one turn, of all sockets together.
const BATCH_MAX: usize = 64;
/// Remote addresses whose route we remember.
const ROUTES_MAX: usize = 10_000;
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// The UDP sockets, and the addresses that they are bound to (maybe wildcards).
pub(super) struct Ports {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    routes: Routes,
    buffer: Vec<u8>,
    /// The socket that is read first in the next turn.
    next: usize,
}

impl Ports {
    pub fn new(sockets: Vec<(SocketAddr, UdpSocket)>) -> Ports {
        Ports { sockets, routes: Routes::default(), buffer: vec![0; DATAGRAM_BYTES_MAX], next: 0 }
    }

    pub fn bound(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(bound, _)| *bound)
    }

    /// Until a socket has something to read. Cancel-safe.
    pub async fn readable(&self) {
        poll_fn(|cx| {
            let ready = self.sockets.iter().any(|(_, socket)| socket.poll_recv_ready(cx).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Reads what is there into `batch`, in rounds over the sockets: none of them waits for another's flood.
    pub fn read(&mut self, batch: &mut Vec<(Flow, Vec<u8>)>) {
        let count = self.sockets.len();
        let mut dry = 0;
        for turn in 0..BATCH_MAX {
            let Some((bound, socket)) = self.sockets.get((self.next + turn) % count.max(1)) else { return };
            match socket.try_recv_from(&mut self.buffer) {
                Ok((length, _)) if length < MESSAGE_BYTES_MIN => dry = 0,
                Ok((length, remote)) => {
                    dry = 0;
                    let local = self.routes.local_toward(*bound, remote);
                    let flow = Flow { transport: Transport::Udp, connection: 0, local, remote };
                    batch.push((flow, self.buffer.get(..length).unwrap_or_default().to_vec()));
                }
                // Nothing there, or a phone's ICMP "port unreachable" for an earlier answer of ours.
                Err(_) => dry += 1,
            }
            if dry >= count {
                break;
            }
        }
        self.next = self.next.wrapping_add(1) % count.max(1);
    }

    /// Never waits. `false`: no such socket, or its buffer is full.
    pub fn send(&self, flow: &Flow, bytes: &[u8]) -> bool {
        let socket = self.sockets.iter().find(|(bound, _)| serves(bound, &flow.local)).map(|(_, s)| s);
        socket.is_some_and(|socket| socket.try_send_to(bytes, flow.remote).is_ok())
    }

    /// Datagrams that the kernel dropped because we did not read them in time: the last column of `/proc/net/udp` and
    /// `udp6`, for our ports. 0 where there is no such table.
    pub fn kernel_drops(&self) -> u64 {
        let ports: Vec<u16> = self.bound().map(|bound| bound.port()).collect();
        let tables = ["/proc/net/udp", "/proc/net/udp6"].map(std::fs::read_to_string);
        tables.iter().flatten().map(|table| drops_of(table, &ports)).sum()
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

/// Is `local` (concrete) an address of the socket bound to `bound` (maybe a wildcard)?
fn serves(bound: &SocketAddr, local: &SocketAddr) -> bool {
    bound.port() == local.port()
        && bound.is_ipv4() == local.is_ipv4()
        && (bound.ip() == local.ip() || bound.ip().is_unspecified())
}

/// Our address toward a remote one, where we listen on a wildcard: what the kernel would send from.
#[derive(Default)]
struct Routes(HashMap<IpAddr, IpAddr>);

impl Routes {
    fn local_toward(&mut self, bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
        if !bound.ip().is_unspecified() {
            return bound;
        }
        if let Some(ip) = self.0.get(&remote.ip()) {
            return SocketAddr::new(*ip, bound.port());
        }
        let ip = super::local_ip_toward(remote).unwrap_or(bound.ip());
        if self.0.len() >= ROUTES_MAX {
            self.0.clear();
        }
        self.0.insert(remote.ip(), ip);
        SocketAddr::new(ip, bound.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            sockets.push((socket.local_addr().expect("bound"), socket));
        }
        let (flooded, quiet) = (sockets[0].0, sockets[1].0);
        let mut ports = Ports::new(sockets);
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for n in 0..100 {
            phone.send_to(format!("datagram number {n:04}").as_bytes(), flooded).expect("sent");
        }
        phone.send_to(b"a datagram of a quiet phone", quiet).expect("sent");
        let mut batch = Vec::new();
        ports.readable().await;
        ports.read(&mut batch);
        assert!(batch.len() <= BATCH_MAX);
        assert!(batch.iter().any(|(flow, _)| flow.local == quiet));
        while batch.len() < 101 {
            ports.readable().await;
            ports.read(&mut batch);
        }
        assert_eq!(batch.iter().filter(|(flow, _)| flow.local == flooded).count(), 100);
    }
}
