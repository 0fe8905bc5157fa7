//! One line of the page of limits: a table that can grow, as it is made, and what that means for whom.
//!
//! Every crate lists its own in a file `tables.rs`, from the same constants that the tables are made with, so that the page
//! cannot say anything else than the program does.

use super::Limits;

/// What becomes of one more when a table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The heaviest cause gives way, its oldest entries first.
    HeaviestGives,
    /// Only the cause that is over its share is refused, and told so like this.
    Refused(&'static str),
    /// Something of the same owner gives way, or nothing can be lost: said here.
    Otherwise(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Where it stands: the file below its crate's sources, the type and the field.
    pub field: &'static str,
    pub what: &'static str,
    pub entries: usize,
    /// Of all entries together.
    pub bytes: usize,
    /// Whose share an entry takes.
    pub pays: &'static str,
    pub full: Full,
}

impl Limit {
    pub const fn table(
        field: &'static str,
        what: &'static str,
        limits: Limits,
        pays: &'static str,
        full: Full,
    ) -> Limit {
        Limit { field, what, entries: limits.entries, bytes: limits.bytes, pays, full }
    }

    /// One that is not of the ground room, or is counted in bytes alone.
    pub const fn made(
        field: &'static str,
        what: &'static str,
        (entries, bytes): (usize, usize),
        pays: &'static str,
        full: Full,
    ) -> Limit {
        Limit { field, what, entries, bytes, pays, full }
    }

    /// There are so many of these tables.
    pub const fn times(self, tables: usize) -> Limit {
        Limit { entries: self.entries * tables, bytes: self.bytes * tables, ..self }
    }
}
