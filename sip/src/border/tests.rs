//! Whole messages over the border of two peers.

use super::*;
use crate::message::NameRef;

fn border(n: u8) -> Border {
    Border::new(Secret::new([n; 32]), host_of(&n.to_string()))
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

const THERE: Crossing<'_> =
    Crossing { sender: "a@a.test", reader: "b@b.test", from_peer: false, to_peer: true };
const HERE: Crossing<'_> = Crossing { from_peer: true, to_peer: false, ..THERE };

fn across(border: &Border, message: &Message, crossing: Crossing<'_>) -> Message {
    let mut edit = Editor::new(message);
    border.across(&mut edit, message, &crossing);
    Message::parse(edit.build()).expect("well-formed")
}

/// BORD-8.
#[test]
fn the_border_lies_between_peers_and_between_realms() {
    for (from_peer, to_peer, reader, expected) in [
        (false, false, "c@a.test", false),
        (false, false, "b@b.test", true),
        (false, false, "", true),
        (true, false, "c@a.test", true),
        (false, true, "c@a.test", true),
        (false, true, "b@b.test", true),
    ] {
        let crossing = Crossing { reader, from_peer, to_peer, ..THERE };
        assert_eq!(crossing.is_border(), expected, "{crossing:?}");
        assert_eq!(crossing.back().is_border(), expected, "back: {crossing:?}");
    }
}

/// BORD-4: what one peer hides the other sees under one name in all headers, answers under it, and the first shows again: to
/// its own realm, and to nobody else.
#[test]
fn there_and_back() {
    let (a, b) = (border(1), border(2));
    let refer = "Refer-To: <sip:c@c.test?Replaces=x%4010.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db>";
    let lines = [
        "Alert-Info: <http://10.0.0.1/ring>;info=alert-autoanswer",
        "Subject: hi",
        "Contact: <sip:a@10.0.0.1>",
        "In-Reply-To: x@10.0.0.1",
        refer,
    ];
    let asked = message("plain", &lines);
    let hidden = across(&a, &asked, THERE);
    let crossed = across(&b, &b.inward("1", hidden).expect("well-formed"), HERE);
    let text = String::from_utf8_lossy(crossed.raw()).into_owned();
    assert!(
        !text.contains("10.0.0.1") && !text.contains("Alert-Info") && text.contains("Subject: hi"),
        "{text}"
    );
    let in_reply_to = Name::Other("in-reply-to".into());
    let hidden = crossed.header(&in_reply_to).expect("an In-Reply-To").to_owned();
    assert!(crossed.header(&Name::ReferTo).is_some_and(|refer| refer.contains(&hidden)), "{text}");
    assert_eq!(crossed.body(), b"body");
    for (reader, is_shown) in [("a@a.test", true), ("c@a.test", true), ("eve@z.test", false), ("", false)] {
        for (from_peer, sender) in [(true, "b@b.test"), (false, "b@b.test"), (true, "a@a.test")] {
            let back = Crossing { sender, reader, from_peer, to_peer: false };
            let back = across(&a, &a.inward("2", across(&b, &crossed, THERE)).expect("well-formed"), back);
            assert_eq!(back.header(&in_reply_to) == Some("x@10.0.0.1"), is_shown, "{reader}");
            assert_eq!(back.header(&Name::ReferTo) == asked.header(&Name::ReferTo), is_shown, "{reader}");
        }
    }
}

/// BORD-1: the list holds against whoever writes the message, in whatever spelling.
#[test]
fn what_a_peer_may_not_say_is_not_heard() {
    let lines = [
        "ALERT-INFO: <http://x/>;info=alert-autoanswer",
        "call-info : <sip:x>;answer-after=0",
        "Answer-Mode: Auto",
        "Priv-Answer-Mode: Auto",
        "p-auto-answer: normal",
        "P-Asserted-Identity: <sip:boss@b.test>",
        "y: eyJ",
        "WWW-Authenticate: Digest realm=\"x\"",
        "Contact: <sip:a@p1.peer.dots>;answer-after=0",
        "s: hi",
    ];
    let heard = border(2).inward("1", message("c", &lines)).expect("well-formed");
    let names: Vec<&str> = heard.names().map(NameRef::as_str).collect();
    let expected =
        ["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Subject", "Content-Length"];
    assert_eq!(names, expected);
    assert_eq!(heard.header(&Name::Contact), Some("<sip:a@p1.peer.dots>"));
}

#[test]
fn what_is_as_it_should_be_is_not_touched() {
    let honest = message("c", &["Contact: <sip:a@p1.peer.dots>", "Subject: hi"]);
    let heard = border(2).inward("1", honest.clone()).expect("well-formed");
    assert_eq!(heard.raw(), honest.raw());
}

/// BORD-5.
#[test]
fn a_warning_is_ours_and_only_one() {
    let lines = ["Warning: 399 10.0.0.1 \"first\"", "Warning: 399 10.0.0.2 \"second\""];
    let crossed = across(&border(1), &message("c", &lines), THERE);
    let name = Name::Other("warning".into());
    let warnings: Vec<&str> = crossed.header_lines(&name).collect();
    assert_eq!(warnings, ["399 p1.peer.dots \"first\""]);
}
