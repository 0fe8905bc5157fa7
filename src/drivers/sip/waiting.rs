//! Datagrams that wait because more come than can be handled. Who is served first: phones that are registered from where they
//! write, then who answers a challenge that was given to his address, then strangers; but each kind has its part of every turn,
//! so that none starves. Within a kind all senders take turns, and who sends most loses first (see `FairQueue`). What is
//! lost is counted; SIP over UDP repeats what was not answered (RFC 3261 §17).

use crate::peer::Sender;
use dots_sip::Flow;
use dots_wire::{FairQueue, bounded::network_of};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One whole datagram and the flow that it came on.
pub type Datagram = (Flow, Vec<u8>);

/// How much of one turn is whose; what one kind leaves is not filled up with another, turns are short.
const REGISTERED_A_TURN: usize = 32;
const ANSWERING_A_TURN: usize = 16;
const STRANGERS_A_TURN: usize = 8;
/// As much as one turn may handle without anybody having to wait for another.
const EASY: usize = REGISTERED_A_TURN + ANSWERING_A_TURN;
/// A quarter of a second of work and less: what waits longer has been repeated meanwhile.
pub(crate) const REGISTERED_BYTES: usize = 2 << 20;
pub(crate) const ANSWERING_BYTES: usize = 1 << 20;
pub(crate) const STRANGERS_BYTES: usize = 512 << 10;

pub(super) struct WaitingRoom {
    registered: FairQueue<SocketAddr, Datagram>,
    answering: FairQueue<IpAddr, Datagram>,
    strangers: FairQueue<u64, Datagram>,
    shed: u64,
}

impl WaitingRoom {
    pub fn new() -> WaitingRoom {
        WaitingRoom {
            registered: FairQueue::new(REGISTERED_BYTES),
            answering: FairQueue::new(ANSWERING_BYTES),
            strangers: FairQueue::new(STRANGERS_BYTES),
            shed: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.registered.is_empty() && self.answering.is_empty() && self.strangers.is_empty()
    }

    /// Datagrams that were lost here since the start.
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// In: what has just come. Out: what this turn handles.
    pub fn turn(&mut self, batch: &mut Vec<Datagram>, who: impl Fn(&Flow, &[u8]) -> Sender) {
        if self.is_empty() && batch.len() <= EASY {
            return;
        }
        for (flow, bytes) in batch.drain(..) {
            let size = bytes.capacity();
            let lost = match who(&flow, &bytes) {
                Sender::Registered => self.registered.push(flow.remote, (flow, bytes), size),
                Sender::Answering => self.answering.push(given_to(flow.remote.ip()), (flow, bytes), size),
                Sender::Stranger => self.strangers.push(network_of(flow.remote.ip()), (flow, bytes), size),
            };
            self.shed += lost as u64;
        }
        batch.extend(std::iter::from_fn(|| self.registered.pop()).take(REGISTERED_A_TURN));
        batch.extend(std::iter::from_fn(|| self.answering.pop()).take(ANSWERING_A_TURN));
        batch.extend(std::iter::from_fn(|| self.strangers.pop()).take(STRANGERS_A_TURN));
    }
}

/// Whom a nonce was given to: an IPv4 address, or an IPv6 network of 64 bits.
fn given_to(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_sip::Transport;

    fn datagram(n: u32, kind: &str) -> Datagram {
        let [_, a, b, c] = n.to_be_bytes();
        let flow = Flow {
            transport: Transport::Udp,
            connection: 0,
            local: "192.0.2.1:5060".parse().expect("an address"),
            remote: SocketAddr::from(([10 + a, b, c, 1], 5060)),
        };
        (flow, kind.as_bytes().repeat(100))
    }
    fn who(_: &Flow, bytes: &[u8]) -> Sender {
        match bytes.first() {
            Some(b'r') => Sender::Registered,
            Some(b'a') => Sender::Answering,
            _ => Sender::Stranger,
        }
    }
    fn count(batch: &[Datagram], kind: u8) -> usize {
        batch.iter().filter(|(_, bytes)| bytes.first() == Some(&kind)).count()
    }

    #[test]
    fn without_a_crowd_nobody_is_looked_at() {
        let mut room = WaitingRoom::new();
        let mut batch: Vec<Datagram> = (0..40).map(|n| datagram(n, "s")).collect();
        room.turn(&mut batch, |_, _| panic!("nobody waits"));
        assert_eq!(batch.len(), 40);
        assert!(room.is_empty());
    }

    /// A flood from a million forged addresses: registered phones and those that answer lose nothing and wait little.
    #[test]
    fn strangers_displace_only_each_other() {
        let mut room = WaitingRoom::new();
        let (mut registered, mut answering, mut strangers) = (0, 0, 0);
        for turn in 0..200u32 {
            let mut batch: Vec<Datagram> = (0..400).map(|n| datagram(turn * 400 + n, "s")).collect();
            batch.extend((0..10).map(|n| datagram(n, "r")));
            batch.extend((0..5).map(|n| datagram(n, "a")));
            room.turn(&mut batch, who);
            registered += count(&batch, b'r');
            answering += count(&batch, b'a');
            strangers += count(&batch, b's');
        }
        assert_eq!((registered, answering), (2_000, 1_000), "each at once, in its own turn");
        assert_eq!(strangers, 200 * STRANGERS_A_TURN, "and strangers have their part");
        assert!(room.shed() > 70_000);
    }

    #[test]
    fn a_registered_phone_that_floods_takes_its_own_turns() {
        let mut room = WaitingRoom::new();
        let mut quiet = 0;
        for _ in 0..100 {
            let mut batch: Vec<Datagram> = (0..1_000).map(|_| datagram(1, "r")).collect();
            batch.push(datagram(2, "r"));
            room.turn(&mut batch, who);
            let is_quiet = |d: &&Datagram| d.0.remote == datagram(2, "r").0.remote;
            quiet += batch.iter().filter(is_quiet).count();
        }
        assert_eq!(quiet, 100);
    }

    /// One nonce is good for a whole /64: who has it has one line all the same.
    #[test]
    fn addresses_of_one_nonce_are_one_sender() {
        let at = |text: &str| given_to(text.parse().expect("an address"));
        assert_eq!(at("2001:db8:1:2::3"), at("2001:db8:1:2:ffff::1"));
        assert_ne!(at("2001:db8:1:2::3"), at("2001:db8:1:3::3"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }

    #[test]
    fn what_waited_is_handled_when_the_crowd_is_gone() {
        let mut room = WaitingRoom::new();
        let mut batch: Vec<Datagram> = (0..100).map(|n| datagram(n, "s")).collect();
        let mut handled = 0;
        loop {
            room.turn(&mut batch, who);
            handled += batch.len();
            batch.clear();
            if room.is_empty() {
                break;
            }
        }
        assert_eq!((handled, room.shed()), (100, 0));
    }
}
