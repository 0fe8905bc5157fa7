//! The bytes of a message. Nearly every message is text from its first byte to its last: that is checked once, and a value is
//! then cut out of it as text. One with other bytes in it (some phones write Latin-1 names, bodies may be anything) is read
//! value by value.

use super::Line;
use std::ops::{Deref, Range};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Raw {
    fn from(bytes: Vec<u8>) -> Raw {
        String::from_utf8(bytes).map_or_else(|other| Raw::Bytes(other.into_bytes()), Raw::Text)
    }
}

impl Deref for Raw {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Raw::Text(text) => text.as_bytes(),
            Raw::Bytes(bytes) => bytes,
        }
    }
}

impl Raw {
    /// `None`: not there, or no UTF-8.
    pub fn text(&self, range: Range<usize>) -> Option<&str> {
        match self {
            Raw::Text(text) => text.get(range),
            Raw::Bytes(bytes) => bytes.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()),
        }
    }

    /// Values that are no UTF-8, as text with replacement characters, by where they start.
    pub fn lossy(&self, lines: &[Line]) -> Vec<(u32, Box<str>)> {
        let Raw::Bytes(bytes) = self else { return Vec::new() };
        let lossy = |line: &Line| {
            let value = bytes.get(line.value())?;
            std::str::from_utf8(value)
                .is_err()
                .then(|| (line.value_start, String::from_utf8_lossy(value).into()))
        };
        lines.iter().filter_map(lossy).collect()
    }

    /// `range` is of whole characters, and there.
    pub fn replace(&mut self, range: Range<usize>, new: &str) {
        match self {
            // A stamp comes behind what stands there.
            Raw::Text(text) if text.get(range.clone()).is_some_and(|old| new.starts_with(old)) => {
                text.insert_str(range.end, new.get(range.len()..).unwrap_or_default());
            }
            Raw::Text(text) => {
                // `replace_range` moves byte by byte.
                let tail = text.split_off(range.end);
                text.truncate(range.start);
                text.reserve_exact(new.len() + tail.len());
                text.push_str(new);
                text.push_str(&tail);
            }
            Raw::Bytes(bytes) => {
                bytes.reserve_exact(new.len().saturating_sub(range.len()));
                drop(bytes.splice(range, new.bytes()));
            }
        }
    }

    pub fn capacity(&self) -> usize {
        match self {
            Raw::Text(text) => text.capacity(),
            Raw::Bytes(bytes) => bytes.capacity(),
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Raw::Text(text) => text.into_bytes(),
            Raw::Bytes(bytes) => bytes,
        }
    }
}
