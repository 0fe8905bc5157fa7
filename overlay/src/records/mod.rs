//! What is signed: realm records and grants (`dots-trust`), entries and events of the log.

pub mod entry;

pub use dots_trust::records::{
    Callers, Grant, GrantProof, Permit, RealmRecord, Scope, Serving, grant, realm,
};
pub use entry::{
    Attest, AttestKind, Bind, Checkpoint, Entry, Event, Header, Incarnation, Life, PingOutcome, Presence,
    Revoke, Unbind, Unverified,
};
