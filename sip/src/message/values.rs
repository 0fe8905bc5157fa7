//! Typed views of header values.

pub use super::grammar::{find_outside, param, split_host_port};

use super::grammar::{is_host, is_param_list, is_token};
use memchr::{memchr, memchr2};

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
        Some(text.get(..end).unwrap_or_default().trim_ascii())
    }
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
        let value = value.trim_ascii();
        let (display, uri, params) = match find_outside(value, b'<') {
            Some(open) => {
                let inside = value.get(open + 1..)?;
                let close = memchr(b'>', inside.as_bytes())?;
                let (uri, params) = (inside.get(..close)?, inside.get(close + 1..)?);
                let display = value.get(..open)?.trim_ascii();
                if find_outside(display, b',').or(find_outside(display, b';')).is_some() {
                    return None;
                }
                (display, uri.trim_ascii(), params.trim_ascii())
            }
            None => {
                // Without brackets, parameters belong to the header (§20.10).
                let end = memchr(b';', value.as_bytes()).unwrap_or(value.len());
                let uri = value.get(..end)?.trim_ascii();
                if memchr2(b'?', b',', uri.as_bytes()).is_some() {
                    return None;
                }
                ("", uri, value.get(end..)?)
            }
        };
        let is_bad = uri.bytes().any(|b| matches!(b, b'"' | b'<' | b'>' | b' ' | b'\t'));
        if uri.is_empty() || is_bad || memchr(b':', uri.as_bytes()).is_none() && uri != "*" {
            return None;
        }
        if !is_param_list(params) {
            return None;
        }
        Some(NameAddr { display, uri, params: params.strip_prefix(';').unwrap_or_default() })
    }
    /// Of parts that were read before.
    pub(super) fn cut(display: &'a str, uri: &'a str, params: &'a str) -> NameAddr<'a> {
        NameAddr { display, uri, params }
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
        let end = memchr(b';', value.as_bytes()).unwrap_or(value.len());
        let (head, params) = (value.get(..end)?, value.get(end + 1..).unwrap_or_default());
        let rest = match head.get(..8) {
            Some(begin) if begin.eq_ignore_ascii_case("SIP/2.0/") => head.get(8..)?,
            _ => behind_spaced_slashes(head)?,
        };
        let rest = rest.trim_ascii_start();
        let blank = memchr2(b' ', b'\t', rest.as_bytes())?;
        let (transport, sent_by) = (rest.get(..blank)?, rest.get(blank + 1..)?);
        let (host, port) = split_host_port(sent_by.trim_ascii())?;
        if !is_token(transport) || !is_host(host) {
            return None;
        }
        Some(Via { transport, host, port, params })
    }
    /// Of parts that were read before.
    pub(super) fn cut(transport: &'a str, (host, port): (&'a str, Option<u16>), params: &'a str) -> Via<'a> {
        Via { transport, host, port, params }
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

/// "SIP / 2.0 / UDP host:port": blanks may stand around the slashes.
fn behind_spaced_slashes(head: &str) -> Option<&str> {
    let mut slashes = head.splitn(3, '/');
    let is_sip =
        slashes.next()?.trim_ascii().eq_ignore_ascii_case("SIP") && slashes.next()?.trim_ascii() == "2.0";
    slashes.next().filter(|_| is_sip)
}
