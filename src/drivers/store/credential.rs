//! From a password to what is kept: digests (RFC 7616 §3.4.2: H(user:realm:password)) of every spelling of the user name
//! that phones answer with, by SHA-256 and by MD5. The password is not kept.

use dots_trust::account::{Account, Digests, VERSION};
use dots_trust::digest::{Algorithm, ha1};

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
    let digests = |name: &str| Digests {
        sha256: ha1(Algorithm::Sha256, name, realm, password),
        md5: ha1(Algorithm::Md5, name, realm, password),
    };
    Ok(Account {
        version: VERSION,
        short: digests(user),
        full: digests(&aor),
        escaped: digests(&format!("{user}%40{realm}")),
        roaming,
        changed_at_ms: now_ms,
        aor: aor.clone(),
    })
}
