//! Pings of our own phones, for whoever verifies that they are alive.

use crate::{
    Output,
    cx::Cx,
    hop::Hop,
    ids::PingId,
    message::Message,
    ping::{PingIds, Pings, build_options},
    registrar::Bindings,
    transaction::{Outgoing, Transactions, User},
};

/// Asks the phone of a binding for a sign of life.
pub(crate) fn on_ping(
    cx: &mut Cx<'_>,
    tx: &mut Transactions,
    pings: &mut Pings,
    bindings: &Bindings,
    (id, aor, instance): (PingId, &str, &str),
) {
    let binding = bindings.by_instance(aor, instance).filter(|_| bindings.is_reachable(aor, instance));
    let Some(binding) = binding.filter(|_| pings.start(cx.now.mono, id)) else {
        return cx.out(Output::Pinged { id, alive: false });
    };
    let branch = cx.branch();
    let (sent_by, text) = (cx.sent_by(&binding.flow), branch.text(None));
    let (from_tag, call_id) = (cx.random_text(), cx.random_text());
    let ids = PingIds { sent_by: &sent_by, branch: &text, from_tag: &from_tag, call_id: &call_id, cseq: 1 };
    // A Contact that makes no readable Request-URI is answered by silence: dead.
    if let Ok(request) = Message::parse(build_options(binding, &ids)) {
        let hop = Hop::Phone(binding.flow);
        let outgoing =
            Outgoing { hop, branch, request, grant: None, initial: false, first_word_within: None };
        tx.request(cx, outgoing, User::Ping(id));
    }
}

/// Whatever comes back is life.
pub(crate) fn on_answer(cx: &mut Cx<'_>, pings: &mut Pings, id: PingId) {
    if pings.answered(id) {
        cx.out(Output::Pinged { id, alive: true });
    }
}
