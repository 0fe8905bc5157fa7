//! Bad and strange messages to a real peer, over UDP and TCP. After each of them it has to serve: a phone registers, and
//! the HTTP API says that the peer is well. The messages are files, so adding one adds no code:
//!
//! - `torture/*.sip`: our own, on the points of RFC 4475 and more. A name begins with the status that is expected over
//!   UDP, `none` for silence, `any` where the RFC leaves it open.
//! - `torture/rfc4475/*.dat` and `torture/rfc5118/*.dat`: those of the RFCs, byte for byte; `outcomes` beside them says
//!   what is expected of each over UDP and over TCP. The peer is home for the domains that they name.

use dots_sip::message::Message;
use dots_testnet::{Result, phones::plain::Plain, process::Peer};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// An answer that has to come is awaited this long.
const ANSWER: Duration = Duration::from_secs(5);
/// Silence this long is silence.
const SILENCE: Duration = Duration::from_millis(100);
/// The domains of the RFCs' messages, after the one that the probe registers in.
const REALMS: [&str; 4] =
    ["--realm=example.com", "--realm=example.net", "--realm=example.org", "--realm=company.com"];

/// What came back: a final status, `close`, or `none`.
type Outcome = String;
/// A way to send; the last argument says that silence is an answer too.
type Send = fn(&Peer, &[u8], bool) -> Result<Outcome>;

#[test]
fn ours_are_survived_and_answered_as_their_names_say() {
    let messages = files(Path::new("torture"), "sip");
    assert!(messages.len() >= 40, "the messages are missing");
    let expected = |path: &Path| {
        let udp = stem(path).split('_').next().unwrap_or_default().to_owned();
        (udp, "any".to_owned())
    };
    torture(&messages, expected);
}

#[test]
fn those_of_rfc_4475_are_survived_and_answered() {
    by_table("torture/rfc4475", 50);
}

#[test]
fn those_of_rfc_5118_are_survived_and_answered() {
    by_table("torture/rfc5118", 12);
}

fn by_table(dir: &str, count: usize) {
    let messages = files(Path::new(dir), "dat");
    assert_eq!(messages.len(), count, "a message is missing");
    let table = std::fs::read_to_string(Path::new(dir).join("outcomes")).unwrap();
    let mut outcomes = BTreeMap::new();
    for line in table.lines().filter(|l| !l.starts_with('#')) {
        let mut words = line.split_whitespace().map(str::to_owned);
        if let (Some(name), Some(udp), Some(tcp)) = (words.next(), words.next(), words.next()) {
            outcomes.insert(name, (udp, tcp));
        }
    }
    torture(&messages, |path| outcomes.get(stem(path)).cloned().unwrap_or_default());
}

/// Sends each message both ways. All that came back wrong is told together, so that one run shows the whole picture.
fn torture(messages: &[PathBuf], expected: impl Fn(&Path) -> (String, String)) {
    let mut wrong = Vec::new();
    let (mut datagrams, mut streams) = (Tortured::start(), Tortured::start());
    for path in messages {
        let (bytes, (udp, tcp)) = (std::fs::read(path).unwrap(), expected(path));
        wrong.extend(datagrams.hit(&bytes, stem(path), "UDP", &udp, by_udp));
        wrong.extend(streams.hit(&bytes, stem(path), "TCP", &tcp, by_tcp));
    }
    datagrams.peer.stop().unwrap();
    streams.peer.stop().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A peer, a phone that registers at it again and again, and the transactions that the peer may still remember.
struct Tortured {
    peer: Peer,
    probe: Plain,
    branches: BTreeSet<String>,
}

impl Tortured {
    fn start() -> Tortured {
        let peer = Peer::start("a.test", &REALMS).unwrap();
        peer.account("probe@a.test", "probe").unwrap();
        // It only names the probe's requests: nothing here depends on it.
        let mut rng = ChaCha8Rng::from_os_rng();
        let probe = Plain::new(peer.sip().unwrap(), "probe@a.test", "probe", &mut rng).unwrap();
        Tortured { peer, probe, branches: BTreeSet::new() }
    }

    /// What came back, where it is not what was expected.
    fn hit(&mut self, bytes: &[u8], name: &str, way: &str, expected: &str, send: Send) -> Option<String> {
        let message = Message::parse_lenient(bytes.to_vec()).ok();
        let branch = message.as_ref().and_then(|m| Some(m.via()?.branch()?.to_owned()));
        // Some of the RFC's messages share a branch: to the same peer the second would be a repetition of the first.
        if branch.as_ref().is_some_and(|branch| self.branches.contains(branch)) {
            self.peer.stop().unwrap();
            *self = Tortured::start();
        }
        self.branches.extend(branch);
        let silent = expected == "any" || expected.split('|').any(|e| e == "none");
        let outcome = send(&self.peer, bytes, silent).unwrap();
        assert_eq!(
            self.probe.register(3600, 0, ANSWER).unwrap(),
            Some(200),
            "REGISTER after {name} by {way}"
        );
        assert!(self.peer.client().unwrap().healthy(), "after {name} by {way}");
        let right = expected == "any" || expected.split('|').any(|e| e == outcome);
        (!right).then(|| format!("{name} by {way}: {outcome}, not {expected}"))
    }
}

fn by_udp(peer: &Peer, bytes: &[u8], silent: bool) -> Result<Outcome> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(bytes, peer.sip()?).unwrap();
    let end = Instant::now() + if silent { SILENCE } else { ANSWER };
    let mut buffer = vec![0; 65_535];
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left)).unwrap();
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { break };
        if let Some(status) = final_status(&buffer[..length], bytes) {
            return Ok(status);
        }
    }
    Ok("none".into())
}

/// Reads until a final answer, the end of the connection or silence.
fn by_tcp(peer: &Peer, bytes: &[u8], silent: bool) -> Result<Outcome> {
    let mut stream = TcpStream::connect(peer.sip()?).unwrap();
    stream.set_read_timeout(Some(if silent { SILENCE } else { ANSWER })).unwrap();
    let mut outcome = "close".to_owned();
    if stream.write_all(bytes).is_ok() {
        let (mut got, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => got.extend_from_slice(&buffer[..length]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(_) => {
                    outcome = "none".into();
                    break;
                }
            }
            if let Some(status) = statuses(&got, bytes) {
                outcome = status;
                break;
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(outcome)
}

/// The first final status of a stream.
fn statuses(stream: &[u8], request: &[u8]) -> Option<Outcome> {
    let mut framer = dots_sip::framing::Framer::default();
    framer.push(stream);
    while let Some(frame) = framer.next_frame().expect("the peer frames its answers") {
        if let dots_sip::framing::Frame::Message(bytes) = frame
            && let Some(status) = final_status(&bytes, request)
        {
            return Some(status);
        }
    }
    None
}

/// A good request gets an answer in good SIP; a broken one gets its broken lines back (RFC 3261 §8.2.6.2).
fn final_status(answer: &[u8], request: &[u8]) -> Option<Outcome> {
    let strict = Message::parse(answer.to_vec());
    assert!(strict.is_ok() || Message::parse(request.to_vec()).is_err(), "not SIP: {strict:?}");
    let message = Message::parse_lenient(answer.to_vec()).expect("a response line at least");
    message.status().filter(|status| *status >= 200).map(|status| status.to_string())
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|s| s.to_str()).unwrap_or_default()
}
