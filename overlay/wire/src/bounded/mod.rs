//! The bounded tables: every map that a stranger can make grow is one of these two.
//!
//! * [`Cache`]: what can be asked for again (replicas, DHT values, names, brakes). Full, it takes from the heaviest cause.
//! * [`Promises`]: what was acknowledged (bindings, requests under way, live calls). Nothing is taken back; an entry is
//!   admitted or refused before anybody is told "yes", and refused only to the cause that is over its share.
//!
//! Who keeps promises in a form of his own (the registrar) uses the [`Book`] of the second alone.
//!
//! Both count bytes, heap included, and charge every entry to its [`Cause`]: a path from standing over source network and
//! realm to one account or neighbour. At each level the heaviest child pays first, so one who asks for much takes from
//! himself, and many names of one network weigh no more than one. A reserve is a part of the table that other standings
//! cannot enter. What is over a limit is returned to the caller, who counts it and answers for it.
//!
//! Order is part of the program: nothing here depends on hashes or chance.

mod book;
mod cache;
mod cause;
mod leaves;
mod limit;
mod promises;
mod shares;

pub use book::{Book, OverShare};
pub use cache::{Cache, Inserted};
pub use cause::{Cause, Standing, network_of};
pub use limit::{Full, Limit};
pub use promises::Promises;

/// Bytes that an entry takes outside of its own size: strings, vectors.
pub trait Weight {
    fn heap_bytes(&self) -> usize;
}

/// How large a table may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All entries together, heap and the table's own overhead included.
    pub bytes: usize,
    pub entries: usize,
    /// Thousandths of the table that only this standing may fill, best standing first.
    pub reserves: [u16; Standing::COUNT],
}

impl Limits {
    /// Without reserves.
    pub const fn new(bytes: usize, entries: usize) -> Limits {
        Limits { bytes, entries, reserves: [0; Standing::COUNT] }
    }

    pub const fn reserving(self, reserves: [u16; Standing::COUNT]) -> Limits {
        Limits { reserves, ..self }
    }

    /// What an entry is charged. One number for both limits: an entry never weighs less than its part of the bytes.
    fn charge(&self, own_bytes: usize) -> usize {
        let part = self.bytes.div_ceil(self.entries.max(1));
        own_bytes.saturating_add(ENTRY_OVERHEAD).max(part)
    }

    fn reserve(&self, standing: Standing) -> usize {
        let thousandths = self.reserves.get(standing as usize).copied().unwrap_or_default();
        self.bytes / 1_000 * usize::from(thousandths)
    }

    fn reserved(&self) -> usize {
        Standing::ALL.iter().map(|s| self.reserve(*s)).sum()
    }
}

/// What the tables themselves spend on an entry beside key and value: its place in two trees and its charge.
const ENTRY_OVERHEAD: usize = 64;

macro_rules! weightless {
    ($($t:ty),*) => { $(impl Weight for $t { fn heap_bytes(&self) -> usize { 0 } })* };
}
weightless!(
    (),
    bool,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i64,
    crate::Hash,
    crate::PeerId,
    crate::PublicKey,
    crate::Timestamp,
    crate::Label20,
    crate::TokenBucket,
    std::time::Instant
);

impl Weight for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}
impl Weight for Box<str> {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}
impl Weight for std::sync::Arc<str> {
    fn heap_bytes(&self) -> usize {
        self.len() + 16
    }
}
impl Weight for std::sync::Arc<[u8]> {
    fn heap_bytes(&self) -> usize {
        self.len() + 16
    }
}
impl Weight for crate::SharedBytes {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}
impl<T: Weight> Weight for Vec<T> {
    fn heap_bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + self.iter().map(Weight::heap_bytes).sum::<usize>()
    }
}
impl<T: Weight> Weight for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Weight::heap_bytes)
    }
}
impl<A: Weight, B: Weight> Weight for (A, B) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}
impl<A: Weight, B: Weight, C: Weight> Weight for (A, B, C) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes() + self.2.heap_bytes()
    }
}
