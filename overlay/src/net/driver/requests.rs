//! Requests and answers, and reaching peers that are not connected.
//!
//! Work for such a peer waits: its known addresses are dialled; where there are none, or none answers, Kademlia is asked
//! for it once, then what it says is dialled. What is not done after five seconds is given up.

use super::Driver;
use crate::{
    net::{identity, limits::*},
    transport::{InboundId, NetEvent, Protocol, RequestError, RequestId},
};
use dots_wire::PeerId;
use libp2p::{
    Multiaddr,
    request_response::{Event, Message, OutboundFailure, OutboundRequestId, ResponseChannel},
    swarm::{
        DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    time::Instant,
};

#[derive(Default)]
pub struct Requests {
    asked: HashMap<(Protocol, OutboundRequestId), RequestId>,
    inbound: BTreeMap<InboundId, Inbound>,
    next: InboundId,
    reaching: HashMap<PeerId, Reaching>,
}

struct Inbound {
    peer: PeerId,
    protocol: Protocol,
    channel: ResponseChannel<Vec<u8>>,
}

/// What is to be done once a peer is connected.
pub enum Work {
    Request { id: RequestId, protocol: Protocol, body: Vec<u8> },
    Stream,
}

struct Reaching {
    since: Instant,
    looked_up: bool,
    work: Vec<Work>,
}

impl Driver {
    pub(super) fn on_request(&mut self, id: RequestId, peer: PeerId, protocol: Protocol, body: Vec<u8>) {
        if body.len() > protocol.request_max() {
            return self.say(NetEvent::Response { id, result: Err(RequestError::Refused) });
        }
        self.reach(peer, Work::Request { id, protocol, body });
    }

    pub(super) fn reach(&mut self, peer: PeerId, work: Work) {
        let libp2p = identity::to_libp2p(peer);
        if self.swarm.is_connected(&libp2p) {
            return self.perform(peer, work);
        }
        let reaching = &mut self.requests.reaching;
        if peer == self.me || (reaching.len() >= REACHING_MAX && !reaching.contains_key(&peer)) {
            return self.give_up(peer, vec![work]);
        }
        match reaching.get_mut(&peer) {
            Some(entry) if entry.work.len() >= REACHING_WORK_MAX => self.give_up(peer, vec![work]),
            Some(entry) => entry.work.push(work),
            None => {
                let entry = Reaching { since: Instant::now(), looked_up: false, work: vec![work] };
                reaching.insert(peer, entry);
                self.dial(peer, Vec::new());
            }
        }
    }

    /// Dials a peer at what we and the other behaviours know of it, and at `more`.
    pub(super) fn dial(&mut self, peer: PeerId, more: Vec<Multiaddr>) {
        let mut addresses = self.dialer.addresses(peer);
        addresses.extend(more);
        let opts = DialOpts::peer_id(identity::to_libp2p(peer))
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            // From the listening port two peers that dial each other at once would both be clients.
            .allocate_new_port()
            .build();
        match self.swarm.dial(opts) {
            // Already under way or done: that dial's end is reported too.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                tracing::trace!(%peer, %error, "not dialled");
                self.not_reached(peer);
            }
        }
    }

    /// A dial failed: asks Kademlia, or gives up.
    pub(super) fn not_reached(&mut self, peer: PeerId) {
        let Some(entry) = self.requests.reaching.get_mut(&peer) else { return };
        if !entry.looked_up {
            entry.looked_up = true;
            return self.look_up(peer);
        }
        if let Some(entry) = self.requests.reaching.remove(&peer) {
            self.give_up(peer, entry.work);
        }
    }

    /// Kademlia's answer to [`Driver::look_up`].
    pub(super) fn looked_up(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            self.not_reached(peer);
        } else if self.requests.reaching.contains_key(&peer) {
            self.dial(peer, addresses);
        }
    }

    /// `peer` is connected.
    pub(super) fn reached(&mut self, peer: PeerId) {
        for work in self.requests.reaching.remove(&peer).map(|r| r.work).unwrap_or_default() {
            self.perform(peer, work);
        }
    }

    fn perform(&mut self, peer: PeerId, work: Work) {
        let libp2p = identity::to_libp2p(peer);
        match work {
            Work::Request { id, .. } if self.requests.asked.len() >= ASKED_MAX => {
                self.say(NetEvent::Response { id, result: Err(RequestError::Timeout) });
            }
            Work::Request { id, protocol, body } => {
                let sent = self.swarm.behaviour_mut().requests.of(protocol).send_request(&libp2p, body);
                self.requests.asked.insert((protocol, sent), id);
            }
            Work::Stream => self.swarm.behaviour_mut().streams.open(libp2p),
        }
    }

    fn give_up(&mut self, peer: PeerId, work: Vec<Work>) {
        for work in work {
            self.say(match work {
                Work::Request { id, .. } => NetEvent::Response { id, result: Err(RequestError::Unreachable) },
                Work::Stream => NetEvent::StreamRefused { peer },
            });
        }
    }

    pub(super) fn expire_reaching(&mut self, now: Instant) {
        let late = |r: &Reaching| now.saturating_duration_since(r.since) >= REQUEST_TIMEOUT;
        let late: Vec<PeerId> =
            self.requests.reaching.iter().filter(|(_, r)| late(r)).map(|(peer, _)| *peer).collect();
        for peer in late {
            if let Some(entry) = self.requests.reaching.remove(&peer) {
                self.give_up(peer, entry.work);
            }
        }
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
        self.say(NetEvent::Request { peer, protocol, id, body });
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
            self.say(NetEvent::Response { id, result });
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
