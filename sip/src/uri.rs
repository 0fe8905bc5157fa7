//! URIs (RFC 3261 §19.1): parts, escapes, comparison.

use crate::message::values::{find_outside, param, split_host_port};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URI that can be used here")]
pub struct BadUri;

/// A borrowed SIP or SIPS URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    params: &'a str,
    headers: &'a str,
}

impl<'a> Uri<'a> {
    pub fn parse(text: &'a str) -> Result<Uri<'a>, BadUri> {
        let (scheme, rest) = text.split_once(':').ok_or(BadUri)?;
        if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
            return Err(BadUri);
        }
        // The user part may hold `;` and `?`; it ends at the last `@`.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.split(':').next().unwrap_or_default()), rest),
            None => (None, rest),
        };
        let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (hostport, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = split_host_port(hostport).ok_or(BadUri)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:%~".contains(c);
        if !host.chars().all(plain) || user == Some("") {
            return Err(BadUri);
        }
        Ok(Uri { scheme, user, host, port, params, headers })
    }
    pub fn scheme(&self) -> &'a str {
        self.scheme
    }
    /// As written, escapes and all, without a password.
    pub fn user(&self) -> Option<&'a str> {
        self.user
    }
    /// As written; IPv6 in brackets.
    pub fn host(&self) -> &'a str {
        self.host
    }
    pub fn port(&self) -> Option<u16> {
        self.port
    }
    pub fn params(&self) -> &'a str {
        self.params
    }
    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }
    pub fn headers(&self) -> &'a str {
        self.headers
    }

    /// §19.1.4.
    pub fn equals(&self, other: &Uri<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.user.map(unescape) == other.user.map(unescape)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && find_param_eq(self.params, other.params)
            && self.headers.is_empty() == other.headers.is_empty()
    }
}

/// `%61` to `a`. What is no escape stays.
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(b) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (b, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(*b);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Escapes what may not stand in the user part.
pub fn escape_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// Parameters that both have must agree; `user`, `ttl`, `method`, `maddr` and `transport` must be in both or neither.
fn find_param_eq(a: &str, b: &str) -> bool {
    const STRICT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    let agree = |name: &str| match (param(a, name), param(b, name)) {
        (Some(x), Some(y)) => unescape(x).eq_ignore_ascii_case(&unescape(y)),
        (None, None) => true,
        _ => !STRICT.iter().any(|s| s.eq_ignore_ascii_case(name)),
    };
    STRICT.iter().all(|name| agree(name)) && names(a).into_iter().all(agree)
}

fn names(params: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = params;
    while !rest.is_empty() && out.len() < 64 {
        let end = find_outside(rest, b';').unwrap_or(rest.len());
        out.push(rest.get(..end).unwrap_or_default().split('=').next().unwrap_or_default().trim());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3261_19_1_4() {
        let same = [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
        ];
        let other = [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ];
        let eq = |(a, b): (&str, &str)| Uri::parse(a).expect(a).equals(&Uri::parse(b).expect(b));
        assert!(same.into_iter().all(eq));
        assert!(!other.into_iter().any(eq));
        let v6 = Uri::parse("sip:a;x@[2001:db8::1]:5070;lr").expect("a URI");
        assert_eq!((v6.user(), v6.host(), v6.port()), (Some("a;x"), "[2001:db8::1]", Some(5070)));
    }
}
