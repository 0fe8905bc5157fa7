//! Anti-entropy over `/dots/log/2`: gossip is fast and loses things; this finds what it lost.
//!
//! Every 10 s we show one random neighbour the root over our heads. The same root there: done. Else it answers with
//! its heads, and we fetch what is ahead of ours, chain by chain; and because our root told it that we differ, it asks
//! us back. The same happens at once with a peer that has just connected, with whoever passed on an entry that left a
//! gap, and shortly after we have published something, in case gossip lost it.

use super::chains::{Chains, Head};
use crate::records::Incarnation;
use dots_wire::{Hash, Now, PeerId, decode, encode};
use rand::{Rng, seq::IteratorRandom};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

pub const EVERY: Duration = Duration::from_secs(10);
/// No answer is longer, plus one entry's CBOR.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// A head is about 110 bytes in CBOR, a shard at most 32 more.
const HEADS_PER_ANSWER: usize = 1_800;
/// Questions under way in all, and chains waiting to be asked for.
const ASKED_MAX: usize = 16;
const WANTED_MAX: usize = 20_000;
/// A question without an answer for this long is forgotten.
const PATIENCE: Duration = Duration::from_secs(30);
/// Without an answer for this long, doubled each time, it is asked again: one lost packet must not hide a chain until
/// the request times out.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_MAX: u32 = 3;
/// Who differs from us is asked back, but not more often than this: some differences stay (a convicted author).
const ASK_BACK: Duration = Duration::from_millis(800);
/// After we have published: how many neighbours hear our root, when, and how often. Larger networks wait longer, since
/// there roots hardly ever agree: by this time per so many authors.
const TELL_PEERS: usize = 8;
const TELL_AFTER: Duration = Duration::from_secs(1);
const TELL_ROUNDS: u8 = 3;
const TELL_AUTHORS: u32 = 32;
const VERSION: u8 = 1;

#[cfg(test)]
mod golden;

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// "My heads hash to this; what are yours?" `after`: only authors above this one.
    Heads {
        version: u8,
        root: Hash,
        after: Option<PeerId>,
    },
    Range {
        version: u8,
        author: PeerId,
        incarnation: Incarnation,
        from: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Same,
    Heads { heads: Vec<Head>, more: bool },
    Entries { entries: Vec<ByteBuf> },
}

/// A request to send, with our own id.
pub struct Ask {
    pub id: u64,
    pub peer: PeerId,
    pub body: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Asked {
    Heads { peer: PeerId, after: Option<PeerId> },
    Range { peer: PeerId, author: PeerId, incarnation: Incarnation, from: u64 },
}

impl Asked {
    fn author(&self) -> Option<PeerId> {
        match self {
            Asked::Heads { .. } => None,
            Asked::Range { author, .. } => Some(*author),
        }
    }

    fn peer(&self) -> PeerId {
        match self {
            Asked::Heads { peer, .. } | Asked::Range { peer, .. } => *peer,
        }
    }
}

/// A question under way.
struct Open {
    asked: Asked,
    at: Instant,
    /// Asked so many times before, in vain.
    tries: u32,
}

impl Open {
    /// When it is asked again.
    fn again(&self) -> Option<Instant> {
        (self.tries < ASK_AGAIN_MAX).then(|| self.at + ASK_AGAIN * (1 << self.tries))
    }
}

/// What an answer brought.
#[derive(Default)]
pub struct Brought {
    pub from: Option<PeerId>,
    /// Entries to be accepted, in order.
    pub entries: Vec<ByteBuf>,
}

pub struct Sync {
    neighbours: BTreeSet<PeerId>,
    asked: BTreeMap<u64, Open>,
    asked_back: BTreeMap<PeerId, Instant>,
    tell: Option<(Instant, u8)>,
    /// Chains to fetch, and from whom.
    wanted: VecDeque<(PeerId, PeerId, Incarnation, u64)>,
    wanted_authors: BTreeSet<PeerId>,
    /// Peers whose heads are to be asked for next.
    greet: VecDeque<(PeerId, Option<PeerId>)>,
    next_at: Instant,
    next_id: u64,
    out: VecDeque<Ask>,
}

impl Sync {
    pub fn new(now: Now, jitter: Duration) -> Sync {
        Sync {
            neighbours: BTreeSet::new(),
            asked: BTreeMap::new(),
            asked_back: BTreeMap::new(),
            tell: None,
            wanted: VecDeque::new(),
            wanted_authors: BTreeSet::new(),
            greet: VecDeque::new(),
            next_at: now.mono + jitter.min(EVERY),
            next_id: 0,
            out: VecDeque::new(),
        }
    }

    pub fn on_connected(&mut self, now: Now, peer: PeerId, chains: &mut Chains) {
        self.neighbours.insert(peer);
        self.greet(peer, None);
        self.ask_more(now, chains);
    }

    pub fn on_disconnected(&mut self, peer: PeerId) {
        self.neighbours.remove(&peer);
        self.greet.retain(|(p, _)| *p != peer);
        self.asked_back.remove(&peer);
    }

    /// An entry of ours was gossiped.
    pub fn on_published(&mut self, now: Now, authors: usize) {
        let at = self.tell.map_or_else(|| now.mono + tell_after(authors), |(at, _)| at);
        self.tell = Some((at, TELL_ROUNDS));
    }

    pub fn neighbours(&self) -> &BTreeSet<PeerId> {
        &self.neighbours
    }

    fn greet(&mut self, peer: PeerId, after: Option<PeerId>) {
        if self.greet.len() < WANTED_MAX && !self.greet.iter().any(|(p, _)| *p == peer) {
            self.greet.push_back((peer, after));
        }
    }

    /// `holder` has entries of `author` that we have not.
    pub fn want(
        &mut self,
        now: Now,
        holder: PeerId,
        author: PeerId,
        incarnation: Incarnation,
        from: u64,
        chains: &mut Chains,
    ) {
        if self.wanted.len() < WANTED_MAX && self.wanted_authors.insert(author) {
            self.wanted.push_back((holder, author, incarnation, from));
        }
        self.ask_more(now, chains);
    }

    fn ask_more(&mut self, now: Now, chains: &mut Chains) {
        while self.asked.len() < ASKED_MAX {
            if let Some((peer, author, incarnation, from)) = self.wanted.pop_front() {
                self.ask(now, Asked::Range { peer, author, incarnation, from }, 0, chains);
            } else if let Some((peer, after)) = self.greet.pop_front() {
                self.ask(now, Asked::Heads { peer, after }, 0, chains);
            } else {
                return;
            }
        }
    }

    fn ask(&mut self, now: Now, asked: Asked, tries: u32, chains: &mut Chains) {
        self.next_id += 1;
        let question = match asked {
            Asked::Heads { after, .. } => Question::Heads { version: VERSION, root: chains.root(), after },
            Asked::Range { author, incarnation, from, .. } => {
                Question::Range { version: VERSION, author, incarnation, from }
            }
        };
        self.asked.insert(self.next_id, Open { asked, at: now.mono, tries });
        self.out.push_back(Ask { id: self.next_id, peer: asked.peer(), body: encode(&question) });
    }

    /// What has waited long enough is asked again, of the same peer, in its place among the questions under way. The
    /// last time waits for as long as it takes.
    fn ask_again(&mut self, now: Now, chains: &mut Chains) {
        let due = |open: &Open| open.again().is_some_and(|at| at <= now.mono);
        let due: Vec<u64> = self.asked.iter().filter(|(_, open)| due(open)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(open) = self.asked.remove(&id) else { continue };
            if self.neighbours.contains(&open.asked.peer()) {
                self.ask(now, open.asked, open.tries + 1, chains);
            } else if let Some(author) = open.asked.author() {
                self.wanted_authors.remove(&author);
            }
        }
    }

    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.neighbours.is_empty() {
            return None;
        }
        let again = self.asked.values().filter_map(Open::again);
        again.chain(self.tell.map(|(at, _)| at)).chain([self.next_at]).min()
    }

    pub fn handle_timeout(&mut self, now: Now, rng: &mut impl Rng, chains: &mut Chains) {
        if self.next_at <= now.mono {
            self.next_at = now.mono + EVERY;
            self.forget_unanswered(now);
            if let Some(peer) = self.neighbours.iter().copied().choose(rng) {
                self.greet(peer, None);
            }
        }
        if let Some((at, rounds)) = self.tell.filter(|(at, _)| *at <= now.mono) {
            for peer in self.neighbours.iter().copied().choose_multiple(rng, TELL_PEERS) {
                self.greet(peer, None);
            }
            self.tell = (rounds > 1).then(|| (at.max(now.mono) + tell_after(chains.authors()), rounds - 1));
        }
        self.ask_again(now, chains);
        self.ask_more(now, chains);
    }

    fn forget_unanswered(&mut self, now: Now) {
        let lost: Vec<u64> =
            self.asked.iter().filter(|(_, open)| open.at + PATIENCE <= now.mono).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(author) = self.asked.remove(&id).and_then(|open| open.asked.author()) {
                self.wanted_authors.remove(&author);
            }
        }
    }

    /// Our answer to a question; `None`: not one of this protocol.
    pub fn answer(&mut self, now: Now, from: PeerId, body: &[u8], chains: &mut Chains) -> Option<Vec<u8>> {
        let answer = match decode::<Question>(body).ok()? {
            Question::Heads { version: VERSION, root, .. } if root == chains.root() => Answer::Same,
            Question::Heads { version: VERSION, after, .. } => {
                self.ask_back(now, from, chains);
                let above = |h: &Head| after.is_none_or(|a| h.author > a);
                let mut heads: Vec<Head> = chains.heads().filter(above).take(HEADS_PER_ANSWER + 1).collect();
                let more = heads.len() > HEADS_PER_ANSWER;
                heads.truncate(HEADS_PER_ANSWER);
                Answer::Heads { heads, more }
            }
            Question::Range { version: VERSION, author, incarnation, from } => {
                let entries = chains.range(author, incarnation, from, ANSWER_BYTES_MAX);
                Answer::Entries { entries: entries.iter().map(|e| ByteBuf::from(e.to_vec())).collect() }
            }
            _ => return None,
        };
        Some(encode(&answer))
    }

    fn ask_back(&mut self, now: Now, peer: PeerId, chains: &mut Chains) {
        let recently = self.asked_back.get(&peer).is_some_and(|at| *at + ASK_BACK > now.mono);
        if !recently && self.neighbours.contains(&peer) {
            self.asked_back.insert(peer, now.mono);
            self.greet(peer, None);
            self.ask_more(now, chains);
        }
    }

    /// An answer to [`Ask`] `id`, or that there is none. The caller accepts what it brought, and if the
    /// answer was full calls [`Sync::accepted`].
    pub fn on_response(&mut self, now: Now, id: u64, body: Option<&[u8]>, chains: &mut Chains) -> Brought {
        let Some(Open { asked, .. }) = self.asked.remove(&id) else { return Brought::default() };
        let answer = body.and_then(|b| decode::<Answer>(b).ok());
        let mut brought = Brought::default();
        match (asked, answer) {
            (Asked::Heads { peer, .. }, Some(Answer::Heads { heads, more })) => {
                let last = heads.last().map(|h| h.author);
                for head in heads.iter().take(HEADS_PER_ANSWER) {
                    if let Some(from) = chains.missing(now, head) {
                        self.want(now, peer, head.author, head.incarnation, from, chains);
                    }
                }
                if more {
                    self.greet(peer, last);
                }
            }
            (Asked::Range { peer, author, .. }, answer) => {
                self.wanted_authors.remove(&author);
                if let Some(Answer::Entries { entries }) = answer {
                    brought = Brought { from: Some(peer), entries };
                }
            }
            _ => {}
        }
        self.ask_more(now, chains);
        brought
    }

    /// A full answer moved a chain on to `head`: there may be more where it came from.
    pub fn accepted(&mut self, now: Now, from: PeerId, head: &Head, chains: &mut Chains) {
        self.want(now, from, head.author, head.incarnation, head.seq.saturating_add(1), chains);
    }
}

fn tell_after(authors: usize) -> Duration {
    TELL_AFTER * (1 + u32::try_from(authors).unwrap_or(u32::MAX) / TELL_AUTHORS)
}
