//! Requests inside a dialog: only by a route token of ours, only to the side that the sender is not (design: route tokens).

use super::{
    memory::{Dialog, Dialogs, short},
    rewrite::{contact_uri, finish, set_uri_of, stamp},
    target::Target,
};
use crate::{
    address::Addressing,
    auth::strip_credentials,
    border::{
        headers,
        identity::{self, uri_of},
        parties::Parties,
    },
    cx::Cx,
    hop::Hop,
    ids::{Branch, DialogKey},
    limits::ROUTES_MAX,
    location::Place,
    message::{Editor, Message, Name, NameAddr},
    token::{Side, Token},
    uri::Uri,
};

/// One request's way through this peer, as its token says.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub token: Token,
    pub by_caller: bool,
    pub caller_tag: String,
    pub callee_tag: String,
    pub key: DialogKey,
    /// How many of the topmost Routes are this pass's own.
    own_routes: usize,
    /// The token stood in the Request-URI: a strict router before us put it there (§16.4).
    is_strict: bool,
}

/// Why there is no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPass {
    /// No token at all: a dialog that nobody knows here (§12.2.2).
    Unknown,
    /// A token that was not sealed for this dialog.
    Forged,
}

impl Pass {
    /// By the first of our tokens in the Route set.
    pub fn find(cx: &Cx<'_>, request: &Message) -> Result<Pass, NoPass> {
        let (from, to) = (request.from().ok_or(NoPass::Unknown)?, request.to().ok_or(NoPass::Unknown)?);
        let call_id = request.call_id().ok_or(NoPass::Unknown)?;
        let tags = [(from.tag(), to.tag(), true), (to.tag(), from.tag(), false)];
        let mut routes = own_tokens(cx, request);
        let first = routes.next();
        let own_routes = match (&first, routes.next()) {
            (None, _) => 0,
            (Some((_, token)), Some((next, same))) if same == *token => next + 1,
            (Some((at, _)), _) => at + 1,
        };
        let in_uri = || Uri::parse(request.uri()?).ok()?.user().map(str::to_ascii_lowercase);
        let is_strict = first.is_none();
        let text = match first {
            Some((_, text)) => text,
            None => in_uri().ok_or(NoPass::Unknown)?,
        };
        for (tag, other, by_caller) in tags {
            let Some(tag) = tag else { continue };
            if let Some(token) = Token::open(&text, &cx.base.token_key, call_id, tag) {
                let key = DialogKey::new(call_id, tag, &cx.base.secret);
                let (caller_tag, callee_tag) = (tag.to_owned(), other.unwrap_or_default().to_owned());
                return Ok(Pass { token, by_caller, caller_tag, callee_tag, key, own_routes, is_strict });
            }
        }
        // A Request-URI is somebody's name as a rule, and no token.
        Err(if is_strict { NoPass::Unknown } else { NoPass::Forged })
    }

    pub fn sender(&self) -> &Side {
        if self.by_caller { &self.token.caller } else { &self.token.callee }
    }

    pub fn recipient(&self) -> &Side {
        if self.by_caller { &self.token.callee } else { &self.token.caller }
    }

    /// Target refresh (re-INVITE, UPDATE): the sender's newest Contact.
    pub fn remember(&self, dialogs: &mut Dialogs, request: &Message) {
        if matches!(self.sender(), Side::Peer(_)) {
            return;
        }
        if let Some(contact) = contact_uri(request).and_then(short) {
            let by_caller = self.by_caller;
            dialogs.note(self.key, |dialog| {
                *(if by_caller { &mut dialog.caller_contact } else { &mut dialog.callee_contact }) =
                    Some(contact);
            });
        }
    }

    /// Caller and callee of the dialog; where that is forgotten, as From and To say.
    pub fn parties(&self, cx: &Cx<'_>, dialogs: &Dialogs, request: &Message) -> Parties {
        let known = dialogs.find(self.key).and_then(|dialog| dialog.parties.clone());
        known.unwrap_or_else(|| Parties {
            caller: aor_in(request, self.by_caller, cx.addressing()),
            callee: aor_in(request, !self.by_caller, cx.addressing()),
            vouch: None,
            nonce: None,
        })
    }

    /// The copy of a request for the other side: own Routes popped, opaque names turned back, identities rewritten.
    pub fn copy(
        &self,
        cx: &Cx<'_>,
        dialogs: &Dialogs,
        (request, from): (&Message, &Hop),
        target: &Target,
        branch: Branch,
    ) -> Option<Message> {
        let mut edit = Editor::new(request);
        let uri = self.take_routes(&mut edit, request);
        stamp(cx, &mut edit, request, (from, &target.hop()), &branch.text(None));
        let parties = self.parties(cx, dialogs, request);
        strip_credentials(&mut edit, &parties.guarded_realms(cx.addressing()));
        match target {
            Target::Peer(_) => {
                let parties = if self.by_caller { parties } else { parties.reversed() };
                identity::set(&mut edit, request, &Name::From, &uri_of(&parties.caller));
                identity::set(&mut edit, request, &Name::To, &uri_of(&parties.callee));
                cx.base.border.outward(&mut edit, request);
            }
            Target::Phone(_) | Target::Flow(_) => {
                let unknown = Dialog::default();
                let dialog = dialogs.find(self.key).unwrap_or(&unknown);
                match (from, parties.are_strangers()) {
                    (Hop::Peer(_), _) => self.name_parties(&mut edit, request, dialog, &parties),
                    (Hop::Phone(_), true) => {
                        headers::filter(&mut edit, headers::may_meet);
                        self.name_stranger(&mut edit, request, dialog, &parties);
                    }
                    (Hop::Phone(_), false) => self.show_caller(&mut edit, request, dialog),
                }
                self.show_contact(cx, &mut edit, (uri.as_deref(), from), dialog, target);
            }
        }
        finish(&edit)
    }

    /// Takes this pass's own Routes away; what the Request-URI is then. `None`: it was our token, and nothing else was said.
    fn take_routes(&self, edit: &mut Editor<'_>, request: &Message) -> Option<String> {
        if !self.is_strict {
            edit.remove_first_values(&Name::Route, self.own_routes);
            return request.uri().map(str::to_owned);
        }
        // §16.4: the last Route is what the sender meant by the Request-URI.
        let mut routes: Vec<String> = request.values(&Name::Route).map(str::to_owned).collect();
        let last = routes.pop()?;
        let uri = NameAddr::parse(&last)?.uri().to_owned();
        edit.set_uri(&uri);
        edit.set_values(&Name::Route, &routes);
        Some(uri)
    }

    /// Inward: the phone's own Contact in the Request-URI, where that is an opaque name of ours.
    fn show_contact(
        &self,
        cx: &Cx<'_>,
        edit: &mut Editor<'_>,
        (uri, from): (Option<&str>, &Hop),
        dialog: &Dialog,
        target: &Target,
    ) {
        let is_other =
            |uri: &str| Uri::parse(uri).is_ok_and(|uri| !uri.host().eq_ignore_ascii_case(&cx.own_host()));
        // A peer was given that name, and has no other to say.
        if matches!(from, Hop::Phone(_)) && uri.is_some_and(is_other) {
            return;
        }
        let known = if self.by_caller { &dialog.callee_contact } else { &dialog.caller_contact };
        let bound = match target {
            Target::Phone(place) => Some(&place.uri),
            Target::Flow(_) | Target::Peer(_) => None,
        };
        if let Some(contact) = known.as_ref().or(bound) {
            edit.set_uri(contact);
        }
    }

    /// Toward a phone of a caller of its own realm: by the name that it was shown.
    fn show_caller(&self, edit: &mut Editor<'_>, request: &Message, dialog: &Dialog) {
        if self.by_caller
            && let Some(shown) = &dialog.caller_shown
        {
            set_uri_of(edit, request, &Name::From, shown);
        }
    }

    /// Toward a phone, from a peer: the two that were vouched for where the dialog began, by the names that the phone
    /// knows. What the peer wrote is not looked at.
    fn name_parties(&self, edit: &mut Editor<'_>, request: &Message, dialog: &Dialog, parties: &Parties) {
        let (caller, callee) = (uri_of(&parties.caller), uri_of(&parties.callee));
        let (from, to) = match self.by_caller {
            true => (dialog.caller_shown.as_ref().unwrap_or(&caller), &callee),
            false => {
                let from = dialog.caller_to.as_ref().unwrap_or(&callee);
                (from, dialog.caller_from.as_ref().unwrap_or(&caller))
            }
        };
        identity::set_bare(edit, request, &Name::From, from);
        identity::set_bare(edit, request, &Name::To, to);
    }

    /// The same between two phones of this peer that are strangers: only From can lie.
    fn name_stranger(&self, edit: &mut Editor<'_>, request: &Message, dialog: &Dialog, parties: &Parties) {
        let (known, vouched) = match self.by_caller {
            true => (dialog.caller_shown.as_ref().or(dialog.caller_from.as_ref()), &parties.caller),
            false => (dialog.caller_to.as_ref(), &parties.callee),
        };
        let vouched = uri_of(vouched);
        identity::set_bare(edit, request, &Name::From, known.unwrap_or(&vouched));
    }
}

/// Does this hop speak for that side? A phone may change its address; another phone may not take its place, and no peer can
/// speak for a phone. `places`: where the phone of a registered side is.
pub(super) fn speaks_for(hop: &Hop, side: &Side, places: &[Place]) -> bool {
    match (hop, side) {
        (Hop::Peer(label), Side::Peer(expected)) => label == expected,
        (Hop::Phone(flow), Side::Flow(expected)) => {
            flow == expected
                || (flow.transport == expected.transport && flow.remote.ip() == expected.remote.ip())
        }
        (Hop::Phone(flow), Side::Phone { instance, .. }) => {
            let bound = places.iter().find(|place| place.is_instance(instance));
            bound.is_none_or(|place| place.flow.remote.ip() == flow.remote.ip())
        }
        _ => false,
    }
}

/// Where that side is reached now.
pub(super) fn reach(side: &Side, places: &[Place]) -> Option<Target> {
    match side {
        Side::Peer(label) => Some(Target::Peer(label.clone())),
        Side::Flow(flow) => Some(Target::Flow(*flow)),
        Side::Phone { instance, .. } => {
            let place = places.iter().find(|place| place.is_instance(instance) && place.is_reachable)?;
            Some(Target::Phone(place.clone()))
        }
    }
}

/// The Routes with a user part, and their places, after those that only name us (an outbound proxy setting). Whose a
/// token is its MAC says, not the host beside it.
fn own_tokens<'a>(cx: &'a Cx<'_>, request: &'a Message) -> impl Iterator<Item = (usize, String)> + 'a {
    let mut routes = request.values(&Name::Route).take(ROUTES_MAX).enumerate().peekable();
    let uri_of = |value: &str| NameAddr::parse(value).map(|r| r.uri().to_owned()).unwrap_or_default();
    while routes
        .next_if(|(_, value)| {
            Uri::parse(&uri_of(value)).is_ok_and(|u| u.user().is_none() && cx.is_own_route(u.host()))
        })
        .is_some()
    {}
    routes.map_while(move |(at, value)| {
        let uri = uri_of(value);
        let user = Uri::parse(&uri).ok()?.user()?.to_ascii_lowercase();
        Some((at, user))
    })
}

/// The canonical AOR in From (`from`) or To.
fn aor_in(request: &Message, from: bool, addressing: &Addressing) -> String {
    let addr = if from { request.from() } else { request.to() };
    addr.and_then(|a| addressing.canonical_aor(a.uri()).ok()).unwrap_or_default()
}
