//! The overlay of DOTS, sans-IO: who is where, and why anybody should believe it.

pub mod core;
pub mod dht;
pub mod directory;
pub mod link;
pub mod liveness;
pub mod log;
#[cfg(feature = "net")]
pub mod net;
pub mod records;
pub mod tables;
pub mod transport;
pub mod verify;

pub use dots_trust::{grant, names};

/// What a stranger may send instead of a record: for the tests beside each type.
#[cfg(test)]
#[path = "../wire/tests/hostile/mod.rs"]
mod hostile;
