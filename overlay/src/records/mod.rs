//! What is signed: entries and events of the log.

pub mod entry;

pub use entry::{
    Attest, AttestKind, Bind, Checkpoint, Entry, Event, Header, Incarnation, Life, PingOutcome, Presence,
    Revoke, Unbind, Unverified,
};
