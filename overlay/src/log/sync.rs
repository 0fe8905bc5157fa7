//! Anti-entropy over `/dots/log/2`: gossip is fast and loses things; this finds what it lost.
//!
//! Every 10 s we show one random neighbour the root over our heads. The same root there: done. Else it answers with
//! its heads, and we fetch what is ahead of ours, chain by chain; and because our root told it that we differ, it asks
//! us back. The same happens at once with a peer that has just connected, with whoever passed on an entry that left a
//! gap, and shortly after we have published something, in case gossip lost it.
//!
//! Neighbours are served in turn (`holders`), each with a few places among the questions under way; one that does not deliver
//! what it told of loses its turn. What it says of an author keeps nobody else from being asked for him.

use super::chains::{Chains, Head};
use crate::records::Incarnation;
use dots_wire::{Hash, Now, PeerId, TokenBucket, bounded::Cache, decode, encode};
use holders::{Holders, Loads};
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
/// Heads of an answer that cost as much as one entry.
const HEADS_PER_STEP: usize = 16;
/// What an answer without entries costs whoever told of them.
const NOTHING_STEPS: u64 = 50;
/// Questions under way that are not overdue, and those of them for heads.
const ASKED_MAX: usize = 16;
const HEADS_ASKED_MAX: usize = ASKED_MAX / 2;
/// A question without an answer for this long is forgotten.
const PATIENCE: Duration = Duration::from_secs(30);
/// Without an answer for this long, doubled each time, it is asked again, and has no place any more: one lost packet must not
/// hide a chain until the request times out, nor one mute neighbour hold what others need.
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
const VERSION: u8 = 2;

pub(crate) mod answering;
mod holders;

#[cfg(test)]
mod golden;

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// "My heads hash to this; what are yours?" `after`: only those above this one.
    Heads { version: u8, root: Hash, after: Option<Place> },
    /// `shard`: empty in this version.
    Range { version: u8, author: PeerId, shard: String, incarnation: Incarnation, from: u64 },
}

/// Heads are sorted by it: author and shard.
type Place = (PeerId, String);

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

#[derive(Clone)]
enum Asked {
    Heads { peer: PeerId, after: Option<Place> },
    Range { peer: PeerId, wanted: Wanted },
}

impl Asked {
    fn author(&self) -> Option<PeerId> {
        match self {
            Asked::Heads { .. } => None,
            Asked::Range { wanted, .. } => Some(wanted.author),
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

/// What an answer brought: accept it, and tell [`Sync::settle`] what became of it.
pub struct Brought {
    pub from: PeerId,
    /// Whose entries were asked for: others say nothing.
    pub author: PeerId,
    /// Entries to be accepted, in order.
    pub entries: Vec<ByteBuf>,
    place: Option<(Incarnation, u64)>,
}

/// What became of it.
pub struct Settled<'a> {
    /// It said something that we did not know.
    pub is_new: bool,
    /// It was not looked at for a reason of ours: its author says too much, or is too many.
    pub is_excused: bool,
    /// Steps that it cost.
    pub work: u64,
    /// The answer was full, and moved the chain on to here: there may be more where it came from.
    pub more: Option<&'a Head>,
}

/// A chain to fetch.
#[derive(Clone, Copy)]
struct Wanted {
    author: PeerId,
    incarnation: Incarnation,
    from: u64,
    /// How far we held it then: if that has changed, somebody else brought it.
    place: Option<(Incarnation, u64)>,
}

pub struct Sync {
    neighbours: BTreeSet<PeerId>,
    asked: BTreeMap<u64, Open>,
    asked_back: BTreeMap<PeerId, Instant>,
    tell: Option<(Instant, u8)>,
    holders: Holders,
    answered: Cache<PeerId, TokenBucket>,
    next_at: Instant,
    next_id: u64,
    out: VecDeque<Ask>,
    is_disarmed: bool,
}

impl Sync {
    pub fn new(now: Now, jitter: Duration) -> Sync {
        Sync {
            neighbours: BTreeSet::new(),
            asked: BTreeMap::new(),
            asked_back: BTreeMap::new(),
            tell: None,
            holders: Holders::default(),
            answered: Cache::new(answering::ANSWERED),
            next_at: now.mono + jitter.min(EVERY),
            next_id: 0,
            out: VecDeque::new(),
            is_disarmed: false,
        }
    }

    /// For a simulation: neighbours are not asked in turn.
    pub fn disarm(&mut self) {
        self.is_disarmed = true;
        self.holders.disarm();
    }

    /// LOG-12: to each peer at once when it connects.
    pub fn on_connected(&mut self, now: Now, peer: PeerId, chains: &mut Chains) {
        self.neighbours.insert(peer);
        self.holders.greet(peer, None);
        self.ask_more(now, chains);
    }

    /// Where a neighbour is.
    pub fn seen(&mut self, peer: PeerId, network: u64) {
        if self.neighbours.contains(&peer) {
            self.holders.seen(peer, network);
        }
    }

    pub fn on_disconnected(&mut self, peer: PeerId) {
        self.neighbours.remove(&peer);
        self.holders.remove(peer);
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
        let place = chains.place(author);
        self.holders.want(holder, Wanted { author, incarnation, from, place });
        self.ask_more(now, chains);
    }

    /// LOG-12c.
    fn ask_more(&mut self, now: Now, chains: &mut Chains) {
        let mut loads = Loads::default();
        for open in self.asked.values() {
            loads.add(&open.asked, open.tries == 0 || self.is_disarmed);
        }
        while loads.quick < ASKED_MAX {
            let Some(asked) = self.holders.next(now, &loads, HEADS_ASKED_MAX, chains) else { return };
            loads.add(&asked, true);
            self.ask(now, asked, 0, chains);
        }
    }

    fn ask(&mut self, now: Now, asked: Asked, tries: u32, chains: &mut Chains) {
        self.next_id += 1;
        let version = VERSION;
        let question = match &asked {
            Asked::Heads { after, .. } => {
                Question::Heads { version, root: chains.root(), after: after.clone() }
            }
            Asked::Range { wanted: Wanted { author, incarnation, from, .. }, .. } => Question::Range {
                version,
                author: *author,
                shard: String::new(),
                incarnation: *incarnation,
                from: *from,
            },
        };
        let peer = asked.peer();
        self.asked.insert(self.next_id, Open { asked, at: now.mono, tries });
        self.out.push_back(Ask { id: self.next_id, peer, body: encode(&question) });
    }

    /// What has waited long enough is asked again, of the same peer. The last time waits for as long as it takes.
    fn ask_again(&mut self, now: Now, chains: &mut Chains) {
        let due = |open: &Open| open.again().is_some_and(|at| at <= now.mono);
        let due: Vec<u64> = self.asked.iter().filter(|(_, open)| due(open)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(open) = self.asked.remove(&id) else { continue };
            if self.neighbours.contains(&open.asked.peer()) {
                self.ask(now, open.asked, open.tries + 1, chains);
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
            self.want_holes(now, chains);
            if let Some(peer) = self.neighbours.iter().copied().choose(rng) {
                self.holders.greet(peer, None);
            }
        }
        if let Some((at, rounds)) = self.tell.filter(|(at, _)| *at <= now.mono) {
            for peer in self.neighbours.iter().copied().choose_multiple(rng, TELL_PEERS) {
                self.holders.greet(peer, None);
            }
            self.tell = (rounds > 1).then(|| (at.max(now.mono) + tell_after(chains.authors()), rounds - 1));
        }
        self.ask_again(now, chains);
        self.ask_more(now, chains);
    }

    /// LOG-1b: what we hold in part its author has whole.
    fn want_holes(&mut self, now: Now, chains: &mut Chains) {
        for author in self.neighbours.clone() {
            if let Some((incarnation, from)) = chains.hole(now, author) {
                self.want(now, author, author, incarnation, from, chains);
            }
        }
    }

    fn forget_unanswered(&mut self, now: Now) {
        let lost: Vec<u64> =
            self.asked.iter().filter(|(_, open)| open.at + PATIENCE <= now.mono).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(open) = self.asked.remove(&id) {
                self.unanswered(now, &open.asked);
            }
        }
    }

    fn unanswered(&mut self, now: Now, asked: &Asked) {
        match asked {
            Asked::Heads { peer, .. } => self.holders.was_silent(now, *peer),
            Asked::Range { peer, .. } => self.holders.failed(now, *peer),
        }
    }

    /// LOG-12b.
    fn ask_back(&mut self, now: Now, peer: PeerId, chains: &mut Chains) {
        let recently = self.asked_back.get(&peer).is_some_and(|at| *at + ASK_BACK > now.mono);
        if !recently && self.neighbours.contains(&peer) {
            self.asked_back.insert(peer, now.mono);
            self.holders.greet(peer, None);
            self.ask_more(now, chains);
        }
    }

    /// An answer to [`Ask`] `id`, or that there is none. What it brought the caller accepts and [`Sync::settle`]s.
    pub fn on_response(
        &mut self,
        now: Now,
        id: u64,
        body: Option<&[u8]>,
        chains: &mut Chains,
    ) -> Option<Brought> {
        let Open { asked, .. } = self.asked.remove(&id)?;
        let answer = body.and_then(|b| decode::<Answer>(b).ok());
        match (asked, answer) {
            (Asked::Heads { peer, .. }, Some(Answer::Same)) => self.holders.spoke(peer),
            (Asked::Heads { peer, after }, Some(Answer::Heads { heads, more })) => {
                self.holders.spoke(peer);
                self.on_heads(now, peer, after, &heads, more, chains);
            }
            (Asked::Range { peer, wanted }, Some(Answer::Entries { entries })) if !entries.is_empty() => {
                let Wanted { author, place, .. } = wanted;
                return Some(Brought { from: peer, author, entries, place });
            }
            // It has no beginning of it, as of an author whom nobody pays for: no lie, but a question for nothing.
            (Asked::Range { peer, .. }, Some(Answer::Entries { .. })) => {
                self.holders.charge(now, peer, NOTHING_STEPS)
            }
            (asked, _) => self.unanswered(now, &asked),
        }
        self.ask_more(now, chains);
        None
    }

    /// LOG-12a: it says where its chains stand.
    fn on_heads(
        &mut self,
        now: Now,
        peer: PeerId,
        after: Option<Place>,
        heads: &[Head],
        more: bool,
        chains: &mut Chains,
    ) {
        let heads = &heads[..heads.len().min(HEADS_PER_ANSWER)];
        self.holders.charge(now, peer, (heads.len() / HEADS_PER_STEP) as u64);
        for head in heads {
            if let Some(from) = chains.missing(now, peer, head) {
                let (author, incarnation, place) = (head.author, head.incarnation, chains.place(head.author));
                self.holders.want(peer, Wanted { author, incarnation, from, place });
            }
        }
        let last = heads.last().map(|h| (h.author, h.shard.clone()));
        // Heads are sorted, so who goes back has no more.
        if more && last > after {
            self.holders.greet(peer, last);
        }
    }

    /// What came was accepted. LOG-12c: an answer delivers only where it said something new; where somebody else was quicker
    /// nobody is to blame.
    pub fn settle(&mut self, now: Now, brought: &Brought, settled: &Settled<'_>, chains: &mut Chains) {
        let Brought { from, author, place, .. } = brought;
        self.holders.charge(now, *from, settled.work);
        if settled.is_new {
            self.holders.delivered(*from);
        } else if !settled.is_excused && chains.place(*author) == *place {
            self.holders.failed(now, *from);
        }
        if let Some(head) = settled.more {
            let (from, next, place) = (*from, head.seq.saturating_add(1), chains.place(head.author));
            let wanted = Wanted { author: head.author, incarnation: head.incarnation, from: next, place };
            self.holders.want(from, wanted);
        }
        self.ask_more(now, chains);
    }
}

fn tell_after(authors: usize) -> Duration {
    TELL_AFTER * (1 + u32::try_from(authors).unwrap_or(u32::MAX) / TELL_AUTHORS)
}
