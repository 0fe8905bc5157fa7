//! Append-only segment files: the truth on disk.
//!
//! A stream is a directory of files `00000001.seg`, `00000002.seg` …, each a header and then records. A record is its
//! length, a CRC32C and its bytes; the CRC also covers the segment's number and the record's offset, so a record that
//! turns up at another place is not a record. Nothing written is ever changed: a crash can only tear the end of the
//! newest segment, and [`SegmentStore::open`] cuts that off. Bytes that do not check but have good records behind
//! them are damage: they are skipped, kept and reported, never silently repaired.
//!
//! [`SegmentStore::rewrite`] replaces all records at once: it writes the next segment under another name, marks it as
//! a base in its header, and renames it. A base makes all earlier segments void, so a crash anywhere leaves either the
//! old records or the new ones.
//!
//! All integers are little-endian. Header (20 bytes): `"DOTSSEG1"`, number u32, base u32 (0 or 1), CRC u32 of the 16
//! before. Record: length u32, CRC u32 of (number u32, offset u64, length u32, bytes), bytes.

mod crc;
mod iter;
mod record;
mod store;
#[cfg(test)]
mod tests;

pub use iter::Iter;
pub use store::{Damage, Recovered, SegmentStore};

use std::path::PathBuf;

/// A segment is closed before it grows beyond this (a base may be larger).
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest record. A log entry is at most 48 KiB; the rest is room.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Where a record begins, or where the next one will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub segment: u32,
    pub offset: u64,
}

impl Position {
    /// Before every record.
    pub const START: Position = Position { segment: 0, offset: 0 };

    pub fn to_bytes(self) -> [u8; 12] {
        let mut out = [0; 12];
        out[..4].copy_from_slice(&self.segment.to_be_bytes());
        out[4..].copy_from_slice(&self.offset.to_be_bytes());
        out
    }
    pub fn from_bytes(bytes: &[u8]) -> Option<Position> {
        let (segment, offset) = bytes.split_at_checked(4)?;
        Some(Position {
            segment: u32::from_be_bytes(segment.try_into().ok()?),
            offset: u64::from_be_bytes(offset.try_into().ok()?),
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a record of {0} bytes is longer than {RECORD_BYTES_MAX}")]
    TooLong(usize),
    #[error("no good record at {0:?}")]
    NoRecord(Position),
    /// An earlier write or sync failed: what is on disk is unknown until the store is opened again.
    #[error("{}: an earlier write failed; restart the peer when the disk is well", .0.display())]
    Poisoned(PathBuf),
}

impl DiskError {
    fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> DiskError + '_ {
        move |source| DiskError::Io { path: path.to_owned(), source }
    }
}
