//! Typed views of header values.

/// Splits a list header at its commas, not inside quotes, angle brackets or comments.
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

/// The first `wanted` byte that is not inside `"…"` or `<…>`.
pub fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b if b == wanted && !angle => return Some(i),
            b'<' => angle = true,
            b'>' => angle = false,
            _ => {}
        }
    }
    None
}

/// The value of parameter `name` in `;a=b;c` (case-insensitive name, quotes removed); `Some("")` without `=`.
pub fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = params;
    while !rest.is_empty() {
        let end = find_outside(rest, b';').unwrap_or(rest.len());
        let one = rest.get(..end).unwrap_or_default().trim();
        rest = rest.get(end + 1..).unwrap_or_default();
        let (key, value) = one.split_once('=').unwrap_or((one, ""));
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().trim_matches('"'));
        }
    }
    None
}

/// From, To, Contact, Route: `"name" <uri>;params` or `uri;params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    display: &'a str,
    uri: &'a str,
    params: &'a str,
}

impl<'a> NameAddr<'a> {
    pub fn parse(value: &'a str) -> Option<NameAddr<'a>> {
        let value = value.trim();
        let open = find_outside(value, b'<');
        let (display, uri, params) = match open {
            Some(open) => {
                let inner = value.get(open + 1..)?;
                let close = inner.find('>')?;
                (value.get(..open)?.trim(), inner.get(..close)?, inner.get(close + 1..)?)
            }
            None => {
                // Without brackets, parameters belong to the header (§20.10).
                let end = value.find(';').unwrap_or(value.len());
                ("", value.get(..end)?, value.get(end..)?)
            }
        };
        let params = params.trim().strip_prefix(';').unwrap_or(params.trim());
        let uri = uri.trim();
        if uri.is_empty() || !uri.contains(':') && uri != "*" {
            return None;
        }
        Some(NameAddr { display, uri, params })
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
        let (head, params) = match value.find(';') {
            Some(at) => (value.get(..at)?, value.get(at + 1..)?),
            None => (value, ""),
        };
        // "SIP / 2.0 / UDP host:port": blanks may stand around the slashes.
        let mut slashes = head.splitn(3, '/');
        if !slashes.next()?.trim().eq_ignore_ascii_case("SIP") || slashes.next()?.trim() != "2.0" {
            return None;
        }
        let rest = slashes.next()?.trim_start();
        let (transport, sent_by) = rest.split_once([' ', '\t'])?;
        let (host, port) = split_host_port(sent_by.trim())?;
        Some(Via { transport, host, port, params })
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

/// `host`, `host:port`, `[v6]:port`; blanks around the colon are tolerated.
pub fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let close = rest.find(']')?;
            (text.get(..close + 2)?, rest.get(close + 1..)?.trim().strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host.trim(), Some(port)),
            None => (text, None),
        },
    };
    let port = port.map(|p| p.trim().parse()).transpose().ok()?;
    (!host.is_empty()).then_some((host, port))
}
