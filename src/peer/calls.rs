//! The calls that cross this peer, for `dots calls` and for receipts.
//!
//! A call is known by SIP Call-ID, the caller's tag and the side that we serve; where both phones are here the caller's
//! side stands for it, and there is no receipt. Both serving peers add a random nonce, the caller's on the INVITE, the
//! callee's on its 2xx; both together name the receipt, so neither can reuse or choose it alone.

use super::sdp;
use dots_sip::{
    input::PeerLabel,
    output::{CallEvent, CallProgress, CallSide},
};
use dots_wire::{Hash, Now, Timestamp, sha256};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Calls that are up or being set up; more are still carried, but neither listed nor receipted.
const LIVE_MAX: usize = 20_000;
/// Ended calls that are still shown.
const ENDED_MAX: usize = 1_000;
/// A call without a BYE is taken for ended after this (design: receipts).
pub const DURATION_MAX: Duration = Duration::from_secs(6 * 3600);
/// An INVITE that never got a final answer.
const SETUP_MAX: Duration = Duration::from_secs(600);
/// An INVITE that was vouched for and then refused by our own SIP core: nothing follows.
const HEARD_MAX: Duration = Duration::from_secs(64);
/// Ended calls among which a late word is looked for.
const RECENT: usize = 64;
/// An INVITE forks to few peers; a stranger cannot make it more.
const NONCES_MAX: usize = 32;
const WARNINGS_MAX: usize = 4;

pub type Key = (String, String, CallSide);

#[derive(Clone, Debug)]
pub struct Call {
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
    ours: Option<Hash>,
    theirs: BTreeMap<PeerLabel, Hash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Only heard of in an envelope; not listed until the SIP core says that it began.
    Heard,
    Ringing,
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
    live: BTreeMap<Key, Call>,
    ended: VecDeque<(Key, Call)>,
}

impl Calls {
    pub fn up(&self) -> usize {
        self.live.values().filter(|c| c.state == State::Up).count()
    }

    /// Our nonce for this call; `fresh` becomes it on first use.
    pub fn nonce(&mut self, now: Now, key: &Key, fresh: Hash) -> Option<Hash> {
        let call = self.entry(now, key)?;
        Some(*call.ours.get_or_insert(fresh))
    }

    /// The other side's nonce came, with an INVITE that was believed or with the 2xx to ours: of a call that we know.
    pub fn heard_nonce(&mut self, key: &Key, from: &PeerLabel, nonce: Hash) {
        if let Some(call) = self.live.get_mut(key)
            && call.theirs.len() < NONCES_MAX
        {
            call.theirs.entry(from.clone()).or_insert(nonce);
        }
    }

    pub fn warn(&mut self, key: &Key, warning: String) {
        if let Some(call) = self.live.get_mut(key)
            && call.warnings.len() < WARNINGS_MAX
            && !call.warnings.contains(&warning)
        {
            call.warnings.push(warning);
        }
    }

    /// The grant that travelled with this call between us and `peer`.
    pub fn set_grant(&mut self, key: &Key, peer: &PeerLabel, grant: Arc<[u8]>) {
        if let Some(call) = self.live.get_mut(key)
            && call.grants.len() < NONCES_MAX
        {
            call.grants.insert(peer.clone(), grant);
        }
    }

    pub fn on_event(&mut self, now: Now, event: &CallEvent) -> Step {
        // Both phones here: one call, told twice.
        if event.side == CallSide::Callee && event.peer.is_none() {
            return Step::Nothing;
        }
        let key = (event.call_id.clone(), event.from_tag.clone(), event.side);
        if event.what == CallProgress::Started && self.entry(now, &key).is_none() {
            return Step::Nothing;
        }
        if let CallProgress::Failed { .. } = event.what
            && event.side == CallSide::Caller
            && event.peer.is_none()
            && self.is_new(&key)
            && let Some(call) = self.entry(now, &key)
        {
            // It was sent to nobody, so nothing was said of it before.
            call.caller.clone_from(&event.caller);
            call.callee.clone_from(&event.callee);
            call.state = State::Ringing;
        }
        let Some(call) = self.live.get_mut(&key) else { return Step::Nothing };
        call.since = now.mono;
        match event.what {
            CallProgress::Started => {
                call.caller.clone_from(&event.caller);
                call.callee.clone_from(&event.callee);
                call.see_media(&event.sdp);
                if call.state == State::Heard {
                    call.state = State::Ringing;
                }
                Step::Nothing
            }
            CallProgress::Ringing => Step::Nothing,
            CallProgress::Answered => {
                if call.answered.is_some() {
                    return Step::Nothing;
                }
                call.peer.clone_from(&event.peer);
                call.see_media(&event.sdp);
                call.answered = Some((now.mono, now.wall));
                call.state = State::Up;
                match call.nonces() {
                    Some(nonces) => Step::Answered { nonces, call: Box::new(call.clone()) },
                    None => Step::Nothing,
                }
            }
            CallProgress::Failed { status } => {
                if call.answered.is_none() {
                    self.end(now, &key, State::Failed(status), false);
                }
                Step::Nothing
            }
            CallProgress::Ended { seen_from_phone, .. } => self.end(now, &key, State::Ended, seen_from_phone),
        }
    }

    /// Calls that never ended: set-ups without a final answer, and dialogs past the cap.
    pub fn expire(&mut self, now: Now) -> Vec<Step> {
        let old = |c: &Call| {
            let limit = match (c.answered, c.state) {
                (Some(_), _) => DURATION_MAX,
                (None, State::Heard) => HEARD_MAX,
                (None, _) => SETUP_MAX,
            };
            now.mono.saturating_duration_since(c.since) >= limit
        };
        let keys: Vec<Key> = self.live.iter().filter(|(_, c)| old(c)).map(|(k, _)| k.clone()).collect();
        keys.iter().map(|key| self.end(now, key, State::Lost, true)).collect()
    }

    fn end(&mut self, now: Now, key: &Key, state: State, propose: bool) -> Step {
        let Some(mut call) = self.live.remove(key) else { return Step::Nothing };
        let talked = call.answered.map(|(at, _)| now.mono.saturating_duration_since(at)).unwrap_or_default();
        let duration = talked.min(DURATION_MAX);
        call.ended = Some((now.wall, duration));
        let heard_only = call.state == State::Heard;
        call.state = state;
        let step = match call.nonces().filter(|_| call.answered.is_some()) {
            Some(nonces) => Step::Ended { nonces, duration, propose, lost: state == State::Lost },
            None => Step::Nothing,
        };
        if !heard_only {
            if self.ended.len() >= ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back((key.clone(), call));
        }
        step
    }

    /// Neither under way nor just ended: an end that is told late is no call of its own.
    fn is_new(&self, key: &Key) -> bool {
        !self.live.contains_key(key) && !self.ended.iter().rev().take(RECENT).any(|(ended, _)| ended == key)
    }

    fn entry(&mut self, now: Now, key: &Key) -> Option<&mut Call> {
        if self.live.len() >= LIVE_MAX && !self.live.contains_key(key) {
            return None;
        }
        Some(self.live.entry(key.clone()).or_insert_with(|| Call {
            caller: String::new(),
            callee: String::new(),
            side: key.2,
            peer: None,
            grants: BTreeMap::new(),
            answered: None,
            state: State::Heard,
            started: now.wall,
            ended: None,
            media: "",
            warnings: Vec::new(),
            since: now.mono,
            ours: None,
            theirs: BTreeMap::new(),
        }))
    }

    /// `GET /v1/calls`, the oldest first.
    pub fn list(&self) -> Vec<Value> {
        let ended = self.ended.iter().map(|(key, call)| show(key, call));
        let live = self.live.iter().filter(|(_, c)| c.state != State::Heard);
        ended.chain(live.map(|(key, call)| show(key, call))).collect()
    }
}

impl Call {
    /// The caller's grant as it travelled between the two peers that carry the call.
    pub fn grant(&self) -> &[u8] {
        self.peer.as_ref().and_then(|peer| self.grants.get(peer)).map(AsRef::as_ref).unwrap_or_default()
    }

    /// What is agreed counts, which is what was seen last.
    fn see_media(&mut self, sdp: &[u8]) {
        if !sdp.is_empty() {
            self.media = sdp::media_kind(sdp);
        }
    }

    /// Caller's, callee's; `None` while the call crosses no overlay or the other side sent none.
    fn nonces(&self) -> Option<(Hash, Hash)> {
        let theirs = *self.theirs.get(self.peer.as_ref()?)?;
        let ours = self.ours?;
        Some(match self.side {
            CallSide::Caller => (ours, theirs),
            CallSide::Callee => (theirs, ours),
        })
    }
}

fn show((call_id, ..): &Key, call: &Call) -> Value {
    let (state, cause) = match call.state {
        State::Heard | State::Ringing => ("ringing", None),
        State::Up => ("up", None),
        State::Failed(status) => ("failed", Some(status.to_string())),
        State::Ended => ("ended", Some("bye".to_owned())),
        State::Lost => ("ended", Some("no BYE came".to_owned())),
    };
    json!({
        "call_id": call_id,
        "from": call.caller,
        "to": call.callee,
        "state": state,
        "started_at_ms": call.started.0,
        "answered_at_ms": call.answered.map(|(_, wall)| wall.0),
        "ended_at_ms": call.ended.map(|(wall, _)| wall.0),
        "duration_ms": call.ended.and_then(|(_, d)| u64::try_from(d.as_millis()).ok()),
        "cause": cause,
        "media": call.media,
        "receipt": call.nonces().filter(|_| call.answered.is_some()).map(|n| receipt_id(n).to_string()),
        "warnings": call.warnings,
    })
}
