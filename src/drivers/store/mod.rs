//! The disk. Truth is in segment files (`dots_wire::disk`), one directory per [`Stream`](crate::peer::output::Stream);
//! sled holds only what can be rebuilt from them.
//!
//! * [`Disk`]: the writer thread that answers `Output::Append`.
//! * [`AccountStore`]: the accounts, and their index.

mod accounts;
mod book;
mod credential;
mod disk;
mod import;
mod index;
#[cfg(test)]
mod tests;

pub use accounts::{AccountStore, Imported, StoreError};
pub use credential::{BadAccount, account, account_of_ha1, ascii_realm, canonical, is_like_ha1};
pub use disk::{Ack, Acks, Append, Disk, QUEUE_MAX, Stores};
pub use dots_wire::disk::DiskError;
pub use import::{Home, Wrong, differing, prepare};
pub use index::Opened;
