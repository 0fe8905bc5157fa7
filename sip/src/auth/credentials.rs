//! `Digest` credentials, read from one header value. RFC 7616 §3.4, RFC 3261 §25.1.
//!
//! Phones quote what need not be quoted and leave bare what should be (`qop="auth"`, `algorithm="MD5"`, bare `uri`),
//! so quotes are taken anywhere. What has no tolerant reading (no user, twice the same parameter, an open quote) is an
//! error and becomes a 400.

use crate::message::{grammar::is_token, text::lower};
use memchr::{memchr, memchr2};
use smallvec::SmallVec;
use std::borrow::Cow;

/// Longest value of one parameter; a nonce of ours has about 130 bytes.
const MAX_VALUE_BYTES: usize = 512;
const MAX_PARAMS: usize = 32;

/// Cut from the line that they stand in; only what is escaped or in the wrong case is a text of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials<'a> {
    pub username: Cow<'a, str>,
    pub realm: Cow<'a, str>,
    pub nonce: Cow<'a, str>,
    pub uri: Cow<'a, str>,
    pub response: Cow<'a, str>,
    /// `MD5`, `SHA-256`, or what was sent.
    pub algorithm: Cow<'a, str>,
    /// Empty: the client speaks RFC 2069.
    pub qop: Cow<'a, str>,
    pub nc: u32,
    pub cnonce: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed Digest credentials")]
pub struct Malformed;

impl<'a> Credentials<'a> {
    /// `None` if the scheme is not Digest (someone else's, to be left alone).
    pub fn parse(value: &'a str) -> Result<Option<Self>, Malformed> {
        let value = value.trim();
        let (scheme, rest) = value.split_once([' ', '\t', '\r', '\n']).unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Ok(None);
        }
        let mut found = Self::default();
        let mut seen: SmallVec<[&str; 12]> = SmallVec::new();
        let mut rest = rest;
        while let Some((name, value, after)) = next_param(rest)? {
            rest = after;
            let is_seen = seen.iter().any(|seen| seen.eq_ignore_ascii_case(name));
            if seen.len() >= MAX_PARAMS || value.len() > MAX_VALUE_BYTES || is_seen {
                return Err(Malformed);
            }
            found.take(name, value)?;
            seen.push(name);
        }
        for needed in ["username", "realm", "nonce", "uri", "response"] {
            if !seen.iter().any(|name| name.eq_ignore_ascii_case(needed)) {
                return Err(Malformed);
            }
        }
        found.algorithm = match found.algorithm {
            none if none.is_empty() => "MD5".into(),
            lower if lower.bytes().any(|b| b.is_ascii_lowercase()) => lower.to_ascii_uppercase().into(),
            upper => upper,
        };
        Ok(Some(found))
    }

    fn take(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), Malformed> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("nc") {
            let is_hex = (1..=8).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_hexdigit());
            self.nc = u32::from_str_radix(&value, 16).ok().filter(|_| is_hex).ok_or(Malformed)?;
            return Ok(());
        }
        let fields = [
            ("username", &mut self.username),
            ("realm", &mut self.realm),
            ("nonce", &mut self.nonce),
            ("uri", &mut self.uri),
            ("response", &mut self.response),
            ("algorithm", &mut self.algorithm),
            ("qop", &mut self.qop),
            ("cnonce", &mut self.cnonce),
        ];
        // opaque, auth-param: nothing that we check.
        let Some((known, field)) = fields.into_iter().find(|(known, _)| is(known)) else { return Ok(()) };
        *field = match known {
            "response" | "qop" => lowered(value),
            _ => value,
        };
        Ok(())
    }
}

fn lowered(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => lower(text),
        Cow::Owned(text) => text.to_ascii_lowercase().into(),
    }
}

/// The realm that a challenge of any scheme names; `None` if it cannot be read, or names none, or several.
pub(super) fn challenge_realm(value: &str) -> Option<Cow<'_, str>> {
    let (_scheme, mut rest) = value.trim().split_once([' ', '\t', '\r', '\n'])?;
    let mut realm = None;
    while let Some((name, value, after)) = next_param(rest).ok()? {
        rest = after;
        if name.eq_ignore_ascii_case("realm") && realm.replace(value).is_some() {
            return None;
        }
    }
    realm
}

type Param<'a> = (&'a str, Cow<'a, str>, &'a str);

/// The next `name = value` of a comma-separated list, and what follows.
fn next_param(text: &str) -> Result<Option<Param<'_>>, Malformed> {
    let text = text.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
    if text.is_empty() {
        return Ok(None);
    }
    let equals = memchr(b'=', text.as_bytes()).ok_or(Malformed)?;
    let (name, rest) = (text.get(..equals).unwrap_or_default(), text.get(equals + 1..).unwrap_or_default());
    let name = name.trim();
    if !is_token(name) {
        return Err(Malformed);
    }
    let rest = rest.trim_start();
    let Some(inside) = rest.strip_prefix('"') else {
        let end = memchr(b',', rest.as_bytes()).unwrap_or(rest.len());
        let (value, after) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
        return Ok(Some((name, value.trim().into(), after)));
    };
    let (value, after) = quoted(inside)?;
    let after = after.trim_start();
    if !after.is_empty() && !after.starts_with(',') {
        return Err(Malformed);
    }
    Ok(Some((name, value, after)))
}

/// What stands before the closing quote, unescaped, and what comes after it.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), Malformed> {
    // Hardly ever is anything escaped.
    let end = memchr2(b'"', b'\\', text.as_bytes()).ok_or(Malformed)?;
    let (plain, rest) = text.split_at(end);
    if let Some(after) = rest.strip_prefix('"') {
        return Ok((plain.into(), after));
    }
    let mut value = plain.to_owned();
    let mut chars = rest.chars();
    loop {
        match chars.next().ok_or(Malformed)? {
            '"' => return Ok((value.into(), chars.as_str())),
            '\\' => value.push(chars.next().ok_or(Malformed)?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "Digest username=\"alice\", realm=\"office.example\", nonce=\"n,1\", uri=\"sip:office.example\", \
                        response=\"AB12\", algorithm=MD5, qop=auth, nc=0000000a, cnonce=\"c\", opaque=\"\"";

    #[test]
    fn read_as_phones_write_them() {
        let good = Credentials::parse(GOOD).expect("well-formed").expect("Digest");
        assert_eq!((&*good.username, &*good.nonce, good.nc), ("alice", "n,1", 10));
        assert_eq!((&*good.response, &*good.qop), ("ab12", "auth"));
        for (why, from, to) in [
            ("no algorithm is MD5", ", algorithm=MD5", ""),
            ("quoted token", "algorithm=MD5", "algorithm=\"md5\""),
            ("quoted qop", "qop=auth", "qop=\"auth\""),
            ("case of names", "username=", "UserName="),
            ("spaces around =", "realm=\"", "realm = \""),
            ("scheme case, folding", "Digest username", "DIGEST\r\n username"),
            ("empty list elements", ", realm", ",, ,realm"),
            ("escaped", "\"alice\"", "\"al\\ice\""),
            ("bare uri", "\"sip:office.example\"", "sip:office.example"),
        ] {
            assert_eq!(Credentials::parse(&GOOD.replace(from, to)), Ok(Some(good.clone())), "{why}");
        }
    }

    #[test]
    fn other_schemes_are_left_alone() {
        for value in ["NoOneKnowsThisScheme opaque-data=here", "Basic YTpi", "", "Bearer x"] {
            assert_eq!(Credentials::parse(value), Ok(None), "{value}");
        }
    }

    #[test]
    fn broken_ones_are_refused() {
        for (why, value) in [
            ("nothing in it", "Digest".to_owned()),
            ("no user", GOOD.replace("username=\"alice\", ", "")),
            ("no response", GOOD.replace("response=\"AB12\",", "")),
            ("twice", format!("{GOOD}, realm=\"x\"")),
            ("open quote", GOOD.replace("\"office.example\"", "\"office.example")),
            ("text after quote", GOOD.replace("\"alice\"", "\"alice\"x")),
            ("nc not hex", GOOD.replace("0000000a", "zz")),
            ("nc too long", GOOD.replace("0000000a", "000000000a")),
            ("nc signed", GOOD.replace("0000000a", "+a")),
            ("no name", GOOD.replace("realm=", "=")),
            ("endless value", GOOD.replace("alice", &"a".repeat(MAX_VALUE_BYTES + 1))),
            ("endless list", format!("{GOOD}{}", (0..40).map(|n| format!(", p{n}=1")).collect::<String>())),
        ] {
            assert_eq!(Credentials::parse(&value), Err(Malformed), "{why}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in "(Digest )?[a-z=\", \\\\\u{e9}]{0,80}") {
            let _ = Credentials::parse(&value);
        }
    }
}
