//! From calls to receipts: what the receipt machine has to know when a call across the overlay is answered and ends.

use super::{
    Config,
    calls::{Call, Calls, Step, receipt_id},
    met::{self, Met},
    neighbours::Neighbours,
    outside::Outside,
    sdp,
};
use dots_ledger::{
    core::{CallAnswered, CallEnded, ReceiptCore},
    receipt::EndCause,
};
use dots_overlay::names::Realms;
use dots_sip::{
    address::realm_of,
    output::{CallEvent, CallProgress, CallSide},
};
use dots_trust::homes::principal;
use dots_wire::{
    Hash, Now, PeerId,
    bounded::{Cause, Standing},
    hmac_sha256,
};

/// One event of a call, with what it may look at and change.
pub(super) struct Recorder<'a> {
    pub now: Now,
    pub me: PeerId,
    pub config: &'a Config,
    pub calls: &'a mut Calls,
    pub receipts: &'a mut ReceiptCore,
    pub neighbours: &'a Neighbours,
    pub realms: &'a Realms,
    pub met: &'a mut Met,
    pub outside: &'a mut Outside,
}

impl Recorder<'_> {
    pub fn on_call(&mut self, event: &CallEvent) {
        let fresh = self.outside.random_hash();
        let warning = self.media_warning(event);
        let cause = self.cause(event);
        let step = self.calls.on_event(self.now, event, cause, (warning, fresh));
        for _ in 0..self.calls.take_over_share() {
            self.outside.count("calls_over_share");
        }
        self.on_step(step, cause);
    }

    /// RCPT-12: who called.
    fn cause(&self, event: &CallEvent) -> Cause {
        let through = match event.side {
            CallSide::Callee => event.peer.as_ref().and_then(|label| self.neighbours.of_label(label)),
            CallSide::Caller => principal(self.realms, realm_of(&event.caller), self.now.wall),
        };
        met::caller((self.realms, self.met, self.neighbours), self.now, &event.caller, through)
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

    pub fn expire_calls(&mut self) {
        for step in self.calls.expire(self.now) {
            self.on_step(step, Cause::new(Standing::Other));
        }
    }

    /// `cause`: of whose call it is, where it is answered.
    fn on_step(&mut self, step: Step, cause: Cause) {
        match step {
            Step::Nothing => {}
            Step::Answered { nonces, call } => self.on_answered(nonces, &call, cause),
            Step::Ended { nonces, duration, propose, lost } => {
                let ended = CallEnded {
                    key: receipt_id(nonces),
                    duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                    cause: if lost { EndCause::Expired } else { EndCause::Bye },
                    propose,
                };
                self.receipts.call_ended(self.now, ended);
            }
        }
    }

    fn on_answered(&mut self, (nonce_caller, nonce_callee): (Hash, Hash), call: &Call, cause: Cause) {
        let other = call.peer.as_ref().and_then(|label| self.neighbours.of_label(label));
        let Some(other) = other else {
            // Its label was forgotten while the call was set up: 100,000 other peers came in between.
            return self.outside.count("receipt_peer_forgotten");
        };
        let (caller_peer, callee_peer) = match call.side {
            CallSide::Caller => (self.me, other),
            CallSide::Callee => (other, self.me),
        };
        // Whom a phone of our own realms called; whoever calls us, or lets a free realm register here, has met nobody by that.
        if call.side == CallSide::Caller && self.config.is_home(realm_of(&call.caller)) {
            self.met.meet(&call.caller, realm_of(&call.callee), self.now);
        }
        let home_of = |aor: &str| principal(self.realms, realm_of(aor), self.now.wall);
        // Both sides know both nonces, so both derive the salt that hides the parties.
        let salt = hmac_sha256(&nonce_caller.0, &nonce_callee.0);
        let answered = CallAnswered {
            key: receipt_id((nonce_caller, nonce_callee)),
            other,
            caller_peer,
            callee_peer,
            caller_home: home_of(&call.caller).unwrap_or(caller_peer),
            callee_home: home_of(&call.callee).unwrap_or(callee_peer),
            grant: call.grant(),
            caller_party: hmac_sha256(&salt.0, call.caller.as_bytes()),
            callee_party: hmac_sha256(&salt.0, call.callee.as_bytes()),
            salt,
            nonce_caller,
            nonce_callee,
            start: call.answered.map_or(self.now.wall, |(_, wall)| wall),
            cause,
        };
        self.receipts.call_answered(self.now, answered);
    }
}
