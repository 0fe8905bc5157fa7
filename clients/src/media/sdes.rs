//! Keys in SDP (RFC 4568): `a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:<base64 of key and salt>`. Whoever carries the SDP
//! reads them.

use data_encoding::BASE64;
use zeroize::Zeroize;

/// The one suite that every phone has (RFC 4568 §6.2.1).
pub const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
pub const KEY: usize = 16;
pub const SALT: usize = 14;

/// What one side encrypts with. Each direction has its own.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub key: [u8; KEY],
    pub salt: [u8; SALT],
}

impl MasterKey {
    /// From 30 random bytes.
    pub fn from_bytes(bytes: &[u8; KEY + SALT]) -> MasterKey {
        let (mut key, mut salt) = ([0; KEY], [0; SALT]);
        key.copy_from_slice(&bytes[..KEY]);
        salt.copy_from_slice(&bytes[KEY..]);
        MasterKey { key, salt }
    }

    /// The first `a=crypto` line of an SDP's sound that we can use: this suite, no MKI (RFC 4568 §6.1), no session parameters.
    pub fn of_sdp(sdp: &str) -> Option<MasterKey> {
        let lines = sdp.lines().map(str::trim_end).skip_while(|line| !line.starts_with("m=audio "));
        lines.skip(1).take_while(|line| !line.starts_with("m=")).find_map(MasterKey::parse)
    }

    fn parse(line: &str) -> Option<MasterKey> {
        let mut words = line.strip_prefix("a=crypto:")?.split_ascii_whitespace();
        let (_tag, suite, key, more) = (words.next()?, words.next()?, words.next()?, words.next());
        if !suite.eq_ignore_ascii_case(SUITE) || more.is_some() {
            return None;
        }
        let mut inline = key.strip_prefix("inline:")?.split('|');
        let secret = BASE64.decode(inline.next()?.as_bytes()).ok()?;
        // A lifetime ("2^20") may follow; an MKI ("1:4") would lengthen every packet.
        if inline.any(|part| part.contains(':')) {
            return None;
        }
        secret.as_slice().try_into().ok().map(MasterKey::from_bytes)
    }

    /// The line of an SDP, without its end.
    pub fn line(&self, tag: u32) -> String {
        format!("a=crypto:{tag} {SUITE} inline:{}", BASE64.encode(&[&self.key[..], &self.salt].concat()))
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

/// A secret is not printed.
impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}
