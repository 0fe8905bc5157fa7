//! How much is sent by UDP to an address from which nothing has come.
//!
//! Whoever has an account may name a socket in a Contact that is not his, and what we ask there is repeated up to eleven times:
//! so a peer would be a way to send a lot to somebody who never wanted any of it. Until an answer has come from an address, or
//! a phone has proved its account from there (its nonce reached it), all that is sent to it is one small budget, whatever the
//! number of requests, branches and Contacts that lead there. Over it nothing is sent, first time or again; the transaction takes
//! its course, as if the datagrams had been lost.

use crate::{Transport, hop::Hop};
use dots_wire::{
    Allowance, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight},
};
use std::{net::IpAddr, time::Instant};

/// At once what an INVITE with all its repetitions takes, and one more; then a datagram in ten seconds.
const UNHEARD: Allowance = Allowance::new(130.0, 16_384.0);
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

/// An address and a port.
type Socket = (u128, u16);

pub(super) struct Sockets(Cache<Socket, Word>);

impl Sockets {
    pub fn new() -> Sockets {
        Sockets(Cache::new(ADDRESSES))
    }

    /// May so many bytes go there? If so, they are counted.
    pub fn may_send(&mut self, now: Instant, hop: &Hop, bytes: usize) -> bool {
        let Some((socket, cause)) = socket_of(hop) else { return true };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).into();
        match self.0.get_mut(&socket) {
            Some(Word::Heard) => true,
            Some(Word::Unheard(bucket)) => bucket.take(now, UNHEARD, bytes),
            None => {
                let mut bucket = TokenBucket::default();
                let may = bucket.take(now, UNHEARD, bytes);
                self.0.insert(cause, socket, Word::Unheard(bucket));
                may
            }
        }
    }

    /// Something came from there that only who is there can know.
    pub fn heard(&mut self, hop: &Hop) {
        let Some((socket, cause)) = socket_of(hop) else { return };
        match self.0.get_mut(&socket) {
            Some(word) => *word = Word::Heard,
            None => drop(self.0.insert(cause, socket, Word::Heard)),
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

    #[test]
    fn sockets_of_one_network_forget_none_of_another() {
        let (t0, mut sockets) = (Instant::now(), Sockets::new());
        let quiet = at(Transport::Udp, "203.0.113.1:5060");
        while sockets.may_send(t0, &quiet, 1_300) {}
        for port in 1_024..40_000 {
            sockets.may_send(t0, &at(Transport::Udp, &format!("198.51.100.7:{port}")), 1_300);
        }
        assert!(sockets.0.bytes() <= ADDRESSES.bytes && !sockets.may_send(t0, &quiet, 1_300));
    }
}
