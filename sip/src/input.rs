//! Everything that can happen to the SIP core.

use crate::{
    Flow,
    auth::{AuthFailure, Challenge, Vouch},
    hop::PeerLabel,
    ids::{AskId, PingId},
    location::Place,
    message::Message,
    output::Nonce,
    registrar::Binding,
};
use dots_wire::bounded::Cause;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Input {
    /// One whole message from a phone: a datagram, or what `framing` cut from a stream.
    Message { flow: Flow, bytes: Vec<u8> },
    /// These headers came on a connection that holds no messages to be told apart from there on (RFC 3261 §18.3): they
    /// are answered 400 where they can be, and the caller closes it.
    Unframed { flow: Flow, head: Vec<u8> },
    /// A connection is gone, or a datagram to it was refused: pending branches on it fail with 503.
    FlowClosed { flow: Flow },
    /// One message over the overlay leg from the peer `from`, already read and checked (grant, caller, limits).
    /// `caller`: who a request outside a dialog is vouched to come from; `nonce`: what `from` added to a call.
    Overlay { from: PeerLabel, message: Message, caller: Option<Vouched>, nonce: Option<Nonce> },
    /// The link to that peer failed: its branches get 503.
    OverlayDown { peer: PeerLabel },
    /// This message of `Output::SendPeer` could not be queued: its branch, and no other, fails as 503.
    OverlayRefused { message: Message },
    /// Answers `Output::Challenge`.
    Challenge { id: AskId, result: Result<Challenge, AuthFailure> },
    /// Answers `Output::Verify`.
    Verified { id: AskId, result: Result<Vouch, AuthFailure> },
    /// Answers `Output::Journal`: the change is written; its 200 may go.
    Journaled { id: AskId },
    /// Answers `Output::Locate`.
    Located { id: AskId, aor: Arc<str>, places: Vec<Place> },
    /// Answers `Output::Resolve`.
    Resolved { id: AskId, resolution: Resolution },
    /// The account is gone or has a new password: its phones here are bound no longer. Told by `Output::Expired`.
    Unbind { aor: String },
    /// The account is no more: nothing new is said in its dialogs.
    Gone { aor: String },
    /// At start: a live binding from the journal.
    Restore { binding: Box<Binding> },
    /// The program ends: new requests outside dialogs get 503, what is under way may finish.
    Drain,
    /// Ping this binding's phone with an OPTIONS; answered by `Output::Pinged`. `cause`: who wants to know.
    Ping { id: PingId, aor: String, instance: String, cause: Cause },
}

/// The caller of a request that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Canonical.
    pub aor: String,
    /// The grant as it travelled.
    pub grant: Arc<[u8]>,
}

/// Where an AOR may be found beyond this peer's own bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Serving peers (not this one), best first; equal `q` (0..=1000) fork together. May be empty when there are
    /// only own bindings.
    Peers(Vec<RemoteTarget>),
    /// The home says that no such account exists: 404.
    Unknown,
    /// It exists, or nobody can say, and it is registered nowhere: 480.
    Offline,
    /// The caller's peer could not ask (home unreachable, overloaded): 503 with Retry-After.
    Unavailable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTarget {
    pub peer: PeerLabel,
    pub q: u16,
}
