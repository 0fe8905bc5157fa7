//! What stands in `examples/` works: the configuration starts a peer, the program adds up its receipts.

use dots_testnet::process::{Peer, binary};
use std::{path::Path, process::Command};

#[test]
fn the_office_configuration_starts_a_peer() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/office.toml");
    let file = file.to_str().unwrap();
    let mut peer = Peer::start("office.example", &["--config", file]).unwrap();
    let status = peer.client().unwrap().status().unwrap();
    assert_eq!(status.default_realm, "office.example");
    let realms = peer.client().unwrap().realms().unwrap();
    let sister = realms.iter().find(|r| r.name == "sister.example").unwrap();
    assert_eq!(sister.belief, "pinned");
    let accounts = peer.client().unwrap().accounts().unwrap();
    assert_eq!(accounts[0].aor, "reception@office.example");
    peer.stop().unwrap();
}

#[test]
fn the_statement_program_asks_a_peer() {
    let mut peer = Peer::start("a.net", &[]).unwrap();
    let program = binary().unwrap().with_file_name("examples").join("statement");
    let run = |token: &Path| Command::new(&program).arg(&peer.ready().http).arg(token).output().unwrap();
    let out = run(&peer.data().join("http.token"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(out.stdout.is_empty(), "no calls, no lines");
    // Without the token nothing is told.
    let out = run(&peer.data().join("no.token"));
    assert!(!out.status.success());
    peer.stop().unwrap();
}
