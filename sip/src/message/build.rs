//! Messages that we originate. What is echoed from another message is echoed in its exact bytes.

use super::{
    Message, Name, Values,
    edit::one_line,
    values::{find_outside, params},
};
use std::{fmt::Write as _, net::SocketAddr};

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
        let reason = one_line(reason).into_owned();
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
        self.lines.push(format!("{name}: {}\r\n", one_line(value)));
        self
    }
    pub fn build(&self) -> Vec<u8> {
        let request = self.request;
        let mut out = format!("SIP/2.0 {} {}\r\n", self.status, self.reason).into_bytes();
        self.vias(&mut out);
        let first = |name: &Name, out: &mut Vec<u8>| {
            if let Some(value) = request.value_bytes(name).next() {
                put(out, name, value);
            }
        };
        first(&Name::From, &mut out);
        self.to(&mut out);
        first(&Name::CallId, &mut out);
        first(&Name::CSeq, &mut out);
        if self.status == 100 {
            // §8.2.6.1
            first(&Name::Timestamp, &mut out);
        }
        self.lines.iter().for_each(|line| out.extend_from_slice(line.as_bytes()));
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        out
    }

    fn vias(&self, out: &mut Vec<u8>) {
        for (i, value) in self.request.value_bytes(&Name::Via).enumerate() {
            let top = if i == 0 { self.source.zip(self.request.header(&Name::Via)) } else { None };
            let Some((source, text)) = top else {
                put(out, &Name::Via, value);
                continue;
            };
            for (at, via) in Values::new(text).enumerate() {
                let stamped = (at == 0).then(|| stamp_via(via, source));
                put(out, &Name::Via, stamped.as_deref().unwrap_or(via).as_bytes());
            }
        }
    }

    fn to(&self, out: &mut Vec<u8>) {
        let Some(value) = self.request.value_bytes(&Name::To).next() else { return };
        // A To that cannot be read goes back as it came.
        let untagged = self.request.to().is_some_and(|to| to.tag().is_none());
        match &self.to_tag {
            Some(tag) if untagged && self.status > 100 => {
                let tagged = [value, b";tag=", one_line(tag).as_bytes()].concat();
                put(out, &Name::To, &tagged);
            }
            _ => put(out, &Name::To, value),
        }
    }
}

fn put(out: &mut Vec<u8>, name: &Name, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A Via value with where the message really came from. `received` is always written for UDP-style answers; phones
/// behind NAT learn their address from it even where they asked for no rport.
pub fn stamp_via(via: &str, source: SocketAddr) -> String {
    let end = find_outside(via, b';').unwrap_or(via.len());
    let (head, list) = via.split_at_checked(end).unwrap_or((via, ""));
    let mut out = head.trim_end().to_owned();
    for (name, param) in params(list) {
        if !name.eq_ignore_ascii_case("received") && !name.eq_ignore_ascii_case("rport") {
            out.push(';');
            out.push_str(param);
        }
    }
    let _ = write!(out, ";received={};rport={}", source.ip().to_canonical(), source.port());
    out
}

/// A request of our own.
pub struct RequestBuilder {
    out: Vec<u8>,
}

impl RequestBuilder {
    pub fn new(method: &str, uri: &str) -> RequestBuilder {
        RequestBuilder { out: format!("{} {} SIP/2.0\r\n", one_line(method), one_line(uri)).into_bytes() }
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.out.extend_from_slice(format!("{name}: {}\r\n", one_line(value)).as_bytes());
        self
    }
    pub fn build(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.out
    }

    /// The ACK for a non-2xx final response to `invite` (§17.1.1.3): hop by hop, with the INVITE's branch.
    pub fn ack_for(invite: &Message, response: &Message) -> Vec<u8> {
        Self::same_hop("ACK", invite, response).build()
    }
    /// The CANCEL of `invite` (§9.1).
    pub fn cancel_for(invite: &Message, reason: Option<&str>) -> Vec<u8> {
        let cancel = Self::same_hop("CANCEL", invite, invite);
        match reason {
            Some(reason) => cancel.header("Reason", reason).build(),
            None => cancel.build(),
        }
    }

    /// Top Via, Routes, From, Call-ID and number of the INVITE; To as `to` has it.
    fn same_hop(method: &str, invite: &Message, to: &Message) -> RequestBuilder {
        let mut b = RequestBuilder::new(method, invite.uri().unwrap_or_default());
        if let Some(via) = invite.values(&Name::Via).next() {
            b = b.header("Via", via);
        }
        b = b.header("Max-Forwards", "70");
        for route in invite.value_bytes(&Name::Route) {
            put(&mut b.out, &Name::Route, route);
        }
        let from = invite.value_bytes(&Name::From).next().map(|value| (&Name::From, value));
        let to = to.value_bytes(&Name::To).next().map(|value| (&Name::To, value));
        let call_id = invite.value_bytes(&Name::CallId).next().map(|value| (&Name::CallId, value));
        for (name, value) in [from, to, call_id].into_iter().flatten() {
            put(&mut b.out, name, value);
        }
        let (cseq, _) = invite.cseq().unwrap_or((1, "INVITE"));
        b.header("CSeq", &format!("{cseq} {method}"))
    }
}
