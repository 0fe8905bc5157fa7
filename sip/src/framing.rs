//! Cuts a TCP byte stream into messages (RFC 3261 §18.3): Content-Length is mandatory there, an empty line pair is a
//! ping (RFC 5626 §3.5.1).

use crate::limits::MESSAGE_BYTES_MAX;
use memchr::memmem;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Message(Vec<u8>),
    /// Answer with one CRLF.
    Ping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream holds no SIP messages that can be told apart")]
pub struct FramingError;

#[derive(Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes already searched for the end of headers.
    searched: usize,
}

impl Framer {
    /// Takes what arrived; then call [`Framer::next_frame`] until it gives nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        loop {
            if self.buffer.starts_with(b"\r\n\r\n") {
                self.take(4);
                return Ok(Some(Frame::Ping));
            }
            match self.buffer.as_slice() {
                [b'\r', b'\n', next, ..] if *next != b'\r' => self.take(2),
                [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] | [b'\r'] | [] => return Ok(None),
                _ => break,
            };
        }
        let from = self.searched.saturating_sub(3);
        let head = self.buffer.get(from..).unwrap_or_default();
        let Some(end) = memmem::find(head, b"\r\n\r\n").map(|at| from + at + 4) else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > MESSAGE_BYTES_MAX { Err(FramingError) } else { Ok(None) };
        };
        let length = content_length(self.buffer.get(..end).unwrap_or_default()).ok_or(FramingError)?;
        let total = end.checked_add(length).filter(|t| *t <= MESSAGE_BYTES_MAX).ok_or(FramingError)?;
        if self.buffer.len() < total {
            self.searched = end.saturating_sub(1);
            return Ok(None);
        }
        Ok(Some(Frame::Message(self.take(total))))
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count.min(self.buffer.len()));
        self.searched = 0;
        std::mem::replace(&mut self.buffer, rest)
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    head.split(|b| *b == b'\n').find_map(|line| {
        let text = std::str::from_utf8(line).ok()?;
        let (name, value) = text.split_once(':')?;
        let name = name.trim();
        let wanted = name.eq_ignore_ascii_case("Content-Length") || name.eq_ignore_ascii_case("l");
        wanted.then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelined_and_fragmented_messages_and_pings() {
        let one = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        let stream = [b"\r\n\r\n".as_slice(), &one, b"\r\n", &one].concat();
        for step in 1..stream.len() {
            let mut framer = Framer::default();
            let mut got = Vec::new();
            for part in stream.chunks(step) {
                framer.push(part);
                while let Some(frame) = framer.next_frame().expect("a good stream") {
                    got.push(frame);
                }
            }
            let expected = [Frame::Ping, Frame::Message(one.clone()), Frame::Message(one.clone())];
            assert_eq!(got, expected, "in steps of {step}");
        }
    }

    #[test]
    fn no_length_or_too_much_ends_the_stream() {
        for bad in ["OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n", "A\r\nContent-Length: 99999999999\r\n\r\n"] {
            let mut framer = Framer::default();
            framer.push(bad.as_bytes());
            assert_eq!(framer.next_frame(), Err(FramingError));
        }
    }
}
