//! Between the overlay, which wants to know whether our phones are there, and the SIP core, which asks them.

use super::{Peer, bindings::instance_hash, neighbours::Neighbour};
use dots_overlay::verify::{self, Asker};
use dots_sip::{address::realm_of, ids::PingId, output::Sign};
use dots_wire::{
    Hash, Now,
    bounded::{Cause, Standing},
};

impl Peer {
    /// The overlay wants a phone of ours pinged.
    pub(super) fn on_ping_phone(
        &mut self,
        now: Now,
        id: u64,
        (aor_id, instance): (Hash, Hash),
        asker: Asker,
    ) {
        let Some(bound) = self.published.phone(self.sip.bindings(), aor_id, instance) else {
            return self.overlay.pinged(now, id, verify::Sign::Unreachable);
        };
        // LOG-25: a connection that stands needs no sign of life; when it breaks we are told.
        if asker == Asker::Watch && bound.is_open && bound.flow.transport.is_reliable() {
            return self.overlay.pinged(now, id, verify::Sign::NotAsked);
        }
        let (aor, instance) = (bound.aor.to_owned(), bound.instance.to_owned());
        let cause = match asker {
            Asker::Watch | Asker::Moved => Cause::OWN,
            Asker::Verifier(peer) => {
                let cause = Cause::new(Standing::Other).by(&peer.to_bytes());
                self.neighbours.get(peer).and_then(Neighbour::ip).map_or(cause, |ip| cause.from(ip))
            }
        };
        self.outside.sip(dots_sip::Input::Ping { id, aor, instance, cause });
    }

    pub(super) fn on_pinged(&mut self, now: Now, id: PingId, sign: Sign) {
        let sign = match sign {
            Sign::Life => verify::Sign::Life,
            Sign::Silence => verify::Sign::Silence,
            Sign::Unreachable => verify::Sign::Unreachable,
            Sign::NotAsked => verify::Sign::NotAsked,
        };
        self.overlay.pinged(now, id, sign);
    }

    /// A request to a phone of ours ran out without a word, or its connection is gone.
    pub(super) fn on_unanswered(&mut self, now: Now, aor: &str, instance: &str) {
        self.outside.count("phones_unanswered");
        if let Some(record) = self.realms.lookup(realm_of(aor), now.wall) {
            let aor_id = record.aor_id(aor);
            self.overlay.unanswered(now, aor_id, instance_hash(instance));
        }
    }
}
