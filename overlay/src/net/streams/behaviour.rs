//! Which connection a new stream is opened on.

use super::handler::{Handler, Negotiated};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    task::{Context, Poll},
};

#[derive(Debug)]
pub enum Event {
    Opened { peer: PeerId, stream: Stream, outbound: bool },
    Refused { peer: PeerId },
}

pub struct Behaviour {
    protocol: StreamProtocol,
    /// Streams being opened on each connection.
    connections: HashMap<PeerId, BTreeMap<ConnectionId, usize>>,
    events: VecDeque<ToSwarm<Event, ()>>,
}

impl Behaviour {
    pub fn new(protocol: StreamProtocol) -> Behaviour {
        Behaviour { protocol, connections: HashMap::new(), events: VecDeque::new() }
    }

    /// Opens a stream; one [`Event`] follows. Without a connection it is refused at once.
    pub fn open(&mut self, peer: PeerId) {
        let connections = self.connections.get_mut(&peer);
        match connections.and_then(|c| c.iter_mut().min_by_key(|(_, opening)| **opening)) {
            Some((connection, opening)) => {
                *opening = opening.saturating_add(1);
                let handler = NotifyHandler::One(*connection);
                self.events.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event: () });
            }
            None => self.say(Event::Refused { peer }),
        }
    }

    fn say(&mut self, event: Event) {
        self.events.push_back(ToSwarm::GenerateEvent(event));
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(connections) = self.connections.get_mut(&peer) else { return };
        let opening = connections.remove(&connection).unwrap_or(0);
        if connections.is_empty() {
            self.connections.remove(&peer);
        }
        for _ in 0..opening {
            self.say(Event::Refused { peer });
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.connections.entry(peer_id).or_default().insert(connection_id, 0);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.on_closed(peer_id, connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if !matches!(event, Negotiated::Inbound(_))
            && let Some(opening) = self.connections.get_mut(&peer).and_then(|c| c.get_mut(&connection))
        {
            *opening = opening.saturating_sub(1);
        }
        self.say(match event {
            Negotiated::Inbound(stream) => Event::Opened { peer, stream, outbound: false },
            Negotiated::Outbound(stream) => Event::Opened { peer, stream, outbound: true },
            Negotiated::Failed => Event::Refused { peer },
        });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
