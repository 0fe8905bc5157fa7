//! Is a foreign phone there where it says that it listens? One OPTIONS of less than 500 bytes with our branch asks it;
//! until something comes back it is reached on its flow alone.

use super::Bindings;
use crate::{
    agent,
    cx::Cx,
    ids::AskId,
    limits::PROBES_MAX,
    listening::Listening,
    transaction::{Transactions, User},
};
use std::collections::BTreeMap;

/// More is not sent to a port that has not answered yet.
const PROBE_BYTES_MAX: usize = 500;

pub(super) struct Probe {
    pub aor: String,
    pub instance: String,
    pub at: Listening,
}

#[derive(Default)]
pub(super) struct Probes(BTreeMap<AskId, Probe>);

impl Probes {
    pub fn send(&mut self, cx: &mut Cx<'_>, tx: &mut Transactions, bindings: &Bindings, probe: Probe) {
        let Some(bound) = bindings.by_instance(&probe.aor, &probe.instance) else { return };
        if self.0.len() >= PROBES_MAX {
            return;
        }
        let flow = probe.at.beside(&bound.flow);
        let (outgoing, id) = (agent::options(cx, &bound.to_binding(), flow), cx.session());
        if let Some(outgoing) = outgoing.filter(|asked| asked.request.raw().len() <= PROBE_BYTES_MAX)
            && tx.request(cx, outgoing, User::Listening(id)).is_some()
        {
            self.0.insert(id, probe);
        }
    }

    /// One that is answered, or never will be.
    pub fn take(&mut self, id: AskId) -> Option<Probe> {
        self.0.remove(&id)
    }
}
