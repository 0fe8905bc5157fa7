//! What we answer, and what that costs whoever asks: a question is short, an answer is not, so bytes are counted, not questions.

use super::{ANSWER_BYTES_MAX, Answer, HEADS_PER_ANSWER, Question, Sync, VERSION};
use crate::log::chains::{Chains, Head};
use dots_wire::{
    Allowance, Now, PeerId,
    bounded::{Cause, Limits, Standing},
    decode, encode,
};
use serde_bytes::ByteBuf;

/// Bytes of answers to one neighbour.
const ANSWERS: Allowance = Allowance::new(2.0 * 1024.0 * 1024.0, 16.0 * 1024.0 * 1024.0);
/// Neighbours whose answers are counted.
pub const ANSWERED: Limits = Limits::new(1024 * 1024, 4_096);

impl Sync {
    /// LOG-11: our answer to a question; `None`: not one of this protocol.
    pub fn answer(&mut self, now: Now, from: PeerId, body: &[u8], chains: &mut Chains) -> Option<Vec<u8>> {
        if self.answered.get(&from).is_some_and(|bucket| !bucket.has(now.mono, ANSWERS, 1.0)) {
            return None;
        }
        let answer = match decode::<Question>(body).ok()? {
            Question::Heads { version: VERSION, root, .. } if root == chains.root() => Answer::Same,
            Question::Heads { version: VERSION, after, .. } => {
                self.ask_back(now, from, chains);
                // There is one shard, the empty one.
                let above = chains.heads_above(after.map(|(author, _)| author));
                let mut heads: Vec<Head> = above.take(HEADS_PER_ANSWER + 1).collect();
                let more = heads.len() > HEADS_PER_ANSWER;
                heads.truncate(HEADS_PER_ANSWER);
                Answer::Heads { heads, more }
            }
            Question::Range { version: VERSION, author, shard, incarnation, from } if shard.is_empty() => {
                let entries = chains.range(author, incarnation, from, ANSWER_BYTES_MAX);
                Answer::Entries { entries: entries.iter().map(|e| ByteBuf::from(e.to_vec())).collect() }
            }
            _ => return None,
        };
        let answer = encode(&answer);
        self.charge(now, from, answer.len());
        Some(answer)
    }

    fn charge(&mut self, now: Now, peer: PeerId, bytes: usize) {
        let mut bucket = self.answered.get(&peer).copied().unwrap_or_default();
        bucket.charge(now.mono, ANSWERS, bytes as f64);
        self.answered.insert(Cause::new(Standing::Other).by(&peer.to_bytes()), peer, bucket);
    }
}
