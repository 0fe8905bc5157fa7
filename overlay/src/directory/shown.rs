//! What the directory answers: an AOR's bindings with what others attest of them.

use super::{Directory, Held, words::Word};
use crate::records::Life;
use dots_wire::{Hash, Label20, Now, PeerId, SharedBytes, Timestamp};

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
    /// Its grant was good when it came. What nobody has judged, or nobody can yet, is not worth a check to who routes.
    pub is_granted: bool,
    /// Who had it pinged, when, and what came of it; newest word of each.
    pub attested: Vec<(PeerId, Timestamp, Life)>,
    /// The home's word, unchecked. None: the serving peer says that it is the home.
    pub grant: Option<SharedBytes>,
}

impl Directory {
    /// LOG-16, LOG-17: what is known of this AOR: best state first, then the newest, then by peer.
    pub fn lookup(&self, now: Now, aor_id: Hash, realm: Label20) -> Vec<Found> {
        let rows = self.table.of(aor_id, realm).map(|(_, held)| held);
        let live = rows.filter(|held| held.until > now.wall && held.confirm_by > now.wall);
        let mut found: Vec<Found> = live.map(|held| self.show(realm, held)).collect();
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

    fn show(&self, realm: Label20, held: &Held) -> Found {
        let peers = &self.table.peers;
        let mut attested: Vec<(PeerId, Timestamp, Life)> =
            self.words(held).map(|word| (word.verifier(peers), word.at, word.life)).collect();
        attested.sort_unstable();
        let serving = self.table.serving(held);
        Found {
            serving,
            instance: held.instance,
            realm,
            until: held.until,
            state: self.state(serving, held),
            is_granted: held.is_granted(),
            attested,
            grant: held.grant.clone(),
        }
    }

    /// Of whoever was not caught lying.
    fn words<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = &'a Word> {
        held.words.iter().filter(|word| !self.liars.contains(&word.verifier(&self.table.peers)))
    }

    /// LOG-15.
    fn state(&self, serving: PeerId, held: &Held) -> State {
        if self.dead.contains(&serving) {
            return State::Stale;
        }
        let words = |life: Life| self.words(held).filter(move |word| word.life == life).map(|word| word.at);
        let alive = words(Life::Alive).max();
        let gone = words(Life::Silent).chain(words(Life::Gone)).filter(|at| Some(*at) > alive);
        // A word from before the binding was last said is about another moment of it.
        if gone.filter(|at| *at >= held.said).count() >= STALE_WORDS {
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
