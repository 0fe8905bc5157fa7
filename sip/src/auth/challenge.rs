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

/// Which digest algorithms a realm's phones are offered, and which of their answers its home takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestOffer {
    Md5,
    /// MD5 on top, SHA-256 below. RFC 8760 §2.4 wants the stronger one on top, and a phone to take the topmost that it
    /// knows; but many phones look at the topmost only and give up where that is SHA-256.
    #[default]
    Both,
    Sha256,
}

impl DigestOffer {
    /// `md5`, `both` or `sha256`.
    pub fn parse(text: &str) -> Option<DigestOffer> {
        match text {
            "md5" => Some(Self::Md5),
            "both" => Some(Self::Both),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Both => "both",
            Self::Sha256 => "sha256",
        }
    }

    /// `MD5` or `SHA-256`, as an answer names its algorithm.
    pub fn takes(self, algorithm: &str) -> bool {
        self.algorithms().contains(&algorithm)
    }

    fn algorithms(self) -> &'static [&'static str] {
        match self {
            Self::Md5 => &["MD5"],
            Self::Both => &["MD5", "SHA-256"],
            Self::Sha256 => &["SHA-256"],
        }
    }

    /// What is offered to this phone. `user_agent`: its header, if it sends one.
    pub fn toward(self, user_agent: Option<&str>) -> DigestOffer {
        let agent = user_agent.unwrap_or_default().trim_start();
        let is =
            |known: &&str| agent.get(..known.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(known));
        match self {
            Self::Both if FAIL_AT_SHA256.iter().any(is) => Self::Md5,
            offer => offer,
        }
    }
}

/// Phones that fail where SHA-256 is offered at all, below MD5 too. Seen: baresip 1.0 and 1.1 (libre reads every challenge
/// and gives up with ENOSYS at the first algorithm that it does not know).
const FAIL_AT_SHA256: [&str; 3] = ["baresip v0.", "baresip v1.", "baresip v2."];

/// One header per algorithm of the offer. `stale`: the password was right, only the nonce was old.
pub fn challenge_headers(
    kind: ChallengeKind,
    challenge: &Challenge,
    stale: bool,
    offer: DigestOffer,
) -> Vec<(&'static str, String)> {
    let Challenge { realm, nonce } = challenge;
    let stale = if stale { ", stale=true" } else { "" };
    let mut common = String::with_capacity(realm.len() + nonce.len() + 64);
    common.push_str("Digest realm=");
    put_quoted(&mut common, realm);
    common.push_str(", nonce=");
    put_quoted(&mut common, nonce);
    let value = |algorithm: &&str| {
        let pieces = [&common, ", opaque=\"", OPAQUE, "\", algorithm=", algorithm, ", qop=\"auth\"", stale];
        pieces.concat()
    };
    let name = kind.challenge_header();
    offer.algorithms().iter().map(|algorithm| (name, value(algorithm))).collect()
}

/// The nonce carries all state; a constant satisfies phones that want an `opaque` to give back.
const OPAQUE: &str = "646f7473";

fn put_quoted(out: &mut String, text: &str) {
    out.push('"');
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\')) {
        out.push_str(text);
    } else {
        for c in text.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(offer: DigestOffer, agent: Option<&str>) -> Vec<String> {
        let challenge = Challenge { realm: "office.example".into(), nonce: "n1".into() };
        let headers = challenge_headers(ChallengeKind::Proxy, &challenge, false, offer.toward(agent));
        let rest = "Digest realm=\"office.example\", nonce=\"n1\", opaque=\"646f7473\", algorithm=";
        let algorithm = |(name, value): (&str, String)| {
            assert_eq!(name, "Proxy-Authenticate");
            let tail = value.strip_prefix(rest).expect("realm and nonce first");
            tail.strip_suffix(", qop=\"auth\"").expect("qop last").to_owned()
        };
        headers.into_iter().map(algorithm).collect()
    }

    #[test]
    fn phones_that_read_only_the_topmost_challenge_find_md5_there() {
        for agent in [
            None,
            Some(""),
            Some("Twinkle/1.10.2"),
            Some("MicroSIP/3.19.24"),
            Some("PJSUA v2.10 Linux"),
            Some("CSipSimple_hammerhead-23/r2457"),
            Some("Telephone 1.5"),
            Some("sipsak 0.9.8.1"),
            Some("friendly-scanner"),
            Some("Linphone/5.1"),
            Some("baresip v3.18.0 (x86_64/linux)"),
            Some("nobody knows this one"),
        ] {
            assert_eq!(offered(DigestOffer::Both, agent), ["MD5", "SHA-256"], "{agent:?}");
        }
        assert_eq!(offered(DigestOffer::Both, Some("baresip v1.0.0 (x86_64/linux)")), ["MD5"]);
    }

    #[test]
    fn a_setting_is_the_same_for_every_phone() {
        for agent in [None, Some("baresip v1.0.0"), Some("Linphone/5.1")] {
            assert_eq!(offered(DigestOffer::Md5, agent), ["MD5"]);
            assert_eq!(offered(DigestOffer::Sha256, agent), ["SHA-256"]);
        }
        for offer in [DigestOffer::Md5, DigestOffer::Both, DigestOffer::Sha256] {
            assert_eq!(DigestOffer::parse(offer.as_str()), Some(offer));
        }
        assert!(!DigestOffer::Sha256.takes("MD5") && !DigestOffer::Md5.takes("SHA-256"));
    }

    #[test]
    fn stale_is_said_in_each_header() {
        let challenge = Challenge { realm: "office.example".into(), nonce: "n1".into() };
        let stale = challenge_headers(ChallengeKind::Www, &challenge, true, DigestOffer::Both);
        assert!(stale.iter().all(|(name, v)| *name == "WWW-Authenticate" && v.ends_with(", stale=true")));
    }
}
