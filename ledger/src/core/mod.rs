//! The receipt machine: brings both serving peers of each answered call to one receipt (docs/spec/6-receipts.md).
//!
//! ```text
//!  call_answered ─▶ Append(Open)
//!  call_ended ────▶ Append(Claim) ── durable ─▶ Request(Claim) ──▶ the other: Append(Half) ── durable ─▶ its Half
//!                                                                                                          │
//!  Completed ◀─ durable ── Append(Whole) ◀─────────────────────────────────────────────────────────────────┘
//!      └─▶ Request(Whole) ──▶ the other: Append(Whole) ── durable ─▶ Completed, answers its Whole
//! ```
//!
//! What a call claims and signs is decided in `call`; here are the table, the disk, the requests and the timers.
//! Nothing here reads a clock, a socket or a disk.

mod call;
mod exchange;
mod restore;
#[cfg(test)]
mod tests;
mod timers;
mod view;

pub use view::{ReceiptState, ReceiptView};

use crate::{
    limits::{KEPT_MAX, OPEN_MAX, TURN, UNFINISHED_MAX, UNFINISHED_PER_PEER_MAX, WAITING_PER_CALL},
    receipt::{Close, EndCause, Facts, Stored},
};
use call::{Call, State};
use dots_wire::{Hash, Now, PeerId, SecretKey, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};
use timers::{Entry, Toward};

/// A call was answered, and its two sides are served by two peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswered {
    /// SHA-256(nonce_caller || nonce_callee): the call id.
    pub key: Hash,
    /// The other serving peer.
    pub other: PeerId,
    pub caller_peer: PeerId,
    pub callee_peer: PeerId,
    pub caller_home: PeerId,
    pub callee_home: PeerId,
    /// SHA-256 of the caller's call grant.
    pub grant: Hash,
    /// Who called and who answered, hashed with `salt`.
    pub caller_party: Hash,
    pub callee_party: Hash,
    pub salt: Hash,
    pub nonce_caller: Hash,
    pub nonce_callee: Hash,
    pub start: Timestamp,
}

impl CallAnswered {
    fn facts(&self, network: &str) -> Facts {
        Facts {
            network: network.to_owned(),
            call_id: self.key,
            nonce_caller: self.nonce_caller,
            nonce_callee: self.nonce_callee,
            caller_peer: self.caller_peer.0,
            callee_peer: self.callee_peer.0,
            caller_home: self.caller_home.0,
            callee_home: self.callee_home.0,
            grant: self.grant,
            caller_party: self.caller_party,
            callee_party: self.callee_party,
            salt: self.salt,
        }
    }
}

/// It is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallEnded {
    pub key: Hash,
    /// From the answer to the end, by the monotonic clock. Ignored for a call that was answered before a restart.
    pub duration_ms: u64,
    pub cause: EndCause,
    /// The BYE came from our phone: we propose. Else the other side has [`TURN`] to do it.
    pub propose: bool,
}

/// What the core asks of whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptOutput {
    /// Write this record to the stream `receipts`, fdatasync, and call [`ReceiptCore::durable`].
    Append {
        token: u64,
        record: Vec<u8>,
    },
    /// Ask `peer` over `/dots/receipt/2`, and call [`ReceiptCore::on_response`].
    Request {
        id: u64,
        peer: PeerId,
        body: Vec<u8>,
    },
    /// The answer to [`ReceiptCore::on_request`] `id`; none: refused without a word.
    Respond {
        id: u64,
        body: Option<Vec<u8>>,
    },
    /// We hold the whole receipt, on disk.
    Completed {
        call_id: Hash,
    },
    Count(&'static str),
}

pub struct ReceiptCore {
    key: SecretKey,
    me: PeerId,
    network: String,
    calls: BTreeMap<Hash, Entry>,
    /// By start, for [`ReceiptCore::list`].
    listed: BTreeSet<(u64, Hash)>,
    /// Calls that need nothing more, in the order in which they came to that.
    finished: VecDeque<Hash>,
    toward: BTreeMap<PeerId, Toward>,
    requests: BTreeMap<u64, Hash>,
    /// Records that somebody waits for.
    writes: BTreeMap<u64, Hash>,
    timers: BTreeSet<(Instant, Hash)>,
    open: usize,
    whole: usize,
    next_request: u64,
    next_token: u64,
    out: VecDeque<ReceiptOutput>,
}

impl ReceiptCore {
    /// `records`: the segment stream `receipts`, oldest first. Calls of another network in it are left alone.
    pub fn new(key: SecretKey, network: String, records: &[Vec<u8>], now: Now) -> ReceiptCore {
        let mut core = ReceiptCore {
            me: key.peer_id(),
            key,
            network,
            calls: BTreeMap::new(),
            listed: BTreeSet::new(),
            finished: VecDeque::new(),
            toward: BTreeMap::new(),
            requests: BTreeMap::new(),
            writes: BTreeMap::new(),
            timers: BTreeSet::new(),
            open: 0,
            whole: 0,
            next_request: 0,
            next_token: 0,
            out: VecDeque::new(),
        };
        core.restore(records, now);
        core
    }

    /// Notes the call, so that its receipt survives a restart. Where the table is full it will have none.
    pub fn call_answered(&mut self, now: Now, call: CallAnswered) {
        let (key, other, start) = (call.key, call.other, call.start);
        let facts = call.facts(&self.network);
        let side = facts.side(self.me).filter(|s| facts.peer(s.other()) == other);
        let Some(side) = side.filter(|_| facts.check().is_ok()) else {
            return self.tally("receipt_call_invalid");
        };
        if self.calls.contains_key(&key) {
            return;
        }
        let toward = self.toward.get(&other).map_or(0, |t| t.calls.len());
        let unfinished = self.calls.len().saturating_sub(self.finished.len());
        if self.open >= OPEN_MAX || unfinished >= UNFINISHED_MAX || toward >= UNFINISHED_PER_PEER_MAX {
            return self.tally("receipt_table_full");
        }
        let call = Call::open(facts, side, start, Some(now.mono));
        self.insert(now, call);
        self.note(&key);
    }

    /// The call is over for us: we claim our measurement, or wait for the other side's claim.
    pub fn call_ended(&mut self, now: Now, end: CallEnded) {
        let Some(entry) = self.calls.get_mut(&end.key).filter(|e| e.call.is_open()) else {
            return self.tally("receipt_end_unknown");
        };
        self.open = self.open.saturating_sub(1);
        entry.call.end(now, end.duration_ms, Some(end.cause));
        if end.propose {
            self.state_claim(now, &end.key);
        } else {
            entry.next = now.mono + TURN;
            self.note(&end.key);
        }
        self.relist(&end.key);
        self.rearm(now, &end.key);
    }

    /// The connection to `peer` is up (again): what is unfinished with it is asked at once.
    pub fn on_connected(&mut self, now: Now, peer: PeerId) {
        let keys: Vec<Hash> =
            self.toward.get(&peer).map(|t| t.calls.iter().copied().collect()).unwrap_or_default();
        for key in keys {
            let Some(entry) = self.calls.get_mut(&key) else { continue };
            // A side whose turn it is not keeps waiting; what has been asked in vain is asked now.
            if matches!(entry.call.state, State::Open { .. } | State::Ended { .. }) {
                continue;
            }
            entry.attempts = 0;
            entry.next = now.mono;
            self.pump(now, &key);
        }
    }

    /// `Append` with this token is on disk.
    pub fn durable(&mut self, now: Now, token: u64) {
        let Some(key) = self.writes.remove(&token) else { return };
        let Some(entry) = self.calls.get_mut(&key) else { return };
        if entry.writing != Some(token) {
            return;
        }
        entry.writing = None;
        let newly_whole = matches!(entry.call.state, State::Whole { .. }) && !entry.is_announced;
        entry.is_announced |= newly_whole;
        for id in std::mem::take(&mut entry.waiting) {
            self.answer(&key, id);
        }
        if newly_whole {
            self.out.push_back(ReceiptOutput::Completed { call_id: key });
            self.tally("receipt_whole");
        }
        self.pump(now, &key);
    }

    pub fn poll_output(&mut self) -> Option<ReceiptOutput> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Newest first, by start: ended calls that are unfinished, and the last [`KEPT_MAX`] others.
    /// None is shown as whole before it is on disk: who has seen it finds it again.
    pub fn list(&self) -> impl Iterator<Item = ReceiptView> {
        self.listed.iter().rev().filter_map(|(_, key)| {
            let entry = self.calls.get(key)?;
            let mut view = ReceiptView::of(&entry.call)?;
            if view.state == ReceiptState::Whole && !entry.is_announced {
                view.state = ReceiptState::Half;
            }
            Some(view)
        })
    }

    /// Whole receipts, those included that are no more listed.
    pub fn count(&self) -> usize {
        self.whole
    }

    fn insert(&mut self, now: Now, call: Call) {
        let (key, other) = (call.facts.call_id, call.other());
        self.open += usize::from(call.is_open());
        self.toward.entry(other).or_default().calls.insert(key);
        self.calls.insert(key, Entry::new(now, call));
        self.relist(&key);
        self.rearm(now, &key);
    }

    /// States our claim; it leaves when it is on disk.
    fn state_claim(&mut self, now: Now, key: &Hash) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        entry.call.state_claim(&self.key);
        entry.next = now.mono;
        self.write(key);
    }

    /// Writes the state of a call; answers and requests about it wait for that.
    fn write(&mut self, key: &Hash) {
        self.next_token += 1;
        let Some(entry) = self.calls.get_mut(key) else { return };
        entry.writing = Some(self.next_token);
        self.writes.insert(self.next_token, *key);
        let record = entry.call.record().to_bytes();
        self.out.push_back(ReceiptOutput::Append { token: self.next_token, record });
    }

    /// Writes the state of a call; nobody waits.
    fn note(&mut self, key: &Hash) {
        if let Some(entry) = self.calls.get(key) {
            self.append(&entry.call.record());
        }
    }

    fn append(&mut self, stored: &Stored) {
        self.next_token += 1;
        self.out.push_back(ReceiptOutput::Append { token: self.next_token, record: stored.to_bytes() });
    }

    /// Says what there is to say, once it is on disk.
    fn answer(&mut self, key: &Hash, id: u64) {
        let Some(entry) = self.calls.get_mut(key) else { return self.respond(id, None) };
        if entry.writing.is_none() {
            let body = entry.call.message().map(|m| m.to_bytes());
            return self.respond(id, body);
        }
        if entry.waiting.len() < WAITING_PER_CALL {
            entry.waiting.push(id);
        } else {
            self.respond(id, None);
        }
    }

    fn respond(&mut self, id: u64, body: Option<Vec<u8>>) {
        self.out.push_back(ReceiptOutput::Respond { id, body });
    }

    /// Closes it for good; `why` is on disk before anybody hears of it.
    fn close(&mut self, now: Now, key: &Hash, why: Close) {
        let Some(entry) = self.calls.get_mut(key).filter(|e| !e.call.is_finished()) else { return };
        self.open = self.open.saturating_sub(usize::from(entry.call.is_open()));
        let is_whole = matches!(entry.call.state, State::Whole { .. });
        entry.call.close(why);
        self.tally(match why {
            Close::Refused(_) => "receipt_refused",
            Close::Told | Close::Lapsed if is_whole => "receipt_untold",
            Close::Told | Close::Lapsed => "receipt_lapsed",
        });
        self.write(key);
        self.settle(now, key);
    }

    /// After every change of state: the list, the timers, and the place among the finished.
    fn settle(&mut self, now: Now, key: &Hash) {
        self.relist(key);
        let Some(entry) = self.calls.get_mut(key) else { return };
        if let State::Whole { .. } = entry.call.state
            && !std::mem::replace(&mut entry.is_counted, true)
        {
            self.whole += 1;
        }
        if entry.call.is_finished() && !std::mem::replace(&mut entry.is_finished, true) {
            let other = entry.call.other();
            self.stop_asking(now, key);
            if let Some(toward) = self.toward.get_mut(&other) {
                toward.calls.remove(key);
                if toward.is_idle() {
                    self.toward.remove(&other);
                }
            }
            self.finished.push_back(*key);
            self.forget_old();
        }
        self.rearm(now, key);
    }

    fn forget_old(&mut self) {
        while self.finished.len() > KEPT_MAX {
            let Some(key) = self.finished.pop_front() else { return };
            let Some(entry) = self.calls.remove(&key) else { continue };
            if let Some(start) = entry.listed {
                self.listed.remove(&(start, key));
            }
            for id in entry.waiting {
                self.respond(id, None);
            }
        }
    }

    fn relist(&mut self, key: &Hash) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        let start = ReceiptView::start_of(&entry.call);
        if start != entry.listed {
            if let Some(old) = std::mem::replace(&mut entry.listed, start) {
                self.listed.remove(&(old, *key));
            }
            if let Some(new) = start {
                self.listed.insert((new, *key));
            }
        }
    }

    fn tally(&mut self, name: &'static str) {
        self.out.push_back(ReceiptOutput::Count(name));
    }
}
