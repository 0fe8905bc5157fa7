//! Where one branch goes: a phone where it is now, a phone on the flow it called on, or a peer.

use crate::{
    Flow,
    hop::{Hop, PeerLabel, host_of},
    location::Place,
    message::NameAddr,
    token::Side,
};

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
            Target::Phone(place) => place.on_flow().map(Target::Phone),
            Target::Flow(_) | Target::Peer(_) => None,
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

    /// Where it is, as the host of a URI.
    pub fn address(&self) -> String {
        match self.hop() {
            Hop::Phone(flow) => flow.remote.to_string(),
            Hop::Peer(label) => host_of(&label),
        }
    }

    /// Other URIs that a Route may name it by: its Contact's, and its edge proxy's.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Target::Phone(place) => {
                let path = place.path.first().and_then(|path| NameAddr::parse(path)).map(|path| path.uri());
                [Some(place.uri.as_str()), path].into_iter().flatten().collect()
            }
            Target::Flow(_) | Target::Peer(_) => Vec::new(),
        }
    }

    pub fn peer(&self) -> Option<&PeerLabel> {
        match self {
            Target::Peer(label) => Some(label),
            Target::Phone(_) | Target::Flow(_) => None,
        }
    }
}
