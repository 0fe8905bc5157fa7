//! The bytes of a segment: its header and its records. Pure.

use super::{RECORD_BYTES_MAX, crc::crc32c};
use std::ops::Range;

pub const HEADER: usize = 20;
pub const FRAME: usize = 8;
const MAGIC: &[u8; 8] = b"DOTSSEG1";

/// DISK-2.
pub fn header(segment: u32, base: bool) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&segment.to_le_bytes());
    out[12..16].copy_from_slice(&u32::from(base).to_le_bytes());
    let crc = crc32c(&[&out[..16]]);
    out[16..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Whether this segment is a base; `None` where the header is not one of this segment.
pub fn read_header(segment: u32, bytes: &[u8]) -> Option<bool> {
    let bytes = bytes.get(..HEADER)?;
    [false, true].into_iter().find(|base| header(segment, *base) == bytes)
}

/// DISK-3: appends the record `bytes`, that will stand at `offset`, to `out`.
pub fn push(out: &mut Vec<u8>, segment: u32, offset: u64, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("checked against RECORD_BYTES_MAX").to_le_bytes();
    out.reserve(FRAME + bytes.len());
    out.extend_from_slice(&len);
    out.extend_from_slice(&crc(segment, offset, &len, bytes).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn crc(segment: u32, offset: u64, len: &[u8], bytes: &[u8]) -> u32 {
    crc32c(&[&segment.to_le_bytes(), &offset.to_le_bytes(), len, bytes])
}

/// Where the bytes of the record at `at` are, if it is a good one; the next record is at the range's end.
/// `bytes` begins at offset `first` of the segment.
pub fn check(segment: u32, bytes: &[u8], first: u64, at: usize) -> Option<Range<usize>> {
    let frame = bytes.get(at..at.checked_add(FRAME)?)?;
    let (len, sum) = frame.split_at(4);
    let size = u32::from_le_bytes(len.try_into().ok()?) as usize;
    if size > RECORD_BYTES_MAX {
        return None;
    }
    let start = at + FRAME;
    let body = bytes.get(start..start.checked_add(size)?)?;
    let good = crc(segment, first + at as u64, len, body).to_le_bytes() == sum;
    good.then_some(start..start + size)
}

/// What stands in a segment from `at` on.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A good record: its beginning, and where its bytes are.
    Record(usize, Range<usize>),
    /// Bytes that are no record, with a good record behind them.
    Damage(Range<usize>),
    /// Bytes that are no record, to the end.
    Torn(Range<usize>),
}

pub fn next(segment: u32, bytes: &[u8], at: usize) -> Option<Item> {
    if at >= bytes.len() {
        return None;
    }
    if let Some(range) = check(segment, bytes, 0, at) {
        return Some(Item::Record(at, range));
    }
    let behind = (at + 1..bytes.len()).find(|i| check(segment, bytes, 0, *i).is_some());
    Some(match behind {
        Some(next) => Item::Damage(at..next),
        None => Item::Torn(at..bytes.len()),
    })
}
