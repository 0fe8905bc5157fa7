//! Asking for a password: the headers of a 401 and a 407.

use super::Challenge;

/// Who asks: the registrar (401, RFC 3261 §22.2) or the proxy (407, §22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    Www,
    Proxy,
}

impl ChallengeKind {
    pub fn status(self) -> u16 {
        match self {
            Self::Www => 401,
            Self::Proxy => 407,
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Www => "Unauthorized",
            Self::Proxy => "Proxy Authentication Required",
        }
    }

    /// The header that carries the challenge.
    pub fn challenge_header(self) -> &'static str {
        match self {
            Self::Www => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }

    /// The header that carries the answer.
    pub fn credentials_header(self) -> &'static str {
        match self {
            Self::Www => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }
}

/// Phones that fail when they see an algorithm that they do not know, instead of taking the next challenge as RFC 8760
/// §2.2 wants: they are offered MD5 alone. Seen: baresip 1.0 (libre gives up with ENOSYS), SIPp 3.6 (stops).
const MD5_ONLY: [&str; 2] = ["baresip", "sipp"];

/// Can this phone be offered more than MD5? `user_agent`: its header, if it sends one.
pub fn takes_sha256(user_agent: Option<&str>) -> bool {
    let agent = user_agent.unwrap_or_default().trim_start().to_ascii_lowercase();
    !MD5_ONLY.iter().any(|known| agent.starts_with(known))
}

/// One header per algorithm, the best first: a phone takes the topmost that it knows (RFC 8760 §2.2), and one that
/// knows only MD5 finds it below. `stale`: the password was right, only the nonce was old.
pub fn challenge_headers(
    kind: ChallengeKind,
    challenge: &Challenge,
    stale: bool,
    sha256: bool,
) -> Vec<(&'static str, String)> {
    let (realm, nonce) = (quoted(&challenge.realm), quoted(&challenge.nonce));
    let stale = if stale { ", stale=true" } else { "" };
    let value = |algorithm| {
        format!(
            "Digest realm={realm}, nonce={nonce}, opaque=\"{OPAQUE}\", algorithm={algorithm}, qop=\"auth\"{stale}"
        )
    };
    let name = kind.challenge_header();
    let algorithms: &[&str] = if sha256 { &["SHA-256", "MD5"] } else { &["MD5"] };
    algorithms.iter().map(|algorithm| (name, value(algorithm))).collect()
}

/// The nonce carries all state; a constant satisfies phones that want an `opaque` to give back.
const OPAQUE: &str = "646f7473";

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_stands_before_md5() {
        let challenge = Challenge { realm: "office.example".into(), nonce: "n1".into() };
        let headers = challenge_headers(ChallengeKind::Proxy, &challenge, false, true);
        let rest = "Digest realm=\"office.example\", nonce=\"n1\", opaque=\"646f7473\", algorithm=";
        assert_eq!(
            headers,
            [
                ("Proxy-Authenticate", format!("{rest}SHA-256, qop=\"auth\"")),
                ("Proxy-Authenticate", format!("{rest}MD5, qop=\"auth\"")),
            ]
        );
        let stale = challenge_headers(ChallengeKind::Www, &challenge, true, true);
        assert_eq!(challenge_headers(ChallengeKind::Www, &challenge, false, false).len(), 1);
        assert!(!takes_sha256(Some("baresip v1.0.0 (x86_64/linux)")) && takes_sha256(Some("Linphone/5")));
        assert!(stale.iter().all(|(name, v)| *name == "WWW-Authenticate" && v.ends_with(", stale=true")));
    }
}
