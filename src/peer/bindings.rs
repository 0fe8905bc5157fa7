//! From the registrar to the world: each change goes to the journal before its 200, and to the log when it says
//! something that the log does not say yet.
//!
//! `Bind.until` is the end of the grant, not of the registration: a refresh that changes nothing else appends nothing
//! until 80 % of that time has gone.

use super::{Output, Pending, journal, output::Stream, outside::Outside};
use dots_overlay::{
    core::OverlayCore,
    directory::Found,
    names::Realms,
    records::{Bind, Event, Unbind},
};
use dots_sip::{
    address::realm_of,
    ids::AskId,
    registrar::{Binding, BindingChange, Bindings},
};
use dots_wire::{Hash, Now, PeerId, Timestamp, sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The journal is rewritten when it holds this many records more than twice the live bindings.
const JOURNAL_SLACK: usize = 50_000;
/// Renewals per housekeeping round, so that no round takes long.
const RENEWALS_MAX: usize = 1_000;
/// (AOR, instance), as the registrar knows a phone.
type Phone = (String, String);

/// What our log says of our phones. The registrar bounds their number.
#[derive(Default)]
pub struct Published {
    by_phone: BTreeMap<Phone, Said>,
    by_id: BTreeMap<(Hash, Hash), Phone>,
    renewals: BTreeSet<(Timestamp, Phone)>,
    /// Records in the binding journal, about.
    journaled: usize,
}

/// What the log is written with.
pub(super) struct LogAccess<'a> {
    pub now: Now,
    pub overlay: &'a mut OverlayCore,
    pub realms: &'a Realms,
}

struct Said {
    aor_id: Hash,
    renew_at: Timestamp,
    until: Timestamp,
    /// The newest grant, which the log may not hold yet.
    grant: Arc<[u8]>,
    granted_until: Timestamp,
}

impl Published {
    /// One of our own phones, from what the log calls it.
    pub fn phone(&self, aor_id: Hash, instance: Hash) -> Option<&Phone> {
        self.by_id.get(&(aor_id, instance))
    }

    fn insert(&mut self, phone: Phone, said: Said) {
        self.remove(&phone);
        self.renewals.insert((said.renew_at, phone.clone()));
        self.by_id.insert((said.aor_id, instance_hash(&phone.1)), phone.clone());
        self.by_phone.insert(phone, said);
    }

    /// A renewal that is due leaves the list: with the grant to say now, if there is a newer one.
    fn renewal(&mut self, phone: &Phone) -> Option<(Arc<[u8]>, Timestamp)> {
        let said = self.by_phone.get(phone)?;
        self.renewals.remove(&(said.renew_at, phone.clone()));
        (said.granted_until > said.until).then(|| (said.grant.clone(), said.granted_until))
    }

    fn remove(&mut self, phone: &Phone) -> Option<Said> {
        let said = self.by_phone.remove(phone)?;
        self.renewals.remove(&(said.renew_at, phone.clone()));
        self.by_id.remove(&(said.aor_id, instance_hash(&phone.1)));
        Some(said)
    }
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
        self.publish(log, change);
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

    /// A binding ended by time or by the operator; nobody waits.
    pub(super) fn on_expired(
        &mut self,
        log: &mut LogAccess<'_>,
        outside: &mut Outside,
        change: &BindingChange,
    ) {
        outside.append(Pending::Written, Stream::Bindings, journal::encode_change(change), false);
        self.journaled += 1;
        self.publish(log, change);
    }

    fn publish(&mut self, log: &mut LogAccess<'_>, change: &BindingChange) {
        for instance in &change.removed {
            if let Some(said) = self.remove(&(change.aor.clone(), instance.clone())) {
                let event = Unbind { aor_id: said.aor_id, instance: instance_hash(instance) };
                log.overlay.append(log.now, Event::Unbind(event));
            }
        }
        for binding in &change.put {
            self.publish_binding(log, binding);
        }
    }

    /// Says it in the log, unless the log says it already and for long enough.
    pub(super) fn publish_binding(&mut self, log: &mut LogAccess<'_>, binding: &Binding) {
        let phone = (binding.aor.clone(), binding.instance.clone());
        let granted_until = Timestamp(binding.granted_until_ms);
        if let Some(said) = self.by_phone.get_mut(&phone)
            && log.now.wall < said.renew_at
        {
            said.grant = binding.grant.clone();
            said.granted_until = granted_until;
            return;
        }
        self.say(log, phone, binding.grant.clone(), granted_until);
    }

    fn say(&mut self, log: &mut LogAccess<'_>, phone: Phone, grant: Arc<[u8]>, until: Timestamp) {
        let realm = realm_of(&phone.0);
        // Without the realm's record there is no public name for this AOR; its home knows where it is.
        let Some(record) = log.realms.lookup(realm, log.now.wall) else { return };
        let aor_id = record.aor_id(&phone.0);
        let event = Event::Bind(Bind {
            aor_id,
            realm: record.id(),
            instance: instance_hash(&phone.1),
            until,
            grant: (!grant.is_empty()).then(|| grant.clone().into()),
        });
        let renew_at = log.now.wall.plus(until.since(log.now.wall).mul_f32(0.8));
        self.insert(phone, Said { aor_id, renew_at, until, grant, granted_until: until });
        log.overlay.append(log.now, event);
    }

    /// Bindings that live on but whose word in the log runs out: said again with the newest grant.
    pub(super) fn renew(&mut self, log: &mut LogAccess<'_>) {
        let due: Vec<Phone> = self
            .renewals
            .iter()
            .take_while(|(at, _)| *at <= log.now.wall)
            .take(RENEWALS_MAX)
            .map(|(_, phone)| phone.clone())
            .collect();
        for phone in due {
            // Where there is nothing newer to say, the phone's next REGISTER brings it: it finds `renew_at` past.
            if let Some((grant, until)) = self.renewal(&phone) {
                self.say(log, phone, grant, until);
            }
        }
    }
}

/// What the directory holds of the phone `instance` of this AOR at the peer `serving`.
pub fn state_of(
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
