//! The registrar's words. RFC 3261 §10.

use crate::Flow;
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
    /// The flow that the REGISTER came in on: requests go back there.
    pub flow: Flow,
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
