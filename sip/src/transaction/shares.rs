//! Whose memory it is: the bytes of all transactions, charged to the network that caused them.
//!
//! The first three quarters are for everybody, and of those no network gets more than its share; the rest is for hops that
//! have proved themselves. So a flood of strangers fills neither the place of a registered phone nor that of another
//! stranger.

use crate::{
    hop::Network,
    limits::{TRANSACTION_BYTES_MAX, TRANSACTION_BYTES_PER_NETWORK, TRANSACTION_BYTES_RESERVED},
};
use std::collections::BTreeMap;

/// Has this hop proved that it can be reached and belongs here?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A flow with a binding, or a peer on its own link.
    Known,
    Stranger,
}

#[derive(Debug, Default)]
pub(super) struct Shares {
    total: usize,
    by_network: BTreeMap<Network, usize>,
}

impl Shares {
    pub fn has_room(&self, network: &Network, bytes: usize, standing: Standing) -> bool {
        let total = self.total + bytes;
        match standing {
            Standing::Known => total <= TRANSACTION_BYTES_MAX,
            Standing::Stranger => {
                let of_network = self.by_network.get(network).copied().unwrap_or_default() + bytes;
                total <= TRANSACTION_BYTES_MAX - TRANSACTION_BYTES_RESERVED
                    && of_network <= TRANSACTION_BYTES_PER_NETWORK
            }
        }
    }

    pub fn charge(&mut self, network: &Network, bytes: usize) {
        self.total += bytes;
        match self.by_network.get_mut(network) {
            Some(held) => *held += bytes,
            None => {
                self.by_network.insert(network.clone(), bytes);
            }
        }
    }

    pub fn refund(&mut self, network: &Network, bytes: usize) {
        assert!(self.total >= bytes, "what is given back was charged");
        self.total -= bytes;
        if let Some(held) = self.by_network.get_mut(network) {
            assert!(*held >= bytes, "what is given back was charged to this network");
            *held -= bytes;
            if *held == 0 {
                self.by_network.remove(network);
            }
        }
    }

    #[cfg(test)]
    pub fn total(&self) -> usize {
        self.total
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.total == 0 && self.by_network.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_fills_its_own_share_and_nobody_elses() {
        let mut shares = Shares::default();
        let (one, two) = (Network::V4([192, 0, 2]), Network::V4([198, 51, 100]));
        shares.charge(&one, TRANSACTION_BYTES_PER_NETWORK);
        assert!(!shares.has_room(&one, 1, Standing::Stranger));
        assert!(shares.has_room(&two, 1, Standing::Stranger), "another network has its own share");
        assert!(shares.has_room(&one, 1, Standing::Known), "and a phone of the same network its place");
        let mut n = 0u8;
        while shares.has_room(&Network::V4([10, 0, n]), 1 << 20, Standing::Stranger) {
            shares.charge(&Network::V4([10, 0, n]), 1 << 20);
            n = n.wrapping_add(1);
        }
        assert!(
            shares.has_room(&one, TRANSACTION_BYTES_RESERVED / 2, Standing::Known),
            "the reserve is left"
        );
        shares.refund(&one, TRANSACTION_BYTES_PER_NETWORK);
        assert!(shares.has_room(&one, 1 << 20, Standing::Stranger));
        assert!(!shares.is_empty());
    }
}
