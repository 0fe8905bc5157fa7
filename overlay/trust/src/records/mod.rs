//! What a realm's key and its homes sign: realm records and grants.

pub mod grant;
pub mod realm;

pub use grant::{Grant, GrantProof, OnBehalf, Permit, Reason, Scope};
pub use realm::{Callers, RealmRecord, Serving};
