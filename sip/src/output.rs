//! Everything that the SIP core asks of the world around it.

use crate::{
    Flow,
    auth::{Answer, Vouch},
    hop::PeerLabel,
    ids::{AskId, Method, PingId},
    message::Message,
    registrar::BindingChange,
};
use std::{net::IpAddr, sync::Arc, time::Instant};

#[derive(Clone, Debug)]
pub enum Output {
    /// Write these bytes on that flow.
    Send { flow: Flow, bytes: Vec<u8> },
    /// Send one message to a peer over the overlay leg. `grant`: what the home gave for this request (outside a
    /// dialog); `about`: what has to go with it.
    SendPeer { peer: PeerLabel, message: Message, grant: Option<Arc<[u8]>>, about: About },
    /// The phone at `source` is to be challenged in the name of this canonical realm. Answer with `Input::Challenge`.
    Challenge { id: AskId, realm: String, source: IpAddr },
    /// Check this answer to a challenge, given by the phone at `source`. Answer with `Input::Verified`.
    Verify { id: AskId, answer: Box<Answer>, source: IpAddr },
    /// Write this change of a binding before its 200. Answer with `Input::Journaled`.
    Journal { id: AskId, change: BindingChange },
    /// Where is this canonical AOR, beyond our own bindings? Answer with `Input::Resolved`. `is_again`: nobody was reached where it
    /// was said to be, so somebody has to be asked who knows better.
    Resolve { id: AskId, aor: String, is_again: bool },
    /// Where are our own phones of this AOR? Asked of the shard that holds its bindings; a core alone never asks. Answer
    /// with `Input::Located`.
    Locate { id: AskId, aor: Arc<str> },
    /// An account has answered a challenge on this connection; its caller may let it stay.
    Proved { flow: Flow },
    /// Bindings ended by time; nothing to answer.
    Expired { change: BindingChange },
    /// The answer to `Input::Ping`.
    Pinged { id: PingId, sign: Sign },
    /// A request to this phone of ours ran out without a word, or its connection is gone.
    Unanswered { aor: String, instance: String },
    /// A call changed state; for receipts and `dots calls`.
    Call(CallEvent),
    /// Something worth counting (static names, for metrics).
    Count(&'static str),
}

/// What came of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The phone answered anything at all.
    Life,
    Silence,
    /// Nothing can be sent to it: its connection is gone, or it is bound no more.
    Unreachable,
    /// It was not asked: there was no room.
    NotAsked,
}

/// 32 bytes that a peer adds to a call with its INVITE or its 2xx. Opaque to this crate.
pub type Nonce = [u8; 32];

/// What a message for a peer is about, so that nobody has to read it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A request outside a dialog: it goes with the caller's grant, and is refused first where the link is full. Canonical
    /// AORs. An INVITE goes with our nonce for this attempt.
    Initial {
        attempt: AskId,
        method: Method,
        caller: String,
        target: String,
    },
    /// The 2xx to an INVITE outside a dialog: it goes with our nonce for this call.
    Answer(CallName),
    Other,
}

/// A call that was answered: one for each callee that answered (RFC 3261 §12, §13.2.2.4), whatever Call-ID a caller chose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallName {
    pub call_id: String,
    pub from_tag: String,
    pub to_tag: String,
    /// The side that we serve.
    pub side: CallSide,
    /// The other serving peer, if the call crosses the overlay.
    pub peer: Option<PeerLabel>,
}

/// The side of a call that this peer serves. One peer may serve both (then it emits events with `peer: None`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallSide {
    Caller,
    Callee,
}

/// One call leg that crosses this peer: while it is set up it is known by its attempt, from the answer on by its name.
#[derive(Clone, Debug)]
pub struct CallEvent {
    /// The INVITE that it began with; none when it ends.
    pub attempt: Option<AskId>,
    pub call_id: String,
    pub from_tag: String,
    /// From the answer on.
    pub to_tag: Option<String>,
    pub side: CallSide,
    /// Canonical AORs.
    pub caller: String,
    pub callee: String,
    /// The other serving peer, if the call crosses the overlay.
    pub peer: Option<PeerLabel>,
    /// The caller's call grant as it travelled or was issued, if any.
    pub vouch: Option<Vouch>,
    /// What the other peer added: with the INVITE, where we serve the callee, else with the answer.
    pub nonce: Option<Nonce>,
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
    /// 2xx to the INVITE passed. `session_s`: the session ends if nothing refreshes it for so long (RFC 4028).
    Answered { session_s: Option<u32> },
    /// The ACK of a 2xx passed in it (RFC 3261 §13.2.2.4): its caller knows of it. It may come more than once.
    Acknowledged,
    /// A 2xx to a re-INVITE or UPDATE passed in the dialog; `session_s` as in its answer.
    Refreshed { session_s: Option<u32> },
    /// A final other than 2xx, or CANCEL.
    Failed { status: u16 },
    /// A BYE is believed; `by_caller`: who hung up; `seen_from_phone`: our own phone sent it; `said`: when it came.
    Ended { by_caller: bool, seen_from_phone: bool, said: Instant },
}
