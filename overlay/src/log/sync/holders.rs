//! What each neighbour told of, and whose turn it is to be asked.
//!
//! Networks take turns, and in each its neighbours: keys are free, so a machine that has many of them, all of which tell and deliver
//! without end, has the turns of one. A neighbour is one line. Its turn is one question: its heads and the entries it told of alternate. Who does not answer within
//! a second gives its place back and is asked nothing more until it does; who does not deliver what it told of has one place
//! only, later and later, and then what it told of is forgotten. So a crowd of mute keys costs everybody else a second each,
//! and less each time, whatever it tells.

use super::{ASK_AGAIN, Asked, Place, Wanted};
use crate::log::chains::Chains;
use dots_wire::{Allowance, Now, PeerId, TokenBucket};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::{Duration, Instant},
};

/// Questions of one neighbour under way; and of one that has just failed to deliver.
const ASKED_PER_PEER: usize = 4;
const ASKED_OF_IDLE: usize = 1;
/// Chains that wait to be asked for at one neighbour; what is beyond, its next answer tells again.
const WANTED_PER_PEER: usize = 2_000;
/// Answers without anything new, in a row, after which what a neighbour told of is forgotten.
const IDLE_MAX: u32 = 3;
/// The last pause of a neighbour that fails: one second, doubled eight times.
const PAUSES_MAX: u32 = 8;
/// LOG-12f: steps that one neighbour's answers may cost us, and those of all: an entry looked at, a signature checked.
const WORK: Allowance = Allowance::new(1_000.0, 20_000.0);
const WORK_OF_ALL: Allowance = Allowance::new(3_000.0, 60_000.0);

/// What one neighbour told of, and how well it delivers.
#[derive(Default)]
struct Holder {
    wanted: BTreeMap<PeerId, Wanted>,
    /// The author that was asked for last: the next one is next.
    cursor: Option<PeerId>,
    /// Its heads are to be asked for, those above this one.
    greeting: Option<Option<Place>>,
    was_greeted: bool,
    /// Answers without anything new, and questions for heads without an answer, in a row; and until when it waits for that.
    idle: u32,
    silent: u32,
    range_at: Option<Instant>,
    greet_at: Option<Instant>,
    work: TokenBucket,
}

/// Questions of one neighbour under way.
#[derive(Clone, Copy, Default)]
struct Load {
    /// In their places, and longer than that.
    quick: usize,
    slow: usize,
    heads: usize,
}

/// Of all.
#[derive(Default)]
pub struct Loads {
    by_peer: BTreeMap<PeerId, Load>,
    pub quick: usize,
    pub heads: usize,
    /// Whose chains are being fetched from somebody who has not kept us waiting.
    fetched: BTreeSet<PeerId>,
}

impl Loads {
    pub fn add(&mut self, asked: &Asked, is_quick: bool) {
        let load = self.by_peer.entry(asked.peer()).or_default();
        load.quick += usize::from(is_quick);
        load.slow += usize::from(!is_quick);
        self.quick += usize::from(is_quick);
        match asked.author() {
            Some(author) if is_quick => drop(self.fetched.insert(author)),
            Some(_) => {}
            None => {
                load.heads += 1;
                self.heads += usize::from(is_quick);
            }
        }
    }
}

#[derive(Default)]
pub struct Holders {
    by_peer: BTreeMap<PeerId, Holder>,
    /// Where each is, as far as that is known; all others are in one place.
    networks: BTreeMap<PeerId, u64>,
    /// Which network was asked last, and in each which peer: the next one is asked next.
    turn: Option<u64>,
    turns: BTreeMap<u64, PeerId>,
    work: TokenBucket,
    is_disarmed: bool,
}

impl Holders {
    /// For a simulation: whoever told of most is asked first.
    pub fn disarm(&mut self) {
        self.is_disarmed = true;
    }

    pub fn remove(&mut self, peer: PeerId) {
        self.by_peer.remove(&peer);
        self.turns.retain(|_, last| *last != peer);
        self.networks.remove(&peer);
    }

    pub fn seen(&mut self, peer: PeerId, network: u64) {
        self.networks.insert(peer, network);
    }

    fn network(&self, peer: PeerId) -> u64 {
        self.networks.get(&peer).copied().unwrap_or_default()
    }

    /// Whom to ask next, first choice first.
    fn in_turn(&self) -> Vec<PeerId> {
        let mut networks: BTreeMap<u64, Vec<PeerId>> = BTreeMap::new();
        for peer in self.by_peer.keys() {
            networks.entry(self.network(*peer)).or_default().push(*peer);
        }
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let until = self.turn.map_or(Bound::Excluded(0), Bound::Included);
        let later = networks.range((after, Bound::Unbounded));
        let all = later.chain(networks.range((Bound::Unbounded, until)));
        let turned = all.flat_map(|(network, peers)| {
            let last = self.turns.get(network);
            let first = peers.partition_point(|peer| last.is_some_and(|last| peer <= last));
            peers[first..].iter().chain(&peers[..first])
        });
        turned.copied().collect()
    }

    pub fn greet(&mut self, peer: PeerId, after: Option<Place>) {
        self.by_peer.entry(peer).or_default().greeting.get_or_insert(after);
    }

    pub fn want(&mut self, peer: PeerId, wanted: Wanted) {
        let queue = &mut self.by_peer.entry(peer).or_default().wanted;
        // What was wanted where we do not stand any more was brought: heads that come while a chain is on its way must not end that.
        let is_as_new = |held: &Wanted| held.place == wanted.place;
        match queue.get(&wanted.author) {
            Some(held) if is_as_new(held) => {}
            None if queue.len() >= WANTED_PER_PEER => {}
            _ => drop(queue.insert(wanted.author, wanted)),
        }
    }

    /// The next question: `heads_max` of all questions are for heads.
    pub fn next(&mut self, now: Now, loads: &Loads, heads_max: usize, chains: &Chains) -> Option<Asked> {
        if self.is_disarmed {
            let peers: Vec<PeerId> = self.by_peer.keys().copied().collect();
            let range = peers.iter().find_map(|peer| self.next_range(*peer, loads, chains));
            return range.or_else(|| peers.iter().find_map(|peer| self.next_heads(*peer)));
        }
        let may_range = self.work.has(now.mono, WORK_OF_ALL, 1.0);
        let asked = self.in_turn().into_iter().find_map(|peer| {
            let holder = self.by_peer.get(&peer)?;
            let load = loads.by_peer.get(&peer).copied().unwrap_or_default();
            let is_over = |at: Option<Instant>| at.is_none_or(|at| at <= now.mono);
            let pays = holder.work.has(now.mono, WORK, 1.0);
            let heads = load.heads == 0
                && loads.heads < heads_max
                && is_over(holder.greet_at)
                && (pays || holder.greeting == Some(None));
            let places = if holder.idle > 0 { ASKED_OF_IDLE } else { ASKED_PER_PEER };
            let range =
                load.slow == 0 && load.quick < places && is_over(holder.range_at) && pays && may_range;
            let first_range = holder.was_greeted;
            let mut ask = |is_range: bool| match is_range {
                true if range => self.next_range(peer, loads, chains),
                false if heads => self.next_heads(peer),
                _ => None,
            };
            ask(first_range).or_else(|| ask(!first_range))
        })?;
        let network = self.network(asked.peer());
        (self.turn, _) = (Some(network), self.turns.insert(network, asked.peer()));
        Some(asked)
    }

    fn next_heads(&mut self, peer: PeerId) -> Option<Asked> {
        let holder = self.by_peer.get_mut(&peer)?;
        let after = holder.greeting.take()?;
        holder.was_greeted = true;
        Some(Asked::Heads { peer, after })
    }

    /// Its next chain that nobody else brings just now. If somebody brought it meanwhile it is forgotten.
    fn next_range(&mut self, peer: PeerId, loads: &Loads, chains: &Chains) -> Option<Asked> {
        let holder = self.by_peer.get_mut(&peer)?;
        holder
            .wanted
            .retain(|author, wanted| loads.fetched.contains(author) || chains.place(*author) == wanted.place);
        let is_free = |(author, _): &(&PeerId, &Wanted)| !loads.fetched.contains(author);
        let after = holder.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let later = holder.wanted.range((after, Bound::Unbounded)).find(is_free);
        let (author, _) = later.or_else(|| holder.wanted.iter().find(is_free))?;
        let author = *author;
        let wanted = holder.wanted.remove(&author).expect("it was looked at a line above");
        (holder.cursor, holder.was_greeted) = (Some(author), false);
        Some(Asked::Range { peer, wanted })
    }

    /// It said where its chains stand.
    pub fn spoke(&mut self, peer: PeerId) {
        if let Some(holder) = self.by_peer.get_mut(&peer) {
            (holder.silent, holder.greet_at) = (0, None);
        }
    }

    /// It did not. Once may be an accident.
    pub fn was_silent(&mut self, now: Now, peer: PeerId) {
        if let Some(holder) = self.by_peer.get_mut(&peer) {
            holder.silent = holder.silent.saturating_add(1);
            holder.greet_at = pause(now, holder.silent);
        }
    }

    /// It brought something that it had told of.
    pub fn delivered(&mut self, peer: PeerId) {
        if let Some(holder) = self.by_peer.get_mut(&peer) {
            (holder.idle, holder.range_at) = (0, None);
        }
    }

    /// It did not. Who does so again and again loses its turn.
    pub fn failed(&mut self, now: Now, peer: PeerId) {
        if self.is_disarmed {
            return;
        }
        let Some(holder) = self.by_peer.get_mut(&peer) else { return };
        holder.idle = holder.idle.saturating_add(1);
        holder.range_at = pause(now, holder.idle);
        if holder.idle >= IDLE_MAX {
            holder.wanted.clear();
        }
    }

    /// What its answer cost us.
    pub fn charge(&mut self, now: Now, peer: PeerId, steps: u64) {
        let steps = steps as f64;
        self.work.charge(now.mono, WORK_OF_ALL, steps);
        if let Some(holder) = self.by_peer.get_mut(&peer) {
            holder.work.charge(now.mono, WORK, steps);
        }
    }
}

/// None after the first time, then doubled.
fn pause(now: Now, times: u32) -> Option<Instant> {
    let doubled = times.checked_sub(2)?.min(PAUSES_MAX);
    Some(now.mono + Duration::max(ASK_AGAIN, ASK_AGAIN * (1 << doubled)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Incarnation;
    use dots_wire::{SecretKey, Timestamp};

    fn peer(n: u32) -> PeerId {
        let mut bytes = [8; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
    }

    /// Of 300 questions, how many go to the neighbour that is alone in its network?
    fn share(network_of: impl Fn(u32) -> Option<u64>) -> usize {
        let incarnation = Incarnation { started: Timestamp(1), random: 1 };
        let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
        let (mut holders, chains) = (Holders::default(), Chains::new(peer(0), incarnation));
        let honest = peer(1_000);
        let authors: Vec<PeerId> = (2_000..2_300).map(peer).collect();
        for at in (0..64).map(|n| (peer(n + 1), network_of(n))).chain([(honest, Some(9))]) {
            let (peer, network) = at;
            network.into_iter().for_each(|network| holders.seen(peer, network));
            for author in &authors {
                holders.want(peer, Wanted { author: *author, incarnation, from: 0, place: None });
            }
        }
        let asked = |holders: &mut Holders| holders.next(now, &Loads::default(), 8, &chains);
        (0..300).filter(|_| asked(&mut holders).is_some_and(|asked| asked.peer() == honest)).count()
    }

    #[test]
    fn heads_that_come_while_a_chain_is_on_its_way_do_not_end_it() {
        let incarnation = Incarnation { started: Timestamp(1), random: 1 };
        let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
        let (mut holders, chains) = (Holders::default(), Chains::new(peer(0), incarnation));
        let want = |from, place| Wanted { author: peer(2), incarnation, from, place };
        // Told of while we stood elsewhere; then a part came, and there is more.
        holders.want(peer(1), want(10, Some((incarnation, 10))));
        holders.want(peer(1), want(20, None));
        let next = holders.next(now, &Loads::default(), 8, &chains);
        assert!(matches!(next, Some(Asked::Range { wanted: Wanted { from: 20, .. }, .. })));
        // Of one place the first wish counts: it may be for an entry that contradicts ours, which lies before what is next.
        holders.want(peer(1), want(4, None));
        holders.want(peer(1), want(5, None));
        let next = holders.next(now, &Loads::default(), 8, &chains);
        assert!(matches!(next, Some(Asked::Range { wanted: Wanted { from: 4, .. }, .. })));
    }

    /// LOG-12c.
    #[test]
    fn many_keys_of_one_network_have_the_turns_of_one() {
        assert_eq!(share(|_| Some(7)), 150, "two networks");
        assert_eq!(share(|n| Some(100 + u64::from(n % 4))), 60, "five networks");
        assert_eq!(share(|_| None), 150, "who hides where it is gains nothing by that");
    }
}
