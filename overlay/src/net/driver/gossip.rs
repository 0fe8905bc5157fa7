//! Messages to everybody.

use super::Driver;
use crate::{
    net::{
        behaviour::topic,
        limits::{VERDICT_MAX, VERDICTS_MAX},
    },
    transport::{GossipId, NetEvent},
};
use libp2p::gossipsub::{Event, IdentTopic, MessageAcceptance, MessageId, PublishError};
use std::{collections::BTreeMap, time::Instant};

pub struct Gossip {
    topic: IdentTopic,
    /// In the order in which they came.
    pending: BTreeMap<GossipId, (Instant, MessageId, libp2p::PeerId)>,
    next: GossipId,
}

impl Gossip {
    pub fn new(network: &str) -> Gossip {
        Gossip { topic: topic(network), pending: BTreeMap::new(), next: 0 }
    }
}

impl Driver {
    pub(super) fn on_publish(&mut self, body: Vec<u8>) {
        let topic = self.gossip.topic.clone();
        match self.swarm.behaviour_mut().gossip.publish(topic, body) {
            Ok(_) | Err(PublishError::Duplicate) => {}
            Err(error) => {
                // Anti-entropy brings it to whoever comes.
                self.counters.gossip_unheard.add();
                tracing::debug!(%error, "a message was not published");
            }
        }
    }

    pub(super) fn on_gossip(&mut self, event: Event) {
        let Event::Message { propagation_source, message_id, message } = event else { return };
        let from = self.announce(&propagation_source);
        match from.filter(|_| self.gossip.pending.len() < VERDICTS_MAX) {
            Some(from) => {
                self.gossip.next += 1;
                let id = self.gossip.next;
                self.gossip.pending.insert(id, (Instant::now(), message_id, propagation_source));
                self.out.say(NetEvent::Gossip { from, id, body: message.data });
            }
            None => {
                self.counters.gossip_unanswered.add();
                self.report(&message_id, &propagation_source, MessageAcceptance::Ignore);
            }
        }
    }

    pub(super) fn on_verdict(&mut self, id: GossipId, accept: bool) {
        let Some((_, message, from)) = self.gossip.pending.remove(&id) else { return };
        let verdict = if accept { MessageAcceptance::Accept } else { MessageAcceptance::Reject };
        self.report(&message, &from, verdict);
    }

    pub(super) fn expire_verdicts(&mut self, now: Instant) {
        while let Some(entry) = self.gossip.pending.first_entry()
            && now.saturating_duration_since(entry.get().0) >= VERDICT_MAX
        {
            let (_, message, from) = entry.remove();
            self.counters.gossip_unanswered.add();
            self.report(&message, &from, MessageAcceptance::Ignore);
        }
    }

    fn report(&mut self, message: &MessageId, from: &libp2p::PeerId, verdict: MessageAcceptance) {
        self.swarm.behaviour_mut().gossip.report_message_validation_result(message, from, verdict);
    }
}
