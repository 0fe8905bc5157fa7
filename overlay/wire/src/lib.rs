//! The ground room, on which every core stands: keys, signed records, CBOR and hashes; both clocks, one timer table, one token
//! bucket, one outbox, one fair queue, and the bounded tables.
//!
//! `PeerId` is the compressed secp256k1 key of a peer; its text form is libp2p's (`16Uiu2HA…`), so the key can be
//! read from the name and no directory of keys is needed. Every signature is over a domain prefix and the exact bytes
//! that travel: nothing is ever re-encoded to be checked.

pub mod bounded;
mod bucket;
mod bytes;
mod cbor;
mod checked;
#[cfg(feature = "disk")]
pub mod disk;
mod fair_queue;
mod hash;
mod keys;
mod outbox;
mod time;
mod timers;

pub use bucket::{Allowance, TokenBucket};
pub use bytes::{Hash, Label20, SharedBytes};
pub use cbor::{CborError, decode, encode};
pub use checked::Checked;
pub use fair_queue::FairQueue;
pub use hash::{MacKey, MerkleTree, hmac_sha256, merkle_root, merkle_verify, sha256};
pub use keys::{BadSignature, PeerId, PublicKey, SecretKey, Signature, Signed};
pub use outbox::Outbox;
pub use time::{Now, Timestamp};
pub use timers::Timers;
