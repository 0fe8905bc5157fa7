//! From the registrar to the world: each change goes to the journal before its 200, and to the log when it says
//! something that the log does not say yet.
//!
//! `Bind.until` is the end of the grant, not of the registration: a refresh that changes nothing else appends nothing
//! until 80 % of that time has gone.

use super::{Output, Pending, journal, output::Stream, outside::Outside};
use dots_overlay::{
    core::OverlayCore,
    directory::{Found, State},
    names::Realms,
    records::{Bind, Event, Unbind},
};
use dots_sip::{
    address::realm_of,
    ids::AskId,
    registrar::{Binding, BindingChange, Bindings, Bound},
};
use dots_wire::{Hash, Now, PeerId, Timestamp, sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The journal is rewritten when it holds this many records more than twice the live bindings.
const JOURNAL_SLACK: usize = 50_000;
/// The registrar's table is looked through for renewals in so many rounds, or in parts of this many.
const ROUNDS: usize = 64;
const PART: usize = 256;

/// A phone by short names: [`Bindings::name_of`] its AOR, and the beginning of its instance's hash.
type Phone = (u64, u64);

/// What our log says of our phones. The registrar bounds their number, and has their names and their newest grants: here is
/// only what it does not know.
#[derive(Default)]
pub struct Published {
    said: BTreeMap<Phone, Said>,
    /// The beginning of an aor_id, and the AOR's name.
    by_id: BTreeSet<(u64, u64)>,
    /// Where the next look for renewals begins.
    next_place: usize,
    /// Records in the binding journal, about.
    journaled: usize,
}

/// What the log is written with.
pub(super) struct LogAccess<'a> {
    pub now: Now,
    pub overlay: &'a mut OverlayCore,
    pub realms: &'a Realms,
    pub phones: &'a Bindings,
}

#[derive(Clone, Copy)]
struct Said {
    aor_id: Hash,
    renew_at: Timestamp,
    until: Timestamp,
}

impl Published {
    /// One of our own phones, from what the log calls it.
    pub fn phone<'a>(&self, phones: &'a Bindings, aor_id: Hash, instance: Hash) -> Option<Bound<'a>> {
        let id = begin(aor_id);
        let names = self.by_id.range((id, 0)..=(id, u64::MAX)).map(|(_, name)| *name);
        let said = names.filter(|name| {
            self.said.get(&(*name, begin(instance))).is_some_and(|said| said.aor_id == aor_id)
        });
        said.flat_map(|name| phones.named(name)).find(|bound| instance_hash(bound.instance) == instance)
    }

    fn insert(&mut self, phone: Phone, said: Said) {
        self.remove(phone);
        self.by_id.insert((begin(said.aor_id), phone.0));
        self.said.insert(phone, said);
    }

    fn remove(&mut self, phone: Phone) -> Option<Said> {
        let said = self.said.remove(&phone)?;
        let id = begin(said.aor_id);
        let mut others = self.said.range((phone.0, 0)..=(phone.0, u64::MAX));
        if !others.any(|(_, other)| begin(other.aor_id) == id) {
            let was_there = self.by_id.remove(&(id, phone.0));
            debug_assert!(was_there, "what is said is found by its id");
        }
        Some(said)
    }
}

fn phone_of(phones: &Bindings, aor: &str, instance: &str) -> Phone {
    (phones.name_of(aor), begin(instance_hash(instance)))
}

fn begin(hash: Hash) -> u64 {
    hash.0.iter().take(8).fold(0, |n, byte| (n << 8) | u64::from(*byte))
}

impl Published {
    /// `journaled`: records that the journal holds at start.
    pub fn new(journaled: usize) -> Published {
        Published { journaled, ..Published::default() }
    }

    /// A change that a phone waits for.
    pub(super) fn on_journal(
        &mut self,
        log: &mut LogAccess<'_>,
        outside: &mut Outside,
        ask: AskId,
        change: &BindingChange,
    ) {
        outside.append(Pending::Journal { ask }, Stream::Bindings, journal::encode_change(change), false);
        self.journaled += 1;
        self.publish(log, outside, change);
    }

    /// Refreshes make the journal longer and say nothing new: now and then it is cut down to what lives.
    pub(super) fn compact_journal(&mut self, outside: &mut Outside, phones: &Bindings) {
        let live = phones.len();
        if self.journaled > 2 * live + JOURNAL_SLACK {
            let records = phones.iter().map(|bound| journal::encode_binding(bound.to_binding())).collect();
            self.journaled = live;
            outside.put(Output::Rewrite { stream: Stream::Bindings, records });
        }
    }

    /// A phone that moved away does not answer here: our log no longer says that it is here. Its next REGISTER says so again.
    pub(super) fn withdraw(&mut self, log: &mut LogAccess<'_>, aor_id: Hash, instance: Hash) {
        let Some(bound) = self.phone(log.phones, aor_id, instance) else { return };
        self.remove(phone_of(log.phones, bound.aor, bound.instance));
        log.overlay.append(log.now, Event::Unbind(Unbind { aor_id, instance }));
    }

    /// A binding ended by time or by the operator; nobody waits.
    pub(super) fn on_expired(
        &mut self,
        log: &mut LogAccess<'_>,
        outside: &mut Outside,
        change: &BindingChange,
    ) {
        outside.append(Pending::Written, Stream::Bindings, journal::encode_change(change), false);
        self.journaled += 1;
        self.publish(log, outside, change);
    }

    fn publish(&mut self, log: &mut LogAccess<'_>, outside: &mut Outside, change: &BindingChange) {
        for instance in &change.removed {
            if let Some(said) = self.remove(phone_of(log.phones, &change.aor, instance)) {
                let event = Unbind { aor_id: said.aor_id, instance: instance_hash(instance) };
                log.overlay.append(log.now, Event::Unbind(event));
            }
        }
        for binding in &change.put {
            if !self.publish_binding(log, binding) {
                outside.count("bindings_not_published");
            }
        }
    }

    /// Says it in the log, unless the log says it already and for long enough. `false`: it has no name there.
    pub(super) fn publish_binding(&mut self, log: &mut LogAccess<'_>, binding: &Binding) -> bool {
        let said = self.said.get(&phone_of(log.phones, &binding.aor, &binding.instance));
        if let Some(said) = said.filter(|said| log.now.wall < said.renew_at) {
            let (aor_id, instance) = (said.aor_id, || instance_hash(&binding.instance));
            log.overlay.registered(log.now, aor_id, instance);
            return true;
        }
        let until = Timestamp(binding.granted_until_ms);
        self.say(log, (&binding.aor, &binding.instance), binding.grant.clone(), until)
    }

    fn say(
        &mut self,
        log: &mut LogAccess<'_>,
        (aor, instance): (&str, &str),
        grant: Arc<[u8]>,
        until: Timestamp,
    ) -> bool {
        // Without the realm's record there is no public name for this AOR; its home knows where it is.
        let Some(record) = log.realms.lookup(realm_of(aor), log.now.wall) else { return false };
        let (aor_id, realm) = (record.aor_id(aor), record.id());
        let renew_at = log.now.wall.plus(until.since(log.now.wall).mul_f32(0.8));
        self.insert(phone_of(log.phones, aor, instance), Said { aor_id, renew_at, until });
        let (instance, grant) = (instance_hash(instance), (!grant.is_empty()).then(|| grant.into()));
        log.overlay.append(log.now, Event::Bind(Bind { aor_id, realm, instance, until, grant }));
        true
    }

    /// Bindings that live on but whose word in the log runs out: said again with the newest grant. Each call looks at a part of
    /// them, so that no round takes long; between 80 % of a word's time and its end there are many rounds.
    pub(super) fn renew(&mut self, log: &mut LogAccess<'_>) {
        let (phones, now) = (log.phones, log.now);
        let part = PART.max(phones.places() / ROUNDS);
        let from = if self.next_place < phones.places() { self.next_place } else { 0 };
        self.next_place = from + part;
        for bound in phones.in_places(from..from + part) {
            let said = self.said.get(&phone_of(phones, bound.aor, bound.instance)).copied();
            let newest = Timestamp(bound.granted_until_ms);
            // Where there is nothing newer to say, the phone's next REGISTER brings it: it finds `renew_at` past.
            if said.is_some_and(|said| said.renew_at <= now.wall && said.until < newest) {
                self.say(log, (bound.aor, bound.instance), bound.grant(), newest);
            }
        }
    }
}

/// The state of a phone of ours, for whoever shows it: what the directory holds, which others say too; but one that nothing can be
/// sent to is stale before they have heard so.
pub fn state_of(bound: &Bound<'_>, found: Option<&Found>) -> State {
    match bound.is_reachable() {
        true => found.map_or(State::Pending, |found| found.state),
        false => State::Stale,
    }
}

/// What the directory holds of the phone `instance` of this AOR at the peer `serving`.
pub fn found_of(
    realms: &Realms,
    overlay: &OverlayCore,
    now: Now,
    serving: PeerId,
    aor: &str,
    instance: Hash,
) -> Option<Found> {
    let record = realms.lookup(realm_of(aor), now.wall)?;
    let found = overlay.lookup(record.aor_id(aor), record.id());
    found.into_iter().find(|f| f.serving == serving && f.instance == instance)
}

pub fn instance_hash(instance: &str) -> Hash {
    sha256(instance.as_bytes())
}
