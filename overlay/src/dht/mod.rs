//! What the DHT holds under an aor_id: a *set* of at most 8 bindings, for readers that do not replicate the directory.
//!
//! Each binding is signed by its serving peer and carries the home's grant, so neither a holder nor the path there can
//! invent one. It is checked before it is stored ([`merge`]) and before it is believed ([`read`]), each signature once.

pub(crate) mod puts;
#[cfg(test)]
mod tests;

pub use puts::Puts;

use crate::{grant::PROOF_MAX, records::Bind};
use dots_wire::{Checked, Hash, Label20, PeerId, SecretKey, SharedBytes, Signed, Timestamp, decode, encode};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::time::Duration;

pub const BIND_DOMAIN: &str = "dots/dht-bind/1";
/// Bindings in one value: several phones, not a crowd.
pub const BINDS_MAX: usize = 8;
/// Of these from one serving peer: a call rings all its phones through either.
pub const PER_SERVING_MAX: usize = 2;
/// A value that is longer is not looked at.
pub const VALUE_MAX: usize = 32 * 1024;
/// No binding outlives a grant by more than clocks differ.
const LIFE_MAX: Duration = Duration::from_secs(3600 + 60);
const FUTURE_MAX: Duration = Duration::from_secs(60);
const VERSION: u8 = 1;

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Record {
    version: u8,
    aor_id: Hash,
    realm: Label20,
    instance: Hash,
    serving: PeerId,
    until: Timestamp,
    time: Timestamp,
    grant: Option<SharedBytes>,
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Value {
    version: u8,
    binds: Vec<Signed>,
}

/// LOG-22: a binding that its serving peer has signed. Whether the home granted it is for the reader to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub aor_id: Hash,
    pub realm: Label20,
    pub instance: Hash,
    pub serving: PeerId,
    pub until: Timestamp,
    pub time: Timestamp,
    pub grant: Option<SharedBytes>,
}

/// Our own bindings of one AOR as a value to put.
pub fn value(key: &SecretKey, binds: impl Iterator<Item = Bind>, now: Timestamp) -> Vec<u8> {
    let record = |b: Bind| Record {
        version: VERSION,
        aor_id: b.aor_id,
        realm: b.realm,
        instance: b.instance,
        serving: key.peer_id(),
        until: b.until,
        time: now,
        grant: b.grant,
    };
    let binds = binds.take(BINDS_MAX).map(|b| Signed::new(key, BIND_DOMAIN, &record(b))).collect();
    encode(&Value { version: VERSION, binds })
}

/// The bindings under `aor_id` in `value` that are signed and live, for a reader.
pub fn read(value: &[u8], aor_id: Hash, now: Timestamp, checked: &mut Checked) -> Vec<Held> {
    let binds = timely(value, now).into_iter().filter(|(held, _)| held.aor_id == aor_id);
    binds.filter(|(held, signed)| is_signed(held, signed, checked)).map(|(held, _)| held).collect()
}

/// How many bindings somebody offers, at most: what the offer may cost.
pub fn count(value: &[u8]) -> usize {
    if value.len() > VALUE_MAX {
        1
    } else {
        decode::<Value>(value).map_or(1, |v| v.binds.len().clamp(1, BINDS_MAX))
    }
}

/// What is well formed and of now; nobody has looked at the signatures.
fn timely(value: &[u8], now: Timestamp) -> Vec<(Held, Signed)> {
    if value.len() > VALUE_MAX {
        return Vec::new();
    }
    let Ok(value) = decode::<Value>(value) else { return Vec::new() };
    if value.version != VERSION {
        return Vec::new();
    }
    value.binds.into_iter().take(BINDS_MAX).filter_map(|s| peek(&s, now).map(|held| (held, s))).collect()
}

fn peek(signed: &Signed, now: Timestamp) -> Option<Held> {
    let r: Record = signed.peek().ok()?;
    let timely = r.until > now && r.time.since(now) <= FUTURE_MAX && r.until.since(now) <= LIFE_MAX;
    let short = r.grant.as_ref().is_none_or(|g| g.len() <= PROOF_MAX);
    let held = Held {
        aor_id: r.aor_id,
        realm: r.realm,
        instance: r.instance,
        serving: r.serving,
        until: r.until,
        time: r.time,
        grant: r.grant,
    };
    (r.version == VERSION && timely && short).then_some(held)
}

fn is_signed(held: &Held, signed: &Signed, checked: &mut Checked) -> bool {
    checked.holds(&held.serving.0, BIND_DOMAIN, &signed.payload, &signed.signature)
}

/// What a holder knows of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not to be held.
    Refused,
    /// Nothing but its own word.
    Claimed,
    /// Its grant was checked.
    Granted,
}

/// What to hold after an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub value: Vec<u8>,
    /// Seconds for which it is of use.
    pub ttl_secs: u32,
    /// A home said so of a binding in it.
    pub granted: bool,
}

/// LOG-23: what to hold under `key` after an offer: the union, newest word of each (instance, serving peer). Who is there and
/// live stays: anybody can make up keys, grants that look like some, and ends that are later. Only what is granted
/// takes the place of what is claimed. `None`: nothing in the offer is worth holding, or it changes nothing. What is held was
/// checked when it was taken in, and a bind of the offer is checked only where there is a place for it.
pub fn merge(
    key: &[u8],
    held: Option<&[u8]>,
    offered: &[u8],
    now: Timestamp,
    checked: &mut Checked,
    standing: impl Fn(&Held) -> Standing,
) -> Option<Merged> {
    let judge = |h: &Held| if h.aor_id.0[..] == *key { standing(h) } else { Standing::Refused };
    let old = held.map(|v| timely(v, now)).unwrap_or_default();
    let before: Vec<Signed> = old.iter().map(|(_, s)| s.clone()).collect();
    let mut all: Vec<(Standing, Held, Signed)> = Vec::new();
    for (bind, signed) in old {
        let standing = judge(&bind);
        if let Some(place) = place_for(&all, standing, &bind) {
            put(&mut all, place, (standing, bind, signed));
        }
    }
    for (bind, signed) in timely(offered, now) {
        let standing = judge(&bind);
        if let Some(place) = place_for(&all, standing, &bind)
            && is_signed(&bind, &signed, checked)
        {
            put(&mut all, place, (standing, bind, signed));
        }
    }
    let until = all.iter().map(|(_, h, _)| h.until).max()?;
    let granted = all.iter().any(|(standing, _, _)| *standing == Standing::Granted);
    let binds: Vec<Signed> = all.into_iter().map(|(_, _, s)| s).collect();
    if binds == before {
        return None;
    }
    let value = encode(&Value { version: VERSION, binds });
    (value.len() <= VALUE_MAX).then(|| Merged { value, ttl_secs: secs(until, now), granted })
}

/// Where a bind goes in a set.
enum Place {
    Over(usize),
    /// It is full, and this one is a mere claim.
    InsteadOf(usize),
    New,
}

fn place_for(all: &[(Standing, Held, Signed)], standing: Standing, bind: &Held) -> Option<Place> {
    if standing == Standing::Refused {
        return None;
    }
    let same = |h: &Held| (h.instance, h.serving) == (bind.instance, bind.serving);
    if let Some(at) = all.iter().position(|(_, h, _)| same(h)) {
        return all.get(at).is_some_and(|(_, h, _)| h.time < bind.time).then_some(Place::Over(at));
    }
    let of_serving = all.iter().filter(|(_, h, _)| h.serving == bind.serving).count();
    if of_serving >= PER_SERVING_MAX {
        return None;
    }
    if all.len() < BINDS_MAX {
        return Some(Place::New);
    }
    let claimed = all.iter().rposition(|(s, _, _)| *s == Standing::Claimed);
    claimed.filter(|_| standing == Standing::Granted).map(Place::InsteadOf)
}

fn put(all: &mut Vec<(Standing, Held, Signed)>, place: Place, bind: (Standing, Held, Signed)) {
    match place {
        Place::Over(at) => {
            if let Some(known) = all.get_mut(at) {
                *known = bind;
            }
        }
        Place::InsteadOf(at) => {
            all.remove(at);
            all.push(bind);
        }
        Place::New => all.push(bind),
    }
}

/// Seconds for which a value of ours is of use; `None`: nothing in it lives.
pub fn ttl_secs(value: &[u8], now: Timestamp) -> Option<u32> {
    timely(value, now).into_iter().map(|(held, _)| held.until).max().map(|until| secs(until, now))
}

fn secs(until: Timestamp, now: Timestamp) -> u32 {
    u32::try_from(until.since(now).as_secs()).unwrap_or(u32::MAX).max(1)
}
