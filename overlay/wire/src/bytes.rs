//! Byte strings that are CBOR byte strings on the wire and hex in text: of fixed sizes, and shared ones.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::sync::Arc;

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_bytes(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let bytes = serde_bytes::ByteBuf::deserialize(d)?;
                <[u8; $len]>::try_from(bytes.as_slice())
                    .map($name)
                    .map_err(|_| D::Error::invalid_length(bytes.len(), &stringify!($len)))
            }
        }
    };
}
pub(crate) use fixed_bytes;

fixed_bytes!(
    /// SHA-256, or an HMAC-SHA-256: content hashes, aor_ids, Merkle roots.
    Hash, 32
);
fixed_bytes!(
    /// The first 20 bytes of a SHA-256 of a key: realm ids, peer hosts.
    Label20, 20
);

impl Label20 {
    /// Lower-case base32 without padding, 32 characters: legal in a host name and case-safe.
    pub fn base32(&self) -> String {
        data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase()
    }
    /// Reads [`Label20::base32`], in any case.
    pub fn from_base32(text: &str) -> Option<Label20> {
        let bytes = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        bytes.try_into().ok().map(Label20)
    }
}

/// Bytes that several tables hold and nobody changes: copied they cost a count. A CBOR byte string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedBytes(pub Arc<[u8]>);

impl std::ops::Deref for SharedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> SharedBytes {
        SharedBytes(bytes.into())
    }
}
impl From<Arc<[u8]>> for SharedBytes {
    fn from(bytes: Arc<[u8]>) -> SharedBytes {
        SharedBytes(bytes)
    }
}
impl std::fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}
impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}
impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        serde_bytes::ByteBuf::deserialize(d).map(|bytes| bytes.into_vec().into())
    }
}
