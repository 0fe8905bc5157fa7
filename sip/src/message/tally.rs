//! What messages cost, for tests that promise it: how often this thread read one, wrote one, copied one whole. Debug builds
//! only; a release counts nothing.

use std::cell::Cell;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes that were scanned for lines.
    pub parsed: u64,
    /// Messages made line by line: copies for one hop, answers, stamps.
    pub written: u64,
    /// Messages whose bytes were copied because somebody else holds them too.
    pub copied: u64,
}

impl Tally {
    /// What has come to this since `earlier`.
    pub fn since(self, earlier: Tally) -> Tally {
        Tally {
            parsed: self.parsed - earlier.parsed,
            written: self.written - earlier.written,
            copied: self.copied - earlier.copied,
        }
    }

    pub fn plus(self, other: Tally) -> Tally {
        Tally {
            parsed: self.parsed + other.parsed,
            written: self.written + other.written,
            copied: self.copied + other.copied,
        }
    }
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { parsed: 0, written: 0, copied: 0 }) };
}

/// Of this thread, since it began.
pub fn so_far() -> Tally {
    TALLY.get()
}

pub(super) fn count(one: impl FnOnce(&mut Tally)) {
    if cfg!(debug_assertions) {
        let mut tally = TALLY.get();
        one(&mut tally);
        TALLY.set(tally);
    }
}
