//! An import of accounts beside those that are stored; what it may do is decided in `dots_trust::accounts`.

use super::{AccountStore, Home, Imported, StoreError, Wanted, Wrong};
use dots_clients::types::AccountChange;
use dots_trust::accounts::Outcome;
use std::collections::BTreeSet;

/// The accounts of an import, or all that is wrong with it, by place. `is_ha1`: what stands for the password is an HA1.
pub fn prepare(
    changes: &[AccountChange],
    is_ha1: bool,
    home: &Home,
    now_ms: u64,
) -> Result<Vec<Imported>, Vec<(usize, Wrong)>> {
    let wanted = changes.iter().map(|change| Wanted {
        aor: change.aor.as_deref().unwrap_or_default(),
        password: &change.password,
        is_ha1,
        roaming: change.roaming,
    });
    home.prepare(&wanted.collect::<Vec<_>>(), now_ms)
}

/// Those that are there with another password or other rights: what an import would replace.
pub fn differing(store: &AccountStore, accounts: &[Imported]) -> Result<BTreeSet<String>, StoreError> {
    let mut found = BTreeSet::new();
    for imported in accounts {
        let known = store.get(&imported.account.aor)?;
        if let Outcome::Differs(account) = imported.clone().beside(known.as_ref()) {
            found.insert(account.aor);
        }
    }
    Ok(found)
}
