//! Call-IDs that say where a phone is, and what stands for them on the other side (BORD-4).
//!
//! Many phones write their address into the Call-ID (`8f3a@192.168.1.20`; RFC 3261 §8.1.1.4 even suggests it). To whoever is
//! no friend such a one is shown encrypted, under a key of the peer that hides it, and is decrypted where it comes back. The
//! same Call-ID always becomes the same text, for all messages of a dialog must agree on it and nothing is remembered: the
//! initialisation vector is a keyed hash of the Call-ID, as in SIV (RFC 5297), and is at the same time the proof that the
//! text was made here. Another peer's text, or one that somebody made up, opens nothing and stays as it is.
//!
//! The realm of the phone that wrote it is hashed as well, and it is shown to a reader of that realm alone: else whoever was
//! called could put what he was shown into a message to a second phone of his at this peer, and read the address there.
//!
//! ```text
//!   dx. base64url( iv 12 bytes | Call-ID xor stream(iv) )
//! ```

use crate::ids::Secret;
use data_encoding::BASE64URL_NOPAD;

/// What every hidden Call-ID begins with.
const PREFIX: &str = "dx.";
const IV_BYTES: usize = 12;
/// A longer one would not fit the 256 bytes that a Call-ID may have once it is hidden.
const BYTES_MAX: usize = 176;
const _: () = assert!(PREFIX.len() + (IV_BYTES + BYTES_MAX).div_ceil(3) * 4 <= 256);

/// Hides and shows Call-IDs under one key.
#[derive(Clone)]
pub struct CallIdMask(Secret);

impl CallIdMask {
    /// `secret` survives restarts.
    pub fn new(secret: Secret) -> CallIdMask {
        CallIdMask(secret)
    }

    /// A Call-ID that a phone of this realm wrote. `None`: it says nothing about an address, and crosses as it is.
    pub fn hide(&self, call_id: &str, realm: &str) -> Option<String> {
        if !may_name_an_address(call_id) || call_id.len() > BYTES_MAX {
            return None;
        }
        let iv = self.iv(call_id.as_bytes(), realm);
        let bytes = [&iv[..], &self.xor(&iv, call_id.as_bytes())].concat();
        Some(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes)))
    }

    /// To a reader of this realm. `None`: no phone of that realm wrote it here, and it stays as it is.
    pub fn show(&self, hidden: &str, realm: &str) -> Option<String> {
        let (iv, call_id) = self.open(hidden)?;
        (self.iv(call_id.as_bytes(), realm) == iv).then_some(call_id)
    }

    /// What it would be if it was hidden here, whoever wrote it. Nothing is proved of it: it is there to be tried where
    /// something else proves it, and is shown to nobody.
    pub fn unproved(&self, hidden: &str) -> Option<String> {
        Some(self.open(hidden)?.1)
    }

    fn open(&self, hidden: &str) -> Option<([u8; IV_BYTES], String)> {
        let text = hidden.strip_prefix(PREFIX).filter(|text| text.len() <= 256)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (iv, hidden) = bytes.split_first_chunk::<IV_BYTES>()?;
        Some((*iv, String::from_utf8(self.xor(iv, hidden)).ok()?))
    }

    fn iv(&self, call_id: &[u8], realm: &str) -> [u8; IV_BYTES] {
        let mut hash = self.0.hash("call-id iv");
        hash.bytes(call_id);
        hash.text(realm);
        let bytes = hash.finish().to_be_bytes();
        *bytes.first_chunk().expect("a hash of 16 bytes begins with 12")
    }

    fn xor(&self, iv: &[u8; IV_BYTES], text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        for (block, number) in text.chunks(16).zip(0u64..) {
            let mut hash = self.0.hash("call-id stream");
            hash.bytes(iv);
            hash.number(number);
            let stream = hash.finish().to_be_bytes();
            out.extend(block.iter().zip(stream).map(|(byte, key)| byte ^ key));
        }
        out
    }
}

/// A host after `@`, or an IP address anywhere. What is only a random word keeps its length and can be found in the logs of
/// both sides.
fn may_name_an_address(call_id: &str) -> bool {
    let has_v4 = call_id
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .any(|run| run.split('.').filter(|part| (1..=3).contains(&part.len())).count() >= 4);
    // The shortest way to write an IPv6 address of a host has two colons.
    let has_v6 = call_id.matches(':').count() >= 2;
    call_id.contains('@') || has_v4 || has_v6
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(n: u8) -> CallIdMask {
        CallIdMask::new(Secret::new([n; 32]))
    }

    #[test]
    fn what_names_an_address_is_hidden_and_comes_back_at_its_own_peer_alone() {
        let (ours, theirs) = (mask(1), mask(2));
        for text in [
            "8f3a@192.168.1.20",
            "8f3a@phone.lan",
            "a@[2001:db8::7]",
            "192.168.1.20-77",
            "call-10.0.0.9",
            "fe80::1%eth0",
            "@",
        ] {
            let hidden = ours.hide(text, "a.test").expect(text);
            assert_eq!(ours.hide(text, "a.test"), Some(hidden.clone()), "always the same");
            assert!(!hidden.contains("192") && !hidden.contains('@') && !hidden.contains(':'), "{hidden}");
            assert_eq!(ours.show(&hidden, "a.test").as_deref(), Some(text));
            assert_eq!(theirs.show(&hidden, "a.test"), None, "{text}: another peer cannot tell");
            assert_eq!(theirs.hide(&hidden, "a.test"), None, "and leaves it as it is");
            assert_ne!(theirs.hide(text, "a.test"), Some(hidden.clone()));
            assert_eq!(ours.show(&hidden, "b.test"), None, "{text}: not to whoever was called");
            assert_eq!(ours.show(&hidden, ""), None);
            assert_ne!(ours.hide(text, "b.test"), Some(hidden.clone()));
            assert_eq!(ours.unproved(&hidden).as_deref(), Some(text), "to be tried");
        }
    }

    #[test]
    fn what_names_none_or_was_made_up_stays_as_it_is() {
        let ours = mask(1);
        for text in ["8f3a-77", "3.1.4", "urn:uuid", "1234.5678.1.2", &format!("{}@h", "x".repeat(BYTES_MAX))]
        {
            assert_eq!(ours.hide(text, "a.test"), None, "{text}");
        }
        let hidden = ours.hide("8f3a@192.168.1.20", "a.test").expect("hidden");
        let mut forged = hidden.clone().into_bytes();
        let last = forged.len() - 1;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        for text in ["dx.", "dx.AAAA", "dx.?", &hidden[..hidden.len() - 4], &String::from_utf8_lossy(&forged)]
        {
            assert_eq!(ours.show(text, "a.test"), None, "{text}");
        }
        assert!(
            ours.hide(&format!("{}@h", "x".repeat(BYTES_MAX - 2)), "a.test").expect("hidden").len() <= 256
        );
    }

    proptest! {
        #[test]
        fn every_call_id_comes_back(text in "[!-~]{0,80}@[!-~]{0,60}", noise in "[ -~]{0,60}") {
            let ours = mask(1);
            let hidden = ours.hide(&text, "a.test").expect("an @ is hidden");
            prop_assert_eq!(ours.show(&hidden, "a.test"), Some(text));
            prop_assert_eq!(ours.show(&format!("dx.{noise}"), "a.test"), None);
        }
    }
}
