//! Questions under way: one table of ids, each with what its answer continues.
//!
//! A question leaves as an output with an id (a request to a peer, an account, an append) and its answer comes back as an
//! input with that id. The cores below number their own questions; here each is one more row, so that no id has to carry
//! in its bits whose it is. An answer is given once: the row leaves with it, and a second answer finds nothing.
//!
//! Questions that strangers can cause are bounded, and charged to whoever caused them ([`Pending::cause`]): the phone's network, the
//! neighbour, the realm. One that is over the share of its cause has failed at once: its asker is told so
//! ([`Asks::take_refused`]) and answers 503, and whatever comes back under its id is of nobody. Others do not notice. Appends are
//! always taken: the driver stops reading from the outside while the disk is behind, which bounds them.

use super::api::Password;
use dots_overlay::{records::Permit, transport::InboundId};
use dots_sip::ids::AskId;
use dots_trust::{answer::Answer, judge::Admitted};
use dots_wire::{
    Hash, PeerId, Timers, Timestamp,
    bounded::{Book, Cause, Limits, Standing},
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Instant,
};

/// Questions to peers, accounts and DNS under way. Each belongs to a SIP transaction, a peer's request or an HTTP request. A
/// quarter is for what we ask of our own accord and for our operator, a quarter for calls of who has proved an account.
pub(crate) const QUESTIONS: Limits = Limits::new(32 * 1024 * 1024, 50_000).reserving([250, 0, 250, 0]);
/// A question with its texts: an answer of a phone, an AOR.
const QUESTION_BYTES: usize = 640;

/// What an answer continues.
pub(super) enum Pending {
    /// A question of the overlay core, by its own number.
    Overlay(u64),
    /// A question of the receipt core, by its own number.
    Receipts(u64),
    /// A question of the failure detector, by its own number.
    Liveness(u64),
    Auth(AuthQuestion),
    Lookup(LookupQuestion),
    /// Realm records, told to a peer that will tell its own.
    Names {
        of: PeerId,
        /// The realm that it was asked for by name.
        wanted: Option<String>,
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
    /// Is there such an account? What an operator wants depends on it.
    AccountOf(AccountQuestion),
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
    Lease { realm: String, home: PeerId, phone: IpAddr },
    /// A foreign home judges our phone's answer; its grant must be for this and nothing else.
    Home { ask: AskId, answer: Box<Answer>, permit: Permit, phone: IpAddr, home: PeerId, since: Instant },
}

/// What an operator wants of accounts and aliases, and what has to be known before.
pub(super) enum AccountQuestion {
    /// A new account, or another password: is it there?
    Put { api: u64, aor: String, password: Password, roaming: Option<bool> },
    /// Is there one of exactly this name? An earlier version took names that none gets any more.
    Remove { api: u64, name: String },
    /// An alias must not hide an account: this one is asked about, `left` are next.
    Alias { api: u64, alias: String, target: String, aor: String, left: Vec<String> },
}

impl AccountQuestion {
    pub fn api(&self) -> u64 {
        match self {
            AccountQuestion::Put { api, .. }
            | AccountQuestion::Remove { api, .. }
            | AccountQuestion::Alias { api, .. } => *api,
        }
    }
}

/// Where is this AOR, and is there such an account?
pub(super) enum LookupQuestion {
    /// Our own account store says whether the user exists; a call waits.
    Own { ask: AskId, aor: String },
    /// A call, or `dots lookup`, waits for a home.
    Home { who: Waiting, aor: String, left: Vec<PeerId>, home: Silence },
    /// No home answered; the same waits for the DHT.
    Dht { who: Waiting, aor: String, found: Vec<Elsewhere> },
    /// A peer asked us as the home. `is_shown`: it showed the grant of a caller.
    Serve { from: PeerId, inbound: InboundId, aor: String, is_shown: bool },
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

/// A home that was asked and has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    pub home: PeerId,
    /// When it was asked, or was last seen to be there.
    pub since: Instant,
    pub search: Search,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    pub began: Instant,
    /// Nobody was reached where the callee was said to be: the call has waited already.
    pub is_again: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    Call(AskId),
    Api(u64),
}

impl Pending {
    /// Who is charged for it: who made us ask, as far as that costs him anything to be.
    pub fn cause(&self) -> Cause {
        let stranger = Cause::new(Standing::Other);
        match self {
            Pending::Auth(AuthQuestion::Own { phone, .. } | AuthQuestion::Home { phone, .. }) => {
                stranger.from(*phone)
            }
            Pending::Auth(AuthQuestion::Foreign { admitted, .. }) => {
                Cause { network: admitted.via.network, ..stranger }.by(&admitted.via.serving.to_bytes())
            }
            Pending::Auth(AuthQuestion::Lease { realm, phone, .. }) => {
                stranger.from(*phone).of_realm(realm.as_bytes())
            }
            Pending::Lookup(LookupQuestion::Serve { from, .. }) => stranger.by(&from.to_bytes()),
            // A call has passed its caller's home before anybody is looked for.
            Pending::Lookup(
                LookupQuestion::Own { .. }
                | LookupQuestion::Home { who: Waiting::Call(_), .. }
                | LookupQuestion::Dht { who: Waiting::Call(_), .. },
            ) => Cause::new(Standing::Met),
            Pending::Names { of, .. } => stranger.by(&of.to_bytes()),
            Pending::Txt { .. } => stranger,
            Pending::Lookup(
                LookupQuestion::Home { who: Waiting::Api(_), .. }
                | LookupQuestion::Dht { who: Waiting::Api(_), .. }
                | LookupQuestion::Api { .. },
            )
            | Pending::Overlay(_)
            | Pending::Receipts(_)
            | Pending::Liveness(_)
            | Pending::Told
            | Pending::Account { .. }
            | Pending::AccountOf(_)
            | Pending::Journal { .. }
            | Pending::Noted { .. }
            | Pending::Written => Cause::OWN,
        }
    }

    /// Does a phone, a peer or a caller of the API wait for the answer?
    fn is_waited_for(&self) -> bool {
        use Pending::{Liveness, Names, Overlay, Receipts, Told, Txt};
        !matches!(self, Names { .. } | Txt { .. } | Told | Overlay(_) | Receipts(_) | Liveness(_))
    }

    /// Whoever answers one kind of question was given the id of another: ids are given once, so this cannot be.
    pub fn is_no_answer_to(&self, asked: &str) {
        debug_assert!(false, "an answer to {asked} came for another kind of question");
        tracing::error!("an answer to {asked} came for another kind of question");
    }
}

pub(super) struct Asks {
    /// In boxes: a node has room for eleven, and as a rule one question is under way.
    open: BTreeMap<u64, Box<Row>>,
    /// Questions whose asker does not wait for ever: when to look at them.
    due: Timers<u64>,
    book: Book,
    /// DNS questions among them.
    txt: usize,
    last: u64,
    refused: VecDeque<Pending>,
}

struct Row {
    what: Pending,
    /// Of a question, as it was when it was asked. An append is charged to nobody.
    cause: Option<Cause>,
}

impl Default for Asks {
    fn default() -> Asks {
        let (open, due) = (BTreeMap::new(), Timers::default());
        Asks { open, due, book: Book::new(QUESTIONS), txt: 0, last: 0, refused: VecDeque::new() }
    }
}

impl Asks {
    /// A new question; its id goes out with it.
    pub fn ask(&mut self, what: Pending) -> u64 {
        let (cause, weight) = (what.cause(), self.book.weight(QUESTION_BYTES));
        if self.book.admits(cause, weight).is_err() {
            self.refused.push_back(what);
            self.last += 1;
            return self.last;
        }
        self.book.charge(cause, weight);
        self.txt += usize::from(matches!(what, Pending::Txt { .. }));
        self.insert(what, Some(cause))
    }

    /// A record that goes to the disk.
    pub fn append(&mut self, what: Pending) -> u64 {
        self.insert(what, None)
    }

    fn insert(&mut self, what: Pending, cause: Option<Cause>) -> u64 {
        self.last += 1;
        let before = self.open.insert(self.last, Box::new(Row { what, cause }));
        debug_assert!(before.is_none(), "an id is given once");
        self.last
    }

    /// The answer is there: what it continues. `None`: nobody waits for it (any more).
    pub fn answered(&mut self, id: u64) -> Option<Pending> {
        let Row { what, cause } = *self.open.remove(&id)?;
        self.due.cancel(&id);
        if let Some(cause) = cause {
            self.book.discharge(cause, self.book.weight(QUESTION_BYTES));
        }
        if matches!(what, Pending::Txt { .. }) {
            self.txt = self.txt.checked_sub(1).expect("every open DNS question was counted");
        }
        Some(what)
    }

    /// [`Asks::due`] names this question then, unless it was answered.
    pub fn look_at(&mut self, id: u64, at: Instant) {
        if self.open.contains_key(&id) {
            self.due.set(id, at);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.poll_timeout()
    }

    /// A question that has waited until it was to be looked at.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        self.due.expired(now)
    }

    /// A question whose answer comes in parts.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Pending> {
        self.open.get_mut(&id).map(|row| &mut row.what)
    }

    pub fn get(&self, id: u64) -> Option<&Pending> {
        self.open.get(&id).map(|row| &row.what)
    }

    /// A question that found no room: it has failed.
    pub fn take_refused(&mut self) -> Option<Pending> {
        self.refused.pop_front()
    }

    pub fn dns_questions(&self) -> usize {
        self.txt
    }

    pub fn is_quiet(&self) -> bool {
        !self.open.values().any(|row| row.what.is_waited_for())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;
    use std::time::Duration;

    #[test]
    fn an_answer_is_taken_once() {
        let mut asks = Asks::default();
        let (first, second) = (asks.ask(Pending::Overlay(7)), asks.ask(Pending::Txt { name: "a".into() }));
        assert_ne!(first, second);
        assert_eq!(asks.dns_questions(), 1);
        assert!(matches!(asks.answered(first), Some(Pending::Overlay(7))));
        assert!(asks.answered(first).is_none());
        assert!(matches!(asks.answered(second), Some(Pending::Txt { .. })));
        assert_eq!((asks.dns_questions(), asks.book.bytes()), (0, 0));
    }

    fn peer(n: u8) -> PeerId {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
    }

    fn lease(network: u8, realm: u32) -> Pending {
        let (realm, phone) = (format!("{realm}.test"), [10, 0, network, 1].into());
        Pending::Auth(AuthQuestion::Lease { realm, home: peer(1), phone })
    }

    #[test]
    fn a_full_table_refuses_who_filled_it_and_still_takes_appends() {
        let mut asks = Asks::default();
        let ids: Vec<u64> = (0..300_000).map(|n| asks.ask(lease(1, n))).collect();
        let refused = std::iter::from_fn(|| asks.take_refused()).count();
        let kept = ids.len() - refused;
        assert!((20_000..25_000).contains(&kept), "a network alone has most of what is no reserve: {kept}");
        let late = asks.ask(lease(1, 400_000));
        assert!(matches!(asks.take_refused(), Some(Pending::Auth(AuthQuestion::Lease { .. }))));
        assert!(asks.answered(late).is_none(), "nobody waits for a refused question");
        // Nobody else notices.
        let serve = LookupQuestion::Serve { from: peer(2), inbound: 1, aor: String::new(), is_shown: false };
        let own = LookupQuestion::Own { ask: AskId::new(0, 1), aor: String::new() };
        for other in [lease(2, 1), Pending::Lookup(serve), Pending::Lookup(own), Pending::Overlay(1)] {
            asks.ask(other);
            assert!(asks.take_refused().is_none());
        }
        let append = asks.append(Pending::Written);
        assert!(matches!(asks.answered(append), Some(Pending::Written)));
        for id in ids {
            asks.answered(id);
        }
        asks.ask(lease(1, 1));
        assert!(asks.take_refused().is_none(), "room again");
    }

    #[test]
    fn a_question_is_looked_at_once_while_it_is_open() {
        let (mut asks, t0) = (Asks::default(), Instant::now());
        let ids: Vec<u64> = (0..3).map(|n| asks.ask(Pending::Overlay(n))).collect();
        ids.iter().for_each(|id| asks.look_at(*id, t0));
        asks.look_at(ids[2], t0 + Duration::from_secs(1));
        asks.answered(ids[0]);
        asks.look_at(ids[0], t0);
        assert_eq!((asks.due(t0), asks.due(t0)), (Some(ids[1]), None));
        asks.answered(ids[2]);
        assert_eq!(asks.poll_timeout(), None);
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
