//! SIP messages: one scan finds the lines, bytes stay exactly as they came, headers are typed when asked for.
//!
//! A proxy touches few headers of a message and forwards the rest. So a [`Message`] owns the received bytes and an index
//! of lines; [`Editor`] copies them with a few lines changed, and [`ResponseBuilder`] answers with the lines that
//! RFC 3261 §8.2.6.2 wants verbatim. Compact header forms are known (§7.3.3), folded lines are unfolded in place with
//! spaces (§7.3.1), unknown methods and headers pass (§7.1).

mod build;
mod edit;
mod name;
pub(crate) mod parse;
pub mod values;

pub use build::{RequestBuilder, ResponseBuilder, stamp_via};
pub use edit::Editor;
pub use name::Name;
pub use parse::ParseError;
pub use values::{NameAddr, Values, Via};

use std::ops::Range;

/// A whole, well-formed message.
#[derive(Clone, Debug)]
pub struct Message {
    raw: Vec<u8>,
    start: StartLine,
    /// Where the start line ends, without its line end.
    start_end: usize,
    lines: Vec<Line>,
    body: Range<usize>,
}

#[derive(Clone, Debug)]
enum StartLine {
    Request { method: Range<usize>, uri: Range<usize> },
    Response { status: u16, reason: Range<usize> },
}

#[derive(Clone, Debug)]
struct Line {
    name: Name,
    /// The whole line without its line end.
    whole: Range<usize>,
    value: Range<usize>,
    /// The value as text where its bytes are not UTF-8 (some phones write Latin-1 names); the bytes pass unchanged.
    lossy: Option<Box<str>>,
}

impl Message {
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }
    /// The method of a request, of a response the one in CSeq.
    pub fn method(&self) -> &str {
        match &self.start {
            StartLine::Request { method, .. } => self.text(method),
            StartLine::Response { .. } => self.cseq().map(|(_, m)| m).unwrap_or_default(),
        }
    }
    /// The Request-URI.
    pub fn uri(&self) -> Option<&str> {
        match &self.start {
            StartLine::Request { uri, .. } => Some(self.text(uri)),
            StartLine::Response { .. } => None,
        }
    }
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }
    pub fn reason(&self) -> &str {
        match &self.start {
            StartLine::Response { reason, .. } => self.text(reason),
            StartLine::Request { .. } => "",
        }
    }
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
    pub fn body(&self) -> &[u8] {
        self.raw.get(self.body.clone()).unwrap_or_default()
    }

    /// The names of all header lines, in their order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.lines.iter().map(|line| &line.name)
    }
    /// The value of the first line of that name.
    pub fn header(&self, name: &Name) -> Option<&str> {
        self.lines.iter().find(|l| l.name == *name).map(|l| self.value(l))
    }
    /// The values of all lines of that name, unsplit.
    pub fn header_lines<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter(move |l| l.name == *name).map(|l| self.value(l))
    }
    /// The single values of a list header (§7.3.1: lines and commas mean the same).
    pub fn values<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a str> {
        self.header_lines(name).flat_map(Values::new)
    }

    pub fn call_id(&self) -> Option<&str> {
        self.header(&Name::CallId)
    }
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let mut parts = self.header(&Name::CSeq)?.split_ascii_whitespace();
        let number = parse::digits(parts.next()?).and_then(|n| u32::try_from(n).ok());
        let method = parts.next().filter(|m| parse::is_token(m))?;
        // §8.1.1.5: less than 2^31.
        let number = number.filter(|n| *n < 1 << 31 && parts.next().is_none())?;
        Some((number, method))
    }
    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(&Name::From)?)
    }
    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(&Name::To)?)
    }
    /// The topmost Via.
    pub fn via(&self) -> Option<Via<'_>> {
        Via::parse(self.values(&Name::Via).next()?)
    }
    pub fn max_forwards(&self) -> Option<u32> {
        u32::try_from(parse::digits(self.header(&Name::MaxForwards)?)?).ok()
    }

    fn value<'a>(&'a self, line: &'a Line) -> &'a str {
        line.lossy.as_deref().unwrap_or_else(|| self.text(&line.value))
    }
    /// The exact bytes of all values of that name, one per line.
    fn value_bytes<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.lines.iter().filter(move |l| l.name == *name);
        lines.map(|l| self.raw.get(l.value.clone()).unwrap_or_default())
    }
    fn text(&self, range: &Range<usize>) -> &str {
        // A reason phrase that is not UTF-8 reads as nothing; its bytes still pass.
        self.raw.get(range.clone()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@b.test SIP/2.0\r\nv: SIP/2.0/UDP [2001:db8::9]:5061;branch=z9hG4bKx;rport, SIP/2.0/TCP h;branch=2\r\n\
        Max-Forwards: 70\r\nf: \"A <b>, c\" <sip:alice@a.test>;tag=1\r\nTo: <sip:bob@b.test>\r\ni: id@h\r\nCSeq: 7\r\n  INVITE\r\n\
        X-Odd: \"a,b\"\r\nm: <sip:a@h>;+sip.instance=\"<urn:uuid:1>\", sip:b@h;q=0.5\r\nContent-Length: 2\r\n\r\nhiDROPPED";

    #[test]
    fn reads_what_phones_write() {
        let m = Message::parse(INVITE.into()).expect("a message");
        assert_eq!((m.method(), m.uri()), ("INVITE", Some("sip:bob@b.test")));
        let via = m.via().expect("a Via");
        assert_eq!((via.host(), via.port(), via.branch()), ("[2001:db8::9]", Some(5061), Some("z9hG4bKx")));
        assert_eq!(m.values(&Name::Via).count(), 2);
        assert_eq!(m.cseq(), Some((7, "INVITE")));
        let from = m.from().expect("a From");
        assert_eq!((from.display(), from.uri(), from.tag()), ("\"A <b>, c\"", "sip:alice@a.test", Some("1")));
        let contacts: Vec<_> = m.values(&Name::Contact).filter_map(NameAddr::parse).collect();
        assert_eq!(contacts.first().and_then(|c| c.param("+sip.instance")), Some("<urn:uuid:1>"));
        assert_eq!(contacts.get(1).and_then(|c| c.param("q")), Some("0.5"));
        assert_eq!(m.body(), b"hi");
    }

    #[test]
    fn edits_touch_only_what_they_name() {
        let m = Message::parse(INVITE.into()).expect("a message");
        let bytes = Editor::new(&m)
            .set_uri("sip:x@y")
            .remove_first_values(&Name::Via, 1)
            .prepend(&Name::Via, "SIP/2.0/UDP me")
            .build();
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.starts_with("INVITE sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP me\r\nVia: SIP/2.0/TCP h;branch=2\r\nMax-Forwards: 70\r\nf: \"A"));
        assert!(text.ends_with("X-Odd: \"a,b\"\r\nm: <sip:a@h>;+sip.instance=\"<urn:uuid:1>\", sip:b@h;q=0.5\r\nContent-Length: 2\r\n\r\nhi"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0u8..=255, 0..400)) {
            let _ = Message::parse(bytes);
        }
        #[test]
        fn no_broken_message_makes_it_panic(at in 0usize..400, byte in 0u8..=255) {
            let mut raw = INVITE.as_bytes().to_vec();
            if let Some(b) = raw.get_mut(at) { *b = byte; }
            if let Ok(m) = Message::parse(raw) {
                let _ = (m.via(), m.from(), m.to(), m.cseq(), m.values(&Name::Contact).filter_map(NameAddr::parse).count());
                let again = Message::parse(Editor::new(&m).build()).expect("what was read is written readable");
                proptest::prop_assert_eq!(again.body(), m.body());
            }
        }
    }
}
