//! What leaves: a request outside a dialog, copied for one branch (RFC 3261 §16.6).

use super::{
    memory::{Dialogs, Slot},
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
    },
    cx::Cx,
    hop::Hop,
    ids::Branch,
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
    /// Of the dialog that it is to begin.
    pub slot: Option<Slot>,
}

impl Original<'_> {
    /// The copy for one target. `None`: it cannot be written so that it can be read again.
    pub fn copy(
        &self,
        cx: &Cx<'_>,
        dialogs: &mut Dialogs,
        target: &Target,
        branch: Branch,
    ) -> Option<Message> {
        let request = self.request;
        let crossing = self.crossing(target);
        let mut edit = Editor::new(request);
        let (uri, path) = match target {
            Target::Phone(place) => (place.uri.clone(), place.path.as_slice()),
            Target::Flow(_) | Target::Peer(_) => (uri_of(&self.parties.callee), [].as_slice()),
        };
        edit.set_uri(&uri);
        let branch = branch.text(Some(&loop_mark(cx, request)));
        stamp(cx, &mut edit, request, &target.hop(), &branch, crossing.is_border());
        strip_credentials(&mut edit, &self.parties.guarded_realms(cx.addressing()));
        edit.set_values(&Name::Route, path);
        // RFC 3325 §5: who speaks here is proven by From; what else claims to be proven is not.
        for claim in ["p-asserted-identity", "remote-party-id"] {
            edit.remove(&Name::Other(claim.to_owned()));
        }
        if let Some(slot) = self.slot {
            record_route::add(cx, &mut edit, request, (self.hop, self.from), (target, slot.key.pair));
        }
        let place = match target {
            Target::Phone(place) => Some(place),
            Target::Flow(_) | Target::Peer(_) => None,
        };
        let shown = place.and_then(|place| self.caller_for(cx, place, &crossing));
        if crossing.is_border() {
            self.cross(cx, &mut edit, dialogs, (&crossing, place, shown.as_deref()));
        } else if let Some(from) = &shown {
            edit.set_address(&Name::From, from);
        }
        if let (Some(from), Some(slot)) = (shown, self.slot) {
            dialogs.note(slot, |dialog| dialog.caller_shown = Some(from));
        }
        finish(&edit)
    }

    pub fn crossing(&self, target: &Target) -> Crossing<'_> {
        self.parties.crossing(true, matches!(self.hop, Hop::Peer(_)), target.peer().is_some())
    }

    /// Of whoever is no friend the reader is told what is vouched for, and by what name to call back; and no more.
    fn cross(
        &self,
        cx: &Cx<'_>,
        edit: &mut Editor<'_>,
        dialogs: &Dialogs,
        (crossing, place, shown): (&Crossing<'_>, Option<&Place>, Option<&str>),
    ) {
        let request = self.request;
        cx.base.border.across(edit, request, crossing);
        let hide = |call_id: &str| cx.base.border.mask().hide(call_id, realm_of(crossing.sender));
        // BORD-4: what a peer wrote is its own to hide, and to know again.
        if let Some(hidden) = request.call_id().filter(|_| !crossing.from_peer).and_then(hide) {
            edit.set(&Name::CallId, &hidden);
        }
        let server = place.and_then(|place| place.server.as_deref());
        transfer::across(cx, edit, request, (crossing, dialogs), server);
        // BORD-2.
        let from = shown.map_or_else(|| uri_of(crossing.sender), str::to_owned);
        identity::set(edit, request, &Name::From, &from);
        identity::set(edit, request, &Name::To, &uri_of(crossing.reader));
    }

    /// The caller as a phone can call back that knows its server by address alone: `alice@SERVER`, or with the realm,
    /// `alice%40a.net@SERVER`. None where it knows better, or the From names us already.
    fn caller_for(&self, cx: &Cx<'_>, place: &Place, crossing: &Crossing<'_>) -> Option<String> {
        let server = place.server.as_ref()?;
        let from = Uri::parse(self.request.from()?.uri()).ok()?;
        // What a friend wrote stays, where it can be called back; what others wrote does not.
        if cx.addressing().is_own_host(from.host()) && !crossing.is_border() {
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
    let mut hash = cx.base.secret.quick("loop");
    // Peers of one realm may share the key; each is a hop of its own.
    hash.text(&cx.config().label);
    hash.text(request.uri().unwrap_or_default());
    hash.text(request.from().and_then(|f| f.tag()).unwrap_or_default());
    hash.text(request.call_id().unwrap_or_default());
    hash.text(method);
    hash.number(u64::from(number));
    format!("{:08x}", (hash.finish() >> 96) as u32)
}
