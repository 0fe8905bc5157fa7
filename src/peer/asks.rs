//! Questions under way: one table of ids, each with what its answer continues.
//!
//! A question leaves as an output with an id (a request to a peer, an account, an append) and its answer comes back as an
//! input with that id. The cores below number their own questions; here each is one more row, so that no id has to carry
//! in its bits whose it is. An answer is given once: the row leaves with it, and a second answer finds nothing.
//!
//! Questions that strangers can cause are bounded. One that finds the table full has failed at once: its asker is told so
//! ([`Asks::take_refused`]) and answers 503, and whatever comes back under its id is of nobody. Appends are always taken:
//! the driver stops reading from the outside while the disk is behind, which bounds them.

use dots_overlay::{records::Permit, transport::InboundId};
use dots_sip::ids::AskId;
use dots_trust::{answer::Answer, judge::Admitted};
use dots_wire::{Hash, PeerId, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

/// Questions to peers, accounts and DNS under way. Each belongs to a SIP transaction, a peer's request or an HTTP request.
const QUESTIONS_MAX: usize = 200_000;

/// What an answer continues.
pub(super) enum Pending {
    /// A question of the overlay core, by its own number.
    Overlay(u64),
    /// A question of the receipt core, by its own number.
    Receipts(u64),
    Auth(AuthQuestion),
    Lookup(LookupQuestion),
    /// Realm records, told to a peer that will tell its own.
    Names {
        of: PeerId,
    },
    Txt {
        name: String,
    },
    /// News of a realm, told to a peer; nothing follows.
    Told,
    /// A change of an account.
    Account {
        api: u64,
        aor: String,
        removed: bool,
    },
    /// Appended to a segment; the SIP core waits.
    Journal {
        ask: AskId,
    },
    /// Appended; this HTTP answer waits for it. `existed`: there was one before.
    Noted {
        api: u64,
        existed: bool,
    },
    /// Appended; nobody waits.
    Written,
}

/// Who is this, and may he? Asked of our account store, or of a foreign home.
pub(super) enum AuthQuestion {
    /// The account of an answer that a phone of ours gave; we are its home.
    Own { ask: AskId, admitted: Box<Admitted>, phone: IpAddr },
    /// The account of an answer that a serving peer returned to us.
    Foreign { inbound: InboundId, admitted: Box<Admitted> },
    /// A lease of a foreign realm's home.
    Lease { realm: String, home: PeerId },
    /// A foreign home judges our phone's answer; its grant must be for this and nothing else.
    Home { ask: AskId, answer: Box<Answer>, permit: Permit, phone: IpAddr },
}

/// Where is this AOR, and is there such an account?
pub(super) enum LookupQuestion {
    /// Our own account store says whether the user exists; a call waits.
    Own { ask: AskId, aor: String },
    /// A call, or `dots lookup`, waits for a home.
    Home { who: Waiting, aor: String, left: Vec<PeerId> },
    /// No home answered; the same waits for the DHT.
    Dht { who: Waiting, aor: String, found: Vec<Elsewhere> },
    /// A peer asked us as the home. `is_shown`: it showed the grant of a caller.
    Serve { inbound: InboundId, aor: String, is_shown: bool },
    /// `dots lookup` for one of our own realms.
    Api { api: u64, aor: String },
}

/// A binding beyond our own directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Elsewhere {
    pub serving: PeerId,
    pub instance: Option<Hash>,
    pub until: Timestamp,
    pub q: u16,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    Call(AskId),
    Api(u64),
}

impl Pending {
    /// Does a phone, a peer or a caller of the API wait for the answer?
    fn is_waited_for(&self) -> bool {
        use Pending::{Names, Overlay, Receipts, Told, Txt};
        !matches!(self, Names { .. } | Txt { .. } | Told | Overlay(_) | Receipts(_))
    }

    /// Whoever answers one kind of question was given the id of another: ids are given once, so this cannot be.
    pub fn is_no_answer_to(&self, asked: &str) {
        debug_assert!(false, "an answer to {asked} came for another kind of question");
        tracing::error!("an answer to {asked} came for another kind of question");
    }
}

#[derive(Default)]
pub(super) struct Asks {
    open: BTreeMap<u64, Pending>,
    /// Rows of `open` that are no appends.
    questions: usize,
    /// DNS questions among them.
    txt: usize,
    last: u64,
    refused: VecDeque<Pending>,
}

impl Asks {
    /// A new question; its id goes out with it.
    pub fn ask(&mut self, what: Pending) -> u64 {
        if self.questions >= QUESTIONS_MAX {
            self.refused.push_back(what);
            self.last += 1;
            return self.last;
        }
        self.questions += 1;
        self.txt += usize::from(matches!(what, Pending::Txt { .. }));
        self.insert(what)
    }

    /// A record that goes to the disk.
    pub fn append(&mut self, what: Pending) -> u64 {
        self.questions += 1;
        self.insert(what)
    }

    fn insert(&mut self, what: Pending) -> u64 {
        self.last += 1;
        let before = self.open.insert(self.last, what);
        debug_assert!(before.is_none(), "an id is given once");
        self.last
    }

    /// The answer is there: what it continues. `None`: nobody waits for it (any more).
    pub fn answered(&mut self, id: u64) -> Option<Pending> {
        let what = self.open.remove(&id)?;
        self.questions = self.questions.checked_sub(1).expect("every open question was counted");
        if matches!(what, Pending::Txt { .. }) {
            self.txt = self.txt.checked_sub(1).expect("every open DNS question was counted");
        }
        Some(what)
    }

    /// A question whose answer comes in parts.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Pending> {
        self.open.get_mut(&id)
    }

    pub fn get(&self, id: u64) -> Option<&Pending> {
        self.open.get(&id)
    }

    /// A question that found no room: it has failed.
    pub fn take_refused(&mut self) -> Option<Pending> {
        self.refused.pop_front()
    }

    pub fn dns_questions(&self) -> usize {
        self.txt
    }

    pub fn is_quiet(&self) -> bool {
        !self.open.values().any(Pending::is_waited_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_once() {
        let mut asks = Asks::default();
        let (first, second) = (asks.ask(Pending::Overlay(7)), asks.ask(Pending::Txt { name: "a".into() }));
        assert_ne!(first, second);
        assert_eq!(asks.dns_questions(), 1);
        assert!(matches!(asks.answered(first), Some(Pending::Overlay(7))));
        assert!(asks.answered(first).is_none());
        assert!(matches!(asks.answered(second), Some(Pending::Txt { .. })));
        assert_eq!((asks.dns_questions(), asks.questions), (0, 0));
    }

    #[test]
    fn a_full_table_refuses_the_newcomer_and_still_takes_appends() {
        let mut asks = Asks::default();
        let ids: Vec<u64> = (0..QUESTIONS_MAX).map(|_| asks.ask(Pending::Told)).collect();
        let late = asks.ask(Pending::Receipts(9));
        assert!(matches!(asks.take_refused(), Some(Pending::Receipts(9))));
        assert!(asks.take_refused().is_none());
        assert!(asks.answered(late).is_none(), "nobody waits for a refused question");
        let append = asks.append(Pending::Written);
        assert!(matches!(asks.answered(append), Some(Pending::Written)));
        assert!(asks.answered(ids[0]).is_some());
        asks.ask(Pending::Told);
        assert!(asks.take_refused().is_none(), "room again");
    }

    #[test]
    fn only_what_somebody_waits_for_keeps_a_peer_from_stopping() {
        let mut asks = Asks::default();
        asks.ask(Pending::Told);
        asks.ask(Pending::Overlay(1));
        assert!(asks.is_quiet());
        let id = asks.append(Pending::Written);
        assert!(!asks.is_quiet());
        asks.answered(id);
        assert!(asks.is_quiet());
    }
}
