//! What we ask of peers that are connected, and what comes of it: at once, or when it is its turn in the line ([`super::asked`]).

use super::{
    Driver,
    asked::{Placed, ToSend},
};
use crate::{
    net::identity,
    transport::{NetEvent, Protocol, RequestError, RequestId},
};
use dots_wire::bounded::Cause;
use libp2p::request_response::OutboundRequestId;
use std::time::Instant;

impl Driver {
    /// Asks a peer that is connected, at once or when it is its turn.
    pub(super) fn ask(&mut self, cause: Cause, ask: ToSend) {
        let id = ask.id;
        match self.requests.asked.put(Instant::now(), cause, ask) {
            Placed::Send(ask) => self.send(ask),
            Placed::Waits => self.counters.asks_waited.add(),
            Placed::Full => {
                self.counters.asks_full.add();
                self.out.say(NetEvent::Response { id, result: Err(RequestError::Timeout) });
            }
        }
    }

    fn send(&mut self, ToSend { id, peer, protocol, body }: ToSend) {
        let to = identity::to_libp2p(peer);
        let sent = self.swarm.behaviour_mut().requests.of(protocol).send_request(&to, body);
        self.requests.sent.insert((protocol, sent), id);
    }

    pub(super) fn on_answer(
        &mut self,
        protocol: Protocol,
        sent: OutboundRequestId,
        result: Result<Vec<u8>, RequestError>,
    ) {
        if let Some(id) = self.requests.sent.remove(&(protocol, sent)) {
            self.answered(id, result);
        }
    }

    /// What waited for that is sent, or ends too where its peer has gone.
    pub(super) fn answered(&mut self, id: RequestId, result: Result<Vec<u8>, RequestError>) {
        let mut ended = Some((id, result));
        while let Some((id, result)) = ended.take() {
            match &result {
                Ok(_) => {}
                Err(RequestError::Timeout) => self.counters.asks_timeout.add(),
                Err(RequestError::Refused) => self.counters.asks_refused.add(),
                Err(RequestError::Unreachable) => self.counters.asks_unreachable.add(),
            }
            self.out.say(NetEvent::Response { id, result });
            match self.requests.asked.ended(id) {
                Some(next) if self.swarm.is_connected(&identity::to_libp2p(next.peer)) => self.send(next),
                Some(next) => ended = Some((next.id, Err(RequestError::Unreachable))),
                None => {}
            }
        }
    }
}
