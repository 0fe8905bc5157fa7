//! From the registrar to the world: each change goes to the journal before its 200, and to the log when it says
//! something that the log does not say yet.
//!
//! `Bind.until` is the end of the grant, not of the registration: a refresh that changes nothing else appends nothing
//! until 80 % of that time has gone.

use super::{Output, Peer, Pending, journal, output::Stream};
use dots_overlay::{
    directory::Found,
    records::{Bind, Event, Unbind},
};
use dots_sip::{
    address::realm_of,
    input::AskId,
    registrar::{Binding, BindingChange},
};
use dots_wire::{Hash, Now, Timestamp, sha256};
use serde_bytes::ByteBuf;
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

impl Peer {
    pub(super) fn on_journal(&mut self, now: Now, ask: AskId, change: &BindingChange) {
        self.outside.append(
            Pending::Journal { ask },
            Stream::Bindings,
            journal::encode_change(change),
            false,
        );
        self.journaled += 1;
        self.publish(now, change);
    }

    /// Refreshes make the journal longer and say nothing new: now and then it is cut down to what lives.
    pub(super) fn compact_journal(&mut self) {
        let live = self.sip.bindings().len();
        if self.journaled > 2 * live + JOURNAL_SLACK {
            let records = self.sip.bindings().iter().cloned().map(journal::encode_binding).collect();
            self.journaled = live;
            self.outside.put(Output::Rewrite { stream: Stream::Bindings, records });
        }
    }

    pub(super) fn on_expired(&mut self, now: Now, change: &BindingChange) {
        self.outside.append(Pending::Written, Stream::Bindings, journal::encode_change(change), false);
        self.journaled += 1;
        self.publish(now, change);
    }

    fn publish(&mut self, now: Now, change: &BindingChange) {
        for instance in &change.removed {
            if let Some(said) = self.published.remove(&(change.aor.clone(), instance.clone())) {
                let event = Unbind { aor_id: said.aor_id, instance: instance_hash(instance) };
                self.overlay.append(now, Event::Unbind(event));
            }
        }
        for binding in &change.put {
            self.publish_binding(now, binding);
        }
    }

    /// Says it in the log, unless the log says it already and for long enough.
    pub(super) fn publish_binding(&mut self, now: Now, binding: &Binding) {
        let phone = (binding.aor.clone(), binding.instance.clone());
        let granted_until = Timestamp(binding.granted_until_ms);
        if let Some(said) = self.published.by_phone.get_mut(&phone)
            && now.wall < said.renew_at
        {
            said.grant = binding.grant.clone();
            said.granted_until = granted_until;
            return;
        }
        self.say(now, phone, binding.grant.clone(), granted_until);
    }

    fn say(&mut self, now: Now, phone: Phone, grant: Arc<[u8]>, until: Timestamp) {
        let realm = realm_of(&phone.0);
        // Without the realm's record there is no public name for this AOR; its home knows where it is.
        let Some(record) = self.realms.lookup(realm, now.wall) else { return };
        let aor_id = record.aor_id(&phone.0);
        let event = Event::Bind(Bind {
            aor_id,
            realm: record.id(),
            instance: instance_hash(&phone.1),
            until,
            grant: (!grant.is_empty()).then(|| ByteBuf::from(grant.to_vec())),
        });
        let renew_at = now.wall.plus(until.since(now.wall).mul_f32(0.8));
        self.published.insert(phone, Said { aor_id, renew_at, until, grant, granted_until: until });
        self.overlay.append(now, event);
    }

    /// Bindings that live on but whose word in the log runs out: said again with the newest grant.
    pub(super) fn renew_bindings(&mut self, now: Now) {
        let due: Vec<Phone> = self
            .published
            .renewals
            .iter()
            .take_while(|(at, _)| *at <= now.wall)
            .take(RENEWALS_MAX)
            .map(|(_, phone)| phone.clone())
            .collect();
        for phone in due {
            // Where there is nothing newer to say, the phone's next REGISTER brings it: it finds `renew_at` past.
            if let Some((grant, until)) = self.published.renewal(&phone) {
                self.say(now, phone, grant, until);
            }
        }
    }

    /// What the directory says of one of our own phones.
    pub(super) fn own_state(&self, now: Now, aor: &str, instance: &str) -> Option<Found> {
        let realm = realm_of(aor);
        let record = self.realms.lookup(realm, now.wall)?;
        let hash = instance_hash(instance);
        self.overlay
            .lookup(record.aor_id(aor), record.id())
            .into_iter()
            .find(|f| f.serving == self.me && f.instance == hash)
    }
}

pub fn instance_hash(instance: &str) -> Hash {
    sha256(instance.as_bytes())
}
