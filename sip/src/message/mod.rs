//! SIP messages: one scan finds the lines, bytes stay exactly as they came, headers are typed when asked for.
//!
//! A proxy touches few headers of a message and forwards the rest. So a [`Message`] is the received bytes and an index of
//! lines, shared by all its clones; [`Editor`] copies them with a few lines changed, and [`ResponseBuilder`] answers
//! with the lines that RFC 3261 §8.2.6.2 wants verbatim. What we write is indexed while it is written. Compact header
//! forms are known (§7.3.3), folded lines are unfolded in place with spaces (§7.3.1), unknown methods and headers pass
//! (§7.1).

mod build;
mod edit;
pub(crate) mod grammar;
mod marks;
mod name;
pub(crate) mod parse;
mod raw;
pub mod tally;
pub(crate) mod text;
pub mod values;
mod write;

pub(crate) use build::Reply;
pub use build::{RequestBuilder, ResponseBuilder, stamp_via};
pub use edit::Editor;
pub use name::{Known, Name, NameRef};
pub use parse::{ParseError, Unreadable};
pub use values::{NameAddr, Values, Via};

use crate::limits::HEADERS_MAX;
use marks::Marks;
use raw::Raw;
use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

/// A whole, well-formed message. A clone is one more pointer to it.
#[derive(Clone, Debug)]
pub struct Message(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    raw: Raw,
    start: StartLine,
    /// Where the start line ends, without its line end.
    start_end: usize,
    lines: Vec<Line>,
    /// Where the first of each known name stands: most of what is asked for is not there, or is the first.
    firsts: Firsts,
    /// Values as text whose bytes are not UTF-8 (some phones write Latin-1 names), by where they start. Their bytes
    /// pass unchanged.
    lossy: Vec<(u32, Box<str>)>,
    body: Range<usize>,
    marks: OnceLock<Marks>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum StartLine {
    Request { method: Range<usize>, uri: Range<usize> },
    Response { status: u16, reason: Range<usize> },
}

/// Where one header line stands, in 24 bytes. Offsets are of a datagram or of what we made of one, so 32 bits are plenty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    known: Option<Known>,
    /// The whole line without its line end.
    start: u32,
    end: u32,
    name_end: u32,
    value_start: u32,
    value_end: u32,
}

impl Line {
    fn new(known: Option<Known>, whole: Range<usize>, name_end: usize, value: Range<usize>) -> Line {
        Line {
            known,
            start: whole.start as u32,
            end: whole.end as u32,
            name_end: name_end as u32,
            value_start: value.start as u32,
            value_end: value.end as u32,
        }
    }
    /// The same line, copied to begin at `to`.
    fn moved(&self, to: usize) -> Line {
        let at = |old: u32| old - self.start + to as u32;
        Line {
            known: self.known,
            start: to as u32,
            end: at(self.end),
            name_end: at(self.name_end),
            value_start: at(self.value_start),
            value_end: at(self.value_end),
        }
    }
    fn whole(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
    fn value(&self) -> Range<usize> {
        self.value_start as usize..self.value_end as usize
    }
}

/// Marks that only one of two has found are no difference.
#[cfg(test)]
impl PartialEq for Inner {
    fn eq(&self, other: &Inner) -> bool {
        let marks = self.marks.get().zip(other.marks.get());
        let bytes = |inner: &Inner| (inner.raw.to_vec(), inner.start_end, inner.body.clone());
        bytes(self) == bytes(other)
            && self.start == other.start
            && self.lines == other.lines
            && self.firsts == other.firsts
            && self.lossy == other.lossy
            && marks.is_none_or(|(one, other)| one == other)
    }
}

/// For each known name the first line that may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Firsts([u8; Known::COUNT]);

impl Firsts {
    const NOWHERE: u8 = u8::MAX;

    fn in_lines(lines: &[Line]) -> Firsts {
        let mut firsts = [Firsts::NOWHERE; Known::COUNT];
        for (at, line) in lines.iter().enumerate() {
            if let Some(first) = line.known.and_then(|known| firsts.get_mut(known as usize))
                && *first == Firsts::NOWHERE
            {
                // Whoever sends as many lines as are taken has the last ones looked through.
                *first = at.min(usize::from(Firsts::NOWHERE) - 1) as u8;
            }
        }
        Firsts(firsts)
    }

    fn of(&self, known: Known) -> usize {
        match self.0.get(known as usize) {
            Some(first) if *first != Firsts::NOWHERE => usize::from(*first),
            _ => HEADERS_MAX,
        }
    }
}

impl Inner {
    fn lossy_of(&self, line: &Line) -> Option<&str> {
        self.lossy.iter().find(|(at, _)| *at == line.value_start).map(|(_, text)| &**text)
    }
}

impl Message {
    pub fn is_request(&self) -> bool {
        matches!(self.0.start, StartLine::Request { .. })
    }
    /// The method of a request, of a response the one in CSeq.
    pub fn method(&self) -> &str {
        match &self.0.start {
            StartLine::Request { method, .. } => self.text(method),
            StartLine::Response { .. } => self.cseq().map(|(_, m)| m).unwrap_or_default(),
        }
    }
    /// The Request-URI.
    pub fn uri(&self) -> Option<&str> {
        match &self.0.start {
            StartLine::Request { uri, .. } => Some(self.text(uri)),
            StartLine::Response { .. } => None,
        }
    }
    pub fn status(&self) -> Option<u16> {
        match self.0.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }
    pub fn reason(&self) -> &str {
        match &self.0.start {
            StartLine::Response { reason, .. } => self.text(reason),
            StartLine::Request { .. } => "",
        }
    }
    pub fn raw(&self) -> &[u8] {
        &self.0.raw
    }
    /// What it takes of memory: buffer and index, with the room that they have to grow.
    pub fn held_bytes(&self) -> usize {
        let Inner { raw, lines, lossy, .. } = &*self.0;
        let texts: usize = lossy.iter().map(|(_, text)| size_of::<(u32, Box<str>)>() + text.len()).sum();
        // Beside the counts of its clones.
        size_of::<Inner>()
            + 2 * size_of::<usize>()
            + raw.capacity()
            + lines.capacity() * size_of::<Line>()
            + texts
    }
    /// The bytes, without a copy where nobody else has the message.
    pub fn into_bytes(self) -> Vec<u8> {
        Arc::try_unwrap(self.0).map_or_else(
            |shared| {
                tally::count(|tally| tally.copied += 1);
                shared.raw.to_vec()
            },
            |inner| inner.raw.into_bytes(),
        )
    }
    pub fn body(&self) -> &[u8] {
        self.0.raw.get(self.0.body.clone()).unwrap_or_default()
    }

    /// The names of all header lines, in their order.
    pub fn names(&self) -> impl Iterator<Item = NameRef<'_>> {
        self.0.lines.iter().map(|line| self.name_of(line))
    }
    /// The value of the first line of that name.
    pub fn header(&self, name: &Name) -> Option<&str> {
        self.lines_of(name).next().map(|(_, line)| self.value(line))
    }
    /// The values of all lines of that name, unsplit.
    pub fn header_lines<'a>(&'a self, name: &Name) -> impl Iterator<Item = &'a str> {
        self.lines_of(name).map(|(_, line)| self.value(line))
    }
    /// The single values of a list header (§7.3.1: lines and commas mean the same).
    pub fn values<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a str> {
        self.header_lines(name).flat_map(Values::new)
    }

    pub fn call_id(&self) -> Option<&str> {
        self.header(&Name::CallId)
    }
    pub fn max_forwards(&self) -> Option<u32> {
        u32::try_from(grammar::digits(self.header(&Name::MaxForwards)?)?).ok()
    }

    fn marks(&self) -> &Marks {
        self.0.marks.get_or_init(|| Marks::of(self))
    }

    fn lines_of<'a>(&'a self, name: &Name) -> impl Iterator<Item = (usize, &'a Line)> {
        let known = name.known();
        let first = known.map_or(0, |known| self.0.firsts.of(known));
        self.0.lines.iter().enumerate().skip(first).filter(move |(_, line)| {
            line.known == known && (known.is_some() || self.is_named(line, name.as_str()))
        })
    }
    fn is_named(&self, line: &Line, name: &str) -> bool {
        let written = self.0.raw.get(line.start as usize..line.name_end as usize);
        written.is_some_and(|written| written.eq_ignore_ascii_case(name.as_bytes()))
    }
    fn name_of(&self, line: &Line) -> NameRef<'_> {
        match line.known {
            Some(known) => NameRef::Known(known),
            None => NameRef::Other(self.text(&(line.start as usize..line.name_end as usize))),
        }
    }
    fn value<'a>(&'a self, line: &Line) -> &'a str {
        self.0.lossy_of(line).or_else(|| self.0.raw.text(line.value())).unwrap_or_default()
    }
    /// The exact bytes of the value of the first line of that name, which need not be UTF-8.
    pub fn header_bytes(&self, name: &Name) -> Option<&[u8]> {
        self.value_bytes(name).next()
    }
    /// The words before the address of the first From, To or the like of that name, in their exact bytes; none where the
    /// value cannot be read.
    pub fn words(&self, name: &Name) -> &[u8] {
        let is_readable = self.header(name).and_then(NameAddr::parse).is_some();
        let value = self.header_bytes(name).filter(|_| is_readable).unwrap_or_default();
        let end = grammar::find_outside_bytes(value, b'<').unwrap_or_default();
        value.get(..end).unwrap_or_default().trim_ascii()
    }
    /// The exact bytes of all values of that name, one per line.
    fn value_bytes<'a>(&'a self, name: &Name) -> impl Iterator<Item = &'a [u8]> {
        self.lines_of(name).map(|(_, line)| self.0.raw.get(line.value()).unwrap_or_default())
    }
    fn text(&self, range: &Range<usize>) -> &str {
        // A reason phrase that is not UTF-8 reads as nothing; its bytes still pass.
        self.0.raw.text(range.clone()).unwrap_or_default()
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

    #[test]
    fn a_name_in_latin_1_keeps_its_bytes_where_only_the_uri_changes() {
        let text = INVITE.replace("f: \"A <b>, c\"", "f: \"J@rg\"");
        let mut raw = text.clone().into_bytes();
        raw[text.find("J@rg").expect("there") + 1] = 0xf6;
        let m = Message::parse(raw).expect("a message");
        assert!(m.header(&Name::From).expect("a From").contains('\u{fffd}'));
        let moved = Editor::new(&m).set_address(&Name::From, "sip:x@y").finish();
        let wanted = b"\r\nFrom: \"J\xf6rg\" <sip:x@y>;tag=1\r\n".as_slice();
        assert!(memchr::memmem::find(moved.raw(), wanted).is_some());
        let back = Editor::new(&moved).set_as_in(&Name::From, &m).finish();
        let wanted = b"\r\nFrom: \"J\xf6rg\" <sip:alice@a.test>;tag=1\r\n".as_slice();
        assert!(memchr::memmem::find(back.raw(), wanted).is_some());
        assert_eq!(back.header(&Name::From), m.header(&Name::From));
    }

    #[test]
    fn a_stamp_stays_in_its_place_and_a_clone_shares_the_bytes() {
        let m = Message::parse(INVITE.into()).expect("a message");
        let stamped = m.clone().stamped("192.0.2.1:9".parse().expect("an address"));
        let vias: Vec<_> = stamped.values(&Name::Via).collect();
        let top = "SIP/2.0/UDP [2001:db8::9]:5061;branch=z9hG4bKx;received=192.0.2.1;rport=9";
        assert_eq!(vias, [top, "SIP/2.0/TCP h;branch=2"]);
        assert!(std::ptr::eq(m.raw(), m.clone().raw()));
    }

    /// Whatever is moved by it is found where it is then, and read as it was.
    #[test]
    fn a_stamp_moves_what_stands_behind_it_also_where_not_all_is_text() {
        let stamp = ";received=192.0.2.1;rport=9";
        for (via, first) in
            [("x=J@rg, SIP/2.0/TCP h;branch=2", "x=J\u{fffd}rg"), ("rport, SIP/2.0/TCP h;x=J@rg", "")]
        {
            let text = INVITE
                .replace("rport, SIP/2.0/TCP h;branch=2", via)
                .replace("f: \"A <b>, c\"", "f: \"J@rg\"");
            // Only the two names are Latin-1.
            let raw: Vec<u8> =
                text.replace("J@rg", "J\u{1}rg").bytes().map(|b| if b == 1 { 0xf6 } else { b }).collect();
            let m = Message::parse(raw).expect("a message");
            let (before, source) = (m.clone(), "192.0.2.1:9".parse().expect("an address"));
            let stamped = m.stamped(source);
            let read = Message::parse(stamped.raw().to_vec()).expect("a message");
            assert_eq!(*stamped.0, *read.0, "the index is what reading gives");
            let top = stamped.values(&Name::Via).next().expect("a Via").to_owned();
            assert!(top.ends_with(stamp) && top.contains(first), "{top}");
            assert_eq!(stamped.values(&Name::Via).count(), 2);
            assert_eq!(stamped.header(&Name::From), before.header(&Name::From));
            assert_eq!((stamped.body(), stamped.uri()), (before.body(), before.uri()));
        }
    }

    #[test]
    fn the_last_of_as_many_lines_as_are_taken_is_found() {
        let many: String = (0..HEADERS_MAX - 6).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let text = format!(
            "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n{many}Contact: <sip:a@h>\r\n\r\n"
        );
        let m = Message::parse(text.into_bytes()).expect("a message");
        assert_eq!(m.names().count(), HEADERS_MAX);
        assert_eq!(m.header(&Name::Contact), Some("<sip:a@h>"));
        assert_eq!((m.header(&Name::Route), m.header(&Name::CSeq)), (None, Some("1 OPTIONS")));
    }

    #[test]
    fn what_strangers_put_into_the_request_line_is_judged() {
        let m = Message::parse(INVITE.into()).expect("a message");
        let with = |uri: &str| Editor::new(&m).set_uri(uri).finish().checked().map(|_| ());
        assert_eq!(with("sip:x@y"), Ok(()));
        for bad in ["", "sip:x@y z", "sip:x@y?a=b", "<sip:x@y>", "x"] {
            assert_eq!(with(bad), Err(ParseError::StartLine), "{bad}");
        }
        let headless = Editor::new(&m).remove(&Name::From).finish();
        assert_eq!(headless.checked().map(|_| ()), Err(ParseError::Mandatory));
    }

    /// Every kind of change.
    fn change(edit: &mut Editor<'_>, kind: u8, name: &Name, value: &str) {
        match kind {
            0 => edit.prepend(name, value),
            1 => edit.append(name, value),
            2 => edit.set(name, value),
            3 => edit.remove(name),
            4 => edit.remove_first_values(name, value.len() % 3),
            5 => edit.set_values(name, &[value.to_owned(), value.to_owned()]),
            6 => edit.set_address(name, "sip:n@h"),
            7 => edit.set_first_value(name, value),
            _ => edit.set_uri("sip:other@host"),
        };
    }

    const NAMES: [Name; 6] =
        [Name::Via, Name::From, Name::Contact, Name::CSeq, Name::ContentLength, Name::Route];

    proptest::proptest! {
        #[test]
        fn what_is_indexed_while_written_is_what_is_read(
            changes in proptest::collection::vec((0u8..9, 0usize..8, "[ -~äö\r\n]{0,20}"), 0..8),
            latin in proptest::bool::ANY,
        ) {
            let mut raw = INVITE.as_bytes().to_vec();
            if latin { let at = raw.len() - 60; raw[at] = 0xe4; }
            let Ok(m) = Message::parse_lenient(raw) else { return Ok(()) };
            let mut edit = Editor::new(&m);
            let other = Name::Other("x-odd".to_owned());
            for (kind, name, value) in &changes {
                change(&mut edit, *kind, NAMES.get(*name).unwrap_or(&other), value);
            }
            let written = edit.finish();
            let read = Message::parse_lenient(edit.build()).expect("a message");
            proptest::prop_assert_eq!(&*written.0, &*read.0);
        }
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
