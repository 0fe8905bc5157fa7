//! Pings of our own phones, for whoever verifies that they are alive.

use crate::{
    Flow, Output,
    cx::Cx,
    hop::Hop,
    ids::PingId,
    message::Message,
    output::About,
    ping::{PingIds, Pings, build_options},
    registrar::{Binding, Bindings},
    transaction::{Outgoing, Transactions, User},
};

/// Asks the phone of a binding for a sign of life: on its flow, and where it listens if that is another port.
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
    let listening = binding.listens.map(|remote| Flow { remote, ..binding.flow });
    for flow in listening.into_iter().chain([binding.flow]) {
        // A Contact that makes no readable Request-URI is answered by silence: dead.
        if let Some(outgoing) = options(cx, binding, flow) {
            tx.request(cx, outgoing, User::Ping(id));
        }
    }
}

/// An OPTIONS to the phone of a binding, on this flow.
pub(crate) fn options(cx: &mut Cx<'_>, binding: &Binding, flow: Flow) -> Option<Outgoing> {
    let branch = cx.branch();
    let (sent_by, text) = (cx.sent_by(&flow), branch.text(None));
    let (from_tag, call_id) = (cx.random_text(), cx.random_text());
    let ids = PingIds { sent_by: &sent_by, branch: &text, from_tag: &from_tag, call_id: &call_id, cseq: 1 };
    let request = Message::parse(build_options(binding, &ids)).ok()?;
    let hop = Hop::Phone(flow);
    Some(Outgoing { hop, branch, request, grant: None, about: About::Other, first_word_within: None })
}

/// Whatever comes back is life.
pub(crate) fn on_answer(cx: &mut Cx<'_>, pings: &mut Pings, id: PingId) {
    if pings.answered(id) {
        cx.out(Output::Pinged { id, alive: true });
    }
}
