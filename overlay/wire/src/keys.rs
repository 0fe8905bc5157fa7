//! secp256k1 keys and signatures (`k256`): 64 bytes, low-S, RFC 6979, over `domain || 0x00 || bytes`.

use crate::{CborError, Label20, bytes::fixed_bytes, decode, encode, sha256};
use k256::ecdsa::{self, SigningKey, VerifyingKey, signature::Signer, signature::Verifier};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{cell::RefCell, fmt, str::FromStr};

fixed_bytes!(
    /// A compressed secp256k1 public key.
    PublicKey, 33
);

impl PublicKey {
    /// SHA-256(key)[..20]: the realm id of a realm key, the host label of a peer key.
    pub fn label(&self) -> Label20 {
        let hash = sha256(&self.0).0;
        Label20(std::array::from_fn(|i| hash[i]))
    }

    pub fn verify(&self, domain: &str, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = on_curve(&self.0).ok_or(BadSignature)?;
        let sig = ecdsa::Signature::from_slice(&signature.0).map_err(|_| BadSignature)?;
        key.verify(&message(domain, bytes), &sig).map_err(|_| BadSignature)
    }
}

/// A peer: its public key. Text form: libp2p's base58 identity multihash (`16Uiu2HA…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub PublicKey);

/// identity multihash of the protobuf {type: secp256k1, data: 33 bytes}
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x25, 0x08, 0x02, 0x12, 0x21];

impl PeerId {
    pub fn to_bytes(&self) -> Vec<u8> {
        [&PEER_ID_PREFIX[..], &self.0.0[..]].concat()
    }
    pub fn from_bytes(bytes: &[u8]) -> Option<PeerId> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX[..])?;
        let key = <[u8; 33]>::try_from(key).ok()?;
        on_curve(&key)?;
        Some(PeerId(PublicKey(key)))
    }
    /// The host that stands for this peer in SIP headers: `p<base32>.peer.dots`.
    pub fn host(&self) -> String {
        format!("p{}.peer.dots", self.0.label().base32())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_bytes()).into_string())
    }
}
impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for PeerId {
    type Err = String;
    fn from_str(text: &str) -> Result<PeerId, String> {
        let bytes = bs58::decode(text).into_vec().map_err(|e| format!("{text}: not a peer id: {e}"))?;
        PeerId::from_bytes(&bytes).ok_or_else(|| format!("{text}: not the peer id of a secp256k1 key"))
    }
}
impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}
impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<PeerId, D::Error> {
        let key = PublicKey::deserialize(d)?;
        on_curve(&key.0).ok_or_else(|| D::Error::custom("not a secp256k1 key"))?;
        Ok(PeerId(key))
    }
}

/// Keys whose point was found lately, each in the one place that it may have: 64 KiB for a thread.
const POINTS: usize = 512;

#[derive(Clone)]
struct Point {
    of: [u8; 33],
    found: VerifyingKey,
}

thread_local! {
    static FOUND: RefCell<Vec<Option<Point>>> = const { RefCell::new(Vec::new()) };
}

/// The point of a compressed key, if it is one. To find it takes a square root, a tenth of a check of a signature, and the same
/// few peers come in every record; so the last ones are remembered. The answer depends on the key alone. Who sends many keys
/// pushes others out, and they cost a square root again.
fn on_curve(key: &[u8; 33]) -> Option<VerifyingKey> {
    FOUND.with_borrow_mut(|found| {
        found.resize(POINTS, None);
        let place = found.get_mut(usize::from(u16::from_be_bytes([key[31], key[32]])) % POINTS)?;
        if let Some(point) = place
            && point.of == *key
        {
            return Some(point.found);
        }
        let found = VerifyingKey::from_sec1_bytes(key).ok()?;
        *place = Some(Point { of: *key, found });
        Some(found)
    })
}

fixed_bytes!(
    /// r || s, low-S.
    Signature, 64
);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by that key over these bytes")]
pub struct BadSignature;

/// A signing key. Zeroized on drop by `k256`; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Any 32 bytes that are a valid scalar (all but about one in 2^128).
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<SecretKey> {
        SigningKey::from_slice(bytes).ok().map(SecretKey)
    }
    pub fn generate(rng: &mut impl rand::Rng) -> SecretKey {
        loop {
            if let Some(key) = SecretKey::from_bytes(&rng.random()) {
                return key;
            }
        }
    }
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes().into())
    }
    pub fn public(&self) -> PublicKey {
        let point = self.0.verifying_key().to_sec1_point(true);
        PublicKey(point.as_bytes().try_into().expect("a compressed secp256k1 point has 33 bytes"))
    }
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.public())
    }
    pub fn sign(&self, domain: &str, bytes: &[u8]) -> Signature {
        let sig: ecdsa::Signature = self.0.sign(&message(domain, bytes));
        Signature(sig.normalize_s().to_bytes().into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

fn message(domain: &str, bytes: &[u8]) -> Vec<u8> {
    [domain.as_bytes(), &[0], bytes].concat()
}

/// A signed record as it travels: the exact payload bytes and a signature over them. CBOR: `[bytes, bytes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Signed {
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    pub signature: Signature,
}

impl Signed {
    pub fn new<T: Serialize>(key: &SecretKey, domain: &str, record: &T) -> Signed {
        let payload = encode(record);
        let signature = key.sign(domain, &payload);
        Signed { payload, signature }
    }
    /// The record, unchecked: to learn who claims to have signed it.
    pub fn peek<T: DeserializeOwned>(&self) -> Result<T, CborError> {
        decode(&self.payload)
    }
    pub fn verify(&self, key: &PublicKey, domain: &str) -> Result<(), BadSignature> {
        key.verify(domain, &self.payload, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_under_a_domain_and_names_peers_as_libp2p_does() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("7s are a scalar");
        let sig = key.sign("dots/test/1", b"hello");
        assert_eq!(key.public().verify("dots/test/1", b"hello", &sig), Ok(()));
        assert_eq!(key.public().verify("dots/test/2", b"hello", &sig), Err(BadSignature));
        assert_eq!(key.public().verify("dots/test/1", b"hellO", &sig), Err(BadSignature));
        let id = key.peer_id();
        assert!(id.to_string().starts_with("16Uiu2HA"));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.host().len(), 1 + 32 + ".peer.dots".len());
        assert_eq!(decode::<PeerId>(&encode(&id)), Ok(id));
    }

    /// Keys that share a place push each other out, and each has its own point all the same.
    #[test]
    fn a_remembered_point_is_never_that_of_another_key() {
        let keys: Vec<SecretKey> = (1..=255u8).filter_map(|n| SecretKey::from_bytes(&[n; 32])).collect();
        for _ in 0..2 {
            for key in &keys {
                let point = on_curve(&key.public().0).expect("a key");
                assert_eq!(Some(point), VerifyingKey::from_sec1_bytes(&key.public().0).ok());
                let mut changed = key.public().0;
                changed[0] ^= 1;
                assert_ne!(on_curve(&changed), Some(point), "the other root");
                changed[0] = 9;
                assert_eq!(on_curve(&changed), None, "no key");
            }
        }
    }
}
