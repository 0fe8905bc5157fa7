//! Is a foreign phone there where it says that it listens? One OPTIONS of less than 500 bytes with our branch asks it;
//! until something comes back it is reached on its flow alone.

use super::Bindings;
use crate::{
    address::realm_of,
    agent,
    cx::Cx,
    ids::AskId,
    limits::PROBES,
    listening::Listening,
    transaction::{Transactions, User},
};
use dots_wire::bounded::{Cause, Promises, Standing, Weight};

/// More is not sent to a port that has not answered yet.
const PROBE_BYTES_MAX: usize = 500;

pub(super) struct Probe {
    pub aor: String,
    pub instance: String,
    pub at: Listening,
}

impl Weight for Probe {
    fn heap_bytes(&self) -> usize {
        self.aor.capacity() + self.instance.capacity()
    }
}

/// Charged to the account, behind the network that it registers from.
pub(super) struct Probes(Promises<u64, Probe>);

impl Default for Probes {
    fn default() -> Probes {
        Probes(Promises::new(PROBES))
    }
}

impl Probes {
    pub fn send(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, bindings: &Bindings, probe: Probe) {
        let Some(bound) = bindings.by_instance(&probe.aor, &probe.instance) else { return };
        let cause = Cause::new(Standing::Other)
            .from(bound.flow.remote.ip())
            .of_realm(realm_of(&probe.aor).as_bytes());
        let cause = cause.by(probe.aor.as_bytes());
        let own_bytes = size_of::<u64>() + size_of::<Probe>() + probe.heap_bytes();
        if self.0.admits(cause, own_bytes).is_err() {
            return cx.count("listening_unasked");
        }
        let flow = probe.at.beside(&bound.flow);
        let (outgoing, id) = (agent::options(cx, &bound.to_binding(), flow), cx.session());
        if let Some(outgoing) = outgoing.filter(|asked| asked.request.raw().len() <= PROBE_BYTES_MAX)
            && tx.request(cx, outgoing, User::Listening(id)).is_some()
        {
            let before = self.0.insert(cause, id.number(), probe);
            debug_assert!(before.is_ok(), "it was admitted above");
        }
    }

    /// One that is answered, or never will be.
    pub fn take(&mut self, id: AskId) -> Option<Probe> {
        self.0.remove(&id.number())
    }
}
