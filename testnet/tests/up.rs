//! `dots-testnet up`: three peers that know each other, and none that is left after SIGTERM.

use dots_clients::Client;
use dots_testnet::{Error, poll};
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn three_peers_meet_and_are_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Command::new(env!("CARGO_BIN_EXE_dots-testnet"))
        .args(["up", "--peers", "3", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(up.stdout.take().unwrap());
    let mut table = Vec::new();
    for line in said.by_ref().lines().map(Result::unwrap).take_while(|l| l != "Ctrl-C stops them.") {
        table.push(line);
    }
    assert_eq!(table.len(), 4, "{table:?}");
    let mut clients = Vec::new();
    for (n, line) in table.iter().skip(1).enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [user, sip, http, peer, password] = words[..] else { panic!("{line}") };
        assert_eq!(user, format!("me@p{n}.test"));
        assert!(sip.parse::<std::net::SocketAddr>().is_ok(), "{line}");
        assert!(std::fs::read_to_string(password).is_ok_and(|p| p.trim().len() >= 10), "{line}");
        let token = Path::new(password).with_file_name("http.token");
        let client = Client::new(http, Some(std::fs::read_to_string(token).unwrap()));
        assert_eq!(client.status().unwrap().peer_id, peer);
        clients.push(client);
    }
    for client in &clients {
        poll("all know all", SOON, || {
            let peers = client.peers().map_err(|e| Error::Other(e.to_string()))?;
            Ok((peers.len() == 2).then_some(()))
        })
        .unwrap();
    }
    Command::new("kill").args(["-TERM", &up.id().to_string()]).status().unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(up.wait().unwrap().success(), "{rest}");
    for n in 0..3 {
        assert!(rest.contains(&format!("p{n}.test: exit status: 0")), "{rest}");
    }
    assert!(clients.iter().all(|c| !c.healthy()), "a peer is left");
}
