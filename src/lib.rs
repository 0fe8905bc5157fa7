//! The peer `dots`: the cores composed (`peer`) and the drivers around them.

#[cfg(feature = "node")]
pub mod cli;
#[cfg(feature = "node")]
pub mod config;
#[cfg(feature = "node")]
pub mod datadir;
#[cfg(feature = "node")]
pub mod drivers;
#[cfg(feature = "node")]
pub mod failure;
#[cfg(feature = "node")]
pub mod http;
pub mod peer;
#[cfg(feature = "node")]
pub mod tables;
