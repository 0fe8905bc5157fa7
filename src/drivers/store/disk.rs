//! The streams on disk. The loop itself writes what a turn has to say, one write(2) a stream, into the kernel's cache: that
//! outlives the process, costs a few microseconds and no hop between threads. What takes milliseconds is another thread's: it
//! syncs by group commit, one fdatasync for everything that was written before it, and it rewrites.
//!
//! An append without `sync` is done when [`Disk::append_all`] returns, and synced within [`SYNC_WITHIN`]. An append with `sync`
//! is acknowledged after fdatasync ([`Acks`]). While a stream is rewritten nothing is appended to it: what comes waits with
//! its sender. After the first error nothing is acknowledged any more, and the peer must stop.
//!
//! The thread never waits for its reader: at most [`QUEUE_MAX`] appends wait for a sync, and the way back has room for all.

use crate::peer::output::Stream;
use dots_wire::disk::{DiskError, Position, Recovered, SegmentStore};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Appends that wait for a sync.
pub const QUEUE_MAX: usize = 16_384;
/// Jobs in one group commit.
const BATCH_MAX: usize = 4_096;
/// What was acknowledged unsynced is on the platter this soon; half of the promised 100 ms, so that the sync itself
/// has the other half.
const SYNC_WITHIN: Duration = Duration::from_millis(50);

/// One record for a stream. The token comes back in the acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub token: u64,
    pub stream: Stream,
    pub record: Vec<u8>,
    pub sync: bool,
}

/// What the thread is asked for, in order. All of it is written already.
enum Job {
    /// Sync these streams, then say that these appends are done.
    Sync(BTreeSet<Stream>, Vec<u64>),
    /// Something was written and nobody waits for its sync.
    Dirty(Stream),
    /// These records instead of all that the stream holds.
    Rewrite(Stream, Vec<Vec<u8>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// These are synced, in the order of the appends.
    Done { tokens: Vec<u64> },
    /// A stream takes appends again.
    Rewritten,
    /// Nothing more will be written.
    Failed(String),
}

/// The streams before the writer starts: for recovery.
pub struct Stores {
    stores: BTreeMap<Stream, SegmentStore>,
    found: BTreeMap<Stream, Recovered>,
}

impl Stores {
    /// Opens every stream but the accounts (those are the [`AccountStore`](super::AccountStore)'s) under `dir`.
    pub fn open(dir: &Path) -> Result<Stores, DiskError> {
        let mut stores = Stores { stores: BTreeMap::new(), found: BTreeMap::new() };
        for stream in Stream::ALL.into_iter().filter(|s| *s != Stream::Accounts) {
            let (store, found) = SegmentStore::open(dir.join(stream.name()))?;
            report(stream.name(), &found);
            stores.stores.insert(stream, store);
            stores.found.insert(stream, found);
        }
        Ok(stores)
    }

    /// What opening found, per stream.
    pub fn found(&self, stream: Stream) -> Option<&Recovered> {
        self.found.get(&stream)
    }

    /// All good records, in order.
    pub fn recover(&self, stream: Stream) -> Result<Vec<Vec<u8>>, DiskError> {
        let Some(store) = self.stores.get(&stream) else { return Ok(Vec::new()) };
        store.iter_from(Position::START).map(|r| r.map(|(_, record)| record)).collect()
    }

    /// Replaces a stream's records by these, atomically: what is still live.
    pub fn compact(&mut self, stream: Stream, records: &[Vec<u8>]) -> Result<(), DiskError> {
        match self.stores.get_mut(&stream) {
            Some(store) => store.rewrite(records.iter().map(Vec::as_slice)),
            None => Ok(()),
        }
    }

    /// Starts the thread.
    pub fn start(self) -> (Disk, Acks) {
        let (jobs, queue) = sync_channel(QUEUE_MAX + 2 * Stream::ALL.len());
        // Beside what waits for a sync: each stream's rewriting, and `Failed`.
        let (acks, acked) = mpsc::channel(QUEUE_MAX + Stream::ALL.len() + 1);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let held = |store| Held { store: Mutex::new(store), is_dirty: false.into(), is_closed: false.into() };
        let streams = self.stores.into_iter().map(|(stream, store)| (stream, held(store))).collect();
        let shared = Arc::new(Shared { streams, has_failed: false.into() });
        let syncer = Syncer { shared: shared.clone(), acks, dirty: BTreeSet::new(), dirty_since: None };
        let thread = std::thread::Builder::new().name("disk".into()).spawn(move || syncer.run(queue));
        let thread = thread.expect("a machine that cannot start one thread runs no peer");
        (
            Disk { shared, jobs: Some(jobs), outstanding: outstanding.clone(), thread: Some(thread) },
            Acks { acked, outstanding },
        )
    }
}

/// What the loop and the thread both reach.
struct Shared {
    streams: BTreeMap<Stream, Held>,
    has_failed: AtomicBool,
}

struct Held {
    /// Locked for a write, or to get at the open file; for long only while the stream is closed to appends.
    store: Mutex<SegmentStore>,
    /// Written since the last sync began, and the thread knows.
    is_dirty: AtomicBool,
    /// It is being rewritten.
    is_closed: AtomicBool,
}

impl Held {
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    fn store(&self) -> MutexGuard<'_, SegmentStore> {
        // Nothing panics under the lock, and a store that failed says so itself.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn report(stream: &str, found: &Recovered) {
    if found.torn > 0 {
        tracing::info!(stream, bytes = found.torn, "cut off a write that a crash tore");
    }
    for damage in &found.damaged {
        tracing::error!(stream, at = ?damage.at, bytes = damage.bytes, "damage on disk: skipped and kept");
    }
}

/// The way to the disk. Dropping it, or [`Disk::close`], syncs everything and ends the thread.
pub struct Disk {
    shared: Arc<Shared>,
    jobs: Option<SyncSender<Job>>,
    outstanding: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// DISK-7: writes from the front of `appends` what may be written now, and says which of it is done; the rest is told by
    /// [`Acks`]. What stays waits for acknowledgements, or for ever where the disk has failed.
    pub fn append_all(&self, appends: &mut VecDeque<Append>) -> Result<Vec<u64>, DiskError> {
        let Some(jobs) = self.jobs.as_ref().filter(|_| !self.shared.has_failed.load(Ordering::Acquire))
        else {
            return Ok(Vec::new());
        };
        let batch: Vec<Append> = appends.drain(..self.room_for(appends)).collect();
        let (mut done, mut waiting, mut to_sync) = (Vec::new(), Vec::new(), BTreeSet::new());
        for append in &batch {
            if append.sync {
                to_sync.insert(append.stream);
                waiting.push(append.token);
            } else {
                done.push(append.token);
            }
        }
        for (stream, held) in &self.shared.streams {
            let mut records = batch.iter().filter(|a| a.stream == *stream).map(|a| &a.record[..]).peekable();
            if records.peek().is_none() {
                continue;
            }
            if let Err(error) = held.store().append_all(records) {
                self.shared.has_failed.store(true, Ordering::Release);
                return Err(error);
            }
            // Written first, then said: a sync that begins after the thread took the mark covers it.
            if !to_sync.contains(stream) && !held.is_dirty.swap(true, Ordering::AcqRel) {
                self.tell(jobs, Job::Dirty(*stream));
            }
        }
        if !waiting.is_empty() {
            // Only this side adds, so the room cannot have become less.
            self.outstanding.fetch_add(waiting.len(), Ordering::AcqRel);
            self.tell(jobs, Job::Sync(to_sync, waiting));
        }
        Ok(done)
    }

    /// How many of these go now, in their order.
    fn room_for(&self, appends: &VecDeque<Append>) -> usize {
        let mut room = QUEUE_MAX.saturating_sub(self.outstanding.load(Ordering::Acquire));
        let mut may_go = |append: &&Append| {
            let is_closed = self.shared.streams.get(&append.stream).is_some_and(Held::is_closed);
            let has_room = !append.sync || room > 0;
            room = room.saturating_sub(usize::from(append.sync));
            has_room && !is_closed
        };
        appends.iter().take_while(|append| may_go(append)).count()
    }

    /// Replaces a stream's records after everything appended so far. Never waits; `false`: not now.
    pub fn rewrite(&self, stream: Stream, records: Vec<Vec<u8>>) -> bool {
        let (Some(jobs), Some(held)) = (&self.jobs, self.shared.streams.get(&stream)) else { return false };
        if held.is_closed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.tell(jobs, Job::Rewrite(stream, records));
        true
    }

    /// The queue has room for each append that waits, and two jobs of each stream. It is gone only where the disk failed.
    fn tell(&self, jobs: &SyncSender<Job>, job: Job) {
        let told = jobs.try_send(job);
        debug_assert!(!matches!(told, Err(TrySendError::Full(_))), "every job has its place in the queue");
    }

    /// Writes and syncs what is queued, then returns.
    pub fn close(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the disk thread panicked");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The way back.
pub struct Acks {
    acked: mpsc::Receiver<Ack>,
    outstanding: Arc<AtomicUsize>,
}

impl Acks {
    /// The next acknowledgement, in the order of the appends of one stream and one `sync`. `None`: the writer ended.
    /// Cancel-safe.
    pub async fn recv(&mut self) -> Option<Ack> {
        let ack = self.acked.recv().await;
        self.count(ack)
    }
    /// One that is there already.
    pub fn try_recv(&mut self) -> Option<Ack> {
        let ack = self.acked.try_recv().ok();
        self.count(ack)
    }
    fn count(&self, ack: Option<Ack>) -> Option<Ack> {
        if let Some(Ack::Done { tokens }) = &ack {
            self.outstanding.fetch_sub(tokens.len(), Ordering::AcqRel);
        }
        ack
    }
}

/// The thread.
struct Syncer {
    shared: Arc<Shared>,
    acks: mpsc::Sender<Ack>,
    /// Written and acknowledged, not yet synced.
    dirty: BTreeSet<Stream>,
    dirty_since: Option<Instant>,
}

impl Syncer {
    /// `queue` is dropped before `self`, so whoever sees the acknowledgements end can ask for no more.
    fn run(mut self, queue: Receiver<Job>) {
        loop {
            let first = match self.dirty_since {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => queue.recv_timeout(SYNC_WITHIN.saturating_sub(since.elapsed())),
            };
            let done = match first {
                Ok(first) => {
                    let more = std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH_MAX - 1);
                    let batch: Vec<Job> = std::iter::once(first).chain(more).collect();
                    self.work(batch)
                }
                Err(RecvTimeoutError::Timeout) => self.sync_dirty(),
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(error) = self.sync_dirty() {
                        self.fail(&error);
                    }
                    return;
                }
            };
            let late = self.dirty_since.is_some_and(|since| since.elapsed() >= SYNC_WITHIN);
            if let Err(error) = done.and_then(|()| if late { self.sync_dirty() } else { Ok(()) }) {
                return self.fail(&error);
            }
        }
    }

    /// One sync of each stream for all that wait, rewrites in their place between them.
    fn work(&mut self, batch: Vec<Job>) -> Result<(), DiskError> {
        let (mut streams, mut tokens) = (BTreeSet::new(), Vec::new());
        for job in batch {
            match job {
                Job::Sync(more, waiting) => {
                    streams.extend(more);
                    tokens.extend(waiting);
                }
                Job::Dirty(stream) => {
                    self.dirty.insert(stream);
                    self.dirty_since.get_or_insert_with(Instant::now);
                }
                Job::Rewrite(stream, records) => {
                    self.commit(&mut streams, &mut tokens)?;
                    self.rewrite(stream, &records)?;
                }
            }
        }
        self.commit(&mut streams, &mut tokens)
    }

    fn commit(&mut self, streams: &mut BTreeSet<Stream>, tokens: &mut Vec<u64>) -> Result<(), DiskError> {
        for stream in std::mem::take(streams) {
            self.sync(stream)?;
        }
        if !tokens.is_empty() {
            // The reader is gone only where the peer is stopping.
            let _ = self.acks.try_send(Ack::Done { tokens: std::mem::take(tokens) });
        }
        Ok(())
    }

    fn rewrite(&self, stream: Stream, records: &[Vec<u8>]) -> Result<(), DiskError> {
        let Some(held) = self.shared.streams.get(&stream) else { return Ok(()) };
        held.store().rewrite(records.iter().map(Vec::as_slice))?;
        held.is_closed.store(false, Ordering::Release);
        let _ = self.acks.try_send(Ack::Rewritten);
        Ok(())
    }

    fn sync_dirty(&mut self) -> Result<(), DiskError> {
        for stream in self.dirty.clone() {
            self.sync(stream)?;
        }
        Ok(())
    }

    /// What was written before this is durable after it. Appends go on meanwhile.
    fn sync(&mut self, stream: Stream) -> Result<(), DiskError> {
        self.dirty.remove(&stream);
        if self.dirty.is_empty() {
            self.dirty_since = None;
        }
        let Some(held) = self.shared.streams.get(&stream) else { return Ok(()) };
        held.is_dirty.store(false, Ordering::Release);
        let file = held.store().to_sync()?;
        let outcome = file.sync_data();
        held.store().synced(outcome)
    }

    /// DISK-8.
    fn fail(&self, error: &DiskError) {
        tracing::error!(%error, "the disk failed: nothing more is acknowledged");
        self.shared.has_failed.store(true, Ordering::Release);
        let _ = self.acks.try_send(Ack::Failed(error.to_string()));
    }
}
