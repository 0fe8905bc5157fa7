//! Route tokens: the user part of every Record-Route URI that we write.
//!
//! A token names both sides of a dialog as this peer reaches them, under an HMAC over that, the Call-ID and the caller's
//! tag. A request inside a dialog is forwarded only by a valid token, only to the side that its sender is not. So an
//! invented To-tag or a foreign Route opens nothing, and no dialog state needs to survive a restart. It says when it was
//! given, and by a hash for whom, so that it ends, and nobody else speaks by it when the dialog is forgotten.
//!
//! The other peer and both phones see it, and it has addresses in it. So it is encrypted (TOK-9); the HMAC is at the same time the
//! initialisation vector, as in SIV (RFC 5297).
//!
//! Up to four of them ride in one INVITE, so they are short (TOK-10): an instance is 8 bytes of its hash, a peer its 20.

use crate::{Flow, Transport, hop::PeerLabel};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;

/// One end of a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A registered phone: its newest binding is used, wherever it came from since. In an opened token `instance`
    /// is what [`short_instance`] makes of it.
    Phone {
        aor: String,
        instance: String,
    },
    /// A phone that called without being registered: the flow it called on.
    Flow(Flow),
    Peer(PeerLabel),
}

/// What kind of request began the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Call,
    Subscription,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub usage: Usage,
    /// Hours since 1970, UTC, when it was written.
    given_h: u32,
    /// Of the canonical AORs of caller and callee.
    parties: [u8; PARTIES_BYTES],
    pub caller: Side,
    pub callee: Side,
}

const VERSION: u8 = b'2';
const PARTIES_BYTES: usize = 5;
/// The topmost bit of the hours.
const SUBSCRIPTION: u32 = 1 << 23;
const HOUR_MS: u64 = 3_600_000;
/// A token ends so long after it was given, unless its dialog is remembered and used.
pub const TOKEN_HOURS: u32 = 24;
/// 80 bits: a forger would have to guess one live Call-ID and tag as well.
const MAC_BYTES: usize = 10;

/// No token of ours is longer: two phones with AORs of 255 bytes are 890 characters. Looked at first: whoever sends a longer
/// text would have it decoded and hashed, and the blocks of the stream are numbered by one byte.
const TEXT_BYTES_MAX: usize = 1_024;

/// Of a peer's label: 32 characters of base32.
const LABEL_BYTES: usize = 20;
/// Instances are told apart within one AOR only.
const INSTANCE_BYTES: usize = 8;

/// An instance as opened tokens name it.
pub fn short_instance(instance: &str) -> String {
    data_encoding::HEXLOWER.encode(&instance_hash(instance))
}

fn instance_hash(instance: &str) -> [u8; INSTANCE_BYTES] {
    let hash = Sha256::digest(instance.as_bytes());
    let mut out = [0; INSTANCE_BYTES];
    out.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    out
}

/// The bytes of a label that is exactly what [`read_side`] will write again.
fn label_bytes(label: &str) -> Option<Vec<u8>> {
    let bytes = data_encoding::BASE32_NOPAD.decode(label.to_ascii_uppercase().as_bytes()).ok()?;
    let same = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase() == label;
    (same && bytes.len() == LABEL_BYTES).then_some(bytes)
}

impl Token {
    /// Given now, to these canonical AORs.
    pub fn new(
        usage: Usage,
        now_ms: u64,
        (caller_aor, callee_aor): (&str, &str),
        (caller, callee): (Side, Side),
    ) -> Token {
        let given_h = u32::try_from(now_ms / HOUR_MS).unwrap_or(0) & (SUBSCRIPTION - 1);
        Token { usage, given_h, parties: parties_hash(caller_aor, callee_aor), caller, callee }
    }

    /// TOK-11.
    pub fn is_over(&self, now_ms: u64) -> bool {
        let now_h = u32::try_from(now_ms / HOUR_MS).unwrap_or(0) & (SUBSCRIPTION - 1);
        // One from the future was given before a clock was set back.
        now_h.saturating_sub(self.given_h) > TOKEN_HOURS
    }

    /// Is it for a dialog of these two?
    pub fn is_of(&self, caller_aor: &str, callee_aor: &str) -> bool {
        self.parties == parties_hash(caller_aor, callee_aor)
    }

    /// Lower-case base32: legal in a user part, and survives proxies that change case.
    pub fn seal(&self, key: &[u8; 32], call_id: &str, caller_tag: &str) -> String {
        let subscription = if self.usage == Usage::Subscription { SUBSCRIPTION } else { 0 };
        let [_, hours @ ..] = (self.given_h | subscription).to_be_bytes();
        let mut body = [&hours[..], &self.parties].concat();
        write_side(&mut body, &self.caller);
        write_side(&mut body, &self.callee);
        data_encoding::BASE32_NOPAD.encode(&close(key, &body, call_id, caller_tag)).to_ascii_lowercase()
    }

    /// The token, if we sealed it for this dialog.
    pub fn open(text: &str, key: &[u8; 32], call_id: &str, caller_tag: &str) -> Option<Token> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (seen, hidden) = rest.split_first_chunk::<MAC_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let body = stream(key, seen, hidden);
        let expected = mac(key, &body, call_id, caller_tag);
        if seen.iter().zip(&expected).fold(0u8, |d, (a, b)| d | (a ^ b)) != 0 {
            return None;
        }
        let (hours, rest) = body.split_first_chunk::<3>()?;
        let (parties, mut rest) = rest.split_first_chunk::<PARTIES_BYTES>()?;
        let hours = hours.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
        let usage = if hours & SUBSCRIPTION == 0 { Usage::Call } else { Usage::Subscription };
        let (caller, callee) = (read_side(&mut rest)?, read_side(&mut rest)?);
        let given_h = hours & (SUBSCRIPTION - 1);
        rest.is_empty().then_some(Token { usage, given_h, parties: *parties, caller, callee })
    }
}

fn parties_hash(caller: &str, callee: &str) -> [u8; PARTIES_BYTES] {
    let hash = Sha256::digest([caller.as_bytes(), &[0], callee.as_bytes()].concat());
    *hash.first_chunk().expect("a hash of 32 bytes begins with five")
}

/// `version | MAC | body, encrypted`
fn close(key: &[u8; 32], body: &[u8], call_id: &str, tag: &str) -> Vec<u8> {
    let mac = mac(key, body, call_id, tag);
    let iv: &[u8; MAC_BYTES] = mac.first_chunk().expect("a MAC of 32 bytes begins with ten");
    [&[VERSION][..], iv, &stream(key, iv, body)].concat()
}

/// There and back.
fn stream(key: &[u8; 32], iv: &[u8; MAC_BYTES], text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (block, number) in text.chunks(32).zip(0u8..) {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(b"dots/sip/token-stream/1");
        mac.update(iv);
        mac.update(&[number]);
        out.extend(block.iter().zip(mac.finalize().into_bytes()).map(|(byte, key)| byte ^ key));
    }
    out
}

fn mac(key: &[u8; 32], body: &[u8], call_id: &str, tag: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(b"dots/sip/token/2");
    mac.update(body);
    mac.update(&[0]);
    mac.update(call_id.as_bytes());
    mac.update(&[0]);
    mac.update(tag.as_bytes());
    mac.finalize().into_bytes().into()
}

fn write_side(out: &mut Vec<u8>, side: &Side) {
    match side {
        Side::Phone { aor, instance } => {
            out.push(b'a');
            write_text(out, aor);
            out.extend_from_slice(&instance_hash(instance));
        }
        Side::Flow(flow) => {
            out.push(flow.transport.code());
            out.extend_from_slice(&flow.connection.to_be_bytes());
            write_text(out, &flow.local.to_string());
            write_text(out, &flow.remote.to_string());
        }
        Side::Peer(label) => match label_bytes(label) {
            Some(bytes) => {
                out.push(b'P');
                out.extend_from_slice(&bytes);
            }
            None => {
                out.push(b'p');
                write_text(out, label);
            }
        },
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..255).unwrap_or(bytes);
    out.push(u8::try_from(bytes.len()).unwrap_or(255));
    out.extend_from_slice(bytes);
}

fn read_side(rest: &mut &[u8]) -> Option<Side> {
    let (kind, tail) = rest.split_first()?;
    *rest = tail;
    match kind {
        b'a' => {
            let aor = read_text(rest)?;
            let (hash, tail) = rest.split_at_checked(INSTANCE_BYTES)?;
            *rest = tail;
            Some(Side::Phone { aor, instance: data_encoding::HEXLOWER.encode(hash) })
        }
        b'P' => {
            let (label, tail) = rest.split_at_checked(LABEL_BYTES)?;
            *rest = tail;
            Some(Side::Peer(data_encoding::BASE32_NOPAD.encode(label).to_ascii_lowercase().into()))
        }
        b'p' => Some(Side::Peer(read_text(rest)?.into())),
        code => {
            let transport = Transport::of_code(*code)?;
            let (number, tail) = rest.split_at_checked(8)?;
            *rest = tail;
            let connection = u64::from_be_bytes(number.try_into().ok()?);
            let local: SocketAddr = read_text(rest)?.parse().ok()?;
            let remote: SocketAddr = read_text(rest)?.parse().ok()?;
            Some(Side::Flow(Flow { transport, connection, local, remote }))
        }
    }
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    let (length, tail) = rest.split_first()?;
    let (text, tail) = tail.split_at_checked(usize::from(*length))?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_side_comes_back_and_is_short() {
        // TOK-10
        for label in ["abcdefghijklmnopqrstuvwxyz234567", "aaaa", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"] {
            let instance = short_instance("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
            let phone = Side::Phone { aor: "alice@abcdefghijklmnopqrst.dots".into(), instance };
            let token = token(Side::Peer(label.into()), phone.clone());
            let text = token.seal(&[3; 32], "call", "tag");
            let opened = Token::open(&text, &[3; 32], "call", "tag").expect("our own token");
            assert_eq!(opened.caller, token.caller, "{label}");
            // The other two are no labels that a peer can have, and are kept as text.
            let real = label.starts_with("abc");
            assert!(!real || text.len() <= 130, "{} characters", text.len());
        }
    }

    #[test]
    fn opens_only_for_its_dialog_and_untouched() {
        let flow = Flow {
            transport: Transport::Tcp,
            connection: 7,
            local: "127.0.0.1:5060".parse().expect("an address"),
            remote: "[::1]:9".parse().expect("an address"),
        };
        let bob = Side::Phone { aor: "bob@b.test".into(), instance: "urn:uuid:1".into() };
        let token = token(Side::Flow(flow), bob);
        let text = token.seal(&[1; 32], "call", "tag");
        let instance = short_instance("urn:uuid:1");
        let token = Token { callee: Side::Phone { aor: "bob@b.test".into(), instance }, ..token };
        assert_eq!(Token::open(&text, &[1; 32], "call", "tag"), Some(token.clone()));
        assert_eq!(Token::open(&text.to_ascii_uppercase(), &[1; 32], "call", "tag"), Some(token));
        assert_eq!(Token::open(&text, &[2; 32], "call", "tag"), None);
        assert_eq!(Token::open(&text, &[1; 32], "other", "tag"), None);
        assert_eq!(Token::open(&text, &[1; 32], "call", "gat"), None);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let forged = String::from_utf8(bytes).expect("ASCII");
            // The last character has spare bits, which base32 refuses or which change nothing.
            let opened = Token::open(&forged, &[1; 32], "call", "tag");
            assert!(opened.is_none(), "changed at {at}");
        }
    }

    /// A stranger's text of any length opens nothing, and panics nowhere; our longest does open.
    #[test]
    fn its_length_is_looked_at_first() {
        for length in [0, 1, 2, 18, 19, 1_024, 1_025, 13_072, 13_136, 20_000, 65_000] {
            for version in ["gi", "gj", "aa"] {
                let text: String = version.chars().chain(std::iter::repeat('a')).take(length).collect();
                assert_eq!(Token::open(&text, &[3; 32], "call", "tag"), None, "{length}");
            }
        }
        let phone = |c: &str| Side::Phone { aor: c.repeat(255), instance: "urn:uuid:1".into() };
        let text = token(phone("a"), phone("b")).seal(&[3; 32], "call", "tag");
        assert!(text.len() <= TEXT_BYTES_MAX, "{}", text.len());
        assert!(Token::open(&text, &[3; 32], "call", "tag").is_some());
    }

    fn token(caller: Side, callee: Side) -> Token {
        Token::new(Usage::Call, 500_000 * HOUR_MS, ("alice@a.test", "bob@b.test"), (caller, callee))
    }

    /// TOK-11, TOK-12.
    #[test]
    fn it_ends_and_is_nobody_elses() {
        let side = Side::Peer("abcdefghijklmnopqrstuvwxyz234567".into());
        let day = 24 * HOUR_MS;
        for usage in [Usage::Call, Usage::Subscription] {
            let at = 500_000 * HOUR_MS;
            let aors = ("alice@a.test", "bob@b.test");
            let text = Token::new(usage, at, aors, (side.clone(), side.clone())).seal(&[3; 32], "c", "t");
            let token = Token::open(&text, &[3; 32], "c", "t").expect("our own");
            assert_eq!(token.usage, usage);
            let ends = [0, at, at + day, at + day + HOUR_MS, at + 1_000 * day];
            assert_eq!(ends.map(|at| token.is_over(at)), [false, false, false, true, true]);
            assert!(token.is_of("alice@a.test", "bob@b.test"));
            for (caller, callee) in [("bob@b.test", "alice@a.test"), ("alice@a.tes", "tbob@b.test"), ("", "")]
            {
                assert!(!token.is_of(caller, callee));
            }
        }
    }

    /// TOK-9, attack 32.
    #[test]
    fn nothing_can_be_read_in_it() {
        let phone = Side::Phone { aor: "alice@a.test".into(), instance: "urn:uuid:1".into() };
        let text = token(flow(Transport::Udp, "192.168.1.20:5060"), phone).seal(&[3; 32], "call", "tag");
        let bytes = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).expect("base32");
        for word in ["192.168.1.20", "127.0.0.1", "alice", "a.test"] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
        }
    }

    fn flow(transport: Transport, remote: &str) -> Side {
        let local = "127.0.0.1:5060".parse().expect("an address");
        Side::Flow(Flow { transport, connection: 7, local, remote: remote.parse().expect("an address") })
    }

    /// A change here is a new version byte: calls that are up lose their tokens with it (TOK-2).
    #[test]
    fn golden_bytes() {
        let phone = Side::Phone { aor: "alice@a.test".into(), instance: "urn:uuid:1".into() };
        let peer = Side::Peer("abcdefghijklmnopqrstuvwxyz234567".into());
        let sides = [
            (phone.clone(), peer),
            (flow(Transport::Udp, "192.0.2.1:5060"), phone),
            (flow(Transport::Tcp, "[2001:db8::1]:9"), Side::Peer("h.test".into())),
        ];
        let sealed = sides.map(|(caller, callee)| token(caller, callee).seal(&[3; 32], "call", "tag"));
        assert_eq!(sealed, GOLDEN);
    }

    #[test]
    fn of_another_version_cut_off_or_longer_opens_nothing() {
        let key = [3; 32];
        let sides = [flow(Transport::Udp, "192.0.2.1:5060"), Side::Peer("h.test".into())];
        let mut body = vec![0; 3 + PARTIES_BYTES];
        sides.iter().for_each(|side| write_side(&mut body, side));
        let sealed = |body: &[u8]| data_encoding::BASE32_NOPAD.encode(&close(&key, body, "call", "tag"));
        let opened = |text: &str| Token::open(text, &key, "call", "tag").is_some();
        assert!(opened(&sealed(&body)));
        // All of these bear our MAC: it is the form that is refused.
        let mut other = close(&key, &body, "call", "tag");
        other[0] += 1;
        assert!(!opened(&data_encoding::BASE32_NOPAD.encode(&other)), "of another version");
        assert!(!opened(&sealed(&[&body[..], b"x"].concat())), "bytes behind it");
        for cut in 0..body.len() {
            assert!(!opened(&sealed(&body[..cut])), "cut off at {cut}");
        }
        for bit in 0..body.len() * 8 {
            let mut other = body.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            opened(&sealed(&other));
        }
        let good = sealed(&body);
        for cut in 0..good.len() {
            assert!(!opened(&good[..cut]), "cut off at {cut}");
        }
        for tail in ["a", "aa", "=", "======", " ", "é", &good] {
            assert!(!opened(&format!("{good}{tail}")), "{tail:?} behind it");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_opens_and_none_makes_it_panic(text in "[a-zA-Z2-7=]{0,80}|\\PC{0,40}") {
            proptest::prop_assert_eq!(Token::open(&text, &[3; 32], "call", "tag"), None);
        }
    }

    const GOLDEN: [&str; 3] = [
        "gjyn7u5vgu4kkrsqiseoumsodwjqtltdz6igweqbw2kc2q2cyui2y4mi6nc3l2kjkm2tpeqait6gexm4hjl5qgzxwor633xqpwua",
        "gkvgros7ypz6a7yjcjbqnnsmb2gbb66k7t7vmoqu5lhtqbh3ja7ghf2hqenlolzsixx4ic74v3c4ha4rpif6xohbjjiqsqtp2xze5hqtz4akpa3p3nwudasg5zff2uus",
        "gi6j6wrm4jij4dlaihwohbicron4232rn7wlbzbyp43hq5yd66b47wogtds4asexu7f67qsgdr4dciu7okjjb3em3hua6yore7ormxrx7kda",
    ];
}
