//! The pieces of RFC 3261 §25.1 that start lines, header values and URIs share: digits, tokens, hosts, parameters, and
//! the search that minds quotes and angle brackets.

use memchr::{memchr, memchr2, memchr3};

/// 1*DIGIT: no sign, no blank inside.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

pub(crate) fn is_token(text: &str) -> bool {
    is_token_bytes(text.as_bytes())
}

/// Where the token ends that this begins with.
pub(crate) fn token_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !TOKEN[usize::from(*b)]).unwrap_or(bytes.len())
}

pub(crate) fn is_token_bytes(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| TOKEN[usize::from(*b)])
}

const TOKEN: [bool; 256] = among(b"-.!%*_+`'~");
const HOST: [bool; 256] = among(b"-._[]:%~");

/// Letters, digits and these.
const fn among(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// What may stand in a request line between two blanks.
pub(crate) fn is_uri_text(uri: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"');
    if uri.bytes().all(is_plain) {
        return !uri.is_empty();
    }
    let wrong = |c: char| matches!(c, '<' | '>' | '"') || c.is_whitespace() || c.is_control();
    !uri.contains(wrong)
}

/// What may stand in a host as written, brackets and zone included.
pub(crate) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| HOST[usize::from(b)])
}

/// `host`, `host:port`, `[v6]:port`; blanks around the colon are tolerated.
pub fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.starts_with('[') {
        true => text.split_at_checked(memchr(b']', text.as_bytes())? + 1)?,
        false => text.split_at_checked(memchr(b':', text.as_bytes()).unwrap_or(text.len()))?,
    };
    let (host, port) = (host.trim_ascii(), port.trim_ascii());
    let port = match port.strip_prefix(':') {
        Some(port) => Some(digits(port).and_then(|port| u16::try_from(port).ok())?),
        None if port.is_empty() => None,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

/// The first `wanted` byte that is not inside `"…"` or `<…>`. A quote is only a quote outside brackets.
pub fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    find_outside_bytes(text.as_bytes(), wanted)
}

/// The same in bytes that need not be UTF-8: what is searched for is ASCII.
pub(crate) fn find_outside_bytes(bytes: &[u8], wanted: u8) -> Option<usize> {
    find_closed(bytes, wanted).ok().flatten()
}

/// A quote or a bracket that nothing closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclosed;

/// [`find_outside_bytes`], for who must know whether all that opens before is closed.
pub(crate) fn find_closed(bytes: &[u8], wanted: u8) -> Result<Option<usize>, Unclosed> {
    debug_assert!(!matches!(wanted, b'"' | b'>' | b'\\'), "what opens and closes is not searched for");
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(next) = memchr3(wanted, b'"', b'<', rest) else { return Ok(None) };
        let (found, inside) = (rest.get(next), rest.get(next + 1..).unwrap_or_default());
        if found == Some(&wanted) {
            return Ok(Some(at + next));
        }
        let end = if found == Some(&b'"') { end_of_quote(inside) } else { memchr(b'>', inside) };
        at += next + 1 + end.ok_or(Unclosed)? + 1;
    }
}

/// The quote that ends what is quoted; one behind a backslash does not.
pub(crate) fn end_of_quote(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at) {
            Some(b'"') => return Some(at),
            _ => at += 2,
        }
    }
}

/// Name, and `name=value` as written, of each parameter in `;a=b;;c`; empty ones are passed over.
pub(crate) fn params(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = find_outside(rest, b';').unwrap_or(rest.len());
            let one = rest.get(..end).unwrap_or_default().trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !one.is_empty() {
                let name = one.get(..memchr(b'=', one.as_bytes()).unwrap_or(one.len()));
                return Some((name.unwrap_or_default().trim_ascii_end(), one));
            }
        }
        None
    })
}

/// The value of parameter `name` in `;a=b;c` (case-insensitive name, quotes removed); `Some("")` without `=`.
pub fn param<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, one) = params(text).find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    let value =
        memchr(b'=', one.as_bytes()).and_then(|at| one.get(at + 1..)).unwrap_or_default().trim_ascii();
    let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    Some(inside.unwrap_or(value))
}

/// Nothing, or `;a=b;c="d"` with all quotes closed and no comma outside them.
pub(crate) fn is_param_list(text: &str) -> bool {
    let mut quoted = false;
    let mut escaped = false;
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'<' | b'>' if !quoted => return false,
            _ => {}
        }
    }
    !quoted && (text.is_empty() || text.starts_with(';'))
}
