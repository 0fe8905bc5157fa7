//! What the overlay core and the swarm say to each other.
//!
//! The driver (`net/`, or the simulator in `testnet/`) turns every [`NetEvent`] of the real network into one call
//! of a core, and carries out every [`NetCommand`]. It decides nothing: retries, sequence numbers, limits per peer
//! and the meaning of bytes belong to the cores.

mod protocol;

use dots_wire::PeerId;
#[cfg(feature = "net")]
pub(crate) use protocol::for_each_protocol;
pub use protocol::{KADEMLIA, LOG_TOPIC, Owner, Protocol, SIP_STREAM};
use std::time::Duration;

/// Chosen by whoever asks; the answer carries it back.
pub type RequestId = u64;
/// Chosen by the driver for a request from outside; [`NetCommand::Respond`] names it.
pub type InboundId = u64;
/// One opened `/dots/sip/3` stream, chosen by the driver, never reused within a process.
pub type StreamId = u64;
/// One gossip message, chosen by the driver.
pub type GossipId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("no connection to that peer")]
    Unreachable,
    #[error("no answer in time")]
    Timeout,
    #[error("that peer refused the request")]
    Refused,
}

/// What becomes of a gossiped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good and news: others get it.
    Forward,
    /// Nobody needs it from us, and nobody is to blame.
    Ignore,
    /// It is invalid, which counts against whoever passed it on.
    Reject,
}

/// What happened on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// The first authenticated connection to `peer` is up.
    Connected { peer: PeerId },
    /// The last connection to `peer` is gone.
    Disconnected { peer: PeerId },
    /// `peer` is of our network and speaks none of our protocols: another version of this program. It was left.
    OtherVersion { peer: PeerId },
    /// `peer` is there, at `address`, running `agent`; `rtt` once a ping was answered. For people to read.
    /// `dialled`: by us, at that address.
    Seen { peer: PeerId, address: String, agent: String, rtt: Option<Duration>, dialled: bool },
    /// `peer` asks; answer once with [`NetCommand::Respond`].
    Request { peer: PeerId, protocol: Protocol, id: InboundId, body: Vec<u8> },
    /// The answer to [`NetCommand::Request`] `id`.
    Response { id: RequestId, result: Result<Vec<u8>, RequestError> },
    /// A `/dots/sip/3` stream is open. `outbound`: we opened it (an answer to [`NetCommand::OpenStream`]).
    StreamOpened { peer: PeerId, stream: StreamId, outbound: bool },
    /// [`NetCommand::OpenStream`] failed.
    StreamRefused { peer: PeerId },
    /// One whole frame arrived on the stream.
    StreamFrame { stream: StreamId, frame: Vec<u8> },
    /// The stream is gone (either side, or its connection).
    StreamClosed { stream: StreamId },
    /// A gossiped message; answer each with [`NetCommand::GossipVerdict`]: it has a place until then, for 5 s at most.
    Gossip { from: PeerId, id: GossipId, body: Vec<u8> },
    /// One value found by [`NetCommand::DhtGet`] `id`; unchecked. More may follow.
    DhtValue { id: RequestId, value: Vec<u8> },
    /// The query `id` has ended.
    DhtDone { id: RequestId },
    /// A peer wants us to hold `value` under `key`; the core checks and merges, and answers with
    /// [`NetCommand::DhtStore`] or drops it.
    DhtOffer { from: PeerId, key: Vec<u8>, value: Vec<u8>, held: Option<Vec<u8>> },
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetCommand {
    /// Send a request, dialling `peer` if need be; answer with [`NetEvent::Response`].
    Request { id: RequestId, peer: PeerId, protocol: Protocol, body: Vec<u8> },
    /// Answer [`NetEvent::Request`]; `None` refuses (the stream is reset).
    Respond { id: InboundId, body: Option<Vec<u8>> },
    /// Close what connections there are to this peer, and search nothing at it: it does not answer.
    Disconnect { peer: PeerId },
    /// Open a `/dots/sip/3` stream, dialling if need be; answer with `StreamOpened` or `StreamRefused`.
    OpenStream { peer: PeerId },
    /// Queue one frame (<= 64 KiB) on the stream.
    StreamSend { stream: StreamId, frame: Vec<u8> },
    /// Close the stream after what is queued.
    StreamClose { stream: StreamId },
    /// Publish on the log topic.
    Publish { body: Vec<u8> },
    /// What becomes of [`NetEvent::Gossip`] `id`.
    GossipVerdict { id: GossipId, verdict: Verdict },
    /// Start a Kademlia get.
    DhtGet { id: RequestId, key: Vec<u8> },
    /// Put at the closest peers (and here), expiring after `ttl_secs`.
    DhtPut { key: Vec<u8>, value: Vec<u8>, ttl_secs: u32 },
    /// Hold this value for others. `granted`: a home said so of a binding in it; `from` offered it, and is charged.
    DhtStore { from: PeerId, granted: bool, key: Vec<u8>, value: Vec<u8>, ttl_secs: u32 },
}
