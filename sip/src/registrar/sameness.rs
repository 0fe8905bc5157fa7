//! One name for all spellings of a Contact URI. RFC 3261 §19.1.4.
//!
//! Comparison itself is [`Uri::equals`]; here is what it has not: a text that is the same for URIs that differ only in
//! escapes, letter case and the order of parameters, to be hashed into the instance of a phone that names none.

use crate::{
    message::text::{lower, put_number},
    uri::{Uri, unescape},
};
use smallvec::SmallVec;

/// `None` if this is no SIP URI that could be reached.
#[cfg(test)]
fn normalised(uri: &str) -> Option<String> {
    Uri::parse(uri).ok().map(|uri| normal_form(&uri))
}

pub(crate) fn normal_form(uri: &Uri<'_>) -> String {
    if let Some(text) = plain_form(uri) {
        return text;
    }
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
    format!("{parts:?}")
}

/// The same text, written at once. `None`: something in it is escaped, here or by `{:?}`.
fn plain_form(uri: &Uri<'_>) -> Option<String> {
    let plain = |b: u8| b == b' ' || b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'%');
    let (scheme, user) = (lower(uri.scheme()), uri.user());
    let [host, params, headers] = [uri.host(), uri.params(), uri.headers()].map(lower);
    let mut texts = [&*host, &*params, &*headers].into_iter().chain(user);
    if !texts.all(|text| text.bytes().all(plain)) {
        return None;
    }
    let mut out = String::with_capacity(128);
    let put = |out: &mut String, pieces: &[&str]| pieces.iter().for_each(|piece| out.push_str(piece));
    put(&mut out, &["(\"", &scheme, "\", "]);
    match user {
        Some(user) => put(&mut out, &["Some(\"", user, "\"), \"", &host, "\", "]),
        None => put(&mut out, &["None, \"", &host, "\", "]),
    }
    match uri.port() {
        Some(port) => {
            out.push_str("Some(");
            put_number(&mut out, port.into());
            out.push_str("), [");
        }
        None => out.push_str("None, ["),
    }
    let mut params: SmallVec<[&str; 8]> = params.split(';').filter(|param| !param.is_empty()).collect();
    params.sort_unstable();
    for (at, param) in params.iter().enumerate() {
        put(&mut out, &[if at == 0 { "\"" } else { ", \"" }, param, "\""]);
    }
    put(&mut out, &["], \"", &headers, "\")"]);
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
