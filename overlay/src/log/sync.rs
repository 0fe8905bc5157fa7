//! Anti-entropy over `/dots/log/2`: gossip is fast and loses things; this finds what it lost.
//!
//! Every 10 s we show one random neighbour the root over our heads. The same root there: done. Else it answers with
//! its heads, and we fetch what is ahead of ours, chain by chain; and because our root told it that we differ, it asks
//! us back. The same happens at once with a peer that has just connected, with whoever passed on an entry that left a
//! gap, and shortly after we have published something, in case gossip lost it.
//!
//! Neighbours are served in turn, each with a few places among the questions under way and a queue of its own; one that
//! does not deliver what it told of loses its turn. What it says of an author keeps nobody else from being asked for him.

use super::chains::{Chains, Head};
use crate::records::Incarnation;
use dots_wire::{
    Allowance, Hash, Now, PeerId, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing},
    decode, encode,
};
use rand::{Rng, seq::IteratorRandom};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    time::{Duration, Instant},
};

pub const EVERY: Duration = Duration::from_secs(10);
/// No answer is longer, plus one entry's CBOR.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// A head is about 110 bytes in CBOR, a shard at most 32 more.
const HEADS_PER_ANSWER: usize = 1_800;
/// Questions under way in all, and chains waiting to be asked for.
const ASKED_MAX: usize = 16;
/// Of these, of one neighbour; and of one that has just failed to deliver.
const ASKED_PER_PEER: usize = 4;
const ASKED_OF_IDLE: usize = 1;
/// Chains that wait to be asked for at one neighbour; what is beyond, its next answer tells again.
const WANTED_PER_PEER: usize = 2_000;
/// Answers without anything new, in a row, after which what a neighbour told of is forgotten.
const IDLE_MAX: u32 = 3;
/// Chains of one neighbour looked at for one that nobody fetches.
const LOOKED_AT: usize = 32;
/// Bytes of answers to one neighbour.
const ANSWERS: Allowance = Allowance::new(2.0 * 1024.0 * 1024.0, 16.0 * 1024.0 * 1024.0);
/// Neighbours whose answers are counted.
const ANSWERED: Limits = Limits::new(1024 * 1024, 4_096);
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
const VERSION: u8 = 2;

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
    /// Whose entries were asked for: others say nothing.
    pub author: Option<PeerId>,
    /// Entries to be accepted, in order.
    pub entries: Vec<ByteBuf>,
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

/// What one neighbour told of, and how well it delivers.
#[derive(Default)]
struct Holder {
    wanted: VecDeque<Wanted>,
    /// Answers without anything new, in a row.
    idle: u32,
}

pub struct Sync {
    neighbours: BTreeSet<PeerId>,
    asked: BTreeMap<u64, Open>,
    asked_back: BTreeMap<PeerId, Instant>,
    tell: Option<(Instant, u8)>,
    /// Chains to fetch, by whoever has them.
    holders: BTreeMap<PeerId, Holder>,
    /// Who was asked last: the next one is asked next.
    turn: Option<PeerId>,
    answered: Cache<PeerId, TokenBucket>,
    /// Peers whose heads are to be asked for next.
    greet: VecDeque<(PeerId, Option<Place>)>,
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
            holders: BTreeMap::new(),
            turn: None,
            answered: Cache::new(ANSWERED),
            greet: VecDeque::new(),
            next_at: now.mono + jitter.min(EVERY),
            next_id: 0,
            out: VecDeque::new(),
            is_disarmed: false,
        }
    }

    /// For a simulation: neighbours are not asked in turn.
    pub fn disarm(&mut self) {
        self.is_disarmed = true;
    }

    pub fn on_connected(&mut self, now: Now, peer: PeerId, chains: &mut Chains) {
        self.neighbours.insert(peer);
        self.greet(peer, None);
        self.ask_more(now, chains);
    }

    pub fn on_disconnected(&mut self, peer: PeerId) {
        self.neighbours.remove(&peer);
        self.greet.retain(|(p, _)| *p != peer);
        self.holders.remove(&peer);
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

    fn greet(&mut self, peer: PeerId, after: Option<Place>) {
        if !self.greet.iter().any(|(p, _)| *p == peer) {
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
        let queue = &mut self.holders.entry(holder).or_default().wanted;
        if queue.len() < WANTED_PER_PEER && !queue.iter().any(|w| w.author == author) {
            queue.push_back(Wanted { author, incarnation, from, place: chains.place(author) });
        }
        self.ask_more(now, chains);
    }

    fn ask_more(&mut self, now: Now, chains: &mut Chains) {
        while self.asked.len() < ASKED_MAX {
            let asked = match self.is_disarmed {
                false => self.next_greeting().or_else(|| self.next_wanted(chains)),
                true => self.next_wanted(chains).or_else(|| self.next_greeting()),
            };
            let Some(asked) = asked else { return };
            self.turn = Some(asked.peer());
            self.ask(now, asked, 0, chains);
        }
    }

    /// Has this neighbour a place left among the questions under way?
    fn has_place(&self, peer: PeerId) -> bool {
        if self.is_disarmed {
            return true;
        }
        let idle = self.holders.get(&peer).is_some_and(|h| h.idle > 0);
        let places = if idle { ASKED_OF_IDLE } else { ASKED_PER_PEER };
        self.asked.values().filter(|open| open.asked.peer() == peer).count() < places
    }

    /// Heads never wait behind ranges.
    fn next_greeting(&mut self) -> Option<Asked> {
        let at = self.greet.iter().position(|(peer, _)| self.has_place(*peer))?;
        let (peer, after) = self.greet.remove(at)?;
        Some(Asked::Heads { peer, after })
    }

    /// The next neighbour's next chain: one that is not being fetched from somebody who answers.
    fn next_wanted(&mut self, chains: &Chains) -> Option<Asked> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.holders.range((after, Bound::Unbounded)).map(|(peer, _)| *peer);
        let earlier =
            self.holders.range((Bound::Unbounded, self.turn.map_or(Bound::Unbounded, Bound::Included)));
        let mut peers: Vec<PeerId> = later.collect();
        if self.turn.is_some() {
            peers.extend(earlier.map(|(peer, _)| *peer));
        }
        for peer in peers.into_iter().filter(|peer| self.has_place(*peer)).collect::<Vec<_>>() {
            let is_fetched = |w: &Wanted| {
                self.asked
                    .values()
                    .any(|o| o.asked.author() == Some(w.author) && (o.tries == 0 || o.asked.peer() == peer))
            };
            let holder = self.holders.get_mut(&peer).expect("it is in the table");
            holder.wanted.retain(|w| chains.place(w.author) == w.place);
            let queue = &self.holders.get(&peer).expect("it is in the table").wanted;
            let at = queue.iter().take(LOOKED_AT).position(|w| !is_fetched(w));
            let holder = self.holders.get_mut(&peer).expect("it is in the table");
            let Some(Wanted { author, incarnation, from, .. }) = at.and_then(|at| holder.wanted.remove(at))
            else {
                continue;
            };
            return Some(Asked::Range { peer, author, incarnation, from });
        }
        None
    }

    fn ask(&mut self, now: Now, asked: Asked, tries: u32, chains: &mut Chains) {
        self.next_id += 1;
        let version = VERSION;
        let question = match &asked {
            Asked::Heads { after, .. } => {
                Question::Heads { version, root: chains.root(), after: after.clone() }
            }
            Asked::Range { author, incarnation, from, .. } => Question::Range {
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

    /// What has waited long enough is asked again, of the same peer, in its place among the questions under way. The
    /// last time waits for as long as it takes.
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
                self.delivered(open.asked.peer(), false);
            }
        }
    }

    /// Whether a neighbour's answer brought something that it had told of. One that does not deliver loses its turn.
    fn delivered(&mut self, peer: PeerId, something: bool) {
        let Some(holder) = self.holders.get_mut(&peer) else { return };
        holder.idle = if something { 0 } else { holder.idle.saturating_add(1) };
        if holder.idle >= IDLE_MAX && !self.is_disarmed {
            holder.wanted.clear();
        }
        if holder.wanted.is_empty() && holder.idle == 0 {
            self.holders.remove(&peer);
        }
    }

    /// Our answer to a question; `None`: not one of this protocol.
    pub fn answer(&mut self, now: Now, from: PeerId, body: &[u8], chains: &mut Chains) -> Option<Vec<u8>> {
        if self.answered.get(&from).is_some_and(|bucket| !bucket.has(now.mono, ANSWERS, 1.0)) {
            return None;
        }
        let answer = match decode::<Question>(body).ok()? {
            Question::Heads { version: VERSION, root, .. } if root == chains.root() => Answer::Same,
            Question::Heads { version: VERSION, after, .. } => {
                self.ask_back(now, from, chains);
                let above = |h: &Head| {
                    after.as_ref().is_none_or(|(author, shard)| (h.author, &h.shard) > (*author, shard))
                };
                let mut heads: Vec<Head> = chains.heads().filter(above).take(HEADS_PER_ANSWER + 1).collect();
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
                let last = heads.last().map(|h| (h.author, h.shard.clone()));
                for head in heads.iter().take(HEADS_PER_ANSWER) {
                    if let Some(from) = chains.missing(now, peer, head) {
                        self.want(now, peer, head.author, head.incarnation, from, chains);
                    }
                }
                if more {
                    self.greet(peer, last);
                }
            }
            (Asked::Range { peer, author, .. }, answer) => {
                let entries = match answer {
                    Some(Answer::Entries { entries }) => entries,
                    _ => Vec::new(),
                };
                self.delivered(peer, !entries.is_empty());
                brought = Brought { from: Some(peer), author: Some(author), entries };
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
