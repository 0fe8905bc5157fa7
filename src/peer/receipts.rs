//! From calls to receipts: what the receipt machine has to know when a call across the overlay is answered and ends.

use super::{
    Peer,
    calls::{Call, Step, receipt_id},
    sdp,
};
use dots_ledger::{
    core::{CallAnswered, CallEnded},
    receipt::EndCause,
};
use dots_sip::{
    address::realm_of,
    output::{CallEvent, CallProgress, CallSide},
};
use dots_wire::{Hash, Now, PeerId, hmac_sha256, sha256};

impl Peer {
    pub(super) fn on_call(&mut self, now: Now, event: &CallEvent) {
        let fresh = self.outside.random_hash();
        let warning = self.media_warning(event);
        let step = self.calls.on_event(now, event, warning, fresh);
        self.on_step(now, step);
    }

    /// For `dots calls`: our phone names an address that the other side cannot reach.
    fn media_warning(&self, event: &CallEvent) -> Option<String> {
        let is_ours = match event.what {
            CallProgress::Started => event.side == CallSide::Caller,
            CallProgress::Answered { .. } => event.side == CallSide::Callee,
            _ => false,
        };
        let address = sdp::private_address(&event.sdp).filter(|_| is_ours)?;
        let peer = self.neighbours.of_label(event.peer.as_ref()?)?;
        let is_far = self.neighbours.get(peer).and_then(|n| n.ip()).is_some_and(|ip| !sdp::is_private(&ip));
        is_far.then(|| {
            tracing::warn!(
                call_id = %event.call_id,
                "the phone offers media at {address}, which the other side cannot reach: expect no audio"
            );
            format!("media at {address}: a private address, toward a peer outside that network")
        })
    }

    pub(super) fn expire_calls(&mut self, now: Now) {
        for step in self.calls.expire(now) {
            self.on_step(now, step);
        }
    }

    fn on_step(&mut self, now: Now, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Answered { nonces, call } => self.on_answered(now, nonces, &call),
            Step::Ended { nonces, duration, propose, lost } => {
                let ended = CallEnded {
                    key: receipt_id(nonces),
                    duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                    cause: if lost { EndCause::Expired } else { EndCause::Bye },
                    propose,
                };
                self.receipts.call_ended(now, ended);
            }
        }
    }

    fn on_answered(&mut self, now: Now, (nonce_caller, nonce_callee): (Hash, Hash), call: &Call) {
        let Some(other) = call.peer.as_ref().and_then(|l| self.neighbours.of_label(l)) else {
            return;
        };
        let (caller_peer, callee_peer) = match call.side {
            CallSide::Caller => (self.me, other),
            CallSide::Callee => (other, self.me),
        };
        // Both sides know both nonces, so both derive the salt that hides the parties.
        let salt = hmac_sha256(&nonce_caller.0, &nonce_callee.0);
        let answered = CallAnswered {
            key: receipt_id((nonce_caller, nonce_callee)),
            other,
            caller_peer,
            callee_peer,
            caller_home: self.home_of_party(now, &call.caller).unwrap_or(caller_peer),
            callee_home: self.home_of_party(now, &call.callee).unwrap_or(callee_peer),
            grant: sha256(call.grant()),
            caller_party: hmac_sha256(&salt.0, call.caller.as_bytes()),
            callee_party: hmac_sha256(&salt.0, call.callee.as_bytes()),
            salt,
            nonce_caller,
            nonce_callee,
            start: call.answered.map_or(now.wall, |(_, wall)| wall),
        };
        self.receipts.call_answered(now, answered);
    }

    /// The first home of the party's realm: the same one for both sides, whichever of them asks.
    fn home_of_party(&self, now: Now, aor: &str) -> Option<PeerId> {
        let realm = realm_of(aor);
        self.realms.lookup(realm, now.wall)?.homes.first().copied()
    }
}
