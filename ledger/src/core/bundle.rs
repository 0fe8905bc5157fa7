//! Bundles: what is due about many calls goes to their other peer in one request, and is answered in one answer.

use super::{ReceiptCore, ReceiptOutput};
use crate::{
    limits::{BUNDLE_BYTES_MAX, BUNDLE_MAX, REQUEST_TIMEOUT, REQUESTS_PER_PEER, WAITING_PER_PEER},
    receipt::{Message, write_bundle},
};
use dots_wire::{Hash, Now, PeerId, TokenBucket, encode};
use std::collections::{BTreeSet, VecDeque};

/// Of a bundle, beside its messages.
const FRAME_BYTES: usize = 16;

/// One other peer.
#[derive(Default)]
pub struct Toward {
    /// Unfinished calls with it.
    pub calls: BTreeSet<Hash>,
    /// Our requests that it has not answered.
    under_way: usize,
    /// Its requests that wait for our disk.
    waiting: usize,
    /// Calls that something is due about.
    queue: VecDeque<Hash>,
    /// What it says with signatures that do not hold.
    pub forged: TokenBucket,
}

impl Toward {
    fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.under_way == 0 && self.waiting == 0
    }
}

/// A request of ours that is not answered. A call that it is no more about has left its place empty.
pub struct Asked {
    peer: PeerId,
    calls: Vec<Option<Hash>>,
}

/// One message of an answer.
pub enum Say {
    /// The state of this call, when it is on disk.
    State(Hash),
    This(Message),
    Nothing,
}

/// A request of another peer, which is answered when what the answer says is on disk.
pub struct Inbound {
    from: PeerId,
    says: Vec<Say>,
}

impl ReceiptCore {
    /// Something is due about this call.
    pub(super) fn enqueue(&mut self, key: &Hash) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        debug_assert!(!entry.is_queued, "a call stands in its queue once");
        entry.is_queued = true;
        let peer = entry.call.other();
        self.toward.entry(peer).or_default().queue.push_back(*key);
        self.ready.insert(peer);
    }

    /// RCPT-10b: sends what is due, as far as there is room for requests to each peer.
    pub(super) fn send_bundles(&mut self, now: Now) {
        let peers: Vec<PeerId> = self.ready.iter().copied().collect();
        for peer in peers {
            while self.toward.get(&peer).is_some_and(|t| t.under_way < REQUESTS_PER_PEER) {
                let bundle = self.next_bundle(peer);
                if bundle.is_empty() {
                    self.ready.remove(&peer);
                    self.tidy(peer);
                    break;
                }
                self.request(now, peer, bundle);
            }
        }
    }

    fn next_bundle(&mut self, peer: PeerId) -> Vec<(Hash, Message)> {
        let (mut bundle, mut bytes) = (Vec::new(), FRAME_BYTES);
        while bundle.len() < BUNDLE_MAX {
            let Some(toward) = self.toward.get_mut(&peer) else { break };
            let Some(key) = toward.queue.front().copied() else { break };
            let entry = self.calls.get_mut(&key);
            // What has changed since is asked about when it is on disk.
            let idle = entry.filter(|e| !e.is_finished && e.writing.is_none());
            if let Some(message) = idle.and_then(|entry| entry.call.message()) {
                bytes += encode(&message).len();
                if bytes > BUNDLE_BYTES_MAX && !bundle.is_empty() {
                    break;
                }
                bundle.push((key, message));
            }
            toward.queue.pop_front();
            if let Some(entry) = self.calls.get_mut(&key) {
                entry.is_queued = false;
            }
        }
        bundle
    }

    fn request(&mut self, now: Now, peer: PeerId, bundle: Vec<(Hash, Message)>) {
        self.next_request += 1;
        let id = self.next_request;
        let toward = self.toward.get_mut(&peer).expect("a peer that has a queue");
        toward.under_way += 1;
        let (keys, messages): (Vec<Hash>, Vec<Option<Message>>) =
            bundle.into_iter().map(|(key, message)| (key, Some(message))).unzip();
        for key in &keys {
            if let Some(entry) = self.calls.get_mut(key) {
                entry.asked = Some((id, now.mono + REQUEST_TIMEOUT));
            }
            self.rearm(now, key);
        }
        tracing::debug!(calls = keys.len(), %peer, "asking for receipts");
        self.requests.insert(id, Asked { peer, calls: keys.into_iter().map(Some).collect() });
        self.out.push(ReceiptOutput::Request { id, peer, body: write_bundle(&messages) });
    }

    /// The calls of a request that has ended; there is room for another. `None`: it was given up before.
    pub(super) fn answered(&mut self, id: u64) -> Option<Vec<Option<Hash>>> {
        let asked = self.requests.remove(&id)?;
        for key in asked.calls.iter().flatten() {
            if let Some(entry) = self.calls.get_mut(key) {
                debug_assert!(
                    entry.asked.is_some_and(|(asked, _)| asked == id),
                    "a call is asked about once"
                );
                entry.asked = None;
            }
        }
        self.release(asked.peer);
        Some(asked.calls)
    }

    /// The request under way is about this call no more.
    pub(super) fn stop_asking(&mut self, key: &Hash) {
        let Some((id, _)) = self.calls.get_mut(key).and_then(|entry| entry.asked.take()) else { return };
        let Some(asked) = self.requests.get_mut(&id) else { return };
        for place in asked.calls.iter_mut().filter(|place| place.as_ref() == Some(key)) {
            *place = None;
        }
        if asked.calls.iter().all(Option::is_none) {
            let peer = asked.peer;
            self.requests.remove(&id);
            self.release(peer);
        }
    }

    fn release(&mut self, peer: PeerId) {
        let toward = self.toward.get_mut(&peer).expect("a peer with a request under way is remembered");
        toward.under_way = toward.under_way.checked_sub(1).expect("every request was counted");
        self.tidy(peer);
    }

    /// Forgets a peer with which nothing is left to do.
    pub(super) fn tidy(&mut self, peer: PeerId) {
        if self.toward.get(&peer).is_some_and(Toward::is_idle) {
            self.toward.remove(&peer);
            self.ready.remove(&peer);
        }
    }

    /// RCPT-9: says what there is to say, once it is on disk.
    pub(super) fn answer(&mut self, from: PeerId, id: u64, says: Vec<Say>) {
        let Some(token) = self.last_write(&says) else {
            let messages: Vec<Option<Message>> = says.into_iter().map(|say| self.said(say)).collect();
            let body = messages.iter().any(Option::is_some).then(|| write_bundle(&messages));
            return self.respond(id, body);
        };
        let toward = self.toward.entry(from).or_default();
        if toward.waiting >= WAITING_PER_PEER {
            self.tally("receipt_too_many_asked");
            return self.respond(id, None);
        }
        toward.waiting += 1;
        self.inbound.insert((token, id), Inbound { from, says });
    }

    /// Answers what has waited for this write, and for no later one.
    pub(super) fn answer_waiting(&mut self, token: u64) {
        while let Some(entry) = self.inbound.first_entry().filter(|entry| entry.key().0 <= token) {
            let ((_, id), Inbound { from, says }) = entry.remove_entry();
            let toward = self.toward.get_mut(&from).expect("a peer that waits is remembered");
            toward.waiting = toward.waiting.checked_sub(1).expect("every waiting request was counted");
            self.answer(from, id, says);
            self.tidy(from);
        }
    }

    /// The newest write that must be on disk before this is said.
    fn last_write(&self, says: &[Say]) -> Option<u64> {
        let writing = |say: &Say| match say {
            Say::State(key) => self.calls.get(key)?.writing,
            Say::This(_) | Say::Nothing => None,
        };
        says.iter().filter_map(writing).max()
    }

    fn said(&self, say: Say) -> Option<Message> {
        match say {
            Say::State(key) => self.calls.get(&key)?.call.message(),
            Say::This(message) => Some(message),
            Say::Nothing => None,
        }
    }
}
