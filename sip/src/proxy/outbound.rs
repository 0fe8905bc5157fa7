//! What leaves: a request outside a dialog, copied for one branch (RFC 3261 §16.6).

use super::{
    memory::Dialogs,
    rewrite::{finish, set_uri_of, uri_of},
    target::Target,
    topology::{Parties, hide_phone, stamp},
};
use crate::{
    Flow, Transport,
    auth::strip_credentials,
    cx::Cx,
    hop::Hop,
    ids::{Branch, DialogKey, Method},
    location::Place,
    message::{Editor, Message, Name},
    token::{Side, Token},
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
            for route in self.record_routes(cx, target) {
                edit.prepend(&Name::RecordRoute, &route);
            }
        }
        match target {
            Target::Peer(_) => hide_phone(cx, &mut edit, request, self.parties),
            Target::Phone(place) => {
                if let Some(from) = self.caller_for(cx, place) {
                    set_uri_of(&mut edit, request, &Name::From, &from);
                    if let Some(key) = self.dialog(cx) {
                        dialogs.note(key, |dialog| dialog.caller_shown = Some(from));
                    }
                }
            }
            Target::Flow(_) => {}
        }
        finish(&edit)
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

    /// What brings the phones of this peer back to it: one Record-Route, or two where its two phones use different
    /// addresses or transports of ours, the one nearer the sender first (RFC 5658). The overlay side needs none: a
    /// peer sends where its token says, not where a host name points, and every byte counts.
    fn record_routes(&self, cx: &Cx<'_>, target: &Target) -> Vec<String> {
        let (Some(call_id), Some(tag)) = (self.request.call_id(), self.request.from().and_then(|f| f.tag()))
        else {
            return Vec::new();
        };
        let token = Token { caller: self.from.clone(), callee: target.side() };
        let sealed = token.seal(&cx.base.token_key, call_id, tag);
        let phone = |hop: &Hop| match hop {
            Hop::Phone(flow) => Some(phone_host(&cx.sent_by(flow), flow)),
            Hop::Peer(_) => None,
        };
        let mut hosts: Vec<String> = [phone(self.hop), phone(&target.hop())].into_iter().flatten().collect();
        hosts.dedup();
        if hosts.is_empty() {
            hosts.push(cx.own_host());
        }
        hosts.iter().map(|host| format!("<sip:{sealed}@{host};lr>")).collect()
    }
}

fn phone_host(sent_by: &str, flow: &Flow) -> String {
    match flow.transport {
        Transport::Udp => sent_by.to_owned(),
        Transport::Tcp => format!("{sent_by};transport=tcp"),
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
