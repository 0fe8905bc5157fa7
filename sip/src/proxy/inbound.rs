//! What comes back: a response as the asker sees it (RFC 3261 §16.7 steps 3 to 9).

use super::{
    rewrite::{finish, with_uri},
    topology::{Parties, hide_phone},
};
use crate::{
    auth::strip_challenges,
    cx::Cx,
    hop::Hop,
    message::{Editor, Message, Name},
};

/// Whose answer it is and who gets it.
pub(super) struct Passing<'a> {
    /// As the asker sent it.
    pub request: &'a Message,
    pub asker: &'a Hop,
    pub from_phone: bool,
    pub in_dialog: bool,
    pub parties: &'a Parties,
}

impl Passing<'_> {
    /// Without our Via, with the asker's own From and To, no challenge in the name of a realm of ours. `others`: responses
    /// whose challenges are added (step 7). `None`: nothing is left of a 401 or 407, so it becomes a 403.
    pub fn response(&self, cx: &Cx<'_>, response: &Message, others: &[Message]) -> Option<Message> {
        let status = response.status().unwrap_or_default();
        let mut edit = Editor::new(response);
        // Without our own on top these are the asker's; the overlay leg knew none of them.
        let vias: Vec<String> = self.request.values(&Name::Via).map(str::to_owned).collect();
        edit.set_values(&Name::Via, &vias);
        let guarded = self.parties.guarded_realms(cx.addressing());
        let mut is_bare = strip_challenges(response, &mut edit, &guarded);
        for other in others {
            is_bare &= add_challenges(&mut edit, other, &guarded);
        }
        if matches!(status, 401 | 407) && is_bare {
            return None;
        }
        // A 3xx names others and passes as it is; the Contact of a dialog is our phone's.
        let names_phone = status < 300 && (!self.in_dialog || is_target_refresh(response));
        if matches!(self.asker, Hop::Peer(_)) && self.from_phone && names_phone {
            hide_phone(cx, &mut edit, response, self.parties);
        }
        self.restore_identities(&mut edit, response);
        finish(&edit)
    }

    /// From and To go back as the asker wrote them; To keeps the tag that the answer gave it.
    fn restore_identities(&self, edit: &mut Editor<'_>, response: &Message) {
        if let Some(from) = self.request.header(&Name::From) {
            edit.set(&Name::From, from);
        }
        if let (Some(asked), Some(answered)) = (self.request.to(), response.header(&Name::To)) {
            edit.set(&Name::To, &with_uri(answered, asked.uri()));
        }
    }
}

/// `true`: there was none to add.
fn add_challenges(edit: &mut Editor<'_>, other: &Message, guarded: &[&str]) -> bool {
    let mut is_bare = true;
    for name in [Name::WwwAuthenticate, Name::ProxyAuthenticate] {
        for value in other.header_lines(&name) {
            if !crate::auth::is_challenge_of(value, guarded) {
                edit.append(&name, value);
                is_bare = false;
            }
        }
    }
    is_bare
}

fn is_target_refresh(response: &Message) -> bool {
    response.header(&Name::Contact).is_some()
        && matches!(response.method(), "INVITE" | "UPDATE" | "SUBSCRIBE")
}
