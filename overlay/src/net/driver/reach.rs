//! NET-11: reaching peers that are not connected.
//!
//! Work for such a peer waits: its known addresses are dialled; where there are none, or none answers, Kademlia is asked
//! for it once, then what it says is dialled. What is not done after five seconds is given up.

use super::Driver;
use crate::{
    net::{identity, limits::*},
    transport::{NetEvent, Protocol, RequestError, RequestId},
};
use dots_wire::PeerId;
use libp2p::{
    Multiaddr,
    swarm::{
        DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{collections::HashMap, time::Instant};

#[derive(Default)]
pub struct Reach {
    reaching: HashMap<PeerId, Reaching>,
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
    pub(super) fn reach(&mut self, peer: PeerId, work: Work) {
        let libp2p = identity::to_libp2p(peer);
        if self.swarm.is_connected(&libp2p) {
            return self.perform(peer, work);
        }
        let reaching = &mut self.reach.reaching;
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
        let Some(entry) = self.reach.reaching.get_mut(&peer) else { return };
        if !entry.looked_up {
            entry.looked_up = true;
            return self.look_up(peer);
        }
        if let Some(entry) = self.reach.reaching.remove(&peer) {
            self.give_up(peer, entry.work);
        }
    }

    /// Kademlia's answer to [`Driver::look_up`].
    pub(super) fn looked_up(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            self.not_reached(peer);
        } else if self.reach.reaching.contains_key(&peer) {
            self.dial(peer, addresses);
        }
    }

    /// `peer` is connected.
    pub(super) fn reached(&mut self, peer: PeerId) {
        for work in self.reach.reaching.remove(&peer).map(|r| r.work).unwrap_or_default() {
            self.perform(peer, work);
        }
    }

    fn perform(&mut self, peer: PeerId, work: Work) {
        let libp2p = identity::to_libp2p(peer);
        match work {
            Work::Request { id, .. } if self.requests.asked.len() >= ASKED_MAX => {
                self.out.say(NetEvent::Response { id, result: Err(RequestError::Timeout) });
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
            self.out.say(match work {
                Work::Request { id, .. } => NetEvent::Response { id, result: Err(RequestError::Unreachable) },
                Work::Stream => NetEvent::StreamRefused { peer },
            });
        }
    }

    pub(super) fn expire_reaching(&mut self, now: Instant) {
        let late = |r: &Reaching| now.saturating_duration_since(r.since) >= REQUEST_TIMEOUT;
        let late: Vec<PeerId> =
            self.reach.reaching.iter().filter(|(_, r)| late(r)).map(|(peer, _)| *peer).collect();
        for peer in late {
            if let Some(entry) = self.reach.reaching.remove(&peer) {
                self.give_up(peer, entry.work);
            }
        }
    }
}
