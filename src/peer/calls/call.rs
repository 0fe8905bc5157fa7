//! One call as it is listed, from its INVITE to its end, and what of it the receipt needs.

use super::{super::sdp, receipt_id};
use dots_clients::types::CallInfo;
use dots_sip::{
    hop::PeerLabel,
    output::{CallEvent, CallSide},
};
use dots_wire::{Hash, Now, Timestamp, bounded::Weight, sha256};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A call without a BYE is taken for ended after this (design: receipts).
pub const DURATION_MAX: Duration = Duration::from_secs(6 * 3600);
/// RFC 4028 §4: no session is shorter, whatever a phone says.
const SESSION_MIN: Duration = Duration::from_secs(90);
/// A session that says how long it lasts without a refresh (RFC 4028) is given so much longer.
const SESSION_GRACE: Duration = Duration::from_secs(32);
/// An INVITE that never got a final answer.
const SETUP_MAX: Duration = Duration::from_secs(600);
/// After its first answer: how long other branches may answer too.
const FORKS_MAX: Duration = Duration::from_secs(64);
/// A 2xx is repeated for 32 s until its ACK comes (RFC 3261 §13.3.1.4), and a little.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(40);
/// Callees that may answer one INVITE; what more of them say in it is not carried.
pub(super) const ANSWERS_MAX: usize = 32;
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
    /// SHA-256 of the caller's grants, as they travelled: one for each peer that the call was tried at.
    pub(super) grants: BTreeMap<PeerLabel, Hash>,
    pub answered: Option<(Instant, Timestamp)>,
    /// Its caller knows of it. Before, it is a callee's word alone.
    pub(super) is_acknowledged: bool,
    pub(super) state: State,
    pub(super) started: Timestamp,
    pub(super) ended: Option<(Timestamp, Duration)>,
    media: &'static str,
    warnings: Vec<String>,
    /// The last change.
    pub(super) since: Instant,
    /// It ends if nothing refreshes it for so long.
    pub(super) session: Option<Duration>,
    pub(super) ours: Option<Hash>,
    pub(super) theirs: Option<Hash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ringing,
    /// A set-up that was answered: the calls that it became are listed in its place.
    Forked,
    Up,
    Failed(u16),
    Ended,
    /// No BYE came within the limit.
    Lost,
    /// No ACK came: the caller never took this answer.
    NotTaken,
}

impl Call {
    pub(super) fn new(now: Now, event: &CallEvent) -> Call {
        let is_callee = event.side == CallSide::Callee;
        let mut grants = BTreeMap::new();
        if let (Some(peer), Some(vouch)) = (&event.peer, &event.vouch)
            && is_callee
        {
            grants.insert(peer.clone(), sha256(&vouch.grant));
        }
        Call {
            call_id: event.call_id.clone(),
            caller: event.caller.clone(),
            callee: event.callee.clone(),
            side: event.side,
            peer: event.peer.clone().filter(|_| is_callee),
            grants,
            answered: None,
            is_acknowledged: false,
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
    pub(super) fn patience(&self) -> Duration {
        match self.state {
            State::Forked => FORKS_MAX,
            // RCPT-13.
            State::Up if !self.is_acknowledged => ACKNOWLEDGED_WITHIN,
            State::Up => self.session.map_or(DURATION_MAX, |s| (s + SESSION_GRACE).min(DURATION_MAX)),
            _ => SETUP_MAX,
        }
    }

    /// The grant that travels with it to `peer`.
    pub(super) fn set_grant(&mut self, peer: &PeerLabel, grant: &[u8]) {
        if self.grants.len() < GRANTS_MAX {
            self.grants.insert(peer.clone(), sha256(grant));
        }
    }

    /// SHA-256 of the caller's grant as it travelled between the two peers that carry the call.
    pub fn grant(&self) -> Hash {
        let known = self.peer.as_ref().and_then(|peer| self.grants.get(peer)).copied();
        known.unwrap_or_else(|| sha256(&[]))
    }

    /// RFC 4028: how long it lasts without a refresh.
    pub(super) fn set_session(&mut self, seconds: Option<u32>) {
        let said = seconds.map(|s| Duration::from_secs(u64::from(s)));
        self.session = said.map(|session| session.max(SESSION_MIN));
    }

    /// What is agreed counts, which is what was seen last.
    pub(super) fn see_media(&mut self, sdp: &[u8], warning: Option<String>) {
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
    pub(super) fn nonces(&self) -> Option<(Hash, Hash)> {
        self.peer.as_ref()?;
        let (ours, theirs) = (self.ours?, self.theirs?);
        Some(match self.side {
            CallSide::Caller => (ours, theirs),
            CallSide::Callee => (theirs, ours),
        })
    }
}

impl Weight for Call {
    fn heap_bytes(&self) -> usize {
        let warnings: usize = self.warnings.iter().map(String::capacity).sum();
        let names = self.call_id.capacity() + self.caller.capacity() + self.callee.capacity();
        names + warnings + self.grants.len() * (size_of::<(PeerLabel, Hash)>() + 32)
    }
}

pub(super) fn show(call: &Call) -> CallInfo {
    let (state, cause) = match call.state {
        State::Ringing | State::Forked => ("ringing", None),
        State::Up => ("up", None),
        State::Failed(status) => ("failed", Some(status.to_string())),
        State::Ended => ("ended", Some("bye".to_owned())),
        State::Lost => ("ended", Some("no BYE came".to_owned())),
        State::NotTaken => ("failed", Some("no ACK came".to_owned())),
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
        receipt: call.nonces().filter(|_| call.is_acknowledged).map(|n| receipt_id(n).to_string()),
        warnings: call.warnings.clone(),
    }
}
