//! One connection: asks for streams, passes on those that were asked of us.

use crate::net::limits::{NEGOTIATING_MAX, REQUEST_TIMEOUT};
use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

#[derive(Debug)]
pub enum Negotiated {
    Inbound(Stream),
    Outbound(Stream),
    Failed,
}

pub struct Handler {
    protocol: StreamProtocol,
    to_open: usize,
    done: VecDeque<Negotiated>,
}

impl Handler {
    pub fn new(protocol: StreamProtocol) -> Handler {
        Handler { protocol, to_open: 0, done: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ();
    type ToBehaviour = Negotiated;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn on_behaviour_event(&mut self, (): ()) {
        self.to_open = self.to_open.saturating_add(1);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            // Beyond the limit the stream is dropped, which resets it: its opener is told.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
                if self.done.len() < NEGOTIATING_MAX =>
            {
                self.done.push_back(Negotiated::Inbound(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.done.push_back(Negotiated::Outbound(protocol));
            }
            ConnectionEvent::DialUpgradeError(_) => self.done.push_back(Negotiated::Failed),
            _ => {}
        }
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Negotiated>> {
        if let Some(event) = self.done.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if self.to_open > 0 {
            self.to_open -= 1;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
                .with_timeout(REQUEST_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }
}
