//! What this peer answers and asks for itself, as a user agent (RFC 3261 §8): OPTIONS to the peer, and pings of its phones.
//! A presence agent has its place here.

mod ping;

pub(crate) use ping::{on_answer, on_ping, options};

use crate::{
    cx::Cx,
    proxy::ALLOW,
    status,
    transaction::{NewRequest, Transactions},
};

/// OPTIONS to this peer itself (§11.2). It keeps nothing.
pub(crate) fn on_options(cx: &mut Cx<'_>, tx: &mut Transactions, new: &NewRequest) {
    let headers = [
        ("Allow", ALLOW.to_owned()),
        ("Accept", "application/sdp".to_owned()),
        ("Supported", "path".to_owned()),
    ];
    let answer = cx.answer(&new.request, status::OK, &headers);
    tx.refuse(cx, new, answer);
}

/// A request to this peer itself of a method that it does not know (§8.2.1).
pub(crate) fn on_unknown_method(cx: &mut Cx<'_>, tx: &mut Transactions, new: &NewRequest) {
    let answer = cx.answer(&new.request, status::METHOD_NOT_ALLOWED, &[("Allow", ALLOW.to_owned())]);
    tx.refuse(cx, new, answer);
}
