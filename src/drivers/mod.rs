//! Sockets, the swarm and the disk: drivers wait, feed one input, and carry outputs out. They decide nothing.

pub(crate) mod descriptors;
mod dns;
pub mod runtime;
pub mod sip;
pub mod store;
