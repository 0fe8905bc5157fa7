//! What is signed: realm records and grants (`dots-trust`), entries and events of the log.

pub mod entry;
pub mod event;

pub use dots_trust::records::{
    Callers, Grant, GrantProof, Permit, RealmRecord, Scope, Serving, grant, realm,
};
pub use entry::{Entry, Header, Incarnation, Unverified};
pub use event::{
    Attest, AttestKind, Bind, Checkpoint, Event, Life, PingOutcome, Presence, Revoke, Said, Unbind,
};
