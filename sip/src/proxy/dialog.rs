//! Requests inside a dialog: only by a route token of ours, only to the side that the sender is not (design: route tokens).

use super::{
    authority::{self, Asked},
    ending,
    memory::{DialogKey, Dialogs, Phase, Slot, short},
    noting::cause_of,
    rewrite::contact_uri,
    target::Target,
    way::{NoWay, Way},
};
use crate::{
    address::Addressing,
    border::parties::Parties,
    cx::Cx,
    hop::Hop,
    ids::Method,
    location::Place,
    message::Message,
    status::{self, Status},
    token::{Pair, Side},
};

/// One request's way through this peer, as its token says.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub way: Way,
    pub slot: Slot,
    /// Its two ends, as the token names them where they are phones of ours, else as From and To do.
    told: Parties,
    /// A BYE that no honest phone refuses.
    pub in_order: bool,
}

/// Whoever is not who the dialog was begun by (RFC 3323).
const NOBODY: &str = "anonymous@anonymous.invalid";

impl Pass {
    /// By our tokens in the Route set.
    pub fn find(cx: &Cx<'_>, request: &Message) -> Result<Pass, NoWay> {
        let way = Way::find(cx, request)?;
        let key = DialogKey::new((&way.call_id, &way.caller_tag), way.token.pair, &cx.base.secret);
        let aor = |side: &Side, in_from: bool| match side {
            Side::Phone { aor, .. } => aor.clone(),
            Side::Flow(_) | Side::Peer(_) => aor_in(request, in_from, cx.addressing()),
        };
        let caller = aor(&way.token.caller, way.by_caller);
        let callee = aor(&way.token.callee, !way.by_caller);
        let slot = Slot { key, cause: cause_of(cx, &way.token.caller, &caller) };
        let told = Parties { caller, callee, vouch: None, nonce: None };
        Ok(Pass { way, slot, told, in_order: false })
    }

    /// TOK-12: was the token given for a dialog of the two that the request names?
    fn is_theirs(&self, cx: &Cx<'_>) -> bool {
        Pair::of(&cx.base.token_key, &self.told.caller, &self.told.callee) == self.way.token.pair
    }

    /// May it pass? TOK-11 to TOK-14.
    pub fn judge(&self, cx: &Cx<'_>, dialogs: &Dialogs, request: &Message, hop: &Hop) -> Result<(), Status> {
        let Way { token, by_caller, callee_tag, .. } = &self.way;
        let dialog = dialogs.find(self.slot.key);
        let is_peer = matches!(hop, Hop::Peer(_));
        let are_strangers = match dialog.and_then(|dialog| dialog.parties.as_ref()) {
            Some(parties) => parties.are_strangers(),
            None => {
                // Nobody remembers for whom it was given, and somebody else says that it is his.
                let is_theirs = self.is_theirs(cx);
                if is_peer && !is_theirs {
                    return Err(status::FORBIDDEN);
                }
                !is_theirs || self.told.are_strangers()
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
            dialogs.has_failed(self.slot.key),
        )
    }

    /// It passes: what that changes, and in a target refresh (re-INVITE, UPDATE) the sender's newest Contact.
    pub fn remember(&mut self, cx: &Cx<'_>, dialogs: &mut Dialogs, request: &Message) {
        let Way { by_caller, callee_tag, token, .. } = &self.way;
        let (now_ms, by_caller, usage) = (cx.now.wall_ms, *by_caller, token.usage);
        let is_ours = !matches!(self.way.sender(), Side::Peer(_));
        let contact = contact_uri(request).filter(|_| is_ours).and_then(short);
        let dialog = dialogs.find(self.slot.key);
        let leg = dialog.and_then(|dialog| dialog.leg(callee_tag));
        self.in_order = leg.is_some_and(|leg| ending::is_in_order(leg, request, by_caller));
        let is_known = leg.is_some();
        let method = Method::of(request);
        // Forgotten, and one of our phones knows it: so it is a dialog.
        let begins = match method {
            Method::Bye | Method::Ack => false,
            _ if dialog.is_some_and(|dialog| dialog.is_whole) => {
                authority::is_first_report((&method, usage), by_caller, dialog)
            }
            _ => is_ours,
        };
        if contact.is_none() && !is_known && !begins {
            return;
        }
        let is_forgotten = dialog.is_none_or(|dialog| dialog.parties.is_none());
        let told = (is_forgotten && self.is_theirs(cx)).then(|| self.told.clone());
        dialogs.note(self.slot, |dialog| {
            dialog.parties = dialog.parties.take().or(told);
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
                authority::passed(leg, request, (usage, by_caller), now_ms);
            }
        });
    }

    /// Both ends agree to what keeps a call: it is up, whoever forgot it.
    pub fn confirm(&self, dialogs: &mut Dialogs, now_ms: u64) {
        dialogs.note(self.slot, |dialog| {
            if dialog.leg(&self.way.callee_tag).is_none()
                && let Some(leg) = dialog.leg_mut(&self.way.callee_tag, now_ms)
            {
                leg.phase = Phase::Up;
            }
        });
    }

    /// Its BYE is believed, in every dialog that its tokens are of.
    pub fn end(&self, dialogs: &mut Dialogs, now_ms: u64) {
        let earlier = self.way.earlier.iter().map(|pair| self.slot.key.with(*pair));
        let keys: Vec<DialogKey> = earlier.filter(|key| dialogs.find(*key).is_some()).collect();
        for key in keys.into_iter().chain([self.slot.key]) {
            dialogs.note(Slot { key, ..self.slot }, |dialog| {
                if let Some(leg) = dialog.leg_mut(&self.way.callee_tag, now_ms) {
                    leg.phase = Phase::Ended;
                }
            });
        }
    }

    /// Caller and callee of the dialog; where that is forgotten, as the request tells, and nobody where it lies.
    pub fn parties(&self, cx: &Cx<'_>, dialogs: &Dialogs) -> Parties {
        if let Some(known) = dialogs.find(self.slot.key).and_then(|dialog| dialog.parties.clone()) {
            return known;
        }
        let mut told = self.told.clone();
        if !matches!(self.way.sender(), Side::Phone { .. }) && !self.is_theirs(cx) {
            *(if self.way.by_caller { &mut told.caller } else { &mut told.callee }) = NOBODY.to_owned();
        }
        told
    }
}

/// TOK-7. Does this hop speak for that side? A phone may change its address; another phone may not take its place, and no peer can
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flow, Transport};

    fn flow(transport: Transport, remote: &str) -> Flow {
        let local = "127.0.0.1:5060".parse().expect("an address");
        Flow { transport, connection: 0, local, remote: remote.parse().expect("an address") }
    }

    /// TOK-7.
    #[test]
    fn a_side_is_spoken_for_by_itself_alone() {
        let at = flow(Transport::Udp, "192.0.2.1:5060");
        let place = Place {
            aor: "a@a.test".into(),
            instance: "urn:uuid:1".into(),
            q: 1_000,
            flow: at,
            listens: None,
            uri: "sip:a@192.0.2.1".into(),
            path: Vec::new(),
            server: None,
            is_open: true,
            is_reachable: true,
            grant: [].into(),
            granted_until_ms: 0,
        };
        let phone = |instance: &str| Side::Phone {
            aor: "a@a.test".into(),
            instance: crate::token::short_instance(instance),
        };
        let (unregistered, peer) = (Side::Flow(at), Side::Peer("aaaa".into()));
        let there = |remote: &str| Hop::Phone(flow(Transport::Udp, remote));
        for (why, hop, side, expected) in [
            ("itself", there("192.0.2.1:5060"), &phone("urn:uuid:1"), true),
            ("from another port", there("192.0.2.1:9"), &phone("urn:uuid:1"), true),
            ("another phone", there("192.0.2.9:5060"), &phone("urn:uuid:1"), false),
            ("it has no binding any more", there("192.0.2.9:5060"), &phone("urn:uuid:2"), true),
            ("a peer for a phone", Hop::Peer("aaaa".into()), &phone("urn:uuid:2"), false),
            ("unregistered, itself", there("192.0.2.1:5060"), &unregistered, true),
            ("from another port", there("192.0.2.1:9"), &unregistered, true),
            ("from another address", there("192.0.2.9:5060"), &unregistered, false),
            (
                "over another transport",
                Hop::Phone(flow(Transport::Tcp, "192.0.2.1:5060")),
                &unregistered,
                false,
            ),
            ("a peer", Hop::Peer("aaaa".into()), &peer, true),
            ("another peer", Hop::Peer("bbbb".into()), &peer, false),
            ("a phone for a peer", there("192.0.2.1:5060"), &peer, false),
        ] {
            assert_eq!(speaks_for(&hop, side, std::slice::from_ref(&place)), expected, "{why}: {side:?}");
        }
    }
}
