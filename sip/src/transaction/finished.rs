//! Which finished transactions may go before their time. RFC 3261 §17.2.2 keeps an answer for 32 s (timer J), in case that its
//! request comes again; where the network that caused it has more requests than its share holds, a new one is worth more than the
//! oldest of its answers: a repetition that comes after that is a new request.
//!
//! An INVITE's row is no such one: its ACK belongs to it.

use crate::{hop::Network, ids::ServerKey};
use std::collections::{BTreeMap, VecDeque};

/// By network, in the order in which they were answered. A row may have ended since: whoever takes its key finds nothing.
#[derive(Debug, Default)]
pub(super) struct Finished {
    by_network: BTreeMap<Network, VecDeque<ServerKey>>,
}

impl Finished {
    pub fn note(&mut self, network: Network, key: ServerKey) {
        self.by_network.entry(network).or_default().push_back(key);
    }

    /// The one of this network that was answered first.
    pub fn take_oldest(&mut self, network: &Network) -> Option<ServerKey> {
        let keys = self.by_network.get_mut(network)?;
        let oldest = keys.pop_front();
        if keys.is_empty() {
            self.by_network.remove(network);
        }
        oldest
    }

    /// A row of this network has ended. Rows end in nearly the order in which they were answered.
    pub fn forget_ended(&mut self, network: &Network, is_there: impl Fn(&ServerKey) -> bool) {
        let Some(keys) = self.by_network.get_mut(network) else { return };
        while keys.front().is_some_and(|key| !is_there(key)) {
            keys.pop_front();
        }
        if keys.is_empty() {
            self.by_network.remove(network);
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_network.is_empty()
    }
}
