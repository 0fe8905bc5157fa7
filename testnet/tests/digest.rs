//! Which digest algorithms phones are offered, and which answers a home takes.

use dots_sip::message::{Message, Name};
use dots_testnet::process::Peer;
use dots_trust::digest::{Algorithm, ha1, response};
use std::{net::UdpSocket, time::Duration};

/// Sends a REGISTER for alice@a.test and returns the answer. `lines`: further header lines, each with its line end.
fn register(peer: &Peer, cseq: u32, lines: &str) -> Message {
    register_from("127.0.0.1", "alice", peer, cseq, lines)
}

/// The same of another user, as a URI writes it, from another address.
fn register_from(host: &str, user: &str, peer: &Peer, cseq: u32, lines: &str) -> Message {
    ask(host, ("REGISTER", "sip:a.test"), user, peer, cseq, lines)
}

fn ask(host: &str, (method, uri): (&str, &str), user: &str, peer: &Peer, cseq: u32, lines: &str) -> Message {
    let to = if method == "REGISTER" { format!("sip:{user}@a.test") } else { uri.to_owned() };
    let phone = UdpSocket::bind((host, 0)).unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let at = phone.local_addr().unwrap();
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{method}{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@a.test>;tag=1\r\nTo: <{to}>\r\nCall-ID: one\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:{user}@{at}>\r\n{lines}Content-Length: 0\r\n\r\n"
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
    answer_as("alice", challenge, algorithm, password)
}

/// By a phone into which this user name was typed: it hashes it as it is.
fn answer_as(username: &str, challenge: &Message, algorithm: Algorithm, password: &str) -> String {
    let line = challenge.header(&Name::WwwAuthenticate).unwrap();
    let (realm, nonce) = (quoted(line, "realm"), quoted(line, "nonce"));
    let secret = ha1(algorithm, username, &realm, password);
    let proof = response(algorithm, &secret, "REGISTER", "sip:a.test", &nonce, 1, "c", "auth");
    format!(
        "Authorization: Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"sip:a.test\", \
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

/// RFC 3261 §19.1.2 escapes what a URI must not hold, and phones hash what was typed: `9903#1` or `9903%231`. Both are one account,
/// however it was made.
#[test]
fn every_spelling_of_a_name_opens_its_account() {
    let peer = Peer::start("a.test", &[]).unwrap();
    peer.account("9903#1@a.test", "one").unwrap();
    peer.account("9904%231@a.test", "one").unwrap();
    let lines = "\"*72@a.test\",one\n\"+49#1@a.test\",one\n9905%231@a.test,one\n";
    peer.dots(&["account", "import", "-"], lines).unwrap().ok().unwrap();
    let known = ha1(Algorithm::Md5, "9906%231", "a.test", "one");
    peer.dots(&["account", "import", "-", "--ha1"], &format!("9906#1@a.test,{known}\n"))
        .unwrap()
        .ok()
        .unwrap();
    let mut cseq = 0;
    for (in_uri, typed) in [
        ("9903%231", &["9903#1", "9903%231", "9903#1@a.test", "9903%231@a.test"][..]),
        ("9904%231", &["9904#1", "9904%231"]),
        ("*72", &["*72", "%2A72", "%2a72", "%2A72@a.test"]),
        ("%2A72", &["*72"]),
        ("+49%231", &["+49#1", "+49%231", "%2B49%231", "%2b49%231"]),
        ("9905%231", &["9905#1", "9905%231"]),
        ("9906%231", &["9906%231"]),
    ] {
        for username in typed {
            for (algorithm, password, status) in [
                (Algorithm::Md5, "one", 200),
                (Algorithm::Sha256, "one", if in_uri == "9906%231" { 401 } else { 200 }),
                (Algorithm::Md5, "two", 401),
            ] {
                cseq += 2;
                let challenge = register_from("127.0.0.1", in_uri, &peer, cseq, "");
                let answer = answer_as(username, &challenge, algorithm, password);
                let answered = register_from("127.0.0.1", in_uri, &peer, cseq + 1, &answer);
                assert_eq!(answered.status(), Some(status), "{username} for {in_uri} by {algorithm:?}");
            }
        }
    }
    // One name's spelling opens no other name.
    let challenge = register_from("127.0.0.1", "9904%231", &peer, cseq + 2, "");
    let answer = answer_as("9903%231", &challenge, Algorithm::Md5, "one");
    assert_eq!(register_from("127.0.0.1", "9904%231", &peer, cseq + 3, &answer).status(), Some(403));
}

/// AUTH-7: whoever reads the log for addresses to block reads of those alone that heard our challenge, and nothing that somebody
/// else wrote.
#[test]
fn a_refused_password_is_one_line_of_a_fixed_form_about_who_heard_the_challenge() {
    let peer = Peer::start("a.test", &[]).unwrap();
    peer.account("alice@a.test", "wonderland").unwrap();
    let refusals = || -> Vec<String> {
        let log = peer.log();
        let lines = log.lines().filter_map(|line| line.split_once("refused password: "));
        lines.map(|(_, rest)| rest.to_owned()).collect()
    };
    for (user, host, shown) in [
        ("alice", "127.0.0.1", "alice"),
        ("nobody", "127.0.0.2", "nobody"),
        ("x=1&address=192.0.2.9,+#", "127.0.0.3", "x%3D1%26address%3D192.0.2.9%2C+#"),
    ] {
        let challenge = register_from(host, user, &peer, 1, "");
        let answer = answer_as(user, &challenge, Algorithm::Md5, "wrong");
        assert_eq!(register_from(host, user, &peer, 2, &answer).status(), Some(401), "{user}");
        let expected = format!("account={shown}@a.test address={host}");
        assert_eq!(refusals().last(), Some(&expected));
    }
    let before = refusals();
    assert_eq!(before.len(), 3);
    // A nonce that another address heard, one that nobody heard, and one of another server.
    let heard = register_from("127.0.0.1", "alice", &peer, 1, "");
    let answer = answer_as("alice", &heard, Algorithm::Md5, "wrong");
    let nonce = quoted(heard.header(&Name::WwwAuthenticate).unwrap(), "nonce");
    for answer in
        [answer.clone(), answer.replace(&nonce, &"A".repeat(nonce.len())), answer.replace(&nonce, "1")]
    {
        let refused = register_from("127.0.0.9", "alice", &peer, 2, &answer);
        assert_eq!(refused.status(), Some(401));
        let challenge = refused.header(&Name::WwwAuthenticate).unwrap();
        assert!(challenge.contains("stale=true"), "{challenge}");
    }
    assert_eq!(refusals(), before, "nobody is accused whom we did not ask");
}

/// Unknown users and known ones get the same words, whatever is asked and whatever is answered: what differs is chance alone.
#[test]
fn nobody_learns_over_sip_whether_there_is_an_account() {
    let peer = Peer::start("a.test", &[]).unwrap();
    peer.account("alice@a.test", "wonderland").unwrap();
    // Names as long as each other, so that not even lengths tell.
    let users = ["alice", "alicf"];
    let words = |answered: &Message| -> String {
        let text = String::from_utf8_lossy(answered.raw()).into_owned();
        let told =
            text.lines().filter(|line| !["Via:", "Contact:"].iter().any(|name| line.starts_with(name)));
        let mut told = told.collect::<Vec<_>>().join("\n");
        for user in users {
            told = told.replace(user, "user");
        }
        for parameter in ["nonce=\"", ";tag=", "branch="] {
            while let Some((before, rest)) = told.split_once(parameter) {
                let end = rest.find(['"', '\n', ';']).unwrap_or(rest.len());
                told = format!("{before}{}", &rest[end..]);
            }
        }
        told
    };
    for answered in [
        |peer: &Peer, user: &str| register_from("127.0.0.1", user, peer, 1, ""),
        |peer: &Peer, user: &str| {
            let challenge = register_from("127.0.0.1", user, peer, 3, "");
            register_from("127.0.0.1", user, peer, 4, &answer_as(user, &challenge, Algorithm::Md5, "wrong"))
        },
        |peer: &Peer, user: &str| {
            ask("127.0.0.1", ("INVITE", &format!("sip:{user}@a.test")), "eve", peer, 5, "")
        },
        |peer: &Peer, user: &str| {
            ask("127.0.0.1", ("OPTIONS", &format!("sip:{user}@a.test")), "eve", peer, 6, "")
        },
        |peer: &Peer, user: &str| {
            ask("127.0.0.1", ("SUBSCRIBE", &format!("sip:{user}@a.test")), "eve", peer, 7, "")
        },
        |peer: &Peer, user: &str| ask("127.0.0.1", ("MESSAGE", "sip:eve@a.test"), user, peer, 8, ""),
        |peer: &Peer, user: &str| {
            let challenge = ask("127.0.0.1", ("MESSAGE", "sip:eve@a.test"), user, peer, 9, "");
            let line = challenge.header(&Name::ProxyAuthenticate).unwrap().to_owned();
            let nonce = quoted(&line, "nonce");
            let authorization = format!(
                "Proxy-Authorization: Digest username=\"{user}\", realm=\"a.test\", nonce=\"{nonce}\", \
                 uri=\"sip:eve@a.test\", response=\"{}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\r\n",
                "0".repeat(32)
            );
            ask("127.0.0.1", ("MESSAGE", "sip:eve@a.test"), user, peer, 10, &authorization)
        },
    ] {
        let [known, unknown] = users.map(|user| words(&answered(&peer, user)));
        assert_eq!(known, unknown);
        assert!(known.starts_with("SIP/2.0 40"), "{known}");
    }
}
