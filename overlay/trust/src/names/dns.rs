//! What DNS said of names that several keys claim, and who claims them.

use super::txt_value;
use crate::records::RealmRecord;
use dots_wire::{PublicKey, Signed, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Records by other keys, kept until DNS has answered; of one name, then of names. The newest displaces the oldest.
const CANDIDATES_MAX: usize = 8;
const CLAIMED_MAX: usize = 1_000;
/// An answer of DNS counts for this long; of so many names, and so many keys of one.
const REMEMBERED: Duration = Duration::from_secs(3600);
const HEARD_MAX: usize = 10_000;
const KEYS_MAX: usize = 8;
/// One name is asked about this often; so many names in this time.
const ASK_EVERY: Duration = Duration::from_secs(60);
const ASKED_MAX: usize = 500;
/// Top-level names that DNS cannot know (RFC 6761, RFC 6762).
const NOT_IN_DNS: [&str; 6] = ["test", "example", "invalid", "localhost", "local", "dots"];

#[derive(Default)]
pub struct Dns {
    claimed: BTreeMap<String, VecDeque<(RealmRecord, Signed)>>,
    claimed_order: VecDeque<String>,
    heard: BTreeMap<String, (Timestamp, Vec<String>)>,
    asked: BTreeMap<String, Timestamp>,
}

pub fn can_know(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, top)| !NOT_IN_DNS.contains(&top))
}

impl Dns {
    /// A record by a key that is not the one believed.
    pub fn remember(&mut self, name: &str, read: RealmRecord, record: Signed) {
        if !self.claimed.contains_key(name) {
            if self.claimed_order.len() >= CLAIMED_MAX
                && let Some(oldest) = self.claimed_order.pop_front()
            {
                self.claimed.remove(&oldest);
            }
            self.claimed_order.push_back(name.to_owned());
        }
        let of_name = self.claimed.entry(name.to_owned()).or_default();
        of_name.retain(|(r, _)| r.key != read.key);
        if of_name.len() >= CANDIDATES_MAX {
            of_name.pop_front();
        }
        of_name.push_back((read, record));
    }

    pub fn candidates(&self, name: &str) -> impl Iterator<Item = &PublicKey> {
        self.claimed.get(name).into_iter().flatten().map(|(read, _)| &read.key)
    }

    /// The record by this key, if it waits here.
    pub fn take(&mut self, name: &str, key: &PublicKey) -> Option<(RealmRecord, Signed)> {
        let of_name = self.claimed.get_mut(name)?;
        let at = of_name.iter().position(|(read, _)| read.key == *key)?;
        of_name.remove(at)
    }

    /// What DNS answered. Nothing at all takes nothing back: an answer may be lost.
    pub fn heard(&mut self, name: &str, values: &[String], now: Timestamp) {
        let keys: Vec<String> = values
            .iter()
            .map(|v| v.trim())
            .filter(|v| v.starts_with("dots-key-hash="))
            .take(KEYS_MAX)
            .map(str::to_owned)
            .collect();
        if keys.is_empty() {
            return;
        }
        if self.heard.len() >= HEARD_MAX {
            self.heard.retain(|_, (at, _)| now.since(*at) < REMEMBERED);
        }
        if self.heard.len() < HEARD_MAX || self.heard.contains_key(name) {
            self.heard.insert(name.to_owned(), (now, keys));
        }
    }

    /// Has DNS named this key lately?
    pub fn proves(&self, name: &str, key: &PublicKey, now: Timestamp) -> bool {
        let said = self.heard.get(name).filter(|(at, _)| now.since(*at) < REMEMBERED);
        said.is_some_and(|(_, keys)| keys.contains(&txt_value(key)))
    }

    /// May DNS be asked about this name (again)?
    pub fn may_ask(&mut self, name: &str, now: Timestamp) -> bool {
        self.asked.retain(|_, at| now.since(*at) < ASK_EVERY);
        let may = self.asked.len() < ASKED_MAX && !self.asked.contains_key(name);
        if may {
            self.asked.insert(name.to_owned(), now);
        }
        may
    }
}
