//! One step of the machine: when each call is asked about next, and the disk. What changes in one step is sealed and written
//! together; records of a stream reach the disk in order, so the last one of a step stands for all of it.

use super::{
    ReceiptCore, ReceiptOutput,
    call::{Call, State},
};
use crate::{
    limits::{DEAF_FIRST, DEAF_MAX, DURATION_MAX, RETRY_FIRST, RETRY_FOR, RETRY_MAX, TURN},
    receipt::Stored,
};
use dots_wire::{Hash, Now, bounded::Cause};
use std::time::{Duration, Instant};

/// One call and what is under way for it.
pub struct Entry {
    pub call: Call,
    /// The newest record of it that is not on disk yet.
    pub writing: Option<u64>,
    /// Our request under way, and when it is given up.
    pub asked: Option<(u64, Instant)>,
    /// It waits for a place among the requests to its peer.
    pub is_queued: bool,
    /// Requests in vain, one after the other.
    pub attempts: u32,
    /// It is not asked about before this moment.
    pub next: Instant,
    /// It is given up at this moment.
    pub(super) lapse: Instant,
    pub listed: Option<u64>,
    pub is_announced: bool,
    pub is_counted: bool,
    pub is_finished: bool,
    pub cause: Cause,
    /// The other side has claimed while the call was up here.
    pub was_claimed: bool,
    /// Signatures about it that did not hold, and until when it is not listened to.
    forged: u32,
    deaf_until: Option<Instant>,
}

impl Entry {
    pub fn new(now: Now, call: Call, cause: Cause) -> Entry {
        let lapse = lapse(now, &call);
        Entry {
            call,
            writing: None,
            asked: None,
            is_queued: false,
            attempts: 0,
            next: now.mono,
            lapse,
            listed: None,
            is_announced: false,
            is_counted: false,
            is_finished: false,
            cause,
            was_claimed: false,
            forged: 0,
            deaf_until: None,
        }
    }

    /// RCPT-7a: a signature about it does not hold.
    pub fn deafen(&mut self, now: Instant) {
        let pause = DEAF_FIRST.saturating_mul(1 << self.forged.min(16)).min(DEAF_MAX);
        (self.forged, self.deaf_until) = (self.forged.saturating_add(1), Some(now + pause));
    }

    pub fn is_deaf(&self, now: Instant) -> bool {
        self.deaf_until.is_some_and(|until| now < until)
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

/// RCPT-10c: the other side of an open call proposes until a day after its end, and no call is longer than the longest.
fn lapse(now: Now, call: &Call) -> Instant {
    let until = match call.state {
        State::Open { .. } => call.start.plus(DURATION_MAX + RETRY_FOR),
        _ => call.ended.plus(RETRY_FOR),
    };
    now.mono + until.since(now.wall).min(DURATION_MAX + RETRY_FOR)
}

/// RCPT-10a: the pause after `attempts` in vain: doubled each time, up to an eighth more or less by call id, so that the calls
/// of one outage do not come back in step.
fn pause(key: &Hash, attempts: u32) -> Duration {
    let pause = RETRY_FIRST.saturating_mul(1 << attempts.min(16)).min(RETRY_MAX);
    let spread = u32::from(key.0[0]);
    pause - pause / 8 + pause / 1024 * spread
}

impl ReceiptCore {
    /// Asks, if it is time and nothing is in the way.
    pub(super) fn pump(&mut self, now: Now, key: &Hash) {
        if let Some(entry) = self.calls.get_mut(key) {
            let is_due = entry.next <= now.mono
                && entry.asked.is_none()
                && entry.writing.is_none()
                && !entry.is_queued
                && !entry.is_finished;
            match entry.call.state {
                State::Ended { .. } if is_due => {
                    // Rearmed when it is stated, at the end of this step.
                    self.unstated.insert(*key);
                    return;
                }
                State::Open { .. } => {}
                _ if is_due => self.enqueue(key),
                _ => {}
            }
        }
        self.rearm(now, key);
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
        match entry.deadline() {
            Some(at) if self.timers.deadline(key) == Some(at) => {}
            Some(at) => self.timers.set(*key, at),
            None => {
                self.timers.cancel(key);
            }
        }
    }
}

impl ReceiptCore {
    /// The state of this call is written at the end of the step; answers and requests about it wait for that.
    pub(super) fn write(&mut self, key: &Hash) {
        let next = self.next_token + 1;
        let Some(entry) = self.calls.get_mut(key) else { return };
        let token = *self.step_token.get_or_insert(next);
        self.next_token = self.next_token.max(token);
        entry.writing = Some(token);
        self.unwritten.insert(*key);
    }

    /// Writes the state of a call; nobody waits.
    pub(super) fn note(&mut self, key: &Hash) {
        if let Some(entry) = self.calls.get(key) {
            let record = entry.call.record();
            self.append(&record);
        }
    }

    pub(super) fn append(&mut self, stored: &Stored) {
        self.next_token += 1;
        let (token, record) = (self.next_token, stored.to_bytes());
        self.out.push(ReceiptOutput::Append { token, record, sync: false });
    }

    /// The end of each step: what is due is stated, written and asked.
    pub(super) fn flush(&mut self, now: Now) {
        self.state_claims(now);
        self.seal_step();
        self.write_step();
        self.send_bundles(now);
        let checked = self.checked.take_count();
        self.tally_many("receipt_signatures_checked", checked);
    }

    /// RCPT-8a: claims that are due together are signed together.
    fn state_claims(&mut self, now: Now) {
        for key in std::mem::take(&mut self.unstated) {
            let Some(entry) = self.calls.get_mut(&key) else { continue };
            entry.call.state_claim(&mut self.signer);
            entry.next = now.mono;
            self.unsealed.insert(key);
            self.write(&key);
            self.settle(now, &key);
        }
    }

    /// Signs what this step has listed.
    fn seal_step(&mut self) {
        let (mut seals, made) = std::mem::take(&mut self.signer).sealed(&self.key);
        self.tally_many("receipt_signatures_made", made);
        for key in std::mem::take(&mut self.unsealed) {
            if let Some(entry) = self.calls.get_mut(&key) {
                entry.call.fill(&mut seals);
            }
        }
    }

    fn write_step(&mut self) {
        let Some(step) = self.step_token.take() else { return };
        let keys: Vec<Hash> = std::mem::take(&mut self.unwritten).into_iter().collect();
        debug_assert!(!keys.is_empty(), "a step that writes has something to write");
        for (place, key) in keys.iter().enumerate() {
            let Some(entry) = self.calls.get(key) else { continue };
            let record = entry.call.record().to_bytes();
            let is_last = place + 1 == keys.len();
            self.next_token += 1;
            let token = if is_last { step } else { self.next_token };
            self.out.push(ReceiptOutput::Append { token, record, sync: is_last });
        }
        self.writes.insert(step, keys);
    }

    /// `Append` with this token is on disk, and so is all before it.
    pub fn durable(&mut self, now: Now, token: u64) {
        let Some(keys) = self.writes.remove(&token) else { return };
        for key in &keys {
            let Some(entry) = self.calls.get_mut(key).filter(|e| e.writing == Some(token)) else { continue };
            entry.writing = None;
            if matches!(entry.call.state, State::Whole { .. }) && !entry.is_announced {
                entry.is_announced = true;
                self.out.push(ReceiptOutput::Completed { call_id: *key });
                self.tally("receipt_whole");
            }
        }
        self.answer_waiting(token);
        for key in &keys {
            self.pump(now, key);
        }
        self.flush(now);
    }
}
