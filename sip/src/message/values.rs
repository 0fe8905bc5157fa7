//! Typed views of header values.

pub use super::grammar::{find_outside, param, split_host_port};

use super::grammar::{is_host, is_param_list, is_token};

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
