//! How `dots` ends when it cannot go on (the table in `src/failure.rs`), and what the HTTP API says to those who ask
//! wrongly.

use dots_testnet::{
    command::{Said, dots},
    process::Peer,
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

/// It ended with this code, said nothing, and why with `word` in it.
fn assert_ends(said: &Said, code: i32, word: &str) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert_eq!(said.out, "", "{said:?}");
    assert!(said.err.contains(word) && !said.err.contains("panicked"), "{said:?}");
}

/// `dots … --data DIR`
fn at(dir: &Path, words: &[&str]) -> Said {
    let dir = dir.to_str().unwrap();
    dots(&[words, &["--data", dir]].concat(), "").unwrap()
}

/// A start at free ports that is meant to fail.
fn up(dir: &Path, more: &[&str]) -> Said {
    let free = ["up", "--no-mdns", "--network", "nobody"];
    let mut all = free.to_vec();
    for (flag, any) in
        [("--sip", "127.0.0.1:0"), ("--http", "127.0.0.1:0"), ("--p2p", "/ip4/127.0.0.1/tcp/0")]
    {
        if !more.contains(&flag) {
            all.extend([flag, any]);
        }
    }
    at(dir, &[&all, more].concat())
}

#[test]
fn two_what_was_said_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("dots.toml");
    let config = file.to_str().unwrap();
    assert_ends(&up(&data, &["--nonsense"]), 2, "--nonsense");
    assert_ends(&at(&data, &["dance"]), 2, "dance");
    assert_ends(&up(&data, &["--sip", "nowhere"]), 2, "--sip nowhere");
    assert_ends(&up(&data, &["--realm", "a..b"]), 2, "--realm");
    assert_ends(&up(&data, &["--realm", "localhost"]), 2, "home.lan");
    assert_ends(&up(&data, &["--realm", "office"]), 2, "office.lan");
    assert_ends(&up(&data, &["--log", "!!"]), 2, "--log");
    assert_ends(&up(&data, &["--config", config]), 2, config);
    std::fs::write(&file, "realm = ['a.test']\nsipp = ['127.0.0.1:0']\n").unwrap();
    assert_ends(&up(&data, &["--config", config]), 2, "sipp");
    std::fs::write(&file, "realm = ['a.test'\n").unwrap();
    assert_ends(&up(&data, &["--config", config]), 2, "line");
    assert!(!data.join("peer.key").exists(), "a wrong word leaves nothing behind");
    assert_ends(&up(&data, &["--bootstrap", "/ip4/1.2.3.4/nonsense/1"]), 2, "nonsense");
}

#[test]
fn three_and_four_it_is_taken() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let second = up(&peer.data(), &[]);
    assert_ends(&second, 3, peer.data().to_str().unwrap());
    let sip = peer.sip().unwrap().to_owned();
    let p2p = peer.p2p().unwrap().split("/p2p/").next().unwrap().to_owned();
    let port = p2p.rsplit('/').next().unwrap();
    assert_ends(&up(&dir.path().join("1"), &["--sip", &sip]), 4, &sip);
    assert_ends(&up(&dir.path().join("2"), &["--http", &peer.ready().http]), 4, &peer.ready().http);
    assert_ends(&up(&dir.path().join("3"), &["--p2p", &p2p]), 4, port);
    // 192.0.2.0/24 is nobody's.
    assert_ends(&up(&dir.path().join("4"), &["--sip", "192.0.2.1:5060"]), 4, "192.0.2.1:5060");
    assert!(peer.client().unwrap().healthy(), "the first goes on");
    peer.stop().unwrap();
}

#[test]
fn five_a_key_that_cannot_be_used() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let data = peer.data();
    let mode = |name: &str, mode| {
        std::fs::set_permissions(data.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("http.token", 0o644);
    assert_ends(&peer.dots(&["calls"], "").unwrap(), 5, "chmod 600");
    mode("http.token", 0o600);
    peer.stop().unwrap();
    for name in ["peer.key", "realm.key", "token.key", "http.token"] {
        mode(name, 0o640);
        assert_ends(&up(&data, &[]), 5, name);
        mode(name, 0o600);
    }
    let key = std::fs::read(data.join("peer.key")).unwrap();
    for bad in ["", "short", &"zz".repeat(32), &"00".repeat(32)] {
        std::fs::write(data.join("peer.key"), bad).unwrap();
        assert_ends(&up(&data, &[]), 5, "peer.key");
    }
    std::fs::write(data.join("peer.key"), key).unwrap();
    peer.restart().unwrap();
    peer.stop().unwrap();
    // A file where the directory should be.
    assert_ends(&up(&data.join("peer.key"), &[]), 5, "peer.key");
}

#[test]
fn six_and_seven_nobody_answers_or_somebody_refuses() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let asking = ["status", "peers", "bindings", "calls", "receipts", "realms"];
    let token = peer.data().join("http.token");
    let right = std::fs::read(&token).unwrap();
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    for word in ["bindings", "calls", "receipts"] {
        assert_ends(&peer.dots(&[word], "").unwrap(), 7, "http.token");
    }
    assert_ends(&peer.dots(&["alias", "add", "12", "sip:a@a.test"], "").unwrap(), 7, "http.token");
    std::fs::write(&token, right).unwrap();
    // A killed peer leaves word of where it was.
    peer.kill().unwrap();
    for word in asking {
        assert_ends(&peer.dots(&[word], "").unwrap(), 6, "dots up");
    }
    peer.restart().unwrap();
    peer.stop().unwrap();
    for word in asking {
        assert_ends(&peer.dots(&[word, "--json"], "").unwrap(), 6, "dots up");
    }
    let nowhere = peer.data().join("none");
    assert_ends(&at(&nowhere, &["lookup", "a@a.test"]), 6, "dots up");
    assert!(!nowhere.exists(), "a question makes no data directory");
}

/// One request as it stands; its status and body.
fn http(at: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // What is too large is refused before all of it is read.
    let _ = stream.write_all(request.as_bytes());
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

#[test]
fn a_wrong_question_over_http_is_answered_in_json() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let address = peer.ready().http.clone();
    let token = std::fs::read_to_string(peer.data().join("http.token")).unwrap();
    let right = format!("Authorization: Bearer {}\r\n", token.trim());
    let ask = |method: &str, path: &str, host: &str, more: &str, body: &str| {
        let length = body.len();
        http(
            &address,
            &format!(
                "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}Content-Type: application/json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ),
        )
    };
    let wrong = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    let accounts = "/v1/accounts/x@a.test";
    let import = "/v1/accounts/import";
    let many =
        format!("{{\"accounts\":[{}]}}", vec!["{\"aor\":\"u@a.test\",\"password\":\"p\"}"; 2_001].join(","));
    let huge = format!("{{\"password\":\"{}\"}}", "p".repeat(3 << 20));
    let mut bad: Vec<String> = Vec::new();
    for (method, path, host, more, body, status) in [
        ("GET", "/v1/calls", "localhost", "", "", 401),
        ("GET", "/v1/calls", "localhost", wrong, "", 401),
        ("GET", "/v1/accounts", "localhost", wrong, "", 401),
        ("PUT", "/v1/aliases/12", "localhost", wrong, "{\"target\":\"a@a.test\"}", 401),
        ("DELETE", accounts, "localhost", "Authorization: Basic eDp5\r\n", "", 401),
        ("GET", "/v1/status", "evil.example", &right, "", 403),
        ("GET", "/", "evil.example:80", &right, "", 403),
        ("GET", "/v1/bindings?limit=abc", "localhost", &right, "", 400),
        ("GET", "/v1/accounts?limit=-1", "localhost", &right, "", 400),
        ("GET", "/v1/receipts?verify=perhaps", "localhost", &right, "", 400),
        ("GET", "/v1/lookup/nobody", "localhost", &right, "", 400),
        ("GET", "/v1/lookup/%ff", "localhost", &right, "", 400),
        ("GET", "/v2/status", "localhost", &right, "", 404),
        ("DELETE", accounts, "localhost", &right, "", 404),
        ("POST", "/v1/status", "localhost", &right, "", 405),
        ("PUT", accounts, "localhost", &right, "{", 400),
        ("PUT", accounts, "localhost", &right, "{\"password\":\"p\",\"role\":\"admin\"}", 400),
        ("POST", import, "localhost", &right, &many, 413),
        ("PUT", accounts, "localhost", &right, &huge, 413),
    ] {
        let (got, said) = ask(method, path, host, more, body);
        let error = serde_json::from_str::<Value>(&said).ok().and_then(|e| Some(e["error"].as_str()?.len()));
        if got != status || error < Some(10) {
            bad.push(format!("{method} {path} with {more:?}: {got}, {said:?} instead of {status}"));
        }
    }
    assert_eq!(bad, [""; 0]);
    assert_eq!(ask("GET", "/v1/accounts?limit=0", &address, &right, "").0, 200);
    assert_eq!(ask("GET", "/healthz", "127.0.0.1", "", "").0, 200);
    peer.stop().unwrap();
}
