//! The pieces of RFC 3261 §25.1 that start lines, header values and URIs share: digits, tokens, hosts, parameters, and
//! the search that minds quotes and angle brackets.

/// 1*DIGIT: no sign, no blank inside.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

pub(crate) fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// What may stand in a request line between two blanks.
pub(crate) fn is_uri_text(uri: &str) -> bool {
    let wrong = |c: char| matches!(c, '<' | '>' | '"') || c.is_whitespace() || c.is_control();
    !uri.is_empty() && !uri.contains(wrong)
}

/// What may stand in a host as written, brackets and zone included.
pub(crate) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:%~".contains(&b))
}

/// `host`, `host:port`, `[v6]:port`; blanks around the colon are tolerated.
pub fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.starts_with('[') {
        true => text.split_at_checked(text.find(']')? + 1)?,
        false => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
    };
    let (host, port) = (host.trim(), port.trim());
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
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (i, b) in bytes.iter().enumerate() {
        match *b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !angle => quoted = !quoted,
            _ if quoted => {}
            b if b == wanted && !angle => return Some(i),
            b'<' => angle = true,
            b'>' => angle = false,
            _ => {}
        }
    }
    None
}

/// Name, and `name=value` as written, of each parameter in `;a=b;;c`; empty ones are passed over.
pub(crate) fn params(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = find_outside(rest, b';').unwrap_or(rest.len());
            let one = rest.get(..end).unwrap_or_default().trim();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !one.is_empty() {
                return Some((one.split('=').next().unwrap_or_default().trim(), one));
            }
        }
        None
    })
}

/// The value of parameter `name` in `;a=b;c` (case-insensitive name, quotes removed); `Some("")` without `=`.
pub fn param<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, one) = params(text).find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    let value = one.split_once('=').map(|(_, value)| value.trim()).unwrap_or_default();
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
