//! A copy of a message with a few lines changed; all others pass byte for byte.

use super::{Message, Name, StartLine};

/// Collects changes, then writes the new message once.
pub struct Editor<'a> {
    message: &'a Message,
    uri: Option<String>,
    /// Lines put before all others, in order.
    top: Vec<String>,
    /// (line index, replacement or removal).
    changed: Vec<(usize, Option<String>)>,
    /// Lines put after all others.
    bottom: Vec<String>,
}

impl<'a> Editor<'a> {
    pub fn new(message: &'a Message) -> Editor<'a> {
        Editor { message, uri: None, top: Vec::new(), changed: Vec::new(), bottom: Vec::new() }
    }

    pub fn set_uri(&mut self, uri: &str) -> &mut Self {
        self.uri = Some(uri.to_owned());
        self
    }
    /// Puts `name: value` above all other lines; the last one put is the topmost.
    pub fn prepend(&mut self, name: &Name, value: &str) -> &mut Self {
        self.top.insert(0, format!("{}: {value}", name.as_str()));
        self
    }
    pub fn append(&mut self, name: &Name, value: &str) -> &mut Self {
        self.bottom.push(format!("{}: {value}", name.as_str()));
        self
    }
    /// Replaces the first line of that name (or adds one).
    pub fn set(&mut self, name: &Name, value: &str) -> &mut Self {
        match self.message.lines.iter().position(|l| l.name == *name) {
            Some(at) => self.change(at, Some(format!("{}: {value}", name.as_str()))),
            None => self.append(name, value),
        }
    }
    /// Removes all lines of that name.
    pub fn remove(&mut self, name: &Name) -> &mut Self {
        for at in 0..self.message.lines.len() {
            if self.message.lines.get(at).is_some_and(|l| l.name == *name) {
                self.change(at, None);
            }
        }
        self
    }
    /// Removes the lines of that name whose value `keep` refuses.
    pub fn retain_lines(&mut self, name: &Name, keep: impl Fn(&str) -> bool) -> &mut Self {
        let drop: Vec<usize> = self
            .message
            .lines
            .iter()
            .enumerate()
            .filter(|(_, l)| l.name == *name && !keep(self.message.text(&l.value)))
            .map(|(at, _)| at)
            .collect();
        for at in drop {
            self.change(at, None);
        }
        self
    }
    /// Removes the first `count` values of a list header (top Via, own Routes).
    pub fn remove_first_values(&mut self, name: &Name, count: usize) -> &mut Self {
        let mut left = count;
        let lines: Vec<(usize, Vec<String>)> = self
            .message
            .lines
            .iter()
            .enumerate()
            .filter(|(_, l)| l.name == *name)
            .map(|(at, l)| (at, super::Values::new(self.message.text(&l.value)).map(str::to_owned).collect()))
            .collect();
        for (at, values) in lines {
            if left == 0 {
                break;
            }
            if values.len() <= left {
                left -= values.len();
                self.change(at, None);
            } else {
                let rest = values.get(left..).unwrap_or_default().join(", ");
                left = 0;
                self.change(at, Some(format!("{}: {rest}", name.as_str())));
            }
        }
        self
    }
    /// Replaces all values of a list header by these (in one line each).
    pub fn set_values(&mut self, name: &Name, values: &[String]) -> &mut Self {
        let first = self.message.lines.iter().position(|l| l.name == *name);
        self.remove(name);
        let lines: Vec<String> = values.iter().map(|v| format!("{}: {v}", name.as_str())).collect();
        match (first, lines.is_empty()) {
            (_, true) => {}
            (Some(at), false) => {
                self.change(at, Some(lines.join("\r\n")));
            }
            (None, false) => self.bottom.extend(lines),
        }
        self
    }

    fn change(&mut self, at: usize, line: Option<String>) -> &mut Self {
        self.changed.retain(|(i, _)| *i != at);
        self.changed.push((at, line));
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let m = self.message;
        let mut out = Vec::with_capacity(m.raw.len() + 512);
        match (&m.start, &self.uri) {
            (StartLine::Request { method, .. }, Some(uri)) => {
                out.extend_from_slice(m.text(method).as_bytes());
                out.push(b' ');
                out.extend_from_slice(uri.as_bytes());
                out.extend_from_slice(b" SIP/2.0\r\n");
            }
            _ => {
                let end = m.raw.iter().position(|b| *b == b'\n').unwrap_or(m.raw.len());
                out.extend_from_slice(m.raw.get(..end).unwrap_or_default().trim_ascii_end());
                out.extend_from_slice(b"\r\n");
            }
        }
        for line in &self.top {
            push_line(&mut out, line.as_bytes());
        }
        for (at, line) in m.lines.iter().enumerate() {
            match self.changed.iter().find(|(i, _)| *i == at) {
                Some((_, Some(text))) => push_line(&mut out, text.as_bytes()),
                Some((_, None)) => {}
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

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
}
