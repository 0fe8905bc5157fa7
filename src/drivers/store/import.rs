//! An import of accounts, before anything is stored: by one rule, whether a command holds the store or a peer does.

use super::{AccountStore, BadAccount, Imported, StoreError, account, account_of_ha1, canonical};
use dots_clients::types::AccountChange;
use dots_sip::address::realm_of;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with one of them.
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

/// What accounts are looked at beside.
pub struct Home<'a> {
    /// Realms for which this peer is home, the default one first.
    pub realms: &'a [String],
    pub aliases: &'a BTreeMap<String, String>,
}

impl Home<'_> {
    /// May there be a new account of this canonical name?
    pub fn admit(&self, aor: &str) -> Result<(), Wrong> {
        let realm = realm_of(aor);
        if !self.realms.iter().any(|own| own == realm) {
            return Err(Wrong::Realm { aor: aor.to_owned(), homes: self.realms.join(", ") });
        }
        let alias = aor.strip_suffix(realm).and_then(|a| a.strip_suffix('@')).unwrap_or_default();
        match self.aliases.get(alias) {
            Some(target) => {
                let (aor, alias, target) = (aor.to_owned(), alias.to_owned(), target.clone());
                Err(Wrong::Alias { aor, alias, target })
            }
            None => Ok(()),
        }
    }
}

/// The accounts of an import, or all that is wrong with it, by place. `is_ha1`: what stands for the password is an HA1.
pub fn prepare(
    changes: &[AccountChange],
    is_ha1: bool,
    home: &Home,
    now_ms: u64,
) -> Result<Vec<Imported>, Vec<(usize, Wrong)>> {
    let (mut good, mut wrong, mut seen) = (Vec::with_capacity(changes.len()), Vec::new(), BTreeMap::new());
    for (place, change) in changes.iter().enumerate() {
        let mut one = || -> Result<Imported, Wrong> {
            let aor = canonical(change.aor.as_deref().unwrap_or_default())?;
            home.admit(&aor)?;
            if let Some(first) = seen.insert(aor.clone(), place) {
                return Err(Wrong::Double { aor, first: first + 1 });
            }
            let make = if is_ha1 { account_of_ha1 } else { account };
            let account = make(&aor, &change.password, change.roaming.unwrap_or(true), now_ms)?;
            Ok(Imported { account, keeps_roaming: change.roaming.is_none() })
        };
        match one() {
            Ok(account) => good.push(account),
            Err(why) => wrong.push((place, why)),
        }
    }
    if wrong.is_empty() { Ok(good) } else { Err(wrong) }
}

/// Those that are there with another password or other rights: what an import would replace.
pub fn differing(store: &AccountStore, accounts: &[Imported]) -> Result<BTreeSet<String>, StoreError> {
    let mut found = BTreeSet::new();
    for Imported { account, keeps_roaming } in accounts {
        let Some(mut there) = store.get(&account.aor)? else { continue };
        if *keeps_roaming {
            there.roaming = account.roaming;
        }
        if !there.is_as(account) {
            found.insert(account.aor.clone());
        }
    }
    Ok(found)
}
