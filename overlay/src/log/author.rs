//! Our own log: events of the last 20 ms become one signed entry, and no entry leaves before it is on disk.
//!
//! Restating: the peer publishes its live bindings anew at every start, and then [`AuthorLog::open`]s: the first entry of
//! an incarnation is a checkpoint that names how many follow, so that readers know at once what has gone. At each later
//! checkpoint this file says them again itself. So are revocations, as long as a grant from before them could live.

use crate::{
    directory::is_over,
    records::{Bind, Checkpoint, Entry, Event, Header, Incarnation, Revoke, entry},
};
use dots_wire::{Hash, Label20, Now, SecretKey, SharedBytes, Timestamp, encode};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// LOG-4: one signature for all events of this time.
pub const BATCH: Duration = Duration::from_millis(20);
/// Bytes of events per entry: the header, its signature and the CBOR around each event stay under `ENTRY_MAX`.
const BATCH_BYTES: usize = 40 * 1024;
const BATCH_EVENTS: usize = entry::EVENTS_MAX;
/// Events that wait for a slow disk.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Entries handed to the disk and not yet durable.
const UNWRITTEN_MAX: usize = 256;
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(3600);
pub const CHECKPOINT_ENTRIES: u64 = 10_000;
/// Also after this much beside what the last one said again, so that what others must keep of us stays bounded.
const CHECKPOINT_BYTES: usize = 2 * 1024 * 1024;
/// Revocations said again at a checkpoint; at the limit the oldest goes.
const REVOKES_MAX: usize = 10_000;

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
}

/// What a binding that is said again says beside its name.
struct Live {
    realm: Label20,
    until: Timestamp,
    /// Shared with the directory and the journal.
    grant: Option<SharedBytes>,
}

impl Live {
    /// About what its event takes, with its place in an entry.
    fn bytes(&self) -> usize {
        112 + self.grant.as_ref().map_or(0, |grant| grant.len())
    }
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
    /// By (aor_id, instance).
    live: BTreeMap<(Hash, Hash), Live>,
    /// What it takes to say these again.
    live_bytes: usize,
    revokes: BTreeMap<Hash, Timestamp>,
    since_entries: u64,
    since_bytes: usize,
    /// Of these, what the last checkpoint said again.
    restated_bytes: usize,
    checkpoint_at: Instant,
    unwritten: VecDeque<(u64, Arc<Entry>, bool)>,
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
            live: BTreeMap::new(),
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
    pub fn is_bound(&self, phone: &(Hash, Hash)) -> bool {
        self.live.contains_key(phone)
    }

    /// `false`: too long, or the disk is so far behind that no more can wait.
    pub fn append(&mut self, now: Now, event: Event) -> bool {
        let realm = event.realm();
        self.append_of(now, realm, event)
    }

    /// The same of an event that does not say itself of which realm it is.
    pub fn append_of(&mut self, now: Now, mut realm: Label20, event: Event) -> bool {
        let bytes = encode(&event);
        if bytes.len() > entry::EVENT_MAX || self.pending_bytes + bytes.len() > PENDING_BYTES_MAX {
            return false;
        }
        match event {
            Event::Bind(bind) => {
                let Bind { aor_id, realm, instance, until, grant } = bind;
                let live = Live { realm, until, grant };
                self.live_bytes += live.bytes();
                let before = self.live.insert((aor_id, instance), live);
                self.live_bytes -= before.map_or(0, |live| live.bytes());
            }
            Event::Unbind(unbind) => {
                // With the word that it takes back, so that they stay in order and go together.
                let bound = self.live.remove(&(unbind.aor_id, unbind.instance));
                self.live_bytes -= bound.as_ref().map_or(0, Live::bytes);
                realm = bound.map_or(realm, |live| live.realm);
            }
            Event::Revoke(revoke) => self.recall(&revoke),
            _ => {}
        }
        self.push(realm, bytes, false);
        self.flush_at.get_or_insert(now.mono + BATCH);
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

    fn push(&mut self, realm: Label20, bytes: Vec<u8>, is_checkpoint: bool) {
        self.pending_bytes += bytes.len();
        self.pending.push_back(Pending { realm, bytes, is_checkpoint });
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let flush = self.flush_at.filter(|_| self.unwritten.len() < UNWRITTEN_MAX);
        let restated = !self.live.is_empty() || !self.revokes.is_empty();
        flush.into_iter().chain(restated.then_some(self.checkpoint_at)).min()
    }

    /// Entries that are due. Call at [`AuthorLog::poll_timeout`] and after [`AuthorLog::durable`].
    pub fn seal_due(&mut self, now: Now) -> Vec<ToWrite> {
        self.checkpoint_if_due(now);
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
        let (mut bytes, mut of_events) = (0, 0);
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
        let entry = Arc::new(Entry::seal_grouped(&self.key, header, events));
        debug_assert!(entry.bytes.len() <= entry::ENTRY_MAX, "an entry of ours fits");
        self.seq += 1;
        self.prev = entry.hash;
        self.since_entries += 1;
        self.since_bytes += entry.bytes.len();
        self.next_token += 1;
        self.unwritten.push_back((self.next_token, entry.clone(), false));
        ToWrite { token: self.next_token, entry }
    }

    /// LOG-5: all live bindings of this life's start were appended. Its first entry says so, even where there are none:
    /// else a removal that the last life wrote down but did not publish would never be heard of.
    pub fn open(&mut self, now: Now) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.checkpoint(now);
    }

    /// LOG-8: the live bindings as a root, then each of them again, then what is revoked.
    fn checkpoint_if_due(&mut self, now: Now) {
        let due = now.mono >= self.checkpoint_at
            || self.since_entries >= CHECKPOINT_ENTRIES
            || self.since_bytes >= (self.restated_bytes + CHECKPOINT_BYTES).max(2 * self.live_bytes);
        if due {
            self.checkpoint(now);
        }
    }

    fn checkpoint(&mut self, now: Now) {
        self.checkpoint_at = now.mono + CHECKPOINT_EVERY;
        (self.since_entries, self.since_bytes) = (0, 0);
        self.live.retain(|_, b| b.until > now.wall);
        self.live_bytes = self.live.values().map(Live::bytes).sum();
        let bind = |((aor_id, instance), live): (&(Hash, Hash), &Live)| {
            let Live { realm, until, grant } = live;
            let (aor_id, instance, grant) = (*aor_id, *instance, grant.clone());
            let bind = Bind { aor_id, realm: *realm, instance, until: *until, grant };
            (*realm, encode(&Event::Bind(bind)))
        };
        let restated: Vec<(Label20, Vec<u8>)> = self.live.iter().map(bind).collect();
        let root = entry::root_by_realm(restated.iter().cloned());
        let count = u32::try_from(restated.len()).expect("fewer phones than 2^32 are bound here");
        let checkpoint = Checkpoint { root, count };
        self.push(entry::NO_REALM, encode(&Event::Checkpoint(checkpoint)), true);
        self.revokes.retain(|_, before| !is_over(*before, now.wall));
        let revokes = self.revokes.iter().map(|(aor_id, before)| (*aor_id, *before));
        let revokes = revokes
            .map(|(aor_id, before)| (entry::NO_REALM, encode(&Event::Revoke(Revoke { aor_id, before }))));
        let restated: Vec<(Label20, Vec<u8>)> = restated.into_iter().chain(revokes).collect();
        self.restated_bytes = restated.iter().map(|(_, bytes)| bytes.len() + 3).sum();
        for (realm, bytes) in restated {
            self.push(realm, bytes, false);
        }
        self.flush_at = Some(now.mono);
    }

    /// Handed out and not on disk yet, in order.
    pub fn unwritten(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.unwritten.iter().map(|(_, entry, _)| entry)
    }

    /// The entry of `token` is on disk. Gives back what may leave now, in order.
    pub fn durable(&mut self, token: u64) -> Vec<Arc<Entry>> {
        for (t, _, done) in &mut self.unwritten {
            *done |= *t == token;
        }
        let mut ready = Vec::new();
        while self.unwritten.front().is_some_and(|(_, _, done)| *done) {
            ready.extend(self.unwritten.pop_front().map(|(_, e, _)| e));
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(n: u8) -> Event {
        Event::Bind(Bind {
            aor_id: Hash([n; 32]),
            realm: dots_wire::Label20([0; 20]),
            instance: Hash([n; 32]),
            until: Timestamp(u64::MAX),
            grant: None,
        })
    }

    /// LOG-4.
    #[test]
    fn events_of_one_moment_share_a_signature_and_entries_leave_in_order() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let mut now = Now { mono: Instant::now(), wall: Timestamp(1_000) };
        let mut log = AuthorLog::new(key, 7, now);
        assert!(log.append(now, bind(1)) && log.append(now, bind(2)));
        assert!(log.seal_due(now).is_empty());
        now.mono += BATCH;
        let first = log.seal_due(now);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].entry.events.len(), 2);
        assert!(log.append(now, bind(3)));
        now.mono += BATCH;
        let second = log.seal_due(now);
        assert_eq!(second[0].entry.header.prev, first[0].entry.hash);
        assert!(log.durable(second[0].token).is_empty(), "the first is not on disk yet");
        let ready: Vec<u64> = log.durable(first[0].token).iter().map(|e| e.header.seq).collect();
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
        for i in 0..2_000u32 {
            let Event::Bind(mut b) = bind(0) else { return };
            b.aor_id.0[..4].copy_from_slice(&i.to_be_bytes());
            assert!(log.append(now, Event::Bind(b)));
        }
        now.mono += BATCH;
        let sealed = log.seal_due(now);
        assert!(sealed.len() > 1);
        assert!(sealed.iter().all(|s| Entry::read(&s.entry.bytes).is_some()));
        for s in &sealed {
            log.durable(s.token);
        }
        now.mono += CHECKPOINT_EVERY;
        let sealed = log.seal_due(now);
        assert!(sealed[0].entry.is_checkpoint());
        assert_eq!(sealed.iter().map(|s| s.entry.events.len()).sum::<usize>(), 2_001);
    }

    /// LOG-5.
    #[test]
    fn a_life_opens_with_a_checkpoint_and_says_young_revocations_again() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let mut now = Now { mono: Instant::now(), wall: Timestamp(10_000_000) };
        let mut log = AuthorLog::new(key.clone(), 7, now);
        log.open(now);
        now.mono += BATCH;
        let first = log.seal_due(now);
        assert!(first[0].entry.is_checkpoint(), "even where nothing lives");
        let mut log = AuthorLog::new(key, 8, now);
        let young = Revoke { aor_id: Hash([1; 32]), before: now.wall };
        let old = Revoke { aor_id: Hash([2; 32]), before: now.wall.minus(Duration::from_secs(2 * 3600)) };
        log.recall(&young);
        log.recall(&old);
        assert!(log.append(now, bind(1)));
        log.open(now);
        now.mono += BATCH;
        let events = log.seal_due(now)[0].entry.events.clone();
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
        let revoke = |n: u8, before: Timestamp| Event::Revoke(Revoke { aor_id: Hash([n; 32]), before });
        assert!(log.append(now, revoke(1, now.wall)));
        let mut checkpoint = |minutes: u64| {
            let step = Duration::from_secs(60 * minutes);
            now = Now { mono: now.mono + step, wall: now.wall.plus(step) };
            let sealed = log.seal_due(now);
            sealed.iter().for_each(|s| drop(log.durable(s.token)));
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
