//! Taking up the segment stream after a restart (RCPT-11). Our own records: their signatures were checked when they
//! were written, and the segments carry a checksum.

use super::{
    ReceiptCore,
    call::{Call, State},
};
use crate::{
    limits::RETRY_FIRST,
    receipt::{Claim, Close, Facts, Receipt, Sealed, Stored},
};
use dots_wire::{Hash, Now, Timestamp, decode};

impl ReceiptCore {
    pub(super) fn restore(&mut self, records: &[Vec<u8>], now: Now) {
        for record in records {
            match Stored::read(record) {
                Some(stored) => self.replay(now, stored),
                None => {
                    tracing::warn!(bytes = record.len(), "a stored record is not of a receipt; left alone");
                    self.tally("receipt_record_unread");
                }
            }
        }
        let keys: Vec<Hash> = self.calls.keys().copied().collect();
        for key in keys {
            if let Some(entry) = self.calls.get_mut(&key) {
                entry.next = now.mono + RETRY_FIRST;
            }
            self.rearm(now, &key);
        }
    }

    fn replay(&mut self, now: Now, stored: Stored) {
        match stored {
            Stored::Open(note) => {
                self.take_up(now, &note.facts, note.start, |_| {});
            }
            Stored::End(note) => self.change(now, &note.call_id, |call| {
                if call.is_open() {
                    call.measured_ms = note.duration_ms;
                    call.ended = note.ended;
                    call.state = State::Ended { duration_ms: note.duration_ms, cause: note.cause };
                }
            }),
            Stored::Claim(note) => {
                let Some(claim) = read(&note.own) else { return };
                self.take_up(now, &claim.facts.clone(), claim.start, |call| {
                    call.measured_ms = call.measured_ms.or(claim.duration_ms);
                    call.ended = note.ended;
                    call.state = State::Stated { own: note.own, claim };
                });
            }
            Stored::Half(note) => {
                let Some(claim) = read(&note.own) else { return };
                let Ok(receipt) = Receipt::read(&note.half.receipt) else { return };
                self.take_up(now, &claim.facts, claim.start, |call| {
                    call.measured_ms = call.measured_ms.or(claim.duration_ms);
                    call.ended = note.ended;
                    call.state =
                        State::Signed { own: note.own, theirs: note.theirs, receipt, half: note.half };
                });
            }
            Stored::Whole(note) => {
                let Ok(receipt) = Receipt::read(&note.whole.receipt) else { return };
                let (facts, start) = (receipt.facts.clone(), receipt.start);
                self.take_up(now, &facts, start, |call| {
                    call.ended = note.ended;
                    call.state = State::Whole { receipt, whole: note.whole, is_told: note.is_told };
                });
            }
            Stored::Close(note) => {
                self.change(now, &note.call_id, |call| match (&mut call.state, note.why) {
                    (State::Whole { is_told, .. }, _) => *is_told = true,
                    (_, Close::Told) => {}
                    (_, why) => call.close(why),
                })
            }
        }
    }

    /// Changes the call with these facts; a new one if there is none.
    fn take_up(&mut self, now: Now, facts: &Facts, start: Timestamp, change: impl FnOnce(&mut Call)) {
        let Some(side) = facts.side(self.me).filter(|_| facts.network == self.network) else { return };
        if !self.calls.contains_key(&facts.call_id) {
            let call = Call::open(facts.clone(), side, start, None);
            let cause = ReceiptCore::cause_of(call.other());
            self.insert(now, call, cause);
        }
        self.change(now, &facts.call_id, change);
    }

    fn change(&mut self, now: Now, key: &Hash, change: impl FnOnce(&mut Call)) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        change(&mut entry.call);
        entry.is_announced = matches!(entry.call.state, State::Whole { .. });
        self.settle(now, key);
    }
}

fn read(own: &Sealed) -> Option<Claim> {
    decode(&own.payload).ok()
}
