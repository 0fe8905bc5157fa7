//! The one scan.

use super::{Line, Message, Name, StartLine};
use crate::limits::{HEADERS_MAX, MESSAGE_BYTES_MAX};
use memchr::memchr;
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
    #[error("a header line without a colon, or with a broken name")]
    Header,
    #[error("no empty line after the headers")]
    Truncated,
    #[error("Content-Length is no number or goes beyond the datagram")]
    ContentLength,
    #[error("Via, From, To, Call-ID or CSeq is missing, or CSeq names another method")]
    Mandatory,
}

impl Message {
    /// One whole message: a datagram, or what `framing` cut from a stream. Octets after Content-Length are dropped
    /// (RFC 3261 §18.3).
    pub fn parse(mut raw: Vec<u8>) -> Result<Message, ParseError> {
        let message = Message::parse_lenient(std::mem::take(&mut raw))?;
        let complete = message.via().is_some()
            && message.from().is_some()
            && message.to().is_some()
            && message.call_id().is_some_and(|c| !c.is_empty());
        let (_, cseq_method) = message.cseq().ok_or(ParseError::Mandatory)?;
        if !complete || (message.is_request() && cseq_method != message.method()) {
            return Err(ParseError::Mandatory);
        }
        Ok(message)
    }

    /// The lines of a message, mandatory headers unchecked: enough to answer 400 where an answer is possible.
    pub fn parse_lenient(mut raw: Vec<u8>) -> Result<Message, ParseError> {
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
        let start = start_line(&raw, first)?;
        let mut lines = Vec::with_capacity(16);
        loop {
            let (range, next) = line(&raw, at).ok_or(ParseError::Truncated)?;
            if range.is_empty() {
                at = next;
                break;
            }
            let (range, next) = unfold(&mut raw, range, next);
            at = next;
            if lines.len() >= HEADERS_MAX {
                return Err(ParseError::TooLarge);
            }
            lines.push(header_line(&raw, range)?);
        }
        let mut message = Message { body: at..raw.len(), raw, start, lines };
        if let Some(text) = message.header(&Name::ContentLength) {
            let length: usize = text.trim().parse().map_err(|_| ParseError::ContentLength)?;
            let end = at.checked_add(length).filter(|end| *end <= message.raw.len());
            message.body = at..end.ok_or(ParseError::ContentLength)?;
        }
        Ok(message)
    }
}

/// The line from `at` without its end (CRLF, or a bare LF as some phones send), and where the next one starts.
fn line(raw: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let end = at + memchr(b'\n', raw.get(at..)?)?;
    let stop = if end > at && raw.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
    Some((at..stop, end + 1))
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

fn start_line(raw: &[u8], range: Range<usize>) -> Result<StartLine, ParseError> {
    let base = range.start;
    let bytes = raw.get(range).ok_or(ParseError::StartLine)?;
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::StartLine)?;
    if let Some(rest) = text.strip_prefix("SIP/") {
        let rest = rest.strip_prefix("2.0 ").ok_or(ParseError::Version)?;
        let digits = rest.get(..3).ok_or(ParseError::StartLine)?;
        let status: u16 = digits.parse().map_err(|_| ParseError::StartLine)?;
        if !(100..700).contains(&status) || !matches!(rest.as_bytes().get(3), None | Some(b' ')) {
            return Err(ParseError::StartLine);
        }
        let from = (base + 12).min(base + text.len());
        return Ok(StartLine::Response { status, reason: from..base + text.len() });
    }
    let (head, version) = text.rsplit_once(' ').ok_or(ParseError::StartLine)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        let sip = version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case("SIP/"));
        return Err(if sip { ParseError::Version } else { ParseError::StartLine });
    }
    let (method, uri) = head.split_once(' ').ok_or(ParseError::StartLine)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    if method.is_empty()
        || !method.chars().all(plain)
        || uri.is_empty()
        || uri.contains([' ', '<', '>', '\t'])
    {
        return Err(ParseError::StartLine);
    }
    let uri_at = base + method.len() + 1;
    Ok(StartLine::Request { method: base..base + method.len(), uri: uri_at..uri_at + uri.len() })
}

fn header_line(raw: &[u8], whole: Range<usize>) -> Result<Line, ParseError> {
    let bytes = raw.get(whole.clone()).ok_or(ParseError::Header)?;
    let colon = memchr(b':', bytes).ok_or(ParseError::Header)?;
    let (name, value) = bytes.split_at(colon);
    let name = name.trim_ascii_end();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(b);
    if name.is_empty() || !name.iter().all(plain) {
        return Err(ParseError::Header);
    }
    let name = std::str::from_utf8(name).map_err(|_| ParseError::Header)?;
    let value = value.get(1..).unwrap_or_default();
    let lead = value.len() - value.trim_ascii_start().len();
    let start = whole.start + colon + 1 + lead;
    let length = value.trim_ascii().len();
    Ok(Line { name: Name::parse(name), whole, value: start..start + length })
}
