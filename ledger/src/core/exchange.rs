//! What the other side says: requests and answers bring the same messages (RCPT-7).

use super::{
    ReceiptCore,
    call::{Heard, State, Wrong},
};
use crate::receipt::{Claim, Close, CloseNote, Half, Message, Refusal, Refused, Stored, Whole};
use dots_wire::{Hash, Now, PeerId, Signature, Signed};

/// What to do about a message, after the state has taken it in.
enum Next {
    /// Answer with what we have to say now.
    Answer,
    /// Answer that this is refused; the state is as it was.
    Refuse(Refusal),
    /// Not worth an answer.
    Drop,
}

impl ReceiptCore {
    /// `peer` (authenticated by the transport) asks; `id` is answered once, when what it says is on disk.
    pub fn on_request(&mut self, now: Now, from: PeerId, id: u64, body: &[u8]) {
        let message = Message::read(body).filter(|m| !matches!(m, Message::Refused(_)));
        let Some((message, key)) = message.and_then(|m| m.call_id().map(|k| (m, k))) else {
            self.tally("receipt_bad_message");
            return self.respond(id, None);
        };
        // A stranger learns nothing about the calls of others, not even that there are any.
        if self.calls.get(&key).is_none_or(|e| e.call.other() != from) {
            self.tally("receipt_unknown_call");
            let refused = Refused { call_id: key, reason: Refusal::UnknownCall };
            return self.respond(id, Some(Message::Refused(refused).to_bytes()));
        }
        match self.take_in(now, &key, message, false) {
            Next::Answer => self.answer(&key, id),
            Next::Drop => self.respond(id, None),
            Next::Refuse(reason) => {
                let refused = Refused { call_id: key, reason };
                self.respond(id, Some(Message::Refused(refused).to_bytes()));
            }
        }
    }

    /// The answer to `Request` `id`; none where the peer was out of reach or would not answer.
    pub fn on_response(&mut self, now: Now, id: u64, body: Option<Vec<u8>>) {
        let Some(key) = self.requests.get(&id).copied() else { return };
        self.stop_asking(now, &key);
        let message = body.as_deref().and_then(Message::read).filter(|m| m.call_id() == Some(key));
        match message {
            Some(Message::Refused(refused)) => self.on_refused(now, &key, refused.reason),
            Some(message) => {
                let before = self.progress(&key);
                self.take_in(now, &key, message, true);
                if self.progress(&key) == before {
                    self.back_off(now, &key);
                }
            }
            None => self.back_off(now, &key),
        }
    }

    /// The other side will not sign. It may not know the call yet, or no more: that is asked again.
    fn on_refused(&mut self, now: Now, key: &Hash, reason: Refusal) {
        let is_whole = self.calls.get(key).is_some_and(|e| matches!(e.call.state, State::Whole { .. }));
        if reason == Refusal::UnknownCall || is_whole {
            self.tally("receipt_not_known_there");
            return self.back_off(now, key);
        }
        tracing::info!(call_id = %key, %reason, "the other side refuses a receipt");
        self.close(now, key, Close::Refused(reason));
    }

    fn take_in(&mut self, now: Now, key: &Hash, message: Message, is_ours: bool) -> Next {
        let heard = match &message {
            Message::Claim(claim) => self.on_claim(now, key, claim, None),
            Message::Half(Half { claim, signature }) => self.on_claim(now, key, claim, Some(signature)),
            Message::Whole(whole) => self.on_whole(key, whole),
            Message::Refused(_) => return Next::Drop,
        };
        match heard {
            Ok(Heard::Same) => Next::Answer,
            Ok(Heard::Changed) => {
                self.settle(now, key);
                self.proceed(now, key, is_ours);
                Next::Answer
            }
            Err(Wrong::Refuse(reason)) => {
                tracing::info!(call_id = %key, %reason, "refused to sign a receipt");
                if reason == Refusal::Excessive {
                    self.tally("receipt_excessive");
                }
                self.close(now, key, Close::Refused(reason));
                Next::Answer
            }
            Err(Wrong::Contradicts) => {
                self.tally("receipt_contradiction");
                Next::Refuse(Refusal::Mismatch)
            }
            Err(Wrong::Forged) => {
                self.tally("receipt_bad_signature");
                Next::Drop
            }
            // It is asked again later: by then the call has ended here too, or the claim has grown.
            Err(Wrong::StillUp) => {
                self.tally("receipt_claim_too_early");
                Next::Drop
            }
        }
    }

    fn on_claim(
        &mut self,
        now: Now,
        key: &Hash,
        signed: &Signed,
        signature: Option<&Signature>,
    ) -> Result<Heard, Wrong> {
        let entry = self.calls.get_mut(key).ok_or(Wrong::Forged)?;
        // No signature is checked for a message that can change nothing.
        if entry.call.knows(signed, signature) {
            return Ok(Heard::Same);
        }
        let claim = Claim::verified(signed).ok_or(Wrong::Forged)?;
        if claim.facts.peer(claim.side) != entry.call.other() {
            return Err(Wrong::Forged);
        }
        let was_open = entry.call.is_open();
        let heard = entry.call.on_claim(now, &self.key, signed, &claim, signature);
        if was_open && !entry.call.is_open() {
            self.open = self.open.saturating_sub(1);
        }
        if heard == Ok(Heard::Changed) {
            self.write(key);
        }
        heard
    }

    fn on_whole(&mut self, key: &Hash, whole: &Whole) -> Result<Heard, Wrong> {
        let entry = self.calls.get_mut(key).ok_or(Wrong::Forged)?;
        let (was_open, was_whole) = (entry.call.is_open(), matches!(entry.call.state, State::Whole { .. }));
        let heard = entry.call.on_whole(whole)?;
        if was_open {
            self.open = self.open.saturating_sub(1);
        }
        if heard == Heard::Changed {
            // That the other side has it too is a note that nobody waits for.
            if was_whole {
                self.append(&Stored::Close(CloseNote { call_id: *key, why: Close::Told }));
            } else {
                self.write(key);
            }
        }
        Ok(heard)
    }

    /// Changes exactly when the exchange has moved.
    fn progress(&self, key: &Hash) -> Option<u8> {
        self.calls.get(key).map(|e| match e.call.state {
            State::Open { .. } => 0,
            State::Ended { .. } => 1,
            State::Stated { .. } => 2,
            State::Signed { .. } => 3,
            State::Whole { is_told: false, .. } => 4,
            State::Whole { is_told: true, .. } => 5,
            State::Closed { .. } => 6,
        })
    }
}
