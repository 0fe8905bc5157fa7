//! Evidence that somebody hears at the address that he sends from, while nobody can judge his password.
//!
//! A call must not drop because a third machine is down: while the home of a realm cannot be asked, a phone that is bound here
//! under a grant that still holds may call on the flow of its binding. Over a connection its flow proves itself. A datagram's
//! source is whatever its sender writes there, so anybody who knows where a phone is could call in its name. He does not hear
//! what is sent there: so such an INVITE is challenged with a nonce of this peer's own, a keyed hash of flow, realm and time
//! that nothing is kept of, and counts when an answer brings that nonce back from that very flow. Whether the answer is right
//! nobody here can say; that it comes from who hears at the address is all that the binding's flow ever said. Against one who
//! can read the phone's traffic it says nothing, nor did the flow.

use super::Credentials;
use crate::{
    Flow,
    ids::Secret,
    message::{Message, Name},
};

/// A phone answers within seconds; the one before counts too.
const SLOT_MS: u64 = 30_000;
/// Header lines looked at.
const LINES_MAX: usize = 8;

/// The nonce for whoever hears at this flow now.
pub(crate) fn nonce(secret: &Secret, flow: &Flow, realm: &str, now_ms: u64) -> String {
    of_slot(secret, flow, realm, now_ms / SLOT_MS)
}

/// Does this request bring back a nonce that was sent to the flow that it came on?
pub(crate) fn is_heard(secret: &Secret, flow: &Flow, realm: &str, request: &Message, now_ms: u64) -> bool {
    let slot = now_ms / SLOT_MS;
    let good = [slot, slot.saturating_sub(1)].map(|slot| of_slot(secret, flow, realm, slot));
    let lines = request.header_lines(&Name::ProxyAuthorization).take(LINES_MAX);
    let mut answers = lines.filter_map(|line| Credentials::parse(line).ok().flatten());
    answers.any(|answer| answer.realm == realm && good.iter().any(|good| *good == answer.nonce))
}

fn of_slot(secret: &Secret, flow: &Flow, realm: &str, slot: u64) -> String {
    let mut hash = secret.hash("heard");
    hash.text(flow.transport.as_str());
    hash.text(&flow.local.to_string());
    hash.text(&flow.remote.to_string());
    hash.text(realm);
    hash.number(slot);
    format!("{:032x}", hash.finish())
}
