//! A stranger opens connections and says half a message on each. Everybody else goes on: phones over UDP and TCP, the
//! HTTP API, the disk.

use dots_testnet::{
    phones::plain::Plain,
    process::{Peer, binary},
    random,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    time::Duration,
};
use tokio::net::TcpSocket;

const ANSWER: Duration = Duration::from_secs(5);
/// More than the peer's whole table of file descriptors.
const CONNECTIONS: usize = 400;
const DESCRIPTORS: usize = 256;
const OPTIONS: &str = "OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2;branch=z9hG4bK-silent\r\nMax-Forwards: 70\r\n\
    From: <sip:t@a.test>;tag=1\r\nTo: <sip:a.test>\r\nCall-ID: silent\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

#[test]
fn connections_that_say_nothing_take_nothing_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("dots");
    let text = format!("#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec '{}' \"$@\"\n", binary().unwrap().display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut peer = Peer::start_from(&script, None, "a.test", &[]).unwrap();
    let server = peer.sip().unwrap().to_owned();

    let silent: Vec<TcpStream> = (0..CONNECTIONS).map(|_| half_a_message(&server)).collect();
    // This asks over HTTP, and writes to the disk.
    peer.account("alice@a.test", "secret").unwrap();
    let mut alice = Plain::new(&server, "alice@a.test", "secret", &mut random()).unwrap();
    assert_eq!(alice.register(3600, 0, ANSWER).unwrap(), Some(200));
    assert_eq!(peer.client().unwrap().bindings().unwrap().len(), 1);
    let mut other = from("127.0.0.2", &server);
    other.set_read_timeout(Some(ANSWER)).unwrap();
    other.write_all(OPTIONS.as_bytes()).unwrap();
    let mut answer = [0; 14];
    other.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"SIP/2.0 200 OK");
    drop(silent);
    peer.stop().unwrap();
}

fn half_a_message(server: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    // A connection too many is closed at once.
    let _ = stream.write_all(b"OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/TCP x");
    stream
}

/// A connection from another address of this machine.
fn from(ip: &str, server: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        socket.connect(server.parse().unwrap()).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}
