//! The receipt machine: brings both serving peers of each answered call to one receipt (RCPT-8, docs/spec/6-receipts.md).
//!
//! ```text
//!  call_answered ─▶ Append(Open)
//!  call_ended ─ 5 s ▶ Append(Claim) ─ durable ─▶ Request(Claim) ─▶ the other: Append(Half) ── durable ─▶ its Half
//!                                                                                                          │
//!  Completed ◀─ durable ── Append(Whole) ◀─────────────────────────────────────────────────────────────────┘
//!      └─▶ Request(Whole) ──▶ the other: Append(Whole) ── durable ─▶ Completed, answers its Whole
//! ```
//!
//! Nobody waits for a receipt, so what is due about many calls is signed, written and sent together. What a call claims and
//! signs is decided in `call`; `exchange` takes in what the other side says, `bundle` are the requests, `step`
//! says when each call is asked about next, and writes; here is the table.
//! Nothing here reads a clock, a socket or a disk.

mod bundle;
mod call;
mod exchange;
mod restore;
mod step;
#[cfg(test)]
mod tests;
mod view;

pub use view::{ReceiptState, ReceiptView};

use crate::{
    limits::{BATCH, KEPT_MAX, RETRY_MAX, TURN, UNFINISHED},
    receipt::{Close, EndCause, Facts, Signer},
};
use bundle::{Asked, Inbound, Toward};
use call::{Call, State};
use dots_wire::{
    Checked, Hash, Now, Outbox, PeerId, SecretKey, Timers, Timestamp,
    bounded::{Book, Cause, Standing},
};
use exchange::Said;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};
use step::Entry;

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
    /// Who called, and so has a share of the table. [`Standing::Own`] is not for phones: it knows no shares.
    pub cause: Cause,
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
    /// Write this record to the stream `receipts`, in order, and call [`ReceiptCore::durable`]; with `sync` when it, and all
    /// before it, have been fdatasynced.
    Append {
        token: u64,
        record: Vec<u8>,
        sync: bool,
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
    /// What unfinished calls are charged to.
    book: Book,
    /// By start, for [`ReceiptCore::list`].
    listed: BTreeSet<(u64, Hash)>,
    /// Calls that need nothing more, in the order in which they came to that.
    finished: VecDeque<Hash>,
    toward: BTreeMap<PeerId, Toward>,
    /// Peers that something is due toward.
    ready: BTreeSet<PeerId>,
    requests: BTreeMap<u64, Asked>,
    /// Requests of others, by the write that they wait for.
    inbound: BTreeMap<(u64, u64), Inbound>,
    /// What was written in one step, by the token of its last record.
    writes: BTreeMap<u64, Vec<Hash>>,
    /// Of this step: calls to be written, the token of that, and calls whose claim is due.
    unwritten: BTreeSet<Hash>,
    step_token: Option<u64>,
    unstated: BTreeSet<Hash>,
    /// Of this step: what is to be signed, and the calls whose seals it makes.
    signer: Signer,
    unsealed: BTreeSet<Hash>,
    /// What came since the last step, and since when.
    said: Vec<Said>,
    said_at: Option<Instant>,
    timers: Timers<Hash>,
    /// When the claims of calls that end now are stated.
    batch_at: Option<Instant>,
    checked: Checked,
    whole: usize,
    next_request: u64,
    next_token: u64,
    out: Outbox<ReceiptOutput>,
}

impl ReceiptCore {
    /// `records`: the segment stream `receipts`, oldest first. Calls of another network in it are left alone.
    pub fn new(key: SecretKey, network: String, records: &[Vec<u8>], now: Now) -> ReceiptCore {
        let mut core = ReceiptCore {
            me: key.peer_id(),
            key,
            network,
            calls: BTreeMap::new(),
            book: Book::new(UNFINISHED),
            listed: BTreeSet::new(),
            finished: VecDeque::new(),
            toward: BTreeMap::new(),
            ready: BTreeSet::new(),
            requests: BTreeMap::new(),
            inbound: BTreeMap::new(),
            writes: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            step_token: None,
            unstated: BTreeSet::new(),
            signer: Signer::default(),
            unsealed: BTreeSet::new(),
            said: Vec::new(),
            said_at: None,
            timers: Timers::default(),
            batch_at: None,
            checked: Checked::default(),
            whole: 0,
            next_request: 0,
            next_token: 0,
            out: Outbox::default(),
        };
        core.restore(records, now);
        core
    }

    /// Notes the call, so that its receipt survives a restart. Where the table is full it will have none.
    pub fn call_answered(&mut self, now: Now, call: CallAnswered) {
        let (key, other, start, cause) = (call.key, call.other, call.start, call.cause);
        let facts = call.facts(&self.network);
        let side = facts.side(self.me).filter(|s| facts.peer(s.other()) == other);
        let Some(side) = side.filter(|_| facts.check().is_ok()) else {
            return self.tally("receipt_call_invalid");
        };
        if self.calls.contains_key(&key) {
            return;
        }
        // RCPT-12: nothing is taken back, so whose share is used up is told before anything is noted.
        if self.book.admits(cause, self.book.weight(0)).is_err() {
            return self.tally("receipt_over_share");
        }
        let call = Call::open(facts, side, start, Some(now.mono));
        self.insert(now, call, cause);
        self.note(&key);
    }

    /// The call is over for us: we claim our measurement, or wait for the other side's claim.
    pub fn call_ended(&mut self, now: Now, end: CallEnded) {
        let Some(entry) = self.calls.get_mut(&end.key).filter(|e| e.call.is_open()) else {
            return self.tally("receipt_end_unknown");
        };
        entry.call.end(now, end.duration_ms, Some(end.cause));
        // Who has claimed while it was up here saw the end that we did not see, and asks again.
        let knows_less = end.cause != EndCause::Bye && entry.was_claimed;
        let next = match end.propose {
            _ if knows_less => now.mono + RETRY_MAX + RETRY_MAX / 8 + TURN,
            true => self.batch(now),
            false => now.mono + TURN,
        };
        if let Some(entry) = self.calls.get_mut(&end.key) {
            entry.next = next;
        }
        self.note(&end.key);
        self.relist(&end.key);
        self.rearm(now, &end.key);
    }

    /// When the claims of calls that end now are stated, together.
    fn batch(&mut self, now: Now) -> Instant {
        let at = self.batch_at.filter(|at| *at > now.mono).unwrap_or(now.mono + BATCH);
        self.batch_at = Some(at);
        at
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
        self.flush(now);
    }

    pub fn poll_output(&mut self) -> Option<ReceiptOutput> {
        self.out.poll()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.said_at, self.timers.poll_timeout()].into_iter().flatten().min()
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

    fn insert(&mut self, now: Now, call: Call, cause: Cause) {
        let (key, other) = (call.facts.call_id, call.other());
        self.book.charge(cause, self.book.weight(0));
        self.toward.entry(other).or_default().calls.insert(key);
        let before = self.calls.insert(key, Entry::new(now, call, cause));
        debug_assert!(before.is_none(), "a call is charged once");
        self.relist(&key);
        self.rearm(now, &key);
    }

    /// Whom a call is charged to that an earlier life has noted: its other peer, for its caller is known by a hash alone.
    fn cause_of(other: PeerId) -> Cause {
        Cause::new(Standing::Other).by(&other.to_bytes())
    }

    fn respond(&mut self, id: u64, body: Option<Vec<u8>>) {
        self.out.push(ReceiptOutput::Respond { id, body });
    }

    /// Closes it for good; `why` is on disk before anybody hears of it.
    fn close(&mut self, now: Now, key: &Hash, why: Close) {
        let Some(entry) = self.calls.get_mut(key).filter(|e| !e.call.is_finished()) else { return };
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
            let (other, cause) = (entry.call.other(), entry.cause);
            self.book.discharge(cause, self.book.weight(0));
            self.stop_asking(key);
            if let Some(toward) = self.toward.get_mut(&other) {
                let was_there = toward.calls.remove(key);
                debug_assert!(was_there, "an unfinished call stands at its peer");
            }
            self.tidy(other);
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
            debug_assert!(entry.asked.is_none(), "nothing is asked about a finished call");
            self.timers.cancel(&key);
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

    fn tally_many(&mut self, name: &'static str, count: usize) {
        for _ in 0..count {
            self.tally(name);
        }
    }

    fn tally(&mut self, name: &'static str) {
        self.out.push(ReceiptOutput::Count(name));
    }
}
