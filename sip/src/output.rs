//! Everything that the SIP core asks of the world around it.

use crate::{
    Flow,
    auth::{Answer, Vouch},
    input::{AskId, PeerLabel, PingId},
    registrar::BindingChange,
};
use std::{net::IpAddr, sync::Arc};

#[derive(Clone, Debug)]
pub enum Output {
    /// Write these bytes on that flow.
    Send { flow: Flow, bytes: Vec<u8> },
    /// Send one message to a peer over the overlay leg. `grant`: what the home gave for this request (outside a
    /// dialog); `initial`: a request outside a dialog, refused first when the link is full.
    SendPeer { peer: PeerLabel, bytes: Vec<u8>, grant: Option<Arc<[u8]>>, initial: bool },
    /// The phone at `source` is to be challenged in the name of this canonical realm. Answer with `Input::Challenge`.
    Challenge { id: AskId, realm: String, source: IpAddr },
    /// Check this answer to a challenge, given by the phone at `source`. Answer with `Input::Verified`.
    Verify { id: AskId, answer: Box<Answer>, source: IpAddr },
    /// Write this change of a binding before its 200. Answer with `Input::Journaled`.
    Journal { id: AskId, change: BindingChange },
    /// Where is this canonical AOR, beyond our own bindings? Answer with `Input::Resolved`.
    Resolve { id: AskId, aor: String },
    /// Where are our own phones of this AOR? Asked of the shard that holds its bindings; a core alone never asks. Answer
    /// with `Input::Located`.
    Locate { id: AskId, aor: Arc<str> },
    /// An account has answered a challenge on this connection; its caller may let it stay.
    Proved { flow: Flow },
    /// Bindings ended by time; nothing to answer.
    Expired { change: BindingChange },
    /// The answer to `Input::Ping`: `true` if the phone answered anything at all.
    Pinged { id: PingId, alive: bool },
    /// A call changed state; for receipts and `dots calls`.
    Call(CallEvent),
    /// Something worth counting (static names, for metrics).
    Count(&'static str),
}

/// The side of a call that this peer serves. One peer may serve both (then it emits events with `peer: None`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallSide {
    Caller,
    Callee,
}

/// One call leg that crosses this peer, keyed by SIP Call-ID and the caller's tag.
#[derive(Clone, Debug)]
pub struct CallEvent {
    pub call_id: String,
    pub from_tag: String,
    pub side: CallSide,
    /// Canonical AORs.
    pub caller: String,
    pub callee: String,
    /// The other serving peer, if the call crosses the overlay.
    pub peer: Option<PeerLabel>,
    /// The caller's call grant as it travelled or was issued, if any.
    pub vouch: Option<Vouch>,
    pub what: CallProgress,
    /// The offer where it began, the answer where it was answered; else nothing.
    pub sdp: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallProgress {
    /// INVITE forwarded.
    Started,
    /// 18x seen.
    Ringing,
    /// 2xx to the INVITE passed.
    Answered,
    /// A final other than 2xx, or CANCEL.
    Failed { status: u16 },
    /// BYE passed; `by_caller`: who hung up; `seen_from_phone`: our own phone sent it.
    Ended { by_caller: bool, seen_from_phone: bool },
}
