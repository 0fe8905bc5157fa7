//! The border between this peer and the others: what of a message may cross, and how it is written on the other side
//! (RFC 5853 §3.1, topology hiding).
//!
//! A stranger runs every other peer. So what crosses is an allow-list ([`headers`]), the same for requests, requests in
//! dialogs and responses, in both directions: a header that nobody listed may open a microphone, name a URL to be fetched,
//! or claim an identity that nobody proved. And what our phones wrote about their network stays at home: their Call-IDs
//! ([`call_id`]) wherever a header repeats one ([`references`]), addresses in Warning. What comes back is given to the phone
//! as it wrote it.
//!
//! Pure functions on one message; nothing is remembered. The same key hides and shows, and is derived from one that survives
//! a restart, so a call outlives its peer's process.

pub mod call_id;
pub mod headers;
pub mod references;

use crate::message::{Editor, Message, Name};
use call_id::CallIdMask;

/// What this peer does at its border.
#[derive(Clone)]
pub struct Border {
    mask: CallIdMask,
    /// Our name on the overlay, where a header has to name a host.
    own_host: String,
}

impl Border {
    pub fn new(mask: CallIdMask, own_host: String) -> Border {
        Border { mask, own_host }
    }

    /// Toward a peer: only what is on the list, and no address of our phones in what names a dialog. `None`: the result
    /// cannot be read again, so it is not sent.
    pub fn outward(&self, message: &Message) -> Option<Message> {
        let mut edit = Editor::new(message);
        headers::filter(&mut edit);
        self.rename_dialogs(&mut edit, message, &|text| self.mask.hide(text));
        let name = Name::Other("warning".to_owned());
        if let Some(warning) = message.header(&name) {
            let warning = headers::warning(warning, &self.own_host);
            edit.set_values(&name, &[warning]);
        }
        Message::parse(edit.build()).ok()
    }

    /// From a peer: only what is on the list, and our phones' Call-IDs as they wrote them.
    pub fn inward(&self, message: &Message) -> Option<Message> {
        let mut edit = Editor::new(message);
        headers::filter(&mut edit);
        self.rename_dialogs(&mut edit, message, &|text| self.mask.show(text));
        Message::parse(edit.build()).ok()
    }

    fn rename_dialogs(
        &self,
        edit: &mut Editor<'_>,
        message: &Message,
        rename: &dyn Fn(&str) -> Option<String>,
    ) {
        if let Some(renamed) = message.call_id().and_then(rename) {
            edit.set(&Name::CallId, &renamed);
        }
        references::rename(edit, message, rename);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Secret;

    fn border(n: u8) -> Border {
        Border::new(CallIdMask::new(Secret::new([n; 32])), format!("p{n}.peer.dots"))
    }

    fn message(call_id: &str, lines: &[&str]) -> Message {
        let text = format!(
            "INVITE sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/DOTS p1.peer.dots;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:a@a.test>;tag=1\r\nTo: <sip:b@b.test>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n{}\
             Content-Length: 4\r\n\r\nbody",
            lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
        );
        Message::parse(text.into_bytes()).expect("a message")
    }

    /// What one peer hides the other sees under one name in all headers, answers under it, and the first shows again.
    #[test]
    fn there_and_back() {
        let (a, b) = (border(1), border(2));
        let refer = "Refer-To: <sip:c@c.test?Replaces=x%4010.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db>";
        let lines = ["Alert-Info: <http://10.0.0.1/ring>;info=alert-autoanswer", "Subject: hi", refer];
        let asked = message("x@10.0.0.1", &lines);
        let crossed = b.inward(&a.outward(&asked).expect("well-formed")).expect("well-formed");
        let text = String::from_utf8_lossy(crossed.raw()).into_owned();
        assert!(
            !text.contains("10.0.0.1") && !text.contains("Alert-Info") && text.contains("Subject: hi"),
            "{text}"
        );
        let hidden = crossed.call_id().expect("a Call-ID").to_owned();
        assert!(crossed.header(&Name::ReferTo).is_some_and(|refer| refer.contains(&hidden)), "{text}");
        assert_eq!(crossed.body(), b"body");
        let back = a.inward(&b.outward(&crossed).expect("well-formed")).expect("well-formed");
        assert_eq!(back.call_id(), Some("x@10.0.0.1"));
        assert_eq!(back.header(&Name::ReferTo), asked.header(&Name::ReferTo));
    }

    #[test]
    fn a_warning_is_ours_and_only_one() {
        let lines = ["Warning: 399 10.0.0.1 \"first\"", "Warning: 399 10.0.0.2 \"second\""];
        let crossed = border(1).outward(&message("c", &lines)).expect("well-formed");
        let name = Name::Other("warning".into());
        let warnings: Vec<&str> = crossed.header_lines(&name).collect();
        assert_eq!(warnings, ["399 p1.peer.dots \"first\""]);
    }
}
