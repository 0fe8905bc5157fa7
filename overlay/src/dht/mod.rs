//! What the DHT holds under an aor_id: a *set* of at most 8 bindings, for readers that do not replicate the directory.
//!
//! Each binding is signed by its serving peer and carries the home's grant, so neither a holder nor the path there can
//! invent one. It is checked before it is stored ([`merge`]) and before it is believed ([`read`]).

mod puts;
#[cfg(test)]
mod tests;

pub use puts::Puts;

use crate::{grant::PROOF_MAX, records::Bind};
use dots_wire::{Hash, Label20, PeerId, SecretKey, SharedBytes, Signed, Timestamp, decode, encode};
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

/// A binding that its serving peer has signed. Whether the home granted it is for the reader to check.
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
    let short = r.grant.as_ref().is_none_or(|g| g.len() <= PROOF_MAX);
    if r.version != VERSION || !timely || !short {
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
        grant: r.grant,
    })
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

/// What to hold under `key` after an offer: the union, newest word of each (instance, serving peer). Who is there and
/// live stays: anybody can make up keys, grants that look like some, and ends that are later. Only what is granted
/// takes the place of what is claimed. `None`: nothing in the offer is worth holding, or it changes nothing.
pub fn merge(
    key: &[u8],
    held: Option<&[u8]>,
    offered: &[u8],
    now: Timestamp,
    standing: impl Fn(&Held) -> Standing,
) -> Option<Vec<u8>> {
    let judge = |h: &Held| if h.aor_id.0[..] == *key { standing(h) } else { Standing::Refused };
    let old = held.map(|v| checked(v, now)).unwrap_or_default();
    let before: Vec<Signed> = old.iter().map(|(_, s)| s.clone()).collect();
    let mut all: Vec<(Standing, Held, Signed)> = Vec::new();
    for (bind, signed) in old.into_iter().chain(checked(offered, now)) {
        let standing = judge(&bind);
        if standing != Standing::Refused {
            take_in(&mut all, standing, bind, signed);
        }
    }
    let binds: Vec<Signed> = all.into_iter().map(|(_, _, s)| s).collect();
    if binds.is_empty() || binds == before {
        return None;
    }
    let merged = encode(&Value { version: VERSION, binds });
    (merged.len() <= VALUE_MAX).then_some(merged)
}

fn take_in(all: &mut Vec<(Standing, Held, Signed)>, standing: Standing, bind: Held, signed: Signed) {
    let same = |h: &Held| (h.instance, h.serving) == (bind.instance, bind.serving);
    if let Some(known) = all.iter_mut().find(|(_, h, _)| same(h)) {
        if known.1.time < bind.time {
            *known = (standing, bind, signed);
        }
        return;
    }
    let of_serving = all.iter().filter(|(_, h, _)| h.serving == bind.serving).count();
    if of_serving >= PER_SERVING_MAX {
        return;
    }
    if all.len() >= BINDS_MAX {
        let claimed = all.iter().rposition(|(s, _, _)| *s == Standing::Claimed);
        let Some(last) = claimed.filter(|_| standing == Standing::Granted) else { return };
        all.remove(last);
    }
    all.push((standing, bind, signed));
}

/// Seconds for which the value is of use.
pub fn ttl_secs(value: &[u8], now: Timestamp) -> u32 {
    let last = read(value, now).into_iter().map(|h| h.until).max().unwrap_or(now);
    u32::try_from(last.since(now).as_secs()).unwrap_or(u32::MAX).max(1)
}
