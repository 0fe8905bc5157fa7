//! Pings of our own phones, for whoever verifies that they are alive.

use crate::{
    Flow, Output, Transport,
    address::realm_of,
    cx::Cx,
    hop::Hop,
    ids::PingId,
    message::Message,
    output::{About, Sign},
    ping::{PING_TIMEOUT, PingIds, Pings, build_options},
    registrar::{Binding, Bindings, Bound},
    transaction::{Outgoing, Transactions, User},
};
use dots_wire::bounded::Cause;

/// Asks the phone of a binding for a sign of life: on its flow, and where it listens if that is another port. No connection
/// is opened for a ping while another is there.
pub(crate) fn on_ping(
    cx: &mut Cx<'_>,
    tx: &mut Transactions,
    pings: &mut Pings,
    bindings: &Bindings,
    (id, aor, instance): (PingId, &str, &str),
    cause: Cause,
) {
    let Some(bound) = bindings.by_instance(aor, instance).filter(Bound::is_reachable) else {
        return cx.out(Output::Pinged { id, sign: Sign::Unreachable });
    };
    if !pings.start(cx.now.mono, id, cause) {
        cx.count("pings_refused");
        return cx.out(Output::Pinged { id, sign: Sign::NotAsked });
    }
    let mut is_refused = false;
    let there = bound.listens.filter(|at| !bound.is_open || at.transport == Transport::Udp);
    // It may be the very flow.
    let there = there.map(|at| at.beside(&bound.flow)).filter(|there| *there != bound.flow || !bound.is_open);
    let binding = bound.to_binding();
    for flow in there.into_iter().chain(bound.is_open.then_some(bound.flow)) {
        // A Contact that makes no readable Request-URI is answered by silence: dead.
        if let Some(outgoing) = options(cx, &binding, flow) {
            // Its transaction ends with the patience of who waits, and gives back its room.
            let outgoing = Outgoing { first_word_within: Some(PING_TIMEOUT), ..outgoing };
            is_refused |= tx.request(cx, outgoing, User::Ping(id)).is_none();
        }
    }
    // There was no room for the transaction: that says nothing of the phone.
    if is_refused && pings.answered(id) {
        cx.out(Output::Pinged { id, sign: Sign::NotAsked });
    }
}

/// An OPTIONS to the phone of a binding, on this flow.
pub(crate) fn options(cx: &mut Cx<'_>, binding: &Binding, flow: Flow) -> Option<Outgoing> {
    let branch = cx.branch();
    let (sent_by, text) = (cx.sent_by(&flow), branch.text(None));
    let (from_tag, call_id) = (cx.random_text(), cx.random_text());
    let ids = PingIds { sent_by: &sent_by, branch: &text, from_tag: &from_tag, call_id: &call_id, cseq: 1 };
    let request = Message::parse(build_options(binding, flow.transport, &ids)).ok()?;
    let hop = Hop::Phone(flow);
    let is_proved = flow == binding.flow && !cx.config().contacts_any.contains(realm_of(&binding.aor));
    let (about, first_word_within) = (About::Other, None);
    Some(Outgoing { hop, branch, request, grant: None, about, first_word_within, is_proved })
}

/// Whatever comes back is life.
pub(crate) fn on_answer(cx: &mut Cx<'_>, pings: &mut Pings, id: PingId) {
    if pings.answered(id) {
        cx.out(Output::Pinged { id, sign: Sign::Life });
    }
}
