//! What the SIP core says about credentials to whoever can judge them (the home of the realm).

mod answer;
mod challenge;
mod credentials;
mod glance;
pub(crate) mod heard;

pub use answer::{
    Asked, BadCredentials, answer_for, answer_for_lines, is_answer_for, is_challenge_of, strip_challenges,
    strip_credentials,
};
pub use challenge::{ChallengeKind, DigestOffer, challenge_headers};
pub use credentials::Credentials;
pub use glance::nonce_in;

use std::sync::Arc;

/// A nonce and what to say with it. The core writes the `WWW-Authenticate` / `Proxy-Authenticate` headers, one for each
/// algorithm of the [`DigestOffer`], `qop="auth"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The canonical realm name: what phones show and hash.
    pub realm: String,
    pub nonce: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// Wrong user or password (they answer alike), forged nonce: challenge again.
    Wrong,
    /// The right password with an old nonce: challenge again with stale=true.
    Stale,
    /// The account is not the one in To (REGISTER) or From, or policy forbids: 403.
    Forbidden,
    /// The home cannot be asked now: 503 with Retry-After, never 401/403.
    Unavailable,
    /// No such realm is known here: 404.
    UnknownRealm,
}

/// The home's yes. Opaque to this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// Canonical AOR that proved its password.
    pub aor: String,
    /// The grant as bytes, to travel with the request or the binding; empty where none is needed.
    pub grant: Arc<[u8]>,
    /// A binding may not outlive this, UTC ms.
    pub not_after_ms: u64,
}

/// What a REGISTER asks for, or the request that a call grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Register { instance: String },
    Request { target: String },
}

/// Credentials as they came, with all that the check needs (RFC 7616 §3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub method: String,
    pub username: String,
    pub realm: String,
    pub nonce: String,
    pub uri: String,
    pub response: String,
    /// `MD5` or `SHA-256`.
    pub algorithm: String,
    pub qop: String,
    pub nc: u32,
    pub cnonce: String,
    /// The canonical AOR in To (REGISTER) or From: the account must equal it.
    pub aor: String,
    pub purpose: Purpose,
}
