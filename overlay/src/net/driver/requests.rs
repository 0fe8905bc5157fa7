//! Requests and answers.

use super::{Driver, reach::Work};
use crate::{
    net::limits::*,
    transport::{InboundId, NetEvent, Protocol, RequestError, RequestId},
};
use dots_wire::PeerId;
use libp2p::request_response::{Event, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use std::{
    collections::{BTreeMap, HashMap},
    io,
};

#[derive(Default)]
pub struct Requests {
    pub(super) asked: HashMap<(Protocol, OutboundRequestId), RequestId>,
    inbound: BTreeMap<InboundId, Inbound>,
    next: InboundId,
}

struct Inbound {
    peer: PeerId,
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
        let inbound = &self.requests.inbound;
        let of_peer = inbound.values().filter(|i| i.peer == peer).count();
        if inbound.len() >= INBOUND_MAX || of_peer >= INBOUND_PER_PEER {
            return self.counters.requests_refused.add();
        }
        self.requests.next += 1;
        let id = self.requests.next;
        self.requests.inbound.insert(id, Inbound { peer, protocol, channel });
        self.out.say(NetEvent::Request { peer, protocol, id, body });
    }

    pub(super) fn on_respond(&mut self, id: InboundId, body: Option<Vec<u8>>) {
        let Some(Inbound { protocol, channel, .. }) = self.requests.inbound.remove(&id) else { return };
        // A channel that is dropped ends the stream without an answer.
        if let Some(body) = body.filter(|b| b.len() <= RESPONSE_MAX) {
            let _ = self.swarm.behaviour_mut().requests.of(protocol).send_response(channel, body);
        }
    }

    fn on_answer(
        &mut self,
        protocol: Protocol,
        sent: OutboundRequestId,
        result: Result<Vec<u8>, RequestError>,
    ) {
        if let Some(id) = self.requests.asked.remove(&(protocol, sent)) {
            self.out.say(NetEvent::Response { id, result });
        }
    }

    /// Requests whose asker has gone or has waited too long.
    pub(super) fn expire_requests(&mut self) {
        self.requests.inbound.retain(|_, inbound| inbound.channel.is_open());
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
