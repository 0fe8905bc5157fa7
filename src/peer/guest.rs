//! The serving side for phones of foreign realms: nonces fetched ahead from their homes, and who minted which.
//!
//! A serving peer never sees a password and cannot mint a nonce that the home would take; it hands out the home's and
//! returns the phone's answer to the home that minted it.

use dots_sip::input::AskId;
use dots_wire::PeerId;
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Nonces fetched at a time.
pub const NONCES_PER_FETCH: u8 = 32;
/// A longer one is none of ours to hand out.
const NONCE_BYTES_MAX: usize = 128;
/// A pool that nobody asked for in this time goes.
const POOL_IDLE: Duration = Duration::from_secs(600);
/// A pooled nonce older than this is not handed out: the phone needs the rest of its 300 s.
const NONCE_FRESH: Duration = Duration::from_secs(120);
/// How long we remember who minted a nonce that we handed out.
const NONCE_LIFE: Duration = Duration::from_secs(330);
/// Realms with pools, nonces handed out and remembered, phones waiting for one nonce fetch.
const REALMS_MAX: usize = 1_024;
const HANDED_MAX: usize = 50_000;
const WAITING_MAX: usize = 1_024;

#[derive(Default)]
pub struct Guest {
    pools: BTreeMap<String, Pool>,
    handed: BTreeMap<String, (PeerId, Instant)>,
    order: VecDeque<String>,
}

#[derive(Default)]
struct Pool {
    nonces: VecDeque<(String, PeerId, Instant)>,
    waiting: VecDeque<AskId>,
    fetching: bool,
    used: Option<Instant>,
}

impl Guest {
    /// A nonce of `realm`'s home, if one is pooled.
    pub fn take(&mut self, now: Instant, realm: &str) -> Option<String> {
        let pool = self.pools.get_mut(realm)?;
        pool.used = Some(now);
        while let Some((nonce, home, at)) = pool.nonces.pop_front() {
            if now.saturating_duration_since(at) < NONCE_FRESH {
                self.remember(now, nonce.clone(), home);
                return Some(nonce);
            }
        }
        None
    }

    /// Is it time to fetch more? At most one fetch per realm is under way.
    pub fn wants_fetch(&mut self, realm: &str) -> bool {
        if self.pools.len() >= REALMS_MAX && !self.pools.contains_key(realm) {
            return false;
        }
        let pool = self.pools.entry(realm.to_owned()).or_default();
        if pool.fetching || pool.nonces.len() > usize::from(NONCES_PER_FETCH) / 2 {
            return false;
        }
        pool.fetching = true;
        true
    }

    /// `id` waits for the fetch of this realm; `false`: too many wait already.
    pub fn wait(&mut self, realm: &str, id: AskId) -> bool {
        match self.pools.get_mut(realm) {
            Some(pool) if pool.waiting.len() < WAITING_MAX => {
                pool.waiting.push_back(id);
                true
            }
            _ => false,
        }
    }

    /// A fetch ended. Gives the waiting ids their nonces; ids without one come back with `None`.
    pub fn fetched(
        &mut self,
        now: Instant,
        realm: &str,
        home: PeerId,
        nonces: Vec<String>,
    ) -> Vec<(AskId, Option<String>)> {
        let Some(pool) = self.pools.get_mut(realm) else { return Vec::new() };
        pool.fetching = false;
        pool.used = Some(now);
        let plain =
            |n: &String| n.len() <= NONCE_BYTES_MAX && n.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        let nonces = nonces.into_iter().filter(plain).take(usize::from(NONCES_PER_FETCH));
        let before = pool.nonces.len();
        pool.nonces.extend(nonces.map(|n| (n, home, now)));
        let got_any = pool.nonces.len() > before;
        let mut served = Vec::new();
        while let Some(id) = self.pools.get_mut(realm).and_then(|p| p.waiting.pop_front()) {
            match self.take(now, realm) {
                Some(nonce) => served.push((id, Some(nonce))),
                None if got_any => {
                    // More phones than nonces: they stay in line for the next fetch.
                    if let Some(pool) = self.pools.get_mut(realm) {
                        pool.waiting.push_front(id);
                    }
                    break;
                }
                None => served.push((id, None)),
            }
        }
        served
    }

    /// Forgets pools that nobody uses, so that other realms have room.
    pub fn sweep(&mut self, now: Instant) {
        let idle = |p: &Pool| p.used.is_none_or(|at| now.saturating_duration_since(at) > POOL_IDLE);
        self.pools.retain(|_, pool| pool.fetching || !pool.waiting.is_empty() || !idle(pool));
    }

    /// Does anybody still wait for a nonce of this realm?
    pub fn is_waiting(&self, realm: &str) -> bool {
        self.pools.get(realm).is_some_and(|p| !p.waiting.is_empty())
    }

    /// Its home no longer takes the nonces that we hold (it was started anew): they are not handed out.
    pub fn forget(&mut self, realm: &str) {
        if let Some(pool) = self.pools.get_mut(realm) {
            pool.nonces.clear();
        }
    }

    /// Which home minted this nonce that we handed out.
    pub fn minted_by(&self, nonce: &str) -> Option<PeerId> {
        self.handed.get(nonce).map(|(home, _)| *home)
    }

    fn remember(&mut self, now: Instant, nonce: String, home: PeerId) {
        while let Some(oldest) = self.order.front() {
            let old =
                self.handed.get(oldest).is_none_or(|(_, at)| now.saturating_duration_since(*at) > NONCE_LIFE);
            if !old && self.order.len() < HANDED_MAX {
                break;
            }
            if let Some(gone) = self.order.pop_front() {
                self.handed.remove(&gone);
            }
        }
        self.handed.insert(nonce.clone(), (home, now));
        self.order.push_back(nonce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    #[test]
    fn phones_wait_for_one_fetch_and_old_nonces_are_not_handed_out() {
        let home = SecretKey::from_bytes(&[3; 32]).expect("a scalar").peer_id();
        let t0 = Instant::now();
        let mut guest = Guest::default();
        assert_eq!(guest.take(t0, "b.test"), None);
        assert!(guest.wants_fetch("b.test"));
        assert!(!guest.wants_fetch("b.test"), "one fetch at a time");
        let [one, two] = [1, 2].map(|n| AskId::new(0, n));
        assert!(guest.wait("b.test", one));
        assert!(guest.wait("b.test", two));
        assert_eq!(guest.fetched(t0, "b.test", home, vec!["n1".into()]), [(one, Some("n1".into()))]);
        assert!(guest.is_waiting("b.test"));
        assert_eq!(guest.minted_by("n1"), Some(home));
        assert!(guest.wants_fetch("b.test"));
        assert_eq!(guest.fetched(t0, "b.test", home, vec![]), [(two, None)], "the home is gone: say so");
        assert!(guest.wants_fetch("b.test"));
        guest.fetched(t0, "b.test", home, vec!["n2".into()]);
        assert_eq!(guest.take(t0 + NONCE_FRESH, "b.test"), None);
        assert!(guest.wants_fetch("b.test"));
        guest.fetched(t0, "b.test", home, vec!["n3".into()]);
        guest.forget("b.test");
        assert_eq!(guest.take(t0, "b.test"), None, "the home does not take them");
    }
}
