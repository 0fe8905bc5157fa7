//! What leaves: a request outside a dialog, copied for one branch (RFC 3261 §16.6).

use super::{
    memory::Dialogs,
    record_route,
    rewrite::{finish, stamp},
    target::Target,
    transfer,
};
use crate::{
    auth::strip_credentials,
    border::{
        headers,
        identity::{self, plain_uri, uri_of},
        parties::Parties,
    },
    cx::Cx,
    hop::Hop,
    ids::{Branch, DialogKey, Method},
    location::Place,
    message::{Editor, Message, Name},
    token::Side,
    uri::{Uri, escape_user},
};

/// A request that is being forwarded, as its copies need it.
pub(super) struct Original<'a> {
    pub request: &'a Message,
    pub hop: &'a Hop,
    pub from: &'a Side,
    pub parties: &'a Parties,
}

impl Original<'_> {
    /// Its dialog, once there is one.
    pub fn dialog(&self, cx: &Cx<'_>) -> Option<DialogKey> {
        let (call_id, tag) = (self.request.call_id()?, self.request.from()?.tag()?);
        Some(DialogKey::new(call_id, tag, &cx.base.secret))
    }

    /// The copy for one target. `None`: it cannot be written so that it can be read again.
    pub fn copy(
        &self,
        cx: &Cx<'_>,
        dialogs: &mut Dialogs,
        target: &Target,
        branch: Branch,
    ) -> Option<Message> {
        let request = self.request;
        let mut edit = Editor::new(request);
        let hop = target.hop();
        let (uri, path) = match target {
            Target::Phone(place) => (place.uri.clone(), place.path.as_slice()),
            Target::Flow(_) | Target::Peer(_) => (uri_of(&self.parties.callee), [].as_slice()),
        };
        edit.set_uri(&uri);
        let mark = loop_mark(cx, request);
        stamp(cx, &mut edit, request, (self.hop, &hop), &branch.text(Some(&mark)));
        strip_credentials(&mut edit, &self.parties.guarded_realms(cx.addressing()));
        edit.set_values(&Name::Route, path);
        // RFC 3325 §5: who speaks here is proven by From; what else claims to be proven is not.
        for claim in ["p-asserted-identity", "remote-party-id"] {
            edit.remove(&Name::Other(claim.to_owned()));
        }
        if matches!(Method::of(request), Method::Invite | Method::Subscribe) {
            record_route::add(cx, &mut edit, request, (self.hop, self.from), (target, self.parties));
        }
        match target {
            Target::Peer(_) => {
                identity::set(&mut edit, request, &Name::From, &uri_of(&self.parties.caller));
                identity::set(&mut edit, request, &Name::To, &uri_of(&self.parties.callee));
                cx.base.border.outward(&mut edit, request);
                transfer::toward_peer(cx, &mut edit, request, (dialogs, &self.parties.caller));
            }
            Target::Phone(place) => self.show(cx, &mut edit, dialogs, place),
            Target::Flow(_) => {}
        }
        finish(&edit)
    }

    /// To a phone of ours: the caller by the name that it knows him by. Of a stranger that is all it is told.
    fn show(&self, cx: &Cx<'_>, edit: &mut Editor<'_>, dialogs: &mut Dialogs, place: &Place) {
        let request = self.request;
        let shown = self.caller_for(cx, place);
        if matches!(self.hop, Hop::Peer(_)) || self.parties.are_strangers() {
            let server = place.server.as_deref();
            transfer::toward_phone(cx, edit, request, (server, &self.parties.caller));
        }
        if let Some(from) = &shown
            && let Some(key) = self.dialog(cx)
        {
            dialogs.note(key, |dialog| dialog.caller_shown = Some(from.clone()));
        }
        if matches!(self.hop, Hop::Peer(_)) {
            let from = shown.unwrap_or_else(|| uri_of(&self.parties.caller));
            identity::set(edit, request, &Name::From, &from);
            identity::set(edit, request, &Name::To, &uri_of(&self.parties.callee));
        } else if self.parties.are_strangers() {
            headers::filter(edit, headers::may_meet);
            let wrote = request.from().map(|from| plain_uri(from.uri())).unwrap_or_default();
            identity::set(edit, request, &Name::From, &shown.unwrap_or(wrote));
        } else if let Some(from) = shown {
            edit.set_address(&Name::From, &from);
        }
    }

    /// The caller as a phone can call back that knows its server by address alone: `alice@SERVER`, or with the realm,
    /// `alice%40a.net@SERVER`. None where it knows better, or the From names us already.
    fn caller_for(&self, cx: &Cx<'_>, place: &Place) -> Option<String> {
        let server = place.server.as_ref()?;
        let from = Uri::parse(self.request.from()?.uri()).ok()?;
        if cx.addressing().is_own_host(from.host()) {
            return None;
        }
        let (user, realm) = self.parties.caller.rsplit_once('@')?;
        let user = if realm == cx.addressing().default_realm { user } else { &self.parties.caller };
        Some(format!("sip:{}@{server}", escape_user(user)))
    }
}

/// Two passes of one request with one target bear the same mark (RFC 5393 §4.2): a loop. It ends our branch, under our key,
/// so that only we can tell.
pub(super) fn loop_mark(cx: &Cx<'_>, request: &Message) -> String {
    let (number, method) = request.cseq().unwrap_or_default();
    let mut hash = cx.base.secret.hash("loop");
    // Peers of one realm may share the key; each is a hop of its own.
    hash.text(&cx.config().label);
    hash.text(request.uri().unwrap_or_default());
    hash.text(request.from().and_then(|f| f.tag()).unwrap_or_default());
    hash.text(request.call_id().unwrap_or_default());
    hash.text(method);
    hash.number(u64::from(number));
    format!("{:08x}", (hash.finish() >> 96) as u32)
}
