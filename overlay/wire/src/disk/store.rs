//! One stream: the open segment and what is known of the others.

use super::{
    DiskError, Iter, Position, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX,
    record::{self, FRAME, HEADER, Item},
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes gathered before one write(2) of many records.
const WRITE_BYTES: usize = 1024 * 1024;

/// What [`SegmentStore::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub records: u64,
    /// Bytes of a torn write that were cut off.
    pub torn: u64,
    /// Bytes in the middle that are no record. They are skipped and kept.
    pub damaged: Vec<Damage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub at: Position,
    pub bytes: u64,
}

/// An append-only stream of records. One writer; the data directory's lock sees to that.
#[derive(Debug)]
pub struct SegmentStore {
    dir: PathBuf,
    /// Numbers of all segments, ascending; the last one is open.
    segments: Vec<u32>,
    file: Arc<File>,
    end: u64,
    segment_max: u64,
    poisoned: bool,
}

impl SegmentStore {
    /// Opens or makes the stream in `dir`.
    pub fn open(dir: impl Into<PathBuf>) -> Result<(SegmentStore, Recovered), DiskError> {
        SegmentStore::open_with(dir.into(), SEGMENT_BYTES_MAX)
    }

    pub(super) fn open_with(dir: PathBuf, segment_max: u64) -> Result<(SegmentStore, Recovered), DiskError> {
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(DiskError::io(&dir))?;
            dir.parent().map_or(Ok(()), sync_dir)?;
        }
        let mut segments = drop_void(&dir, list(&dir)?)?;
        let mut found = Recovered::default();
        let mut end = 0;
        for (i, number) in segments.iter().enumerate() {
            end = scan(&dir, *number, i + 1 == segments.len(), &mut found)?;
        }
        let file = Arc::new(match segments.last() {
            Some(last) => open_rw(&path(&dir, *last))?,
            None => {
                segments.push(1);
                end = HEADER as u64;
                create(&dir, 1)?
            }
        });
        Ok((SegmentStore { dir, segments, file, end, segment_max, poisoned: false }, found))
    }

    /// Where the next record will begin (unless it opens a new segment).
    pub fn end(&self) -> Position {
        Position { segment: self.number(), offset: self.end }
    }
    /// Before the first record that still exists.
    pub fn start(&self) -> Position {
        Position { segment: self.segments.first().copied().unwrap_or(0), offset: HEADER as u64 }
    }

    /// Written when this returns, durable after the next [`SegmentStore::sync`].
    pub fn append(&mut self, record: &[u8]) -> Result<Position, DiskError> {
        let positions = self.append_all([record])?;
        Ok(positions.first().copied().expect("one record has one position"))
    }

    /// Many records with few writes. On an error some of them may be written.
    pub fn append_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Position>, DiskError> {
        self.healthy()?;
        let mut positions = Vec::new();
        let mut out = Vec::new();
        for record in records {
            if record.len() > RECORD_BYTES_MAX {
                return Err(DiskError::TooLong(record.len()));
            }
            let size = (FRAME + record.len()) as u64;
            let used = self.end + out.len() as u64;
            if used + size > self.segment_max && used > HEADER as u64 {
                self.write(&mut out)?;
                self.roll()?;
            }
            let at = Position { segment: self.number(), offset: self.end + out.len() as u64 };
            record::push(&mut out, at.segment, at.offset, record);
            positions.push(at);
            if out.len() >= WRITE_BYTES {
                self.write(&mut out)?;
            }
        }
        self.write(&mut out)?;
        Ok(positions)
    }

    /// fdatasync: everything appended survives power loss.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        self.healthy()?;
        self.synced(self.file.sync_data())
    }

    /// For another thread's fdatasync, while appends go on: the segment that is open now. Those before it are durable. What
    /// became of it is told by [`SegmentStore::synced`].
    pub fn to_sync(&self) -> Result<Arc<File>, DiskError> {
        self.healthy()?;
        Ok(self.file.clone())
    }

    /// After a failed fsync the kernel may have dropped the pages: a second one proves nothing.
    pub fn synced(&mut self, outcome: std::io::Result<()>) -> Result<(), DiskError> {
        outcome.map_err(|source| {
            self.poisoned = true;
            DiskError::Io { path: self.path(), source }
        })
    }

    /// The record at a position that `append` or an iterator gave.
    pub fn read(&self, at: Position) -> Result<Vec<u8>, DiskError> {
        let absent = || DiskError::NoRecord(at);
        if !self.segments.contains(&at.segment) {
            return Err(absent());
        }
        let path = path(&self.dir, at.segment);
        let other;
        let file = if at.segment == self.number() {
            &*self.file
        } else {
            other = File::open(&path).map_err(DiskError::io(&path))?;
            &other
        };
        let mut bytes = vec![0; FRAME];
        file.read_exact_at(&mut bytes, at.offset).map_err(|_| absent())?;
        let len = bytes.iter().take(4).rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
        if len > RECORD_BYTES_MAX {
            return Err(absent());
        }
        bytes.resize(FRAME + len, 0);
        file.read_exact_at(&mut bytes, at.offset).map_err(|_| absent())?;
        record::check(at.segment, &bytes, at.offset, 0).ok_or_else(absent)?;
        bytes.drain(..FRAME);
        Ok(bytes)
    }

    /// All good records from `at` on, with their positions. Reads a segment at a time.
    pub fn iter_from(&self, at: Position) -> Iter {
        Iter::new(self.dir.clone(), self.segments.clone(), at, self.end())
    }

    /// DISK-6: replaces all records by these, atomically and durably.
    pub fn rewrite<'a>(&mut self, records: impl IntoIterator<Item = &'a [u8]>) -> Result<(), DiskError> {
        self.healthy()?;
        let number = self.number() + 1;
        let mut out = record::header(number, true).to_vec();
        let mut end = 0;
        let tmp = self.dir.join(TMP);
        let mut file = new_file(&tmp)?;
        for record in records {
            if record.len() > RECORD_BYTES_MAX {
                return Err(DiskError::TooLong(record.len()));
            }
            let at = end + out.len() as u64;
            record::push(&mut out, number, at, record);
            if out.len() >= WRITE_BYTES {
                file.write_all(&out).map_err(DiskError::io(&tmp))?;
                end += out.len() as u64;
                out.clear();
            }
        }
        file.write_all(&out).map_err(DiskError::io(&tmp))?;
        end += out.len() as u64;
        file.sync_all().map_err(DiskError::io(&tmp))?;
        let to = path(&self.dir, number);
        fs::rename(&tmp, &to).map_err(DiskError::io(&to))?;
        sync_dir(&self.dir)?;
        self.file = Arc::new(open_rw(&to)?);
        self.end = end;
        self.segments.push(number);
        self.segments = drop_void(&self.dir, std::mem::take(&mut self.segments))?;
        Ok(())
    }

    fn number(&self) -> u32 {
        self.segments.last().copied().expect("an open store has a segment")
    }
    fn path(&self) -> PathBuf {
        path(&self.dir, self.number())
    }
    fn healthy(&self) -> Result<(), DiskError> {
        if self.poisoned { Err(DiskError::Poisoned(self.dir.clone())) } else { Ok(()) }
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), DiskError> {
        if let Err(source) = self.file.write_all_at(out, self.end) {
            // A full disk: take back what was half written, so that nothing later stands behind a torn record.
            self.poisoned = self.file.set_len(self.end).is_err();
            return Err(DiskError::Io { path: self.path(), source });
        }
        self.end += out.len() as u64;
        out.clear();
        Ok(())
    }

    /// DISK-4: the old segment is durable before the new one exists: only the newest can be torn.
    fn roll(&mut self) -> Result<(), DiskError> {
        self.sync()?;
        let number = self.number() + 1;
        self.file = Arc::new(create(&self.dir, number)?);
        self.end = HEADER as u64;
        self.segments.push(number);
        Ok(())
    }
}

const TMP: &str = "base.tmp";

pub(super) fn path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08}.seg"))
}

fn list(dir: &Path) -> Result<Vec<u32>, DiskError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(DiskError::io(dir))? {
        let entry = entry.map_err(DiskError::io(dir))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == TMP {
            fs::remove_file(entry.path()).map_err(DiskError::io(dir))?;
        } else if let Some(number) = name.strip_suffix(".seg").and_then(|n| n.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes the segments that a base behind them made void.
fn drop_void(dir: &Path, segments: Vec<u32>) -> Result<Vec<u32>, DiskError> {
    let mut base = None;
    for number in &segments {
        let path = path(dir, *number);
        let mut bytes = [0; HEADER];
        let mut file = File::open(&path).map_err(DiskError::io(&path))?;
        if file.read_exact(&mut bytes).is_ok() && record::read_header(*number, &bytes) == Some(true) {
            base = Some(*number);
        }
    }
    let (void, kept): (Vec<u32>, Vec<u32>) = segments.into_iter().partition(|n| Some(*n) < base);
    for number in void {
        let path = path(dir, number);
        fs::remove_file(&path).map_err(DiskError::io(&path))?;
    }
    Ok(kept)
}

/// DISK-5: checks one segment; cuts a torn end off where it is the newest. Answers its end.
fn scan(dir: &Path, number: u32, newest: bool, found: &mut Recovered) -> Result<u64, DiskError> {
    let path = path(dir, number);
    let bytes = fs::read(&path).map_err(DiskError::io(&path))?;
    if newest && bytes.len() < HEADER {
        // The crash came between the file's creation and its header.
        let file = open_rw(&path)?;
        file.set_len(0).map_err(DiskError::io(&path))?;
        file.write_all_at(&record::header(number, false), 0).map_err(DiskError::io(&path))?;
        file.sync_all().map_err(DiskError::io(&path))?;
        found.torn += bytes.len() as u64;
        return Ok(HEADER as u64);
    }
    let mut damage = |range: std::ops::Range<usize>| {
        let at = Position { segment: number, offset: range.start as u64 };
        found.damaged.push(Damage { at, bytes: range.len() as u64 });
    };
    if record::read_header(number, &bytes).is_none() {
        damage(0..HEADER.min(bytes.len()));
    }
    let mut at = HEADER;
    while let Some(item) = record::next(number, &bytes, at) {
        match item {
            Item::Record(_, range) => {
                found.records += 1;
                at = range.end;
            }
            Item::Damage(range) => {
                at = range.end;
                damage(range);
            }
            Item::Torn(range) if newest => {
                let file = open_rw(&path)?;
                file.set_len(range.start as u64).map_err(DiskError::io(&path))?;
                file.sync_all().map_err(DiskError::io(&path))?;
                found.torn += range.len() as u64;
                return Ok(range.start as u64);
            }
            Item::Torn(range) => {
                at = range.end;
                damage(range);
            }
        }
    }
    Ok(at as u64)
}

fn create(dir: &Path, number: u32) -> Result<File, DiskError> {
    let path = path(dir, number);
    let file = new_file(&path)?;
    file.write_all_at(&record::header(number, false), 0).map_err(DiskError::io(&path))?;
    file.sync_all().map_err(DiskError::io(&path))?;
    sync_dir(dir)?;
    Ok(file)
}

fn new_file(path: &Path) -> Result<File, DiskError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(DiskError::io(path))
}

fn open_rw(path: &Path) -> Result<File, DiskError> {
    OpenOptions::new().read(true).write(true).open(path).map_err(DiskError::io(path))
}

fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|d| d.sync_all()).map_err(DiskError::io(dir))
}
