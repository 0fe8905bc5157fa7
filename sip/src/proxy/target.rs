//! Where one branch goes: a phone where it is now, a phone on the flow it called on, or a peer.

use crate::{Flow, hop::Hop, input::PeerLabel, location::Place, token::Side};

/// One branch's destination, with all that its copy of the request needs.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Phone(Place),
    /// A phone that called without being registered.
    Flow(Flow),
    Peer(PeerLabel),
}

impl Target {
    pub fn hop(&self) -> Hop {
        match self {
            Target::Phone(place) => Hop::Phone(place.reached_at()),
            Target::Flow(flow) => Hop::Phone(*flow),
            Target::Peer(label) => Hop::Peer(label.clone()),
        }
    }

    /// The same phone on its flow, where it was to be asked at the port where it listens.
    pub fn on_flow(&self) -> Option<Target> {
        match self {
            Target::Phone(place) if place.listens.is_some() => {
                Some(Target::Phone(Place { listens: None, ..place.clone() }))
            }
            _ => None,
        }
    }

    /// As a route token names it.
    pub fn side(&self) -> Side {
        match self {
            Target::Phone(place) => {
                Side::Phone { aor: place.aor.to_string(), instance: place.instance.clone() }
            }
            Target::Flow(flow) => Side::Flow(*flow),
            Target::Peer(label) => Side::Peer(label.clone()),
        }
    }

    pub fn peer(&self) -> Option<&PeerLabel> {
        match self {
            Target::Peer(label) => Some(label),
            Target::Phone(_) | Target::Flow(_) => None,
        }
    }
}
