//! What may go on while the home of a realm cannot be asked (design §3.4).
//!
//! A call must not drop and a phone must not lose its place because a third machine is down. So, until the grant
//! that the home gave ends, two things are believed without a new answer: a REGISTER that changes nothing, and a
//! request from a phone, both on the very flow that the binding was made on. All else gets 503, never 401 or 403.

use super::{
    Bindings, Bound,
    request::{Contacts, Register},
};
use crate::{Flow, auth::Vouch};

/// The old grant, if this REGISTER only says again what is bound: every Contact is bound already on this flow, with
/// the same text, q, Path and Call-ID, and a newer (or the same) CSeq.
pub fn vouch_for_refresh(
    register: &Register,
    flow: &Flow,
    aor: &str,
    bindings: &Bindings,
    now_ms: u64,
) -> Option<Vouch> {
    let Contacts::Some(asked) = &register.contacts else { return None };
    let mut oldest: Option<Bound<'_>> = None;
    for contact in asked {
        let bound = bindings.by_instance(aor, &contact.instance)?;
        let is_unchanged = contact.expires_s != Some(0)
            && bound.contact == contact.uri
            && bound.q == contact.q
            && bound.path().eq(register.path.iter().map(String::as_str))
            && bound.call_id == register.call_id
            && bound.cseq <= register.cseq;
        if !is_unchanged || !is_own_flow(&bound, flow, now_ms) {
            return None;
        }
        if oldest.is_none_or(|other| bound.granted_until_ms < other.granted_until_ms) {
            oldest = Some(bound);
        }
    }
    oldest.as_ref().map(vouch)
}

/// The grant under which a phone on this flow is bound to `aor`: for an unpaid INVITE from it.
pub fn vouch_for_flow(flow: &Flow, aor: &str, bindings: &Bindings, now_ms: u64) -> Option<Vouch> {
    let mut bound = bindings.of(aor).filter(|bound| is_own_flow(bound, flow, now_ms));
    bound.next().as_ref().map(vouch)
}

fn is_own_flow(bound: &Bound<'_>, flow: &Flow, now_ms: u64) -> bool {
    bound.flow == *flow && bound.is_open && bound.granted_until_ms > now_ms && bound.expires_at_ms > now_ms
}

fn vouch(bound: &Bound<'_>) -> Vouch {
    Vouch { aor: bound.aor.to_owned(), grant: bound.grant(), not_after_ms: bound.granted_until_ms }
}
