//! What a first request and its answers put into the memory of its dialog (RFC 3261 §12.1).

use super::{
    memory::{DialogKey, Dialogs, Phase, Slot, short},
    rewrite::contact_uri,
};
use crate::{
    address::realm_of,
    border::parties::Parties,
    cx::Cx,
    ids::Method,
    message::Message,
    token::{Pair, Side},
};
use dots_wire::bounded::{Cause, Standing, network_of};

/// What begins a dialog when it is answered (§12.1; RFC 6665 §4.1).
pub(super) fn begins_dialog(request: &Message) -> bool {
    matches!(Method::of(request), Method::Invite | Method::Subscribe)
}

/// The place of the dialog that this request is to begin (TOK-12). `None`: it begins none.
pub(super) fn slot_of(cx: &Cx<'_>, request: &Message, from: &Side, parties: &Parties) -> Option<Slot> {
    let name = (request.call_id()?, request.from()?.tag()?);
    let pair = || Pair::of(&cx.base.token_key, &parties.caller, &parties.callee);
    begins_dialog(request).then(|| Slot {
        key: DialogKey::new(name, pair(), &cx.base.secret),
        cause: cause_of(cx, from, &parties.caller),
    })
}

/// A dialog is the caller's: of the network that it calls from, of its realm and account.
pub(super) fn cause_of(cx: &Cx<'_>, from: &Side, caller: &str) -> Cause {
    let realm = realm_of(caller);
    let (standing, network) = match from {
        _ if cx.addressing().local_realms.contains(realm) => (Standing::Own, 0),
        Side::Peer(label) => (Standing::Other, Cause::name(label.as_bytes())),
        Side::Flow(flow) => (Standing::Other, network_of(flow.remote.ip())),
        // Wherever it is now.
        Side::Phone { .. } => (Standing::Other, 0),
    };
    Cause { network, ..Cause::new(standing) }.of_realm(realm.as_bytes()).by(caller.as_bytes())
}

/// What the caller wrote, to be given back to it later.
pub(super) fn caller(dialogs: &mut Dialogs, slot: Slot, request: &Message, from: &Side, parties: &Parties) {
    let from_phone = !matches!(from, Side::Peer(_));
    dialogs.note(slot, |dialog| {
        dialog.is_whole = true;
        dialog.parties = Some(Parties { vouch: None, nonce: None, ..parties.clone() });
        dialog.first_cseq = request.cseq().map_or(0, |(number, _)| number);
        if from_phone {
            dialog.caller_contact = contact_uri(request).and_then(short);
            dialog.caller_from = request.from().and_then(|from| short(from.uri().to_owned()));
            dialog.caller_to = request.to().and_then(|to| short(to.uri().to_owned()));
        }
    });
}

/// What a callee answered: how far its leg is.
pub(super) fn leg(dialogs: &mut Dialogs, slot: Slot, response: &Message, now_ms: u64) {
    let status = response.status().unwrap_or_default();
    let Some(tag) = response.to().and_then(|to| to.tag()).filter(|_| status > 100) else { return };
    dialogs.note(slot, |dialog| {
        dialog.is_answered |= status >= 200;
        if let Some(leg) = dialog.leg_mut(tag, now_ms)
            && status >= 200
            && leg.phase == Phase::Early
        {
            leg.phase = Phase::Up;
        }
    });
}

/// The Contact of a phone of ours that answered.
pub(super) fn callee(dialogs: &mut Dialogs, slot: Slot, response: &Message) {
    let contact = contact_uri(response).and_then(short);
    dialogs.note(slot, |dialog| dialog.callee_contact = contact);
}
