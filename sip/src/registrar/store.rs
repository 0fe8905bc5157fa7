//! The bindings that this peer serves, in memory.
//!
//! One table by AOR holds them; two indexes answer the two questions that a full scan would be too slow for: what
//! ends next, and what hung on the connection that just closed. The table is changed only through
//! [`Bindings::apply`], with the very change that goes into the journal, so that replaying the journal rebuilds it.
//!
//! A binding whose TCP connection is gone stays: the lease is the phone's, and the phone comes back with the same
//! instance on a new connection. Until then it is listed, but not *reachable*: calls do not wait 32 s on a dead
//! socket (RFC 5626 §5.3: 430).

use super::{Binding, BindingChange};
use crate::Flow;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Phones of one account: enough for a household, and the 200 that lists them all still fits a datagram.
pub const MAX_CONTACTS_PER_AOR: usize = 10;
/// Bindings of one peer, all accounts together: about 1 KiB each.
pub const MAX_BINDINGS: usize = 200_000;

type Key = (String, String);

#[derive(Debug, Default)]
pub struct Bindings {
    by_aor: BTreeMap<String, BTreeMap<String, Held>>,
    by_expiry: BTreeSet<(u64, String, String)>,
    by_flow: BTreeMap<Flow, BTreeSet<Key>>,
    count: usize,
    /// Counts what was put: the order of refreshes.
    puts: u64,
}

#[derive(Debug)]
struct Held {
    binding: Binding,
    reachable: bool,
    refreshed: u64,
}

impl Bindings {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All bindings of an AOR, by instance.
    pub fn of(&self, aor: &str) -> impl Iterator<Item = &Binding> {
        self.by_aor.get(aor).into_iter().flat_map(|held| held.values()).map(|held| &held.binding)
    }

    /// Those that a request can be sent to now, best `q` first.
    pub fn reachable(&self, aor: &str, now_ms: u64) -> Vec<&Binding> {
        let held = self.by_aor.get(aor).into_iter().flat_map(|held| held.values());
        let mut found: Vec<&Binding> = held
            .filter(|held| held.reachable && held.binding.expires_at_ms > now_ms)
            .map(|held| &held.binding)
            .collect();
        found.sort_by_key(|binding| std::cmp::Reverse(binding.q));
        found
    }

    pub fn by_instance(&self, aor: &str, instance: &str) -> Option<&Binding> {
        self.by_aor.get(aor)?.get(instance).map(|held| &held.binding)
    }

    pub fn is_reachable(&self, aor: &str, instance: &str) -> bool {
        self.by_aor.get(aor).and_then(|held| held.get(instance)).is_some_and(|held| held.reachable)
    }

    /// Grows with each refresh of any binding, so the smallest was refreshed least recently.
    pub(super) fn refreshed(&self, aor: &str, instance: &str) -> u64 {
        self.by_aor.get(aor).and_then(|held| held.get(instance)).map_or(0, |held| held.refreshed)
    }

    /// The phone answered there. Nothing, if it is bound no more or has moved.
    pub(super) fn set_listens(&mut self, aor: &str, instance: &str, at: SocketAddr) {
        let held = self.by_aor.get_mut(aor).and_then(|held| held.get_mut(instance));
        if let Some(held) = held.filter(|held| held.binding.flow.remote.ip() == at.ip()) {
            held.binding.listens = Some(at);
        }
    }

    /// The bindings that were registered over this flow and are still served by it.
    pub fn by_flow(&self, flow: &Flow) -> impl Iterator<Item = &Binding> {
        let keys = self.by_flow.get(flow).into_iter().flatten();
        keys.filter_map(|(aor, instance)| self.by_instance(aor, instance))
    }

    /// The connection is gone: what hung on it stays bound but is not reachable. The count is what was cut off.
    /// A datagram "flow" cannot close; one refused datagram (ICMP) is no proof, so UDP bindings keep their state.
    pub fn flow_closed(&mut self, flow: &Flow) -> usize {
        if !flow.transport.is_reliable() {
            return 0;
        }
        let keys = self.by_flow.remove(flow).unwrap_or_default();
        for (aor, instance) in &keys {
            if let Some(held) = self.by_aor.get_mut(aor).and_then(|held| held.get_mut(instance)) {
                held.reachable = false;
            }
        }
        keys.len()
    }

    /// Does this change keep within the limits? Asked before it is journaled.
    pub fn has_room_for(&self, change: &BindingChange) -> bool {
        let mut instances: BTreeSet<&str> = self.of(&change.aor).map(|b| b.instance.as_str()).collect();
        let before = instances.len();
        for instance in &change.removed {
            instances.remove(instance.as_str());
        }
        instances.extend(change.put.iter().map(|b| b.instance.as_str()));
        let after = instances.len();
        // A refresh or a removal is never refused for want of room.
        after <= before || (after <= MAX_CONTACTS_PER_AOR && self.count - before + after <= MAX_BINDINGS)
    }

    /// Makes the change; `false` (and nothing done) if it does not fit.
    #[must_use]
    pub fn apply(&mut self, change: &BindingChange) -> bool {
        if !self.has_room_for(change) || change.put.iter().any(|binding| binding.aor != change.aor) {
            return false;
        }
        for instance in &change.removed {
            self.remove(&change.aor, instance);
        }
        for binding in &change.put {
            self.put(binding.clone(), true);
        }
        true
    }

    /// A live binding from the journal. Its TCP connection died with the process that wrote it (and the number of
    /// that connection may be given anew), so only UDP bindings are reachable before the phone's next REGISTER.
    #[must_use]
    pub fn restore(&mut self, binding: Binding) -> bool {
        let reachable = !binding.flow.transport.is_reliable();
        let change = BindingChange { aor: binding.aor.clone(), put: vec![binding], removed: Vec::new() };
        let fits = self.has_room_for(&change);
        for binding in change.put.into_iter().filter(|_| fits) {
            self.put(binding, reachable);
        }
        fits
    }

    /// When the next binding ends.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.by_expiry.first().map(|(at, ..)| *at)
    }

    /// Takes out what has ended by `now_ms`: one change per AOR, in the order of their first end.
    pub fn expire(&mut self, now_ms: u64) -> Vec<BindingChange> {
        let mut changes: Vec<BindingChange> = Vec::new();
        let mut index: BTreeMap<String, usize> = BTreeMap::new();
        while let Some((at, aor, instance)) = self.by_expiry.first().cloned() {
            if at > now_ms {
                break;
            }
            self.remove(&aor, &instance);
            let slot = *index.entry(aor.clone()).or_insert_with(|| {
                changes.push(BindingChange { aor, put: Vec::new(), removed: Vec::new() });
                changes.len() - 1
            });
            if let Some(change) = changes.get_mut(slot) {
                change.removed.push(instance);
            }
        }
        changes
    }

    /// All bindings, by AOR and instance.
    pub fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.by_aor.values().flat_map(|held| held.values()).map(|held| &held.binding)
    }

    fn put(&mut self, binding: Binding, reachable: bool) {
        self.remove(&binding.aor, &binding.instance);
        let key = (binding.aor.clone(), binding.instance.clone());
        self.by_expiry.insert((binding.expires_at_ms, key.0.clone(), key.1.clone()));
        if reachable {
            self.by_flow.entry(binding.flow).or_default().insert(key.clone());
        }
        self.puts += 1;
        let held = Held { binding, reachable, refreshed: self.puts };
        self.by_aor.entry(key.0).or_default().insert(key.1, held);
        self.count += 1;
    }

    fn remove(&mut self, aor: &str, instance: &str) {
        let Some(of_aor) = self.by_aor.get_mut(aor) else { return };
        let Some(Held { binding, .. }) = of_aor.remove(instance) else { return };
        if of_aor.is_empty() {
            self.by_aor.remove(aor);
        }
        self.count -= 1;
        let key = (binding.aor, binding.instance);
        if let Some(keys) = self.by_flow.get_mut(&binding.flow) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_flow.remove(&binding.flow);
            }
        }
        self.by_expiry.remove(&(binding.expires_at_ms, key.0, key.1));
    }
}

#[cfg(test)]
mod tests;
