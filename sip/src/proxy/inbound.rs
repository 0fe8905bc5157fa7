//! What comes back: a response as the asker sees it (RFC 3261 §16.7 steps 3 to 9).

use super::{record_route, rewrite::finish, transfer};
use crate::{
    auth::strip_challenges,
    border::{Crossing, parties::Parties},
    cx::Cx,
    hop::Hop,
    message::{Editor, Message, Name},
};
use smallvec::SmallVec;

/// Whose answer it is and who gets it.
pub(super) struct Passing<'a> {
    /// As the asker sent it.
    pub request: &'a Message,
    pub asker: &'a Hop,
    pub parties: &'a Parties,
    pub crossing: Crossing<'a>,
}

impl Passing<'_> {
    /// Without our Via, with the asker's own From, To and Call-ID, no challenge from across the border or in the name of a
    /// realm of ours. `others`: responses whose challenges are added (step 7). `None`: nothing is left of a 401 or 407, so
    /// it becomes a 403.
    pub fn response(&self, cx: &Cx<'_>, response: &Message, others: &[Message]) -> Option<Message> {
        let is_challenge = matches!(response.status(), Some(401 | 407));
        let crosses = self.crossing.is_border();
        // BORD-6.
        if is_challenge && crosses {
            return None;
        }
        let mut edit = Editor::new(response);
        // Without our own on top these are the asker's; the other side may know none of them.
        let vias: SmallVec<[&str; 4]> = self.request.values(&Name::Via).collect();
        edit.set_values(&Name::Via, &vias);
        if crosses {
            self.across(cx, &mut edit, response);
        } else {
            let guarded = self.parties.guarded_realms(cx.addressing());
            let mut is_bare = strip_challenges(response, &mut edit, &guarded);
            for other in others {
                is_bare &= add_challenges(&mut edit, other, &guarded);
            }
            if is_challenge && is_bare {
                return None;
            }
        }
        self.restore_identities(&mut edit, response);
        finish(&edit)
    }

    fn across(&self, cx: &Cx<'_>, edit: &mut Editor<'_>, response: &Message) {
        if self.crossing.from_peer || self.crossing.to_peer {
            record_route::turn(cx, edit, self.request, response, self.asker);
        }
        let asker = matches!(self.asker, Hop::Phone(_)).then_some(self.request);
        transfer::redirect(cx, edit, response, asker);
        cx.base.border.across(edit, response, &self.crossing);
        // The dialog's name is the asker's, whatever the other side calls it.
        if let Some(call_id) = self.request.call_id().filter(|asked| response.call_id() != Some(asked)) {
            edit.set(&Name::CallId, call_id);
        }
    }

    /// From and To go back as the asker wrote them; To with the tag that the answer gave it (§8.2.6.2).
    fn restore_identities(&self, edit: &mut Editor<'_>, response: &Message) {
        edit.set_as_in(&Name::From, self.request);
        let Some(asked) = self.request.header_bytes(&Name::To) else { return };
        let has_tag = self.request.to().is_some_and(|to| to.tag().is_some());
        let tag = response.to().and_then(|to| to.tag()).filter(|_| !has_tag);
        // Without brackets a parameter behind it would read as one of the URI's.
        match tag {
            Some(tag) => edit.set_pieces(&Name::To, &[asked, b";tag=", tag.as_bytes()]),
            None => edit.set_pieces(&Name::To, &[asked]),
        };
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
