//! CBOR behind one door. Records are arrays (`serde_tuple`), version first, so an encoding is a function of its value.
//! `serde_cbor` is archived; `cbor4ii` writes the same bytes, so only this file would change.

use serde::{Serialize, de::DeserializeOwned};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid record: {0}")]
pub struct CborError(String);

/// Encodes a record. Our own types always encode.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_cbor::to_vec(value)
        .expect("our records hold only integers, strings, byte strings and arrays of them")
}

/// Decodes a record from outside; trailing bytes are an error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    serde_cbor::from_slice(bytes).map_err(|e| CborError(e.to_string()))
}
