//! What comes from other peers.

use super::{OverlayCore, OverlayOutput, gossip};
use crate::{
    dht,
    log::{Accepted, Head, sync},
    records::{Entry, Event, entry::ENTRY_MAX},
    transport::{GossipId, NetCommand, NetEvent, Protocol, RequestError},
};
use dots_wire::{Hash, Now, PeerId};
use std::sync::Arc;

/// Both kinds of requests share one space of ids: the lowest bit says whose it is.
pub fn sync_id(id: u64) -> u64 {
    id << 1
}
pub fn verify_id(id: u64) -> u64 {
    (id << 1) | 1
}

impl OverlayCore {
    pub fn handle_net(&mut self, now: Now, event: NetEvent) {
        self.latest = now;
        match event {
            NetEvent::Connected { peer } => {
                self.directory.set_dead(peer, false);
                self.sync.on_connected(now, peer, &mut self.chains);
            }
            NetEvent::Disconnected { peer } => {
                self.directory.set_dead(peer, true);
                self.sync.on_disconnected(peer);
            }
            NetEvent::Request { peer, protocol, id, body } => match protocol {
                Protocol::Log => {
                    let body = self.sync.answer(now, peer, &body, &mut self.chains);
                    self.net(NetCommand::Respond { id, body });
                }
                Protocol::Verify => {
                    let (me, directory) = (self.me, &self.directory);
                    let is_ours = |aor: Hash, instance: Hash| directory.holds(aor, instance, me);
                    self.pinger.on_request(now, peer, id, &body, is_ours);
                }
                Protocol::Auth | Protocol::Lookup | Protocol::Receipt => {}
            },
            NetEvent::Response { id, result } => self.on_response(now, id, result),
            NetEvent::Gossip { from, id, body } => self.on_gossip(now, from, id, &body),
            NetEvent::DhtOffer { key, value, held, .. } => self.on_offer(now, &key, &value, held.as_deref()),
            NetEvent::DhtValue { .. } | NetEvent::DhtDone { .. } => {}
            NetEvent::Seen { .. }
            | NetEvent::StreamOpened { .. }
            | NetEvent::StreamRefused { .. }
            | NetEvent::StreamFrame { .. }
            | NetEvent::StreamClosed { .. } => {}
        }
        self.tell_changes();
        self.flush_sync();
        self.flush_verify();
        self.write_due(now);
    }

    fn on_response(&mut self, now: Now, id: u64, result: Result<Vec<u8>, RequestError>) {
        let body = result.ok();
        if id & 1 == 1 {
            let event = self.verifier.on_response(now, id >> 1, body.as_deref(), &mut self.rng);
            if let Some(event) = event {
                self.append(now, event);
            }
            return;
        }
        let brought = self.sync.on_response(now, id >> 1, body.as_deref(), &mut self.chains);
        let Some(from) = brought.from else { return };
        let full =
            brought.entries.iter().map(|e| e.len()).sum::<usize>() + ENTRY_MAX > sync::ANSWER_BYTES_MAX;
        let mut last: Option<Arc<Entry>> = None;
        for bytes in &brought.entries {
            match self.chains.accept(now, bytes) {
                Accepted::New { entry, restart } => {
                    self.on_entry(now, &entry, restart);
                    last = Some(entry);
                }
                Accepted::Known | Accepted::Older => {}
                Accepted::Equivocation { author, first, second } => self.on_proof(author, &first, &second),
                Accepted::RunsTwice => self.out.push_back(OverlayOutput::RunsTwice),
                // The rest of the chain does not fit either.
                Accepted::Throttled => {
                    self.count("log_throttled");
                    break;
                }
                Accepted::Gap { .. } | Accepted::Refused => break,
                Accepted::Invalid => {
                    self.count("log_invalid");
                    break;
                }
            }
        }
        if let Some(last) = last.filter(|_| full) {
            let head = Head {
                author: last.header.author,
                shard: String::new(),
                incarnation: last.header.incarnation,
                seq: last.header.seq,
                hash: last.hash,
            };
            self.sync.accepted(now, from, &head, &mut self.chains);
        }
    }

    fn on_gossip(&mut self, now: Now, from: PeerId, id: GossipId, body: &[u8]) {
        let verdict = match gossip::read(&self.network, body) {
            None => Some(false),
            Some(gossip::Said::Proof(first, second)) => match self.chains.check_proof(&first, &second) {
                Some(author) => {
                    self.convicted(author, &first, &second);
                    Some(true)
                }
                // Known already, or no proof: either way nobody needs it from us.
                None => None,
            },
            Some(gossip::Said::Entry(bytes)) => self.on_gossiped_entry(now, from, &bytes),
        };
        if let Some(accept) = verdict {
            self.net(NetCommand::GossipVerdict { id, accept });
        }
    }

    /// Whether to pass it on; `None`: not, but nobody is to blame.
    fn on_gossiped_entry(&mut self, now: Now, from: PeerId, bytes: &[u8]) -> Option<bool> {
        match self.chains.accept(now, bytes) {
            Accepted::New { entry, restart } => {
                self.on_entry(now, &entry, restart);
                Some(true)
            }
            Accepted::Known => Some(true),
            Accepted::Gap { author, incarnation, from: seq } => {
                self.sync.want(now, from, author, incarnation, seq, &mut self.chains);
                Some(true)
            }
            Accepted::Equivocation { author, first, second } => {
                self.on_proof(author, &first, &second);
                None
            }
            Accepted::RunsTwice => {
                self.out.push_back(OverlayOutput::RunsTwice);
                Some(true)
            }
            Accepted::Throttled => {
                self.count("log_throttled");
                None
            }
            Accepted::Older | Accepted::Refused => None,
            Accepted::Invalid => {
                self.count("log_invalid");
                Some(false)
            }
        }
    }

    /// The next entry of another author.
    fn on_entry(&mut self, now: Now, entry: &Entry, restart: bool) {
        let author = entry.header.author;
        let quota = self.chains.quota(author);
        let refused = self.directory.apply(now, entry, restart, quota.live_bytes);
        if refused > 0 {
            self.count("directory_quota");
        }
        for event in &entry.events {
            if let Event::Bind(bind) = event
                && self.directory.holds(bind.aor_id, bind.instance, author)
            {
                self.verifier.on_bind(now, (bind.aor_id, bind.instance, author), &mut self.rng);
            }
        }
    }

    /// We caught somebody: tell everybody.
    fn on_proof(&mut self, author: PeerId, first: &[u8], second: &[u8]) {
        let body = gossip::proof(&self.network, first, second);
        self.net(NetCommand::Publish { body });
        self.convicted(author, first, second);
    }

    fn convicted(&mut self, author: PeerId, first: &[u8], second: &[u8]) {
        if author == self.me {
            // We never sign two: somebody else has our key.
            return self.out.push_back(OverlayOutput::RunsTwice);
        }
        tracing::warn!(%author, "two entries of one number: this peer's word no longer counts");
        self.count("log_equivocation");
        self.directory.drop_author(author);
        self.note(first.to_vec());
        self.note(second.to_vec());
    }

    fn on_offer(&mut self, now: Now, key: &[u8], value: &[u8], held: Option<&[u8]>) {
        let admit = |h: &dht::Held| !self.chains.is_convicted(h.serving);
        match dht::merge(key, held, value, now.wall, admit) {
            Some(value) => {
                let ttl_secs = dht::ttl_secs(&value, now.wall);
                self.net(NetCommand::DhtStore { key: key.to_vec(), value, ttl_secs });
            }
            None => self.count("dht_offer_refused"),
        }
    }
}
