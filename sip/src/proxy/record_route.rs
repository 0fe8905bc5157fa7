//! What brings the requests of a dialog back to this peer: Record-Routes with a token in each (§16.6 step 4).
//!
//! One for each peer, or two where its two phones use different addresses or transports of ours, the one nearer the sender
//! first (RFC 5658). On the overlay its host is our name there: a peer sends where its token says, not where a host name
//! points, and where our phones reach us is nobody else's business. To our own phone the host is the address that it
//! uses, written in when its answer or its call comes back (§16.7 step 8).

use super::{target::Target, way::Way};
use crate::{
    Flow,
    cx::Cx,
    hop::Hop,
    ids::Method,
    limits::ROUTES_MAX,
    message::{Editor, Message, Name, NameAddr},
    token::{Pair, Side, Token, Usage},
    uri::Uri,
};

/// Into a request outside a dialog that goes from `hop` to `target` (TOK-1).
pub(super) fn add(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    (hop, from): (&Hop, &Side),
    (target, pair): (&Target, Pair),
) {
    let (Some(call_id), Some(tag)) = (request.call_id(), request.from().and_then(|f| f.tag())) else {
        return;
    };
    let usage = match Method::of(request) {
        Method::Subscribe => Usage::Subscription,
        _ => Usage::Call,
    };
    let token = Token::new(usage, cx.now.wall_ms, pair, (from.clone(), target.side()));
    let sealed = token.seal(&cx.base.token_key, call_id, tag);
    for host in hosts(cx, hop, &target.hop()) {
        edit.prepend(&Name::RecordRoute, &route(&sealed, &host));
    }
}

/// Into a NOTIFY: whoever subscribed learns his way back from the first one, not from the 200 (RFC 6665 §4.3, §4.4.1).
pub(super) fn repeat(cx: &Cx<'_>, edit: &mut Editor<'_>, way: &Way, (hop, target): (&Hop, &Target)) {
    let sealed = way.token.seal(&cx.base.token_key, &way.call_id, &way.caller_tag);
    for host in hosts(cx, hop, &target.hop()) {
        edit.prepend(&Name::RecordRoute, &route(&sealed, &host));
    }
}

fn hosts(cx: &Cx<'_>, from: &Hop, to: &Hop) -> Vec<String> {
    match (from, to) {
        (Hop::Phone(from), Hop::Phone(to)) => {
            let mut hosts = vec![phone_host(cx, from), phone_host(cx, to)];
            hosts.dedup();
            hosts
        }
        (Hop::Peer(_), Hop::Phone(to)) => vec![phone_host(cx, to)],
        (_, Hop::Peer(_)) => vec![cx.own_host().to_owned()],
    }
}

/// In a response that crossed the overlay or is to cross it: ours get the host that `asker` is to know (TOK-1).
pub(super) fn turn(cx: &Cx<'_>, edit: &mut Editor<'_>, request: &Message, response: &Message, asker: &Hop) {
    let (Some(call_id), Some(from)) = (request.call_id(), request.from()) else { return };
    let host = match asker {
        Hop::Phone(flow) => phone_host(cx, flow),
        Hop::Peer(_) => cx.own_host().to_owned(),
    };
    let ours = |value: &str| {
        let addr = NameAddr::parse(value)?;
        let user = Uri::parse(addr.uri()).ok()?.user()?.to_ascii_lowercase();
        Token::open(&user, &cx.base.token_key, call_id, from.tag()?)?;
        Some(route(&user, &host))
    };
    let before: Vec<&str> = response.values(&Name::RecordRoute).collect();
    let turned: Vec<String> = before
        .iter()
        .enumerate()
        .map(|(at, value)| ours(value).filter(|_| at < ROUTES_MAX).unwrap_or_else(|| (*value).to_owned()))
        .collect();
    if turned.iter().ne(before.iter()) {
        edit.set_values(&Name::RecordRoute, &turned);
    }
}

fn route(sealed: &str, host: &str) -> String {
    format!("<sip:{sealed}@{host};lr>")
}

fn phone_host(cx: &Cx<'_>, flow: &Flow) -> String {
    let sent_by = cx.sent_by(flow);
    match flow.transport.parameter() {
        None => sent_by,
        Some(transport) => format!("{sent_by};transport={transport}"),
    }
}
