//! `Digest` credentials, read from one header value. RFC 7616 §3.4, RFC 3261 §25.1.
//!
//! Phones quote what need not be quoted and leave bare what should be (`qop="auth"`, `algorithm="MD5"`, bare `uri`),
//! so quotes are taken anywhere. What has no tolerant reading (no user, twice the same parameter, an open quote) is an
//! error and becomes a 400.

use memchr::memchr2;

/// Longest value of one parameter; a nonce of ours has about 130 bytes.
const MAX_VALUE_BYTES: usize = 512;
const MAX_PARAMS: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub realm: String,
    pub nonce: String,
    pub uri: String,
    pub response: String,
    /// `MD5`, `SHA-256`, or what was sent.
    pub algorithm: String,
    /// Empty: the client speaks RFC 2069.
    pub qop: String,
    pub nc: u32,
    pub cnonce: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed Digest credentials")]
pub struct Malformed;

impl Credentials {
    /// `None` if the scheme is not Digest (someone else's, to be left alone).
    pub fn parse(value: &str) -> Result<Option<Self>, Malformed> {
        let value = value.trim();
        let (scheme, rest) = value.split_once([' ', '\t', '\r', '\n']).unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Ok(None);
        }
        let mut found = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let mut rest = rest;
        while let Some((name, value, after)) = next_param(rest)? {
            rest = after;
            if seen.len() >= MAX_PARAMS || value.len() > MAX_VALUE_BYTES || seen.contains(&name) {
                return Err(Malformed);
            }
            found.take(&name, value)?;
            seen.push(name);
        }
        for needed in ["username", "realm", "nonce", "uri", "response"] {
            if !seen.iter().any(|name| name == needed) {
                return Err(Malformed);
            }
        }
        found.algorithm = match found.algorithm.to_ascii_uppercase().as_str() {
            "" | "MD5" => "MD5".into(),
            other => other.into(),
        };
        Ok(Some(found))
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), Malformed> {
        match name {
            "username" => self.username = value,
            "realm" => self.realm = value,
            "nonce" => self.nonce = value,
            "uri" => self.uri = value,
            "response" => self.response = value.to_ascii_lowercase(),
            "algorithm" => self.algorithm = value,
            "qop" => self.qop = value.to_ascii_lowercase(),
            "nc" => {
                let is_hex = (1..=8).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_hexdigit());
                self.nc = u32::from_str_radix(&value, 16).ok().filter(|_| is_hex).ok_or(Malformed)?;
            }
            "cnonce" => self.cnonce = value,
            // opaque, auth-param: nothing that we check.
            _ => {}
        }
        Ok(())
    }
}

/// The realm that a challenge of any scheme names; `None` if it cannot be read, or names none, or several.
pub(super) fn challenge_realm(value: &str) -> Option<String> {
    let (_scheme, mut rest) = value.trim().split_once([' ', '\t', '\r', '\n'])?;
    let mut realm = None;
    while let Some((name, value, after)) = next_param(rest).ok()? {
        rest = after;
        if name == "realm" && realm.replace(value).is_some() {
            return None;
        }
    }
    realm
}

/// The next `name = value` of a comma-separated list, with the name in lower case and what follows.
fn next_param(text: &str) -> Result<Option<(String, String, &str)>, Malformed> {
    let text = text.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
    if text.is_empty() {
        return Ok(None);
    }
    let (name, rest) = text.split_once('=').ok_or(Malformed)?;
    let name = name.trim().to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)) {
        return Err(Malformed);
    }
    let rest = rest.trim_start();
    let Some(inside) = rest.strip_prefix('"') else {
        let (value, after) = rest.split_once(',').unwrap_or((rest, ""));
        return Ok(Some((name, value.trim().to_owned(), after)));
    };
    let (value, after) = quoted(inside)?;
    let after = after.trim_start();
    if !after.is_empty() && !after.starts_with(',') {
        return Err(Malformed);
    }
    Ok(Some((name, value, after)))
}

/// What stands before the closing quote, unescaped, and what comes after it.
fn quoted(text: &str) -> Result<(String, &str), Malformed> {
    // Hardly ever is anything escaped.
    let end = memchr2(b'"', b'\\', text.as_bytes()).ok_or(Malformed)?;
    let (plain, rest) = text.split_at(end);
    let mut value = plain.to_owned();
    let mut chars = rest.chars();
    loop {
        match chars.next().ok_or(Malformed)? {
            '"' => return Ok((value, chars.as_str())),
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
        assert_eq!((good.username.as_str(), good.nonce.as_str(), good.nc), ("alice", "n,1", 10));
        assert_eq!((good.response.as_str(), good.qop.as_str()), ("ab12", "auth"));
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
