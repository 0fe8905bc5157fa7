//! The calls that cross this peer, for `dots calls` and for receipts.
//!
//! While a call is set up it is known by its attempt, the INVITE that began it; from an answer on by its name: Call-ID, both
//! tags, the side that we serve and the other peer. So a fork that two phones answered is two calls, and so are two INVITEs
//! that a caller gave one Call-ID. Where both phones are here the caller's side stands for the call, and there is no
//! receipt. Both serving peers add a random nonce, the caller's on the INVITE, the callee's on its 2xx; both together name
//! the receipt, so neither can reuse or choose it alone.
//!
//! An answer is a callee's word until its ACK passes: a callee may answer one INVITE with as many tags as he likes, and repeat an
//! answer after its call has ended. So nothing is counted before the caller has taken it, and each answer is one call, once.
//!
//! Only what the SIP core forwarded has a place here, and each call is charged to whoever called: the network of the peer that
//! brought it, its realm, its account ([`room`]). `call` is one of them.

mod call;
pub(crate) mod room;

pub use call::Call;

use call::{ANSWERS_MAX, DURATION_MAX, State};
use dots_clients::types::CallInfo;
use dots_sip::{
    hop::PeerLabel,
    ids::AskId,
    output::{CallEvent, CallName, CallProgress, CallSide},
};
use dots_wire::{
    Hash, Now,
    bounded::{Cache, Cause, Limits},
    sha256,
};
use room::{Place, Room};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Ended calls that are still shown.
pub(crate) const ENDED: Limits = Limits::new(3 << 20, 1_000);

/// What happened, for the receipt machine.
#[derive(Clone, Debug)]
pub enum Step {
    Nothing,
    /// A call across the overlay is up, and its caller knows; `nonces`: the caller's, the callee's.
    Answered {
        nonces: (Hash, Hash),
        call: Box<Call>,
    },
    Ended {
        nonces: (Hash, Hash),
        duration: Duration,
        /// Our own phone sent the BYE (design: the side that saw the BYE proposes).
        propose: bool,
        /// Nobody sent one.
        lost: bool,
    },
}

/// The name of a call's receipt (LEG-3).
pub fn receipt_id((caller, callee): (Hash, Hash)) -> Hash {
    sha256(&[caller.0, callee.0].concat())
}

/// A call and what it is charged to.
struct Listed {
    call: Call,
    place: Place,
}

/// A call that is set up has a place for the call that it becomes, so that no answer finds the table full; what further
/// answers make of it is charged when it comes.
struct SetUp {
    call: Call,
    cause: Cause,
    place: Place,
    for_answer: Option<Place>,
    /// The answers that became calls, whatever became of those.
    answers: BTreeSet<Hash>,
}

pub struct Calls {
    setups: BTreeMap<AskId, SetUp>,
    up: BTreeMap<CallName, Listed>,
    room: Room,
    /// In the order of their ends, each charged to whoever called.
    ended: Cache<u64, Call>,
    ends: u64,
    /// Calls that are carried, but neither listed nor receipted, since this was asked last.
    over_share: usize,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            setups: BTreeMap::new(),
            up: BTreeMap::new(),
            room: Room::default(),
            ended: Cache::new(ENDED),
            ends: 0,
            over_share: 0,
        }
    }
}

impl Calls {
    pub fn up(&self) -> usize {
        self.up.len()
    }

    pub fn take_over_share(&mut self) -> usize {
        std::mem::take(&mut self.over_share)
    }

    /// Our nonce for the INVITE of this attempt, which our own phone began; `fresh` becomes it on first use.
    pub fn nonce(&mut self, attempt: AskId, fresh: Hash) -> Option<Hash> {
        Some(*self.setups.get_mut(&attempt)?.call.ours.get_or_insert(fresh))
    }

    /// Our nonce for the 2xx of this call.
    pub fn answer_nonce(&self, name: &CallName) -> Option<Hash> {
        self.up.get(name)?.call.ours
    }

    /// The grant that travels with this attempt to `peer`.
    pub fn set_grant(&mut self, attempt: AskId, peer: &PeerLabel, grant: &[u8]) {
        if let Some(setup) = self.setups.get_mut(&attempt) {
            setup.call.set_grant(peer, grant);
        }
    }

    /// `cause`: who called. `warning`: where our phone's SDP cannot work. `fresh`: a nonce, if one is needed.
    pub fn on_event(
        &mut self,
        now: Now,
        event: &CallEvent,
        cause: Cause,
        (warning, fresh): (Option<String>, Hash),
    ) -> Step {
        // Both phones here: one call, told twice.
        if event.side == CallSide::Callee && event.peer.is_none() {
            return Step::Nothing;
        }
        match event.what {
            CallProgress::Started => self.on_started(now, event, cause, warning),
            CallProgress::Ringing => self.touch(now, event, |_| {}),
            CallProgress::Refreshed { session_s } => {
                self.touch(now, event, |call| call.set_session(session_s));
            }
            CallProgress::Answered { session_s } => {
                return self.on_answered(now, event, (warning, fresh), session_s);
            }
            CallProgress::Acknowledged => return self.on_acknowledged(event),
            CallProgress::Failed { status } => self.on_failed(now, event, cause, status),
            CallProgress::Ended { seen_from_phone, said, .. } => {
                let end = |name| self.end((now, said), &name, State::Ended, seen_from_phone);
                return name_of(event).map_or(Step::Nothing, end);
            }
        }
        Step::Nothing
    }

    fn on_started(&mut self, now: Now, event: &CallEvent, cause: Cause, warning: Option<String>) {
        let Some(attempt) = event.attempt else { return };
        if !self.setups.contains_key(&attempt) {
            let Ok(place) = self.room.take(cause) else { return self.over_share += 1 };
            let Ok(for_answer) = self.room.take(cause) else {
                self.room.give_back(place);
                return self.over_share += 1;
            };
            let (call, for_answer) = (Call::new(now, event), Some(for_answer));
            self.setups.insert(attempt, SetUp { call, cause, place, for_answer, answers: BTreeSet::new() });
        }
        let setup = self.setups.get_mut(&attempt).expect("it was there, or has just been put there");
        setup.call.since = now.mono;
        setup.call.see_media(&event.sdp, warning);
    }

    fn touch(&mut self, now: Now, event: &CallEvent, change: impl FnOnce(&mut Call)) {
        let of_attempt = event.attempt.and_then(|attempt| self.setups.get_mut(&attempt));
        let call = match name_of(event).filter(|_| event.attempt.is_none()) {
            Some(name) => self.up.get_mut(&name).map(|listed| &mut listed.call),
            None => of_attempt.map(|setup| &mut setup.call),
        };
        if let Some(call) = call {
            call.since = now.mono;
            change(call);
        }
    }

    fn on_answered(
        &mut self,
        now: Now,
        event: &CallEvent,
        (warning, fresh): (Option<String>, Hash),
        session_s: Option<u32>,
    ) -> Step {
        let Some(name) = name_of(event) else { return Step::Nothing };
        let Some(setup) = event.attempt.and_then(|attempt| self.setups.get_mut(&attempt)) else {
            return Step::Nothing;
        };
        (setup.call.state, setup.call.since) = (State::Forked, now.mono);
        // RCPT-13: repeated, also when its call has ended, it begins no other.
        if setup.answers.len() >= ANSWERS_MAX || !setup.answers.insert(answer_of(&name)) {
            return Step::Nothing;
        }
        // A callee may answer one INVITE with as many tags as he likes; the caller pays for what is listed.
        let place = match setup.for_answer.take() {
            Some(place) => Ok(place),
            None => self.room.take(setup.cause),
        };
        let Ok(place) = place else {
            self.over_share += 1;
            return Step::Nothing;
        };
        let mut call = setup.call.clone();
        call.peer.clone_from(&event.peer);
        match call.side {
            CallSide::Caller => call.theirs = event.nonce.map(Hash),
            CallSide::Callee => call.ours = Some(fresh),
        }
        call.see_media(&event.sdp, warning);
        call.set_session(session_s);
        (call.answered, call.state) = (Some((now.mono, now.wall)), State::Up);
        // One of these names may be up from an attempt before: its caller's peer died, and who calls again repeats them.
        let former = self.end((now, now.mono), &name, State::Lost, true);
        self.up.insert(name, Listed { call, place });
        former
    }

    /// RCPT-13: the caller has taken this answer.
    fn on_acknowledged(&mut self, event: &CallEvent) -> Step {
        let listed = name_of(event).and_then(|name| self.up.get_mut(&name));
        let Some(Listed { call, .. }) = listed.filter(|listed| !listed.call.is_acknowledged) else {
            return Step::Nothing;
        };
        call.is_acknowledged = true;
        let nonces = call.nonces();
        nonces.map_or(Step::Nothing, |nonces| Step::Answered { nonces, call: Box::new(call.clone()) })
    }

    fn on_failed(&mut self, now: Now, event: &CallEvent, cause: Cause, status: u16) {
        let setup = event.attempt.and_then(|attempt| self.take_setup(attempt));
        // It was sent to nobody, so nothing was said of it before.
        let is_to_nobody = event.side == CallSide::Caller && event.peer.is_none();
        let call = setup.or_else(|| is_to_nobody.then(|| (Call::new(now, event), cause)));
        if let Some((mut call, cause)) = call.filter(|(call, _)| call.state == State::Ringing) {
            (call.state, call.ended) = (State::Failed(status), Some((now.wall, Duration::ZERO)));
            self.keep(call, cause);
        }
    }

    /// Whatever it was charged is given back.
    fn take_setup(&mut self, attempt: AskId) -> Option<(Call, Cause)> {
        let SetUp { call, cause, place, for_answer, .. } = self.setups.remove(&attempt)?;
        for place in std::iter::once(place).chain(for_answer) {
            self.room.give_back(place);
        }
        Some((call, cause))
    }

    fn keep(&mut self, call: Call, cause: Cause) {
        self.ends += 1;
        self.ended.insert(cause, self.ends, call);
    }

    /// Calls that never ended: set-ups without a final answer, and dialogs past their time.
    pub fn expire(&mut self, now: Now) -> Vec<Step> {
        let is_old = |call: &Call| now.mono.saturating_duration_since(call.since) >= call.patience();
        let setups: Vec<AskId> =
            self.setups.iter().filter(|(_, s)| is_old(&s.call)).map(|(id, _)| *id).collect();
        for attempt in setups {
            let Some((mut call, cause)) = self.take_setup(attempt) else { continue };
            if call.state == State::Ringing {
                (call.state, call.ended) = (State::Lost, Some((now.wall, Duration::ZERO)));
                self.keep(call, cause);
            }
        }
        let names: Vec<CallName> =
            self.up.iter().filter(|(_, c)| is_old(&c.call)).map(|(name, _)| name.clone()).collect();
        names.iter().map(|name| self.end((now, now.mono), name, State::Lost, true)).collect()
    }

    /// `until`: when its BYE was said, which may be a while before it is believed.
    fn end(&mut self, (now, until): (Now, Instant), name: &CallName, state: State, propose: bool) -> Step {
        let Some(Listed { mut call, place }) = self.up.remove(name) else { return Step::Nothing };
        let cause = place.cause();
        self.room.give_back(place);
        let is_taken = call.is_acknowledged;
        let state = if state == State::Lost && !is_taken { State::NotTaken } else { state };
        let talked = call.answered.filter(|_| is_taken).map(|(at, _)| until.saturating_duration_since(at));
        let duration = talked.unwrap_or_default().min(DURATION_MAX);
        (call.ended, call.state) = (Some((now.wall, duration)), state);
        let lost = state == State::Lost;
        let nonces = call.nonces().filter(|_| is_taken);
        let step = nonces.map(|nonces| Step::Ended { nonces, duration, propose, lost });
        self.keep(call, cause);
        step.unwrap_or(Step::Nothing)
    }

    /// `GET /v1/calls`, the oldest first.
    pub fn list(&self) -> Vec<CallInfo> {
        let setups = self.setups.values().map(|setup| &setup.call);
        let ringing = setups.filter(|call| call.state == State::Ringing);
        let up = self.up.values().map(|listed| &listed.call);
        self.ended.iter().map(|(_, call)| call).chain(up).chain(ringing).map(call::show).collect()
    }
}

/// Of all answers to one INVITE.
fn answer_of(name: &CallName) -> Hash {
    let peer = name.peer.as_deref().unwrap_or_default();
    sha256(&[peer.as_bytes(), &[0], name.to_tag.as_bytes()].concat())
}

/// From its answer on a call has a name.
fn name_of(event: &CallEvent) -> Option<CallName> {
    Some(CallName {
        call_id: event.call_id.clone(),
        from_tag: event.from_tag.clone(),
        to_tag: event.to_tag.clone()?,
        side: event.side,
        peer: event.peer.clone(),
    })
}

#[cfg(test)]
mod tests;
