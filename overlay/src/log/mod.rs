//! The log (docs/spec/1-log.md): every peer's signed, hash-chained word on who is where.
//!
//! [`author`] writes ours, [`chains`] judges everybody's, [`sync`] finds out what we missed.

pub mod author;
pub mod chains;
mod defence;
pub(crate) mod desk;
mod filling;
mod heads;
pub(crate) mod liars;
mod order;
mod payers;
mod proofs;
pub mod quota;
pub(crate) mod room;
mod serving;
mod set_hash;
pub mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod treasury;

pub use author::{AuthorLog, BATCH, BATCH_LATER};
pub use chains::{Accepted, Chains, Head, Later};
pub use defence::Defence;
pub use desk::Desk;
pub use order::FORWARD_MAX;
pub use proofs::Proof;
pub use room::AUTHORS_MAX;
pub use sync::Sync;
pub use treasury::Treasury;
