//! Messages that we originate. What is echoed from another message is echoed in its exact bytes.

use super::{
    Message, Name, Values,
    edit::one_line,
    grammar::{find_outside, params},
    text::{put_ip, put_number},
    write::Writer,
};
use smallvec::SmallVec;
use std::{net::SocketAddr, ops::Range};

/// A response to `request` (RFC 3261 §8.2.6.2): all Vias, From, Call-ID and CSeq as they came, To with a tag.
pub struct ResponseBuilder<'a> {
    request: &'a Message,
    status: u16,
    reason: String,
    to_tag: Option<String>,
    source: Option<SocketAddr>,
    /// Names and values of further lines, one after the other.
    text: String,
    lines: SmallVec<[(Range<usize>, Range<usize>); 4]>,
}

impl<'a> ResponseBuilder<'a> {
    pub fn new(request: &'a Message, status: u16, reason: &str) -> ResponseBuilder<'a> {
        let (reason, text) = (one_line(reason).into_owned(), String::new());
        let lines = SmallVec::new();
        ResponseBuilder { request, status, reason, to_tag: None, source: None, text, lines }
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
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(&one_line(value));
        self.lines.push((start..middle, middle..self.text.len()));
        self
    }
    pub fn build(&self) -> Vec<u8> {
        self.finish().into_bytes()
    }

    pub fn finish(&self) -> Message {
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        let ResponseBuilder { request, status, source, .. } = *self;
        let reply = Reply { request, status, reason: &self.reason, to_tag: self.to_tag.as_deref(), source };
        reply.finish(self.lines.iter().map(|(name, value)| (text(name), text(value))))
    }
}

/// What a response is written of: nothing of it is copied before.
pub(crate) struct Reply<'a> {
    pub request: &'a Message,
    pub status: u16,
    pub reason: &'a str,
    /// See [`ResponseBuilder::to_tag`], [`ResponseBuilder::source`].
    pub to_tag: Option<&'a str>,
    pub source: Option<SocketAddr>,
}

impl Reply<'_> {
    /// `lines`: names and values of further lines.
    pub fn finish<'l>(&self, lines: impl Iterator<Item = (&'l str, &'l str)> + Clone) -> Message {
        let request = self.request;
        // What is echoed is less than the request; the rest is a status line, a tag, a stamp and the further lines.
        let echoed = request.raw().len() - request.body().len();
        let more: usize = lines.clone().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut out = Writer::response(echoed + more + 160, self.status, &one_line(self.reason));
        self.vias(&mut out);
        let first = |name: &Name, out: &mut Writer| {
            if let Some(value) = request.value_bytes(name).next() {
                out.header(name, &[value]);
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
        for (name, value) in lines {
            out.header_as_written(name, &[one_line(value).as_bytes()]);
        }
        out.content_length(0);
        out.finish(b"")
    }

    fn vias(&self, out: &mut Writer) {
        for (i, value) in self.request.value_bytes(&Name::Via).enumerate() {
            let top = if i == 0 { self.source.zip(self.request.header(&Name::Via)) } else { None };
            let Some((source, text)) = top else {
                out.header(&Name::Via, &[value]);
                continue;
            };
            for (at, via) in Values::new(text).enumerate() {
                let stamped = (at == 0).then(|| stamp_via(via, source));
                out.header(&Name::Via, &[stamped.as_deref().unwrap_or(via).as_bytes()]);
            }
        }
    }

    fn to(&self, out: &mut Writer) {
        let Some(value) = self.request.value_bytes(&Name::To).next() else { return };
        // A To that cannot be read goes back as it came.
        let untagged = self.request.to().is_some() && self.request.to_tag().is_none();
        match self.to_tag {
            Some(tag) if untagged && self.status > 100 => {
                out.header(&Name::To, &[value, b";tag=", one_line(tag).as_bytes()]);
            }
            _ => out.header(&Name::To, &[value]),
        }
    }
}

/// A Via value with where the message really came from. `received` is always written for UDP-style answers; phones
/// behind NAT learn their address from it even where they asked for no rport.
pub fn stamp_via(via: &str, source: SocketAddr) -> String {
    let end = find_outside(via, b';').unwrap_or(via.len());
    let (head, list) = via.split_at_checked(end).unwrap_or((via, ""));
    let mut out = String::with_capacity(via.len() + 64);
    out.push_str(head.trim_end());
    for (name, param) in params(list) {
        if !name.eq_ignore_ascii_case("received") && !name.eq_ignore_ascii_case("rport") {
            out.push(';');
            out.push_str(param);
        }
    }
    out.push_str(";received=");
    put_ip(&mut out, source.ip());
    out.push_str(";rport=");
    put_number(&mut out, source.port().into());
    out
}

/// A request of our own.
pub struct RequestBuilder {
    out: Writer,
}

impl RequestBuilder {
    pub fn new(method: &str, uri: &str) -> RequestBuilder {
        let (method, uri) = (one_line(method), one_line(uri));
        RequestBuilder { out: Writer::request(512, method.as_bytes(), uri.as_bytes()) }
    }
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.out.header_as_written(name, &[one_line(value).as_bytes()]);
        self
    }
    pub fn build(self) -> Vec<u8> {
        self.finish().into_bytes()
    }
    pub fn finish(mut self) -> Message {
        self.out.content_length(0);
        self.out.finish(b"")
    }

    /// The ACK for a non-2xx final response to `invite` (§17.1.1.3): hop by hop, with the INVITE's branch.
    pub fn ack_for(invite: &Message, response: &Message) -> Message {
        Self::same_hop("ACK", invite, response).finish()
    }
    /// The CANCEL of `invite` (§9.1).
    pub fn cancel_for(invite: &Message, reason: Option<&str>) -> Message {
        let cancel = Self::same_hop("CANCEL", invite, invite);
        match reason {
            Some(reason) => cancel.header("Reason", reason).finish(),
            None => cancel.finish(),
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
            b.out.header(&Name::Route, &[route]);
        }
        let from = invite.value_bytes(&Name::From).next().map(|value| (&Name::From, value));
        let to = to.value_bytes(&Name::To).next().map(|value| (&Name::To, value));
        let call_id = invite.value_bytes(&Name::CallId).next().map(|value| (&Name::CallId, value));
        for (name, value) in [from, to, call_id].into_iter().flatten() {
            b.out.header(name, &[value]);
        }
        let (cseq, _) = invite.cseq().unwrap_or((1, "INVITE"));
        b.header("CSeq", &format!("{cseq} {method}"))
    }
}
