//! The peer, in pure code: the cores composed. `drivers/` runs it on real sockets and disks, `testnet/` in a simulator.

pub mod account;
pub mod api;
pub mod input;
pub mod journal;
pub mod messages;
pub mod output;

pub use input::Input;
pub use output::Output;
