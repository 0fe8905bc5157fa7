//! What the other side says: requests and answers bring the same messages (RCPT-7).
//!
//! A bundle is taken in as one step, in two passes. On the first each message is tried on a copy of its call, and what it
//! would have us sign is listed; then all that is listed is signed at once, and the messages whose trial changed something
//! are taken in. A message that changes nothing has nothing signed, so nothing is ever signed that is not kept.

use super::{
    ReceiptCore,
    bundle::Say,
    call::{Call, Curve, Heard, State, Wrong},
};
use crate::{
    limits::FORGED,
    receipt::{Close, CloseNote, Message, Refusal, Refused, Signer, Stored, read_bundle},
};
use dots_wire::{Hash, Now, PeerId};
use std::collections::BTreeSet;

impl ReceiptCore {
    /// `peer` (authenticated by the transport) asks; `id` is answered once, when what it says is on disk.
    pub fn on_request(&mut self, now: Now, from: PeerId, id: u64, body: &[u8]) {
        let Some(asked) = read_bundle(body).and_then(about) else {
            self.tally("receipt_bad_message");
            return self.respond(id, None);
        };
        let (mut says, mut heard) = (Vec::with_capacity(asked.len()), Vec::new());
        for (key, message) in asked {
            // A stranger learns nothing about the calls of others, not even that there are any.
            if self.calls.get(&key).is_none_or(|e| e.call.other() != from) {
                self.tally("receipt_unknown_call");
                says.push(Say::This(refused(key, Refusal::UnknownCall)));
            } else {
                says.push(Say::State(key));
                heard.push((key, message));
            }
        }
        let mut taken = self.take_in(now, heard, false).into_iter();
        for say in says.iter_mut().filter(|say| matches!(say, Say::State(_))) {
            *say = taken.next().expect("each message that is taken in has an answer");
        }
        self.answer(from, id, says);
        self.flush(now);
    }

    /// The answer to `Request` `id`; none where the peer was out of reach or would not answer.
    pub fn on_response(&mut self, now: Now, id: u64, body: Option<Vec<u8>>) {
        let Some(keys) = self.answered(id) else { return };
        let mut messages = body.as_deref().and_then(read_bundle).unwrap_or_default().into_iter();
        let mut heard = Vec::new();
        for key in keys {
            let message = messages.next().flatten();
            let Some(key) = key else { continue };
            match message.filter(|m| m.call_id() == Some(key)) {
                Some(Message::Refused(refused)) => self.on_refused(now, &key, refused.reason),
                Some(message) => heard.push((key, message)),
                None => self.back_off(now, &key),
            }
        }
        // A refusal before it in this bundle may have closed a call, and made room by the oldest that is done.
        heard.retain(|(key, _)| self.calls.contains_key(key));
        let before: Vec<(Hash, Option<u8>)> =
            heard.iter().map(|(key, _)| (*key, self.progress(key))).collect();
        self.take_in(now, heard, true);
        for (key, before) in before {
            if self.progress(&key) == before {
                self.back_off(now, &key);
            }
        }
        self.flush(now);
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

    /// Messages about different calls, each of which we know with the peer that says it. What is to be answered to each.
    fn take_in(&mut self, now: Now, heard: Vec<(Hash, Message)>, is_ours: bool) -> Vec<Say> {
        let (mut list, mut trials) = (Signer::listing(), Vec::with_capacity(heard.len()));
        for (key, message) in &heard {
            let is_heard = self.listens(now, key);
            let mut trial = self.calls.get(key).expect("a call that we know").call.clone();
            if !is_heard {
                trials.push((trial, Err(Wrong::Unheard)));
                continue;
            }
            let mut signer = Signer::listing();
            let mut curve = Curve { signer: &mut signer, checked: &mut self.checked };
            let result = trial.hear(now, &mut curve, message);
            if result == Ok(Heard::Changed) {
                list.append(signer);
            }
            trials.push((trial, result));
        }
        let mut signer = self.sealed(list);
        let mut says = Vec::with_capacity(heard.len());
        for ((key, message), (trial, result)) in heard.into_iter().zip(trials) {
            says.push(self.conclude(now, &key, &message, (trial, result), &mut signer, is_ours));
        }
        says
    }

    /// RCPT-7a: is this call, and its other peer, worth another look at a signature?
    fn listens(&self, now: Now, key: &Hash) -> bool {
        let entry = self.calls.get(key).expect("a call that we know");
        let toward = self.toward.get(&entry.call.other());
        !entry.is_deaf(now.mono) && toward.is_none_or(|t| t.forged.has(now.mono, FORGED, 1.0))
    }

    fn conclude(
        &mut self,
        now: Now,
        key: &Hash,
        message: &Message,
        (trial, mut result): (Call, Result<Heard, Wrong>),
        signer: &mut Signer,
        is_ours: bool,
    ) -> Say {
        // A call before it in this bundle may have finished, and made room by the oldest that is done: this one.
        let Some(entry) = self.calls.get_mut(key) else {
            return Say::This(refused(*key, Refusal::UnknownCall));
        };
        let was_whole = matches!(entry.call.state, State::Whole { .. });
        if result == Ok(Heard::Changed) {
            let mut curve = Curve { signer, checked: &mut self.checked };
            result = entry.call.hear(now, &mut curve, message);
            debug_assert_eq!(result, Ok(Heard::Changed), "what changed a copy changes the call");
        } else {
            // Nothing was signed for it; that a call has ended here may be seen all the same.
            entry.call = trial;
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
