//! Route tokens: the user part of every Record-Route URI that we write.
//!
//! A token names both sides of a dialog as this peer reaches them, under an HMAC over that, the Call-ID and the caller's
//! tag. A request inside a dialog is forwarded only by a valid token, only to the side that its sender is not. So an
//! invented To-tag or a foreign Route opens nothing, and no dialog state needs to survive a restart. It says when it was
//! given, and for whom ([`Pair`]), so that it ends, and nobody else speaks by it when the dialog is forgotten.
//!
//! The other peer and both phones see it, and it has addresses in it. So it is encrypted (TOK-9); the HMAC is at the same time the
//! initialisation vector, as in SIV (RFC 5297).
//!
//! Up to four of them ride in one INVITE, so they are short (TOK-10).

mod side;

pub use side::{Side, short_instance};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// The key under which a peer seals its tokens, taken in once: each HMAC begins where that ended.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    pub fn new(key: &[u8; 32]) -> TokenKey {
        TokenKey(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
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
    pub pair: Pair,
    pub caller: Side,
    pub callee: Side,
}

/// The accounts of caller and callee, under a keyed hash: whoever makes up accounts cannot tell which two have the hash of
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair([u8; PAIR_BYTES]);

impl Pair {
    /// Before all others.
    pub(crate) const FIRST: Pair = Pair([0; PAIR_BYTES]);

    /// Of these canonical AORs (TOK-12).
    pub fn of(key: &TokenKey, caller: &str, callee: &str) -> Pair {
        let hash = key.hmac(&[b"dots/sip/token-pair/1", caller.as_bytes(), &[0], callee.as_bytes()]);
        Pair(*hash.first_chunk().expect("a hash of 32 bytes begins with eight"))
    }
}

/// TOK-2.
const VERSION: u8 = b'3';
const PAIR_BYTES: usize = 8;
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

impl Token {
    /// Given now.
    pub fn new(usage: Usage, now_ms: u64, pair: Pair, (caller, callee): (Side, Side)) -> Token {
        let given_h = u32::try_from(now_ms / HOUR_MS).unwrap_or(0) & (SUBSCRIPTION - 1);
        Token { usage, given_h, pair, caller, callee }
    }

    /// TOK-11.
    pub fn is_over(&self, now_ms: u64) -> bool {
        let now_h = u32::try_from(now_ms / HOUR_MS).unwrap_or(0) & (SUBSCRIPTION - 1);
        // One from the future was given before a clock was set back.
        now_h.saturating_sub(self.given_h) > TOKEN_HOURS
    }

    /// Lower-case base32: legal in a user part, and survives proxies that change case.
    pub fn seal(&self, key: &TokenKey, call_id: &str, caller_tag: &str) -> String {
        let subscription = if self.usage == Usage::Subscription { SUBSCRIPTION } else { 0 };
        let [_, hours @ ..] = (self.given_h | subscription).to_be_bytes();
        let mut body = [&hours[..], &self.pair.0].concat();
        side::write(&mut body, &self.caller);
        side::write(&mut body, &self.callee);
        data_encoding::BASE32_NOPAD.encode(&close(key, &body, call_id, caller_tag)).to_ascii_lowercase()
    }

    /// The token, if we sealed it for this dialog (TOK-3, TOK-5).
    pub fn open(text: &str, key: &TokenKey, call_id: &str, caller_tag: &str) -> Option<Token> {
        Token::read(text, key)?.proved(key, call_id, caller_tag)
    }

    /// What this text says, if we sealed it: of another's nearly always nothing, so nothing has to be proved of it.
    pub fn read(text: &str, key: &TokenKey) -> Option<Unproved> {
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
        let token = Token::of(&body)?;
        Some(Unproved { mac: *seen, body, token })
    }

    fn of(body: &[u8]) -> Option<Token> {
        let (hours, rest) = body.split_first_chunk::<3>()?;
        let (pair, mut rest) = rest.split_first_chunk::<PAIR_BYTES>()?;
        let hours = hours.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
        let usage = if hours & SUBSCRIPTION == 0 { Usage::Call } else { Usage::Subscription };
        let (caller, callee) = (side::read(&mut rest)?, side::read(&mut rest)?);
        let given_h = hours & (SUBSCRIPTION - 1);
        rest.is_empty().then_some(Token { usage, given_h, pair: Pair(*pair), caller, callee })
    }
}

/// A token that nobody has proved to be ours yet.
pub struct Unproved {
    mac: [u8; MAC_BYTES],
    body: Vec<u8>,
    token: Token,
}

impl Unproved {
    /// The token, if we sealed it for this dialog.
    pub fn proved(&self, key: &TokenKey, call_id: &str, caller_tag: &str) -> Option<Token> {
        let expected = mac(key, &self.body, call_id, caller_tag);
        let difference = self.mac.iter().zip(&expected).fold(0u8, |d, (a, b)| d | (a ^ b));
        (difference == 0).then(|| self.token.clone())
    }
}

/// `version | MAC | body, encrypted`
fn close(key: &TokenKey, body: &[u8], call_id: &str, tag: &str) -> Vec<u8> {
    let mac = mac(key, body, call_id, tag);
    let iv: &[u8; MAC_BYTES] = mac.first_chunk().expect("a MAC of 32 bytes begins with ten");
    [&[VERSION][..], iv, &stream(key, iv, body)].concat()
}

/// There and back.
fn stream(key: &TokenKey, iv: &[u8; MAC_BYTES], text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (block, number) in text.chunks(32).zip(0u8..) {
        let stream = key.hmac(&[b"dots/sip/token-stream/1", iv, &[number]]);
        out.extend(block.iter().zip(stream).map(|(byte, key)| byte ^ key));
    }
    out
}

fn mac(key: &TokenKey, body: &[u8], call_id: &str, tag: &str) -> [u8; 32] {
    key.hmac(&[b"dots/sip/token/3", body, &[0], call_id.as_bytes(), &[0], tag.as_bytes()])
}

#[cfg(test)]
mod tests;
