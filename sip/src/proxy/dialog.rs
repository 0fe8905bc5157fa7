//! Requests inside a dialog: only by a route token of ours, only to the side that the sender is not (design: route tokens).

use super::{
    authority::{self, Asked},
    memory::{Dialog, Dialogs, Phase, short},
    rewrite::{contact_uri, finish, stamp},
    target::Target,
    transfer,
    way::{NoWay, Way},
};
use crate::{
    address::Addressing,
    auth::strip_credentials,
    border::{
        headers,
        identity::{self, uri_of},
        parties::Parties,
        transfer::server_in,
    },
    cx::Cx,
    hop::Hop,
    ids::{Branch, DialogKey, Method},
    location::Place,
    message::{Editor, Message, Name},
    status::{self, Status},
    token::Side,
    uri::Uri,
};

/// One request's way through this peer, as its token says.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub way: Way,
    pub key: DialogKey,
}

impl Pass {
    /// By our tokens in the Route set.
    pub fn find(cx: &Cx<'_>, request: &Message) -> Result<Pass, NoWay> {
        let way = Way::find(cx, request)?;
        let call_id = request.call_id().ok_or(NoWay::Unknown)?;
        let key = DialogKey::new(call_id, &way.caller_tag, &cx.base.secret);
        Ok(Pass { way, key })
    }

    /// May it pass? TOK-11 to TOK-14.
    pub fn judge(&self, cx: &Cx<'_>, dialogs: &Dialogs, request: &Message, hop: &Hop) -> Result<(), Status> {
        let Way { token, by_caller, callee_tag, .. } = &self.way;
        let dialog = dialogs.find(self.key);
        let known = dialog.and_then(|dialog| dialog.parties.as_ref());
        let is_peer = matches!(hop, Hop::Peer(_));
        let are_strangers = match known {
            Some(parties) => parties.are_strangers(),
            None => {
                let said = self.said(request, cx.addressing());
                // TOK-12: nobody remembers for whom it was given, and somebody else says that it is his.
                let is_his = token.is_of(&said.caller, &said.callee);
                if is_peer && !is_his {
                    return Err(status::FORBIDDEN);
                }
                !is_his || said.are_strangers()
            }
        };
        let reaches_phone = !matches!(self.way.recipient(), Side::Peer(_));
        Asked {
            method: &Method::of(request),
            usage: token.usage,
            by_caller: *by_caller,
            is_foreign: is_peer || (are_strangers && reaches_phone),
            is_about_refer: authority::is_about_refer(request),
            is_old: token.is_over(cx.now.wall_ms),
            now_ms: cx.now.wall_ms,
        }
        .judge(
            dialog,
            dialog.and_then(|dialog| dialog.leg(callee_tag)),
            dialogs.has_failed(self.key),
        )
    }

    /// It passes: what that changes, and in a target refresh (re-INVITE, UPDATE) the sender's newest Contact.
    pub fn remember(&self, cx: &Cx<'_>, dialogs: &mut Dialogs, request: &Message) {
        let Way { by_caller, callee_tag, token, .. } = &self.way;
        let is_ours = !matches!(self.way.sender(), Side::Peer(_));
        let contact = contact_uri(request).filter(|_| is_ours).and_then(short);
        let dialog = dialogs.find(self.key);
        let is_known = dialog.is_some_and(|dialog| dialog.leg(callee_tag).is_some());
        // Forgotten, and one of our phones knows it, or somebody ends it: so it is, or was, a dialog.
        let begins = match Method::of(request) {
            _ if dialog.is_some_and(|dialog| dialog.is_whole) => false,
            Method::Bye => true,
            Method::Ack => false,
            _ => is_ours,
        };
        if contact.is_none() && !is_known && !begins {
            return;
        }
        let (now_ms, by_caller) = (cx.now.wall_ms, *by_caller);
        dialogs.note(self.key, |dialog| {
            if let Some(contact) = contact {
                *(if by_caller { &mut dialog.caller_contact } else { &mut dialog.callee_contact }) =
                    Some(contact);
            }
            if (is_known || begins)
                && let Some(leg) = dialog.leg_mut(callee_tag, now_ms)
            {
                if !is_known {
                    leg.phase = Phase::Up;
                }
                authority::passed(leg, request, (token.usage, by_caller), now_ms);
            }
        });
    }

    /// Both ends agree to what keeps a call: it is up, whoever forgot it.
    pub fn confirm(&self, dialogs: &mut Dialogs, now_ms: u64) {
        dialogs.note(self.key, |dialog| {
            if dialog.leg(&self.way.callee_tag).is_none()
                && let Some(leg) = dialog.leg_mut(&self.way.callee_tag, now_ms)
            {
                leg.phase = Phase::Up;
            }
        });
    }

    /// Caller and callee of the dialog; where that is forgotten, as From and To say.
    pub fn parties(&self, cx: &Cx<'_>, dialogs: &Dialogs, request: &Message) -> Parties {
        let known = dialogs.find(self.key).and_then(|dialog| dialog.parties.clone());
        known.unwrap_or_else(|| self.said(request, cx.addressing()))
    }

    fn said(&self, request: &Message, addressing: &Addressing) -> Parties {
        Parties {
            caller: aor_in(request, self.way.by_caller, addressing),
            callee: aor_in(request, !self.way.by_caller, addressing),
            vouch: None,
            nonce: None,
        }
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
        edit.set_values(&Name::Route, &self.way.rest);
        stamp(cx, &mut edit, request, (from, &target.hop()), &branch.text(None));
        let parties = self.parties(cx, dialogs, request);
        strip_credentials(&mut edit, &parties.guarded_realms(cx.addressing()));
        let mut uri = self.way.uri.clone();
        let sender = if self.way.by_caller { parties.caller.clone() } else { parties.callee.clone() };
        match target {
            Target::Peer(_) => {
                let parties = if self.way.by_caller { parties } else { parties.reversed() };
                identity::set(&mut edit, request, &Name::From, &uri_of(&parties.caller));
                identity::set(&mut edit, request, &Name::To, &uri_of(&parties.callee));
                cx.base.border.outward(&mut edit, request);
                transfer::toward_peer(cx, &mut edit, request, (dialogs, &sender));
            }
            Target::Phone(_) | Target::Flow(_) => {
                let unknown = Dialog::default();
                let dialog = dialogs.find(self.key).unwrap_or(&unknown);
                if matches!(from, Hop::Peer(_)) || parties.are_strangers() {
                    let server = self.server_of(cx, dialog, target);
                    transfer::toward_phone(cx, &mut edit, request, (server, &sender));
                } else {
                    transfer::between_friends(cx, &mut edit, request, (dialogs, &sender));
                }
                match (from, parties.are_strangers()) {
                    (Hop::Peer(_), _) => self.name_parties(&mut edit, request, dialog, &parties),
                    (Hop::Phone(_), true) => {
                        headers::filter(&mut edit, headers::may_meet);
                        self.name_stranger(&mut edit, request, dialog, &parties);
                    }
                    (Hop::Phone(_), false) => self.show_caller(&mut edit, dialog),
                }
                uri = self.contact(cx, from, dialog, target).or(uri);
            }
        }
        let uri = uri?;
        edit.set_uri(&uri);
        if let Some((uri, routes)) = self.way.toward_strict(&uri) {
            edit.set_uri(&uri);
            edit.set_values(&Name::Route, &routes);
        }
        finish(&edit)
    }

    /// Inward: the phone's own Contact for the Request-URI, where that is an opaque name of ours.
    fn contact(&self, cx: &Cx<'_>, from: &Hop, dialog: &Dialog, target: &Target) -> Option<String> {
        let is_other =
            |uri: &str| Uri::parse(uri).is_ok_and(|uri| !uri.host().eq_ignore_ascii_case(&cx.own_host()));
        let said = self.way.uri.as_deref();
        // A peer was given that name, and has no other to say.
        if matches!(from, Hop::Phone(_)) && said.is_some_and(is_other) {
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

    /// Toward a phone, from a peer: the two that were vouched for where the dialog began, by the names that the phone
    /// knows. What the peer wrote is not looked at.
    fn name_parties(&self, edit: &mut Editor<'_>, request: &Message, dialog: &Dialog, parties: &Parties) {
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

    /// The same between two phones of this peer that are strangers: only From can lie.
    fn name_stranger(&self, edit: &mut Editor<'_>, request: &Message, dialog: &Dialog, parties: &Parties) {
        let (known, vouched) = match self.way.by_caller {
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

/// The canonical AOR in From (`from`) or To.
fn aor_in(request: &Message, from: bool, addressing: &Addressing) -> String {
    let addr = if from { request.from() } else { request.to() };
    addr.and_then(|a| addressing.canonical_aor(a.uri()).ok()).unwrap_or_default()
}
