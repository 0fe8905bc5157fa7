//! Messages that we originate.

use super::{Message, Name};
use std::net::SocketAddr;

/// A response to `request` (RFC 3261 §8.2.6.2): all Vias, From, Call-ID and CSeq as they came, To with a tag.
pub struct ResponseBuilder<'a> {
    request: &'a Message,
    status: u16,
    reason: String,
    to_tag: Option<String>,
    source: Option<SocketAddr>,
    lines: Vec<String>,
}

impl<'a> ResponseBuilder<'a> {
    pub fn new(request: &'a Message, status: u16, reason: &str) -> ResponseBuilder<'a> {
        let reason = reason.to_owned();
        ResponseBuilder { request, status, reason, to_tag: None, source: None, lines: Vec::new() }
    }
    /// The tag for To, where the request has none.
    pub fn to_tag(mut self, tag: &str) -> Self {
        self.to_tag = Some(tag.to_owned());
        self
    }
    /// Fills `received` and `rport` of the top Via (§18.2.1, RFC 3581 §4), unless they are filled already.
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name}: {value}"));
        self
    }
    pub fn build(&self) -> Vec<u8> {
        let mut out = format!("SIP/2.0 {} {}\r\n", self.status, self.reason);
        for (i, via) in self.request.values(&Name::Via).enumerate() {
            let via = match (i, self.source) {
                (0, Some(source)) => stamp_via(via, source),
                _ => via.to_owned(),
            };
            out.push_str(&format!("Via: {via}\r\n"));
        }
        let line = |name: &Name| self.request.header(name).map(|v| format!("{}: {v}\r\n", name.as_str()));
        out.push_str(&line(&Name::From).unwrap_or_default());
        let to = self.request.header(&Name::To).unwrap_or_default();
        let tagged = self.request.to().and_then(|t| t.tag()).is_some();
        match &self.to_tag {
            Some(tag) if !tagged && self.status > 100 => out.push_str(&format!("To: {to};tag={tag}\r\n")),
            _ => out.push_str(&format!("To: {to}\r\n")),
        }
        out.push_str(&line(&Name::CallId).unwrap_or_default());
        out.push_str(&line(&Name::CSeq).unwrap_or_default());
        for line in &self.lines {
            out.push_str(line);
            out.push_str("\r\n");
        }
        out.push_str("Content-Length: 0\r\n\r\n");
        out.into_bytes()
    }
}

/// A Via value with where the message really came from. `received` is always written for UDP-style answers; phones
/// behind NAT learn their address from it even where they asked for no rport.
pub fn stamp_via(via: &str, source: SocketAddr) -> String {
    let (head, params) = via.split_once(';').unwrap_or((via, ""));
    let mut out = head.trim_end().to_owned();
    for param in params.split(';').filter(|p| !p.trim().is_empty()) {
        let key = param.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        if key != "received" && key != "rport" {
            out.push(';');
            out.push_str(param.trim());
        }
    }
    out.push_str(&format!(";received={};rport={}", source.ip(), source.port()));
    out
}

/// A request of our own.
pub struct RequestBuilder {
    out: String,
}

impl RequestBuilder {
    pub fn new(method: &str, uri: &str) -> RequestBuilder {
        RequestBuilder { out: format!("{method} {uri} SIP/2.0\r\n") }
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.out.push_str(&format!("{name}: {value}\r\n"));
        self
    }
    pub fn build(mut self) -> Vec<u8> {
        self.out.push_str("Content-Length: 0\r\n\r\n");
        self.out.into_bytes()
    }

    /// The ACK for a non-2xx final response to `invite` (§17.1.1.3): hop by hop, with the INVITE's branch.
    pub fn ack_for(invite: &Message, response: &Message) -> Vec<u8> {
        Self::same_hop("ACK", invite, response.header(&Name::To))
    }
    /// The CANCEL of `invite` (§9.1).
    pub fn cancel_for(invite: &Message, reason: Option<&str>) -> Vec<u8> {
        let mut text = Self::same_hop("CANCEL", invite, invite.header(&Name::To));
        if let Some(reason) = reason {
            text.truncate(text.len().saturating_sub(2));
            text.extend_from_slice(format!("Reason: {reason}\r\n\r\n").as_bytes());
        }
        text
    }

    fn same_hop(method: &str, invite: &Message, to: Option<&str>) -> Vec<u8> {
        let mut b = RequestBuilder::new(method, invite.uri().unwrap_or_default());
        if let Some(via) = invite.values(&Name::Via).next() {
            b = b.header("Via", via);
        }
        for route in invite.header_lines(&Name::Route) {
            b = b.header("Route", route);
        }
        let (cseq, _) = invite.cseq().unwrap_or((1, "INVITE"));
        b.header("Max-Forwards", "70")
            .header("From", invite.header(&Name::From).unwrap_or_default())
            .header("To", to.unwrap_or_default())
            .header("Call-ID", invite.call_id().unwrap_or_default())
            .header("CSeq", &format!("{cseq} {method}"))
            .build()
    }
}
