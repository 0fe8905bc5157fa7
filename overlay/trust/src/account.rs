//! An account as it is kept (DISK-9): digests, never a password.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
    ser::SerializeTuple,
};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Of an account whose name is written in one way.
pub const VERSION: u8 = 1;
/// Of one whose name has other spellings: a field more.
pub const VERSION_SPELT: u8 = 2;

/// HA1 = H(username ":" realm ":" password), lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Digests {
    pub sha256: String,
    pub md5: String,
}

/// Another spelling of the user name, as phones hash it: `9903%231` for `9903#1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Spelt {
    pub username: String,
    pub digests: Digests,
}

/// One account. A phone hashes the user name that was typed into it: `alice`, `alice@a.net`, or, where it wants the
/// escape of a URI, `alice%40a.net` (design: own hosts). Record version 1; a name with characters that some phones escape has
/// version 2, which lists its other spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Canonical AOR, `alice@office.example`; the realm in it is the digest realm.
    pub aor: String,
    pub short: Digests,
    pub full: Digests,
    pub escaped: Digests,
    /// May this account register at other peers?
    pub roaming: bool,
    /// UTC ms of the last password change: grants from before are void.
    pub changed_at_ms: u64,
    /// Empty for most.
    pub spelt: Vec<Spelt>,
}

impl Account {
    /// What a phone has hashed that spells its user name so.
    pub fn digests_of(&self, username: &str) -> Option<&Digests> {
        if let Some(spelt) = self.spelt.iter().find(|spelt| spelt.username == username) {
            return Some(&spelt.digests);
        }
        Some(match (username.contains('@'), username.contains("%40")) {
            (true, _) => &self.full,
            (false, true) => &self.escaped,
            (false, false) => &self.short,
        })
    }

    /// The same password and rights, whenever they were given: nothing that was proved or granted is void.
    pub fn is_as(&self, other: &Account) -> bool {
        *self == Account { changed_at_ms: self.changed_at_ms, ..other.clone() }
    }
}

const FIELDS: usize = 7;

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_spelt = !self.spelt.is_empty();
        let version = if is_spelt { VERSION_SPELT } else { VERSION };
        let mut tuple = serializer.serialize_tuple(FIELDS + usize::from(is_spelt))?;
        tuple.serialize_element(&version)?;
        tuple.serialize_element(&self.aor)?;
        tuple.serialize_element(&self.short)?;
        tuple.serialize_element(&self.full)?;
        tuple.serialize_element(&self.escaped)?;
        tuple.serialize_element(&self.roaming)?;
        tuple.serialize_element(&self.changed_at_ms)?;
        if is_spelt {
            tuple.serialize_element(&self.spelt)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Account, D::Error> {
        deserializer.deserialize_seq(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Account;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an account of version 1 or 2")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Account, A::Error> {
        fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A) -> Result<T, A::Error> {
            seq.next_element()?.ok_or_else(|| A::Error::custom("an account has more fields"))
        }
        let version: u8 = next(&mut seq)?;
        let mut account = Account {
            aor: next(&mut seq)?,
            short: next(&mut seq)?,
            full: next(&mut seq)?,
            escaped: next(&mut seq)?,
            roaming: next(&mut seq)?,
            changed_at_ms: next(&mut seq)?,
            spelt: Vec::new(),
        };
        match version {
            VERSION => {}
            VERSION_SPELT => account.spelt = next(&mut seq)?,
            _ => return Err(A::Error::custom("an account of another version")),
        }
        // One value, one form.
        match version == VERSION_SPELT && account.spelt.is_empty() {
            true => Err(A::Error::custom("an account without other spellings is of version 1")),
            false => Ok(account),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::{decode, encode};

    fn digests(n: u8) -> Digests {
        Digests { sha256: format!("{n}1"), md5: format!("{n}2") }
    }

    fn account(spelt: &[&str]) -> Account {
        let (aor, changed_at_ms) = ("9903#1@a.test".to_owned(), 7);
        let (short, full, escaped) = (digests(1), digests(2), digests(3));
        let spell = |username: &&str| Spelt { username: (*username).to_owned(), digests: digests(4) };
        let spelt = spelt.iter().map(spell).collect();
        Account { aor, short, full, escaped, roaming: true, changed_at_ms, spelt }
    }

    #[test]
    fn each_has_the_version_that_says_all_of_it_and_no_other() {
        for (spelt, first) in [(&[][..], [0x87, 1]), (&["9903%231"], [0x88, 2])] {
            let bytes = encode(&account(spelt));
            assert_eq!(bytes[..2], first, "{spelt:?}");
            assert_eq!(decode::<Account>(&bytes).ok(), Some(account(spelt)));
            for version in [0, 1, 2, 3, 23] {
                let mut other = bytes.clone();
                other[1] = version;
                assert_eq!(decode::<Account>(&other).is_ok(), version == first[1], "{spelt:?} as {version}");
            }
        }
        let mut longer = encode(&account(&[]));
        (longer[0], longer[1]) = (0x88, 2);
        longer.push(0x80);
        assert!(
            decode::<Account>(&longer).is_err(),
            "no spellings, and yet the version of those that have some"
        );
    }
}
