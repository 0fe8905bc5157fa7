//! What passes between the transaction layer and the users above it.

use crate::{
    hop::Hop,
    ids::{AskId, Branch, ClientKey, PingId, ServerKey},
    message::Message,
    output::About,
};
use std::{sync::Arc, time::Duration};

/// Who sits above a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Proxy(AskId),
    Registrar(AskId),
    Ping(PingId),
    /// The registrar asks whether a phone is there where it says that it listens.
    Listening(AskId),
    /// A CANCEL of ours: its answer is hop by hop and of no interest (§9.2).
    Nobody,
}

/// A request that no transaction knows yet.
#[derive(Clone, Debug)]
pub(crate) struct NewRequest {
    pub key: ServerKey,
    pub hop: Hop,
    /// Where its answers go.
    pub answered: Hop,
    pub request: Message,
}

/// What a request that came in is.
#[derive(Debug)]
pub(crate) enum Received {
    /// Somebody above has to answer it.
    New(NewRequest),
    /// The ACK of a 2xx: it travels end to end.
    Ack(Message),
    /// The INVITE of this transaction is to end; the CANCEL is answered already.
    Cancel { user: User, reason: Option<String> },
    /// All is done.
    Nothing,
}

/// Why no final response will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Timer B or F, or 64*T1 after a CANCEL.
    TimedOut,
    /// A hop that is quick did not say the first word in its time.
    Silent,
    /// The connection or link broke, or had no room (§16.9: as a 503).
    Broken,
}

/// News of a client transaction.
#[derive(Debug)]
pub(crate) enum Event {
    Response {
        user: User,
        client: ClientKey,
        response: Message,
    },
    Lost {
        user: User,
        client: ClientKey,
        why: Lost,
    },
    /// No more responses can come on it.
    Ended {
        user: User,
        client: ClientKey,
    },
}

impl Event {
    pub fn user(&self) -> User {
        match self {
            Event::Response { user, .. } | Event::Lost { user, .. } | Event::Ended { user, .. } => *user,
        }
    }
}

/// A request to be sent in a new client transaction.
pub(crate) struct Outgoing {
    pub hop: Hop,
    pub branch: Branch,
    pub request: Message,
    pub grant: Option<Arc<[u8]>>,
    pub about: About,
    /// For how long the hop may be silent; `None`: as long as the RFC says.
    pub first_word_within: Option<Duration>,
    /// It goes where a phone registered from: its nonce has reached it there. Else little is sent before an answer has come.
    pub is_proved: bool,
}
