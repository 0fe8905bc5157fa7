//! Strangers' bindings, counted: whose goes when there is no room for another.
//!
//! First the oldest that nobody has judged, then one of whoever has most. So a crowd that says much takes room from
//! itself, and a peer with a few phones keeps them.

use super::{Binding, Standing};
use dots_wire::PeerId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Strangers {
    count: usize,
    unjudged: BTreeMap<u64, Binding>,
    of: BTreeMap<PeerId, usize>,
    by_size: BTreeSet<(usize, PeerId)>,
}

impl Strangers {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn insert(&mut self, serial: u64, binding: Binding) {
        self.count += 1;
        self.unjudged.insert(serial, binding);
        let n = self.of.get(&binding.2).copied().unwrap_or_default();
        self.resize(binding.2, n, n + 1);
    }

    pub fn remove(&mut self, serial: u64, author: PeerId) {
        self.count -= 1;
        self.unjudged.remove(&serial);
        let n = self.of.get(&author).copied().unwrap_or_default();
        self.resize(author, n, n.saturating_sub(1));
    }

    fn resize(&mut self, author: PeerId, from: usize, to: usize) {
        self.by_size.remove(&(from, author));
        if to == 0 {
            self.of.remove(&author);
        } else {
            self.of.insert(author, to);
            self.by_size.insert((to, author));
        }
    }

    /// Its home said so: it is no longer the first to go.
    pub fn granted(&mut self, serial: u64) {
        self.unjudged.remove(&serial);
    }

    /// The oldest of somebody else that nobody has judged.
    pub fn oldest_unjudged(&self, newcomer: PeerId) -> Option<Binding> {
        self.unjudged.values().find(|(_, _, serving)| *serving != newcomer).copied()
    }

    /// Who has most, if `newcomer` would not then have more than it. Whoever is trusted goes before any stranger.
    pub fn largest(&self, newcomer: PeerId, standing: Standing) -> Option<PeerId> {
        let (most, peer) = self.by_size.last().copied()?;
        let mine = self.of.get(&newcomer).copied().unwrap_or_default();
        (standing > Standing::Stranger || mine + 1 < most).then_some(peer)
    }
}
