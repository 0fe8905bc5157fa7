//! Whom a request or a 3xx names beside its two ends, on the other side of the border: what it knows of dialogs and phones, given
//! to [`crate::border::transfer`].

use super::memory::Dialogs;
use crate::{
    border::{
        Crossing,
        transfer::{Translation, server_in},
    },
    cx::Cx,
    ids::Method,
    message::{Editor, Message, Name, NameAddr},
    uri::Uri,
};

/// Into a copy that crosses the border. `server`: how the phone that reads it knows us, if by address alone.
pub(super) fn across(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    (crossing, dialogs): (&Crossing<'_>, &Dialogs),
    server: Option<&str>,
) {
    let is_ours = !crossing.from_peer;
    let translation = Translation {
        addressing: cx.addressing(),
        other_end: &|replaces| other_end(cx, dialogs, crossing.sender, replaces).filter(|_| is_ours),
        call_id: &|call_id| cx.base.border.other_name(call_id, crossing),
        server,
    };
    apply(&translation, edit, request, crossing.sender);
}

/// Between two friends at this peer: what names a phone of a dialog by its Contact, as RFC 5589 §7 asks for, says nothing to
/// the other one.
pub(super) fn between_friends(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    (sender, dialogs): (&str, &Dialogs),
    server: Option<&str>,
) {
    let Some(value) = request.header(&Name::ReferTo) else { return };
    let Some(uri) = NameAddr::parse(value).map(|addr| addr.uri().to_owned()) else { return };
    let is_opaque = Uri::parse(&uri).is_ok_and(|uri| uri.host().to_ascii_lowercase().ends_with(".peer.dots"));
    let known = |replaces: &str| other_end(cx, dialogs, sender, replaces);
    let translation =
        Translation { addressing: cx.addressing(), other_end: &known, call_id: &|_| None, server };
    if is_opaque || translation.names_another(&uri) {
        let target: Vec<String> = translation.target(value).into_iter().collect();
        edit.set_values(&Name::ReferTo, &target);
    }
}

/// Into a 3xx that crosses the border (§21.3). `asker`: what it was asked with, by a phone of ours.
pub(super) fn redirect(cx: &Cx<'_>, edit: &mut Editor<'_>, response: &Message, asker: Option<&Message>) {
    if !response.status().is_some_and(|status| (300..400).contains(&status)) {
        return;
    }
    let from = asker.and_then(|request| request.from()).map(|from| from.uri().to_owned());
    let server = from.as_deref().and_then(|from| server_in(cx.addressing(), from));
    let translation =
        Translation { addressing: cx.addressing(), other_end: &|_| None, call_id: &|_| None, server };
    let contact = |value: &str| {
        let q = NameAddr::parse(value)?
            .param("q")
            .filter(|q| q.bytes().all(|b| b"01.".contains(&b) || b.is_ascii_digit()));
        let q = q.map(|q| format!(";q={q}")).unwrap_or_default();
        Some(format!("{}{q}", translation.target(value)?))
    };
    let contacts: Vec<String> = response.values(&Name::Contact).filter_map(contact).collect();
    edit.set_values(&Name::Contact, &contacts);
}

fn apply(translation: &Translation<'_>, edit: &mut Editor<'_>, request: &Message, sender: &str) {
    if let Some(value) = request.header(&Name::ReferTo) {
        let target: Vec<String> = translation.target(value).into_iter().collect();
        edit.set_values(&Name::ReferTo, &target);
    }
    if let Some(value) = request.header(&Name::ReferredBy) {
        // RFC 3892 §2.1: in a REFER it is who sends it; that is proved.
        let referrer = match Method::of(request) {
            Method::Refer => Some(format!("<{}>", translation.uri_of(sender))),
            _ => translation.referrer(value),
        };
        let referrer: Vec<String> = referrer.into_iter().collect();
        edit.set_values(&Name::ReferredBy, &referrer);
    }
}

/// Whom the dialog leads to that a Replaces names (RFC 3891 §6.1), seen from `sender`.
fn other_end(cx: &Cx<'_>, dialogs: &Dialogs, sender: &str, replaces: &str) -> Option<String> {
    let (call_id, _) = replaces.split_once(';')?;
    let call_id = call_id.trim();
    let hidden = cx.base.border.mask().unproved(call_id);
    let tags = ["from-tag", "to-tag"].map(|name| crate::message::values::param(replaces, name));
    let names = [Some(call_id), hidden.as_deref()].into_iter().flatten();
    let mut all = names.flat_map(|call_id| tags.into_iter().flatten().map(move |tag| (call_id, tag)));
    let parties = all.find_map(|name| dialogs.of(name, sender, &cx.base.secret).next())?;
    Some(if parties.caller == sender { parties.callee.clone() } else { parties.caller.clone() })
}
