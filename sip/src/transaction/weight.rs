//! What a row takes of memory, so that what is charged is what is held.
//!
//! ```text
//!   a server transaction              a client transaction
//!   its row, a block of its own       its row, a block of its own
//!   key and pointer in a tree         key and pointer in a tree
//!   moment and key among deadlines    moment and key among deadlines
//!                                     hop and key in the index by hop
//!   the answer, or the request that   the request, later the ACK
//!   somebody above holds
//! ```

/// A block of that size on the heap: rounded up, with what the allocator keeps beside it.
pub(super) const fn block(bytes: usize) -> usize {
    bytes.next_multiple_of(16) + 16
}

/// An entry of a `BTreeMap` or `BTreeSet`. A node has room for eleven; filled in random order, it holds between six and
/// eight.
pub(super) const fn entry<T>() -> usize {
    size_of::<T>() * 11 / 6
}
