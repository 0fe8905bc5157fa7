//! Requests and answers.
//!
//! What peers ask is shared by network and peer: a question that takes its time is charged to whoever asked it, so that many keys of
//! one machine keep nobody else from asking. What we ask goes out in [`super::asking`].

use super::{Driver, asked::Asked, reach::Work, table::Table};
use crate::{
    net::limits::*,
    transport::{InboundId, NetEvent, Protocol, RequestError, RequestId},
};
use dots_wire::PeerId;
use libp2p::request_response::{Event, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use std::{collections::HashMap, io, time::Instant};

pub struct Requests {
    pub(super) asked: Asked,
    /// Of those that were sent.
    pub(super) sent: HashMap<(Protocol, OutboundRequestId), RequestId>,
    inbound: Table<InboundId, Inbound>,
    next: InboundId,
}

impl Default for Requests {
    fn default() -> Requests {
        let (asked, inbound) = (Asked::default(), Table::new(INBOUND));
        Requests { asked, sent: HashMap::new(), inbound, next: 0 }
    }
}

struct Inbound {
    protocol: Protocol,
    channel: ResponseChannel<Vec<u8>>,
}

impl Driver {
    pub(super) fn on_request(&mut self, id: RequestId, peer: PeerId, protocol: Protocol, body: Vec<u8>) {
        if body.len() > protocol.request_max() {
            return self.out.say(NetEvent::Response { id, result: Err(RequestError::Refused) });
        }
        self.reach(peer, Work::Request { id, protocol, body });
    }

    pub(super) fn on_requests(&mut self, protocol: Protocol, event: Event<Vec<u8>, Vec<u8>>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_inbound(protocol, &peer, request, channel)
            }
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                self.announce(&peer);
                self.on_answer(protocol, request_id, Ok(response))
            }
            Event::OutboundFailure { request_id, error, .. } => {
                tracing::debug!(?protocol, %error, "a request failed");
                self.on_answer(protocol, request_id, Err(meaning(&error)))
            }
            // Its channel is closed now, and goes at the next tick.
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn on_inbound(
        &mut self,
        protocol: Protocol,
        peer: &libp2p::PeerId,
        body: Vec<u8>,
        channel: ResponseChannel<Vec<u8>>,
    ) {
        // To speak this protocol is to be of this network.
        let Some(peer) = self.announce(peer) else { return };
        let cause = self.asker(peer);
        if !self.requests.inbound.admits(cause, 0) {
            return self.counters.requests_refused.add();
        }
        self.requests.next += 1;
        let id = self.requests.next;
        self.requests.inbound.insert(cause, id, 0, Inbound { protocol, channel });
        self.out.say(NetEvent::Request { peer, protocol, id, body });
    }

    pub(super) fn on_respond(&mut self, id: InboundId, body: Option<Vec<u8>>) {
        let Some(Inbound { protocol, channel }) = self.requests.inbound.remove(&id) else { return };
        // A channel that is dropped ends the stream without an answer.
        if let Some(body) = body.filter(|b| b.len() <= RESPONSE_MAX) {
            let _ = self.swarm.behaviour_mut().requests.of(protocol).send_response(channel, body);
        }
    }

    /// Requests whose asker has gone or has waited too long, and what has waited too long for its turn.
    pub(super) fn expire_requests(&mut self, now: Instant) {
        for id in self.requests.inbound.over(|inbound| !inbound.channel.is_open()) {
            self.requests.inbound.remove(&id);
        }
        for id in self.requests.asked.late(now) {
            self.answered(id, Err(RequestError::Timeout));
        }
    }
}

fn meaning(error: &OutboundFailure) -> RequestError {
    match error {
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => RequestError::Unreachable,
        OutboundFailure::Timeout => RequestError::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestError::Refused,
        // The stream ended without an answer; all else is the connection's failure.
        OutboundFailure::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => RequestError::Refused,
        OutboundFailure::Io(e) if e.kind() == io::ErrorKind::InvalidData => RequestError::Refused,
        OutboundFailure::Io(_) => RequestError::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::bounded::{Cause, Standing, network_of};
    use std::net::Ipv4Addr;

    fn cause(standing: Standing, network: u8, who: u64) -> Cause {
        let network = network_of(Ipv4Addr::new(192, 0, network, 1).into());
        Cause { network, ..Cause::new(standing) }.by(&who.to_be_bytes())
    }

    /// Takes places until none is left for it; how many.
    fn fill(table: &mut Table<u64, ()>, next: &mut u64, cause: impl Fn(u64) -> Cause) -> usize {
        let mut taken = 0;
        for n in 0..100_000 {
            if table.admits(cause(n), 0) {
                *next += 1;
                table.insert(cause(n), *next, 0, ());
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn questions_that_are_never_answered_take_no_place_from_who_asks_elsewhere() {
        let (mut table, mut next) = (Table::new(INBOUND), 0);
        // Sixty-four keys of one machine, then four networks more.
        let one = fill(&mut table, &mut next, |n| cause(Standing::Other, 1, n % 64));
        assert!((1_000..INBOUND_MAX).contains(&one), "{one}");
        let neighbour = cause(Standing::Other, 2, 1_000);
        assert!((0..20).all(|_| table.admits(neighbour, 0)), "somebody of another network");
        fill(&mut table, &mut next, |n| cause(Standing::Other, 100 + (n % 4) as u8, n));
        assert!(table.admits(neighbour, 0), "who holds nothing is heard");
        let chosen = fill(&mut table, &mut next, |n| cause(Standing::Met, 3, 2_000 + n % 4));
        assert!(chosen > 400, "{chosen}: peers that we dialled have room of their own");
        // What ends gives its place back.
        for key in table.over(|()| true) {
            table.remove(&key);
        }
        assert_eq!(table.len(), 0);
    }
}
