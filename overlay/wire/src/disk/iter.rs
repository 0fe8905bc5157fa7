//! Reading a stream from a position to the end that it had when the reading began.

use super::{
    DiskError, Position,
    record::{self, HEADER, Item},
    store,
};
use std::{collections::VecDeque, fs, path::PathBuf};

/// Good records and their positions, in the order in which they were appended.
#[derive(Debug)]
pub struct Iter {
    dir: PathBuf,
    left: VecDeque<u32>,
    /// The segment being read, whole, and where the next record is in it.
    now: Option<(u32, Vec<u8>, usize)>,
    from: Position,
    end: Position,
}

impl Iter {
    pub(super) fn new(dir: PathBuf, segments: Vec<u32>, from: Position, end: Position) -> Iter {
        let left = segments.into_iter().filter(|n| *n >= from.segment).collect();
        Iter { dir, left, now: None, from, end }
    }

    fn load(&mut self, number: u32) -> Result<(), DiskError> {
        let path = store::path(&self.dir, number);
        let mut bytes = fs::read(&path).map_err(DiskError::io(&path))?;
        if number == self.end.segment {
            bytes.truncate(usize::try_from(self.end.offset).unwrap_or(usize::MAX));
        }
        let at = if number == self.from.segment { self.from.offset } else { 0 };
        let at = usize::try_from(at).unwrap_or(usize::MAX).max(HEADER);
        self.now = Some((number, bytes, at));
        Ok(())
    }
}

impl Iterator for Iter {
    type Item = Result<(Position, Vec<u8>), DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((segment, bytes, at)) = &mut self.now else {
                let number = self.left.pop_front()?;
                if let Err(error) = self.load(number) {
                    return Some(Err(error));
                }
                continue;
            };
            match record::next(*segment, bytes, *at) {
                Some(Item::Record(start, range)) => {
                    let position = Position { segment: *segment, offset: start as u64 };
                    let record = bytes.get(range.clone()).map(<[u8]>::to_vec).unwrap_or_default();
                    *at = range.end;
                    return Some(Ok((position, record)));
                }
                Some(Item::Damage(range)) => *at = range.end,
                Some(Item::Torn(_)) | None => self.now = None,
            }
        }
    }
}
