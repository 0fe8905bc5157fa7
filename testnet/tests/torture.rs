//! Bad and strange messages to a real peer, over UDP and TCP. After each of them it has to serve: the files are in
//! `testnet/torture/` (our own, on the points of RFC 4475 and more); their names begin with the status that is expected
//! over UDP, `none` for silence, `any` where the RFC leaves it open. Where the messages of RFC 4475 and 5118 themselves are
//! at hand (`../shared/torture`, or `DOTS_TORTURE=DIR`), the peer has to live through these too.

use dots_sip::message::Message;
use dots_testnet::{Result, phones::plain::Plain, process::Peer, random};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The peer answers within this, if it answers at all.
const ANSWER: Duration = Duration::from_secs(2);
/// Silence this long is silence.
const SILENCE: Duration = Duration::from_millis(100);

#[test]
fn every_message_is_survived_and_ours_are_answered_as_they_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = files(&root.join("torture"), "sip");
    assert!(own.len() >= 40, "the messages are missing");
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let mut probe = Plain::new(peer.sip().unwrap(), "probe@a.test", "x", &mut random()).unwrap();
    let mut wrong = Vec::new();
    for path in &own {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let expected = name.split('_').next().unwrap();
        let answer = by_udp(&peer, &std::fs::read(path).unwrap(), expected == "none").unwrap();
        if expected != "any" && expected != answer.map_or("none".to_owned(), |s| s.to_string()) {
            wrong.push(format!("{name}: answered {answer:?}"));
        }
        serves(&peer, &mut probe, name);
        by_tcp(&peer, &std::fs::read(path).unwrap()).unwrap();
        serves(&peer, &mut probe, name);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let theirs = std::env::var_os("DOTS_TORTURE").map(PathBuf::from);
    let theirs = theirs.unwrap_or_else(|| root.join("../../shared/torture"));
    for path in ["rfc4475", "rfc5118"].iter().flat_map(|rfc| files(&theirs.join(rfc), "dat")) {
        let bytes = std::fs::read(&path).unwrap();
        by_udp(&peer, &bytes, true).unwrap();
        by_tcp(&peer, &bytes).unwrap();
        serves(&peer, &mut probe, &path.display().to_string());
    }
    peer.stop().unwrap();
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}

fn serves(peer: &Peer, probe: &mut Plain, after: &str) {
    assert_eq!(probe.options(ANSWER).unwrap(), Some(200), "after {after}");
    assert!(peer.client().unwrap().healthy(), "after {after}");
}

/// The first final status that comes back, if one does.
fn by_udp(peer: &Peer, bytes: &[u8], short: bool) -> Result<Option<u16>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(bytes, peer.sip()?).unwrap();
    let end = Instant::now() + if short { SILENCE } else { 3 * SILENCE };
    let mut buffer = vec![0; 65_535];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left)).unwrap();
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { return Ok(None) };
        let message = Message::parse(buffer[..length].to_vec()).expect("the peer answers in good SIP");
        if let Some(status) = message.status().filter(|s| *s >= 200) {
            return Ok(Some(status));
        }
    }
}

/// Sends and reads what comes until silence; a closed connection is a fair answer to nonsense.
fn by_tcp(peer: &Peer, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(peer.sip()?).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    if stream.write_all(bytes).is_ok() {
        let mut buffer = [0; 4_096];
        while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(())
}
