//! One phone of a flood. It remembers the nonce that it was given and counts its uses (RFC 7616 §3.4: nc), as desk phones do, so
//! that a refresh is one request; and until when the server has promised to keep it.

use dots_trust::digest::{Algorithm, ha1, response};
use std::{io::Write, net::SocketAddr};

/// Everybody's: the reference server knows no others.
pub const PASSWORD: &str = "secret";
/// Asked for in each REGISTER.
const EXPIRES_S: u64 = 3_600;
/// Requests whose time of sending is remembered.
const SENT_MAX: usize = 4;

pub struct Phone {
    number: usize,
    credential: Option<Credential>,
    cseq: u32,
    /// CSeq and wall-clock milliseconds of the last few.
    sent: [(u32, u64); SENT_MAX],
    promised_until_ms: u64,
}

struct Credential {
    nonce: String,
    algorithm: Algorithm,
    ha1: String,
    nc: u32,
}

/// What an answer meant to the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Registered,
    /// It has a new nonce and may ask again.
    Challenged,
    Refused(u16),
}

/// What matters of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    pub status: u16,
    /// `None`: to a stranger.
    pub phone: Option<usize>,
    pub cseq: u32,
    text: &'a str,
}

impl Phone {
    pub fn new(number: usize) -> Phone {
        Phone { number, credential: None, cseq: 0, sent: [(0, 0); SENT_MAX], promised_until_ms: 0 }
    }

    pub fn user(&self) -> String {
        format!("u{}", self.number)
    }
    pub fn cseq(&self) -> u32 {
        self.cseq
    }
    /// Wall-clock milliseconds; 0: never registered.
    pub fn promised_until_ms(&self) -> u64 {
        self.promised_until_ms
    }
    pub fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// The next REGISTER, with an answer if it was ever challenged.
    pub fn register(&mut self, out: &mut Vec<u8>, realm: &str, at: SocketAddr, now_ms: u64) {
        self.cseq += 1;
        self.sent[self.cseq as usize % SENT_MAX] = (self.cseq, now_ms);
        let (n, cseq) = (self.number, self.cseq);
        head(out, realm, at, &format!("u{n}"), &format!("flood-{n}"), cseq);
        if let Some(line) = self.credentials("Authorization", "REGISTER", realm, &format!("sip:{realm}")) {
            out.extend_from_slice(line.as_bytes());
        }
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }

    /// The header line that answers the last challenge, once more.
    pub fn credentials(&mut self, header: &str, method: &str, realm: &str, uri: &str) -> Option<String> {
        let Credential { nonce, algorithm, ha1, nc } = self.credential.as_mut()?;
        *nc += 1;
        let proof = response(*algorithm, ha1, method, uri, nonce, *nc, "c0ffee", "auth");
        Some(format!(
            "{header}: Digest username=\"u{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{proof}\", algorithm={}, qop=auth, nc={nc:08x}, cnonce=\"c0ffee\"\r\n",
            self.number,
            algorithm.as_str()
        ))
    }

    pub fn hear(&mut self, reply: &Reply<'_>, realm: &str) -> Heard {
        match reply.status {
            200..=299 => {
                let sent = self.sent[reply.cseq as usize % SENT_MAX];
                if sent.0 == reply.cseq {
                    let until = sent.1 + 1_000 * reply.granted_s().unwrap_or(EXPIRES_S);
                    self.promised_until_ms = self.promised_until_ms.max(until);
                }
                Heard::Registered
            }
            401 | 407 => match reply.challenge() {
                Some((nonce, algorithm)) => {
                    // Of one password there is one HA1 for each algorithm.
                    let known = self.credential.take().filter(|old| old.algorithm == algorithm);
                    let ha1 = known
                        .map_or_else(|| ha1(algorithm, &self.user(), realm, PASSWORD), |known| known.ha1);
                    self.credential = Some(Credential { nonce: nonce.to_owned(), algorithm, ha1, nc: 0 });
                    Heard::Challenged
                }
                None => Heard::Refused(reply.status),
            },
            status => Heard::Refused(status),
        }
    }
}

/// A REGISTER of somebody who has no right to it. `guess`: what he says that he was asked.
pub fn write_stranger(
    out: &mut Vec<u8>,
    realm: &str,
    at: SocketAddr,
    user: usize,
    number: u64,
    guess: Option<&str>,
) {
    head(out, realm, at, &format!("u{user}"), &format!("stranger-{number}"), 1);
    if let Some(nonce) = guess {
        let _ = write!(
            out,
            "Authorization: Digest username=\"u{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"sip:{realm}\", \
             response=\"{nonce}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c0ffee\"\r\n"
        );
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

fn head(out: &mut Vec<u8>, realm: &str, at: SocketAddr, user: &str, call_id: &str, cseq: u32) {
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{call_id}-{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@{realm}>;tag={call_id}\r\nTo: <sip:{user}@{realm}>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\nUser-Agent: flood\r\nContact: <sip:{user}@{at}>\r\nExpires: {EXPIRES_S}\r\n"
    );
}

impl<'a> Reply<'a> {
    /// `None`: no answer to one of ours (a server may ask its phones too).
    pub fn parse(bytes: &'a [u8]) -> Option<Reply<'a>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let status = text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()?;
        let cseq = header(text, "\r\nCSeq: ")?.split(' ').next()?.parse().ok()?;
        let phone = header(text, "\r\nCall-ID: ")?.strip_prefix("flood-");
        Some(Reply { status, phone: phone.and_then(|n| n.parse().ok()), cseq, text })
    }

    /// Of the topmost challenge.
    fn challenge(&self) -> Option<(&'a str, Algorithm)> {
        let asked = header(self.text, "-Authenticate: Digest ")?;
        let value = |name| Some(asked.split_once(name)?.1);
        let nonce = value("nonce=\"")?.split('"').next()?;
        let algorithm =
            value("algorithm=").map_or("", |a| a.split([',', ' ']).next().unwrap_or("")).trim_matches('"');
        Some((nonce, Algorithm::parse(algorithm)?))
    }

    fn granted_s(&self) -> Option<u64> {
        let contact = header(self.text, "\r\nContact: ")?;
        contact.split_once(";expires=")?.1.split([';', ',']).next()?.parse().ok()
    }
}

fn header<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split("\r\n").next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_sip::message::{Message, Name};

    const AT: &str = "127.0.0.1:5062";

    #[test]
    fn it_answers_what_it_was_asked() {
        let (mut phone, at, mut out) = (Phone::new(7), AT.parse().unwrap(), Vec::new());
        phone.register(&mut out, "a.test", at, 1_000);
        let first = Message::parse(std::mem::take(&mut out)).unwrap();
        assert_eq!(first.header(&Name::Authorization), None);

        let challenge = b"SIP/2.0 401 Unauthorized\r\nCall-ID: flood-7\r\nCSeq: 1 REGISTER\r\n\
            WWW-Authenticate: Digest realm=\"a.test\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\r\n\
            WWW-Authenticate: Digest realm=\"a.test\", nonce=\"def\", algorithm=SHA-256, qop=\"auth\"\r\n\r\n";
        let reply = Reply::parse(challenge).unwrap();
        assert_eq!((reply.status, reply.phone, reply.cseq), (401, Some(7), 1));
        assert_eq!(phone.hear(&reply, "a.test"), Heard::Challenged);
        for nc in 1..=2 {
            phone.register(&mut out, "a.test", at, 2_000);
            let message = Message::parse(std::mem::take(&mut out)).unwrap();
            let said = message.header(&Name::Authorization).unwrap();
            let secret = ha1(Algorithm::Md5, "u7", "a.test", "secret");
            let proof =
                response(Algorithm::Md5, &secret, "REGISTER", "sip:a.test", "abc", nc, "c0ffee", "auth");
            assert!(said.contains(&proof) && said.contains(&format!("nc={nc:08x}")), "{said}");
        }
    }

    #[test]
    fn a_promise_counts_from_its_request() {
        let (mut phone, at) = (Phone::new(0), AT.parse().unwrap());
        for now in [1_000, 2_000, 3_000] {
            phone.register(&mut Vec::new(), "a.test", at, now);
        }
        let ok = |cseq: u32, expires: &str| {
            format!(
                "SIP/2.0 200 OK\r\nCall-ID: flood-0\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:u0@h>{expires}\r\n\r\n"
            )
        };
        for (cseq, expires, until) in [
            (2, ";expires=60", 62_000),
            // An older answer that comes late takes nothing back.
            (1, ";expires=60", 62_000),
            (3, "", 3_603_000),
            // Never asked.
            (9, ";expires=99999", 3_603_000),
        ] {
            let text = ok(cseq, expires);
            assert_eq!(phone.hear(&Reply::parse(text.as_bytes()).unwrap(), "a.test"), Heard::Registered);
            assert_eq!(phone.promised_until_ms(), until, "{cseq}");
        }
    }

    #[test]
    fn other_things_that_come() {
        for rubbish in ["", "OPTIONS sip:u0@h SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n"] {
            assert_eq!(Reply::parse(rubbish.as_bytes()), None, "{rubbish}");
        }
        let text = "SIP/2.0 503 Busy\r\nCSeq: 1 REGISTER\r\nCall-ID: stranger-5\r\n\r\n";
        let reply = Reply::parse(text.as_bytes()).unwrap();
        assert_eq!(reply.phone, None);
        assert_eq!(Phone::new(0).hear(&reply, "a.test"), Heard::Refused(503));
    }

    #[test]
    fn strangers_write_sip() {
        let mut out = Vec::new();
        write_stranger(&mut out, "a.test", AT.parse().unwrap(), 3, 9, Some("feed"));
        let message = Message::parse(out).unwrap();
        assert_eq!(message.header(&Name::CallId), Some("stranger-9"));
        assert!(message.header(&Name::Authorization).unwrap().contains("nonce=\"feed\""));
    }
}
