//! From and To at the border (BORD-2): whoever was vouched for, by the name that the reader knows him by, and nothing else.
//!
//! Phones show From, dial it back, and some obey its parameters. So of what the other side wrote only the tag is taken,
//! and where a dialog begins the words that stand before the address.

use crate::{
    message::{Editor, Message, Name, NameAddr},
    uri::{Uri, escape_user},
};

/// A From or To line with this URI, with the words and the tag that it had, and no other parameter.
pub(crate) fn set(edit: &mut Editor<'_>, message: &Message, name: &Name, uri: &str) {
    write(edit, message, name, uri, true);
}

/// The same without words: in a dialog nobody is introduced again.
pub(crate) fn set_bare(edit: &mut Editor<'_>, message: &Message, name: &Name, uri: &str) {
    write(edit, message, name, uri, false);
}

fn write(edit: &mut Editor<'_>, message: &Message, name: &Name, uri: &str, with_words: bool) {
    let Some(value) = message.header(name) else { return };
    let parsed = NameAddr::parse(value);
    // In their own bytes: many phones write names in Latin-1.
    let words = if with_words { message.words(name) } else { b"" };
    let tag = parsed.and_then(|addr| addr.tag()).unwrap_or_default();
    let space: &[u8] = if words.is_empty() { b"" } else { b" " };
    let close: &[u8] = if tag.is_empty() { b">" } else { b">;tag=" };
    edit.set_pieces(name, &[words, space, b"<", uri.as_bytes(), close, tag.as_bytes()]);
}

/// `user@realm` as a URI, with the user escaped.
pub(crate) fn uri_of(aor: &str) -> String {
    match aor.rsplit_once('@') {
        Some((user, realm)) => format!("sip:{}@{realm}", escape_user(user)),
        None => format!("sip:{aor}"),
    }
}

/// Scheme, user, host and port; no parameters, no headers. What is no SIP URI stays.
pub(crate) fn plain_uri(text: &str) -> String {
    let Ok(uri) = Uri::parse(text) else { return text.to_owned() };
    let user = uri.user().map(|user| format!("{user}@")).unwrap_or_default();
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}:{user}{}{port}", uri.scheme(), uri.host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_line_but_words_and_tag() {
        for (before, after) in [
            ("<sip:x@y>;tag=1", "<sip:a@a.test>;tag=1"),
            (
                "\"Al, ice\" <sip:x@y;auto=1?Alert-Info=z>;answer-after=0;tag=1;q",
                "\"Al, ice\" <sip:a@a.test>;tag=1",
            ),
            ("sip:x@y;TAG=1;intercom", "<sip:a@a.test>;tag=1"),
            ("Alice <sip:x@y>", "Alice <sip:a@a.test>"),
            ("\"open <sip:x@y>;tag=1", "<sip:a@a.test>"),
        ] {
            let text = format!(
                "BYE sip:b@b.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: {before}\r\nTo: <sip:b@b.test>\r\n\
                 Call-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
            );
            let Ok(message) = Message::parse_lenient(text.into_bytes()) else { panic!("{before}") };
            let mut edit = Editor::new(&message);
            set(&mut edit, &message, &Name::From, "sip:a@a.test");
            let text = String::from_utf8(edit.build()).expect("text");
            assert!(text.contains(&format!("\r\nFrom: {after}\r\n")), "{before}: {text}");
            let mut edit = Editor::new(&message);
            set_bare(&mut edit, &message, &Name::From, "sip:a@a.test");
            let text = String::from_utf8(edit.build()).expect("text");
            assert!(text.contains("\r\nFrom: <sip:a@a.test>"), "{before}: {text}");
        }
    }

    #[test]
    fn plain_uris() {
        for (before, after) in [
            ("sip:a:pw@h:5;transport=tcp?x=y", "sip:a@h:5"),
            ("SIPS:h;lr", "SIPS:h"),
            ("tel:110;phone-context=x", "tel:110;phone-context=x"),
        ] {
            assert_eq!(plain_uri(before), after);
        }
    }
}
