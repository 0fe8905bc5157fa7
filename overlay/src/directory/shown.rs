//! What the directory answers: an AOR's bindings with what others attest of them.

use super::{Directory, Held};
use crate::records::Life;
use dots_wire::{Hash, Label20, Now, PeerId, Timestamp};

/// A binding is stale by the word of this many verifiers.
const STALE_WORDS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Another peer has seen the phone answer.
    Verified,
    /// Nobody has looked yet.
    Pending,
    /// It never answers pings; some phones do not.
    Unpingable,
    /// It stopped answering, or its serving peer is gone.
    Stale,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Verified => "verified",
            State::Pending => "pending",
            State::Unpingable => "unpingable",
            State::Stale => "stale",
        }
    }
}

/// One binding, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub serving: PeerId,
    pub instance: Hash,
    pub realm: Label20,
    pub until: Timestamp,
    pub state: State,
    /// Who had it pinged, when, and what came of it; newest word of each.
    pub attested: Vec<(PeerId, Timestamp, Life)>,
    /// The home's word, unchecked. None: the serving peer says that it is the home.
    pub grant: Option<Vec<u8>>,
}

impl Directory {
    /// What is known of this AOR: best state first, then the newest, then by peer.
    pub fn lookup(&self, now: Now, aor_id: Hash, realm: Label20) -> Vec<Found> {
        let Some(phones) = self.by_aor.get(&(aor_id, realm)) else { return Vec::new() };
        let mut found: Vec<Found> = phones
            .iter()
            .filter(|(_, h)| h.bind.until > now.wall && h.confirm_by.is_none_or(|at| at > now.wall))
            .map(|((instance, serving), held)| self.show(*serving, *instance, held))
            .collect();
        // LOG-17: one phone at two peers. A stale one gives way to a newer grant; otherwise both stay.
        let all = found.clone();
        found.retain(|f| {
            f.state != State::Stale
                || !all
                    .iter()
                    .any(|o| o.instance == f.instance && o.serving != f.serving && o.until > f.until)
        });
        found.sort_by(|a, b| {
            (a.state, b.until, a.serving, a.instance).cmp(&(b.state, a.until, b.serving, b.instance))
        });
        found
    }

    fn show(&self, serving: PeerId, instance: Hash, held: &Held) -> Found {
        let attested = self.words(held).map(|(p, (at, life))| (*p, *at, *life));
        Found {
            serving,
            instance,
            realm: held.bind.realm,
            until: held.bind.until,
            state: self.state(serving, held),
            attested: attested.collect(),
            grant: held.bind.grant.as_ref().map(|g| g.to_vec()),
        }
    }

    /// Of whoever was not caught lying.
    fn words<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = (&'a PeerId, &'a (Timestamp, Life))> {
        held.words.iter().filter(|(verifier, _)| !self.liars.contains(verifier))
    }

    fn state(&self, serving: PeerId, held: &Held) -> State {
        if self.dead.contains(&serving) {
            return State::Stale;
        }
        let words = |life: Life| self.words(held).map(|(_, word)| word).filter(move |(_, l)| *l == life);
        let alive = words(Life::Alive).map(|(at, _)| *at).max();
        let gone = words(Life::Silent).chain(words(Life::Gone)).filter(|(at, _)| Some(*at) > alive);
        // A word from before the binding was last said is about another moment of it.
        if gone.filter(|(at, _)| *at >= held.said).count() >= STALE_WORDS {
            return State::Stale;
        }
        if alive.is_some() {
            State::Verified
        } else if words(Life::Unpingable).next().is_some() {
            State::Unpingable
        } else {
            State::Pending
        }
    }
}
