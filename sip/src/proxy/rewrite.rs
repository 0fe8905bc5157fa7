//! Small rewritings that requests and responses share.

use crate::{
    cx::Cx,
    hop::Hop,
    message::{Editor, Message, Name, NameAddr},
};

/// The edited message. `None` where what was put in cannot be read again: then it is not sent.
pub(super) fn finish(edit: &Editor<'_>) -> Option<Message> {
    edit.finish().checked().ok()
}

pub(super) fn contact_uri(message: &Message) -> Option<String> {
    let value = message.values(&Name::Contact).next()?;
    NameAddr::parse(value).map(|c| c.uri().to_owned())
}

/// Via and Max-Forwards of a copy (§16.6 steps 3 and 8). Where it crosses the border ours is the only Via: a phone's
/// address stays at its peer, and no phone is shown a transport that its parser may not know. The others are given back
/// with the response.
pub(super) fn stamp(
    cx: &Cx<'_>,
    edit: &mut Editor<'_>,
    request: &Message,
    to: &Hop,
    branch: &str,
    is_alone: bool,
) {
    let (transport, sent_by) = match to {
        Hop::Phone(flow) => (flow.transport.as_str(), cx.sent_by(flow)),
        Hop::Peer(_) => ("DOTS", cx.own_host().into()),
    };
    let via = ["SIP/2.0/", transport, " ", &sent_by, ";branch=", branch].map(str::as_bytes);
    if is_alone {
        edit.set_pieces(&Name::Via, &via);
    } else {
        edit.prepend_pieces(&Name::Via, &via);
    }
    let forwards = request.max_forwards().unwrap_or(71).saturating_sub(1).min(70);
    edit.set(&Name::MaxForwards, &forwards.to_string());
}
