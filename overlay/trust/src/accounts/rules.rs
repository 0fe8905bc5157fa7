//! Who may have which account, and what an import may change.

use super::credential::{BadAccount, account, account_of_ha1, canonical};
use crate::account::Account;
use std::collections::BTreeMap;

/// Why there will be no such account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error(transparent)]
    Account(#[from] BadAccount),
    #[error("{aor}: this peer is not home of that realm (it is of {homes}); start it with --realm")]
    Realm { aor: String, homes: String },
    #[error("{aor} is there twice, also as number {first}")]
    Double { aor: String, first: usize },
    #[error("{aor}: {alias} is an alias of {target}, and would hide the account; remove the alias first")]
    Alias { aor: String, alias: String, target: String },
}

/// What somebody wants of one account.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// In any form that [`canonical`] takes.
    pub aor: &'a str,
    /// Or the HA1 that stands for it.
    pub password: &'a str,
    pub is_ha1: bool,
    /// May it register at other peers? Unsaid, it stays as it is; a new account may.
    pub roaming: Option<bool>,
}

impl Wanted<'_> {
    fn make(&self, roaming: bool, now_ms: u64) -> Result<Account, BadAccount> {
        let make = if self.is_ha1 { account_of_ha1 } else { account };
        make(self.aor, self.password, roaming, now_ms)
    }
}

/// What accounts are looked at beside.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// Realms for which this peer is home, the default one first.
    pub realms: &'a [String],
    pub aliases: &'a BTreeMap<String, String>,
}

impl Home<'_> {
    /// May there be a new account of this canonical name?
    pub fn admit(&self, aor: &str) -> Result<(), Wrong> {
        let (user, realm) = aor.rsplit_once('@').unwrap_or((aor, ""));
        if !self.realms.iter().any(|own| own == realm) {
            return Err(Wrong::Realm { aor: aor.to_owned(), homes: self.realms.join(", ") });
        }
        match self.aliases.get(user) {
            Some(target) => {
                let (aor, alias, target) = (aor.to_owned(), user.to_owned(), target.clone());
                Err(Wrong::Alias { aor, alias, target })
            }
            None => Ok(()),
        }
    }

    /// The accounts that nobody could call any more if `alias` meant something else.
    pub fn hidden_by(&self, alias: &str) -> Vec<String> {
        self.realms.iter().map(|realm| format!("{alias}@{realm}")).collect()
    }

    /// A new account, or another password for the one that is there (`known`), which keeps its name and, unless it is said,
    /// its right to roam.
    pub fn put(&self, known: Option<&Account>, wanted: &Wanted<'_>, now_ms: u64) -> Result<Account, Wrong> {
        let aor = canonical(wanted.aor)?;
        debug_assert!(known.is_none_or(|known| known.aor == aor), "the account of this very name");
        if known.is_none() {
            self.admit(&aor)?;
        }
        let roaming = wanted.roaming.unwrap_or(known.is_none_or(|known| known.roaming));
        Ok(wanted.make(roaming, now_ms)?)
    }

    /// The accounts of an import, or all that is wrong with it, by place.
    pub fn prepare(&self, wanted: &[Wanted<'_>], now_ms: u64) -> Result<Vec<Imported>, Vec<(usize, Wrong)>> {
        let (mut good, mut wrong, mut seen) = (Vec::with_capacity(wanted.len()), Vec::new(), BTreeMap::new());
        for (place, one) in wanted.iter().enumerate() {
            let mut imported = || -> Result<Imported, Wrong> {
                let aor = canonical(one.aor)?;
                self.admit(&aor)?;
                if let Some(first) = seen.insert(aor.clone(), place) {
                    return Err(Wrong::Double { aor, first: first + 1 });
                }
                let account = one.make(one.roaming.unwrap_or(true), now_ms)?;
                Ok(Imported { account, keeps_roaming: one.roaming.is_none() })
            };
            match imported() {
                Ok(account) => good.push(account),
                Err(why) => wrong.push((place, why)),
            }
        }
        if wrong.is_empty() { Ok(good) } else { Err(wrong) }
    }
}

/// One account of an import.
#[derive(Clone, Debug)]
pub struct Imported {
    pub account: Account,
    /// Nothing was said of roaming: where there is such an account, its own word stays.
    pub keeps_roaming: bool,
}

impl From<Account> for Imported {
    fn from(account: Account) -> Imported {
        Imported { account, keeps_roaming: false }
    }
}

/// What an import does to one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there as it is already: nothing that was proved or granted is void.
    Same,
    New(Account),
    /// It is there with another password, or other rights.
    Differs(Account),
}

impl Imported {
    pub fn beside(mut self, known: Option<&Account>) -> Outcome {
        let Some(known) = known else { return Outcome::New(self.account) };
        if self.keeps_roaming {
            self.account.roaming = known.roaming;
        }
        if known.is_as(&self.account) { Outcome::Same } else { Outcome::Differs(self.account) }
    }
}
