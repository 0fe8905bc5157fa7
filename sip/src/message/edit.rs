//! A copy of a message with a few lines changed; all others pass byte for byte.

use super::{Message, Name, StartLine, Values};
use std::{borrow::Cow, collections::BTreeMap};

/// Collects changes, then writes the new message once.
pub struct Editor<'a> {
    message: &'a Message,
    uri: Option<String>,
    /// Lines put before all others, the last one first.
    top: Vec<String>,
    /// Line index to the lines that stand there now: none where it was removed.
    changed: BTreeMap<usize, Vec<String>>,
    /// Lines put after all others.
    bottom: Vec<String>,
}

impl<'a> Editor<'a> {
    pub fn new(message: &'a Message) -> Editor<'a> {
        let (top, bottom, changed) = (Vec::new(), Vec::new(), BTreeMap::new());
        Editor { message, uri: None, top, changed, bottom }
    }

    pub fn set_uri(&mut self, uri: &str) -> &mut Self {
        self.uri = Some(one_line(uri).into_owned());
        self
    }
    /// Puts `name: value` above all other lines; the last one put is the topmost.
    pub fn prepend(&mut self, name: &Name, value: &str) -> &mut Self {
        self.top.push(header(name, value));
        self
    }
    pub fn append(&mut self, name: &Name, value: &str) -> &mut Self {
        self.bottom.push(header(name, value));
        self
    }
    /// Replaces the first line of that name (or adds one).
    pub fn set(&mut self, name: &Name, value: &str) -> &mut Self {
        match self.message.lines.iter().position(|l| l.name == *name) {
            Some(at) => self.change(at, vec![header(name, value)]),
            None => self.append(name, value),
        }
    }
    /// Removes all lines of that name.
    pub fn remove(&mut self, name: &Name) -> &mut Self {
        self.retain_lines(name, |_| false)
    }
    /// Removes the lines of that name whose value `keep` refuses.
    pub fn retain_lines(&mut self, name: &Name, keep: impl Fn(&str) -> bool) -> &mut Self {
        let message = self.message;
        for (at, line) in message.lines.iter().enumerate() {
            if line.name == *name && !keep(message.value(line)) {
                self.change(at, Vec::new());
            }
        }
        self
    }
    /// Removes all lines whose name `keep` refuses.
    pub fn retain_names(&mut self, keep: impl Fn(&Name) -> bool) -> &mut Self {
        let message = self.message;
        for (at, line) in message.lines.iter().enumerate() {
            if !keep(&line.name) {
                self.change(at, Vec::new());
            }
        }
        self
    }
    /// Removes the first `count` values of a list header (top Via, own Routes).
    pub fn remove_first_values(&mut self, name: &Name, count: usize) -> &mut Self {
        let message = self.message;
        let mut left = count;
        for (at, line) in message.lines.iter().enumerate().filter(|(_, l)| l.name == *name) {
            if left == 0 {
                break;
            }
            let values: Vec<&str> = Values::new(message.value(line)).collect();
            match values.get(left..) {
                None | Some([]) => {
                    left = left.saturating_sub(values.len());
                    self.change(at, Vec::new());
                }
                Some(rest) => {
                    left = 0;
                    self.change(at, vec![header(name, &rest.join(", "))]);
                }
            }
        }
        self
    }
    /// Replaces all values of a list header by these (in one line each).
    pub fn set_values(&mut self, name: &Name, values: &[String]) -> &mut Self {
        let first = self.message.lines.iter().position(|l| l.name == *name);
        self.remove(name);
        let lines: Vec<String> = values.iter().map(|value| header(name, value)).collect();
        match first {
            Some(at) => {
                self.change(at, lines);
            }
            None => self.bottom.extend(lines),
        }
        self
    }

    fn change(&mut self, at: usize, lines: Vec<String>) -> &mut Self {
        self.changed.insert(at, lines);
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let m = self.message;
        let mut out = Vec::with_capacity(m.raw.len() + 512);
        match (&m.start, &self.uri) {
            (StartLine::Request { method, .. }, Some(uri)) => {
                push_line(&mut out, format!("{} {uri} SIP/2.0", m.text(method)).as_bytes());
            }
            _ => push_line(&mut out, m.raw.get(..m.start_end).unwrap_or_default()),
        }
        for line in self.top.iter().rev() {
            push_line(&mut out, line.as_bytes());
        }
        for (at, line) in m.lines.iter().enumerate() {
            match self.changed.get(&at) {
                Some(lines) => lines.iter().for_each(|line| push_line(&mut out, line.as_bytes())),
                None => push_line(&mut out, m.raw.get(line.whole.clone()).unwrap_or_default()),
            }
        }
        for line in &self.bottom {
            push_line(&mut out, line.as_bytes());
        }
        if m.header(&Name::ContentLength).is_none() {
            push_line(&mut out, format!("Content-Length: {}", m.body().len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(m.body());
        out
    }
}

fn header(name: &Name, value: &str) -> String {
    format!("{}: {}", name.as_str(), one_line(value))
}

/// No value that we write can start another header.
pub(super) fn one_line(value: &str) -> Cow<'_, str> {
    if value.contains(['\r', '\n']) {
        Cow::Owned(value.replace(['\r', '\n'], " "))
    } else {
        Cow::Borrowed(value)
    }
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
}
