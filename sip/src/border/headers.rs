//! Which headers cross the border, by name (BORD-1). Everything else is taken off, in requests and responses, in both directions.
//!
//! A deny-list is always behind: `Alert-Info` with an auto-answer, `Call-Info` with `answer-after=0`, `Answer-Mode: Auto` and
//! `P-Auto-Answer` open the microphone of many desk phones; URLs in Alert-Info, Call-Info and Error-Info are fetched by them,
//! which tells a stranger their address; P-Asserted-Identity, Remote-Party-ID, Diversion, History-Info and Identity are shown
//! as if somebody had proved them. Challenges and credentials are on no list either: between peers a caller is known by his
//! grant, and a callee that may challenge collects answers to guess passwords from.
//!
//! On the list is what a call, a text, a subscription or a transfer needs end to end.

use crate::message::{Editor, Name};

/// In lower case, by what they are for.
const ALLOWED: &[&str] = &[
    // Who, what, which way (RFC 3261 §8.1.1, §16).
    "via",
    "from",
    "to",
    "call-id",
    "cseq",
    "max-forwards",
    "max-breadth",
    "contact",
    "record-route",
    "route",
    // The body.
    "content-type",
    "content-length",
    "content-encoding",
    "content-language",
    "content-disposition",
    "content-id",
    "content-transfer-encoding",
    "mime-version",
    // What the other side can do.
    "supported",
    "require",
    "proxy-require",
    "unsupported",
    "allow",
    "allow-events",
    "accept",
    "accept-encoding",
    "accept-language",
    "user-agent",
    "server",
    // Words for people.
    "subject",
    "date",
    "organization",
    "priority",
    "reason",
    "warning",
    "retry-after",
    "timestamp",
    "privacy",
    // Subscriptions and publications (RFC 6665, RFC 3903).
    "event",
    "subscription-state",
    "expires",
    "min-expires",
    "sip-etag",
    "sip-if-match",
    "suppress-if-match",
    // Transfer (RFC 3515, RFC 3891, RFC 3892, RFC 3911, RFC 4488, RFC 4538).
    "refer-to",
    "referred-by",
    "refer-sub",
    "replaces",
    "join",
    "target-dialog",
    "in-reply-to",
    // Reliable provisionals, session timers, INFO packages (RFC 3262, RFC 4028, RFC 6086), and one name for a call
    // across all that handles it (RFC 7989).
    "rseq",
    "rack",
    "session-expires",
    "min-se",
    "info-package",
    "recv-info",
    "session-id",
    // Early media of gateways is announced by it (RFC 5009): it changes what is heard, not who is believed.
    "p-early-media",
];

/// Challenges and credentials, which have rules of their own within one peer.
const DIGEST: [Name; 4] =
    [Name::Authorization, Name::ProxyAuthorization, Name::WwwAuthenticate, Name::ProxyAuthenticate];

/// May a header of this name cross?
pub fn may_cross(name: &Name) -> bool {
    ALLOWED.iter().any(|allowed| name.as_str().eq_ignore_ascii_case(allowed))
}

/// May it pass between accounts of two realms that this peer serves both? They are strangers to each other as well.
pub fn may_meet(name: &Name) -> bool {
    may_cross(name) || DIGEST.contains(name)
}

/// Takes off what may not pass.
pub fn filter(edit: &mut Editor<'_>, may_pass: fn(&Name) -> bool) {
    edit.retain_names(may_pass);
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
            assert!(!may_cross(&Name::parse(name)), "{name}");
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
            assert!(may_cross(&Name::parse(name)), "{name}");
        }
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
