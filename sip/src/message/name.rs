//! Header names: the ones that we look at, and all others as they came.

macro_rules! names {
    ($($variant:ident, $text:literal $(, $compact:literal)?;)*) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Name {
            $($variant,)*
            /// Lower-case.
            Other(String),
        }

        impl Name {
            pub fn parse(text: &str) -> Name {
                $(if text.eq_ignore_ascii_case($text) $(|| text.eq_ignore_ascii_case($compact))? {
                    return Name::$variant;
                })*
                Name::Other(text.to_ascii_lowercase())
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
