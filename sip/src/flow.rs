//! Where a message came from, and where one can be sent back to.

use crate::Transport;
use std::net::SocketAddr;

/// A way to one phone. For UDP the pair of addresses is the flow and `connection` is 0; for TCP `connection` is the
/// driver's number of the open connection, never reused within a process. A request to a phone goes out on the flow
/// that its registration came in on (RFC 5626 §5.3), never to an address that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub transport: Transport,
    pub connection: u64,
    /// Our side: a concrete address (the one routed toward `remote`), never a wildcard. It is what Via,
    /// Record-Route and our Contacts name.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}
