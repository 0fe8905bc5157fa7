//! What DNS said of names that several keys claim, and who claims them.

use super::txt_value;
use crate::records::RealmRecord;
use dots_wire::{
    PublicKey, Signed, Timestamp,
    bounded::{Cache, Cause, Limits, Promises, Standing, Weight},
};
use std::{collections::VecDeque, time::Duration};

/// Records by other keys, kept until DNS has answered. Whoever makes up keys by the thousand takes from what his network brought.
pub(crate) const CLAIMED: Limits = Limits::new(2 << 20, 4_096);
/// An answer of DNS counts for this long; and so many keys of one name in it.
const REMEMBERED: Duration = Duration::from_secs(3600);
pub(crate) const HEARD: Limits = Limits::new(2 << 20, 8_192);
const KEYS_MAX: usize = 8;
/// One name is asked about this often, and so many in this time, in shares by the network whose records make us ask.
const ASK_EVERY: Duration = Duration::from_secs(60);
pub(crate) const ASKED: Limits = Limits::new(512 * 512, 512);
/// Top-level names that DNS cannot know (RFC 6761, RFC 6762).
const NOT_IN_DNS: [&str; 6] = ["test", "example", "invalid", "localhost", "local", "dots"];

pub struct Dns {
    claimed: Cache<(String, PublicKey), Claim>,
    heard: Cache<String, (Timestamp, Vec<String>)>,
    asked: Promises<String, Timestamp>,
    asked_by_age: VecDeque<(Timestamp, String)>,
}

struct Claim {
    read: RealmRecord,
    record: Signed,
}

impl Weight for Claim {
    fn heap_bytes(&self) -> usize {
        self.read.text_bytes() + self.record.payload.capacity()
    }
}

impl Default for Dns {
    fn default() -> Dns {
        Dns {
            claimed: Cache::new(CLAIMED),
            heard: Cache::new(HEARD),
            asked: Promises::new(ASKED),
            asked_by_age: VecDeque::new(),
        }
    }
}

pub fn can_know(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, top)| !NOT_IN_DNS.contains(&top))
}

fn cause(network: u64, name: &str) -> Cause {
    Cause { network, ..Cause::new(Standing::Other).of_realm(name.as_bytes()) }
}

impl Dns {
    /// A record by a key that is not the one believed, told by somebody of this network.
    pub fn remember(&mut self, name: &str, read: RealmRecord, record: Signed, network: u64) {
        let key = read.key;
        self.claimed.insert(cause(network, name).by(&key.0), (name.to_owned(), key), Claim { read, record });
    }

    pub fn candidates(&self, name: &str) -> impl Iterator<Item = &PublicKey> {
        let of_name = (name.to_owned(), PublicKey([0; 33]))..=(name.to_owned(), PublicKey([255; 33]));
        self.claimed.range(of_name).map(|((_, key), _)| key)
    }

    /// The record by this key, if it waits here.
    pub fn take(&mut self, name: &str, key: &PublicKey) -> Option<(RealmRecord, Signed)> {
        let Claim { read, record } = self.claimed.remove(&(name.to_owned(), *key))?;
        Some((read, record))
    }

    /// What DNS answered. Nothing at all takes nothing back: an answer may be lost.
    pub fn heard(&mut self, name: &str, values: &[String], network: u64, now: Timestamp) {
        let keys: Vec<String> = values
            .iter()
            .map(|v| v.trim())
            .filter(|v| v.starts_with("dots-key-hash=") && v.len() <= VALUE_MAX)
            .take(KEYS_MAX)
            .map(str::to_owned)
            .collect();
        if !keys.is_empty() {
            self.heard.insert(cause(network, name), name.to_owned(), (now, keys));
        }
    }

    /// Has DNS named this key lately?
    pub fn proves(&self, name: &str, key: &PublicKey, now: Timestamp) -> bool {
        let said = self.heard.get(name).filter(|(at, _)| now.since(*at) < REMEMBERED);
        said.is_some_and(|(_, keys)| keys.contains(&txt_value(key)))
    }

    /// May DNS be asked about this name (again), for a record that came from this network?
    pub fn may_ask(&mut self, name: &str, network: u64, now: Timestamp) -> bool {
        while self.asked_by_age.front().is_some_and(|(at, _)| now.since(*at) >= ASK_EVERY) {
            if let Some((_, old)) = self.asked_by_age.pop_front() {
                self.asked.remove(&old);
            }
        }
        let may = !self.asked.contains(name)
            && self.asked.insert(cause(network, name), name.to_owned(), now).is_ok();
        if may {
            self.asked_by_age.push_back((now, name.to_owned()));
        }
        may
    }
}

/// What names a key is shorter.
const VALUE_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Callers, Serving};
    use dots_wire::{Hash, SecretKey};

    fn record(n: u32) -> (RealmRecord, Signed) {
        let mut key = [2; 33];
        key[1..5].copy_from_slice(&n.to_be_bytes());
        let read = RealmRecord {
            version: 1,
            name: "a.net".into(),
            key: PublicKey(key),
            seq: 1,
            homes: Vec::new(),
            serving: Serving::Any,
            callers: Callers::Any,
            aor_salt: Hash([0; 32]),
            valid_until: Timestamp(1),
        };
        let signed = Signed::new(&SecretKey::from_bytes(&[1; 32]).expect("a scalar"), "test", &n);
        (read, signed)
    }

    /// Thousands of keys that claim a name do not push out the one that DNS will name, nor stop us from asking about others.
    #[test]
    fn one_network_fills_its_share_of_claims_and_of_questions() {
        let mut dns = Dns::default();
        let claim = |dns: &mut Dns, n: u32, network: u64| {
            let (read, signed) = record(n);
            let key = read.key;
            dns.remember("a.net", read, signed, network);
            key
        };
        let owner = claim(&mut dns, 0, 7);
        for n in 1..20_000 {
            claim(&mut dns, n, 1);
        }
        assert!(dns.claimed.bytes() <= CLAIMED.bytes);
        assert!(dns.candidates("a.net").any(|key| *key == owner));
        assert!(dns.take("a.net", &owner).is_some() && dns.take("a.net", &owner).is_none());

        let asked = (0..1_000).filter(|n| dns.may_ask(&format!("n{n}.net"), 1, Timestamp(0))).count();
        assert!((400..512).contains(&asked), "{asked}");
        assert!(dns.may_ask("honest.net", 2, Timestamp(0)));
        assert!(!dns.may_ask("honest.net", 2, Timestamp(59_000)), "once a minute");
        assert!(dns.may_ask("honest.net", 2, Timestamp(60_000)));
    }

    #[test]
    fn answers_of_dns_are_remembered_in_shares() {
        let (mut dns, key) = (Dns::default(), record(0).0.key);
        dns.heard("a.net", &[txt_value(&key)], 7, Timestamp(0));
        for n in 0..20_000 {
            dns.heard(&format!("n{n}.net"), &[txt_value(&key)], 1, Timestamp(0));
        }
        assert!(dns.proves("a.net", &key, Timestamp(1)) && dns.heard.bytes() <= HEARD.bytes);
        assert!(!dns.proves("a.net", &key, Timestamp(3_600_000)));
    }
}
