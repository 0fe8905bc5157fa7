//! What the DHT holds under an aor_id: a *set* of at most 8 bindings, for readers that do not replicate the directory.
//!
//! Each binding is signed by its serving peer and carries the home's grant, so neither a holder nor the path there can
//! invent one. It is checked before it is stored ([`merge`]) and before it is believed ([`read`]).

mod puts;
#[cfg(test)]
mod tests;

pub use puts::Puts;

use crate::records::Bind;
use dots_wire::{Hash, Label20, PeerId, SecretKey, Signed, Timestamp, decode, encode};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{collections::BTreeMap, time::Duration};

pub const BIND_DOMAIN: &str = "dots/dht-bind/1";
/// Bindings in one value: several phones, not a crowd.
pub const BINDS_MAX: usize = 8;
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
    grant: Option<ByteBuf>,
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Value {
    version: u8,
    binds: Vec<Signed>,
}

/// A binding that its serving peer has signed. Whether the home granted it is for the reader to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub aor_id: Hash,
    pub realm: Label20,
    pub instance: Hash,
    pub serving: PeerId,
    pub until: Timestamp,
    pub time: Timestamp,
    pub grant: Option<Vec<u8>>,
}

/// Our own bindings of one AOR as a value to put.
pub fn value<'a>(key: &SecretKey, binds: impl Iterator<Item = &'a Bind>, now: Timestamp) -> Vec<u8> {
    let record = |b: &Bind| Record {
        version: VERSION,
        aor_id: b.aor_id,
        realm: b.realm,
        instance: b.instance,
        serving: key.peer_id(),
        until: b.until,
        time: now,
        grant: b.grant.clone(),
    };
    let binds = binds.take(BINDS_MAX).map(|b| Signed::new(key, BIND_DOMAIN, &record(b))).collect();
    encode(&Value { version: VERSION, binds })
}

/// The bindings in `value` that are signed and live.
pub fn read(value: &[u8], now: Timestamp) -> Vec<Held> {
    checked(value, now).into_iter().map(|(held, _)| held).collect()
}

fn checked(value: &[u8], now: Timestamp) -> Vec<(Held, Signed)> {
    if value.len() > VALUE_MAX {
        return Vec::new();
    }
    let Ok(value) = decode::<Value>(value) else { return Vec::new() };
    if value.version != VERSION {
        return Vec::new();
    }
    value.binds.into_iter().take(BINDS_MAX).filter_map(|s| check(&s, now).map(|held| (held, s))).collect()
}

fn check(signed: &Signed, now: Timestamp) -> Option<Held> {
    let r: Record = signed.peek().ok()?;
    let timely = r.until > now && r.time.since(now) <= FUTURE_MAX && r.until.since(now) <= LIFE_MAX;
    if r.version != VERSION || !timely {
        return None;
    }
    signed.verify(&r.serving.0, BIND_DOMAIN).ok()?;
    Some(Held {
        aor_id: r.aor_id,
        realm: r.realm,
        instance: r.instance,
        serving: r.serving,
        until: r.until,
        time: r.time,
        grant: r.grant.map(ByteBuf::into_vec),
    })
}

/// What to hold under `key` after an offer: the union, newest word of each (instance, serving peer), those with a grant
/// before those without, then those that live longest. `admit`: what else the holder knows against a binding.
/// `None`: nothing in the offer is worth holding, or it changes nothing.
pub fn merge(
    key: &[u8],
    held: Option<&[u8]>,
    offered: &[u8],
    now: Timestamp,
    admit: impl Fn(&Held) -> bool,
) -> Option<Vec<u8>> {
    let fits = |h: &Held| h.aor_id.0[..] == *key && admit(h);
    let mut all: BTreeMap<(Hash, PeerId), (Held, Signed)> = BTreeMap::new();
    let old = held.map(|v| checked(v, now)).unwrap_or_default();
    let before: Vec<Signed> = old.iter().map(|(_, s)| s.clone()).collect();
    for (bind, signed) in old.into_iter().chain(checked(offered, now)) {
        let place = (bind.instance, bind.serving);
        if fits(&bind) && all.get(&place).is_none_or(|(known, _)| known.time < bind.time) {
            all.insert(place, (bind, signed));
        }
    }
    let mut all: Vec<(Held, Signed)> = all.into_values().collect();
    all.sort_by_key(|(h, _)| (h.grant.is_none(), std::cmp::Reverse(h.until), h.serving, h.instance));
    let binds: Vec<Signed> = all.into_iter().map(|(_, s)| s).take(BINDS_MAX).collect();
    if binds.is_empty() || binds == before {
        return None;
    }
    let merged = encode(&Value { version: VERSION, binds });
    (merged.len() <= VALUE_MAX).then_some(merged)
}

/// Seconds for which the value is of use.
pub fn ttl_secs(value: &[u8], now: Timestamp) -> u32 {
    let last = read(value, now).into_iter().map(|h| h.until).max().unwrap_or(now);
    u32::try_from(last.since(now).as_secs()).unwrap_or(u32::MAX).max(1)
}
