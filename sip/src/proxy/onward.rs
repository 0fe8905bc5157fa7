//! What leaves: a request inside a dialog, copied for the other side (RFC 3261 §16.6): own Routes popped, opaque names turned back,
//! whoever sends it by the name that the reader knows.

use super::{
    dialog::Pass,
    memory::{Dialog, Dialogs},
    record_route,
    rewrite::{finish, stamp},
    target::Target,
    transfer,
};
use crate::{
    address::realm_of,
    auth::strip_credentials,
    border::{
        Crossing,
        identity::{self, uri_of},
        parties::Parties,
        transfer::server_in,
    },
    cx::Cx,
    hop::Hop,
    ids::{Branch, Method},
    message::{Editor, Message, Name},
    token::{Side, Usage},
    uri::Uri,
};

impl Pass {
    /// `None`: it cannot be written so that it can be read again.
    pub fn copy(
        &self,
        cx: &Cx<'_>,
        dialogs: &Dialogs,
        (request, from): (&Message, &Hop),
        target: &Target,
        branch: Branch,
    ) -> Option<Message> {
        let parties = self.parties(cx, dialogs);
        let crossing = self.crossing(&parties, from, target);
        let unknown = Dialog::default();
        let dialog = dialogs.find(self.slot.key).unwrap_or(&unknown);
        let mut edit = Editor::new(request);
        edit.set_values(&Name::Route, &self.way.rest);
        stamp(cx, &mut edit, request, &target.hop(), &branch.text(None), crossing.is_border());
        strip_credentials(&mut edit, &parties.guarded_realms(cx.addressing()));
        let server = self.server_of(cx, dialog, target);
        if crossing.is_border() {
            cx.base.border.across(&mut edit, request, &crossing);
            if let Some(call_id) = self.other_call_id(cx, request, &parties) {
                edit.set(&Name::CallId, &call_id);
            }
            transfer::across(cx, &mut edit, request, (&crossing, dialogs), server);
            self.name_parties(&mut edit, request, dialog, (&parties, &crossing));
        } else {
            transfer::between_friends(cx, &mut edit, request, (crossing.sender, dialogs), server);
            self.show_caller(&mut edit, dialog);
        }
        // A BYE asks for nothing, and a phone that is asked for what it does not know refuses to hang up (§8.2.2.3).
        if Method::of(request) == Method::Bye {
            edit.remove(&Name::Require);
        }
        if Method::of(request) == Method::Notify && self.way.token.usage == Usage::Subscription {
            record_route::repeat(cx, &mut edit, &self.way, (from, target));
        }
        let said = self.way.uri.clone();
        let uri = match target {
            Target::Peer(_) => said,
            Target::Phone(_) | Target::Flow(_) => self.contact(cx, &crossing, dialog, target).or(said),
        }?;
        edit.set_uri(&uri);
        if let Some((uri, routes)) = self.way.toward_strict(&uri) {
            edit.set_uri(&uri);
            edit.set_values(&Name::Route, &routes);
        }
        finish(&edit)
    }

    pub fn crossing<'a>(&self, parties: &'a Parties, from: &Hop, target: &Target) -> Crossing<'a> {
        parties.crossing(self.way.by_caller, matches!(from, Hop::Peer(_)), target.peer().is_some())
    }

    /// BORD-4: the caller knows its Call-ID as it wrote it. From the callee it may have been hidden, if a phone of ours
    /// wrote it. `None`: as the request says.
    fn other_call_id(&self, cx: &Cx<'_>, request: &Message, parties: &Parties) -> Option<String> {
        let own = &self.way.call_id;
        let is_ours = !matches!(self.way.token.caller, Side::Peer(_));
        let hide = || cx.base.border.mask().hide(own, realm_of(&parties.caller));
        let hidden = if self.way.by_caller && is_ours { hide() } else { None };
        let call_id = hidden.as_ref().unwrap_or(own);
        (request.call_id() != Some(call_id)).then(|| call_id.clone())
    }

    /// Inward: the phone's own Contact for the Request-URI, where that is an opaque name of ours.
    fn contact(
        &self,
        cx: &Cx<'_>,
        crossing: &Crossing<'_>,
        dialog: &Dialog,
        target: &Target,
    ) -> Option<String> {
        let is_other =
            |uri: &str| Uri::parse(uri).is_ok_and(|uri| !uri.host().eq_ignore_ascii_case(cx.own_host()));
        let said = self.way.uri.as_deref();
        // Whoever is no friend was given that name, and has no other to say.
        if !crossing.is_border() && said.is_some_and(is_other) {
            return None;
        }
        let known = if self.way.by_caller { &dialog.callee_contact } else { &dialog.caller_contact };
        let bound = match target {
            Target::Phone(place) => Some(&place.uri),
            Target::Flow(_) | Target::Peer(_) => None,
        };
        let other = || format!("sip:{}", target.address());
        let may_pass = said.is_some_and(|said| !is_other(said) && identity::plain_uri(said) == said);
        known.as_ref().or(bound).cloned().or_else(|| (!may_pass).then(other))
    }

    /// The address by which the phone that gets it knows us, where it knows nothing else.
    fn server_of<'a>(&self, cx: &Cx<'_>, dialog: &'a Dialog, target: &'a Target) -> Option<&'a str> {
        let wrote = dialog.caller_from.as_deref().filter(|_| !self.way.by_caller);
        let bound = match target {
            Target::Phone(place) => place.server.as_deref(),
            Target::Flow(_) | Target::Peer(_) => None,
        };
        bound.or_else(|| server_in(cx.addressing(), wrote?))
    }

    /// Toward a phone of a caller of its own realm: by the name that it was shown.
    fn show_caller(&self, edit: &mut Editor<'_>, dialog: &Dialog) {
        if self.way.by_caller
            && let Some(shown) = &dialog.caller_shown
        {
            edit.set_address(&Name::From, shown);
        }
    }

    /// Toward a phone, from whoever is no friend: the two that were vouched for where the dialog began, by the names that
    /// the phone knows (BORD-2). What the sender wrote is not looked at.
    fn name_parties(
        &self,
        edit: &mut Editor<'_>,
        request: &Message,
        dialog: &Dialog,
        (parties, crossing): (&Parties, &Crossing<'_>),
    ) {
        if crossing.to_peer {
            identity::set_bare(edit, request, &Name::From, &uri_of(crossing.sender));
            identity::set_bare(edit, request, &Name::To, &uri_of(crossing.reader));
            return;
        }
        let (caller, callee) = (uri_of(&parties.caller), uri_of(&parties.callee));
        let (from, to) = match self.way.by_caller {
            true => (dialog.caller_shown.as_ref().unwrap_or(&caller), &callee),
            false => {
                let from = dialog.caller_to.as_ref().unwrap_or(&callee);
                (from, dialog.caller_from.as_ref().unwrap_or(&caller))
            }
        };
        identity::set_bare(edit, request, &Name::From, from);
        identity::set_bare(edit, request, &Name::To, to);
    }
}
