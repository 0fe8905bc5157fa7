//! Header names: the ones that we look at, and all others as they came.

macro_rules! names {
    ($($variant:ident, $text:literal $(, $compact:literal)?;)*) => {
        /// A name that we look at, in the one byte that the index of a message keeps of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Known {
            $($variant,)*
        }

        impl Known {
            pub fn parse(text: &str) -> Option<Known> {
                Known::read(text.as_bytes())
            }
            pub(super) fn read(name: &[u8]) -> Option<Known> {
                $(if name.eq_ignore_ascii_case($text.as_bytes())
                    $(|| name.eq_ignore_ascii_case($compact.as_bytes()))?
                {
                    return Some(Known::$variant);
                })*
                None
            }
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Known::$variant => $text,)*
                }
            }
            /// How many there are.
            pub(super) const COUNT: usize = [$(Known::$variant,)*].len();

            /// Its place in a set of names.
            pub(super) fn bit(self) -> u64 {
                1 << self as u32
            }
        }

        const _: () = assert!(Known::COUNT <= 64, "each name has a bit");

        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Name {
            $($variant,)*
            /// Lower-case.
            Other(String),
        }

        impl Name {
            pub fn parse(text: &str) -> Name {
                match Known::parse(text) {
                    $(Some(Known::$variant) => Name::$variant,)*
                    None => Name::Other(text.to_ascii_lowercase()),
                }
            }
            pub(super) fn known(&self) -> Option<Known> {
                match self {
                    $(Name::$variant => Some(Known::$variant),)*
                    Name::Other(_) => None,
                }
            }
            pub fn as_str(&self) -> &str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other(text) => text,
                }
            }
        }
    };
}

/// The name of a header line where it stands: no text is copied to ask what it is.
#[derive(Clone, Copy, Debug)]
pub enum NameRef<'a> {
    Known(Known),
    /// As it was written, in any case.
    Other(&'a str),
}

impl<'a> NameRef<'a> {
    pub fn parse(text: &'a str) -> NameRef<'a> {
        Known::parse(text).map_or(NameRef::Other(text), NameRef::Known)
    }
    pub fn as_str(self) -> &'a str {
        match self {
            NameRef::Known(known) => known.as_str(),
            NameRef::Other(text) => text,
        }
    }
}

names! {
    Via, "Via", "v";
    From, "From", "f";
    To, "To", "t";
    CallId, "Call-ID", "i";
    CSeq, "CSeq";
    MaxForwards, "Max-Forwards";
    Contact, "Contact", "m";
    Route, "Route";
    RecordRoute, "Record-Route";
    ContentLength, "Content-Length", "l";
    ContentType, "Content-Type", "c";
    Expires, "Expires";
    Authorization, "Authorization";
    ProxyAuthorization, "Proxy-Authorization";
    WwwAuthenticate, "WWW-Authenticate";
    ProxyAuthenticate, "Proxy-Authenticate";
    Supported, "Supported", "k";
    Require, "Require";
    ProxyRequire, "Proxy-Require";
    Path, "Path";
    Reason, "Reason";
    RetryAfter, "Retry-After";
    Event, "Event", "o";
    Subject, "Subject", "s";
    ReferTo, "Refer-To", "r";
    UserAgent, "User-Agent";
    Allow, "Allow";
    AllowEvents, "Allow-Events", "u";
    Accept, "Accept";
    ContentEncoding, "Content-Encoding", "e";
    Date, "Date";
    MinExpires, "Min-Expires";
    MinSe, "Min-SE";
    ReferredBy, "Referred-By", "b";
    Replaces, "Replaces";
    Server, "Server";
    SessionExpires, "Session-Expires", "x";
    Timestamp, "Timestamp";
    Unsupported, "Unsupported";
}
