//! One name for all spellings of a Contact URI. RFC 3261 §19.1.4.
//!
//! Comparison itself is [`Uri::equals`]; here is what it has not: a text that is the same for URIs that differ only in
//! escapes, letter case and the order of parameters, to be hashed into the instance of a phone that names none.

use crate::uri::{Uri, unescape};

/// `None` if this is no SIP URI that could be reached.
pub(crate) fn normalised(uri: &str) -> Option<String> {
    let uri = Uri::parse(uri).ok()?;
    let lower = |text: &str| unescape(text).to_ascii_lowercase();
    let mut params: Vec<String> =
        uri.params().split(';').map(lower).filter(|param| !param.is_empty()).collect();
    params.sort();
    let parts = (
        lower(uri.scheme()),
        uri.user().map(unescape),
        lower(uri.host()),
        uri.port(),
        params,
        lower(uri.headers()),
    );
    Some(as_debug(&parts).unwrap_or_else(|| format!("{parts:?}")))
}

type Parts = (String, Option<String>, String, Option<u16>, Vec<String>, String);

/// What `{:?}` writes of them, without its machinery. `None`: a text in it would be escaped.
fn as_debug((scheme, user, host, port, params, headers): &Parts) -> Option<String> {
    let plain = |b: u8| b == b' ' || b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    let mut texts = [scheme, host, headers].into_iter().chain(user).chain(params);
    if !texts.all(|text| text.bytes().all(plain)) {
        return None;
    }
    let mut out = String::with_capacity(128);
    let mut put = |pieces: &[&str]| pieces.iter().for_each(|piece| out.push_str(piece));
    put(&["(\"", scheme, "\", "]);
    match user {
        Some(user) => put(&["Some(\"", user, "\"), \"", host, "\", "]),
        None => put(&["None, \"", host, "\", "]),
    }
    match port {
        Some(port) => put(&["Some(", &port.to_string(), "), ["]),
        None => put(&["None, ["]),
    }
    for (at, param) in params.iter().enumerate() {
        put(&[if at == 0 { "\"" } else { ", \"" }, param, "\""]);
    }
    put(&["], \"", headers, "\")"]);
    Some(out)
}

/// Equal by §19.1.4, or as text if one is no SIP URI.
pub(crate) fn is_same_uri(a: &str, b: &str) -> bool {
    a == b || matches!((Uri::parse(a), Uri::parse(b)), (Ok(a), Ok(b)) if a.equals(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let same =
            ["sip:a@h;x=1;transport=udp", "SIP:%61@H;Transport=UDP;X=1", "sip:a@h;;transport=udp;x=%31"];
        for uri in same {
            assert_eq!(normalised(uri), normalised(same[0]), "{uri}");
            assert!(is_same_uri(uri, same[0]));
        }
        for uri in
            ["sip:A@h;x=1;transport=udp", "sip:a@h:5060;x=1;transport=udp", "sips:a@h;x=1;transport=udp"]
        {
            assert_ne!(normalised(uri), normalised(same[0]), "{uri}");
            assert!(!is_same_uri(uri, same[0]));
        }
        // Torture message `escnull`: two Contacts, not one.
        assert!(!is_same_uri("sip:%00@h", "sip:%00%00@h"));
        assert_ne!(normalised("sip:%00@h"), normalised("sip:%00%00@h"));
    }

    /// The names of phones that are bound were made of these texts: they stay what they were.
    #[test]
    fn a_text_is_what_debug_writes() {
        for uri in [
            "sip:h",
            "sip:a@h",
            "sips:a%20b@h:5070;transport=udp",
            "sip:a@h;x=1;transport=udp?subject=y&z",
            "sip:\u{e4}@h;a=%22b%5c",
            "sip:a'b@[::1]:5060",
        ] {
            let read = Uri::parse(uri).expect(uri);
            let lower = |text: &str| unescape(text).to_ascii_lowercase();
            let mut params: Vec<String> =
                read.params().split(';').map(lower).filter(|p| !p.is_empty()).collect();
            params.sort();
            let (user, headers) = (read.user().map(unescape), lower(read.headers()));
            let parts = (lower(read.scheme()), user, lower(read.host()), read.port(), params, headers);
            assert_eq!(normalised(uri), Some(format!("{parts:?}")));
        }
    }

    #[test]
    fn no_sip_uris() {
        for uri in
            ["", "sip:", "sip:@h", "name:John", "tel:1", "sip:a@h:x", "sip:a@[::1", "sip:a@h h", "sip:a@:5"]
        {
            assert_eq!(normalised(uri), None, "{uri}");
        }
    }
}
