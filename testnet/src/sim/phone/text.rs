//! The bytes that a phone writes, and the challenge that it reads.

use dots_trust::digest::{Algorithm, ha1, response};

/// A request: its first two words, header lines (empty ones are left out), a body.
pub fn request(start: &str, lines: &[String], body: &str) -> Vec<u8> {
    let mut text = format!("{start} SIP/2.0\r\nMax-Forwards: 70\r\n");
    for line in lines.iter().filter(|l| !l.is_empty()) {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// Realm, nonce and algorithm of one challenge.
pub fn challenge(value: &str) -> Option<(String, String, &'static str)> {
    let field = |name: &str| {
        let rest = value.split_once(&format!("{name}="))?.1;
        let rest = rest.trim_start_matches('"');
        Some(rest.split(['"', ',']).next()?.to_owned())
    };
    let algorithm = Algorithm::parse(&field("algorithm").unwrap_or_default())?;
    Some((field("realm")?, field("nonce")?, algorithm.as_str()))
}

/// The credentials for one request (RFC 7616 §3.4).
#[allow(clippy::too_many_arguments)]
pub fn answer(
    user: &str,
    password: &str,
    realm: &str,
    nonce: &str,
    algorithm: &'static str,
    count: u32,
    cnonce: &str,
    method: &str,
    uri: &str,
) -> String {
    let kind = Algorithm::parse(algorithm).unwrap_or(Algorithm::Md5);
    let ha1 = ha1(kind, user, realm, password);
    let response = response(kind, &ha1, method, uri, nonce, count, cnonce, "auth");
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm={algorithm}, qop=auth, nc={count:08x}, cnonce=\"{cnonce}\""
    )
}

/// An offer of sound; nobody listens.
pub fn sdp(address: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    )
}
