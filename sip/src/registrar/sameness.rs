//! When do two SIP URIs name one thing? RFC 3261 §19.1.4, on text, for Contacts and digest-uris.
//!
//! Scheme, host and parameters compare without case, the user part with case; `%41` is `A` unless it stands for a
//! reserved character. A port that is written differs from one that is not. `user`, `ttl`, `method`, `maddr` and
//! `transport` count even where only one side has them, other parameters only where both have them. Header parts
//! compare as text.

const TELLING_PARAMS: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// A `sip:` or `sips:` URI taken apart and brought to one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub is_secure: bool,
    /// With its password, unescaped where that is harmless.
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// Sorted by name.
    params: Vec<(String, String)>,
    headers: String,
}

impl Parts {
    /// `None` if this is no SIP URI that could be reached.
    pub(crate) fn of(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        let is_secure = scheme.eq_ignore_ascii_case("sips");
        if !is_secure && !scheme.eq_ignore_ascii_case("sip") {
            return None;
        }
        // The user part may have ';' and '?' unescaped; the rest has no '@'.
        let (user, rest) = match rest.split_once('@') {
            Some(("", _)) => return None,
            Some((user, rest)) => (Some(one_spelling(user)?), rest),
            None => (None, rest),
        };
        let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (hostport, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = host_and_port(hostport)?;
        Some(Self {
            is_secure,
            user,
            host,
            port,
            params: split_params(params)?,
            headers: headers.to_ascii_lowercase(),
        })
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let are_params_same = |one: &Self, two: &Self| {
            one.params.iter().all(|(name, value)| match two.param(name) {
                Some(theirs) => theirs == value,
                None => !TELLING_PARAMS.contains(&name.as_str()),
            })
        };
        self.is_secure == other.is_secure
            && self.user == other.user
            && self.host == other.host
            && self.port == other.port
            && self.headers == other.headers
            && are_params_same(self, other)
            && are_params_same(other, self)
    }

    /// One text for all spellings of a URI with the same parts, to be hashed.
    pub(crate) fn normalised(&self) -> String {
        format!("{:?}", (self.is_secure, &self.user, &self.host, self.port, &self.params, &self.headers))
    }
}

/// Equal by §19.1.4, or as text if one is no SIP URI.
pub(crate) fn is_same_uri(a: &str, b: &str) -> bool {
    a == b || matches!((Parts::of(a), Parts::of(b)), (Some(a), Some(b)) if a.is_same(&b))
}

/// Unescapes what need not be escaped (RFC 3261 §25.1 unreserved), and writes other escapes in capitals.
fn one_spelling(text: &str) -> Option<String> {
    let mut spelled = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            spelled.push(c);
            continue;
        }
        let (high, low) = (chars.next()?.to_digit(16)?, chars.next()?.to_digit(16)?);
        let byte = u8::try_from(high * 16 + low).ok()?;
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            spelled.push(char::from(byte));
        } else {
            spelled.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(spelled)
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at_checked(end)?;
    let port = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None if rest.is_empty() => None,
        None => return None,
    };
    let is_reference = host.starts_with('[') && host.len() > 2;
    let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (is_reference || is_name).then(|| (host.to_ascii_lowercase(), port))
}

fn split_params(text: &str) -> Option<Vec<(String, String)>> {
    let mut params = Vec::new();
    for param in text.split(';').filter(|param| !param.is_empty()) {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        let one = |text: &str| one_spelling(text).map(|text| text.to_ascii_lowercase());
        params.push((one(name)?, one(value)?));
    }
    params.sort();
    Some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3261 §19.1.4, and what phones do.
    #[test]
    fn equal() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            ("sip:a@h;x=1;transport=udp", "SIP:a@H;transport=UDP;x=1"),
            ("sip:a%3bb@h", "sip:a%3Bb@h"),
            ("sip:a@[2001:DB8::1]:5060", "sip:a@[2001:db8::1]:5060"),
        ] {
            assert!(is_same_uri(a, b) && is_same_uri(b, a), "{a} = {b}");
        }
    }

    #[test]
    fn different() {
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on"),
            ("sip:%00@h", "sip:%00%00@h"),
            ("sip:a@h", "sips:a@h"),
            ("sip:h", "sip:a@h"),
        ] {
            assert!(!is_same_uri(a, b) && !is_same_uri(b, a), "{a} != {b}");
        }
    }

    #[test]
    fn no_sip_uris() {
        for uri in [
            "",
            "sip:",
            "sip:@h",
            "name:John",
            "tel:1",
            "sip:a%4@h",
            "sip:a@h:x",
            "sip:a@[::1",
            "sip:a@h h",
            "sip:a@:5",
        ] {
            assert_eq!(Parts::of(uri), None, "{uri}");
        }
    }
}
