//! The overlay of DOTS, sans-IO: who is where, and why anybody should believe it.

pub mod core;
pub mod dht;
pub mod directory;
pub mod grant;
pub mod link;
pub mod log;
pub mod names;
#[cfg(feature = "net")]
pub mod net;
pub mod nonce;
pub mod records;
pub mod transport;
pub mod verify;

/// What a stranger may send instead of a record: for the tests beside each type.
#[cfg(test)]
#[path = "../wire/tests/hostile/mod.rs"]
mod hostile;
