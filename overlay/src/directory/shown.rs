//! What the directory answers: an AOR's bindings with what others attest of them.

use super::{Binding, Directory, Held, words::Word};
use crate::records::Life;
use dots_wire::{Hash, Label20, Now, PeerId, SharedBytes, Timestamp};
use std::time::Duration;

/// A binding is stale by the word of this many verifiers.
const STALE_WORDS: usize = 2;
/// Good words that are said of one binding, and how soon again.
const GOOD_WORDS: usize = 2;
const SAID_AGAIN: Duration = Duration::from_secs(3_600);

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
        self.attested(serving, held)
    }

    /// What was attested of it, whoever is connected.
    fn attested(&self, serving: PeerId, held: &Held) -> State {
        let is_own = |word: &&Word| word.verifier(&self.table.peers) == serving;
        let words = |life: Life| self.words(held).filter(move |word| word.life == life);
        let by_others = |life: Life| words(life).filter(|word| !is_own(word)).map(|word| word.at);
        let alive = by_others(Life::Alive).max();
        let gone = by_others(Life::Silent).chain(by_others(Life::Gone));
        // A word from before the binding was last said is about another moment of it.
        let is_news = |at: &Timestamp| Some(*at) > alive && *at >= held.said;
        // LOG-15a: whom the serving peer itself does not reach, nobody does.
        let own = words(Life::Silent).filter(is_own).map(|word| word.at);
        if gone.filter(is_news).count() >= STALE_WORDS || own.filter(is_news).count() > 0 {
            return State::Stale;
        }
        if alive.is_some() {
            State::Verified
        } else if by_others(Life::Unpingable).next().is_some() {
            State::Unpingable
        } else {
            State::Pending
        }
    }

    /// LOG-21b: would the word of `verifier` that this phone's life is so change anything? A first look is news; that all is as it was
    /// is not.
    pub fn is_news(&self, now: Timestamp, binding: Binding, verifier: PeerId, life: Life) -> Option<News> {
        let held = self.held(binding)?;
        let state = self.attested(binding.2, held);
        let good = || self.words(held).filter(|word| word.life == Life::Alive);
        let alive = good().map(|word| word.at).max();
        // Some hear a word before the binding that it is about: it is said twice, and again now and then.
        let is_old = alive.is_none_or(|at| now.since(at) >= SAID_AGAIN) || good().count() < GOOD_WORDS;
        let mine = self.words(held).find(|word| word.verifier(&self.table.peers) == verifier);
        let said_gone = mine.is_some_and(|word| {
            matches!(word.life, Life::Silent | Life::Gone) && word.at >= held.said && Some(word.at) > alive
        });
        let is_news = match life {
            Life::Alive => state != State::Verified || said_gone || is_old,
            Life::Silent | Life::Gone => state != State::Stale && !said_gone,
            Life::Unpingable => state == State::Pending,
        };
        is_news.then_some(if state == State::Pending { News::First } else { News::Change })
    }
}

/// What a word would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The first on a new binding: callers wait for it.
    First,
    Change,
}
