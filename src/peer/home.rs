//! The home's side of "is this the right password?" (design: registering anywhere).
//!
//! A home mints every nonce, binds it to the serving peer that will show it, and judges the answer when it comes back.
//! Unknown users and wrong passwords take the same path and answer alike. Failures through one peer never lock out
//! another: the brake is per (serving peer, account).

use super::account::Account;
use dots_overlay::nonce::{Minter, NonceCheck};
use dots_sip::{
    auth::{Answer, AuthFailure},
    digest,
};
use dots_wire::{Now, PeerId};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Wrong answers in a row, through one peer for one account, before it has to wait.
const FAILURES_FREE: u32 = 5;
/// The wait after that, doubled for each further failure up to 2^6.
const BACKOFF: Duration = Duration::from_secs(1);
/// Remembered (peer, account) pairs; at the limit the oldest goes.
const BRAKES_MAX: usize = 10_000;

pub struct Home {
    minter: Minter,
    brakes: BTreeMap<(PeerId, String), Brake>,
}

struct Brake {
    failures: u32,
    until: Instant,
}

impl Home {
    pub fn new(minter: Minter) -> Home {
        Home { minter, brakes: BTreeMap::new() }
    }

    pub fn mint(&mut self, now: Now, serving: PeerId, random: [u8; 8]) -> String {
        self.minter.mint(serving, now.wall, random)
    }

    /// The checks that need no account: cheap ones first, so that a stranger's guess costs us little.
    pub fn admit(&self, now: Now, answer: &Answer, serving: PeerId) -> Result<(), AuthFailure> {
        if self.brakes.get(&(serving, answer.aor.clone())).is_some_and(|b| b.until > now.mono) {
            // Not 503: a phone with a wrong password would try again at once, and for ever.
            return Err(AuthFailure::Forbidden);
        }
        if answer.qop != "auth" {
            return Err(AuthFailure::Wrong);
        }
        Ok(())
    }

    /// Judges `answer` against what the account store said.
    pub fn judge(
        &mut self,
        now: Now,
        answer: &Answer,
        serving: PeerId,
        account: Option<&Account>,
    ) -> Result<(), AuthFailure> {
        let right = password_matches(answer, account);
        match self.minter.check(&answer.nonce, answer.nc, serving, now.wall) {
            NonceCheck::Forged | NonceCheck::Stale | NonceCheck::Replayed if right => {
                return Err(AuthFailure::Stale);
            }
            NonceCheck::Forged | NonceCheck::Stale | NonceCheck::Replayed => {
                return Err(self.fail(now, answer, serving));
            }
            NonceCheck::Fresh if !right => return Err(self.fail(now, answer, serving)),
            NonceCheck::Fresh => {}
        }
        self.brakes.remove(&(serving, answer.aor.clone()));
        if account_name(answer) != answer.aor {
            return Err(AuthFailure::Forbidden);
        }
        Ok(())
    }

    fn fail(&mut self, now: Now, answer: &Answer, serving: PeerId) -> AuthFailure {
        if self.brakes.len() >= BRAKES_MAX {
            self.brakes.pop_first();
        }
        let brake = self
            .brakes
            .entry((serving, answer.aor.clone()))
            .or_insert(Brake { failures: 0, until: now.mono });
        brake.failures = brake.failures.saturating_add(1);
        if brake.failures > FAILURES_FREE {
            brake.until = now.mono + BACKOFF * (1 << (brake.failures - FAILURES_FREE).min(6));
        }
        AuthFailure::Wrong
    }
}

/// The account that the credentials name: `user` in the challenged realm, or `user@realm` in full.
pub fn account_name(answer: &Answer) -> String {
    match answer.username.split_once('@') {
        Some(_) => answer.username.clone(),
        None => format!("{}@{}", answer.username, answer.realm),
    }
}

fn password_matches(answer: &Answer, account: Option<&Account>) -> bool {
    let full = answer.username.contains('@');
    let Some(algorithm) = digest::Algorithm::parse(&answer.algorithm) else { return false };
    let ha1 = account.map(|a| match (algorithm, full) {
        (digest::Algorithm::Md5, false) => a.ha1_md5.as_str(),
        (digest::Algorithm::Md5, true) => a.ha1_md5_full.as_str(),
        (digest::Algorithm::Sha256, false) => a.ha1_sha256.as_str(),
        (digest::Algorithm::Sha256, true) => a.ha1_sha256_full.as_str(),
    });
    let expected = digest::response(
        algorithm,
        ha1.unwrap_or("no such account"),
        &answer.method,
        &answer.uri,
        &answer.nonce,
        answer.nc,
        &answer.cnonce,
        &answer.qop,
    );
    digest::equal(&expected, &answer.response) && ha1.is_some()
}
