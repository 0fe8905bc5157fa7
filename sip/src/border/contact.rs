//! Contacts at the border (BORD-3). Our phones' are opaque names at our host; of a peer nothing is taken but such a name at its own.
//!
//! A Contact is where requests in the dialog are addressed to, and phones read more out of it: parameters that ask for an
//! answer without ringing, feature tags, addresses. Between peers it needs to say only "the other end of this dialog", for
//! the way goes by the route token.

use crate::{
    ids::Secret,
    message::{Message, Name, NameAddr},
    uri::Uri,
};

/// Longest name that a peer may give its phone's Contact.
const NAME_BYTES_MAX: usize = 64;

/// `<sip:NAME@p<label>.peer.dots>`: the same for the same Contact in the same dialog, and no address in it.
pub(super) fn opaque(secret: &Secret, message: &Message, own_host: &str) -> String {
    let mut hash = secret.hash("contact");
    hash.text(message.call_id().unwrap_or_default());
    hash.text(message.header(&Name::Contact).unwrap_or_default());
    let hash = hash.finish().to_be_bytes();
    let name = data_encoding::BASE32_NOPAD.encode(hash.get(..10).unwrap_or_default()).to_ascii_lowercase();
    format!("<sip:{name}@{own_host}>")
}

/// What stands for the Contacts that came from the peer at `host`. `None`: they may stay as they are.
pub(super) fn of_peer(message: &Message, host: &str) -> Option<Vec<String>> {
    let first = message.values(&Name::Contact).next()?;
    match message.status() {
        // Whom else to try (§21.3) is translated where it is given to the caller.
        Some(300..400) => None,
        Some(400..) => Some(Vec::new()),
        _ => {
            let name = name_in(first, host).unwrap_or("peer");
            let contact = format!("<sip:{name}@{host}>");
            let is_alone = message.values(&Name::Contact).count() == 1;
            (!is_alone || first != contact).then(|| vec![contact])
        }
    }
}

fn name_in<'a>(value: &'a str, host: &str) -> Option<&'a str> {
    let uri = Uri::parse(NameAddr::parse(value)?.uri()).ok()?;
    let is_name =
        |user: &&str| user.len() <= NAME_BYTES_MAX && user.bytes().all(|b| b.is_ascii_alphanumeric());
    uri.user().filter(is_name).filter(|_| uri.host().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(first: &str, contact: &str) -> Message {
        let text = format!(
            "{first}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@a.test>;tag=1\r\nTo: <sip:b@b.test>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{contact}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into_bytes()).expect("a message")
    }

    /// BORD-3.
    #[test]
    fn of_a_peers_contact_nothing_is_left_but_its_name() {
        let (invite, ok) = ("INVITE sip:b@b.test SIP/2.0", "SIP/2.0 200 OK");
        let named = Some(vec!["<sip:x7@p1.peer.dots>".to_owned()]);
        let nameless = Some(vec!["<sip:peer@p1.peer.dots>".to_owned()]);
        for (first, contact, expected) in [
            (invite, "Contact: <sip:x7@p1.peer.dots>\r\n", None),
            (ok, "m: <sip:x7@p1.peer.dots>\r\n", None),
            (invite, "Contact: <sip:x7@p1.peer.dots>;answer-after=0\r\n", named.clone()),
            (ok, "Contact: \"Auto\" <sip:x7@p1.peer.dots;intercom=true>\r\n", named.clone()),
            (ok, "m: <sip:x7@P1.Peer.Dots?Alert-Info=x>\r\n", named.clone()),
            (invite, "Contact: <sip:x7@p1.peer.dots>, <sip:y@p1.peer.dots>\r\n", named.clone()),
            (invite, "Contact: <sip:x7@p1.peer.dots>\r\nm: <sip:y@192.0.2.1>\r\n", named),
            (invite, "Contact: <sip:bob@192.168.1.9:5060>\r\n", nameless.clone()),
            (invite, "Contact: <sip:a;b@p1.peer.dots>\r\n", nameless.clone()),
            (invite, "Contact: <tel:110>\r\n", nameless.clone()),
            (invite, "Contact: *\r\n", nameless),
            ("SIP/2.0 485 Ambiguous", "Contact: <sip:c@192.0.2.1>\r\n", Some(vec![])),
            ("SIP/2.0 302 Moved", "Contact: <sip:c@c.test>\r\n", None),
            (ok, "", None),
        ] {
            assert_eq!(of_peer(&message(first, contact), "p1.peer.dots"), expected, "{first} {contact}");
        }
    }

    #[test]
    fn of_our_phones_contact_nothing_is_left() {
        let secret = Secret::new([1; 32]);
        let of =
            |contact: &str| opaque(&secret, &message("INVITE sip:b@b.test SIP/2.0", contact), "p1.peer.dots");
        let one = of("Contact: <sip:alice@192.168.1.9:5060;x=y>;+sip.instance=\"<urn:uuid:1>\"\r\n");
        assert!(one.ends_with("@p1.peer.dots>") && !one.contains("192") && !one.contains("alice"), "{one}");
        assert_ne!(one, of("Contact: <sip:alice@192.168.1.10>\r\n"), "a phone that moved has another");
    }
}
