//! What verifiers say of a binding: the newest word of each.

use super::{Directory, numbers::Numbers};
use crate::records::{Attest, Life, PingOutcome, event::PING_DOMAIN};
use dots_wire::{PeerId, Timestamp};

/// Verifiers whose word on one binding is kept.
const WORDS_MAX: usize = 8;

/// Most bindings have three; a row without any has no allocation.
#[derive(Default)]
pub struct Words(Option<Box<[Word]>>);

#[derive(Clone, Copy)]
pub struct Word {
    pub at: Timestamp,
    verifier: u32,
    pub life: Life,
}

impl Words {
    pub const BYTES_MAX: usize = WORDS_MAX * size_of::<Word>();

    pub fn iter(&self) -> impl Iterator<Item = &Word> {
        self.0.iter().flatten()
    }

    /// Would this be news?
    fn takes(&self, verifier: Option<u32>, at: Timestamp) -> bool {
        match self.iter().find(|word| Some(word.verifier) == verifier) {
            Some(word) => word.at < at,
            None => self.iter().count() < WORDS_MAX || self.iter().any(|word| word.at < at),
        }
    }

    /// At the limit the oldest word gives way, but never the serving peer's own: whose it was.
    fn make_room(&mut self, serving: Option<u32>) -> Option<u32> {
        let mut words = self.0.take()?.into_vec();
        let is_full = words.len() >= WORDS_MAX;
        let others = words.iter().enumerate().filter(|(_, word)| is_full && Some(word.verifier) != serving);
        let oldest = others.min_by_key(|(_, word)| word.at).map(|(at, _)| at);
        let gone = oldest.map(|at| words.remove(at).verifier);
        self.0 = Some(words.into_boxed_slice());
        gone
    }

    fn put(&mut self, word: Word) -> bool {
        let words = self.0.take().unwrap_or_default();
        let mut words = words.into_vec();
        let known = words.iter_mut().find(|w| w.verifier == word.verifier);
        let is_new = known.is_none();
        match known {
            Some(known) => *known = word,
            None => {
                words.reserve_exact(1);
                words.push(word);
            }
        }
        self.0 = Some(words.into_boxed_slice());
        is_new
    }

    /// The binding has gone, and what was said of it.
    pub fn release(&self, peers: &mut Numbers<PeerId>) {
        self.iter().for_each(|word| peers.release(word.verifier));
    }
}

impl Word {
    pub fn verifier(&self, peers: &Numbers<PeerId>) -> PeerId {
        peers.name(self.verifier)
    }
}

impl Directory {
    /// The verifier's word counts only with the serving peer's signature on what was seen. LOG-15a: of itself a serving peer can only
    /// say that a phone is silent, and take that back.
    pub(super) fn attest(&mut self, verifier: PeerId, attest: &Attest) {
        let Ok(outcome) = attest.proof.peek::<PingOutcome>() else { return };
        let is_own = outcome.serving == verifier;
        let may_say = !is_own || matches!(outcome.life, Life::Alive | Life::Silent);
        if outcome.verifier != verifier || !may_say || self.liars.contains(&verifier) {
            return;
        }
        let binding = (outcome.aor_id, outcome.instance, outcome.serving);
        let Some(serial) = self.table.find(binding) else { return };
        let held = self.table.get(serial).expect("it was found");
        if !held.words.takes(self.table.peers.of(&verifier), outcome.time)
            || attest.proof.verify(&outcome.serving.0, PING_DOMAIN).is_err()
        {
            return;
        }
        let number = self.table.peers.hold(verifier);
        let serving = self.table.peers.of(&outcome.serving);
        let held = self.table.get_mut(serial).expect("it was found");
        let is_known = held.words.iter().any(|word| word.verifier == number);
        let gone = if is_known { None } else { held.words.make_room(serving) };
        if !held.words.put(Word { at: outcome.time, verifier: number, life: outcome.life }) {
            self.table.peers.release(number);
        }
        gone.into_iter().for_each(|gone| self.table.peers.release(gone));
        self.table.changed.insert(outcome.aor_id);
    }
}
