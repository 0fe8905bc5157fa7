//! Which digest algorithms phones are offered, and which answers a home takes.

use dots_sip::message::{Message, Name};
use dots_testnet::process::Peer;
use dots_trust::digest::{Algorithm, ha1, response};
use std::{net::UdpSocket, time::Duration};

/// Sends a REGISTER for alice@a.test and returns the answer. `lines`: further header lines, each with its line end.
fn register(peer: &Peer, cseq: u32, lines: &str) -> Message {
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let at = phone.local_addr().unwrap();
    let text = format!(
        "REGISTER sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@a.test>;tag=1\r\nTo: <sip:alice@a.test>\r\nCall-ID: one\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:alice@{at}>\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    phone.send_to(text.as_bytes(), peer.sip().unwrap()).unwrap();
    let mut buffer = [0; 4096];
    let (length, _) = phone.recv_from(&mut buffer).unwrap();
    Message::parse(buffer[..length].to_vec()).unwrap()
}

fn quoted(header: &str, name: &str) -> String {
    let (_, rest) = header.split_once(&format!("{name}=\"")).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

fn offered(challenge: &Message) -> Vec<String> {
    let algorithm =
        |line: &str| line.split("algorithm=").nth(1).unwrap().split(',').next().unwrap().to_owned();
    challenge.header_lines(&Name::WwwAuthenticate).map(algorithm).collect()
}

fn answer(challenge: &Message, algorithm: Algorithm, password: &str) -> String {
    let line = challenge.header(&Name::WwwAuthenticate).unwrap();
    let (realm, nonce) = (quoted(line, "realm"), quoted(line, "nonce"));
    let secret = ha1(algorithm, "alice", &realm, password);
    let proof = response(algorithm, &secret, "REGISTER", "sip:a.test", &nonce, 1, "c", "auth");
    format!(
        "Authorization: Digest username=\"alice\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"sip:a.test\", \
         response=\"{proof}\", algorithm={}, qop=auth, nc=00000001, cnonce=\"c\"\r\n",
        algorithm.as_str()
    )
}

#[test]
fn whoever_reads_only_the_topmost_challenge_registers_with_md5() {
    let peer = Peer::start("a.test", &[]).unwrap();
    peer.account("alice@a.test", "wonderland").unwrap();
    for (n, agent) in (1u32..).zip(["", "User-Agent: Twinkle/1.10.2\r\n", "User-Agent: MicroSIP/3.19\r\n"]) {
        let challenge = register(&peer, 2 * n, agent);
        assert_eq!(offered(&challenge), ["MD5", "SHA-256"], "{agent:?}");
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            // A nonce is good once with each count.
            let challenge = register(&peer, 2 * n, agent);
            let lines = format!("{agent}{}", answer(&challenge, algorithm, "wonderland"));
            assert_eq!(register(&peer, 2 * n + 1, &lines).status(), Some(200), "{agent:?} {algorithm:?}");
        }
    }
}

#[test]
fn a_realm_that_is_set_to_one_algorithm_offers_and_takes_that_alone() {
    for (setting, only, other) in
        [("md5", Algorithm::Md5, Algorithm::Sha256), ("a.test=sha256", Algorithm::Sha256, Algorithm::Md5)]
    {
        let peer = Peer::start("a.test", &["--digest", setting]).unwrap();
        peer.account("alice@a.test", "wonderland").unwrap();
        let challenge = register(&peer, 1, "User-Agent: baresip v1.0.0\r\n");
        assert_eq!(offered(&challenge), [only.as_str()], "{setting}");
        let refused = register(&peer, 2, &answer(&challenge, other, "wonderland"));
        assert_eq!(refused.status(), Some(401), "{setting}: the right password by the wrong algorithm");
        let challenge = register(&peer, 3, "");
        assert_eq!(
            register(&peer, 4, &answer(&challenge, only, "wonderland")).status(),
            Some(200),
            "{setting}"
        );
    }
}
