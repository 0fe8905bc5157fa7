//! Topology hiding (RFC 5853 §3.1): what of a phone stays at its peer.
//!
//! Toward the overlay a phone's Contact is an opaque name at our host, its Vias are taken off, and From and To are canonical.
//! Toward a phone the overlay's Via is taken off.
//! What comes back is shown to the phone as it wrote it itself.

use super::rewrite::{set_uri_of, uri_of};
use crate::{
    address::{Addressing, realm_of},
    auth::Vouch,
    cx::Cx,
    hop::Hop,
    message::{Editor, Message, Name},
    output::Nonce,
};

/// The parties of a request, canonical, and who vouches for the caller.
#[derive(Clone, Debug)]
pub(crate) struct Parties {
    pub caller: String,
    pub callee: String,
    pub vouch: Option<Vouch>,
    /// What the caller's peer added to the INVITE.
    pub nonce: Option<Nonce>,
}

impl Parties {
    /// Realms whose challenges and credentials never pass from one leg to another (design: challenges): ours, and those of
    /// both parties. A callee that challenged in such a name would be given an answer that opens an account.
    pub fn guarded_realms<'a>(&'a self, addressing: &'a Addressing) -> Vec<&'a str> {
        let Addressing { default_realm, local_realms, .. } = addressing;
        let parties = [realm_of(&self.caller), realm_of(&self.callee), default_realm.as_str()];
        parties.into_iter().chain(local_realms.iter().map(String::as_str)).collect()
    }

    /// The same for a request that the callee sends.
    pub fn reversed(self) -> Parties {
        Parties { caller: self.callee, callee: self.caller, vouch: self.vouch, nonce: self.nonce }
    }
}

/// Via and Max-Forwards of a copy (§16.6 steps 3 and 8). `between`: the hops that it comes from and goes to. Where one of
/// them is a peer ours is the only Via: a phone's address stays at its peer, and no phone is shown a transport that its
/// parser may not know. The others are given back with the response.
pub(super) fn stamp(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    between: (&Hop, &Hop),
    branch: &str,
) {
    let via = match between.1 {
        Hop::Phone(flow) => {
            format!("SIP/2.0/{} {};branch={branch}", flow.transport.as_str(), cx.sent_by(flow))
        }
        Hop::Peer(_) => format!("SIP/2.0/DOTS {};branch={branch}", cx.own_host()),
    };
    match between {
        (Hop::Phone(_), Hop::Phone(_)) => {
            edit.prepend(&Name::Via, &via);
        }
        _ => {
            edit.set_values(&Name::Via, &[via]);
        }
    }
    let forwards = request.max_forwards().unwrap_or(71).saturating_sub(1).min(70);
    edit.set(&Name::MaxForwards, &forwards.to_string());
}

/// Toward the overlay. `parties` in the direction of this message's From and To.
pub(super) fn hide_phone(cx: &Cx<'_>, edit: &mut Editor<'_>, message: &Message, parties: &Parties) {
    if message.header(&Name::Contact).is_some() {
        let contact = opaque_contact(cx, message);
        edit.set_values(&Name::Contact, &[contact]);
    }
    set_uri_of(edit, message, &Name::From, &uri_of(&parties.caller));
    set_uri_of(edit, message, &Name::To, &uri_of(&parties.callee));
}

/// `<sip:TOKEN@p<label>.peer.dots>`: the same for the same Contact in the same dialog, and no address in it.
fn opaque_contact(cx: &Cx<'_>, message: &Message) -> String {
    let mut hash = cx.base.secret.hash("contact");
    hash.text(message.call_id().unwrap_or_default());
    hash.text(message.header(&Name::Contact).unwrap_or_default());
    let hash = hash.finish().to_be_bytes();
    let name = data_encoding::BASE32_NOPAD.encode(hash.get(..10).unwrap_or_default()).to_ascii_lowercase();
    format!("<sip:{name}@{}>", cx.own_host())
}
