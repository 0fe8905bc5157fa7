//! From a password to what is kept: digests (RFC 7616 §3.4.2: H(user:realm:password)) of every spelling of the user name
//! that phones answer with, by SHA-256 and by MD5. The password is not kept.

use crate::{
    account::{Account, Digests, Spelt},
    digest::{Algorithm, ha1},
    uri::{spellings, unescape},
};

const AOR_BYTES_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAccount {
    #[error("{0:?} is not an address of record: user@realm is wanted, such as alice@office.example")]
    Aor(String),
    #[error("{0}: the password is empty or has a control character in it")]
    Password(String),
    #[error("{0}: an HA1 is 32 hex digits (MD5) or 64 (SHA-256)")]
    Ha1(String),
}

/// `alice@Office.example`, `sip:alice@office.example` -> `alice@office.example`. The user is case-sensitive (RFC 3261
/// §19.1.4), the realm is not. An escape means what it stands for, as in a URI: `9902%232@a.test` is `9902#2@a.test`. A realm
/// with other than ASCII letters becomes its `xn--` form, which is what phones write.
pub fn canonical(text: &str) -> Result<String, BadAccount> {
    let bad = || BadAccount::Aor(text.to_owned());
    let bare = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:")).unwrap_or(text);
    let (user, realm) = bare.rsplit_once('@').ok_or_else(bad)?;
    let (user, realm) = (unescape(user), ascii_realm(realm).ok_or_else(bad)?);
    let user_ok = |c: char| !c.is_whitespace() && !c.is_control() && !":@<>\"\\;?%".contains(c);
    let realm_ok = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let good =
        !user.is_empty() && user.chars().all(user_ok) && !realm.is_empty() && realm.chars().all(realm_ok);
    if !good || bare.len() > AOR_BYTES_MAX {
        return Err(bad());
    }
    Ok(format!("{user}@{}", realm.trim_end_matches('.').to_ascii_lowercase()))
}

/// `Bücher.example` -> `xn--bcher-kva.example` (RFC 5891); what is ASCII stays as it is. `None`: no domain name.
pub fn ascii_realm(realm: &str) -> Option<String> {
    match realm.is_ascii() {
        true => Some(realm.to_owned()),
        false => idna::domain_to_ascii(realm).ok(),
    }
}

/// An account of which only H(user:realm:password) is known, as other servers keep it. Its phones answer with that
/// algorithm, and with the user name alone. Every other digest is one that nobody can answer to: it is derived from the
/// known one, which whoever has it need not guess.
pub fn account_of_ha1(aor: &str, digest: &str, roaming: bool, now_ms: u64) -> Result<Account, BadAccount> {
    let aor = canonical(aor)?;
    let known = digest.to_ascii_lowercase();
    let is_hex = known.bytes().all(|b| b.is_ascii_hexdigit());
    let (user, realm) = aor.rsplit_once('@').ok_or_else(|| BadAccount::Aor(aor.clone()))?;
    let none = |name: &str| Digests {
        sha256: ha1(Algorithm::Sha256, &format!("no digest of {name}"), realm, &known),
        md5: ha1(Algorithm::Md5, &format!("no digest of {name}"), realm, &known),
    };
    let short = match known.len() {
        MD5_HEX if is_hex => Digests { md5: known.clone(), ..none(user) },
        SHA256_HEX if is_hex => Digests { sha256: known.clone(), ..none(user) },
        _ => return Err(BadAccount::Ha1(aor)),
    };
    let escaped = none(&format!("{user}%40{realm}"));
    let full = none(&aor);
    // Of a name that can be spelt in several ways nobody says which one was hashed, and whoever knows the digest need not guess.
    let spelt = spellings(user).into_iter().map(|username| Spelt { username, digests: short.clone() });
    let spelt = spelt.collect();
    Ok(Account { short, full, escaped, roaming, changed_at_ms: now_ms, spelt, aor: aor.clone() })
}

/// Hex digits of a digest.
const MD5_HEX: usize = 32;
const SHA256_HEX: usize = 64;

/// Could this be an HA1? Then somebody has to say whether it is one.
pub fn is_like_ha1(text: &str) -> bool {
    [MD5_HEX, SHA256_HEX].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The account that this password opens. `aor` in any form that [`canonical`] takes.
pub fn account(aor: &str, password: &str, roaming: bool, now_ms: u64) -> Result<Account, BadAccount> {
    let aor = canonical(aor)?;
    if password.is_empty() || password.chars().any(char::is_control) {
        return Err(BadAccount::Password(aor));
    }
    let (user, realm) = aor.rsplit_once('@').ok_or_else(|| BadAccount::Aor(aor.clone()))?;
    let digests = |name: &str| Digests {
        sha256: ha1(Algorithm::Sha256, name, realm, password),
        md5: ha1(Algorithm::Md5, name, realm, password),
    };
    let spelt = spellings(user).into_iter().flat_map(|user| [format!("{user}@{realm}"), user]);
    let spelt = spelt.map(|username| Spelt { digests: digests(&username), username }).collect();
    Ok(Account {
        short: digests(user),
        full: digests(&aor),
        escaped: digests(&format!("{user}%40{realm}")),
        roaming,
        changed_at_ms: now_ms,
        spelt,
        aor: aor.clone(),
    })
}
