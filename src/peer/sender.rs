//! Who a datagram comes from, as far as can be told before it is read: asked only where more comes than can be handled.

use dots_sip::{Flow, auth::nonce_in, core::Core as Sip, ids::AskId};
use dots_trust::guest::Guest;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A phone is registered from there.
    Registered,
    /// It shows a nonce that was given to this very address: whoever sends it can be reached where it says.
    Answering,
    Stranger,
}

impl Sender {
    /// The sender of a message that nobody has read yet.
    pub(super) fn of(sip: &Sip, guest: &Guest<AskId>, flow: &Flow, bytes: &[u8]) -> Sender {
        if sip.knows(flow) {
            return Sender::Registered;
        }
        match nonce_in(bytes) {
            Some(nonce) if guest.is_given_to(nonce, flow.remote.ip()) => Sender::Answering,
            _ => Sender::Stranger,
        }
    }
}
