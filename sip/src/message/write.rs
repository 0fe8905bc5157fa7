//! Writes a message and its index together, so that what we wrote need not be read again.

use super::{
    Firsts, Inner, Line, Message, StartLine,
    name::{Known, Name},
    parse::body_range,
    raw::Raw,
    tally,
    text::put_number,
};
use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

/// Start line, header lines, body: in that order, once.
pub(super) struct Writer {
    out: Vec<u8>,
    start: StartLine,
    start_end: usize,
    lines: Vec<Line>,
}

impl Writer {
    pub fn request(capacity: usize, method: &[u8], uri: &[u8]) -> Writer {
        let mut out = Vec::with_capacity(capacity);
        let method = put(&mut out, method);
        out.push(b' ');
        let uri = put(&mut out, uri);
        out.extend_from_slice(b" SIP/2.0");
        Writer::after(out, StartLine::Request { method, uri })
    }
    pub fn response(capacity: usize, status: u16, reason: &str) -> Writer {
        let mut out = Vec::with_capacity(capacity);
        out.extend_from_slice(b"SIP/2.0 ");
        out.extend([status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + (digit % 10) as u8));
        out.push(b' ');
        let reason = put(&mut out, reason.as_bytes());
        Writer::after(out, StartLine::Response { status, reason })
    }
    /// With the start line of that message.
    pub fn like(capacity: usize, message: &Message) -> Writer {
        let mut out = Vec::with_capacity(capacity);
        put(&mut out, message.0.raw.get(..message.0.start_end).unwrap_or_default());
        Writer::after(out, message.0.start.clone())
    }
    fn after(mut out: Vec<u8>, start: StartLine) -> Writer {
        let start_end = out.len();
        out.extend_from_slice(b"\r\n");
        Writer { out, start, start_end, lines: Vec::with_capacity(16) }
    }

    /// One header line. Its value is the pieces, one after the other; they hold no line end.
    pub fn header(&mut self, name: &Name, value: &[&[u8]]) {
        self.line(name.as_str(), name.known(), value);
    }
    pub fn header_as_written(&mut self, name: &str, value: &[&[u8]]) {
        self.line(name, Known::parse(name), value);
    }
    fn line(&mut self, name: &str, known: Option<Known>, value: &[&[u8]]) {
        let whole = self.out.len();
        let name_end = put(&mut self.out, name.as_bytes()).end;
        self.out.extend_from_slice(b": ");
        let value_at = self.out.len();
        value.iter().for_each(|piece| self.out.extend_from_slice(piece));
        let written = self.out.get(value_at..).unwrap_or_default();
        let trimmed = written.trim_ascii();
        let start = value_at + written.len() - written.trim_ascii_start().len();
        let value = start..start + trimmed.len();
        self.lines.push(Line::new(known, whole..self.out.len(), name_end, value));
        self.out.extend_from_slice(b"\r\n");
    }

    /// A line of another message, byte for byte.
    pub fn copy(&mut self, from: &Message, line: &Line) {
        let moved = line.moved(self.out.len());
        self.out.extend_from_slice(from.0.raw.get(line.whole()).unwrap_or_default());
        self.out.extend_from_slice(b"\r\n");
        self.lines.push(moved);
    }

    pub fn content_length(&mut self, length: usize) {
        let mut text = String::new();
        put_number(&mut text, length as u64);
        self.header(&Name::ContentLength, &[text.as_bytes()]);
    }

    pub fn finish(mut self, body: &[u8]) -> Message {
        tally::count(|tally| tally.written += 1);
        self.out.extend_from_slice(b"\r\n");
        let at = self.out.len();
        self.out.extend_from_slice(body);
        let (body, _) = body_range(&self.out, &self.lines, at);
        let Writer { out, start, start_end, lines } = self;
        let raw = Raw::from(out);
        let lossy = raw.lossy(&lines);
        let firsts = Firsts::in_lines(&lines);
        Message(Arc::new(Inner { raw, start, start_end, lines, firsts, lossy, body, marks: OnceLock::new() }))
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let at = out.len();
    out.extend_from_slice(bytes);
    at..out.len()
}
