//! Contact values of a REGISTER, cut into URI and parameters with every byte kept. RFC 3261 §20.10.
//!
//! Without angle brackets all parameters belong to the header, and a comma, semicolon or question mark in the URI is
//! an error (the last paragraph of §20.10; torture message `regbadct`): a `?` there is not read as URI headers.

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
pub fn split(line: &str) -> Result<Vec<RawContact<'_>>, Malformed> {
    values(line)?.into_iter().map(one).collect()
}

/// The values of one header line that is a list, each as it stands.
pub fn values(line: &str) -> Result<Vec<&str>, Malformed> {
    let mut found = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        let (value, after) = cut(text, ',')?;
        found.push(value.trim());
        if found.len() > MAX_ASKED_CONTACTS {
            return Err(Malformed);
        }
        rest = after;
    }
    Ok(found)
}

/// `name`, `value` of each parameter; the value without quotes, `""` where there is none.
pub fn params(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let mut found = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (param, after) = cut(text, ';')?;
        rest = after;
        let param = param.trim();
        if param.is_empty() {
            continue;
        }
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        found.push((name.trim().to_ascii_lowercase(), unquote(value.trim())));
    }
    Ok(found)
}

fn one(value: &str) -> Result<RawContact<'_>, Malformed> {
    let value = value.trim();
    let (uri, params) = match open_bracket(value) {
        Some(open) => {
            let inside = value.get(open + 1..).ok_or(Malformed)?;
            inside.split_once('>').ok_or(Malformed)?
        }
        None => {
            let end = value.find(';').unwrap_or(value.len());
            let (uri, params) = value.split_at_checked(end).ok_or(Malformed)?;
            if uri.contains(['?', '"', '>']) {
                return Err(Malformed);
            }
            (uri, params)
        }
    };
    let (uri, params) = (uri.trim(), params.trim());
    let is_uri = !uri.is_empty() && !uri.contains(|c: char| c.is_whitespace() || c.is_control() || c == '<');
    let are_params = params.is_empty() || params.starts_with(';');
    if !is_uri || !are_params || params.contains(|c: char| c.is_control() && c != '\t') {
        return Err(Malformed);
    }
    Ok(RawContact { uri, params })
}

/// Where `<` opens the URI, outside a quoted display name and before any parameter.
fn open_bracket(value: &str) -> Option<usize> {
    let mut quotes = Quotes::default();
    for (at, c) in value.char_indices() {
        match (quotes.is_inside(c), c) {
            (false, '<') => return Some(at),
            (false, ';') => return None,
            _ => {}
        }
    }
    None
}

/// Up to `separator` outside quotes and brackets, and what follows it.
fn cut(text: &str, separator: char) -> Result<(&str, Option<&str>), Malformed> {
    let mut quotes = Quotes::default();
    let mut is_bracketed = false;
    for (at, c) in text.char_indices() {
        // A quote is only a quote outside brackets.
        if !is_bracketed && quotes.is_inside(c) {
            continue;
        }
        match c {
            '<' => is_bracketed = true,
            '>' => is_bracketed = false,
            _ if c == separator && !is_bracketed => {
                return Ok((text.get(..at).ok_or(Malformed)?, text.get(at + 1..)));
            }
            _ => {}
        }
    }
    if quotes.is_open || is_bracketed {
        return Err(Malformed);
    }
    Ok((text, None))
}

fn unquote(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    text
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
            let got = split(line).expect(line);
            let got: Vec<(&str, &str)> = got.iter().map(|c| (c.uri, c.params)).collect();
            assert_eq!(got, expected, "{line}");
        }
        for line in
            ["", ",", "sip:a@h?b=c", "<sip:a@h", "<>", "\"open <sip:a@h>", "<sip:a b@h>", "<sip:a@h> x"]
        {
            assert_eq!(split(line), Err(Malformed), "{line}");
        }
    }

    #[test]
    fn parameters() {
        let got = params("; Q = 0.5 ;+sip.instance=\"<urn:a;b\\\"c>\";ob;;").expect("well-formed");
        let got: Vec<(&str, &str)> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(got, [("q", "0.5"), ("+sip.instance", "<urn:a;b\"c>"), ("ob", "")]);
        assert_eq!(params(";x=\"open"), Err(Malformed));
    }

    proptest! {
        #[test]
        fn never_panics(line in "[a<>\",;=\\\\?: \u{e9}]{0,40}") {
            if let Ok(found) = split(&line) {
                for contact in found {
                    let _ = params(contact.params);
                }
            }
        }
    }
}
