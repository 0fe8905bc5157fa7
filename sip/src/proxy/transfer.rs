//! Whom a request or a 3xx names beside its two ends, on the other side of the border: what it knows of dialogs and phones, given
//! to [`crate::border::transfer`].

use super::memory::Dialogs;
use crate::{
    border::transfer::{Translation, server_in},
    cx::Cx,
    ids::{DialogKey, Method},
    message::{Editor, Message, Name, NameAddr},
    uri::Uri,
};

/// Into a copy for a peer. `sender`: the account that sends it.
pub(super) fn toward_peer(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    (dialogs, sender): (&Dialogs, &str),
) {
    let translation = Translation {
        addressing: cx.addressing(),
        other_end: &|replaces| other_end(cx, dialogs, sender, replaces),
        call_id: &|call_id| cx.base.border.mask().hide(call_id),
        server: None,
    };
    apply(&translation, edit, request, sender);
}

/// Into a copy for a phone of ours, from somebody who is no friend of it. `server`: how it knows us, if by address alone.
pub(super) fn toward_phone(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    (server, sender): (Option<&str>, &str),
) {
    let translation =
        Translation { addressing: cx.addressing(), other_end: &|_| None, call_id: &|_| None, server };
    apply(&translation, edit, request, sender);
}

/// Between two friends at this peer: only an opaque name of a phone elsewhere says nothing to the other one.
pub(super) fn between_friends(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    (dialogs, sender): (&Dialogs, &str),
) {
    let Some(value) = request.header(&Name::ReferTo) else { return };
    let uri = NameAddr::parse(value).and_then(|addr| Uri::parse(addr.uri()).ok());
    if uri.is_some_and(|uri| uri.host().to_ascii_lowercase().ends_with(".peer.dots")) {
        let translation = Translation {
            addressing: cx.addressing(),
            other_end: &|replaces| other_end(cx, dialogs, sender, replaces),
            call_id: &|_| None,
            server: None,
        };
        if let Some(target) = translation.target(value) {
            edit.set_values(&Name::ReferTo, &[target]);
        }
    }
}

/// Into a 3xx that crosses the overlay (§21.3). `asker`: what it was asked with, by a phone of ours.
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
    let tag = |name| crate::message::values::param(replaces, name);
    let find = |tag: &str| dialogs.find(DialogKey::new(call_id.trim(), tag, &cx.base.secret));
    let dialog = tag("from-tag").and_then(find).or_else(|| tag("to-tag").and_then(find))?;
    let parties = dialog.parties.as_ref()?;
    Some(if parties.caller == sender { parties.callee.clone() } else { parties.caller.clone() })
}
