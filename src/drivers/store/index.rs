//! sled behind one narrow door: an index over a segment stream, from a key to the position of its newest record (DISK-12, DISK-13).
//!
//! sled is not the truth (its `flush` is no fsync on Linux, and a crash may take the last half second), so every batch
//! also writes the mark: the position up to which the stream is reflected, and how many keys live. At opening the mark
//! is compared with the stream's end: equal = use; behind = replay what is missing; ahead, missing, unreadable or of
//! another count = rebuild from the first record. sled 0.34 may panic on a damaged file; that is caught and counts
//! as unreadable.

use dots_wire::disk::{DiskError, Position, SegmentStore};
use sled::{Batch, Db};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

/// What a record does to the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Put(Vec<u8>),
    Remove(Vec<u8>),
    Nothing,
}

/// How the index was brought into agreement with its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Used,
    Replayed { records: u64 },
    Rebuilt { reason: &'static str },
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("index: {0}")]
    Sled(String),
}

pub struct Index {
    db: Db,
    /// Live keys.
    count: u64,
}

const MARK: &[u8] = b"mark";
/// Keys of the index proper begin with this, so that none is the mark.
const KEY: u8 = b'k';
/// Changes in one sled batch while replaying.
const BATCH: usize = 4_096;
pub(crate) const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// sled's file lock may outlive the handle that held it for a moment.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(20);

impl Index {
    /// Opens the index in `dir` and makes it agree with `store`.
    pub fn open(
        dir: &Path,
        store: &SegmentStore,
        effect: impl Fn(&[u8]) -> Effect,
    ) -> Result<(Index, Opened), IndexError> {
        let reason = match read(dir, store) {
            Ok((mut index, from)) if from < store.end() => match index.replay(store, from, &effect) {
                Ok(0) => return Ok((index, Opened::Used)),
                Ok(records) => return Ok((index, Opened::Replayed { records })),
                Err(IndexError::Disk(error)) => return Err(error.into()),
                Err(IndexError::Sled(_)) => "unwritable",
            },
            Ok((index, _)) => return Ok((index, Opened::Used)),
            Err(reason) => reason,
        };
        let mut index = fresh(dir)?;
        index.replay(store, Position::START, &effect)?;
        Ok((index, Opened::Rebuilt { reason }))
    }

    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn find(&self, key: &[u8]) -> Result<Option<Position>, IndexError> {
        let found = guarded(|| self.db.get(keyed(key)))?;
        match found {
            None => Ok(None),
            Some(value) => Position::from_bytes(&value).map(Some).ok_or_else(|| sled_error("a bad position")),
        }
    }

    /// Up to `limit` keys behind `after`, in order, with their positions.
    pub fn range(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Position)>, IndexError> {
        let mut start = keyed(after.unwrap_or_default());
        if after.is_some() {
            start.push(0);
        }
        guarded(|| {
            let mut out = Vec::new();
            for item in self.db.range(start..vec![KEY + 1]).take(limit) {
                let (key, value) = item?;
                if let (Some(key), Some(at)) = (key.get(1..), Position::from_bytes(&value)) {
                    out.push((key.to_vec(), at));
                }
            }
            Ok(out)
        })
    }

    /// Reflects records that were just appended; `end` is the stream's end behind them.
    pub fn apply(&mut self, changes: Vec<(Effect, Position)>, end: Position) -> Result<(), IndexError> {
        let mut last: BTreeMap<Vec<u8>, Option<Position>> = BTreeMap::new();
        for (effect, at) in changes {
            match effect {
                Effect::Put(key) => last.insert(key, Some(at)),
                Effect::Remove(key) => last.insert(key, None),
                Effect::Nothing => None,
            };
        }
        let mut batch = Batch::default();
        let mut count = self.count;
        for (key, at) in last {
            let existed = self.find(&key)?.is_some();
            match at {
                Some(at) => batch.insert(keyed(&key), &at.to_bytes()[..]),
                None => batch.remove(keyed(&key)),
            }
            count = count + u64::from(at.is_some() && !existed) - u64::from(at.is_none() && existed);
        }
        batch.insert(MARK, mark(end, count));
        guarded(|| self.db.apply_batch(batch))?;
        self.count = count;
        Ok(())
    }

    fn replay(
        &mut self,
        store: &SegmentStore,
        from: Position,
        effect: &impl Fn(&[u8]) -> Effect,
    ) -> Result<u64, IndexError> {
        let mut changes = Vec::with_capacity(BATCH);
        let mut records = 0;
        for item in store.iter_from(from) {
            let (at, record) = item?;
            if changes.len() >= BATCH {
                // The mark may stand at the beginning of a record that is not in yet.
                self.apply(std::mem::take(&mut changes), at)?;
            }
            changes.push((effect(&record), at));
            records += 1;
        }
        self.apply(changes, store.end())?;
        Ok(records)
    }
}

/// The index as it is on disk, and where its stream must be replayed from; or why it cannot be used.
fn read(dir: &Path, store: &SegmentStore) -> Result<(Index, Position), &'static str> {
    if !dir.is_dir() {
        return Err("missing");
    }
    let looked = guarded(|| {
        let db = open_sled(dir)?;
        let mark = db.get(MARK)?;
        let mut count = 0;
        // Walks every page: damage is found now, not when somebody calls.
        for item in db.range(vec![KEY]..vec![KEY + 1]) {
            item?;
            count += 1;
        }
        Ok((db, mark, count))
    });
    let (db, mark, counted) = looked.map_err(|_| "unreadable")?;
    let (at, count) = mark.as_deref().and_then(read_mark).ok_or("without a mark")?;
    match () {
        () if at > store.end() => Err("ahead"),
        () if at < store.start() => Err("of another stream"),
        () if count != counted => Err("of another count"),
        () => Ok((Index { db, count }, at)),
    }
}

fn fresh(dir: &Path) -> Result<Index, IndexError> {
    let io = |e: io::Error| sled_error(&format!("{}: {e}", dir.display()));
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(io)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    Ok(Index { db: guarded(|| open_sled(dir))?, count: 0 })
}

fn open_sled(dir: &Path) -> sled::Result<Db> {
    let config = sled::Config::new().path(PathBuf::from(dir)).cache_capacity(CACHE_BYTES);
    let mut tries = 0;
    loop {
        match config.open() {
            Err(sled::Error::Io(e)) if tries < LOCK_TRIES && e.to_string().contains("lock") => {
                tries += 1;
                std::thread::sleep(LOCK_WAIT);
            }
            other => return other,
        }
    }
}

/// sled 0.34 panics on some damage; to us it is one more way to be unreadable.
fn guarded<T>(f: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(sled_error(&error.to_string())),
        Err(_) => Err(sled_error("sled panicked")),
    }
}

fn sled_error(text: &str) -> IndexError {
    IndexError::Sled(text.to_owned())
}

fn keyed(key: &[u8]) -> Vec<u8> {
    [&[KEY][..], key].concat()
}

fn mark(at: Position, count: u64) -> Vec<u8> {
    [&at.to_bytes()[..], &count.to_be_bytes()].concat()
}

fn read_mark(bytes: &[u8]) -> Option<(Position, u64)> {
    let (at, count) = bytes.split_at_checked(12)?;
    Some((Position::from_bytes(at)?, u64::from_be_bytes(count.try_into().ok()?)))
}
