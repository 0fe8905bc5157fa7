//! Typed views of header values.

use super::parse::{digits, is_token};

/// Splits a list header at its commas, not inside quotes or angle brackets.
pub struct Values<'a> {
    rest: Option<&'a str>,
}

impl<'a> Values<'a> {
    pub fn new(line: &'a str) -> Values<'a> {
        Values { rest: Some(line) }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;
    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let end = find_outside(text, b',').unwrap_or(text.len());
        self.rest = text.get(end + 1..);
        Some(text.get(..end).unwrap_or_default().trim())
    }
}

/// The first `wanted` byte that is not inside `"…"` or `<…>`. A quote is only a quote outside brackets.
pub fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
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

/// From, To, Contact, Route: `"name" <uri>;params` or `uri;params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    display: &'a str,
    uri: &'a str,
    params: &'a str,
}

impl<'a> NameAddr<'a> {
    /// `None` where two readers could disagree: an open quote or bracket, a list, a display name that holds `,` or
    /// `;` unquoted (RFC 4475 §3.1.2.6, §3.1.2.15), a bare URI with `?` (§3.1.2.13).
    pub fn parse(value: &'a str) -> Option<NameAddr<'a>> {
        let value = value.trim();
        let (display, uri, params) = match find_outside(value, b'<') {
            Some(open) => {
                let (uri, params) = value.get(open + 1..)?.split_once('>')?;
                let display = value.get(..open)?.trim();
                if find_outside(display, b',').or(find_outside(display, b';')).is_some() {
                    return None;
                }
                (display, uri.trim(), params.trim())
            }
            None => {
                // Without brackets, parameters belong to the header (§20.10).
                let end = value.find(';').unwrap_or(value.len());
                let uri = value.get(..end)?.trim();
                if uri.contains(['?', ',']) {
                    return None;
                }
                ("", uri, value.get(end..)?)
            }
        };
        if uri.is_empty() || uri.contains(['"', '<', '>', ' ', '\t']) || !uri.contains(':') && uri != "*" {
            return None;
        }
        if !is_param_list(params) {
            return None;
        }
        Some(NameAddr { display, uri, params: params.strip_prefix(';').unwrap_or_default() })
    }
    pub fn display(&self) -> &'a str {
        self.display
    }
    pub fn uri(&self) -> &'a str {
        self.uri
    }
    /// Header parameters, without the leading `;`.
    pub fn params(&self) -> &'a str {
        self.params
    }
    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }
    pub fn tag(&self) -> Option<&'a str> {
        self.param("tag").filter(|t| !t.is_empty())
    }
}

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    transport: &'a str,
    host: &'a str,
    port: Option<u16>,
    params: &'a str,
}

impl<'a> Via<'a> {
    pub fn parse(value: &'a str) -> Option<Via<'a>> {
        let (head, params) = value.split_once(';').unwrap_or((value, ""));
        // "SIP / 2.0 / UDP host:port": blanks may stand around the slashes.
        let mut slashes = head.splitn(3, '/');
        if !slashes.next()?.trim().eq_ignore_ascii_case("SIP") || slashes.next()?.trim() != "2.0" {
            return None;
        }
        let rest = slashes.next()?.trim_start();
        let (transport, sent_by) = rest.split_once([' ', '\t'])?;
        let (host, port) = split_host_port(sent_by.trim())?;
        if !is_token(transport) || !is_host(host) {
            return None;
        }
        Some(Via { transport, host, port, params })
    }
    /// Without the leading `;`.
    pub fn params(&self) -> &'a str {
        self.params
    }
    pub fn transport(&self) -> &'a str {
        self.transport
    }
    pub fn host(&self) -> &'a str {
        self.host
    }
    pub fn port(&self) -> Option<u16> {
        self.port
    }
    pub fn branch(&self) -> Option<&'a str> {
        param(self.params, "branch").filter(|b| !b.is_empty())
    }
    pub fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }
}

/// Nothing, or `;a=b;c="d"` with all quotes closed and no comma outside them.
fn is_param_list(text: &str) -> bool {
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
