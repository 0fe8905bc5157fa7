//! What a REGISTER says, read once and checked for form.

/// One of a Contact URI or its parameters, bytes; longer is refused: it is stored, journaled and listed in each 200.
pub const MAX_CONTACT_BYTES: usize = 512;

/// A REGISTER as the registrar understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    pub call_id: String,
    pub cseq: u32,
    pub contacts: Contacts,
    /// Path values as sent, topmost first (RFC 3327).
    pub path: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// No Contact: only the list is wanted (RFC 3261 §10.2.3).
    Query,
    /// `Contact: *` with `Expires: 0`.
    RemoveAll,
    Some(Vec<AskedContact>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedContact {
    /// The URI as sent, without angle brackets.
    pub uri: String,
    /// The header parameters as sent, each with its semicolon.
    pub params: String,
    /// 0..=1000.
    pub q: u16,
    pub instance: String,
    /// The Contact's own, else the Expires header's; `None`: the registrar's default.
    pub expires_s: Option<u32>,
}

/// RFC 3261 §19.1.4.
pub fn is_same_uri(a: &str, b: &str) -> bool {
    a == b
}
