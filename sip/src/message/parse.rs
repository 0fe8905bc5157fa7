//! The one scan.
//!
//! [`Message::parse`] is strict where a guess would let two elements read one message differently (two From lines, an
//! open quote, a second Content-Length, a bare CR): such a message is refused, never repaired and forwarded.
//! [`Message::parse_lenient`] reads the same bytes and keeps what it can, so that a refusal can be sent.

use super::{Line, Message, Name, StartLine, Via};
use crate::{
    limits::{HEADERS_MAX, MESSAGE_BYTES_MAX},
    uri::Uri,
};
use memchr::{memchr, memchr2_iter};
use std::ops::Range;

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

/// Two of these would be read differently by different elements (RFC 4475 §3.3.8, §3.3.9).
const SINGLE: [Name; 6] =
    [Name::From, Name::To, Name::CallId, Name::CSeq, Name::MaxForwards, Name::ContentLength];

impl Message {
    /// One whole message: a datagram, or what `framing` cut from a stream. Octets after Content-Length are dropped
    /// (RFC 3261 §18.3).
    pub fn parse(raw: Vec<u8>) -> Result<Message, ParseError> {
        let (message, fault) = scan(raw)?;
        match fault {
            Some(fault) => Err(fault),
            None => message.check().map(|()| message),
        }
    }

    /// What can be read of a message that `parse` refused: enough to answer 400 or 505 where an answer is possible.
    /// Never forward it.
    pub fn parse_lenient(raw: Vec<u8>) -> Result<Message, ParseError> {
        scan(raw).map(|(message, _)| message)
    }

    fn check(&self) -> Result<(), ParseError> {
        for name in &SINGLE {
            if self.header_lines(name).nth(1).is_some() {
                return Err(ParseError::Repeated);
            }
        }
        let mut vias = self.values(&Name::Via).peekable();
        let complete = vias.peek().is_some()
            && vias.all(|via| Via::parse(via).is_some())
            && self.from().is_some()
            && self.to().is_some()
            && self.call_id().is_some_and(|c| !c.is_empty() && !c.contains(is_blank));
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
    let lead = raw.iter().take_while(|b| matches!(b, b'\r' | b'\n' | 0)).count();
    raw.drain(..lead);
    if raw.is_empty() {
        return Err(ParseError::Empty);
    }
    if raw.len() > MESSAGE_BYTES_MAX {
        return Err(ParseError::TooLarge);
    }
    let (first, mut at) = line(&raw, 0).ok_or(ParseError::Truncated)?;
    let (start, mut fault) = start_line(&raw, first.clone())?;
    let mut lines = Vec::with_capacity(24);
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
    let mut message = Message { body: at..raw.len(), raw, start_end: first.end, start, lines };
    if let Some(text) = message.header(&Name::ContentLength) {
        let end = digits(text).and_then(|length| at.checked_add(usize::try_from(length).ok()?));
        match end.filter(|end| *end <= message.raw.len()) {
            Some(end) => message.body = at..end,
            None => fault = fault.or(Some(ParseError::ContentLength)),
        }
    }
    Ok((message, fault))
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

/// 1*DIGIT: no sign, no blank inside.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

pub(super) fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
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
    let wrong = |c: char| matches!(c, '<' | '>' | '"') || c.is_whitespace() || c.is_control();
    let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some(ParseError::Version)
    } else if uri.is_empty() || uri.contains(wrong) || rest.ends_with([' ', '\t', '\r']) {
        Some(ParseError::StartLine)
    } else {
        None
    };
    let uri_at = base + method.len() + 1;
    let start = StartLine::Request { method: base..base + method.len(), uri: uri_at..uri_at + uri.len() };
    Ok((start, fault))
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
    let colon = memchr(b':', bytes).ok_or(ParseError::Header)?;
    let (name, value) = bytes.split_at(colon);
    let name = std::str::from_utf8(name.trim_ascii_end()).map_err(|_| ParseError::Header)?;
    if !is_token(name) || has_bare_control(bytes) {
        return Err(ParseError::Header);
    }
    let value = value.get(1..).unwrap_or_default();
    let lead = value.len() - value.trim_ascii_start().len();
    let value = value.trim_ascii();
    let start = whole.start + colon + 1 + lead;
    let lossy = match std::str::from_utf8(value) {
        Ok(_) => None,
        Err(_) => Some(String::from_utf8_lossy(value).into()),
    };
    Ok(Line { name: Name::parse(name), whole, value: start..start + value.len(), lossy })
}
