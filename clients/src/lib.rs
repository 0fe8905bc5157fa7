//! The Rust SDK of the HTTP API of a DOTS peer: its types and a blocking client. The `dots` command line uses it.

mod client;
pub mod types;

pub use client::{Client, ClientError, Page};
