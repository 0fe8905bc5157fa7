//! Messages to everybody.
//!
//! A message has a place until the core has judged it. Places are shared: where all are taken the network that holds most lets its
//! oldest go, so that whoever floods us with messages takes them from himself.

use super::Driver;
use crate::{
    net::{
        behaviour::topic,
        limits::{VERDICT_MAX, VERDICTS},
    },
    transport::{GossipId, NetEvent, Verdict},
};
use dots_wire::bounded::{Cache, Cause, Weight};
use libp2p::gossipsub::{Event, IdentTopic, MessageAcceptance, MessageId, PublishError};
use std::time::Instant;

pub struct Gossip {
    topic: IdentTopic,
    pending: Pending,
    next: GossipId,
}

/// Messages without a verdict, in the order in which they came.
struct Pending(Cache<GossipId, Message>);

struct Message {
    came: Instant,
    id: MessageId,
    from: libp2p::PeerId,
}

impl Weight for Message {
    fn heap_bytes(&self) -> usize {
        self.id.0.capacity()
    }
}

impl Pending {
    /// Gives back those that lost their place to it.
    fn put(&mut self, cause: Cause, id: GossipId, message: Message) -> Vec<Message> {
        let placed = self.0.insert(cause, id, message);
        debug_assert!(placed.is_stored, "every cause has room for one");
        placed.evicted.into_iter().map(|(_, message)| message).collect()
    }

    fn late(&mut self, now: Instant) -> Vec<Message> {
        let late = |message: &Message| now.saturating_duration_since(message.came) >= VERDICT_MAX;
        let late: Vec<GossipId> =
            self.0.iter().take_while(|(_, message)| late(message)).map(|(id, _)| *id).collect();
        late.iter().filter_map(|id| self.0.remove(id)).collect()
    }
}

impl Gossip {
    pub fn new(network: &str) -> Gossip {
        Gossip { topic: topic(network), pending: Pending(Cache::new(VERDICTS)), next: 0 }
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
        let Some(from) = self.announce(&propagation_source) else {
            return self.report(&message_id, &propagation_source, Verdict::Ignore);
        };
        self.gossip.next += 1;
        let id = self.gossip.next;
        let row = Message { came: Instant::now(), id: message_id, from: propagation_source };
        let cause = self.payer(from, false);
        for unanswered in self.gossip.pending.put(cause, id, row) {
            self.ignore(&unanswered);
        }
        self.out.say(NetEvent::Gossip { from, id, body: message.data });
    }

    pub(super) fn on_verdict(&mut self, id: GossipId, verdict: Verdict) {
        if let Some(Message { id, from, .. }) = self.gossip.pending.0.remove(&id) {
            self.report(&id, &from, verdict);
        }
    }

    pub(super) fn expire_verdicts(&mut self, now: Instant) {
        for unanswered in self.gossip.pending.late(now) {
            self.ignore(&unanswered);
        }
    }

    fn ignore(&mut self, Message { id, from, .. }: &Message) {
        self.counters.gossip_unanswered.add();
        self.report(id, from, Verdict::Ignore);
    }

    fn report(&mut self, message: &MessageId, from: &libp2p::PeerId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Forward => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(message, from, acceptance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::limits::VERDICTS_MAX;
    use dots_wire::bounded::{Standing, network_of};
    use std::{net::Ipv4Addr, time::Duration};

    fn from(network: u8, key: u32) -> Cause {
        let network = network_of(Ipv4Addr::new(192, 0, network, 1).into());
        Cause { network, ..Cause::new(Standing::Other) }.by(&key.to_be_bytes())
    }

    fn message(came: Instant, n: u32) -> Message {
        Message { came, id: MessageId::new(&n.to_be_bytes()), from: libp2p::PeerId::random() }
    }

    #[test]
    fn a_flood_of_one_network_takes_no_place_from_others_however_many_keys_it_has() {
        let (now, mut pending) = (Instant::now(), Pending(Cache::new(VERDICTS)));
        for id in 0..50 {
            assert!(pending.put(from(1, 1), id, message(now, 0)).is_empty());
        }
        let mut gone = 0;
        for id in 50..30_050 {
            gone += pending.put(from(2, (id % 64) as u32), id, message(now, 1)).len();
        }
        assert!(gone > 25_000);
        assert!((0..50).all(|id| pending.0.contains(&id)), "who says little keeps his places");
        assert!(pending.0.len() <= VERDICTS_MAX);
        // Fifty networks with one key each take no more than a share each.
        for id in 100_000..200_000u64 {
            pending.put(from(3 + (id % 50) as u8, 7), id, message(now, 2));
        }
        assert!((0..50).all(|id| pending.0.contains(&id)));
    }

    #[test]
    fn a_message_without_a_verdict_gives_its_place_back() {
        let (now, mut pending) = (Instant::now(), Pending(Cache::new(VERDICTS)));
        pending.put(from(1, 1), 1, message(now, 1));
        pending.put(from(1, 1), 2, message(now + Duration::from_secs(1), 2));
        assert!(pending.late(now + VERDICT_MAX - Duration::from_millis(1)).is_empty());
        assert_eq!(pending.late(now + VERDICT_MAX).len(), 1);
        assert_eq!(pending.late(now + VERDICT_MAX * 2).len(), 1);
        assert!(pending.0.is_empty());
    }
}
