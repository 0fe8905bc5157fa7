//! Is this record believed? Whose a name is stands above; here is what a record must have to count, and what it changes.

use super::{
    Belief, Change, FUTURE_MAX, Heard, KNOWN_BYTES_MAX, Known, NAMES_OF_KEY_MAX, REALMS_MAX, RENEWED_EVERY,
    RIVALS_MAX, Realms, Refused, Teller, add_rival, is_name, self_certifying,
};
use crate::records::{
    RealmRecord,
    realm::{HOMES_MAX, LISTED_MAX, REALM_DOMAIN, REALM_VERSION, RECORD_MAX, Serving, VALID_MAX},
};
use dots_wire::{PublicKey, Signed, Timestamp};

impl Realms {
    /// REC-3: a record, told by the authenticated peer `from`.
    pub fn accept(
        &mut self,
        record: &Signed,
        from: impl Into<Teller>,
        now: Timestamp,
    ) -> Result<Heard, Refused> {
        if record.payload.len() > RECORD_MAX {
            return Err(Refused::Unreadable);
        }
        let read: RealmRecord = record.peek().map_err(|_| Refused::Unreadable)?;
        if read.version != REALM_VERSION {
            return Err(Refused::Unreadable);
        }
        let listed = if let Serving::Listed(peers) = &read.serving { peers.len() } else { 0 };
        if !is_name(&read.name)
            || read.homes.is_empty()
            || read.homes.len() > HOMES_MAX
            || listed > LISTED_MAX
        {
            return Err(Refused::Malformed);
        }
        if read.valid_until <= now || read.valid_until.since(now) > VALID_MAX + FUTURE_MAX {
            return Err(Refused::Time);
        }
        let known = self.known.get(&read.name);
        if known.is_some_and(|k| k.record.as_ref() == Some(record)) {
            return Ok(Heard::Known);
        }
        if known.and_then(Known::read).is_some_and(|k| k.key == read.key && k.seq >= read.seq) {
            return Err(Refused::Older);
        }
        record.verify(&read.key, REALM_DOMAIN).map_err(|_| Refused::Signature)?;
        self.believe(read, record.clone(), from.into(), now)
    }

    fn believe(
        &mut self,
        read: RealmRecord,
        record: Signed,
        from: Teller,
        now: Timestamp,
    ) -> Result<Heard, Refused> {
        let name = read.name.clone();
        let proves_itself = self_certifying(&read.key) == name;
        if name.ends_with(".dots") && !proves_itself {
            return Err(Refused::NotItsName);
        }
        match self.known.get(&name).cloned() {
            Some(known) if known.key == read.key => self.renew(known, read, record, from, now),
            Some(known) => Ok(self.rival(known, read, record, from, now)?),
            None if !proves_itself && !read.is_home(from.peer) => Err(Refused::NotFromHome),
            // Whoever judges what a key grants looks at each of its names.
            None if self
                .by_id
                .get(&read.key.label())
                .is_some_and(|names| names.len() >= NAMES_OF_KEY_MAX) =>
            {
                Err(Refused::KeyHasMany)
            }
            None => {
                let belief = if proves_itself { Belief::SelfCertifying } else { Belief::Unclaimed };
                // What somebody here wants costs who tells it nothing; what nobody asked for is limited.
                if !from.is_asked && !self.announced.may(from.peer, belief) {
                    return Err(Refused::TooMany);
                }
                let key = read.key;
                let known = Known {
                    announcer: Some(from.peer),
                    brought: from.brought(),
                    record: Some(record),
                    read: Some(read),
                    ..Known::bare(key, belief)
                };
                self.put(name, known, from, now)
            }
        }
    }

    /// A newer record by the key that is believed.
    fn renew(
        &mut self,
        known: Known,
        read: RealmRecord,
        record: Signed,
        from: Teller,
        now: Timestamp,
    ) -> Result<Heard, Refused> {
        let name = read.name.clone();
        let replaces = known.record.is_some() && known.belief != Belief::Own;
        if replaces && now.since(known.renewed) < RENEWED_EVERY {
            return Err(Refused::TooSoon);
        }
        let renewed = if replaces { now } else { known.renewed };
        let known = Known { record: Some(record), read: Some(read), renewed, ..known };
        self.put(name, known, from, now)
    }

    /// A record by another key than the one that is believed.
    fn rival(
        &mut self,
        mut known: Known,
        read: RealmRecord,
        record: Signed,
        from: Teller,
        now: Timestamp,
    ) -> Result<Heard, Refused> {
        let (name, key, network) = (read.name.clone(), read.key, from.network());
        let asks = self.wants_txt(&name);
        if asks {
            self.dns.remember(&name, read, record, network);
            if self.dns.proves(&name, &key, now) {
                return Ok(Heard::Changed(self.prove(&name, key).into_iter().collect()));
            }
        }
        if known.rivals.len() < RIVALS_MAX && !known.rivals.contains(&key) {
            // The caller asks about each change.
            self.dns.may_ask(&name, network, now);
            add_rival(&mut known.rivals, key);
            return Ok(Heard::Changed(vec![self.set(name, known)]));
        }
        if asks && self.dns.may_ask(&name, network, now) {
            Ok(Heard::AskDns(name))
        } else {
            Err(Refused::Rival)
        }
    }

    /// What DNS says of this name outweighs the key that was believed.
    fn prove(&mut self, name: &str, key: PublicKey) -> Option<Change> {
        let change = self.pin(name, key, Belief::Txt);
        let Some((read, record)) = self.dns.take(name, &key) else { return change };
        let older = |k: &&Known| k.read().is_none_or(|r| r.seq < read.seq);
        let Some(known) = self.known.get(name).filter(older).cloned() else { return change };
        Some(self.set(name.to_owned(), Known { record: Some(record), read: Some(read), ..known }))
    }

    /// What `from` tells of this name now, if there is room for it, and what had to go for that.
    fn put(&mut self, name: String, known: Known, from: Teller, now: Timestamp) -> Result<Heard, Refused> {
        let weight = known.weight(&name);
        let mut changes = self.make_room(&name, weight, from, now);
        match self.has_room(&name, weight) {
            true => changes.push(self.set(name, known)),
            false if changes.is_empty() => return Err(Refused::Full),
            // It was not enough: what went is gone all the same.
            false => {}
        }
        Ok(Heard::Changed(changes))
    }

    /// Room for so many bytes under this name, which may stand here already.
    fn has_room(&self, name: &str, weight: usize) -> bool {
        let (places, held) = self.known.get(name).map_or((1, 0), |known| (0, known.weight(name)));
        self.known.len() + places <= REALMS_MAX && self.bytes - held + weight <= KNOWN_BYTES_MAX
    }

    fn make_room(&mut self, name: &str, weight: usize, from: Teller, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        if !self.has_room(name, weight) && now.since(self.cleared) >= RENEWED_EVERY {
            self.cleared = now;
            let kept = |k: &Known| matches!(k.belief, Belief::Own | Belief::Pinned);
            let live = |k: &Known| k.read().is_some_and(|r| r.valid_until > now);
            let over = self.known.iter().filter(|(other, k)| *other != name && !kept(k) && !live(k));
            let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
            changes.extend(over.iter().filter_map(|name| self.forget(name)));
        }
        while !self.has_room(name, weight) {
            let largest = self.announced.of_largest(from.network(), weight);
            let Some(change) = largest.and_then(|largest| self.forget(&largest)) else { break };
            changes.push(change);
        }
        changes
    }

    /// What DNS says at `_dots.<name>`: it outweighs the first key heard, and nothing else. It is remembered, so that
    /// the owner's record counts when it comes, however many others claim the name.
    pub fn heard_txt(&mut self, name: &str, values: &[String], now: Timestamp) -> Option<Change> {
        let known = self.known.get(name).filter(|k| k.belief <= Belief::Txt)?;
        self.dns.heard(name, values, known.teller().map_or(0, |teller| teller.network()), now);
        let candidates = self.dns.candidates(name);
        let keys = std::iter::once(&known.key).chain(&known.rivals).chain(candidates);
        let key = keys.copied().find(|key| self.dns.proves(name, key, now));
        let key = key?;
        self.prove(name, key)
    }
}
