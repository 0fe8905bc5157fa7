//! Digest (RFC 7616, RFC 8760): SHA-256 and MD5, qop=auth. Bytes in, hex out; nothing here knows a password store.

use md5::Md5;
use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    /// `MD5` is what an absent parameter means.
    pub fn parse(text: &str) -> Option<Algorithm> {
        match text {
            t if t.is_empty() || t.eq_ignore_ascii_case("MD5") => Some(Algorithm::Md5),
            t if t.eq_ignore_ascii_case("SHA-256") => Some(Algorithm::Sha256),
            _ => None,
        }
    }
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }
    /// Of these parts, with colons between them.
    fn hex(self, parts: &[&str]) -> String {
        match self {
            Algorithm::Md5 => hex::<Md5>(parts),
            Algorithm::Sha256 => hex::<Sha256>(parts),
        }
    }
}

fn hex<H: Digest>(parts: &[&str]) -> String {
    let mut hash = H::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            hash.update(b":");
        }
        hash.update(part.as_bytes());
    }
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

/// H(user:realm:password), lower-case hex.
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    algorithm.hex(&[user, realm, password])
}

/// What the phone should have answered. Without qop: RFC 2069's form.
#[allow(clippy::too_many_arguments)]
pub fn response(
    algorithm: Algorithm,
    ha1: &str,
    method: &str,
    uri: &str,
    nonce: &str,
    nc: u32,
    cnonce: &str,
    qop: &str,
) -> String {
    let ha2 = algorithm.hex(&[method, uri]);
    if qop.is_empty() {
        return algorithm.hex(&[ha1, nonce, &ha2]);
    }
    let nc = data_encoding::HEXLOWER.encode(&nc.to_be_bytes());
    algorithm.hex(&[ha1, nonce, &nc, cnonce, qop, &ha2])
}

/// In time that does not depend on where they differ. Hex in any case.
pub fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0u8, |d, (x, y)| d | (x.to_ascii_lowercase() ^ y.to_ascii_lowercase()))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7616() {
        let user = ("Mufasa", "http-auth@example.org", "Circle of Life");
        let (uri, nonce, cnonce) = (
            "/dir/index.html",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        );
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = ha1(algorithm, user.0, user.1, user.2);
            assert_eq!(response(algorithm, &ha1, "GET", uri, nonce, 1, cnonce, "auth"), expected);
        }
    }
}
