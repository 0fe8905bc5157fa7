//! Requests inside a dialog: only by a route token of ours, only to the side that the sender is not (design §3.6).

use super::{
    CallInfo, Core, Hop, Now, ServerKey,
    context::{Context, Target},
    forward::{contact_uri, with_uri},
};
use crate::{
    auth::strip_credentials,
    limits::ROUTES_MAX,
    message::{Editor, Message, Name, NameAddr},
    output::CallProgress,
    token::{Side, Token, short_instance},
    uri::Uri,
};

/// Who sends, who gets.
struct Way {
    token: Token,
    by_caller: bool,
    caller_tag: String,
}

impl Core {
    /// `key`: the server transaction, none for an ACK.
    pub(super) fn on_dialog_request(
        &mut self,
        now: Now,
        key: Option<&ServerKey>,
        hop: &Hop,
        request: &Message,
    ) {
        let refuse = |core: &mut Core, status: u16, reason: &str| {
            core.count("dialog_refused");
            if let Some(key) = key {
                core.respond(now, key, status, reason, &[]);
                // Its link keeps order and loses nothing: no repetition will come that needs the transaction, and a
                // peer that invents dialogs holds none of ours.
                if let Hop::Peer(_) = hop {
                    core.drop_server(key);
                }
            }
        };
        let Some(way) = self.way(request) else { return refuse(self, 403, "Forbidden") };
        let (from, to) = if way.by_caller {
            (way.token.caller.clone(), way.token.callee.clone())
        } else {
            (way.token.callee.clone(), way.token.caller.clone())
        };
        if !self.comes_from(now, hop, &from) {
            return refuse(self, 403, "Forbidden");
        }
        let Some(call_id) = request.call_id().map(str::to_owned) else { return };
        let info = self.remember(&call_id, &way, request, &from);
        if request.method() == "BYE" {
            self.call_event_of(
                call_id,
                way.caller_tag.clone(),
                &way.token.caller,
                &way.token.callee,
                &info,
                CallProgress::Ended {
                    by_caller: way.by_caller,
                    seen_from_phone: matches!(hop, Hop::Phone(_)),
                },
                &[],
            );
        }
        match key {
            Some(key) => {
                let mut context = Context::new(key.clone(), request.clone(), from, info);
                context.waiting = vec![Target { side: to, q: 1000 }];
                context.in_dialog = true;
                self.start_context(now, key, context);
            }
            None => {
                let Some((hop, _, _)) = self.reach(now, &to) else { return };
                let branch = self.branch();
                let bytes = self.dialog_copy(request, &hop, &branch);
                self.send(&hop, bytes, None, false);
            }
        }
    }

    /// The first of our tokens in the Route set that was sealed for this dialog.
    fn way(&self, request: &Message) -> Option<Way> {
        let call_id = request.call_id()?;
        let from_tag = request.from()?.tag()?.to_owned();
        let to_tag = request.to()?.tag()?.to_owned();
        let route = own_pass(request, self).next();
        // A strict router before us put our Record-Route into the Request-URI (§16.4).
        let text = match &route {
            Some((_, user)) => user.as_str(),
            None => Uri::parse(request.uri()?).ok()?.user()?,
        };
        for (tag, by_caller) in [(from_tag, true), (to_tag, false)] {
            if let Some(mut token) = Token::open(text, &self.token_key, call_id, &tag) {
                self.name_instance(&mut token.caller);
                self.name_instance(&mut token.callee);
                return Some(Way { token, by_caller, caller_tag: tag });
            }
        }
        None
    }

    /// The whole name of an instance that a token names by its hash; without a binding it stays so and is nowhere.
    fn name_instance(&self, side: &mut Side) {
        if let Side::Phone { aor, instance } = side
            && let Some(binding) = self.bindings.of(aor).find(|b| short_instance(&b.instance) == *instance)
        {
            instance.clone_from(&binding.instance);
        }
    }

    /// Does this hop speak for that side? A phone may change its address; another phone may not take its place, and no
    /// peer can speak for a phone.
    fn comes_from(&self, now: Now, hop: &Hop, side: &Side) -> bool {
        match (hop, side) {
            (Hop::Peer(label), Side::Peer(expected)) => label == expected,
            (Hop::Phone(flow), Side::Flow(expected)) => {
                flow == expected
                    || (flow.transport == expected.transport && flow.remote.ip() == expected.remote.ip())
            }
            (Hop::Phone(flow), Side::Phone { aor, instance }) => {
                let bound = self.bindings.by_instance(aor, instance).map(|b| b.flow.remote.ip());
                let _ = now;
                bound.is_none_or(|ip| ip == flow.remote.ip())
            }
            _ => false,
        }
    }

    /// Target refresh (re-INVITE, UPDATE): the sender's newest Contact.
    fn remember(&mut self, call_id: &str, way: &Way, request: &Message, from: &Side) -> CallInfo {
        let contact = contact_uri(request).filter(|_| !matches!(from, Side::Peer(_)));
        let fallback = CallInfo {
            caller: aor_in(request, way.by_caller, &self.config.addressing),
            callee: aor_in(request, !way.by_caller, &self.config.addressing),
            vouch: None,
        };
        let dialog = self.dialog(call_id, &way.caller_tag);
        if contact.is_some() {
            *(if way.by_caller { &mut dialog.caller_contact } else { &mut dialog.callee_contact }) = contact;
        }
        dialog.call.clone().unwrap_or(fallback)
    }

    /// The copy of an in-dialog request for `hop`: own Routes popped, opaque names turned back, identities rewritten.
    pub(super) fn dialog_copy(&mut self, request: &Message, hop: &Hop, branch: &str) -> Vec<u8> {
        let Some(way) = self.way(request) else { return Vec::new() };
        let call_id = request.call_id().unwrap_or_default().to_owned();
        let dialog = self.dialog(&call_id, &way.caller_tag).clone();
        let mut edit = Editor::new(request);
        let own = self.own_routes(request);
        edit.remove_first_values(&Name::Route, own);
        self.common(&mut edit, request, hop, branch);
        let info = dialog.call.clone().unwrap_or_else(|| CallInfo {
            caller: aor_in(request, way.by_caller, &self.config.addressing),
            callee: aor_in(request, !way.by_caller, &self.config.addressing),
            vouch: None,
        });
        strip_credentials(&mut edit, &self.guarded_realms(&info));
        match hop {
            Hop::Peer(_) => {
                let mut info = info;
                if !way.by_caller {
                    // In this direction From is the callee.
                    std::mem::swap(&mut info.caller, &mut info.callee);
                }
                self.hide_phone(&mut edit, request, &info);
            }
            Hop::Phone(_) => self.show_phone(&mut edit, request, &way, &dialog),
        }
        edit.build()
    }

    /// Inward: the phone's own Contact in the Request-URI, and the From and To that it knows.
    fn show_phone(&self, edit: &mut Editor<'_>, request: &Message, way: &Way, dialog: &super::Dialog) {
        let to_us = Uri::parse(request.uri().unwrap_or_default())
            .is_ok_and(|u| u.host().eq_ignore_ascii_case(&self.own_host()));
        let (side, known) = if way.by_caller {
            (&way.token.callee, &dialog.callee_contact)
        } else {
            (&way.token.caller, &dialog.caller_contact)
        };
        if to_us {
            let bound = match side {
                Side::Phone { aor, instance } => self
                    .bindings
                    .by_instance(aor, instance)
                    .map(|b| crate::ping::request_uri(&b.contact).to_owned()),
                Side::Flow(_) | Side::Peer(_) => None,
            };
            if let Some(contact) = known.clone().or(bound) {
                edit.set_uri(&contact);
            }
        }
        if way.by_caller
            && let Some(shown) = &dialog.caller_shown
        {
            edit.set(&Name::From, &with_uri(request.header(&Name::From).unwrap_or_default(), shown));
        }
        if !way.by_caller
            && let (Some(own), Some(other)) = (&dialog.caller_from, &dialog.caller_to)
            && matches!(way.token.callee, Side::Peer(_))
        {
            // From is the callee, To is our calling phone, as it wrote both in its INVITE.
            edit.set(&Name::From, &with_uri(request.header(&Name::From).unwrap_or_default(), other));
            edit.set(&Name::To, &with_uri(request.header(&Name::To).unwrap_or_default(), own));
        }
    }

    /// How many of the topmost Routes one pass through this peer wrote: one, or two with the same token. More of ours
    /// below are another pass (a spiral) or another peer at this address, and are obeyed when their turn comes.
    fn own_routes(&self, request: &Message) -> usize {
        let mut pass = own_pass(request, self);
        let Some((at, token)) = pass.next() else { return 0 };
        match pass.next() {
            Some((next, same)) if same == token => next + 1,
            _ => at + 1,
        }
    }
}

/// The Routes with a user part, and their places, after those that only name us (an outbound proxy setting). Whose a
/// token is its MAC says, not the host beside it.
fn own_pass(request: &Message, core: &Core) -> impl Iterator<Item = (usize, String)> {
    let mut routes = request.values(&Name::Route).take(ROUTES_MAX).enumerate().peekable();
    let uri_of = |value: &str| NameAddr::parse(value).map(|r| r.uri().to_owned()).unwrap_or_default();
    while routes
        .next_if(|(_, value)| {
            Uri::parse(&uri_of(value)).is_ok_and(|u| u.user().is_none() && core.is_own_route(u.host()))
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
fn aor_in(request: &Message, from: bool, addressing: &crate::address::Addressing) -> String {
    let addr = if from { request.from() } else { request.to() };
    addr.and_then(|a| addressing.canonical_aor(a.uri()).ok()).unwrap_or_default()
}
