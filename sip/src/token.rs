//! Route tokens: the user part of every Record-Route URI that we write.
//!
//! A token names both sides of a dialog as this peer reaches them, under an HMAC over that, the Call-ID and the caller's
//! tag. A request inside a dialog is forwarded only by a valid token, only to the side that its sender is not. So an
//! invented To-tag or a foreign Route opens nothing, and no dialog state needs to survive a restart.
//!
//! Up to four of them ride in one INVITE, so they are short: an instance is 8 bytes of its hash, a peer its 20.

use crate::{Flow, Transport, input::PeerLabel};
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub caller: Side,
    pub callee: Side,
}

const VERSION: u8 = b'1';
/// 80 bits: a forger would have to guess one live Call-ID and tag as well.
const MAC_BYTES: usize = 10;

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
    /// Lower-case base32: legal in a user part, and survives proxies that change case.
    pub fn seal(&self, key: &[u8; 32], call_id: &str, caller_tag: &str) -> String {
        let mut bytes = vec![VERSION];
        write_side(&mut bytes, &self.caller);
        write_side(&mut bytes, &self.callee);
        let mac = mac(key, &bytes, call_id, caller_tag);
        bytes.extend_from_slice(mac.get(..MAC_BYTES).unwrap_or_default());
        data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }

    /// The token, if we sealed it for this dialog.
    pub fn open(text: &str, key: &[u8; 32], call_id: &str, caller_tag: &str) -> Option<Token> {
        let bytes = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        let (body, seen) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let expected = mac(key, body, call_id, caller_tag);
        let same = seen.iter().zip(&expected).fold(0u8, |d, (a, b)| d | (a ^ b)) == 0;
        let (version, mut rest) = body.split_first()?;
        if !same || *version != VERSION {
            return None;
        }
        let token = Token { caller: read_side(&mut rest)?, callee: read_side(&mut rest)? };
        rest.is_empty().then_some(token)
    }
}

fn mac(key: &[u8; 32], body: &[u8], call_id: &str, tag: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
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
        for label in ["abcdefghijklmnopqrstuvwxyz234567", "aaaa", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"] {
            let instance = short_instance("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
            let phone = Side::Phone { aor: "alice@abcdefghijklmnopqrst.dots".into(), instance };
            let token = Token { caller: Side::Peer(label.into()), callee: phone.clone() };
            let text = token.seal(&[3; 32], "call", "tag");
            let opened = Token::open(&text, &[3; 32], "call", "tag").expect("our own token");
            assert_eq!(opened.caller, token.caller, "{label}");
            // The other two are no labels that a peer can have, and are kept as text.
            let real = label.starts_with("abc");
            assert!(!real || text.len() <= 120, "{} characters", text.len());
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
        let token = Token {
            caller: Side::Flow(flow),
            callee: Side::Phone { aor: "bob@b.test".into(), instance: "urn:uuid:1".into() },
        };
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
        let sealed = sides.map(|(caller, callee)| Token { caller, callee }.seal(&[3; 32], "call", "tag"));
        assert_eq!(sealed, GOLDEN);
    }

    #[test]
    fn of_another_version_cut_off_or_longer_opens_nothing() {
        let key = [3; 32];
        let sides = [flow(Transport::Udp, "192.0.2.1:5060"), Side::Peer("h.test".into())];
        let mut body = vec![VERSION];
        sides.iter().for_each(|side| write_side(&mut body, side));
        let sealed = |body: &[u8]| {
            let bytes = [body, &mac(&key, body, "call", "tag")[..MAC_BYTES]].concat();
            data_encoding::BASE32_NOPAD.encode(&bytes)
        };
        let opened = |text: &str| Token::open(text, &key, "call", "tag").is_some();
        assert!(opened(&sealed(&body)));
        // All of these bear our MAC: it is the form that is refused.
        assert!(!opened(&sealed(&[&[VERSION + 1], &body[1..]].concat())));
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
        "gfqqyylmnfrwkqdbfz2gk43uwnrpkcduy4baeuaaiqzbjr2cks3dlt4emu5fnv6gow7hpx6pfojdsofjexvnnta",
        "gf2qaaaaaaaaaaahbyytenzogaxdalrrhi2tanrqbyytsmrogaxdelrrhi2tanrqmeggc3djmnsuayjoorsxg5ftml2qq5ghaibdlapiqiormbssa5aq",
        "gf2aaaaaaaaaaaahbyytenzogaxdalrrhi2tanrqb5ntembqge5giyryhi5dcxj2hfyam2boorsxg5huasltvlvc45lksey",
    ];
}
