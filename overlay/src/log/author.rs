//! Our own log: events of the last 20 ms become one signed entry, and no entry leaves before it is on disk.
//!
//! Restating: the peer publishes its live bindings anew at every start, and then [`AuthorLog::open`]s: the first entry of
//! an incarnation is a checkpoint that names how many follow, so that readers know at once what has gone. At each later
//! checkpoint this file says them again itself. So are revocations, as long as a grant from before them could live.
//!
//! What the log says stands in the directory, as what everybody's logs say does; here is only what is on its way there.

use crate::{
    directory::{Directory, is_over},
    records::{Bind, Checkpoint, Entry, Event, Header, Incarnation, Revoke, entry},
};
use dots_wire::{Hash, Label20, Now, SecretKey, Timestamp, encode};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// LOG-4: one signature for all events of this time.
pub const BATCH: Duration = Duration::from_millis(20);
/// LOG-4b: the same of words that nobody waits for: they go with the next that somebody does, or after this.
pub const BATCH_LATER: Duration = Duration::from_secs(10);
/// Bytes of events per entry: the header, its signature and the CBOR around each event stay under `ENTRY_MAX`.
const BATCH_BYTES: usize = 40 * 1024;
const BATCH_EVENTS: usize = entry::EVENTS_MAX;
/// Events that wait for a slow disk.
pub(crate) const PENDING_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Entries handed to the disk and not yet durable.
pub(crate) const UNWRITTEN_MAX: usize = 256;
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(3600);
pub const CHECKPOINT_ENTRIES: u64 = 10_000;
/// Also after this much beside what the last one said again, so that what others must keep of us stays bounded.
const CHECKPOINT_BYTES: usize = 2 * 1024 * 1024;
/// Revocations said again at a checkpoint; at the limit the oldest goes.
pub(crate) const REVOKES_MAX: usize = 10_000;

const _: () = assert!(BATCH_BYTES + BATCH_EVENTS * 3 + 1024 < entry::ENTRY_MAX);
const _: () = assert!(entry::EVENT_MAX + entry::GROUP_BYTES < BATCH_BYTES);

/// An entry that must be on disk before [`AuthorLog::durable`] gives it back.
pub struct ToWrite {
    pub token: u64,
    pub entry: Arc<Entry>,
}

/// An encoded event that waits for its entry.
struct Pending {
    realm: Label20,
    bytes: Vec<u8>,
    is_checkpoint: bool,
    /// How many words on phones were said up to here.
    words: u64,
}

/// (aor_id, instance)
type Phone = (Hash, Hash);

/// The newest word on a phone that the directory does not hold yet.
struct Unsaid {
    /// Its number among all words on phones.
    word: u64,
    /// `None`: it is not here any more.
    bind: Option<Bind>,
}

/// An entry that was handed to the disk.
struct Unwritten {
    token: u64,
    entry: Arc<Entry>,
    /// How many words on phones are said with it.
    words: u64,
    is_durable: bool,
}

/// About what its event takes, with its place in an entry.
fn restated_bytes(bind: &Bind) -> usize {
    112 + bind.grant.as_ref().map_or(0, |grant| grant.len())
}

pub struct AuthorLog {
    key: SecretKey,
    incarnation: Incarnation,
    seq: u64,
    prev: Hash,
    time: Timestamp,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    flush_at: Option<Instant>,
    unsaid: BTreeMap<Phone, Unsaid>,
    /// The phones of `unsaid` by the numbers of their words; some have a newer one by now.
    by_word: VecDeque<(u64, Phone)>,
    words: u64,
    /// What it takes to say all live bindings again, about.
    live_bytes: usize,
    revokes: BTreeMap<Hash, Timestamp>,
    since_entries: u64,
    since_bytes: usize,
    /// Of these, what the last checkpoint said again.
    restated_bytes: usize,
    checkpoint_at: Instant,
    unwritten: VecDeque<Unwritten>,
    next_token: u64,
}

impl AuthorLog {
    pub fn new(key: SecretKey, random: u64, now: Now) -> AuthorLog {
        AuthorLog {
            key,
            incarnation: Incarnation { started: now.wall, random },
            seq: 0,
            prev: Hash([0; 32]),
            time: now.wall,
            pending: VecDeque::new(),
            pending_bytes: 0,
            flush_at: None,
            unsaid: BTreeMap::new(),
            by_word: VecDeque::new(),
            words: 0,
            live_bytes: 0,
            revokes: BTreeMap::new(),
            since_entries: 0,
            since_bytes: 0,
            restated_bytes: 0,
            checkpoint_at: now.mono + CHECKPOINT_EVERY,
            unwritten: VecDeque::new(),
            next_token: 0,
        }
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// An earlier life of ours, from our own disk: ours must be higher even if the clock went back.
    pub fn outlive(&mut self, earlier: Incarnation) {
        if self.seq == 0 && self.incarnation <= earlier {
            self.incarnation.started = earlier.started.plus(Duration::from_millis(1));
        }
    }

    /// Is this phone bound in the log, as it stands or will stand?
    pub fn is_bound(&self, phone: &Phone, directory: &Directory) -> bool {
        self.bound(phone, directory).is_some()
    }

    /// The realm in whose group it was said, and what it takes to say it again.
    fn bound(&self, phone: &Phone, directory: &Directory) -> Option<(Label20, usize)> {
        match self.unsaid.get(phone) {
            Some(unsaid) => unsaid.bind.as_ref().map(|bind| (bind.realm, restated_bytes(bind))),
            None => {
                let bind = directory.bound(self.key.peer_id(), *phone)?;
                Some((bind.realm, restated_bytes(&bind)))
            }
        }
    }

    /// `false`: too long, or the disk is so far behind that no more can wait.
    #[cfg(test)]
    pub fn append(&mut self, now: Now, event: Event, directory: &Directory) -> bool {
        let realm = event.realm();
        self.append_of(now, realm, event, directory, BATCH)
    }

    /// The same of an event that does not say itself of which realm it is.
    pub fn append_of(
        &mut self,
        now: Now,
        mut realm: Label20,
        event: Event,
        directory: &Directory,
        within: Duration,
    ) -> bool {
        let bytes = encode(&event);
        if bytes.len() > entry::EVENT_MAX || self.pending_bytes + bytes.len() > PENDING_BYTES_MAX {
            return false;
        }
        match event {
            Event::Bind(bind) => {
                let phone = (bind.aor_id, bind.instance);
                let before = self.bound(&phone, directory).map_or(0, |(_, bytes)| bytes);
                self.live_bytes = (self.live_bytes + restated_bytes(&bind)).saturating_sub(before);
                self.word(phone, Some(bind));
            }
            Event::Unbind(unbind) => {
                let phone = (unbind.aor_id, unbind.instance);
                // With the word that it takes back, so that they stay in order and go together.
                if let Some((said_of, bytes)) = self.bound(&phone, directory) {
                    self.live_bytes = self.live_bytes.saturating_sub(bytes);
                    realm = said_of;
                }
                self.word(phone, None);
            }
            Event::Revoke(revoke) => self.recall(&revoke),
            _ => {}
        }
        self.push(realm, bytes, false);
        let at = now.mono + within;
        self.flush_at = Some(self.flush_at.map_or(at, |planned| planned.min(at)));
        if self.pending_bytes >= BATCH_BYTES || self.pending.len() >= BATCH_EVENTS {
            self.flush_at = Some(now.mono);
        }
        true
    }

    /// A revocation, said now or in an earlier life: readers who start at a checkpoint must hear of it while a grant
    /// from before it could still be shown.
    pub fn recall(&mut self, revoke: &Revoke) {
        if self.revokes.len() >= REVOKES_MAX
            && let Some(oldest) = self.revokes.iter().min_by_key(|(_, before)| **before).map(|(aor, _)| *aor)
        {
            self.revokes.remove(&oldest);
        }
        let before = self.revokes.entry(revoke.aor_id).or_insert(revoke.before);
        *before = revoke.before.max(*before);
    }

    /// Until an entry with it is on disk the directory does not know.
    fn word(&mut self, phone: Phone, bind: Option<Bind>) {
        self.words += 1;
        self.unsaid.insert(phone, Unsaid { word: self.words, bind });
        self.by_word.push_back((self.words, phone));
    }

    fn push(&mut self, realm: Label20, bytes: Vec<u8>, is_checkpoint: bool) {
        self.pending_bytes += bytes.len();
        self.pending.push_back(Pending { realm, bytes, is_checkpoint, words: self.words });
    }

    pub fn poll_timeout(&self, directory: &Directory) -> Option<Instant> {
        let flush = self.flush_at.filter(|_| self.unwritten.len() < UNWRITTEN_MAX);
        let is_live = !self.unsaid.is_empty() || directory.has_author(self.key.peer_id());
        let restated = is_live || !self.revokes.is_empty();
        flush.into_iter().chain(restated.then_some(self.checkpoint_at)).min()
    }

    /// Entries that are due. Call at [`AuthorLog::poll_timeout`] and after [`AuthorLog::durable`].
    pub fn seal_due(&mut self, now: Now, directory: &Directory) -> Vec<ToWrite> {
        self.checkpoint_if_due(now, directory);
        let mut sealed = Vec::new();
        while self.flush_at.is_some_and(|at| at <= now.mono) && self.unwritten.len() < UNWRITTEN_MAX {
            sealed.push(self.seal_one(now));
            if self.pending.is_empty() {
                self.flush_at = None;
            }
        }
        sealed
    }

    fn seal_one(&mut self, now: Now) -> ToWrite {
        let (mut events, mut realms) = (Vec::new(), BTreeSet::new());
        let (mut bytes, mut of_events, mut words) = (0, 0, 0);
        while let Some(next) = self.pending.front() {
            let group = if realms.contains(&next.realm) { 0 } else { entry::GROUP_BYTES };
            let full = bytes + group + next.bytes.len() > BATCH_BYTES || events.len() >= BATCH_EVENTS;
            // A checkpoint is always the first of its entry, so that readers find it.
            if !events.is_empty() && (next.is_checkpoint || full) {
                break;
            }
            let next = self.pending.pop_front().expect("looked at a line above");
            bytes += group + next.bytes.len();
            of_events += next.bytes.len();
            words = next.words;
            realms.insert(next.realm);
            events.push((next.realm, next.bytes));
        }
        self.pending_bytes -= of_events;
        self.time = self.time.max(now.wall);
        let header = Header {
            version: entry::VERSION,
            author: self.key.peer_id(),
            incarnation: self.incarnation,
            shard: String::new(),
            seq: self.seq,
            prev: self.prev,
            time: self.time,
            count: 0,
            events_root: Hash([0; 32]),
        };
        let mut entry = Entry::seal_grouped(&self.key, header, events);
        self.share_grants(&mut entry);
        let entry = Arc::new(entry);
        debug_assert!(entry.bytes.len() <= entry::ENTRY_MAX, "an entry of ours fits");
        self.seq += 1;
        self.prev = entry.hash;
        self.since_entries += 1;
        self.since_bytes += entry.bytes.len();
        self.next_token += 1;
        let unwritten = Unwritten { token: self.next_token, entry: entry.clone(), words, is_durable: false };
        self.unwritten.push_back(unwritten);
        ToWrite { token: self.next_token, entry }
    }

    /// The directory will hold the events as they were read from the entry: with the grants that the registrar holds.
    fn share_grants(&self, entry: &mut Entry) {
        for event in &mut entry.events {
            let Event::Bind(bind) = event else { continue };
            let unsaid = self.unsaid.get(&(bind.aor_id, bind.instance)).and_then(|u| u.bind.as_ref());
            if let Some(ours) = unsaid.filter(|ours| ours.grant == bind.grant) {
                bind.grant = ours.grant.clone();
            }
        }
    }

    /// LOG-5: all live bindings of this life's start were appended. Its first entry says so, even where there are none:
    /// else a removal that the last life wrote down but did not publish would never be heard of.
    pub fn open(&mut self, now: Now, directory: &Directory) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.checkpoint(now, directory);
    }

    /// LOG-8: the live bindings as a root, then each of them again, then what is revoked.
    fn checkpoint_if_due(&mut self, now: Now, directory: &Directory) {
        let due = now.mono >= self.checkpoint_at
            || self.since_entries >= CHECKPOINT_ENTRIES
            || self.since_bytes >= (self.restated_bytes + CHECKPOINT_BYTES).max(2 * self.live_bytes);
        if due {
            self.checkpoint(now, directory);
        }
    }

    /// What is bound in the log, as it will stand when all that waits is on disk: what the directory holds, then what it does not.
    fn live(&self, now: Now, directory: &Directory) -> Vec<Bind> {
        let is_newest = |bind: &Bind| !self.unsaid.contains_key(&(bind.aor_id, bind.instance));
        let said = directory.own(now.wall).filter(is_newest);
        let unsaid = self.unsaid.values().filter_map(|unsaid| unsaid.bind.clone());
        said.chain(unsaid.filter(|bind| bind.until > now.wall)).collect()
    }

    fn checkpoint(&mut self, now: Now, directory: &Directory) {
        self.checkpoint_at = now.mono + CHECKPOINT_EVERY;
        (self.since_entries, self.since_bytes) = (0, 0);
        let live = self.live(now, directory);
        self.live_bytes = live.iter().map(restated_bytes).sum();
        let restated: Vec<(Phone, Label20, Vec<u8>)> = live
            .into_iter()
            .map(|bind| ((bind.aor_id, bind.instance), bind.realm, encode(&Event::Bind(bind))))
            .collect();
        let root = entry::root_by_realm(restated.iter().map(|(_, realm, bytes)| (*realm, bytes.clone())));
        let count = u32::try_from(restated.len()).expect("fewer phones than 2^32 are bound here");
        let checkpoint = Checkpoint { root, count };
        self.push(entry::NO_REALM, encode(&Event::Checkpoint(checkpoint)), true);
        self.revokes.retain(|_, before| !is_over(*before, now.wall));
        let revokes = self.revokes.iter().map(|(aor_id, before)| (*aor_id, *before));
        let revokes = revokes
            .map(|(aor_id, before)| (entry::NO_REALM, encode(&Event::Revoke(Revoke { aor_id, before }))));
        let revokes: Vec<(Label20, Vec<u8>)> = revokes.collect();
        let all = restated.iter().map(|(_, _, bytes)| bytes).chain(revokes.iter().map(|(_, bytes)| bytes));
        self.restated_bytes = all.map(|bytes| bytes.len() + 3).sum();
        for (phone, realm, bytes) in restated {
            // The directory hears of it with the entry that it is in, which may be a later one than this checkpoint's.
            if let Some(bind) = self.unsaid.get(&phone).map(|unsaid| unsaid.bind.clone()) {
                self.word(phone, bind);
            }
            self.push(realm, bytes, false);
        }
        for (realm, bytes) in revokes {
            self.push(realm, bytes, false);
        }
        self.flush_at = Some(now.mono);
    }

    /// Handed out and not on disk yet, in order.
    pub fn unwritten(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.unwritten.iter().map(|unwritten| &unwritten.entry)
    }

    /// The entry of `token` is on disk. Gives back what may leave now, in order.
    pub fn durable(&mut self, token: u64) -> Vec<Arc<Entry>> {
        for unwritten in &mut self.unwritten {
            unwritten.is_durable |= unwritten.token == token;
        }
        let mut ready = Vec::new();
        while self.unwritten.front().is_some_and(|unwritten| unwritten.is_durable) {
            let next = self.unwritten.pop_front().expect("looked at a line above");
            self.said(next.words);
            ready.push(next.entry);
        }
        ready
    }

    /// The directory hears these words now.
    fn said(&mut self, words: u64) {
        while let Some((word, phone)) = self.by_word.front().copied().filter(|(word, _)| *word <= words) {
            self.by_word.pop_front();
            if self.unsaid.get(&phone).is_some_and(|unsaid| unsaid.word == word) {
                self.unsaid.remove(&phone);
            }
        }
        debug_assert!(self.unsaid.len() <= self.by_word.len(), "each has its place in the order");
        if self.by_word.is_empty() {
            // After a start there were as many as there are phones.
            self.by_word.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{directory::Source, records::Unbind};
    use dots_wire::bounded::Standing;

    /// What is durable is heard by the directory, as the core has it.
    fn durable(log: &mut AuthorLog, now: Now, token: u64, directory: &mut Directory) -> Vec<Arc<Entry>> {
        let from = log.key.peer_id();
        let ready = log.durable(token);
        for entry in &ready {
            directory.apply(now, entry.said(), Source { standing: Standing::Own, from });
        }
        ready
    }

    fn bind(n: u8) -> Event {
        Event::Bind(Bind {
            aor_id: Hash([n; 32]),
            realm: dots_wire::Label20([0; 20]),
            instance: Hash([n; 32]),
            until: Timestamp(u64::MAX),
            grant: None,
        })
    }

    /// LOG-4b.
    #[test]
    fn what_nobody_waits_for_goes_with_what_somebody_does_or_after_ten_seconds() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let mut now = Now { mono: Instant::now(), wall: Timestamp(1_000) };
        let (mut log, dir) = (AuthorLog::new(key, 7, now), Directory::default());
        let later = |log: &mut AuthorLog, now: Now, n: u8| {
            assert!(log.append_of(now, dots_wire::Label20([0; 20]), bind(n), &dir, BATCH_LATER));
        };
        later(&mut log, now, 1);
        now.mono += BATCH;
        assert!(log.seal_due(now, &dir).is_empty());
        now.mono += BATCH_LATER;
        assert_eq!(log.seal_due(now, &dir).len(), 1, "it is said in the end");
        later(&mut log, now, 2);
        assert!(log.append(now, bind(3), &dir));
        now.mono += BATCH;
        let sealed = log.seal_due(now, &dir);
        assert_eq!((sealed.len(), sealed[0].entry.events.len()), (1, 2), "one entry, one signature");
    }

    /// LOG-4.
    #[test]
    fn events_of_one_moment_share_a_signature_and_entries_leave_in_order() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let mut now = Now { mono: Instant::now(), wall: Timestamp(1_000) };
        let mut log = AuthorLog::new(key, 7, now);
        let mut dir = Directory::default();
        assert!(log.append(now, bind(1), &dir) && log.append(now, bind(2), &dir));
        assert!(log.seal_due(now, &dir).is_empty());
        now.mono += BATCH;
        let first = log.seal_due(now, &dir);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].entry.events.len(), 2);
        assert!(log.append(now, bind(3), &dir));
        now.mono += BATCH;
        let second = log.seal_due(now, &dir);
        assert_eq!(second[0].entry.header.prev, first[0].entry.hash);
        assert!(durable(&mut log, now, second[0].token, &mut dir).is_empty(), "the first is not on disk yet");
        let ready: Vec<u64> =
            durable(&mut log, now, first[0].token, &mut dir).iter().map(|e| e.header.seq).collect();
        assert_eq!(ready, [0, 1]);
        for e in [&first[0].entry, &second[0].entry] {
            let read = Entry::read(&e.bytes).and_then(|u| u.verify());
            assert_eq!(read.as_ref(), Some(e.as_ref()));
        }
    }

    /// LOG-3, LOG-8.
    #[test]
    fn many_events_make_several_entries_and_an_hour_makes_a_checkpoint() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let mut now = Now { mono: Instant::now(), wall: Timestamp(1_000) };
        let mut log = AuthorLog::new(key, 7, now);
        let mut dir = Directory::default();
        for i in 0..2_000u32 {
            let Event::Bind(mut b) = bind(0) else { return };
            b.aor_id.0[..4].copy_from_slice(&i.to_be_bytes());
            assert!(log.append(now, Event::Bind(b), &dir));
        }
        now.mono += BATCH;
        let sealed = log.seal_due(now, &dir);
        assert!(sealed.len() > 1);
        assert!(sealed.iter().all(|s| Entry::read(&s.entry.bytes).is_some()));
        for s in &sealed {
            durable(&mut log, now, s.token, &mut dir);
        }
        now.mono += CHECKPOINT_EVERY;
        let sealed = log.seal_due(now, &dir);
        assert!(sealed[0].entry.is_checkpoint());
        assert_eq!(sealed.iter().map(|s| s.entry.events.len()).sum::<usize>(), 2_001);
    }

    /// LOG-8: whatever is on its way to the disk at a checkpoint, the log says again what will stand, once, and nothing else.
    #[test]
    fn a_checkpoint_says_what_is_on_disk_and_what_is_on_its_way() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let me = key.peer_id();
        let mut now = Now { mono: Instant::now(), wall: Timestamp(1_000) };
        let mut log = AuthorLog::new(key, 7, now);
        let mut dir = Directory::default();
        let gone = |n: u8| Event::Unbind(Unbind { aor_id: Hash([n; 32]), instance: Hash([n; 32]) });
        let step = |now: &mut Now| now.mono += BATCH;
        for n in 1..=4 {
            assert!(log.append(now, bind(n), &dir));
        }
        step(&mut now);
        for sealed in log.seal_due(now, &dir) {
            durable(&mut log, now, sealed.token, &mut dir);
        }
        assert_eq!((dir.own_len(), log.unsaid.len(), log.by_word.len()), (4, 0, 0), "nothing is held twice");
        // On their way: one goes, one goes and comes back, one is new, one is new and goes.
        for event in [gone(1), gone(2), bind(2), bind(5), bind(6), gone(6)] {
            assert!(log.append(now, event, &dir));
        }
        let bound = |log: &AuthorLog, dir: &Directory| {
            (1..=6).filter(|n| log.is_bound(&(Hash([*n; 32]), Hash([*n; 32])), dir)).collect::<Vec<u8>>()
        };
        assert_eq!(bound(&log, &dir), [2, 3, 4, 5]);
        step(&mut now);
        let mut tokens: Vec<u64> = log.seal_due(now, &dir).iter().map(|s| s.token).collect();
        now.mono += CHECKPOINT_EVERY;
        let sealed = log.seal_due(now, &dir);
        let restated: Vec<u8> = sealed
            .iter()
            .flat_map(|s| &s.entry.events)
            .filter_map(|event| if let Event::Bind(bind) = event { Some(bind.aor_id.0[0]) } else { None })
            .collect();
        assert!(sealed[0].entry.is_checkpoint() && restated.len() == 4, "{restated:?}");
        let once: BTreeSet<u8> = restated.into_iter().collect();
        assert_eq!(once, [2, 3, 4, 5].into());
        tokens.extend(sealed.iter().map(|s| s.token));
        for token in tokens {
            assert_eq!(bound(&log, &dir), [2, 3, 4, 5], "before, between and after");
            durable(&mut log, now, token, &mut dir);
        }
        assert_eq!(bound(&log, &dir), [2, 3, 4, 5]);
        assert_eq!((dir.own_len(), log.unsaid.len(), log.by_word.len()), (4, 0, 0));
        let live: BTreeSet<u8> = dir.own(now.wall).map(|bind| bind.aor_id.0[0]).collect();
        assert_eq!(live, [2, 3, 4, 5].into());
        assert!((2..=5).all(|n| dir.holds((Hash([n; 32]), Hash([n; 32]), me))));
    }

    /// LOG-5.
    #[test]
    fn a_life_opens_with_a_checkpoint_and_says_young_revocations_again() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let mut now = Now { mono: Instant::now(), wall: Timestamp(10_000_000) };
        let mut log = AuthorLog::new(key.clone(), 7, now);
        let dir = Directory::default();
        log.open(now, &dir);
        now.mono += BATCH;
        let first = log.seal_due(now, &dir);
        assert!(first[0].entry.is_checkpoint(), "even where nothing lives");
        let mut log = AuthorLog::new(key, 8, now);
        let young = Revoke { aor_id: Hash([1; 32]), before: now.wall };
        let old = Revoke { aor_id: Hash([2; 32]), before: now.wall.minus(Duration::from_secs(2 * 3600)) };
        log.recall(&young);
        log.recall(&old);
        assert!(log.append(now, bind(1), &dir));
        log.open(now, &dir);
        now.mono += BATCH;
        let events = log.seal_due(now, &dir)[0].entry.events.clone();
        assert!(
            matches!(&events[..], [Event::Checkpoint(c), Event::Bind(_), Event::Revoke(r)] if c.count == 1 && *r == young)
        );
    }

    /// LOG-8.
    #[test]
    fn a_revocation_is_said_again_at_a_checkpoint_as_long_as_it_matters() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let mut now = Now { mono: Instant::now(), wall: Timestamp(1_000) };
        let mut log = AuthorLog::new(key, 7, now);
        let mut dir = Directory::default();
        let revoke = |n: u8, before: Timestamp| Event::Revoke(Revoke { aor_id: Hash([n; 32]), before });
        assert!(log.append(now, revoke(1, now.wall), &dir));
        let mut checkpoint = |minutes: u64| {
            let step = Duration::from_secs(60 * minutes);
            now = Now { mono: now.mono + step, wall: now.wall.plus(step) };
            let sealed = log.seal_due(now, &dir);
            sealed.iter().for_each(|s| drop(durable(&mut log, now, s.token, &mut dir)));
            sealed.iter().flat_map(|s| s.entry.events.clone()).collect::<Vec<_>>()
        };
        assert_eq!(checkpoint(1), [revoke(1, Timestamp(1_000))]);
        let hourly = checkpoint(59);
        assert!(matches!(hourly[0], Event::Checkpoint(Checkpoint { count: 0, .. })));
        assert_eq!(hourly[1..], [revoke(1, Timestamp(1_000))]);
        assert_eq!(checkpoint(60).len(), 1, "no grant from before it can live now");
    }

    #[test]
    fn a_clock_that_went_back_does_not_lower_the_incarnation() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let now = Now { mono: Instant::now(), wall: Timestamp(1_000) };
        let mut log = AuthorLog::new(key, 7, now);
        let earlier = Incarnation { started: Timestamp(5_000), random: 9 };
        log.outlive(earlier);
        assert!(log.incarnation() > earlier);
    }
}
