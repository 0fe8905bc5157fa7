//! Which headers cross the border, by name (BORD-1). Everything else is taken off, in requests and responses, in both directions.
//!
//! A deny-list is always behind: `Alert-Info` with an auto-answer, `Call-Info` with `answer-after=0`, `Answer-Mode: Auto` and
//! `P-Auto-Answer` open the microphone of many desk phones; URLs in Alert-Info, Call-Info and Error-Info are fetched by them,
//! which tells a stranger their address; P-Asserted-Identity, Remote-Party-ID, Diversion, History-Info and Identity are shown
//! as if somebody had proved them. Challenges and credentials are on no list either: between peers a caller is known by his
//! grant, and a callee that may challenge collects answers to guess passwords from.
//!
//! On the list is what a call, a text, a subscription or a transfer needs end to end.

use crate::message::{Editor, Known, NameRef};

/// May a header of this name cross? No arm for "the rest": who adds a name that we look at has to say here whether it crosses.
fn known_may_cross(name: Known) -> bool {
    use Known as K;
    match name {
        // Who, what, which way (RFC 3261 §8.1.1, §16).
        K::Via | K::From | K::To | K::CallId | K::CSeq | K::MaxForwards => true,
        K::Contact | K::RecordRoute | K::Route => true,
        // The body.
        K::ContentType | K::ContentLength | K::ContentEncoding => true,
        // What the other side can do.
        K::Supported | K::Require | K::ProxyRequire | K::Unsupported => true,
        K::Allow | K::AllowEvents | K::Accept | K::UserAgent | K::Server => true,
        // Words for people.
        K::Subject | K::Date | K::Reason | K::RetryAfter | K::Timestamp => true,
        // Subscriptions and publications (RFC 6665, RFC 3903).
        K::Event | K::Expires | K::MinExpires => true,
        // Transfer (RFC 3515, RFC 3891, RFC 3892).
        K::ReferTo | K::ReferredBy | K::Replaces => true,
        // Session timers (RFC 4028).
        K::SessionExpires | K::MinSe => true,
        // Where phones of ours are (RFC 3327).
        K::Path => false,
        K::Authorization | K::ProxyAuthorization | K::WwwAuthenticate | K::ProxyAuthenticate => false,
    }
}

/// Names that cross and that nothing else here looks at: in lower case and in order, to be found by halving.
const OTHERS: [&str; 26] = [
    "accept-encoding",
    "accept-language",
    "content-disposition",
    "content-id",
    "content-language",
    "content-transfer-encoding",
    "in-reply-to",
    // INFO packages (RFC 6086).
    "info-package",
    // RFC 3911.
    "join",
    // RFC 5393.
    "max-breadth",
    "mime-version",
    "organization",
    // Early media of gateways is announced by it (RFC 5009): it changes what is heard, not who is believed.
    "p-early-media",
    "priority",
    "privacy",
    // Reliable provisionals (RFC 3262), with RSeq.
    "rack",
    "recv-info",
    // RFC 4488.
    "refer-sub",
    "rseq",
    // One name for a call across all that handles it (RFC 7989).
    "session-id",
    // Publications (RFC 3903).
    "sip-etag",
    "sip-if-match",
    "subscription-state",
    // RFC 5839.
    "suppress-if-match",
    // RFC 4538.
    "target-dialog",
    "warning",
];

/// May a header of this name cross?
pub fn may_cross(name: NameRef<'_>) -> bool {
    match name {
        NameRef::Known(known) => known_may_cross(known),
        NameRef::Other(text) => {
            let in_lower_case = || text.bytes().map(|b| b.to_ascii_lowercase());
            OTHERS.binary_search_by(|other| other.bytes().cmp(in_lower_case())).is_ok()
        }
    }
}

/// Takes off what may not cross.
pub fn filter(edit: &mut Editor<'_>) {
    edit.retain_names(may_cross);
}

/// Warning (RFC 3261 §20.43) with `own_host` in the place of whoever warned, whose address that would be.
pub fn warning(value: &str, own_host: &str) -> String {
    let one = |value: &str| {
        let mut words = value.trim().splitn(3, ' ');
        let (code, _agent, text) = (words.next()?, words.next()?, words.next()?.trim());
        let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
        let is_text = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
        (is_code && is_text).then(|| format!("{code} {own_host} {text}"))
    };
    one(value).unwrap_or_else(|| format!("399 {own_host} \"Miscellaneous warning\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_could_do_harm_with_does_not_cross() {
        for name in [
            "Alert-Info",
            "Call-Info",
            "Error-Info",
            "Answer-Mode",
            "Priv-Answer-Mode",
            "P-Auto-Answer",
            "P-Asserted-Identity",
            "P-Preferred-Identity",
            "Remote-Party-ID",
            "Identity",
            "y",
            "Identity-Info",
            "Diversion",
            "History-Info",
            "P-Called-Party-ID",
            "P-Charging-Vector",
            "Reply-To",
            "Geolocation",
            "WWW-Authenticate",
            "Proxy-Authenticate",
            "Authorization",
            "Proxy-Authorization",
            "Authentication-Info",
            "Path",
            "Service-Route",
            "X-Anything",
            "Request-Disposition",
            "P-Associated-URI",
        ] {
            assert!(!may_cross(NameRef::parse(name)), "{name}");
        }
        for name in [
            "Via",
            "v",
            "Contact",
            "m",
            "Refer-To",
            "r",
            "REPLACES",
            "x",
            "Session-Expires",
            "o",
            "Subject",
            "RSeq",
            "Warning",
        ] {
            assert!(may_cross(NameRef::parse(name)), "{name}");
        }
    }

    /// Every name of the table is found, however it is written; its neighbours are not.
    #[test]
    fn other_names_are_found_by_halving() {
        assert!(OTHERS.is_sorted());
        for name in OTHERS {
            let odd: String = name
                .char_indices()
                .map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c })
                .collect();
            for written in [name, &name.to_ascii_uppercase(), &odd] {
                assert!(matches!(NameRef::parse(written), NameRef::Other(_)), "{name} is in the other table");
                assert!(may_cross(NameRef::parse(written)), "{written}");
            }
            for near in [
                format!("{name}x"),
                format!("x{name}"),
                name[1..].to_owned(),
                name[..name.len() - 1].to_owned(),
            ] {
                assert!(!may_cross(NameRef::parse(&near)), "{near}");
            }
        }
        assert!(!may_cross(NameRef::parse("")));
    }

    #[test]
    fn a_warning_names_no_host_of_ours() {
        for (value, expected) in [
            ("399 192.168.1.20:5060 \"no, sorry\"", "399 p1.peer.dots \"no, sorry\""),
            ("301 phone.lan \"a b\"", "301 p1.peer.dots \"a b\""),
            ("399 192.168.1.20 open\"", "399 p1.peer.dots \"Miscellaneous warning\""),
            ("192.168.1.20", "399 p1.peer.dots \"Miscellaneous warning\""),
            ("", "399 p1.peer.dots \"Miscellaneous warning\""),
        ] {
            assert_eq!(warning(value, "p1.peer.dots"), expected, "{value}");
        }
    }
}
