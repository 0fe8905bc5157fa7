//! Whose memory it is: the bytes of all transactions, charged to the network that caused them.
//!
//! The first three quarters are for everybody, the rest is for hops that have proved themselves. Of its part no network may
//! hold more than a third of what is still free (a dynamic threshold): one alone has a quarter, and each that comes takes less.
//! So neither a flood of strangers nor a phone with an account that lets calls ring for ever fills the place of others; it takes
//! dozens of networks.

use crate::{
    hop::Network,
    limits::{TRANSACTION_BYTES_MAX, TRANSACTION_BYTES_RESERVED},
};
use std::collections::BTreeMap;

/// One network may hold as much as this part of what is free.
const FREE_PART: usize = 3;

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
        let part = match standing {
            Standing::Known => TRANSACTION_BYTES_MAX,
            Standing::Stranger => TRANSACTION_BYTES_MAX - TRANSACTION_BYTES_RESERVED,
        };
        let of_network = self.by_network.get(network).copied().unwrap_or_default();
        let free = part.saturating_sub(self.total + bytes);
        of_network + bytes <= free / FREE_PART
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

    /// What is held of `network` has another size now.
    pub fn recharge(&mut self, network: &Network, held: &mut usize, bytes: usize) {
        self.refund(network, *held);
        self.charge(network, bytes);
        *held = bytes;
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

    /// As many bytes as there is room for, in lumps of 64 kB.
    fn fill(shares: &mut Shares, network: &Network, standing: Standing) -> usize {
        let lump = 64 << 10;
        let mut held = 0;
        while shares.has_room(network, lump, standing) {
            shares.charge(network, lump);
            held += lump;
        }
        held
    }

    #[test]
    fn a_stranger_fills_its_own_share_and_nobody_elses() {
        let mut shares = Shares::default();
        let (one, two) = (Network::V4([192, 0, 2]), Network::V4([198, 51, 100]));
        let strangers = TRANSACTION_BYTES_MAX - TRANSACTION_BYTES_RESERVED;
        let held = fill(&mut shares, &one, Standing::Stranger);
        assert!(held.abs_diff(strangers / 4) < 1 << 20, "one alone has a quarter");
        assert!(shares.has_room(&two, 1 << 20, Standing::Stranger), "another network has its own share");
        assert!(!shares.has_room(&one, 1 << 20, Standing::Stranger));
        for n in 0..7 {
            fill(&mut shares, &Network::V4([10, 0, n]), Standing::Stranger);
        }
        assert!(shares.has_room(&Network::V4([203, 0, 113]), 4 << 20, Standing::Stranger), "and a ninth");
        let known = Network::V4([172, 16, 0]);
        let reserve = fill(&mut shares, &known, Standing::Known);
        assert!(
            reserve > TRANSACTION_BYTES_RESERVED / 5,
            "the reserve is left to those that are known: {reserve}"
        );
        shares.refund(&one, held);
        assert!(shares.has_room(&one, 1 << 20, Standing::Stranger));
        assert!(!shares.is_empty());
    }

    /// A phone with an account, or a peer, that lets calls ring for ever: everybody else still has room.
    #[test]
    fn who_is_known_fills_its_own_share_and_nobody_elses() {
        let mut shares = Shares::default();
        let peers = ["p1", "p2", "p3", "p4"].map(|label| Network::Peer(label.into()));
        for peer in &peers {
            fill(&mut shares, peer, Standing::Known);
        }
        for (network, standing) in
            [(Network::V4([192, 0, 2]), Standing::Known), (Network::Peer("p5".into()), Standing::Known)]
        {
            assert!(shares.has_room(&network, 8 << 20, standing), "{network:?}");
        }
        assert!(shares.total() < TRANSACTION_BYTES_MAX * 7 / 10);
    }
}
