//! How much is sent by UDP to an address from which nothing has come.
//!
//! Whoever has an account may name a socket in a Contact that is not his, and what we ask there is repeated up to eleven times:
//! so a peer would be a way to send a lot to somebody who never wanted any of it. Where a phone registered from, its nonce has reached
//! it; anywhere else all that is sent is one small budget until an answer has come from there, whatever the number of requests,
//! branches and Contacts that lead there. A host has many ports, so what goes to all of them that have not
//! answered is a budget too, until one has. Over it nothing is sent, first time or again; the transaction takes its course, as if
//! the datagrams had been lost.

use crate::{Transport, hop::Hop};
use dots_wire::{
    Allowance, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight},
};
use std::{net::IpAddr, time::Instant};

/// At once what an INVITE with all its repetitions takes, and one more; then a datagram in ten seconds.
const UNHEARD: Allowance = Allowance::new(130.0, 16_384.0);
/// To a host of which no port has said anything: each of fifty phones behind one NAT may be rung once after a start.
const HOST: Allowance = Allowance::new(520.0, 65_536.0);
/// Stands for all ports of a host.
const ALL: u16 = 0;
/// Addresses; of one network with many the oldest are asked for a sign of life again.
pub(crate) const ADDRESSES: Limits = Limits::new(2 << 20, 16_384);

enum Word {
    Heard,
    Unheard(TokenBucket),
}

impl Weight for Word {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// An address and a port, or [`ALL`].
type Socket = (u128, u16);

pub(super) struct Sockets(Cache<Socket, Word>);

impl Sockets {
    pub fn new() -> Sockets {
        Sockets(Cache::new(ADDRESSES))
    }

    /// May so many bytes go there? If so, they are counted.
    pub fn may_send(&mut self, now: Instant, hop: &Hop, bytes: usize) -> bool {
        let Some((socket, cause)) = socket_of(hop) else { return true };
        if self.is_heard(&socket) {
            return true;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).into();
        let host = (socket.0, ALL);
        // The host first: where it has had enough, no port more takes a place here.
        let may = self.has(now, host, HOST, bytes) && self.has(now, socket, UNHEARD, bytes);
        if may {
            self.charge(now, cause, host, HOST, bytes);
            self.charge(now, cause, socket, UNHEARD, bytes);
        }
        may
    }

    /// Something came from there that only who is there can know.
    pub fn heard(&mut self, hop: &Hop) {
        let Some((socket, cause)) = socket_of(hop) else { return };
        if self.is_heard(&socket) {
            return;
        }
        for socket in [(socket.0, ALL), socket] {
            match self.0.get_mut(&socket) {
                Some(word) => *word = Word::Heard,
                None => drop(self.0.insert(cause, socket, Word::Heard)),
            }
        }
    }

    fn is_heard(&self, socket: &Socket) -> bool {
        matches!(self.0.get(socket), Some(Word::Heard))
    }

    fn has(&self, now: Instant, socket: Socket, allowance: Allowance, bytes: f64) -> bool {
        match self.0.get(&socket) {
            Some(Word::Unheard(bucket)) => bucket.has(now, allowance, bytes),
            Some(Word::Heard) => true,
            None => bytes <= allowance.burst,
        }
    }

    fn charge(&mut self, now: Instant, cause: Cause, socket: Socket, allowance: Allowance, bytes: f64) {
        match self.0.get_mut(&socket) {
            Some(Word::Unheard(bucket)) => bucket.charge(now, allowance, bytes),
            Some(Word::Heard) => {}
            None => {
                let mut bucket = TokenBucket::default();
                bucket.charge(now, allowance, bytes);
                self.0.insert(cause, socket, Word::Unheard(bucket));
            }
        }
    }
}

/// A connection proves itself, and a peer has.
fn socket_of(hop: &Hop) -> Option<(Socket, Cause)> {
    let Hop::Phone(flow) = hop else { return None };
    let ip = match flow.remote.ip().to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let cause = Cause::new(Standing::Other).from(flow.remote.ip());
    (flow.transport == Transport::Udp).then_some(((ip.to_bits(), flow.remote.port()), cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flow;
    use std::time::Duration;

    fn at(transport: Transport, remote: &str) -> Hop {
        let local = "192.0.2.1:5060".parse().expect("an address");
        let remote = remote.parse().expect("an address");
        Hop::Phone(Flow { transport, connection: 0, local, remote })
    }

    #[test]
    fn what_was_never_heard_gets_little_and_what_was_heard_all() {
        let (t0, victim) = (Instant::now(), at(Transport::Udp, "198.51.100.7:5060"));
        for (why, hop, heard, most) in [
            ("never heard", &victim, false, 12),
            ("heard", &victim, true, 1_000),
            ("a connection", &at(Transport::Tcp, "198.51.100.7:5060"), false, 1_000),
            ("a peer", &Hop::Peer("b".into()), false, 1_000),
        ] {
            let mut sockets = Sockets::new();
            if heard {
                sockets.heard(hop);
            }
            let sent = (0..1_000).filter(|_| sockets.may_send(t0, hop, 1_300)).count();
            assert_eq!(sent, most, "{why}");
        }
    }

    #[test]
    fn an_address_is_one_however_it_is_written_and_its_ports_are_several() {
        let (t0, mut sockets) = (Instant::now(), Sockets::new());
        let (plain, mapped) =
            (at(Transport::Udp, "198.51.100.7:5060"), at(Transport::Udp, "[::ffff:198.51.100.7]:5060"));
        while sockets.may_send(t0, &plain, 1_300) {}
        assert!(!sockets.may_send(t0, &mapped, 1_300));
        assert!(sockets.may_send(t0, &at(Transport::Udp, "198.51.100.7:5062"), 1_300));
        assert!(!sockets.may_send(t0 + Duration::from_secs(1), &plain, 1_300));
        assert!(sockets.may_send(t0 + Duration::from_secs(10), &plain, 1_300), "asked again now and then");
        sockets.heard(&mapped);
        assert!(sockets.may_send(t0, &plain, 60_000));
    }

    /// Ports are free: a host that never said anything gets as much at a thousand as at four.
    #[test]
    fn a_host_gets_little_at_all_its_ports_until_one_has_answered() {
        let (t0, mut sockets) = (Instant::now(), Sockets::new());
        let port = |n: u16| at(Transport::Udp, &format!("198.51.100.7:{n}"));
        let sent = |sockets: &mut Sockets, now, ports: std::ops::Range<u16>| {
            ports.filter(|n| sockets.may_send(now, &port(*n), 1_300)).count()
        };
        assert_eq!(sent(&mut sockets, t0, 2_000..40_000), 50);
        assert_eq!(sent(&mut sockets, t0 + Duration::from_secs(10), 40_000..50_000), 4);
        assert!(sockets.may_send(t0, &at(Transport::Udp, "198.51.100.8:2000"), 1_300), "another host");
        sockets.heard(&port(2_007));
        let later = t0 + Duration::from_secs(10);
        assert_eq!(sent(&mut sockets, later, 50_000..50_100), 100, "somebody is there");
        assert_eq!(
            (0..100).filter(|_| sockets.may_send(later, &port(50_000), 1_300)).count(),
            11,
            "a port for itself"
        );
    }

    #[test]
    fn sockets_of_one_network_forget_none_of_another() {
        let (t0, mut sockets) = (Instant::now(), Sockets::new());
        let quiet = at(Transport::Udp, "203.0.113.1:5060");
        while sockets.may_send(t0, &quiet, 1_300) {}
        for host in 0..40_000u32 {
            sockets.may_send(t0, &at(Transport::Udp, &format!("[2001:db8::{host:x}]:5060")), 1_300);
        }
        assert!(sockets.0.bytes() <= ADDRESSES.bytes && !sockets.may_send(t0, &quiet, 1_300));
    }
}
