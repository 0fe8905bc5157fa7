//! Where the parts of Via, From, To and CSeq stand that nearly every layer asks for: found once for each message, when somebody
//! first asks. A REGISTER is asked for its To eight times and for its Via ten; each was a reading of its own.
//!
//! Places are counted from the start of the value, so they hold when a line moves.

use super::{Message, Name, NameAddr, Via, grammar};

/// Where a part stands in a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `part` was cut from `whole`, or is a constant that is empty.
    fn of(part: &str, whole: &str) -> Span {
        if part.is_empty() {
            return Span::default();
        }
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        debug_assert_eq!(whole.get(start..start + part.len()), Some(part), "a part is cut from its value");
        Span { start: start as u32, end: (start + part.len()) as u32 }
    }
    fn over(self, whole: &str) -> &str {
        whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ViaMark {
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
    branch: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressMark {
    display: Span,
    uri: Span,
    params: Span,
    tag: Option<Span>,
}

/// What was found. `None`: not there, or not to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub via: Option<ViaMark>,
    from: Option<AddressMark>,
    to: Option<AddressMark>,
    cseq: Option<(u32, Span)>,
}

impl Marks {
    pub fn of(message: &Message) -> Marks {
        let address = |name: &Name| AddressMark::read(message.header(name)?);
        Marks {
            via: message.header(&Name::Via).and_then(ViaMark::read),
            from: address(&Name::From),
            to: address(&Name::To),
            cseq: message.header(&Name::CSeq).and_then(|text| {
                let (number, method) = read_cseq(text)?;
                Some((number, Span::of(method, text)))
            }),
        }
    }
}

/// RFC 3261 §8.1.1.5: less than 2^31.
fn read_cseq(text: &str) -> Option<(u32, &str)> {
    let mut parts = text.split_ascii_whitespace();
    let number = grammar::digits(parts.next()?).and_then(|n| u32::try_from(n).ok());
    let method = parts.next().filter(|m| grammar::is_token(m))?;
    let number = number.filter(|n| *n < 1 << 31 && parts.next().is_none())?;
    Some((number, method))
}

impl ViaMark {
    /// Of the first value in a line.
    pub fn read(line: &str) -> Option<ViaMark> {
        let via = Via::parse(super::Values::new(line).next()?)?;
        let at = |part: &str| Span::of(part, line);
        Some(ViaMark {
            transport: at(via.transport()),
            host: at(via.host()),
            port: via.port(),
            params: at(via.params()),
            branch: via.branch().map(at),
        })
    }
}

impl AddressMark {
    fn read(value: &str) -> Option<AddressMark> {
        let address = NameAddr::parse(value)?;
        let at = |part: &str| Span::of(part, value);
        Some(AddressMark {
            display: at(address.display()),
            uri: at(address.uri()),
            params: at(address.params()),
            tag: address.tag().map(at),
        })
    }
    fn over(self, value: &str) -> NameAddr<'_> {
        NameAddr::cut(self.display.over(value), self.uri.over(value), self.params.over(value))
    }
}

impl Message {
    fn marked_address(&self, name: &Name, mark: Option<AddressMark>) -> Option<(AddressMark, &str)> {
        Some((mark?, self.header(name)?))
    }
    pub fn from(&self) -> Option<NameAddr<'_>> {
        let (mark, value) = self.marked_address(&Name::From, self.marks().from)?;
        Some(mark.over(value))
    }
    pub fn from_tag(&self) -> Option<&str> {
        let (mark, value) = self.marked_address(&Name::From, self.marks().from)?;
        Some(mark.tag?.over(value))
    }
    pub fn to(&self) -> Option<NameAddr<'_>> {
        let (mark, value) = self.marked_address(&Name::To, self.marks().to)?;
        Some(mark.over(value))
    }
    pub fn to_tag(&self) -> Option<&str> {
        let (mark, value) = self.marked_address(&Name::To, self.marks().to)?;
        Some(mark.tag?.over(value))
    }
    /// The topmost Via.
    pub fn via(&self) -> Option<Via<'_>> {
        let mark = self.marks().via?;
        let line = self.header(&Name::Via)?;
        Some(Via::cut(mark.transport.over(line), (mark.host.over(line), mark.port), mark.params.over(line)))
    }
    /// The branch in the topmost Via.
    pub fn branch(&self) -> Option<&str> {
        let branch = self.marks().via?.branch?;
        Some(branch.over(self.header(&Name::Via)?))
    }
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.marks().cseq?;
        Some((number, method.over(self.header(&Name::CSeq)?)))
    }
}
