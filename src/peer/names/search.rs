//! A realm that nobody here has heard of: who was asked for it, what they said, and who waits.
//!
//! ```text
//!   wanted ─▶ its former homes, or some neighbours ─┬─ a record that counts ───────────────────────────▶ found
//!                                                   ├─ one that counts from its home alone ─▶ that home ─┘
//!                                                   └─ all say that they do not know ─▶ nobody knows (404)
//! ```
//!
//! A name that nobody vouches for counts only from a home of it (decision 5), so what a neighbour tells of one is a hint where
//! to ask. Neighbours that name different keys contradict each other: the key that most networks name is asked for, and none
//! where two are even, for whoever wants to be taken for somebody's bank has keys enough but one network.
//! Whoever could not be asked has not said that there is no such realm: that is "not now", never "unknown".

use dots_sip::ids::AskId;
use dots_wire::{
    Now, PeerId, PublicKey,
    bounded::{Cache, Cause, Limits, Standing, Weight},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// One realm is searched for this often.
const AGAIN: Duration = Duration::from_secs(60);
/// … and sooner at peers that were not asked yet, where not all who were have answered.
const AGAIN_UNASKED: Duration = Duration::from_secs(2);
/// Neighbours that have not answered by then are not waited for where others have told something.
const CHOOSE_AFTER: Duration = Duration::from_secs(1);
/// A call waits so long for the realm that it is for.
const WAIT: Duration = Duration::from_secs(3);
/// Calls that wait, all together and for one realm; beyond, the oldest waits no longer.
pub(crate) const WAITING_MAX: usize = 4_096;
const WAITING_FOR_ONE: usize = 64;
pub(crate) const SEARCHES: Limits = Limits::new(8 << 20, 4_096);
/// Different keys told in one search.
const CANDIDATES_MAX: usize = 8;
/// Peers of one search: neighbours, and then homes.
const ASKED_MAX: usize = 16;

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Something,
    /// It knows no such realm.
    Nothing,
    /// It did not answer.
    NoAnswer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    UnderWay,
    /// Everybody who was asked a moment ago knows nothing of it.
    NobodyKnows,
    /// Nobody could be asked, or not everybody answered.
    NotNow,
}

/// A key that neighbours name, with the homes of its record.
struct Candidate {
    key: PublicKey,
    homes: Vec<PeerId>,
    networks: BTreeSet<u64>,
}

struct Search {
    began: Instant,
    /// When more peers were looked for.
    resumed: Instant,
    asked: BTreeMap<PeerId, Option<Said>>,
    candidates: Vec<Candidate>,
    has_chosen: bool,
}

impl Weight for Search {
    fn heap_bytes(&self) -> usize {
        // Both are bounded; as much as they may become, for the table is told once.
        ASKED_MAX * 64 + CANDIDATES_MAX * 512
    }
}

impl Search {
    fn is_over(&self) -> bool {
        self.asked.values().all(Option::is_some)
    }

    fn verdict(&self) -> Verdict {
        match () {
            () if !self.is_over() => Verdict::UnderWay,
            () if !self.asked.is_empty() && self.asked.values().all(|s| *s == Some(Said::Nothing)) => {
                Verdict::NobodyKnows
            }
            () => Verdict::NotNow,
        }
    }
}

pub struct Searches {
    searches: Cache<String, Search>,
    waiting: VecDeque<(Instant, AskId, String)>,
    ready: VecDeque<(AskId, String)>,
}

impl Default for Searches {
    fn default() -> Searches {
        Searches { searches: Cache::new(SEARCHES), waiting: VecDeque::new(), ready: VecDeque::new() }
    }
}

impl Searches {
    /// May this realm be searched for (again)? If so, a search begins: say who is asked.
    pub fn begin(&mut self, now: Now, realm: &str) -> bool {
        if let Some(last) = self.searches.get_mut(realm) {
            let since = |at: Instant| now.mono.saturating_duration_since(at);
            if since(last.began) < AGAIN {
                // Whoever was asked is not asked again before that; whoever has come since is.
                let may = last.verdict() == Verdict::NotNow && since(last.resumed) >= AGAIN_UNASKED;
                if may {
                    (last.resumed, last.has_chosen) = (now.mono, false);
                }
                return may;
            }
        }
        let search = Search {
            began: now.mono,
            resumed: now.mono,
            asked: BTreeMap::new(),
            candidates: Vec::new(),
            has_chosen: false,
        };
        let cause = Cause::new(Standing::Other).of_realm(realm.as_bytes());
        self.searches.insert(cause, realm.to_owned(), search).is_stored
    }

    /// `peer` is asked for this realm. `false`: it was, or enough are.
    pub fn ask(&mut self, realm: &str, peer: PeerId) -> bool {
        let Some(search) = self.searches.get_mut(realm) else { return false };
        let may = search.asked.len() < ASKED_MAX && !search.asked.contains_key(&peer);
        if may {
            search.asked.insert(peer, None);
        }
        may
    }

    pub fn is_searched(&self, realm: &str) -> bool {
        self.searches.get(realm).is_some_and(|search| !search.is_over())
    }

    /// A neighbour told a record that would count from one of these homes.
    pub fn hint(&mut self, realm: &str, key: PublicKey, homes: &[PeerId], network: u64) {
        let Some(search) = self.searches.get_mut(realm) else { return };
        if let Some(known) = search.candidates.iter_mut().find(|c| c.key == key) {
            known.networks.insert(network);
        } else if search.candidates.len() < CANDIDATES_MAX {
            let networks = BTreeSet::from([network]);
            search.candidates.push(Candidate { key, homes: homes.to_vec(), networks });
        }
    }

    pub fn said(&mut self, realm: &str, peer: PeerId, said: Said) {
        let Some(search) = self.searches.get_mut(realm) else { return };
        if let Some(open) = search.asked.get_mut(&peer).filter(|open| open.is_none()) {
            *open = Some(said);
        }
    }

    /// Homes to ask now, where it is clear whose.
    pub fn choose(&mut self, now: Now, realm: &str) -> Vec<PeerId> {
        let Some(search) = self.searches.get_mut(realm) else { return Vec::new() };
        let is_late = now.mono.saturating_duration_since(search.began) >= CHOOSE_AFTER;
        if search.has_chosen || search.candidates.is_empty() || !(search.is_over() || is_late) {
            return Vec::new();
        }
        search.has_chosen = true;
        let most = search.candidates.iter().map(|c| c.networks.len()).max().unwrap_or_default();
        let mut first = search.candidates.iter().filter(|c| c.networks.len() == most);
        match (first.next(), first.next()) {
            (Some(one), None) => one.homes.clone(),
            _ => {
                tracing::info!(%realm, "neighbours name different keys for this realm: it is not believed; pin one");
                Vec::new()
            }
        }
    }

    pub fn verdict(&self, realm: &str) -> Verdict {
        self.searches.get(realm).map_or(Verdict::NotNow, Search::verdict)
    }

    /// A call waits for this realm.
    pub fn wait(&mut self, now: Now, id: AskId, aor: String, realm: &str) {
        let of_realm = |(_, _, aor): &(Instant, AskId, String)| dots_sip::address::realm_of(aor) == realm;
        let many = self.waiting.iter().filter(|w| of_realm(w)).count() >= WAITING_FOR_ONE;
        let oldest = match many {
            true => self.waiting.iter().position(of_realm),
            false => (self.waiting.len() >= WAITING_MAX).then_some(0),
        };
        if let Some((_, id, aor)) = oldest.and_then(|at| self.waiting.remove(at)) {
            self.ready.push_back((id, aor));
        }
        self.waiting.push_back((now.mono + WAIT, id, aor));
    }

    /// The search is over, or the realm is known: nobody waits for it any more.
    pub fn release(&mut self, realm: &str) {
        let of_realm = |(_, _, aor): &(Instant, AskId, String)| dots_sip::address::realm_of(aor) == realm;
        let (ready, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(of_realm);
        self.waiting = waiting;
        self.ready.extend(ready.into_iter().map(|(_, id, aor)| (id, aor)));
    }

    /// A call that waits no longer.
    pub fn poll_ready(&mut self) -> Option<(AskId, String)> {
        self.ready.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, ..)| *at)
    }

    pub fn on_timeout(&mut self, now: Now) {
        while self.waiting.front().is_some_and(|(at, ..)| *at <= now.mono) {
            if let Some((_, id, aor)) = self.waiting.pop_front() {
                self.ready.push_back((id, aor));
            }
        }
    }

    /// Searches that a late neighbour holds up.
    pub fn late(&self, now: Now) -> Vec<String> {
        let is_late = |s: &Search| {
            !s.has_chosen
                && !s.candidates.is_empty()
                && now.mono.saturating_duration_since(s.began) >= CHOOSE_AFTER
        };
        self.searches.iter().filter(|(_, s)| is_late(s)).map(|(realm, _)| realm.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::{SecretKey, Timestamp};

    fn key(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar")
    }

    fn start() -> (Searches, Now) {
        (Searches::default(), Now { mono: Instant::now(), wall: Timestamp(0) })
    }

    /// LOOKUP-4: (why, what each of those asked said, verdict)
    #[test]
    fn nobody_knows_is_said_only_when_all_who_were_asked_said_so() {
        use Said::{NoAnswer, Nothing, Something};
        for (why, said, verdict) in [
            ("nobody to ask", &[][..], Verdict::NotNow),
            ("all know nothing", &[Some(Nothing), Some(Nothing)], Verdict::NobodyKnows),
            ("one is silent", &[Some(Nothing), Some(NoAnswer)], Verdict::NotNow),
            ("all are silent", &[Some(NoAnswer)], Verdict::NotNow),
            ("one is open", &[Some(Nothing), None], Verdict::UnderWay),
            ("one told something that did not count", &[Some(Nothing), Some(Something)], Verdict::NotNow),
        ] {
            let (mut searches, now) = start();
            assert!(searches.begin(now, "a.test"));
            for (n, said) in said.iter().enumerate() {
                let peer = key(n as u8 + 1).peer_id();
                assert!(searches.ask("a.test", peer) && !searches.ask("a.test", peer), "once");
                said.iter().for_each(|said| searches.said("a.test", peer, *said));
            }
            assert_eq!(searches.verdict("a.test"), verdict, "{why}");
            let soon = Now { mono: now.mono + AGAIN_UNASKED, ..now };
            assert_eq!(searches.begin(soon, "a.test"), verdict == Verdict::NotNow, "{why}: again so soon");
        }
        assert_eq!(start().0.verdict("b.test"), Verdict::NotNow, "never asked");
    }

    /// Decision 5: (why, (key, network) of each hint, whose home is asked)
    #[test]
    fn the_key_that_most_networks_name_is_asked_for_and_none_where_two_are_even() {
        for (why, hints, chosen) in [
            ("one", &[(1, 1)][..], Some(1)),
            ("many keys of one network", &[(1, 1), (2, 9), (2, 9), (2, 9)], None),
            ("two networks against one with many keys", &[(2, 9), (1, 1), (3, 9), (1, 2), (4, 9)], Some(1)),
            ("even", &[(1, 1), (2, 2)], None),
            ("nothing was told", &[], None),
        ] {
            let (mut searches, now) = start();
            searches.begin(now, "a.test");
            searches.ask("a.test", key(50).peer_id());
            for (n, network) in hints {
                searches.hint("a.test", key(*n).public(), &[key(*n).peer_id()], *network);
            }
            assert_eq!(searches.choose(now, "a.test"), [], "{why}: somebody has not answered");
            let late = Now { mono: now.mono + CHOOSE_AFTER, ..now };
            assert_eq!(searches.late(late).is_empty(), hints.is_empty());
            let expected: Vec<PeerId> = chosen.map(|n: u8| key(n).peer_id()).into_iter().collect();
            assert_eq!(searches.choose(late, "a.test"), expected, "{why}");
            assert_eq!(searches.choose(late, "a.test"), [], "{why}: once");
        }
    }

    #[test]
    fn who_waits_is_told_in_the_end_whatever_happens() {
        let (mut searches, now) = start();
        for n in 0..6_000 {
            let realm = if n % 2 == 0 { "flood.test".to_owned() } else { format!("r{n}.test") };
            searches.wait(now, AskId::new(0, n), format!("x@{realm}"), &realm);
        }
        searches.release("r5999.test");
        assert!(searches.waiting.len() <= WAITING_MAX);
        let early = std::iter::from_fn(|| searches.poll_ready()).count();
        searches.on_timeout(Now { mono: now.mono + WAIT, ..now });
        let late = std::iter::from_fn(|| searches.poll_ready()).count();
        assert_eq!(early + late, 6_000);
        assert_eq!(searches.poll_timeout(), None);
    }
}
