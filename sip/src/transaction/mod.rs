//! The four transactions of RFC 3261 §17, with RFC 6026's Accepted state. Four types in four files; each knows only its
//! states and deadlines, and says what to do. Around them stand the rows of [`servers`] and [`clients`] with their
//! indexes and deadlines, and above these the [`layer`], which says what a message is.

mod client_row;
mod clients;
mod exchange;
mod finished;
mod invite_client;
mod invite_server;
mod kept;
mod layer;
mod non_invite_client;
mod non_invite_server;
mod servers;
mod shares;
#[cfg(test)]
mod tests;
pub(crate) mod unheard;
mod weight;

pub(crate) use exchange::{Event, NewRequest, Outgoing, Received};
pub use exchange::{Lost, User};
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub(crate) use layer::Transactions;
pub use non_invite_client::NonInviteClient;
pub use non_invite_server::NonInviteServer;
pub use shares::Standing;

use std::time::Duration;

const _: () =
    assert!(TRYING_AFTER.as_millis() * 2 < T1.as_millis(), "a 100 comes before the INVITE is repeated");

/// Round-trip estimate, and the cap of non-INVITE retransmission (§17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
/// How long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);
/// §17.2.1: how long another answer may take before 100 is sent to a phone; to a peer, which waits for a first word.
pub const TRYING_AFTER: Duration = Duration::from_millis(200);
pub const TRYING_AFTER_TO_PEER: Duration = Duration::from_millis(100);
/// 64 * T1: timers B, F, H, J, L, M.
pub const GIVE_UP: Duration = Duration::from_secs(32);
/// Timer D on an unreliable transport.
pub const TIMER_D: Duration = Duration::from_secs(32);

/// What a client transaction wants after a response or a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Nothing,
    /// Send the request again.
    Resend,
    /// Pass the response up (and, for a non-2xx final to INVITE, ACK it).
    Pass,
    /// Pass it up and ACK it hop by hop.
    PassAndAck,
    /// A repeated final: only ACK it again.
    Ack,
    /// Nobody answered: 408 to whoever waits.
    TimedOut,
    /// The transaction is over; forget it.
    Done,
}

/// What a server transaction wants after a request or a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Nothing,
    /// Send the last response again.
    Resend,
    /// Nothing was answered yet: send 100.
    Trying,
    Done,
}
