//! The border between this peer and the others: what of a message may cross, and how it is written on the other side
//! (RFC 5853 §3.1, topology hiding).
//!
//! A stranger runs every other peer. So what crosses is an allow-list ([`headers`]), the same for requests, requests in
//! dialogs and responses, in both directions: a header that nobody listed may open a microphone, name a URL to be fetched,
//! or claim an identity that nobody proved. And what our phones wrote about their network stays at home: their Contacts
//! ([`contact`]), their Call-IDs ([`call_id`]) wherever a header repeats one ([`references`]), addresses in Warning. What
//! comes back is given to the phone as it wrote it.
//!
//! It lies between two peers, and just as well between accounts of two realms at one peer ([`Crossing::is_border`]): they
//! are as strange to each other there as anywhere.
//!
//! ```text
//!   a peer ── inward ──▶ the core ──▶ copy, across ──▶ link ──▶ a peer
//!   our phone ─────────▶ the core ──▶ copy, across ──▶ our phone
//!            before anything looks at it        in the same pass that writes the copy
//! ```
//!
//! Pure functions on one message; nothing is remembered. The same key hides and shows, and is derived from one that
//! survives a restart, so a call outlives its peer's process.

pub mod call_id;
pub mod contact;
pub mod headers;
pub mod identity;
pub mod parties;
pub mod references;
pub(crate) mod transfer;

use crate::{
    address::realm_of,
    hop::host_of,
    ids::Secret,
    message::{Editor, Message, Name},
};
use call_id::CallIdMask;

/// A message on its way from one end to the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossing<'a> {
    /// Canonical AORs of who sends it and who reads it.
    pub sender: &'a str,
    pub reader: &'a str,
    pub from_peer: bool,
    pub to_peer: bool,
}

impl Crossing<'_> {
    /// BORD-8: no friend is who is served elsewhere, nor who is of another realm.
    pub fn is_border(&self) -> bool {
        self.from_peer || self.to_peer || realm_of(self.sender) != realm_of(self.reader)
    }

    /// An answer to it.
    pub fn back(self) -> Self {
        Crossing {
            sender: self.reader,
            reader: self.sender,
            from_peer: self.to_peer,
            to_peer: self.from_peer,
        }
    }
}

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

    pub fn own_host(&self) -> &str {
        &self.own_host
    }

    pub fn mask(&self) -> &CallIdMask {
        &self.mask
    }

    /// Into a copy that crosses: only what is on the list, no address of our phones in what names a dialog, their Contact
    /// under another name. What came from a peer has passed [`Border::inward`].
    pub(crate) fn across(&self, edit: &mut Editor<'_>, message: &Message, crossing: &Crossing<'_>) {
        headers::filter(edit);
        references::rename(edit, message, &|name| self.other_name(name, crossing));
        if crossing.from_peer {
            return;
        }
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

    /// What the reader calls a dialog that the sender calls so. `None`: the same.
    pub(crate) fn other_name(&self, call_id: &str, crossing: &Crossing<'_>) -> Option<String> {
        let shown = if crossing.to_peer { None } else { self.mask.show(call_id, realm_of(crossing.reader)) };
        let hide = || self.mask.hide(call_id, realm_of(crossing.sender)).filter(|_| !crossing.from_peer);
        shown.or_else(hide)
    }

    /// What came from the peer of this label: only what is on the list, and nothing in a Contact but a name at that peer.
    /// `None`: the result cannot be read again.
    pub fn inward(&self, label: &str, message: Message) -> Option<Message> {
        let contact = contact::of_peer(&message, &host_of(label));
        if contact.is_none() && message.names().all(headers::may_cross) {
            return Some(message);
        }
        let mut edit = Editor::new(&message);
        headers::filter(&mut edit);
        if let Some(contact) = contact {
            edit.set_values(&Name::Contact, contact.as_slice());
        }
        edit.finish().checked().ok()
    }
}

#[cfg(test)]
mod tests;
