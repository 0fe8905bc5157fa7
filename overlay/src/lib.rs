//! The overlay of DOTS, sans-IO: who is where, and why anybody should believe it.

pub mod link;
pub mod names;
pub mod nonce;
pub mod transport;
