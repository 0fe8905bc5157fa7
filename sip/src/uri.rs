//! URIs (RFC 3261 §19.1): parts, escapes, comparison.

use crate::message::grammar::{is_host, param, params, split_host_port};
use memchr::memchr;

/// Parameters of one URI that are compared; more make it unequal to all others.
const PARAMS_MAX: usize = 64;

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
        let (scheme, rest) = scheme_of(text).ok_or(BadUri)?;
        // The user part may hold `;` and `?`; it ends at the last `@`.
        let [mut at_sign, mut semicolon, mut question] = [None; 3];
        for (at, b) in rest.bytes().enumerate() {
            match b {
                b'@' => (at_sign, semicolon, question) = (Some(at), None, None),
                b';' if semicolon.is_none() && question.is_none() => semicolon = Some(at),
                b'?' if question.is_none() => question = Some(at),
                _ => {}
            }
        }
        let user = at_sign.and_then(|end| {
            let user = rest.get(..end)?;
            user.get(..memchr(b':', user.as_bytes()).unwrap_or(user.len()))
        });
        let headers = question.and_then(|at| rest.get(at + 1..)).unwrap_or_default();
        let end = question.unwrap_or(rest.len());
        let params = semicolon.and_then(|at| rest.get(at + 1..end)).unwrap_or_default();
        let hostport = rest.get(at_sign.map_or(0, |at| at + 1)..semicolon.unwrap_or(end)).unwrap_or_default();
        let (host, port) = split_host_port(hostport).ok_or(BadUri)?;
        if !is_host(host) || user == Some("") {
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
            && same_params(self.params, other.params)
            && same_headers(self.headers, other.headers)
    }
}

/// `sip` or `sips`, and what follows its colon.
fn scheme_of(text: &str) -> Option<(&str, &str)> {
    let colon = if text.as_bytes().get(3) == Some(&b':') { 3 } else { 4 };
    let (scheme, rest) = (text.get(..colon)?, text.get(colon..)?.strip_prefix(':')?);
    (scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")).then_some((scheme, rest))
}

/// `%61` to `a`, once (`%2541` is `%41`). What is no escape stays.
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    if memchr(b'%', bytes).is_none() {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(b) = bytes.get(at) {
        let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (b, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
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
fn same_params(a: &str, b: &str) -> bool {
    const STRICT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    let agree = |name: &str| match (param(a, name), param(b, name)) {
        (Some(x), Some(y)) => unescape(x).eq_ignore_ascii_case(&unescape(y)),
        (None, None) => true,
        _ => !STRICT.iter().any(|s| s.eq_ignore_ascii_case(name)),
    };
    let names: Vec<&str> = params(a).map(|(name, _)| name).take(PARAMS_MAX + 1).collect();
    names.len() <= PARAMS_MAX && STRICT.iter().all(|name| agree(name)) && names.into_iter().all(agree)
}

/// Headers are never ignored: the same ones, in any order.
fn same_headers(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut all: Vec<(String, String)> = text
            .split('&')
            .filter(|one| !one.is_empty())
            .map(|one| one.split_once('=').unwrap_or((one, "")))
            .map(|(name, value)| (unescape(name).to_ascii_lowercase(), unescape(value)))
            .collect();
        all.sort();
        all
    };
    a == b || sorted(a) == sorted(b)
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
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ];
        let other = [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:carol@c.com?Subject=a", "sip:carol@c.com?Subject=b"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ];
        let eq = |(a, b): (&str, &str)| Uri::parse(a).expect(a).equals(&Uri::parse(b).expect(b));
        assert!(same.into_iter().all(eq));
        assert!(!other.into_iter().any(eq));
        let v6 = Uri::parse("sip:a;x@[2001:db8::1]:5070;lr").expect("a URI");
        assert_eq!((v6.user(), v6.host(), v6.port()), (Some("a;x"), "[2001:db8::1]", Some(5070)));
    }

    #[test]
    fn parts_and_escapes() {
        // RFC 4475 §3.1.1.9: the semicolon and the escaped @ belong to the user.
        let semi = Uri::parse("sip:user;par=u%40example.net@example.com").expect("a URI");
        assert_eq!(
            (semi.user(), semi.host(), semi.params()),
            (Some("user;par=u%40example.net"), "example.com", "")
        );
        let full = Uri::parse("sips:a:secret@h.test:5061;lr;x=%31?Route=y").expect("a URI");
        assert_eq!((full.scheme(), full.user(), full.port()), ("sips", Some("a"), Some(5061)));
        assert_eq!((full.param("LR"), full.param("x"), full.headers()), (Some(""), Some("%31"), "Route=y"));
        for bad in [
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a@h:x",
            "sip:a@h:+5",
            "sip:a@h:70000",
            "sip:2001:db8::10",
            "sip:[::1",
            "sip:[::1]x",
            "tel:1",
        ] {
            assert_eq!(Uri::parse(bad), Err(BadUri), "{bad}");
        }
        for (escaped, plain) in [
            ("%61%6C", "al"),
            ("%2541", "%41"),
            ("%+1", "%+1"),
            ("%4", "%4"),
            ("%ff", "%ff"),
            ("\u{e9}", "\u{e9}"),
        ] {
            assert_eq!(unescape(escaped), plain);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_all_users_come_back(text in "\\PC{0,40}") {
            let _ = Uri::parse(&text).map(|u| u.equals(&u));
            let _ = Uri::parse(&format!("sip:{text}")).map(|u| u.equals(&u));
            proptest::prop_assert_eq!(unescape(&escape_user(&text)), text);
        }
    }
}
