//! The disk. Truth is in segment files (`dots_wire::disk`), one directory per [`Stream`](crate::peer::output::Stream);
//! sled holds only what can be rebuilt from them.
//!
//! * [`Disk`]: what answers `Output::Append`, and the thread that syncs.
//! * [`AccountStore`]: the accounts, and their index.

mod accounts;
mod book;
pub(crate) mod disk;
mod import;
pub(crate) mod index;
#[cfg(test)]
mod tests;

pub use accounts::{AccountStore, StoreError};
pub use disk::{Ack, Acks, Append, Disk, QUEUE_MAX, Stores};
pub use dots_trust::accounts::{
    BadAccount, Home, Imported, Wanted, Wrong, account, account_of_ha1, ascii_realm, canonical, is_like_ha1,
};
pub use dots_wire::disk::DiskError;
pub use import::{differing, prepare};
pub use index::Opened;
