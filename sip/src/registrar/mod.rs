//! The registrar. RFC 3261 §10.
//!
//! Pure pieces that the core calls in this order: [`Register::read`] (form; 400, 420, or what is asked),
//! [`Register::instance`] for the answer that goes to the home, [`decide`] with the home's vouch (or
//! [`vouch_for_refresh`] when the home is away), then journal if [`needs_journal`], [`Bindings::apply`], and
//! [`ok_headers`] for the 200. This file holds the words that the rest of the program shares.

mod contact;
mod desk;
mod probes;
mod refresh;
mod register;
mod request;
mod response;
mod room;
mod row;
mod sameness;
mod session;
pub(crate) mod store;

pub(crate) use desk::Registrar;
pub use refresh::{vouch_for_flow, vouch_for_refresh};
pub use register::{Brief, Decision, ExpiryRules, Refusal, decide, needs_journal};
pub use request::{AskedContact, ContactRule, Contacts, Fields, MAX_CONTACT_BYTES, MAX_PATHS, Register};
pub use response::{http_date, ok_headers};
pub use row::Bound;
pub use store::{BINDINGS, Bindings, MAX_CONTACTS_PER_AOR, NoRoom};

use crate::{Flow, listening::Listening};
use std::sync::Arc;

/// One phone of one account: AOR + instance (RFC 5626 `+sip.instance`, else a hash of the Contact URI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Canonical AOR, `alice@office.example`.
    pub aor: String,
    pub instance: String,
    /// The Contact URI as sent, byte for byte, and its parameters as sent.
    pub contact: String,
    pub contact_params: String,
    /// 0..=1000.
    pub q: u16,
    pub call_id: String,
    pub cseq: u32,
    pub path: Vec<String>,
    /// `host:port` of ours, as a phone wrote it that knows its server by address alone; callers are named to it so that it
    /// can call them back.
    pub server: Option<String>,
    /// The flow that the REGISTER came in on: requests go back there.
    pub flow: Flow,
    /// The port of its host where the phone listens, if it says so and may ([`crate::listening`]): it is asked there first.
    pub listens: Option<Listening>,
    /// UTC ms.
    pub expires_at_ms: u64,
    /// The home's grant, and its end.
    pub grant: Arc<[u8]>,
    pub granted_until_ms: u64,
}

/// What one REGISTER changed: all of it is written, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingChange {
    pub aor: String,
    /// New or refreshed.
    pub put: Vec<Binding>,
    /// Instances removed.
    pub removed: Vec<String>,
}
