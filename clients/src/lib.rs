//! The Rust SDK of the HTTP API of a DOTS peer: its types and a blocking client. The `dots` command line uses it. With the
//! feature `media`, sound as a softphone sends and hears it.

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "media")]
pub mod media;
pub mod types;

#[cfg(feature = "client")]
pub use client::{Client, ClientError, Page};
