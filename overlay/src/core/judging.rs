//! What the peer is asked to judge: foreign bindings, when they come and when their realm becomes known.

use super::{OverlayCore, OverlayOutput};
use crate::{directory::Binding, verify::place_of};
use dots_wire::{
    Label20, Now,
    bounded::{Cause, Standing},
};
use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Bindings judged at once, and the pause after: a realm that many lied about does not stop the peer.
const AT_ONCE: usize = 128;
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Default)]
pub struct Judging {
    /// Realm, and the last binding of it that the peer was asked about.
    realms: VecDeque<(Label20, u64)>,
    /// The same, to be found.
    waiting: BTreeSet<Label20>,
    at: Option<Instant>,
}

impl Judging {
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }
}

impl OverlayCore {
    /// Bindings that came: those that were judged before are known, the others are the peer's to judge.
    pub(super) fn claim(&mut self, now: Now) {
        for claim in self.directory.take_claims() {
            match claim.is_granted {
                true => self.watch(now, claim.binding),
                false => self.out.push_back(OverlayOutput::NewBind(claim)),
            }
        }
    }

    /// The binding of a [`OverlayOutput::NewBind`]: a home of its realm says so, and `cause` pays for it: standing and realm,
    /// and the network in which we reached that home.
    pub fn granted(&mut self, now: Now, binding: Binding, cause: Cause) {
        self.latest = now;
        let realm = self.directory.realm_of(binding);
        if !self.directory.granted(binding, cause) {
            return self.count("directory_full");
        }
        if self.treasury.pays(now, cause) {
            self.chains.pay(binding.2, realm, cause);
        }
        self.watch(now, binding);
        let (aor_id, instance, serving) = binding;
        if serving != self.me && self.directory.holds((aor_id, instance, self.me)) {
            self.pinger.on_moved(now, aor_id, instance);
            self.flush_verify();
        }
    }

    fn watch(&mut self, now: Now, binding: Binding) {
        if let Some(row) = self.directory.row_of(binding) {
            let place = place_of(self.me, self.sync.neighbours(), &binding, now.wall);
            let cause = Cause::new(Standing::Other).of_realm(&self.directory.realm_of(binding).0);
            self.verifier.on_granted(now, row, cause.by(&binding.2.to_bytes()), place, &mut self.rng);
        }
    }

    /// The binding of a [`OverlayOutput::NewBind`]: no home of its realm says so. It is dropped.
    pub fn refused(&mut self, now: Now, binding: Binding) {
        self.latest = now;
        self.directory.refused(binding);
        self.count("directory_refused");
        self.tell_changes();
    }

    /// The record of this realm is known now, or a newer one: its bindings can be judged.
    pub fn realm_known(&mut self, now: Now, realm: Label20) {
        self.chains.know(realm);
        // As many realms wait as have a binding that waits, so the room for these bounds them.
        let waits = !self.directory.unjudged(realm, 0, 1).is_empty();
        if waits && self.judging.waiting.insert(realm) {
            self.judging.realms.push_back((realm, 0));
            self.judging.at.get_or_insert(now.mono);
        }
    }

    /// A realm of our own, or one that the operator vouches for: what is said of it is never too much.
    pub fn favour(&mut self, realm: Label20) {
        self.chains.favour(realm);
    }

    pub(super) fn judge_due(&mut self, now: Now) {
        if self.judging.at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.judging.at = None;
        let Some((realm, after)) = self.judging.realms.pop_front() else { return };
        let waiting = self.directory.unjudged(realm, after, AT_ONCE);
        match waiting.last().filter(|_| waiting.len() == AT_ONCE) {
            Some((last, _)) => self.judging.realms.push_back((realm, *last)),
            None => drop(self.judging.waiting.remove(&realm)),
        }
        self.out.extend(waiting.into_iter().map(|(_, claim)| OverlayOutput::NewBind(claim)));
        if !self.judging.realms.is_empty() {
            self.judging.at = Some(now.mono + PAUSE);
        }
    }
}
