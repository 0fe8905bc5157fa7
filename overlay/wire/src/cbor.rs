//! CBOR behind one door. Records are arrays (`serde_tuple`), version first, so an encoding is a function of its value.
//! `serde_cbor` is archived; `cbor4ii` writes the same bytes, so only this file would change.

use serde::{Serialize, de::DeserializeOwned};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid record: {0}")]
pub struct CborError(String);

impl CborError {
    /// It has the form of a record, but a version that the reader does not know.
    pub fn of_version(version: u8) -> CborError {
        CborError(format!("version {version} is not known"))
    }
}

/// Encodes a record. Our own types always encode.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Most records are shorter: a buffer that begins with nothing is moved five times while it grows.
    let mut out = Vec::with_capacity(256);
    value
        .serialize(&mut serde_cbor::Serializer::new(&mut out))
        .expect("our records hold only integers, strings, byte strings and arrays of them");
    out
}

/// Decodes a record from outside. Trailing bytes are an error, as is nesting deeper than 127; no more memory is asked
/// for than the bytes pay for, and 1 MiB per list that is open (`tests/decode.rs`).
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    serde_cbor::from_slice(bytes).map_err(|e| CborError(e.to_string()))
}
