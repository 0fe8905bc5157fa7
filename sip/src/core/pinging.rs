//! Pings of our own phones, for whoever verifies that they are alive.

use super::{ClientTx, Core, Hop, NO_CONTEXT, Now, TRANSACTIONS_MAX, table::ClientMachine};
use crate::{
    Output,
    input::AskId,
    message::Message,
    ping::{PingIds, build_options},
    transaction::NonInviteClient,
};

impl Core {
    pub(super) fn on_ping(&mut self, now: Now, id: AskId, aor: &str, instance: &str) {
        let branch = self.branch();
        let (from_tag, call_id) = (self.random_text(), self.random_text());
        let binding = self.bindings.by_instance(aor, instance).cloned();
        let reachable = self.bindings.is_reachable(aor, instance);
        let Some(binding) = binding.filter(|_| reachable) else {
            return self.out.push_back(Output::Pinged { id, alive: false });
        };
        if !self.pings.start(now.mono, &branch, id) {
            return self.out.push_back(Output::Pinged { id, alive: false });
        }
        let sent_by = self.sent_by(&binding.flow);
        let ids =
            PingIds { sent_by: &sent_by, branch: &branch, from_tag: &from_tag, call_id: &call_id, cseq: 1 };
        let bytes = build_options(&binding, &ids);
        let hop = Hop::Phone(binding.flow);
        if let Ok(request) = Message::parse(bytes.clone())
            && self.clients.len() < TRANSACTIONS_MAX
        {
            let machine = ClientMachine::Other(NonInviteClient::new(now.mono, hop.is_reliable()));
            let key = (branch, "OPTIONS".to_owned());
            self.clients
                .insert(key.clone(), ClientTx { machine, hop: hop.clone(), request, context: NO_CONTEXT });
            self.reschedule_client(&key);
        }
        self.send(&hop, bytes, None, false);
    }
}
