//! Headers that name another dialog by its Call-ID: Replaces (RFC 3891), Join (RFC 3911), Target-Dialog (RFC 4538),
//! In-Reply-To (RFC 3261 §20.21), and the Replaces that an attended transfer carries inside the URI of its Refer-To
//! (RFC 3515, RFC 5589 §7). Where the Call-ID of a dialog is another one on the two sides of the border, these follow it.

use crate::{
    message::{Editor, Message, Name, NameAddr},
    uri::unescape,
};

/// What is the Call-ID called on the other side? `None`: as here.
pub type Rename<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text answers one call, or a few; each value costs a hash.
const IN_REPLY_TO_MAX: usize = 8;
/// Headers in a URI: an attended transfer has a Replaces and perhaps a Require. Beyond, none is looked at.
pub(super) const EMBEDDED_MAX: usize = 8;

/// Renames every Call-ID that a header of `message` refers to (BORD-4).
pub fn rename(edit: &mut Editor<'_>, message: &Message, rename: Rename<'_>) {
    let other = |name: &str| Name::Other(name.to_owned());
    for name in [Name::Replaces, other("join"), other("target-dialog")] {
        if let Some(renamed) = message.header(&name).and_then(|value| dialog(value, rename)) {
            edit.set(&name, &renamed);
        }
    }
    let name = other("in-reply-to");
    let calls: Vec<&str> = message.values(&name).take(IN_REPLY_TO_MAX + 1).collect();
    if calls.len() > IN_REPLY_TO_MAX {
        edit.remove(&name);
    } else {
        let renamed: Vec<String> =
            calls.iter().map(|call| rename(call).unwrap_or_else(|| (*call).to_owned())).collect();
        if renamed.iter().ne(calls.iter()) {
            edit.set_values(&name, &renamed);
        }
    }
    if let Some(renamed) = message.header(&Name::ReferTo).and_then(|value| refer_to(value, rename)) {
        edit.set(&Name::ReferTo, &renamed);
    }
}

/// `call-id;to-tag=…;from-tag=…`
pub(super) fn dialog(value: &str, rename: Rename<'_>) -> Option<String> {
    let (call_id, tags) = value.split_once(';')?;
    Some(format!("{};{tags}", rename(call_id.trim())?))
}

/// `<sip:user@host?Replaces=call-id%3Bto-tag%3D…&…>`
fn refer_to(value: &str, rename: Rename<'_>) -> Option<String> {
    let uri = NameAddr::parse(value)?.uri();
    let (before, headers) = uri.split_once('?')?;
    if headers.split('&').nth(EMBEDDED_MAX).is_some() {
        return Some(value.replacen(uri, before, 1));
    }
    let mut is_renamed = false;
    let one = |header: &str| {
        let (name, escaped) = header.split_once('=')?;
        let renamed =
            unescape(name).eq_ignore_ascii_case("replaces").then(|| dialog(&unescape(escaped), rename))??;
        Some(format!("{name}={}", escape_header(&renamed)))
    };
    let headers: Vec<String> = headers
        .split('&')
        .map(|header| {
            let renamed = one(header);
            is_renamed |= renamed.is_some();
            renamed.unwrap_or_else(|| header.to_owned())
        })
        .collect();
    is_renamed.then(|| value.replacen(uri, &format!("{before}?{}", headers.join("&")), 1))
}

/// What may stand in the header part of a URI (RFC 3261 §25.1, hvalue) without being escaped.
pub(super) fn escape_header(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(lines: &[&str]) -> Message {
        let text = format!(
            "REFER sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@a.test>;tag=1\r\n\
             To: <sip:b@b.test>;tag=2\r\nCall-ID: own\r\nCSeq: 1 REFER\r\n{}Content-Length: 0\r\n\r\n",
            lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
        );
        Message::parse(text.into_bytes()).expect("a message")
    }

    /// One Call-ID has another name on the other side.
    fn other_side(call_id: &str) -> Option<String> {
        (call_id == "x@10.0.0.1").then(|| "dx.y&z".to_owned())
    }

    #[test]
    fn every_header_that_names_a_dialog_follows_its_call_id() {
        for (before, after) in [
            ("Replaces: x@10.0.0.1;to-tag=a;from-tag=b", "Replaces: dx.y&z;to-tag=a;from-tag=b"),
            ("Replaces: x@10.0.0.1 ;early-only;to-tag=a", "Replaces: dx.y&z;early-only;to-tag=a"),
            ("Replaces: other;to-tag=a;from-tag=b", "Replaces: other;to-tag=a;from-tag=b"),
            ("Join: x@10.0.0.1;to-tag=a;from-tag=b", "join: dx.y&z;to-tag=a;from-tag=b"),
            ("Target-Dialog: x@10.0.0.1;local-tag=a", "target-dialog: dx.y&z;local-tag=a"),
            ("In-Reply-To: other, x@10.0.0.1", "in-reply-to: other\r\nin-reply-to: dx.y&z"),
            ("In-Reply-To: other", "In-Reply-To: other"),
            (
                "Refer-To: \"Carol\" <sip:c@c.test?Subject=x&replaces=x%4010.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db>;p",
                "Refer-To: \"Carol\" <sip:c@c.test?Subject=x&replaces=dx.y%26z%3Bto-tag%3Da%3Bfrom-tag%3Db>;p",
            ),
            (
                "r: <sip:c@c.test?Replaces=other%3Bto-tag%3Da>",
                "r: <sip:c@c.test?Replaces=other%3Bto-tag%3Da>",
            ),
            ("Refer-To: sip:c@c.test", "Refer-To: sip:c@c.test"),
            ("Refer-To: <sip:c@c.test?x>", "Refer-To: <sip:c@c.test?x>"),
            ("Subject: x@10.0.0.1", "Subject: x@10.0.0.1"),
        ] {
            let asked = message(&[before]);
            let mut edit = Editor::new(&asked);
            rename(&mut edit, &asked, &other_side);
            let text = String::from_utf8(edit.build()).expect("text");
            assert!(text.contains(&format!("{after}\r\n")), "{before}: {text}");
        }
    }

    #[test]
    fn of_many_headers_in_a_uri_none_is_left() {
        for (count, left) in [(1, 1), (8, 8), (9, 0), (1_500, 0)] {
            let headers = vec!["Replaces=x%4010.0.0.1%3Bto-tag%3Da"; count].join("&");
            let asked = message(&[&format!("Refer-To: <sip:c@c.test?{headers}>;p")]);
            let mut edit = Editor::new(&asked);
            rename(&mut edit, &asked, &other_side);
            let text = String::from_utf8(edit.build()).expect("text");
            assert_eq!(text.matches("dx.y%26z").count(), left, "{count}");
            assert!(text.contains("<sip:c@c.test") && !text.contains("10.0.0.1"), "{count}");
        }
    }

    /// A message is read at a cost that its sender does not choose.
    #[test]
    fn of_many_values_none_is_renamed() {
        for (count, left) in [(1, 1), (8, 8), (9, 0), (5_000, 0)] {
            let lines = vec!["In-Reply-To: x@10.0.0.1"; count.min(100)];
            let long = format!("In-Reply-To: {}", vec!["x@10.0.0.1"; count].join(","));
            for lines in [if count <= 100 { lines } else { vec![long.as_str()] }, vec![long.as_str()]] {
                let asked = message(&lines);
                let mut edit = Editor::new(&asked);
                rename(&mut edit, &asked, &other_side);
                let text = String::from_utf8(edit.build()).expect("text");
                assert_eq!(text.matches("dx.y&z").count(), left, "{count}");
                assert!(!text.contains("10.0.0.1"), "{count}");
            }
        }
    }
}
