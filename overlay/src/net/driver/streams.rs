//! `/dots/sip/3` streams: opening them, and their ends. What is written on them does not pass here.

use super::Driver;
use crate::{
    net::{
        driver::reach::Work,
        limits::{STREAMS_MAX, STREAMS_PER_PEER},
        streams::{Event, Said, task},
    },
    transport::{NetEvent, StreamId},
};
use dots_wire::PeerId;
use std::collections::HashMap;
use tokio::task::{JoinError, JoinSet};

#[derive(Default)]
pub struct Streams {
    per_peer: HashMap<PeerId, usize>,
    /// Whose stream each running task is.
    owners: HashMap<StreamId, PeerId>,
    pub tasks: JoinSet<StreamId>,
    next: StreamId,
}

impl Driver {
    pub(super) fn on_open_stream(&mut self, peer: PeerId) {
        self.reach(peer, Work::Stream);
    }

    pub(super) fn on_streams(&mut self, event: Event) {
        match event {
            Event::Opened { peer, stream, outbound } => {
                // To speak this protocol is to be of this network.
                let Some(peer) = self.announce(&peer) else { return };
                self.on_opened(peer, stream, outbound);
            }
            Event::Refused { peer } => {
                if let Some(peer) = crate::net::identity::from_libp2p(&peer) {
                    self.out.say(NetEvent::StreamRefused { peer });
                }
            }
        }
    }

    fn on_opened(&mut self, peer: PeerId, stream: libp2p::Stream, outbound: bool) {
        let count = self.streams.per_peer.entry(peer).or_insert(0);
        if self.streams.owners.len() >= STREAMS_MAX || (!outbound && *count >= STREAMS_PER_PEER) {
            self.counters.streams_refused.add();
            if outbound {
                self.out.say(NetEvent::StreamRefused { peer });
            }
            return;
        }
        *count += 1;
        self.streams.next += 1;
        let id = self.streams.next;
        let (writer, queue) = task::queue();
        self.streams.owners.insert(id, peer);
        let opened =
            Said { event: NetEvent::StreamOpened { peer, stream: id, outbound }, writer: Some(writer) };
        self.streams.tasks.spawn(task::run(opened, id, stream, queue, self.events.clone()));
    }

    pub(super) fn on_stream_ended(&mut self, ended: Result<StreamId, JoinError>) {
        // A task neither panics nor is aborted before the driver ends.
        let Ok(id) = ended else { return };
        let Some(peer) = self.streams.owners.remove(&id) else { return };
        if let Some(count) = self.streams.per_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.streams.per_peer.remove(&peer);
            }
        }
    }
}
