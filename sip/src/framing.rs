//! Cuts a TCP byte stream into messages (RFC 3261 §18.3): Content-Length is mandatory there, an empty line pair is a
//! ping (RFC 5626 §3.5.1).

use crate::{
    limits::MESSAGE_BYTES_MAX,
    message::{grammar::digits, parse::line},
};
use memchr::memchr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Message(Vec<u8>),
    /// Answer with one CRLF.
    Ping,
}

/// Nothing more can be cut from this stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream holds no SIP messages that can be told apart")]
pub struct FramingError {
    /// The headers whose length is missing, wrong or too large, for a 400; empty where they have no end either.
    pub head: Vec<u8>,
}

/// Room for what has begun is made in pieces of this size, and never twice of what is needed.
const PIECE: usize = 4_096;

/// Each byte is looked at a fixed number of times, however small the pieces are in which a stream arrives.
pub struct Framer {
    /// A whole message; more is no message that can be told apart.
    bytes_max: usize,
    buffer: Vec<u8>,
    /// What is before this has been handed out.
    start: usize,
    /// What is before this holds no end of headers.
    searched: usize,
    /// Length of the message at `start`, once its headers are here.
    expected: Option<usize>,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new(MESSAGE_BYTES_MAX)
    }
}

impl Framer {
    pub fn new(bytes_max: usize) -> Framer {
        let bytes_max = bytes_max.min(MESSAGE_BYTES_MAX);
        Framer { bytes_max, buffer: Vec::new(), start: 0, searched: 0, expected: None }
    }

    /// From the next message on.
    pub fn set_max(&mut self, bytes: usize) {
        self.bytes_max = bytes.min(MESSAGE_BYTES_MAX);
    }

    /// Has a message begun whose end is not here? Call when [`Framer::next_frame`] gave nothing.
    pub fn is_within_message(&self) -> bool {
        self.rest().iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Bytes that it holds, room that was made for more included.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Takes what arrived; then call [`Framer::next_frame`] until it gives nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched = self.searched.saturating_sub(self.start);
        self.start = 0;
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            self.buffer.reserve_exact(needed.next_multiple_of(PIECE) - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.expected.is_none() {
            loop {
                match self.rest() {
                    [b'\r', b'\n', b'\r', b'\n', ..] => {
                        self.start += 4;
                        return Ok(Some(Frame::Ping));
                    }
                    [b'\r', b'\n', next, ..] if *next != b'\r' => self.start += 2,
                    [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] | [b'\r'] => return Ok(None),
                    // A phone that only keeps its connection costs no memory here.
                    [] => {
                        *self = Framer::new(self.bytes_max);
                        return Ok(None);
                    }
                    _ => break,
                };
            }
            let Some(end) = self.head_end() else {
                return if self.rest().len() > self.bytes_max {
                    Err(FramingError { head: Vec::new() })
                } else {
                    Ok(None)
                };
            };
            let head = self.buffer.get(self.start..end).unwrap_or_default();
            let total = content_length(head)
                .and_then(|length| head.len().checked_add(length))
                .filter(|total| *total <= self.bytes_max);
            self.expected = Some(total.ok_or_else(|| FramingError { head: head.to_vec() })?);
        }
        let end = self.start + self.expected.unwrap_or_default();
        let Some(bytes) = self.buffer.get(self.start..end) else { return Ok(None) };
        let bytes = bytes.to_vec();
        (self.start, self.searched, self.expected) = (end, end, None);
        Ok(Some(Frame::Message(bytes)))
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Where the body starts: after an empty line, whose end (as in `Message::parse`) may be a bare LF.
    fn head_end(&mut self) -> Option<usize> {
        let mut at = self.searched.max(self.start);
        while let Some(found) = self.buffer.get(at..).and_then(|rest| memchr(b'\n', rest)) {
            let next = at + found + 1;
            match self.buffer.get(next..).unwrap_or_default() {
                [b'\n', ..] => return Some(next + 1),
                [b'\r', b'\n', ..] => return Some(next + 2),
                // The rest of an empty line may still come.
                [] | [b'\r'] => {
                    self.searched = next - 1;
                    return None;
                }
                _ => at = next,
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// The one Content-Length of a head, read as `Message::parse` reads it: where the two disagreed, a body could be
/// taken for a message. `None`: there is none, two, or no number (§18.3: the stream cannot be used any more).
fn content_length(head: &[u8]) -> Option<usize> {
    let (_, mut at) = line(head, 0)?;
    let mut length = None;
    while let Some((range, next)) = line(head, at).filter(|(range, _)| !range.is_empty()) {
        let mut whole = range;
        at = next;
        while matches!(head.get(at), Some(b' ' | b'\t')) {
            let (more, next) = line(head, at)?;
            (whole.end, at) = (more.end, next);
        }
        let text = head.get(whole)?;
        let Some((name, value)) = memchr(b':', text).and_then(|colon| text.split_at_checked(colon)) else {
            continue;
        };
        let name = name.trim_ascii_end();
        if name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l") {
            let value = std::str::from_utf8(value.get(1..)?).ok()?;
            let first = length.replace(usize::try_from(digits(value)?).ok()?);
            if first.is_some() {
                return None;
            }
        }
    }
    length
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
        for bad in [
            "OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n",
            "A\r\nContent-Length: 99999999999\r\n\r\n",
            "A\r\nContent-Length: 65535\r\n\r\n",
            "A\r\nContent-Length: -1\r\n\r\n",
            "A\r\nContent-Length: +1\r\n\r\n",
            "A\r\nContent-Length: 1\r\nl: 2\r\n\r\n",
            "A\r\nX: folded\r\n Content-Length: 3\r\n\r\n",
        ] {
            let mut framer = Framer::default();
            framer.push(bad.as_bytes());
            assert_eq!(framer.next_frame(), Err(FramingError { head: bad.into() }), "{bad}");
        }
        let mut framer = Framer::default();
        framer.push(&vec![b'x'; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(framer.next_frame(), Err(FramingError { head: Vec::new() }));
    }

    #[test]
    fn what_has_begun_is_bounded_and_said() {
        let message = |body: usize| {
            let body = "b".repeat(body);
            format!("A\r\nl: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        for (why, bytes, most, is_good) in [
            ("short", message(100), 8_192, true),
            ("its length says more than is taken", message(9_000), 8_192, false),
            ("of a phone that is known", message(9_000), MESSAGE_BYTES_MAX, true),
            ("headers without end", vec![b'x'; 9_000], 8_192, false),
        ] {
            let mut framer = Framer::new(most);
            let mut got = Ok(None);
            for piece in bytes.chunks(1_000) {
                framer.push(piece);
                got = framer.next_frame();
                if got != Ok(None) {
                    break;
                }
                assert!(framer.is_within_message(), "{why}");
                assert!(framer.held_bytes() <= most + PIECE + 1_000, "{why}: {}", framer.held_bytes());
            }
            assert_eq!(got == Ok(Some(Frame::Message(bytes))), is_good, "{why}");
            assert_eq!(got.is_err(), !is_good, "{why}");
        }
        let mut framer = Framer::default();
        for (bytes, is_within) in
            [(&b"\r\n\r\n"[..], false), (b"\r", false), (b"\nO", true), (b"PTIONS", true)]
        {
            framer.push(bytes);
            while framer.next_frame() == Ok(Some(Frame::Ping)) {}
            assert_eq!(framer.is_within_message(), is_within, "{bytes:?}");
        }
        let mut framer = Framer::default();
        framer.push(&message(100));
        assert!(
            matches!(framer.next_frame(), Ok(Some(Frame::Message(_)))) && framer.next_frame() == Ok(None)
        );
        assert_eq!(
            (framer.is_within_message(), framer.held_bytes()),
            (false, 0),
            "nothing is kept for the next"
        );
    }

    #[test]
    fn odd_but_clear_lengths() {
        for good in [
            "A\r\nX: folded\r\n Content-Length: 9\r\nCONTENT-LENGTH :\r\n  3\r\n\r\nabc",
            "A\r\nl:3\r\n\r\nabc",
            "A\nl: 3\n\nabc",
        ] {
            let mut framer = Framer::default();
            framer.push(good.as_bytes());
            assert_eq!(framer.next_frame(), Ok(Some(Frame::Message(good.into()))), "{good}");
            assert_eq!(framer.next_frame(), Ok(None));
        }
    }

    /// A flood of line ends, and one long message a byte at a time: both were once quadratic.
    #[test]
    fn small_pieces_cost_no_more_than_large_ones() {
        let mut framer = Framer::default();
        let mut pings = 0;
        framer.push(&b"\r\n".repeat(200_000));
        while let Ok(Some(Frame::Ping)) = framer.next_frame() {
            pings += 1;
        }
        assert_eq!(pings, 100_000);
        let padding = "X: 1\r\n".repeat(5_000);
        let message = format!("A\r\n{padding}l: 30000\r\n\r\n{}", "b".repeat(30_000));
        let mut got = None;
        for byte in message.as_bytes() {
            framer.push(&[*byte]);
            got = got.or(framer.next_frame().expect("a good stream"));
        }
        assert_eq!(got, Some(Frame::Message(message.into())));
    }

    proptest::proptest! {
        #[test]
        fn no_stream_makes_it_panic(parts in proptest::collection::vec("[A\r\nl: 0-3]{0,12}", 0..20)) {
            let mut framer = Framer::default();
            'stream: for part in parts {
                framer.push(part.as_bytes());
                loop {
                    match framer.next_frame() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'stream,
                    }
                }
            }
        }
    }
}
