//! SIP for DOTS, sans-IO: messages, transactions, digest, registrar and proxy as plain state machines.

pub mod auth;
pub mod flow;
pub mod input;
pub mod output;
pub mod ping;
pub mod registrar;

pub use flow::{Flow, Transport};
pub use input::Input;
pub use output::Output;
