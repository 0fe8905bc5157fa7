//! Who called whom a moment ago. A search follows its call at once, and the home of whoever is called tells whether there is such an
//! account only to who shows a caller's grant; so the grant of the call, or one of ours, is at hand for the search.

use super::home::spoken_grant;
use crate::peer::Config;
use dots_overlay::names::Realms;
use dots_trust::answer::Answer;
use dots_wire::{
    Hash, Now,
    bounded::{Cache, Cause, Limits, Standing, Weight, network_of},
};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Who called whom a moment ago: a home tells whether an account exists to who shows such a caller's grant.
pub struct AskedFor(Cache<String, Caller>);

#[derive(Clone)]
struct Caller {
    at: Instant,
    aor: String,
    /// Of his phone.
    network: u64,
    method: String,
    /// Of a foreign home; we make our own.
    grant: Option<Arc<[u8]>>,
}

impl Weight for Caller {
    fn heap_bytes(&self) -> usize {
        self.aor.capacity() + self.method.capacity() + self.grant.heap_bytes()
    }
}

/// A search follows its call at once.
const CALLER_LIFE: Duration = Duration::from_secs(30);
pub(crate) const CALLERS: Limits = Limits::new(4 << 20, 8_192);

impl Default for AskedFor {
    fn default() -> AskedFor {
        AskedFor(Cache::new(CALLERS))
    }
}

impl AskedFor {
    pub(super) fn note(&mut self, now: Now, answer: &Answer, phone: IpAddr, grant: Option<Arc<[u8]>>) {
        let Some(target) = answer.target.clone() else { return };
        let cause = Cause::new(Standing::Other).by(answer.aor.as_bytes());
        let (aor, method) = (answer.aor.clone(), answer.method.clone());
        let caller = Caller { at: now.mono, aor, network: network_of(phone), method, grant };
        self.0.insert(cause, target, caller);
    }

    /// Who called `target` last, and from which network.
    pub fn caller(&self, now: Now, target: &str) -> Option<(&str, u64)> {
        let caller = self.0.get(target)?;
        let is_new = now.mono.saturating_duration_since(caller.at) <= CALLER_LIFE;
        is_new.then_some((caller.aor.as_str(), caller.network))
    }

    /// A grant for a request to `target` of a phone of ours, to show to the target's home, and the caller.
    pub fn grant(
        &self,
        config: &Config,
        realms: &Realms,
        now: Now,
        target: &str,
    ) -> Option<(Vec<u8>, String)> {
        let caller = self.0.get(target)?;
        if now.mono.saturating_duration_since(caller.at) > CALLER_LIFE {
            return None;
        }
        let given = caller.grant.as_ref().map(|grant| grant.to_vec());
        let grant = given.or_else(|| {
            // It is for the home's eyes and opens nothing, so it need not be the only one.
            let call = (caller.aor.as_str(), caller.method.as_str(), target);
            spoken_grant(config, realms, now, call, Hash([0; 32]))
        });
        grant.map(|grant| (grant, caller.aor.clone()))
    }
}
