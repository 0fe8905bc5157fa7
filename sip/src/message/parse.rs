//! The one scan.
//!
//! [`Message::parse`] is strict where a guess would let two elements read one message differently (two From lines, an
//! open quote, a second Content-Length, a bare CR): such a message is refused, never repaired and forwarded.
//! [`Message::parse_lenient`] reads the same bytes and keeps what it can, so that a refusal can be sent.

use super::{
    Firsts, Inner, Line, Message, StartLine,
    grammar::{digits, is_token, is_uri_text, token_end},
    name::{Known, Name},
    raw::Raw,
    tally,
    values::Via,
};
use crate::{
    limits::{HEADERS_MAX, MESSAGE_BYTES_MAX},
    uri::Uri,
};
use memchr::{memchr, memchr2_iter};
use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("nothing but line ends: a keep-alive")]
    Empty,
    #[error("larger than {MESSAGE_BYTES_MAX} bytes or {HEADERS_MAX} header lines")]
    TooLarge,
    #[error("the start line is neither a request nor a response")]
    StartLine,
    #[error("a version other than SIP/2.0")]
    Version,
    #[error("a header line without a colon, with a broken name or with a control character")]
    Header,
    #[error("no empty line after the headers")]
    Truncated,
    #[error("Content-Length is no number or goes beyond the datagram")]
    ContentLength,
    #[error("Via, From, To, Call-ID or CSeq is missing or broken, or CSeq names another method")]
    Mandatory,
    #[error("a header that may stand once stands twice")]
    Repeated,
}

/// Why a message was refused, and what could be read of it: enough to answer 400 or 505, never to forward.
#[derive(Clone, Debug)]
pub struct Unreadable {
    pub why: ParseError,
    pub read: Option<Message>,
}

/// Two of these would be read differently by different elements (RFC 4475 §3.3.8, §3.3.9).
fn is_single(name: Known) -> bool {
    use Known::{CSeq, CallId, ContentLength, From, MaxForwards, To};
    matches!(name, From | To | CallId | CSeq | MaxForwards | ContentLength)
}

impl Message {
    /// One whole message: a datagram, or what `framing` cut from a stream. Octets after Content-Length are dropped
    /// (RFC 3261 §18.3).
    pub fn parse(raw: Vec<u8>) -> Result<Message, ParseError> {
        Message::receive(raw).map_err(|broken| broken.why)
    }

    /// The same; of what is refused, also what `parse_lenient` would have read.
    pub fn receive(raw: Vec<u8>) -> Result<Message, Unreadable> {
        let (message, fault) = scan(raw).map_err(|why| Unreadable { why, read: None })?;
        match fault.map_or_else(|| message.check(), Err) {
            Ok(()) => Ok(message),
            Err(why) => Err(Unreadable { why, read: Some(message) }),
        }
    }

    /// What can be read of a message that `parse` refused: enough to answer 400 or 505 where an answer is possible.
    /// Never forward it.
    pub fn parse_lenient(raw: Vec<u8>) -> Result<Message, ParseError> {
        scan(raw).map(|(message, _)| message)
    }

    pub(super) fn check(&self) -> Result<(), ParseError> {
        let mut seen = 0u64;
        for known in self.0.lines.iter().filter_map(|line| line.known).filter(|known| is_single(*known)) {
            if seen & known.bit() != 0 {
                return Err(ParseError::Repeated);
            }
            seen |= known.bit();
        }
        let complete = self.via().is_some()
            && self.values(&Name::Via).skip(1).all(|via| Via::parse(via).is_some())
            && self.from().is_some()
            && self.to().is_some()
            && self.call_id().is_some_and(|c| !c.is_empty() && !c.bytes().any(|b| matches!(b, b' ' | b'\t')));
        let (_, cseq_method) = self.cseq().ok_or(ParseError::Mandatory)?;
        if !complete || (self.is_request() && cseq_method != self.method()) {
            return Err(ParseError::Mandatory);
        }
        match self.uri() {
            Some(uri) if !is_request_uri(uri) => Err(ParseError::StartLine),
            _ => Ok(()),
        }
    }
}

/// The lines of a message, and the first thing that is wrong with it. An error: nothing can be made of it at all.
fn scan(mut raw: Vec<u8>) -> Result<(Message, Option<ParseError>), ParseError> {
    tally::count(|tally| tally.parsed += 1);
    let lead = raw.iter().take_while(|b| matches!(b, b'\r' | b'\n' | 0)).count();
    if lead > 0 {
        raw.drain(..lead);
    }
    if raw.is_empty() {
        return Err(ParseError::Empty);
    }
    if raw.len() > MESSAGE_BYTES_MAX {
        return Err(ParseError::TooLarge);
    }
    let (first, mut at) = line(&raw, 0).ok_or(ParseError::Truncated)?;
    let (start, mut fault) = start_line(&raw, first.clone())?;
    let mut lines = Vec::with_capacity(16);
    loop {
        let Some((range, next)) = line(&raw, at) else {
            fault = fault.or(Some(ParseError::Truncated));
            at = raw.len();
            break;
        };
        if range.is_empty() {
            at = next;
            break;
        }
        let (range, next) = unfold(&mut raw, range, next);
        at = next;
        if lines.len() >= HEADERS_MAX {
            fault = fault.or(Some(ParseError::TooLarge));
            at = raw.len();
            break;
        }
        match header_line(&raw, range) {
            Ok(line) => lines.push(line),
            Err(why) => fault = fault.or(Some(why)),
        }
    }
    let (body, wrong_length) = body_range(&raw, &lines, at);
    let raw = Raw::from(raw);
    let lossy = raw.lossy(&lines);
    let inner = Inner {
        raw,
        start,
        start_end: first.end,
        firsts: Firsts::in_lines(&lines),
        lines,
        lossy,
        body,
        marks: OnceLock::new(),
    };
    Ok((Message(Arc::new(inner)), fault.or(wrong_length)))
}

/// What Content-Length says of the octets from `at` on (§18.3); all of them without one.
pub(super) fn body_range(raw: &[u8], lines: &[Line], at: usize) -> (Range<usize>, Option<ParseError>) {
    let all = at..raw.len();
    let Some(line) = lines.iter().find(|line| line.known == Some(Known::ContentLength)) else {
        return (all, None);
    };
    let text = raw.get(line.value()).and_then(|value| std::str::from_utf8(value).ok());
    let length = text.and_then(digits).and_then(|length| usize::try_from(length).ok());
    let end = length.and_then(|length| at.checked_add(length)).filter(|end| *end <= raw.len());
    match end {
        Some(end) => (at..end, None),
        None => (all, Some(ParseError::ContentLength)),
    }
}

/// The line from `at` without its end (CRLF, or a bare LF as some phones send), and where the next one starts.
pub(crate) fn line(raw: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let end = at + memchr(b'\n', raw.get(at..)?)?;
    let stop = if end > at && raw.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
    Some((at..stop, end + 1))
}

/// A CR that is no line end would be one to somebody else; NUL may stand only as a quoted pair (§25.1).
fn has_bare_control(bytes: &[u8]) -> bool {
    let mut found = memchr2_iter(b'\r', 0, bytes);
    found.any(|at| {
        bytes.get(at) == Some(&b'\r') || at.checked_sub(1).and_then(|at| bytes.get(at)) != Some(&b'\\')
    })
}

/// Joins continuation lines (§7.3.1) by turning their line ends into spaces.
fn unfold(raw: &mut [u8], mut range: Range<usize>, mut next: usize) -> (Range<usize>, usize) {
    while matches!(raw.get(next), Some(b' ' | b'\t')) {
        let Some((more, after)) = line(raw, next) else { break };
        if let Some(gap) = raw.get_mut(range.end..next) {
            gap.fill(b' ');
        }
        range.end = more.end;
        next = after;
    }
    (range, next)
}

type Start = (StartLine, Option<ParseError>);

fn start_line(raw: &[u8], range: Range<usize>) -> Result<Start, ParseError> {
    let bytes = raw.get(range.clone()).ok_or(ParseError::StartLine)?;
    match bytes.get(..4) {
        Some(head) if head.eq_ignore_ascii_case(b"SIP/") => status_line(bytes, range),
        _ => request_line(bytes, range.start),
    }
}

/// `SIP/2.0 200 Any words, in any bytes` (§7.2). Without the words some forget the space too.
fn status_line(bytes: &[u8], range: Range<usize>) -> Result<Start, ParseError> {
    if bytes.get(4..8) != Some(b"2.0 ".as_slice()) {
        return Err(ParseError::Version);
    }
    let code = bytes.get(8..11).and_then(|code| std::str::from_utf8(code).ok());
    let status =
        code.and_then(digits).and_then(|code| u16::try_from(code).ok()).ok_or(ParseError::StartLine)?;
    if !(100..700).contains(&status) || !matches!(bytes.get(11), None | Some(b' ')) {
        return Err(ParseError::StartLine);
    }
    let reason = (range.start + 12).min(range.end)..range.end;
    Ok((StartLine::Response { status, reason }, None))
}

/// `METHOD uri SIP/2.0` with single spaces (§7.1, RFC 4475 §3.1.2.8 to §3.1.2.10).
fn request_line(bytes: &[u8], base: usize) -> Result<Start, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::StartLine)?;
    let (method, rest) = text.split_once(' ').ok_or(ParseError::StartLine)?;
    let (uri, version) = rest.trim_end().rsplit_once(' ').ok_or(ParseError::StartLine)?;
    let is_sip = version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case("SIP/"));
    if !is_token(method) || !is_sip {
        return Err(ParseError::StartLine);
    }
    let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some(ParseError::Version)
    } else if !is_uri_text(uri) || rest.ends_with([' ', '\t', '\r']) {
        Some(ParseError::StartLine)
    } else {
        None
    };
    let uri_at = base + method.len() + 1;
    let start = StartLine::Request { method: base..base + method.len(), uri: uri_at..uri_at + uri.len() };
    Ok((start, fault))
}

/// Can a request line with this URI be written and read again?
pub(crate) fn is_target(uri: &str) -> bool {
    is_uri_text(uri) && is_request_uri(uri)
}

/// Of SIP URIs what §19.1.1 allows there: no headers; other schemes are for the proxy to refuse (416).
fn is_request_uri(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else { return false };
    match scheme {
        s if s.eq_ignore_ascii_case("sip") || s.eq_ignore_ascii_case("sips") => {
            Uri::parse(uri).is_ok_and(|u| u.headers().is_empty())
        }
        s => is_token(s),
    }
}

fn header_line(raw: &[u8], whole: Range<usize>) -> Result<Line, ParseError> {
    let bytes = raw.get(whole.clone()).ok_or(ParseError::Header)?;
    let (name, rest) = bytes.split_at(token_end(bytes));
    let value = rest.trim_ascii_start().strip_prefix(b":").ok_or(ParseError::Header)?;
    if name.is_empty() || has_bare_control(bytes) {
        return Err(ParseError::Header);
    }
    let start = whole.end - value.trim_ascii_start().len();
    let length = value.trim_ascii().len();
    let name_end = whole.start + name.len();
    Ok(Line::new(Known::read(name), whole, name_end, start..start + length))
}
