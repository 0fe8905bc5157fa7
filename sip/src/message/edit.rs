//! A copy of a message with a few lines changed; all others pass byte for byte.

use super::{
    Inner, Known, Message, Name, NameAddr, NameRef, StartLine,
    build::stamp_via,
    grammar::{find_outside_bytes, is_uri_text},
    marks::ViaMark,
    parse::ParseError,
    raw::Raw,
    tally,
    write::Writer,
};
use crate::limits::{HEADERS_MAX, MESSAGE_BYTES_MAX};
use memchr::{memchr, memchr3};
use smallvec::SmallVec;
use std::{
    borrow::Cow,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, OnceLock},
};

/// Collects changes, then writes the new message once.
pub struct Editor<'a> {
    message: &'a Message,
    uri: Option<String>,
    /// The values of the new lines, one after the other.
    text: Vec<u8>,
    new: SmallVec<[New; 8]>,
    /// Lines of the message that are not written.
    gone: SmallVec<[usize; 8]>,
}

struct New {
    place: Place,
    name: Name,
    value: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before all others, the last one first.
    Top,
    /// Where that line of the message stands or stood.
    At(usize),
    /// After all others.
    Bottom,
}

impl<'a> Editor<'a> {
    pub fn new(message: &'a Message) -> Editor<'a> {
        let (new, gone) = (SmallVec::new(), SmallVec::new());
        Editor { message, uri: None, text: Vec::new(), new, gone }
    }

    pub fn set_uri(&mut self, uri: &str) -> &mut Self {
        self.uri = Some(one_line(uri).into_owned());
        self
    }
    /// Puts `name: value` above all other lines; the last one put is the topmost.
    pub fn prepend(&mut self, name: &Name, value: &str) -> &mut Self {
        self.write(Place::Top, name, &[one_line(value).as_bytes()])
    }
    /// The same of a value in pieces, with no line end in them.
    pub fn prepend_pieces(&mut self, name: &Name, value: &[&[u8]]) -> &mut Self {
        debug_assert!(!value.iter().any(|piece| piece.contains(&b'\n')), "a value is one line");
        self.write(Place::Top, name, value)
    }
    pub fn append(&mut self, name: &Name, value: &str) -> &mut Self {
        self.write(Place::Bottom, name, &[one_line(value).as_bytes()])
    }
    /// Replaces the first line of that name (or adds one).
    pub fn set(&mut self, name: &Name, value: &str) -> &mut Self {
        self.set_bytes(name, one_line(value).as_bytes())
    }
    /// Replaces the first line of that name (or adds one) by the first that `other` has, in its exact bytes.
    pub fn set_as_in(&mut self, name: &Name, other: &Message) -> &mut Self {
        match other.value_bytes(name).next() {
            Some(value) => self.set_bytes(name, value),
            None => self,
        }
    }
    /// Gives the first From, To or the like of that name another URI. Display name, tag and parameters stay in their
    /// exact bytes, whatever their encoding; what is no address stays whole.
    pub fn set_address(&mut self, name: &Name, uri: &str) -> &mut Self {
        let message = self.message;
        let Some(at) = self.position(name) else { return self };
        let readable = message.header(name).and_then(NameAddr::parse).is_some();
        let Some(value) = message.value_bytes(name).next().filter(|_| readable) else { return self };
        let uri = one_line(uri);
        let (before, after) = match find_outside_bytes(value, b'<') {
            Some(open) => {
                let rest = value.get(open + 1..).unwrap_or_default();
                let close = memchr(b'>', rest).unwrap_or(rest.len());
                (value.get(..open).unwrap_or_default(), rest.get(close + 1..).unwrap_or_default())
            }
            None => {
                (b"".as_slice(), value.get(memchr(b';', value).unwrap_or(value.len())..).unwrap_or_default())
            }
        };
        self.clear(at);
        self.write(Place::At(at), name, &[before, b"<", uri.as_bytes(), b">", after])
    }
    /// Removes all lines of that name.
    pub fn remove(&mut self, name: &Name) -> &mut Self {
        self.retain_lines(name, |_| false)
    }
    /// Removes the lines of that name whose value `keep` refuses.
    pub fn retain_lines(&mut self, name: &Name, keep: impl Fn(&str) -> bool) -> &mut Self {
        let message = self.message;
        for (at, line) in message.lines_of(name) {
            if !keep(message.value(line)) {
                self.clear(at);
            }
        }
        self
    }
    /// Removes all lines whose name `keep` refuses.
    pub fn retain_names(&mut self, keep: impl Fn(NameRef<'_>) -> bool) -> &mut Self {
        let message = self.message;
        for (at, line) in message.0.lines.iter().enumerate() {
            if !keep(message.name_of(line)) {
                self.clear(at);
            }
        }
        self
    }
    /// Removes the first `count` values of a list header (top Via, own Routes).
    pub fn remove_first_values(&mut self, name: &Name, count: usize) -> &mut Self {
        let message = self.message;
        let mut left = count;
        for (at, line) in message.lines_of(name) {
            if left == 0 {
                break;
            }
            let mut rest = Some(message.0.raw.get(line.value()).unwrap_or_default());
            while let Some(value) = rest.filter(|_| left > 0) {
                left -= 1;
                rest = find_outside_bytes(value, b',').and_then(|comma| value.get(comma + 1..));
            }
            self.clear(at);
            if let Some(rest) = rest {
                self.write(Place::At(at), name, &[rest.trim_ascii()]);
            }
        }
        self
    }
    /// Replaces the first value of a list header, in its place.
    pub fn set_first_value(&mut self, name: &Name, value: &str) -> &mut Self {
        let message = self.message;
        let Some((at, line)) = message.lines_of(name).next() else { return self.append(name, value) };
        let old = message.0.raw.get(line.value()).unwrap_or_default();
        self.clear(at);
        self.write(Place::At(at), name, &[one_line(value).as_bytes()]);
        if let Some(rest) = find_outside_bytes(old, b',').and_then(|comma| old.get(comma + 1..)) {
            self.write(Place::At(at), name, &[rest.trim_ascii()]);
        }
        self
    }
    /// Replaces all values of a list header by these (in one line each).
    pub fn set_values(&mut self, name: &Name, values: &[impl AsRef<str>]) -> &mut Self {
        let first = self.position(name);
        self.remove(name);
        let place = first.map_or(Place::Bottom, Place::At);
        for value in values {
            self.write(place, name, &[one_line(value.as_ref()).as_bytes()]);
        }
        self
    }

    /// Replaces all lines of that name by one (or adds it). Its value is the pieces, one after the other, with no line
    /// end in them.
    pub fn set_pieces(&mut self, name: &Name, value: &[&[u8]]) -> &mut Self {
        debug_assert!(!value.iter().any(|piece| piece.contains(&b'\n')), "a value is one line");
        let place = self.position(name).map_or(Place::Bottom, Place::At);
        self.remove(name);
        self.write(place, name, value)
    }

    fn set_bytes(&mut self, name: &Name, value: &[u8]) -> &mut Self {
        let place = match self.position(name) {
            Some(at) => {
                self.clear(at);
                Place::At(at)
            }
            None => Place::Bottom,
        };
        self.write(place, name, &[value])
    }
    fn position(&self, name: &Name) -> Option<usize> {
        self.message.lines_of(name).next().map(|(at, _)| at)
    }
    /// Nothing stands there any more, neither the line of the message nor what an earlier change put there.
    fn clear(&mut self, at: usize) {
        self.new.retain(|new| new.place != Place::At(at));
        if !self.gone.contains(&at) {
            self.gone.push(at);
        }
    }
    fn write(&mut self, place: Place, name: &Name, value: &[&[u8]]) -> &mut Self {
        let start = self.text.len();
        value.iter().for_each(|piece| self.text.extend_from_slice(piece));
        self.new.push(New { place, name: name.clone(), value: start..self.text.len() });
        self
    }

    pub fn build(&self) -> Vec<u8> {
        self.finish().into_bytes()
    }

    /// The new message, indexed while it is written. What strangers had a say in (a Contact that becomes the
    /// Request-URI) is for [`Message::checked`] to judge.
    pub fn finish(&self) -> Message {
        let message = &self.message.0;
        let names: usize = self.new.iter().map(|new| new.name.as_str().len() + 4).sum();
        let uri_length = self.uri.as_ref().map_or(0, String::len);
        let capacity = message.raw.len() + self.text.len() + names + uri_length + 32;
        let mut out = match (&message.start, &self.uri) {
            (StartLine::Request { method, .. }, Some(uri)) => {
                Writer::request(capacity, self.message.text(method).as_bytes(), uri.as_bytes())
            }
            _ => Writer::like(capacity, self.message),
        };
        self.put_all(&mut out, self.new.iter().rev(), Place::Top);
        for (at, line) in message.lines.iter().enumerate() {
            if !self.gone.contains(&at) {
                out.copy(self.message, line);
            }
            self.put_all(&mut out, self.new.iter(), Place::At(at));
        }
        self.put_all(&mut out, self.new.iter(), Place::Bottom);
        if self.message.header(&Name::ContentLength).is_none() {
            out.content_length(self.message.body().len());
        }
        out.finish(self.message.body())
    }

    fn put_all<'n>(&self, out: &mut Writer, new: impl Iterator<Item = &'n New>, place: Place) {
        for new in new.filter(|new| new.place == place) {
            out.header(&new.name, &[self.text.get(new.value.clone()).unwrap_or_default()]);
        }
    }
}

impl Message {
    /// RFC 3261 §18.2.1, RFC 3581 §4: the same request, whose top Via says where it really came from. It is written into the
    /// buffer that the message came in; whatever else holds the message keeps it as it was.
    pub fn stamped(self, source: SocketAddr) -> Message {
        let Some((at, line)) = self.lines_of(&Name::Via).next() else { return self };
        let (line, value) = (*line, self.0.raw.get(line.value()).unwrap_or_default());
        let first = find_outside_bytes(value, b',').unwrap_or(value.len());
        let via = value.get(..first).unwrap_or_default().trim_ascii_end();
        let range = line.value().start..line.value().start + via.len();
        let stamped = match self.0.raw.text(range.clone()) {
            Some(via) => stamp_via(via, source),
            None => stamp_via(&String::from_utf8_lossy(via), source),
        };
        let mut message = self;
        if Arc::get_mut(&mut message.0).is_none() {
            message = Message(Arc::new(message.0.copied()));
        }
        let inner = Arc::get_mut(&mut message.0).expect("a copy is nobody else's");
        inner.put(at, range, &stamped);
        inner.remark_via();
        message
    }

    /// What an editor wrote, judged as `parse` judges what is received.
    pub fn checked(self) -> Result<Message, ParseError> {
        if self.0.raw.len() > MESSAGE_BYTES_MAX || self.0.lines.len() > HEADERS_MAX {
            return Err(ParseError::TooLarge);
        }
        if self.uri().is_some_and(|uri| !is_uri_text(uri)) {
            return Err(ParseError::StartLine);
        }
        self.check()?;
        Ok(self)
    }
}

impl Inner {
    fn copied(&self) -> Inner {
        tally::count(|tally| tally.copied += 1);
        let Inner { raw, start, start_end, lines, firsts, lossy, body, marks } = self;
        let (raw, start, lines) = (Raw::from(raw.to_vec()), start.clone(), lines.clone());
        let (lossy, body, marks) = (lossy.clone(), body.clone(), marks.clone());
        Inner { raw, start, start_end: *start_end, lines, firsts: *firsts, lossy, body, marks }
    }

    /// The first Via reads otherwise now. All other marks count from the start of their values, which stay.
    fn remark_via(&mut self) {
        let Some(mut marks) = self.marks.take() else { return };
        let line = self.lines.iter().find(|line| line.known == Some(Known::Via));
        let text = line.and_then(|line| self.lossy_of(line).or_else(|| self.raw.text(line.value())));
        marks.via = text.and_then(ViaMark::read);
        self.marks = OnceLock::from(marks);
    }

    /// Puts a text into the value of line `at`, in the place of `range`; what stands behind it moves.
    fn put(&mut self, at: usize, range: Range<usize>, new: &str) {
        let (old, new_length) = (range.len() as u32, new.len() as u32);
        let moved = |place: u32| place - old + new_length;
        self.raw.replace(range, new);
        let mut lines = self.lines.iter_mut().skip(at);
        if let Some(line) = lines.next() {
            (line.value_end, line.end) = (moved(line.value_end), moved(line.end));
        }
        for line in self.lines.iter_mut().skip(at + 1) {
            let whole = moved(line.start) as usize;
            *line = line.moved(whole);
        }
        self.lossy = self.raw.lossy(&self.lines);
        let by = new_length as usize;
        self.body = self.body.start - old as usize + by..self.body.end - old as usize + by;
    }
}

/// No value that we write can start another header.
pub(super) fn one_line(value: &str) -> Cow<'_, str> {
    if memchr3(b'\r', b'\n', 0, value.as_bytes()).is_some() {
        Cow::Owned(value.replace(['\r', '\n', '\0'], " "))
    } else {
        Cow::Borrowed(value)
    }
}
