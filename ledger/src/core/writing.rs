//! The disk: what changes in one step is sealed and written together. Records of a stream reach the disk in order, so the last
//! one of a step stands for all of it.

use super::{ReceiptCore, ReceiptOutput, call::State};
use crate::receipt::{Signer, Stored};
use dots_wire::{Hash, Now};

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
        self.write_step();
        self.send_bundles(now);
        let checked = self.checked.take_count();
        self.tally_many("receipt_signatures_checked", checked);
    }

    /// RCPT-8a: claims that are due together are signed together.
    fn state_claims(&mut self, now: Now) {
        let keys = std::mem::take(&mut self.unstated);
        let mut list = Signer::listing();
        for key in &keys {
            if let Some(entry) = self.calls.get(key) {
                entry.call.clone().state_claim(&mut list);
            }
        }
        let mut signer = self.sealed(list);
        for key in &keys {
            let Some(entry) = self.calls.get_mut(key) else { continue };
            entry.call.state_claim(&mut signer);
            entry.next = now.mono;
            self.write(key);
            self.settle(now, key);
        }
    }

    /// Signs what is listed.
    pub(super) fn sealed(&mut self, list: Signer) -> Signer {
        let (signer, made) = list.sealed(&self.key);
        self.tally_many("receipt_signatures_made", made);
        signer
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
