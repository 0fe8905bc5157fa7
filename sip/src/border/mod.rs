//! The border between this peer and the others: what of a message may cross, and how it is written on the other side
//! (RFC 5853 §3.1, topology hiding).
//!
//! A stranger runs every other peer. So what crosses is an allow-list ([`headers`]), the same for requests, requests in
//! dialogs and responses, in both directions: a header that nobody listed may open a microphone, name a URL to be fetched,
//! or claim an identity that nobody proved. And what our phones wrote about their network stays at home: their Contacts
//! ([`contact`]), their Call-IDs ([`call_id`]) wherever a header repeats one ([`references`]), addresses in Warning. What
//! comes back is given to the phone as it wrote it.
//!
//! ```text
//!   our phone ─▶ copy ─ outward ─▶ link ─▶ a peer            in the same pass that writes the copy
//!   our phone ◀─ copy ◀─ the core ◀─ inward ◀─ link ◀─ a peer    before anything else looks at it
//! ```
//!
//! So inside this peer a dialog has one Call-ID, the one that its phone knows. Pure functions on one message; nothing is
//! remembered. The same key hides and shows, and is derived from one that survives a restart, so a call outlives its
//! peer's process.

pub mod call_id;
pub mod contact;
pub mod headers;
pub mod identity;
pub mod parties;
pub mod references;
pub(crate) mod transfer;

use crate::{
    hop::host_of,
    ids::Secret,
    message::{Editor, Message, Name},
};
use call_id::CallIdMask;

/// What this peer does at its border.
#[derive(Clone)]
pub struct Border {
    mask: CallIdMask,
    secret: Secret,
    /// Our name on the overlay, where a header has to name a host.
    own_host: String,
}

impl Border {
    /// `secret` survives restarts.
    pub fn new(secret: Secret, own_host: String) -> Border {
        Border { mask: CallIdMask::new(secret.clone()), secret, own_host }
    }

    pub fn mask(&self) -> &CallIdMask {
        &self.mask
    }

    /// Into a copy for a peer: only what is on the list, no address of our phones in what names a dialog, their Contact
    /// under another name.
    pub fn outward(&self, edit: &mut Editor<'_>, message: &Message) {
        headers::filter(edit, headers::may_cross);
        self.rename_dialogs(edit, message, &|text| self.mask.hide(text));
        // BORD-5: whoever warned, it is our word.
        let name = Name::Other("warning".to_owned());
        if let Some(warning) = message.header(&name) {
            let warning = headers::warning(warning, &self.own_host);
            edit.set_values(&name, &[warning]);
        }
        let names_nobody = message.status().is_some_and(|status| status >= 400);
        match message.header(&Name::Contact) {
            Some(_) if names_nobody => {
                edit.remove(&Name::Contact);
            }
            // A 3xx names others.
            Some(_) if message.status().is_none_or(|status| status < 300) => {
                edit.set_values(&Name::Contact, &[contact::opaque(&self.secret, message, &self.own_host)]);
            }
            _ => {}
        }
    }

    /// What came from the peer of this label: only what is on the list, our phones' Call-IDs as they wrote them, and
    /// nothing in a Contact but a name at that peer. `None`: the result cannot be read again.
    pub fn inward(&self, label: &str, message: Message) -> Option<Message> {
        let show = |text: &str| self.mask.show(text);
        let contact = contact::of_peer(&message, &host_of(label));
        let is_as_it_should_be = message.names().all(headers::may_cross)
            && contact.is_none()
            && message.call_id().and_then(show).is_none()
            && !references::is_in(&message);
        if is_as_it_should_be {
            return Some(message);
        }
        let mut edit = Editor::new(&message);
        headers::filter(&mut edit, headers::may_cross);
        self.rename_dialogs(&mut edit, &message, &show);
        if let Some(contact) = contact {
            edit.set_values(&Name::Contact, contact.as_slice());
        }
        edit.finish().checked().ok()
    }

    /// An answer of our own for a peer: it repeats the Call-ID of a request that may have been shown to us.
    pub fn answer(&self, answer: Message) -> Message {
        if answer.is_request() {
            return answer;
        }
        match answer.call_id().and_then(|call_id| self.mask.hide(call_id)) {
            Some(hidden) => {
                let mut edit = Editor::new(&answer);
                edit.set(&Name::CallId, &hidden);
                edit.finish()
            }
            None => answer,
        }
    }

    fn rename_dialogs(
        &self,
        edit: &mut Editor<'_>,
        message: &Message,
        rename: &dyn Fn(&str) -> Option<String>,
    ) {
        if let Some(renamed) = message.call_id().and_then(rename) {
            edit.set(&Name::CallId, &renamed);
        }
        references::rename(edit, message, rename);
    }
}

#[cfg(test)]
mod tests;
