//! What the other side says: requests and answers bring the same messages (RCPT-7).
//!
//! What comes in one turn of the loop is taken in as one step ([`ReceiptCore::hear_all`]): the call of each message changes at once,
//! with nothing but a place where a seal of ours belongs. At the end of the step all that was listed is signed at once, and
//! the seals are filled in; only then is anything written or said. A message that changes nothing has nothing signed.

use super::{
    ReceiptCore,
    bundle::Say,
    call::{Curve, Heard, State, Wrong},
};
use crate::{
    limits::{FORGED, SAID_MAX},
    receipt::{Close, CloseNote, Message, Refusal, Refused, Stored, read_bundle},
};
use dots_wire::{Hash, Now, PeerId};
use std::collections::BTreeSet;

/// What came and is not taken in yet.
pub enum Said {
    Request { from: PeerId, id: u64, body: Vec<u8> },
    Response { id: u64, body: Option<Vec<u8>> },
}

impl ReceiptCore {
    /// `from` (authenticated by the transport) asks; `id` is answered once, when what it says is on disk.
    pub fn on_request(&mut self, now: Now, from: PeerId, id: u64, body: Vec<u8>) {
        self.hear_later(now, Said::Request { from, id, body });
    }

    /// The answer to `Request` `id`; none where the peer was out of reach or would not answer.
    pub fn on_response(&mut self, now: Now, id: u64, body: Option<Vec<u8>>) {
        self.hear_later(now, Said::Response { id, body });
    }

    /// One signature is enough for all that comes before the loop looks at the clock again.
    fn hear_later(&mut self, now: Now, said: Said) {
        self.said_at.get_or_insert(now.mono);
        self.said.push(said);
        if self.said.len() >= SAID_MAX {
            self.hear_all(now);
            self.flush(now);
        }
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.hear_all(now);
        while let Some(key) = self.timers.expired(now.mono) {
            let Some(entry) = self.calls.get_mut(&key) else { continue };
            if entry.lapse <= now.mono {
                self.close(now, &key, Close::Lapsed);
            } else if entry.asked.is_some_and(|(_, until)| until <= now.mono) {
                self.stop_asking(&key);
                self.back_off(now, &key);
            } else {
                self.pump(now, &key);
            }
        }
        self.flush(now);
    }

    fn hear_all(&mut self, now: Now) {
        self.said_at = None;
        for said in std::mem::take(&mut self.said) {
            match said {
                Said::Request { from, id, body } => self.hear_request(now, from, id, &body),
                Said::Response { id, body } => self.hear_response(now, id, body.as_deref()),
            }
        }
    }

    fn hear_request(&mut self, now: Now, from: PeerId, id: u64, body: &[u8]) {
        let Some(asked) = read_bundle(body).and_then(about) else {
            self.tally("receipt_bad_message");
            return self.respond(id, None);
        };
        let mut says = Vec::with_capacity(asked.len());
        for (key, message) in asked {
            // A stranger learns nothing about the calls of others, not even that there are any.
            says.push(if self.calls.get(&key).is_none_or(|e| e.call.other() != from) {
                self.tally("receipt_unknown_call");
                Say::This(refused(key, Refusal::UnknownCall))
            } else {
                self.take_in(now, &key, &message, false)
            });
        }
        self.answer(from, id, says);
    }

    fn hear_response(&mut self, now: Now, id: u64, body: Option<&[u8]>) {
        let Some(keys) = self.answered(id) else { return };
        let mut messages = body.and_then(read_bundle).unwrap_or_default().into_iter();
        for key in keys {
            let message = messages.next().flatten();
            let Some(key) = key else { continue };
            match message.filter(|m| m.call_id() == Some(key)) {
                Some(Message::Refused(refused)) => self.on_refused(now, &key, refused.reason),
                Some(message) => {
                    let before = self.progress(&key);
                    self.take_in(now, &key, &message, true);
                    if self.progress(&key) == before {
                        self.back_off(now, &key);
                    }
                }
                None => self.back_off(now, &key),
            }
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

    /// A message about a call. What is to be said about that.
    fn take_in(&mut self, now: Now, key: &Hash, message: &Message, is_ours: bool) -> Say {
        let is_heard = self.listens(now, key);
        // A call before it in this bundle may have finished, and made room by the oldest that is done: this one.
        let Some(entry) = self.calls.get_mut(key) else {
            return Say::This(refused(*key, Refusal::UnknownCall));
        };
        let was_whole = matches!(entry.call.state, State::Whole { .. });
        let listed = self.signer.len();
        let mut curve = Curve { signer: &mut self.signer, checked: &mut self.checked };
        let result = match is_heard {
            true => entry.call.hear(now, &mut curve, message),
            false => Err(Wrong::Unheard),
        };
        if result == Ok(Heard::Changed) {
            self.unsealed.insert(*key);
        } else {
            // Nothing is signed for what changes nothing.
            self.signer.truncate(listed);
        }
        match result {
            Ok(Heard::Same) => Say::State(*key),
            Ok(Heard::Changed) => {
                // That the other side has it too is a note that nobody waits for.
                if was_whole {
                    self.append(&Stored::Close(CloseNote { call_id: *key, why: Close::Told }));
                } else {
                    self.write(key);
                }
                self.settle(now, key);
                self.proceed(now, key, is_ours);
                Say::State(*key)
            }
            Err(wrong) => self.on_wrong(now, key, wrong),
        }
    }

    /// RCPT-7a: is this call, and its other peer, worth another look at a signature?
    fn listens(&self, now: Now, key: &Hash) -> bool {
        let Some(entry) = self.calls.get(key) else { return false };
        let toward = self.toward.get(&entry.call.other());
        !entry.is_deaf(now.mono) && toward.is_none_or(|t| t.forged.has(now.mono, FORGED, 1.0))
    }

    fn on_wrong(&mut self, now: Now, key: &Hash, wrong: Wrong) -> Say {
        match wrong {
            Wrong::Refuse(reason) => {
                tracing::info!(call_id = %key, %reason, "refused to sign a receipt");
                if reason == Refusal::Excessive {
                    self.tally("receipt_excessive");
                }
                self.close(now, key, Close::Refused(reason));
                Say::State(*key)
            }
            Wrong::Contradicts => {
                self.tally("receipt_contradiction");
                Say::This(refused(*key, Refusal::Mismatch))
            }
            Wrong::Forged => {
                self.tally("receipt_bad_signature");
                if let Some(entry) = self.calls.get_mut(key) {
                    entry.deafen(now.mono);
                    let peer = entry.call.other();
                    self.toward.entry(peer).or_default().forged.charge(now.mono, FORGED, 1.0);
                }
                Say::Nothing
            }
            Wrong::Unheard => {
                self.tally("receipt_not_heard");
                Say::Nothing
            }
            // It is asked again later: by then the call has ended here too.
            Wrong::StillUp => {
                if let Some(entry) = self.calls.get_mut(key) {
                    entry.was_claimed = true;
                }
                self.tally("receipt_claim_too_early");
                Say::Nothing
            }
        }
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

fn refused(call_id: Hash, reason: Refusal) -> Message {
    Message::Refused(Refused { call_id, reason })
}

/// What a request is about: it says something of each call, and of no call twice, for two claims of one call must never be
/// signed in one step.
fn about(messages: Vec<Option<Message>>) -> Option<Vec<(Hash, Message)>> {
    let mut calls = BTreeSet::new();
    let one = |message: Option<Message>| {
        let message = message.filter(|m| !matches!(m, Message::Refused(_)))?;
        let key = message.call_id()?;
        calls.insert(key).then_some((key, message))
    };
    let asked: Option<Vec<(Hash, Message)>> = messages.into_iter().map(one).collect();
    asked.filter(|asked| !asked.is_empty())
}
