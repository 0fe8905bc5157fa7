//! Where a message came from or goes to: a phone on its flow, or a peer on the overlay leg.

use crate::{
    Flow,
    listening::{Ours, answered_at},
    message::Message,
};
use std::{net::IpAddr, sync::Arc};

/// The 20-byte label of a peer in lower-case base32, as in the host `p<label>.peer.dots`.
pub type PeerLabel = Arc<str>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    Phone(Flow),
    Peer(PeerLabel),
}

impl Hop {
    /// RFC 3261 §17: the timers that repeat a message run only where it may be lost.
    pub fn is_reliable(&self) -> bool {
        match self {
            Hop::Phone(flow) => flow.transport.is_reliable(),
            Hop::Peer(_) => true,
        }
    }

    /// Where an answer to a request from here goes (RFC 3261 §18.2.2).
    pub(crate) fn answered(&self, request: &Message, ours: Ours<'_>) -> Hop {
        match (self, request.via()) {
            (Hop::Phone(flow), Some(via)) => {
                Hop::Phone(Flow { remote: answered_at(&via, flow, ours), ..*flow })
            }
            _ => self.clone(),
        }
    }

    /// May `other` answer what was sent to this hop? A phone may answer from another port of its address.
    pub fn is_answered_by(&self, other: &Hop) -> bool {
        match (self, other) {
            (Hop::Peer(asked), Hop::Peer(answers)) => asked == answers,
            (Hop::Phone(asked), Hop::Phone(answers)) => {
                asked.transport == answers.transport && asked.remote.ip() == answers.remote.ip()
            }
            _ => false,
        }
    }

    /// Who is charged for the memory that this hop's requests take.
    pub fn network(&self) -> Network {
        match self {
            Hop::Peer(label) => Network::Peer(label.clone()),
            Hop::Phone(flow) => match flow.remote.ip().to_canonical() {
                IpAddr::V4(v4) => {
                    let [a, b, c, _] = v4.octets();
                    Network::V4([a, b, c])
                }
                IpAddr::V6(v6) => {
                    let [a, b, c, ..] = v6.segments();
                    Network::V6([a, b, c])
                }
            },
        }
    }
}

/// The network of a source: an IPv4 /24, an IPv6 /48, or a peer. Whoever holds one address there can usually send from
/// all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    V4([u8; 3]),
    V6([u16; 3]),
    Peer(PeerLabel),
}

/// The host that stands for a peer on the overlay leg.
pub fn host_of(label: &str) -> String {
    format!("p{label}.peer.dots")
}
