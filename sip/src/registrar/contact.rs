//! Contact values of a REGISTER, cut into URI and parameters with every byte kept. RFC 3261 §20.10.
//!
//! Without angle brackets all parameters belong to the header, and a comma, semicolon or question mark in the URI is
//! an error (the last paragraph of §20.10; torture message `regbadct`): a `?` there is not read as URI headers.

use crate::message::grammar::{end_of_quote, find_closed, is_uri_text};
use memchr::{memchr, memchr3};
use std::borrow::Cow;

/// Contacts of one REGISTER; a phone has one or two.
pub const MAX_ASKED_CONTACTS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// One value: the URI without brackets, and the parameters each with its semicolon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawContact<'a> {
    pub uri: &'a str,
    pub params: &'a str,
}

/// All values of one Contact header line.
pub fn split(line: &str) -> impl Iterator<Item = Result<RawContact<'_>, Malformed>> {
    values(line).map(|value| one(value?))
}

/// The values of one header line that is a list, each as it stands. Nothing follows what is malformed.
pub fn values(line: &str) -> impl Iterator<Item = Result<&str, Malformed>> {
    let (mut rest, mut count) = (Some(line), 0);
    std::iter::from_fn(move || {
        count += 1;
        let cut =
            cut(rest?, b',').and_then(|cut| (count <= MAX_ASKED_CONTACTS).then_some(cut).ok_or(Malformed));
        rest = cut.ok().and_then(|(_, after)| after);
        Some(cut.map(|(value, _)| value.trim()))
    })
}

/// Name and value of each parameter; the value without quotes, `""` where there is none.
pub fn params(text: &str) -> impl Iterator<Item = Result<(&str, Cow<'_, str>), Malformed>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        loop {
            let cut = cut(rest?, b';');
            rest = cut.ok().and_then(|(_, after)| after);
            let Ok((param, _)) = cut else { return Some(Err(Malformed)) };
            let param = param.trim();
            if !param.is_empty() {
                let (name, value) = param.split_once('=').unwrap_or((param, ""));
                return Some(Ok((name.trim(), unquote(value.trim()))));
            }
        }
    })
}

fn one(value: &str) -> Result<RawContact<'_>, Malformed> {
    let (uri, params) = match open_bracket(value.as_bytes()) {
        Some(open) => {
            let inside = value.get(open + 1..).ok_or(Malformed)?;
            let close = memchr(b'>', inside.as_bytes()).ok_or(Malformed)?;
            (inside.get(..close).ok_or(Malformed)?, inside.get(close + 1..).ok_or(Malformed)?)
        }
        None => {
            let end = memchr(b';', value.as_bytes()).unwrap_or(value.len());
            let (uri, params) = value.split_at_checked(end).ok_or(Malformed)?;
            if uri.contains(['?', '"', '>']) {
                return Err(Malformed);
            }
            (uri, params)
        }
    };
    let (uri, params) = (uri.trim(), params.trim());
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '<';
    let is_uri = is_uri_text(uri) || !uri.is_empty() && !uri.contains(is_bad);
    let are_params = params.is_empty() || params.starts_with(';');
    if !is_uri || !are_params || params.contains(|c: char| c.is_control() && c != '\t') {
        return Err(Malformed);
    }
    Ok(RawContact { uri, params })
}

/// Where `<` opens the URI, outside a quoted display name and before any parameter.
fn open_bracket(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr3(b'<', b';', b'"', value.get(at..)?)?;
        match value.get(at)? {
            b'<' => return Some(at),
            b';' => return None,
            _ => at += 1 + end_of_quote(value.get(at + 1..)?)? + 1,
        }
    }
}

/// Up to `separator` outside quotes and brackets, and what follows it.
fn cut(text: &str, separator: u8) -> Result<(&str, Option<&str>), Malformed> {
    let end = find_closed(text.as_bytes(), separator).map_err(|_| Malformed)?;
    match end {
        Some(at) => Ok((text.get(..at).ok_or(Malformed)?, text.get(at + 1..))),
        None => Ok((text, None)),
    }
}

fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inside) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.into();
    };
    if memchr(b'\\', inside.as_bytes()).is_none() {
        return inside.into();
    }
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    text.into()
}

/// Follows quoted strings with their escapes, character by character.
#[derive(Default)]
pub(super) struct Quotes {
    is_open: bool,
    is_escaped: bool,
}

impl Quotes {
    /// Is `c` part of a quoted string, its quotes included?
    pub(super) fn is_inside(&mut self, c: char) -> bool {
        let was_open = self.is_open;
        if std::mem::take(&mut self.is_escaped) {
            return true;
        }
        match c {
            '\\' if was_open => self.is_escaped = true,
            '"' => self.is_open = !was_open,
            _ => {}
        }
        was_open || c == '"'
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values() {
        for (line, expected) in [
            ("sip:a@h", &[("sip:a@h", "")][..]),
            ("sip:a@h;x", &[("sip:a@h", ";x")]),
            ("<sip:a@h;x>;y", &[("sip:a@h;x", ";y")]),
            ("\"A, <b>\\\" ;c\" <sip:a@h> ; q=0.1", &[("sip:a@h", "; q=0.1")]),
            ("Al Ice <sip:a@h>,sip:b@h;q=1", &[("sip:a@h", ""), ("sip:b@h", ";q=1")]),
            ("<sip:a@h?Route=%3C,x%3E>", &[("sip:a@h?Route=%3C,x%3E", "")]),
            (
                "<sip:a@h>;+sip.instance=\"<urn:uuid:1,2>\"",
                &[("sip:a@h", ";+sip.instance=\"<urn:uuid:1,2>\"")],
            ),
            ("<sip:a\"b@h>", &[("sip:a\"b@h", "")]),
        ] {
            let got = split(line).collect::<Result<Vec<_>, _>>().expect(line);
            let got: Vec<(&str, &str)> = got.iter().map(|c| (c.uri, c.params)).collect();
            assert_eq!(got, expected, "{line}");
        }
        for line in
            ["", ",", "sip:a@h?b=c", "<sip:a@h", "<>", "\"open <sip:a@h>", "<sip:a b@h>", "<sip:a@h> x"]
        {
            assert!(split(line).any(|one| one == Err(Malformed)), "{line}");
        }
    }

    #[test]
    fn parameters() {
        let got = params("; Q = 0.5 ;+sip.instance=\"<urn:a;b\\\"c>\";ob;;").collect::<Result<Vec<_>, _>>();
        let got = got.expect("well-formed");
        let got: Vec<(&str, &str)> = got.iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(got, [("Q", "0.5"), ("+sip.instance", "<urn:a;b\"c>"), ("ob", "")]);
        assert!(params(";x=\"open").any(|one| one == Err(Malformed)));
    }

    proptest! {
        #[test]
        fn never_panics(line in "[a<>\",;=\\\\?: \u{e9}]{0,40}") {
            for contact in split(&line).flatten() {
                let _ = params(contact.params).count();
            }
        }
    }
}
