//! The calls that cross this peer, for `dots calls`. A call is known by SIP Call-ID, the caller's tag and the side that
//! we serve; where both phones are here, the caller's side stands for it.

use dots_sip::output::{CallEvent, CallProgress, CallSide};
use dots_wire::{Now, Timestamp};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Calls that are up or being set up; more are still carried, but not listed.
const LIVE_MAX: usize = 20_000;
/// Ended calls that are still shown.
const ENDED_MAX: usize = 1_000;
/// A call without a BYE is taken for ended after this (design: receipts).
const DURATION_MAX: Duration = Duration::from_secs(6 * 3600);
/// An INVITE that never got a final answer.
const SETUP_MAX: Duration = Duration::from_secs(600);

type Key = (String, String);

#[derive(Clone, Debug)]
struct Call {
    caller: String,
    callee: String,
    state: State,
    started: Timestamp,
    answered: Option<(Instant, Timestamp)>,
    ended: Option<(Timestamp, Duration)>,
    /// The last change.
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ringing,
    Up,
    Failed(u16),
    Ended,
    /// No BYE came within the limit.
    Lost,
}

#[derive(Default)]
pub struct Calls {
    live: BTreeMap<Key, Call>,
    ended: VecDeque<(Key, Call)>,
}

impl Calls {
    pub fn is_idle(&self) -> bool {
        self.live.is_empty()
    }

    pub fn up(&self) -> usize {
        self.live.values().filter(|c| c.state == State::Up).count()
    }

    pub fn on_event(&mut self, now: Now, event: &CallEvent) {
        let key = (event.call_id.clone(), event.from_tag.clone());
        // Both phones here: one call, told twice.
        if event.side == CallSide::Callee && event.peer.is_none() {
            return;
        }
        if event.what == CallProgress::Started {
            return self.start(now, key, event);
        }
        let Some(call) = self.live.get_mut(&key) else { return };
        call.since = now.mono;
        match event.what {
            CallProgress::Started | CallProgress::Ringing => {}
            CallProgress::Answered => {
                call.state = State::Up;
                call.answered.get_or_insert((now.mono, now.wall));
            }
            CallProgress::Failed { status } => {
                if call.answered.is_none() {
                    self.end(now, &key, State::Failed(status));
                }
            }
            CallProgress::Ended { .. } => self.end(now, &key, State::Ended),
        }
    }

    /// Calls that never ended.
    pub fn expire(&mut self, now: Now) {
        let old = |c: &Call| {
            let limit = if c.answered.is_some() { DURATION_MAX } else { SETUP_MAX };
            now.mono.saturating_duration_since(c.since) >= limit
        };
        let keys: Vec<Key> = self.live.iter().filter(|(_, c)| old(c)).map(|(k, _)| k.clone()).collect();
        for key in keys {
            self.end(now, &key, State::Lost);
        }
    }

    fn start(&mut self, now: Now, key: Key, event: &CallEvent) {
        if self.live.len() >= LIVE_MAX {
            return;
        }
        self.live.entry(key).or_insert_with(|| Call {
            caller: event.caller.clone(),
            callee: event.callee.clone(),
            state: State::Ringing,
            started: now.wall,
            answered: None,
            ended: None,
            since: now.mono,
        });
    }

    fn end(&mut self, now: Now, key: &Key, state: State) {
        let Some(mut call) = self.live.remove(key) else { return };
        let talked = call.answered.map(|(at, _)| now.mono.saturating_duration_since(at)).unwrap_or_default();
        call.ended = Some((now.wall, talked.min(DURATION_MAX)));
        call.state = state;
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((key.clone(), call));
    }

    /// `GET /v1/calls`, the oldest first.
    pub fn list(&self) -> Vec<Value> {
        self.ended.iter().map(|(k, c)| show(k, c)).chain(self.live.iter().map(|(k, c)| show(k, c))).collect()
    }
}

fn show(key: &Key, call: &Call) -> Value {
    let (state, cause) = match call.state {
        State::Ringing => ("ringing", None),
        State::Up => ("up", None),
        State::Failed(status) => ("failed", Some(status.to_string())),
        State::Ended => ("ended", Some("bye".to_owned())),
        State::Lost => ("ended", Some("no BYE came".to_owned())),
    };
    json!({
        "call_id": key.0,
        "from": call.caller,
        "to": call.callee,
        "state": state,
        "started_at_ms": call.started.0,
        "answered_at_ms": call.answered.map(|(_, wall)| wall.0),
        "ended_at_ms": call.ended.map(|(wall, _)| wall.0),
        "duration_ms": call.ended.and_then(|(_, d)| u64::try_from(d.as_millis()).ok()),
        "cause": cause,
        "media": "",
        "receipt": null,
        "warnings": [],
    })
}
