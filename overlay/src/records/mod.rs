//! What is signed: realm records, grants, entries and events of the log.

pub mod entry;
pub mod grant;
pub mod realm;

pub use entry::{
    Attest, AttestKind, Bind, Checkpoint, Entry, Event, Header, Incarnation, Life, PingOutcome, Presence,
    Revoke, Unbind, Unverified,
};
pub use grant::{Grant, GrantProof, Permit, Scope};
pub use realm::{Callers, RealmRecord, Serving};
