//! The calls that cross this peer, for `dots calls` and for receipts.
//!
//! While a call is set up it is known by its attempt, the INVITE that began it; from an answer on by its name: Call-ID, both
//! tags, the side that we serve and the other peer. So a fork that two phones answered is two calls, and so are two INVITEs
//! that a caller gave one Call-ID. Where both phones are here the caller's side stands for the call, and there is no
//! receipt. Both serving peers add a random nonce, the caller's on the INVITE, the callee's on its 2xx; both together name
//! the receipt, so neither can reuse or choose it alone.
//!
//! Only what the SIP core forwarded has a place here, and no peer's calls take more than its share of the places.

use super::sdp;
use dots_clients::types::CallInfo;
use dots_sip::{
    hop::PeerLabel,
    ids::AskId,
    output::{CallEvent, CallName, CallProgress, CallSide},
};
use dots_wire::{Hash, Now, Timestamp, sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Calls that are up or being set up; more are still carried, but neither listed nor receipted.
const LIVE_MAX: usize = 20_000;
/// Of these, calls that came from one peer.
const LIVE_PER_PEER_MAX: usize = LIVE_MAX / 4;
/// Ended calls that are still shown.
const ENDED_MAX: usize = 1_000;
/// A call without a BYE is taken for ended after this (design: receipts).
pub const DURATION_MAX: Duration = Duration::from_secs(6 * 3600);
/// A session that says how long it lasts without a refresh (RFC 4028) is given so much longer.
const SESSION_GRACE: Duration = Duration::from_secs(32);
/// An INVITE that never got a final answer.
const SETUP_MAX: Duration = Duration::from_secs(600);
/// After its first answer: how long other branches may answer too.
const FORKS_MAX: Duration = Duration::from_secs(64);
/// An INVITE forks to few peers; a stranger cannot make it more.
const GRANTS_MAX: usize = 32;
const WARNINGS_MAX: usize = 4;

#[derive(Clone, Debug)]
pub struct Call {
    call_id: String,
    pub caller: String,
    pub callee: String,
    pub side: CallSide,
    /// The other serving peer; none while it is not known, and for calls within this peer.
    pub peer: Option<PeerLabel>,
    /// The caller's grants, as they travelled: one for each peer that the call was tried at.
    grants: BTreeMap<PeerLabel, Arc<[u8]>>,
    pub answered: Option<(Instant, Timestamp)>,
    state: State,
    started: Timestamp,
    ended: Option<(Timestamp, Duration)>,
    media: &'static str,
    warnings: Vec<String>,
    /// The last change.
    since: Instant,
    /// It ends if nothing refreshes it for so long.
    session: Option<Duration>,
    ours: Option<Hash>,
    theirs: Option<Hash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ringing,
    /// A set-up that was answered: the calls that it became are listed in its place.
    Forked,
    Up,
    Failed(u16),
    Ended,
    /// No BYE came within the limit.
    Lost,
}

/// What happened, for the receipt machine.
#[derive(Clone, Debug)]
pub enum Step {
    Nothing,
    /// A call across the overlay is up; `nonces`: the caller's, the callee's.
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

/// The name of a call's receipt.
pub fn receipt_id((caller, callee): (Hash, Hash)) -> Hash {
    sha256(&[caller.0, callee.0].concat())
}

#[derive(Default)]
pub struct Calls {
    setups: BTreeMap<AskId, Call>,
    up: BTreeMap<CallName, Call>,
    /// How many of both came from each peer.
    from_peer: BTreeMap<PeerLabel, usize>,
    ended: VecDeque<Call>,
}

impl Calls {
    pub fn up(&self) -> usize {
        self.up.len()
    }

    /// Our nonce for the INVITE of this attempt, which our own phone began; `fresh` becomes it on first use.
    pub fn nonce(&mut self, attempt: AskId, fresh: Hash) -> Option<Hash> {
        Some(*self.setups.get_mut(&attempt)?.ours.get_or_insert(fresh))
    }

    /// Our nonce for the 2xx of this call.
    pub fn answer_nonce(&self, name: &CallName) -> Option<Hash> {
        self.up.get(name)?.ours
    }

    /// The grant that travels with this attempt to `peer`.
    pub fn set_grant(&mut self, attempt: AskId, peer: &PeerLabel, grant: Arc<[u8]>) {
        if let Some(call) = self.setups.get_mut(&attempt)
            && call.grants.len() < GRANTS_MAX
        {
            call.grants.insert(peer.clone(), grant);
        }
    }

    /// `warning`: where our phone's SDP cannot work. `fresh`: a nonce, if one is needed.
    pub fn on_event(&mut self, now: Now, event: &CallEvent, warning: Option<String>, fresh: Hash) -> Step {
        // Both phones here: one call, told twice.
        if event.side == CallSide::Callee && event.peer.is_none() {
            return Step::Nothing;
        }
        match event.what {
            CallProgress::Started => self.on_started(now, event, warning),
            CallProgress::Ringing => self.touch(now, event),
            CallProgress::Answered { session_s } => {
                let session = session_s.map(|s| Duration::from_secs(u64::from(s)));
                return self.on_answered(now, event, (warning, fresh), session);
            }
            CallProgress::Refreshed => self.touch(now, event),
            CallProgress::Failed { status } => self.on_failed(now, event, status),
            CallProgress::Ended { seen_from_phone, .. } => {
                let name = name_of(event);
                return name
                    .map_or(Step::Nothing, |name| self.end(now, &name, State::Ended, seen_from_phone));
            }
        }
        Step::Nothing
    }

    fn on_started(&mut self, now: Now, event: &CallEvent, warning: Option<String>) {
        let Some(attempt) = event.attempt else { return };
        if !self.setups.contains_key(&attempt) {
            if !self.has_room(event) {
                return;
            }
            self.charge(event.side, event.peer.as_ref());
            self.setups.insert(attempt, Call::new(now, event));
        }
        let call = self.setups.get_mut(&attempt).expect("it was there, or has just been put there");
        call.since = now.mono;
        call.see_media(&event.sdp, warning);
    }

    /// A call that our own phones began, or that came from a peer which has not had its share.
    fn has_room(&self, event: &CallEvent) -> bool {
        let of_peer =
            event.peer.as_ref().and_then(|peer| self.from_peer.get(peer)).copied().unwrap_or_default();
        let is_over = event.side == CallSide::Callee && of_peer >= LIVE_PER_PEER_MAX;
        self.setups.len() + self.up.len() < LIVE_MAX && !is_over
    }

    fn charge(&mut self, side: CallSide, peer: Option<&PeerLabel>) {
        if let Some(peer) = peer.filter(|_| side == CallSide::Callee) {
            *self.from_peer.entry(peer.clone()).or_default() += 1;
        }
    }

    fn refund(&mut self, call: &Call) {
        let Some(peer) = call.peer.as_ref().filter(|_| call.side == CallSide::Callee) else { return };
        let held = self.from_peer.get_mut(peer).expect("what is given back was charged");
        *held -= 1;
        if *held == 0 {
            self.from_peer.remove(peer);
        }
    }

    fn touch(&mut self, now: Now, event: &CallEvent) {
        let of_attempt = event.attempt.and_then(|attempt| self.setups.get_mut(&attempt));
        let call = match name_of(event).filter(|_| event.attempt.is_none()) {
            Some(name) => self.up.get_mut(&name),
            None => of_attempt,
        };
        if let Some(call) = call {
            call.since = now.mono;
        }
    }

    fn on_answered(
        &mut self,
        now: Now,
        event: &CallEvent,
        (warning, fresh): (Option<String>, Hash),
        session: Option<Duration>,
    ) -> Step {
        let Some(name) = name_of(event).filter(|name| !self.up.contains_key(name)) else {
            return Step::Nothing;
        };
        let Some(setup) = event.attempt.and_then(|attempt| self.setups.get_mut(&attempt)) else {
            return Step::Nothing;
        };
        (setup.state, setup.since) = (State::Forked, now.mono);
        let mut call = setup.clone();
        call.peer.clone_from(&event.peer);
        match call.side {
            CallSide::Caller => call.theirs = event.nonce.map(Hash),
            CallSide::Callee => call.ours = Some(fresh),
        }
        call.see_media(&event.sdp, warning);
        (call.answered, call.state, call.session) = (Some((now.mono, now.wall)), State::Up, session);
        let nonces = call.nonces();
        let step = nonces.map(|nonces| Step::Answered { nonces, call: Box::new(call.clone()) });
        self.charge(call.side, call.peer.as_ref());
        self.up.insert(name, call);
        step.unwrap_or(Step::Nothing)
    }

    fn on_failed(&mut self, now: Now, event: &CallEvent, status: u16) {
        let setup = event.attempt.and_then(|attempt| self.setups.remove(&attempt));
        if let Some(call) = &setup {
            self.refund(call);
        }
        // It was sent to nobody, so nothing was said of it before.
        let is_to_nobody = event.side == CallSide::Caller && event.peer.is_none();
        let Some(mut call) = setup.or_else(|| is_to_nobody.then(|| Call::new(now, event))) else { return };
        if call.state == State::Ringing {
            (call.state, call.ended) = (State::Failed(status), Some((now.wall, Duration::ZERO)));
            self.keep(call);
        }
    }

    fn keep(&mut self, call: Call) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(call);
    }

    /// Calls that never ended: set-ups without a final answer, and dialogs past their time.
    pub fn expire(&mut self, now: Now) -> Vec<Step> {
        let is_old = |call: &Call| now.mono.saturating_duration_since(call.since) >= call.patience();
        let setups: Vec<AskId> = self.setups.iter().filter(|(_, c)| is_old(c)).map(|(id, _)| *id).collect();
        for attempt in setups {
            let Some(mut call) = self.setups.remove(&attempt) else { continue };
            self.refund(&call);
            if call.state == State::Ringing {
                (call.state, call.ended) = (State::Lost, Some((now.wall, Duration::ZERO)));
                self.keep(call);
            }
        }
        let names: Vec<CallName> =
            self.up.iter().filter(|(_, c)| is_old(c)).map(|(name, _)| name.clone()).collect();
        names.iter().map(|name| self.end(now, name, State::Lost, true)).collect()
    }

    fn end(&mut self, now: Now, name: &CallName, state: State, propose: bool) -> Step {
        let Some(mut call) = self.up.remove(name) else { return Step::Nothing };
        self.refund(&call);
        let talked = call.answered.map(|(at, _)| now.mono.saturating_duration_since(at)).unwrap_or_default();
        let duration = talked.min(DURATION_MAX);
        (call.ended, call.state) = (Some((now.wall, duration)), state);
        let lost = state == State::Lost;
        let step = call.nonces().map(|nonces| Step::Ended { nonces, duration, propose, lost });
        self.keep(call);
        step.unwrap_or(Step::Nothing)
    }

    /// `GET /v1/calls`, the oldest first.
    pub fn list(&self) -> Vec<CallInfo> {
        let ringing = self.setups.values().filter(|call| call.state == State::Ringing);
        self.ended.iter().chain(self.up.values()).chain(ringing).map(show).collect()
    }
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

impl Call {
    fn new(now: Now, event: &CallEvent) -> Call {
        let is_callee = event.side == CallSide::Callee;
        let mut grants = BTreeMap::new();
        if let (Some(peer), Some(vouch)) = (&event.peer, &event.vouch)
            && is_callee
        {
            grants.insert(peer.clone(), vouch.grant.clone());
        }
        Call {
            call_id: event.call_id.clone(),
            caller: event.caller.clone(),
            callee: event.callee.clone(),
            side: event.side,
            peer: event.peer.clone().filter(|_| is_callee),
            grants,
            answered: None,
            state: State::Ringing,
            started: now.wall,
            ended: None,
            media: "",
            warnings: Vec::new(),
            since: now.mono,
            session: None,
            ours: None,
            theirs: event.nonce.map(Hash).filter(|_| is_callee),
        }
    }

    /// How long it may go without a sign of life.
    fn patience(&self) -> Duration {
        match self.state {
            State::Forked => FORKS_MAX,
            State::Up => self.session.map_or(DURATION_MAX, |s| (s + SESSION_GRACE).min(DURATION_MAX)),
            _ => SETUP_MAX,
        }
    }

    /// The caller's grant as it travelled between the two peers that carry the call.
    pub fn grant(&self) -> &[u8] {
        self.peer.as_ref().and_then(|peer| self.grants.get(peer)).map(AsRef::as_ref).unwrap_or_default()
    }

    /// What is agreed counts, which is what was seen last.
    fn see_media(&mut self, sdp: &[u8], warning: Option<String>) {
        if !sdp.is_empty() {
            self.media = sdp::media_kind(sdp);
        }
        if let Some(warning) = warning.filter(|warning| !self.warnings.contains(warning))
            && self.warnings.len() < WARNINGS_MAX
        {
            self.warnings.push(warning);
        }
    }

    /// Caller's, callee's; `None` while the call crosses no overlay or the other side sent none.
    fn nonces(&self) -> Option<(Hash, Hash)> {
        self.peer.as_ref()?;
        let (ours, theirs) = (self.ours?, self.theirs?);
        Some(match self.side {
            CallSide::Caller => (ours, theirs),
            CallSide::Callee => (theirs, ours),
        })
    }
}

fn show(call: &Call) -> CallInfo {
    let (state, cause) = match call.state {
        State::Ringing | State::Forked => ("ringing", None),
        State::Up => ("up", None),
        State::Failed(status) => ("failed", Some(status.to_string())),
        State::Ended => ("ended", Some("bye".to_owned())),
        State::Lost => ("ended", Some("no BYE came".to_owned())),
    };
    CallInfo {
        call_id: call.call_id.clone(),
        from: call.caller.clone(),
        to: call.callee.clone(),
        state: state.to_owned(),
        started_at_ms: call.started.0,
        answered_at_ms: call.answered.map(|(_, wall)| wall.0),
        ended_at_ms: call.ended.map(|(wall, _)| wall.0),
        duration_ms: call.ended.and_then(|(_, d)| u64::try_from(d.as_millis()).ok()),
        cause,
        media: call.media.to_owned(),
        receipt: call.nonces().filter(|_| call.answered.is_some()).map(|n| receipt_id(n).to_string()),
        warnings: call.warnings.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: &mut Now, seconds: u64) -> Now {
        let time = Duration::from_secs(seconds);
        *now = Now { mono: now.mono + time, wall: now.wall.plus(time) };
        *now
    }

    fn start() -> Now {
        Now { mono: Instant::now(), wall: Timestamp(1_000_000) }
    }

    /// An event of attempt `n` of one caller, who gives every call the same Call-ID and tag.
    fn event(n: u64, side: CallSide, to_tag: Option<&str>, what: CallProgress) -> CallEvent {
        let ends = matches!(what, CallProgress::Ended { .. } | CallProgress::Refreshed);
        CallEvent {
            attempt: (!ends).then(|| AskId::new(0, n)),
            call_id: "one".into(),
            from_tag: "f".into(),
            to_tag: to_tag.map(str::to_owned),
            side,
            caller: "eve@a.test".into(),
            callee: format!("callee{n}@b.test"),
            peer: Some("peer".into()),
            vouch: None,
            nonce: Some([n as u8; 32]),
            what,
            sdp: Vec::new(),
        }
    }

    const UP: CallProgress = CallProgress::Answered { session_s: None };
    const BYE: CallProgress = CallProgress::Ended { by_caller: true, seen_from_phone: true };

    fn on(calls: &mut Calls, now: Now, event: CallEvent) -> Step {
        let fresh = event.to_tag.as_deref().map_or(9, |tag| tag.as_bytes()[0]);
        calls.on_event(now, &event, None, Hash([fresh; 32]))
    }

    #[test]
    fn one_call_id_for_two_callees_is_two_calls_at_both_peers() {
        for side in [CallSide::Caller, CallSide::Callee] {
            let (mut calls, mut now) = (Calls::default(), start());
            let mut names = Vec::new();
            for (n, tag) in [(1, "bob"), (2, "carl")] {
                on(&mut calls, now, event(n, side, None, CallProgress::Started));
                calls.nonce(AskId::new(0, n), Hash([40 + n as u8; 32]));
                let Step::Answered { nonces, .. } = on(&mut calls, now, event(n, side, Some(tag), UP)) else {
                    panic!("{side:?}: {tag} answers");
                };
                names.push(receipt_id(nonces));
            }
            assert_eq!((calls.up(), names[0] == names[1]), (2, false), "{side:?}");
            let later = at(&mut now, 10);
            let Step::Ended { nonces, duration, .. } =
                on(&mut calls, later, event(2, side, Some("carl"), BYE))
            else {
                panic!("carl's call ends");
            };
            assert_eq!((receipt_id(nonces), duration.as_secs()), (names[1], 10));
            let states: Vec<String> = calls.list().into_iter().map(|call| call.state).collect();
            assert_eq!(states, ["ended", "up"], "{side:?}: bob's call is still up, and listed");
            assert!(
                matches!(on(&mut calls, later, event(2, side, Some("carl"), BYE)), Step::Nothing),
                "once"
            );
        }
    }

    #[test]
    fn a_fork_that_two_phones_answered_is_two_calls() {
        let (mut calls, now) = (Calls::default(), start());
        on(&mut calls, now, event(1, CallSide::Callee, None, CallProgress::Started));
        let mut names = Vec::new();
        for tag in ["desk", "mobile"] {
            if let Step::Answered { nonces, .. } =
                on(&mut calls, now, event(1, CallSide::Callee, Some(tag), UP))
            {
                names.push(receipt_id(nonces));
            }
        }
        assert_eq!((calls.up(), names.len(), names[0] == names[1]), (2, 2, false));
        on(&mut calls, now, event(1, CallSide::Callee, Some("desk"), UP));
        assert_eq!(calls.up(), 2, "a repeated 2xx is no call");
    }

    #[test]
    fn a_session_without_refresh_ends_by_age_and_says_so() {
        let (mut calls, mut now) = (Calls::default(), start());
        on(&mut calls, now, event(1, CallSide::Callee, None, CallProgress::Started));
        let session = CallProgress::Answered { session_s: Some(1800) };
        on(&mut calls, now, event(1, CallSide::Callee, Some("bob"), session));
        let later = at(&mut now, 1700);
        on(&mut calls, later, event(1, CallSide::Callee, Some("bob"), CallProgress::Refreshed));
        assert!(calls.expire(at(&mut now, 1700)).is_empty(), "it was refreshed");
        let steps = calls.expire(at(&mut now, 200));
        assert!(matches!(&steps[..], [Step::Ended { lost: true, propose: true, .. }]));
        assert_eq!(calls.list()[0].cause.as_deref(), Some("no BYE came"));
    }

    #[test]
    fn ringing_calls_of_one_peer_leave_room_for_others() {
        let (mut calls, now) = (Calls::default(), start());
        for n in 0..(LIVE_PER_PEER_MAX as u64 + 10) {
            on(&mut calls, now, event(n, CallSide::Callee, None, CallProgress::Started));
        }
        assert_eq!(calls.setups.len(), LIVE_PER_PEER_MAX);
        let other = CallEvent {
            peer: Some("other".into()),
            ..event(90_000, CallSide::Callee, None, CallProgress::Started)
        };
        on(&mut calls, now, other);
        on(&mut calls, now, event(90_001, CallSide::Caller, None, CallProgress::Started));
        assert_eq!(calls.setups.len(), LIVE_PER_PEER_MAX + 2);
        for n in 0..LIVE_PER_PEER_MAX as u64 {
            on(&mut calls, now, event(n, CallSide::Callee, None, CallProgress::Failed { status: 486 }));
        }
        assert_eq!((calls.setups.len(), calls.from_peer.len()), (2, 1));
    }
}
