//! When each call is asked about next, and how many requests a peer may have at once.

use super::{
    ReceiptCore, ReceiptOutput,
    call::{Call, State},
};
use crate::{
    limits::{DURATION_MAX, REQUEST_TIMEOUT, REQUESTS_PER_PEER, RETRY_FIRST, RETRY_FOR, RETRY_MAX, TURN},
    receipt::Close,
};
use dots_wire::{Hash, Now};
use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// One call and what is under way for it.
pub struct Entry {
    pub call: Call,
    /// The newest record of it that is not on disk yet.
    pub writing: Option<u64>,
    /// Requests from outside that wait for that.
    pub waiting: Vec<u64>,
    /// Our request under way, and when it is given up.
    pub asked: Option<(u64, Instant)>,
    /// It waits for a place among the requests to its peer.
    pub is_queued: bool,
    /// Requests in vain, one after the other.
    pub attempts: u32,
    /// Not asked before.
    pub next: Instant,
    /// Given up then.
    lapse: Instant,
    armed: Option<Instant>,
    pub listed: Option<u64>,
    pub is_announced: bool,
    pub is_counted: bool,
    pub is_finished: bool,
}

impl Entry {
    pub fn new(now: Now, call: Call) -> Entry {
        let lapse = lapse(now, &call);
        Entry {
            call,
            writing: None,
            waiting: vec![],
            asked: None,
            is_queued: false,
            attempts: 0,
            next: now.mono,
            lapse,
            armed: None,
            listed: None,
            is_announced: false,
            is_counted: false,
            is_finished: false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.is_finished {
            return None;
        }
        let ask = match self.asked {
            Some((_, until)) => Some(until),
            None if self.writing.is_some() || self.is_queued || self.call.is_open() => None,
            None => Some(self.next),
        };
        Some(ask.map_or(self.lapse, |at| at.min(self.lapse)))
    }
}

/// The other side of an open call proposes until a day after its end, and no call is longer than the longest.
fn lapse(now: Now, call: &Call) -> Instant {
    let until = match call.state {
        State::Open { .. } => call.start.plus(DURATION_MAX + RETRY_FOR),
        _ => call.ended.plus(RETRY_FOR),
    };
    now.mono + until.since(now.wall).min(DURATION_MAX + RETRY_FOR)
}

/// One other peer.
#[derive(Default)]
pub struct Toward {
    /// Unfinished calls with it.
    pub calls: BTreeSet<Hash>,
    under_way: usize,
    queue: VecDeque<Hash>,
}

impl Toward {
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.under_way == 0
    }
}

/// The pause after `attempts` in vain: doubled each time, up to an eighth more or less by call id, so that the calls
/// of one outage do not come back in step.
fn pause(key: &Hash, attempts: u32) -> Duration {
    let pause = RETRY_FIRST.saturating_mul(1 << attempts.min(16)).min(RETRY_MAX);
    let spread = u32::from(key.0[0]);
    pause - pause / 8 + pause / 1024 * spread
}

impl ReceiptCore {
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, key)) = self.timers.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.timers.remove(&(at, key));
            let Some(entry) = self.calls.get_mut(&key) else { continue };
            entry.armed = None;
            if entry.lapse <= now.mono {
                self.close(now, &key, Close::Lapsed);
            } else if entry.asked.is_some_and(|(_, until)| until <= now.mono) {
                self.stop_asking(now, &key);
                self.back_off(now, &key);
            } else {
                self.pump(now, &key);
            }
        }
    }

    /// Asks, if it is time and nothing is in the way.
    pub(super) fn pump(&mut self, now: Now, key: &Hash) {
        if let Some(entry) = self.calls.get_mut(key) {
            let is_due = entry.next <= now.mono
                && entry.asked.is_none()
                && entry.writing.is_none()
                && !entry.is_queued
                && !entry.is_finished;
            match entry.call.state {
                State::Ended { .. } if is_due => self.state_claim(now, key),
                State::Open { .. } => {}
                _ if is_due => self.ask(now, key),
                _ => {}
            }
        }
        self.rearm(now, key);
    }

    fn ask(&mut self, now: Now, key: &Hash) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        let Some(message) = entry.call.message() else { return };
        let peer = entry.call.other();
        let toward = self.toward.entry(peer).or_default();
        if toward.under_way >= REQUESTS_PER_PEER {
            entry.is_queued = true;
            toward.queue.push_back(*key);
            return;
        }
        toward.under_way += 1;
        self.next_request += 1;
        let id = self.next_request;
        entry.asked = Some((id, now.mono + REQUEST_TIMEOUT));
        self.requests.insert(id, *key);
        tracing::debug!(call_id = %key, %peer, "asking for a receipt");
        self.out.push_back(ReceiptOutput::Request { id, peer, body: message.to_bytes() });
    }

    /// The request under way has ended, one way or another; the next in the queue has its place.
    pub(super) fn stop_asking(&mut self, now: Now, key: &Hash) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        let peer = entry.call.other();
        let Some((id, _)) = entry.asked.take() else { return };
        self.requests.remove(&id);
        let Some(toward) = self.toward.get_mut(&peer) else { return };
        toward.under_way = toward.under_way.saturating_sub(1);
        while let Some(next) = self.toward.get_mut(&peer).and_then(|t| t.queue.pop_front()) {
            let Some(entry) = self.calls.get_mut(&next) else { continue };
            entry.is_queued = false;
            self.pump(now, &next);
            if self.toward.get(&peer).is_some_and(|t| t.under_way >= REQUESTS_PER_PEER) {
                break;
            }
        }
    }

    pub(super) fn back_off(&mut self, now: Now, key: &Hash) {
        if let Some(entry) = self.calls.get_mut(key) {
            entry.next = now.mono + pause(key, entry.attempts);
            entry.attempts = entry.attempts.saturating_add(1);
        }
        self.rearm(now, key);
    }

    /// We have made progress by our own request (`is_ours`): go on at once; by the other's: it has its turn.
    pub(super) fn proceed(&mut self, now: Now, key: &Hash, is_ours: bool) {
        if let Some(entry) = self.calls.get_mut(key) {
            entry.attempts = 0;
            entry.next = if is_ours { now.mono } else { now.mono + TURN };
        }
        self.pump(now, key);
    }

    pub(super) fn rearm(&mut self, now: Now, key: &Hash) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        if !entry.is_finished {
            entry.lapse = lapse(now, &entry.call);
        }
        let deadline = entry.deadline();
        if deadline != entry.armed {
            if let Some(old) = std::mem::replace(&mut entry.armed, deadline) {
                self.timers.remove(&(old, *key));
            }
            if let Some(at) = deadline {
                self.timers.insert((at, *key));
            }
        }
    }
}
