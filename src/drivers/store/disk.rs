//! The writer thread. It owns the segment stores, takes appends from a bounded queue, and syncs by group commit: one
//! fdatasync for everything that waited, however much it was.
//!
//! An append without `sync` is acknowledged after write(2), which survives `kill -9`, and synced within
//! [`SYNC_WITHIN`]. An append with `sync` is acknowledged after fdatasync. After the first error nothing is
//! acknowledged any more: [`Ack::Failed`] comes once, and the peer must stop.
//!
//! The thread never waits for its reader: at most [`QUEUE_MAX`] appends are outstanding, from [`Disk::append_all`] to
//! [`Acks::recv`], and the way back has room for all of them.

use crate::peer::output::Stream;
use dots_wire::disk::{DiskError, Position, Recovered, SegmentStore};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Appends between asking and acknowledgement.
pub const QUEUE_MAX: usize = 16_384;
/// Turns of the loop in one group commit.
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

/// What the writer is asked for, in order.
enum Job {
    /// One turn's records, in order.
    Append(Vec<Append>),
    /// These records instead of all that the stream holds.
    Rewrite(Stream, Vec<Vec<u8>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// These are written, and synced where that was asked; in the order of the appends.
    Done { tokens: Vec<u64> },
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

    /// Starts the writer.
    pub fn start(self) -> (Disk, Acks) {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        // One more than can be outstanding: `Failed`.
        let (acks, acked) = mpsc::channel(QUEUE_MAX + 1);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let writer = Writer { stores: self.stores, acks, dirty: BTreeSet::new(), dirty_since: None };
        let thread = std::thread::Builder::new().name("disk".into()).spawn(move || writer.run(queue));
        let thread = thread.expect("a machine that cannot start one thread runs no peer");
        (
            Disk { jobs: Some(jobs), outstanding: outstanding.clone(), thread: Some(thread) },
            Acks { acked, outstanding },
        )
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

/// The way to the writer. Dropping it, or [`Disk::close`], syncs everything and ends the thread.
pub struct Disk {
    jobs: Option<SyncSender<Job>>,
    outstanding: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Takes from the front of `appends` what there is room for, all of it in one message to the writer. Never waits.
    /// What stays waits for acknowledgements, or for ever where the writer has failed.
    pub fn append_all(&self, appends: &mut VecDeque<Append>) {
        let Some(jobs) = &self.jobs else { return };
        let outstanding = self.outstanding.load(Ordering::Acquire);
        let room = QUEUE_MAX.saturating_sub(outstanding).min(appends.len());
        if room == 0 {
            return;
        }
        let batch: Vec<Append> = appends.drain(..room).collect();
        // Only this side adds, so the room cannot have become less.
        self.outstanding.fetch_add(batch.len(), Ordering::AcqRel);
        let Err(refused) = jobs.try_send(Job::Append(batch)) else { return };
        if let TrySendError::Full(Job::Append(batch)) | TrySendError::Disconnected(Job::Append(batch)) =
            refused
        {
            self.outstanding.fetch_sub(batch.len(), Ordering::AcqRel);
            for append in batch.into_iter().rev() {
                appends.push_front(append);
            }
        }
    }

    /// Replaces a stream's records after everything appended so far. Never waits; `false`: not now.
    pub fn rewrite(&self, stream: Stream, records: Vec<Vec<u8>>) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Job::Rewrite(stream, records)).is_ok())
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

struct Writer {
    stores: BTreeMap<Stream, SegmentStore>,
    acks: mpsc::Sender<Ack>,
    /// Written and acknowledged, not yet synced.
    dirty: BTreeSet<Stream>,
    dirty_since: Option<Instant>,
}

impl Writer {
    /// `queue` is dropped before `self`, so whoever sees the acknowledgements end can append no more.
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

    /// Appends together, rewrites in their place between them.
    fn work(&mut self, batch: Vec<Job>) -> Result<(), DiskError> {
        let mut appends = Vec::with_capacity(batch.len());
        for job in batch {
            match job {
                Job::Append(batch) => appends.extend(batch),
                Job::Rewrite(stream, records) => {
                    self.commit(&std::mem::take(&mut appends))?;
                    if let Some(store) = self.stores.get_mut(&stream) {
                        store.rewrite(records.iter().map(Vec::as_slice))?;
                    }
                }
            }
        }
        self.commit(&appends)
    }

    fn fail(&self, error: &DiskError) {
        tracing::error!(%error, "the disk failed: nothing more is acknowledged");
        let _ = self.acks.try_send(Ack::Failed(error.to_string()));
    }

    /// Writes all, acknowledges what need not wait, syncs each stream that somebody waits for, acknowledges these.
    fn commit(&mut self, batch: &[Append]) -> Result<(), DiskError> {
        let mut streams: BTreeMap<Stream, Vec<&Append>> = BTreeMap::new();
        for append in batch {
            streams.entry(append.stream).or_default().push(append);
        }
        for (stream, appends) in &streams {
            if let Some(store) = self.stores.get_mut(stream) {
                store.append_all(appends.iter().map(|a| a.record.as_slice()))?;
            }
        }
        self.acknowledge(batch.iter().filter(|a| !a.sync));
        for (stream, appends) in &streams {
            if appends.iter().any(|a| a.sync) {
                if let Some(store) = self.stores.get_mut(stream) {
                    store.sync()?;
                }
                self.dirty.remove(stream);
            } else {
                self.dirty.insert(*stream);
            }
        }
        self.acknowledge(batch.iter().filter(|a| a.sync));
        self.dirty_since = match (self.dirty.is_empty(), self.dirty_since) {
            (true, _) => None,
            (false, None) => Some(Instant::now()),
            (false, since) => since,
        };
        Ok(())
    }

    fn acknowledge<'a>(&self, appends: impl Iterator<Item = &'a Append>) {
        let tokens: Vec<u64> = appends.map(|append| append.token).collect();
        if !tokens.is_empty() {
            // The reader is gone only where the peer is stopping.
            let _ = self.acks.try_send(Ack::Done { tokens });
        }
    }

    fn sync_dirty(&mut self) -> Result<(), DiskError> {
        for stream in std::mem::take(&mut self.dirty) {
            if let Some(store) = self.stores.get_mut(&stream) {
                store.sync()?;
            }
        }
        self.dirty_since = None;
        Ok(())
    }
}
