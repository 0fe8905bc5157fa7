//! SIP for DOTS, sans-IO: messages, transactions, digest, registrar and proxy as plain state machines.

pub mod address;
mod agent;
pub mod auth;
pub mod border;
pub mod core;
mod cx;
pub mod flow;
pub mod framing;
pub mod hop;
pub mod ids;
pub mod input;
pub mod limits;
pub mod listening;
pub mod location;
pub mod message;
pub mod output;
pub mod ping;
mod proxy;
pub mod registrar;
pub mod shards;
pub mod status;
pub mod tables;
mod timers;
pub mod token;
pub mod transaction;
mod transport;
pub mod uri;
mod waiting;

pub use cx::{Now, Serve};
pub use flow::Flow;
pub use input::Input;
pub use output::Output;
pub use transport::Transport;
