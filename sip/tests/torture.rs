//! Messages made to break parsers. Each case is a file of bytes and a line in `torture/cases.txt`: what the parser says,
//! and what a whole peer does with it. The messages are ours and exercise the points of RFC 4475 and RFC 5118; the RFCs'
//! own are sent to a running peer by `testnet/tests/torture.rs`.

mod common;

use common::*;
use dots_sip::message::{Editor, Message, Name};
use std::path::{Path, PathBuf};

/// What a proxy may change in a request that it forwards (RFC 3261 §16.6), and the caller's name, which a phone that knows
/// its server by address alone is shown in a form that it can call back.
const CHANGED: [Name; 6] =
    [Name::Via, Name::MaxForwards, Name::RecordRoute, Name::Route, Name::ProxyAuthorization, Name::From];

struct Case {
    file: PathBuf,
    parse: String,
    answer: String,
}

fn cases(index: &str, folder: &Path, end: &str) -> Vec<Case> {
    let lines = index.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let read = lines.map(|line| {
        let mut columns = line.split('|').map(|column| column.trim().to_owned());
        let mut next = || columns.next().expect("file | parse | answer | why");
        Case { file: folder.join(next() + end), parse: next(), answer: next() }
    });
    read.collect()
}

fn verdict(bytes: &[u8]) -> String {
    match Message::parse(bytes.to_vec()) {
        Ok(_) => "ok".to_owned(),
        Err(why) => format!("{why:?}"),
    }
}

/// The phone that sends the cases.
const SENDER: u16 = 9;

/// What a peer with alice and bob registered does with a datagram.
fn answer(bytes: &[u8]) -> String {
    let World { now, mut a, .. } = World::new();
    a.register(now, "alice", 1);
    a.register(now, "bob", 2);
    let input = dots_sip::Input::Message { flow: flow(SENDER), bytes: bytes.to_vec() };
    a.core.handle(now, input);
    a.drain(now);
    let done = match a.inbox.iter().find(|(_, m)| m.status() != Some(100)) {
        None => "silent".to_owned(),
        Some((to, m)) if to.remote.port() == SENDER => m.status().expect("a response").to_string(),
        Some((_, m)) => {
            passed_unchanged(bytes, m);
            "forward".to_owned()
        }
    };
    a.inbox.clear();
    a.phone(now, 1, &request("OPTIONS", "sip:127.0.0.1", 1, "still", "alice", "alice", ""));
    assert_eq!(a.got(1).status(), Some(200), "it still serves");
    done
}

/// All but the lines that a proxy writes is as it came.
fn passed_unchanged(bytes: &[u8], sent: &Message) {
    let came = Message::parse(bytes.to_vec()).expect("only what can be read is forwarded");
    assert_eq!(sent.body(), came.body());
    let rest = |message: &Message| {
        let mut edit = Editor::new(message);
        CHANGED.iter().for_each(|name| {
            edit.remove(name);
        });
        edit.set_uri("sip:x@x").build()
    };
    assert_eq!(String::from_utf8_lossy(&rest(sent)), String::from_utf8_lossy(&rest(&came)));
    assert_eq!(rest(sent), rest(&came));
}

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(&case.file).unwrap_or_else(|e| panic!("{name}: {e}"));
        let got = (verdict(&bytes), answer(&bytes));
        if got != (case.parse.clone(), case.answer.clone()) {
            wrong.push(format!("{name}: {got:?}, not {:?}", (&case.parse, &case.answer)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn our_own_messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let all = cases(include_str!("torture/cases.txt"), &folder, ".sip");
    check(&all);
    let files = std::fs::read_dir(&folder).expect("the folder").filter_map(|entry| entry.ok());
    let files = files.filter(|entry| entry.path().extension().is_some_and(|e| e == "sip")).count();
    assert_eq!(files, all.len(), "each file has its line");
}
