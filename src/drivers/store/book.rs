//! The accounts in memory, for the loop: a look-up costs no disk, no sled and no wait for a change that is being synced.
//! Digests are kept as bytes, so an account takes about 220 bytes and its name.
//!
//! The book says what is on the platter: a change enters it after its fdatasync.

use crate::peer::account::{Account, Digests, Spelt};
use data_encoding::HEXLOWER;
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

/// MD5 and SHA-256 of one spelling of the user's name.
type Pair = ([u8; 16], [u8; 32]);
/// Other spellings of it, and theirs.
type Spellings = Box<[(Box<str>, Pair)]>;

struct Kept {
    short: Pair,
    full: Pair,
    escaped: Pair,
    roaming: bool,
    changed_at_ms: u64,
    /// Few have any.
    spelt: Option<Spellings>,
}

/// Boxed, for a table has room for nearly twice what it holds.
#[derive(Default)]
pub struct Book(RwLock<HashMap<Box<str>, Box<Kept>>>);

impl Book {
    pub fn get(&self, aor: &str) -> Option<Account> {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        book.get(aor).map(|kept| kept.account(aor))
    }

    /// Reflects changes that are durable: an account, or its removal.
    pub fn apply<'a>(&self, changes: impl IntoIterator<Item = (&'a str, Option<&'a Account>)>) {
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (aor, account) in changes {
            match account.and_then(Kept::of) {
                Some(kept) => book.insert(aor.into(), Box::new(kept)),
                None => book.remove(aor),
            };
        }
    }
}

impl Kept {
    /// `None`: digests that are no digests, which no store of ours writes.
    fn of(account: &Account) -> Option<Kept> {
        let spelt =
            account.spelt.iter().map(|spelt| Some((spelt.username.as_str().into(), pair(&spelt.digests)?)));
        let spelt: Spellings = spelt.collect::<Option<_>>()?;
        Some(Kept {
            short: pair(&account.short)?,
            full: pair(&account.full)?,
            escaped: pair(&account.escaped)?,
            roaming: account.roaming,
            changed_at_ms: account.changed_at_ms,
            spelt: (!spelt.is_empty()).then_some(spelt),
        })
    }

    fn account(&self, aor: &str) -> Account {
        let spelt = self.spelt.iter().flatten();
        let spelt =
            spelt.map(|(username, pair)| Spelt { username: username.to_string(), digests: digests(pair) });
        Account {
            spelt: spelt.collect(),
            aor: aor.to_owned(),
            short: digests(&self.short),
            full: digests(&self.full),
            escaped: digests(&self.escaped),
            roaming: self.roaming,
            changed_at_ms: self.changed_at_ms,
        }
    }
}

fn pair(digests: &Digests) -> Option<Pair> {
    let (mut md5, mut sha256) = ([0; 16], [0; 32]);
    hex::decode_to_slice(&digests.md5, &mut md5).ok()?;
    hex::decode_to_slice(&digests.sha256, &mut sha256).ok()?;
    Some((md5, sha256))
}

fn digests((md5, sha256): &Pair) -> Digests {
    Digests { md5: HEXLOWER.encode(md5), sha256: HEXLOWER.encode(sha256) }
}
