//! SIP for DOTS, sans-IO: messages, transactions, digest, registrar and proxy as plain state machines.

pub mod address;
pub mod auth;
pub mod core;
pub mod flow;
pub mod framing;
pub mod input;
pub mod limits;
pub mod message;
pub mod output;
pub mod ping;
pub mod registrar;
pub mod token;
pub mod transaction;
pub mod uri;

pub use self::core::Now;
pub use flow::{Flow, Transport};
pub use input::Input;
pub use output::Output;
