//! From a password to what is kept: four digests (RFC 7616 §3.4.2: H(user:realm:password)), because phones answer
//! with `user` or with `user@realm` as their user name, by SHA-256 or by MD5. The password is not kept.

use crate::peer::account::Account;
use dots_sip::digest::{Algorithm, ha1};

const VERSION: u8 = 1;
const AOR_BYTES_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAccount {
    #[error("{0:?} is not an address of record: user@realm is wanted, such as alice@office.example")]
    Aor(String),
    #[error("{0}: the password is empty or has a control character in it")]
    Password(String),
}

/// `alice@Office.example`, `sip:alice@office.example` -> `alice@office.example`. The user is case-sensitive (RFC 3261
/// §19.1.4), the realm is not.
pub fn canonical(text: &str) -> Result<String, BadAccount> {
    let bad = || BadAccount::Aor(text.to_owned());
    let bare = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:")).unwrap_or(text);
    let (user, realm) = bare.rsplit_once('@').ok_or_else(bad)?;
    let user_ok = |c: char| !c.is_whitespace() && !c.is_control() && !":@<>\"\\;?".contains(c);
    let realm_ok = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let good =
        !user.is_empty() && user.chars().all(user_ok) && !realm.is_empty() && realm.chars().all(realm_ok);
    if !good || bare.len() > AOR_BYTES_MAX {
        return Err(bad());
    }
    Ok(format!("{user}@{}", realm.trim_end_matches('.').to_ascii_lowercase()))
}

/// The account that this password opens. `aor` in any form that [`canonical`] takes.
pub fn account(aor: &str, password: &str, roaming: bool, now_ms: u64) -> Result<Account, BadAccount> {
    let aor = canonical(aor)?;
    if password.is_empty() || password.chars().any(char::is_control) {
        return Err(BadAccount::Password(aor));
    }
    let (user, realm) = aor.rsplit_once('@').ok_or_else(|| BadAccount::Aor(aor.clone()))?;
    let digest = |algorithm, name| ha1(algorithm, name, realm, password);
    Ok(Account {
        version: VERSION,
        ha1_sha256: digest(Algorithm::Sha256, user),
        ha1_md5: digest(Algorithm::Md5, user),
        ha1_sha256_full: digest(Algorithm::Sha256, &aor),
        ha1_md5_full: digest(Algorithm::Md5, &aor),
        roaming,
        changed_at_ms: now_ms,
        aor: aor.clone(),
    })
}
