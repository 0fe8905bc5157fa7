//! What others say of names: records, and DNS. What we came to believe is written down.

use super::{
    super::{
        Output, Stream,
        asks::Pending,
        messages::{LookupRequest, VERSION},
        notes::{self, Note},
    },
    Namer,
};
use dots_overlay::{
    names::{Belief, Change, Heard, Known, Refused, Teller},
    transport::Protocol,
};
use dots_wire::{
    Allowance, PeerId, Signed, TokenBucket,
    bounded::{Cause, Limits, Standing},
    encode,
};
use std::time::Duration;

/// Neighbours that hear of a newer record from us; they pass it on.
const NEWS_MAX: usize = 8;
/// Realms that nobody here uses, of one network; networks remembered.
const NEWS: Allowance = Allowance::new(0.02, 100.0);
pub(crate) const NEWS_TOLD: Limits = Limits::new(512 * 1024, 4_096);
/// Questions to DNS at once, names remembered that were asked about, and the time between two about one name.
const DNS_ASKED_MAX: usize = 16;
pub(crate) const DNS_NAMES: Limits = Limits::new(512 * 1024, 1_000);
const DNS_AGAIN: Duration = Duration::from_secs(600);

/// Who wants a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nobody: it is told.
    No,
    /// Whoever calls here, as his peer says.
    ByCall,
    /// A phone here, or this peer itself.
    Here,
}

impl Namer<'_> {
    /// A record that the authenticated peer `from` told us.
    pub fn accept(&mut self, from: PeerId, record: &Signed, wanted: Wanted) -> Option<Refused> {
        let network = (from != self.me).then(|| self.network(from));
        let teller = Teller { peer: from, network, is_asked: wanted != Wanted::No };
        match self.realms.accept(record, teller, self.now.wall) {
            Ok(Heard::Changed(changes)) => {
                for change in changes {
                    if let Change::Set(name, known) = &change {
                        self.ask_dns(name);
                        if known.belief == Belief::Unclaimed {
                            let rivals = known.rivals.len();
                            tracing::info!(%name, key = %known.key, rivals, %from, "heard a realm that nobody vouches for");
                        }
                        self.trust_homes(known);
                        self.pass_on(name, from, known, wanted);
                    }
                    self.remember(Some(change));
                }
            }
            Ok(Heard::AskDns(name)) => self.ask_dns(&name),
            Ok(Heard::Known) => {}
            Err(why) => {
                self.outside.count("realm_refused");
                tracing::debug!(%from, %why, "a realm record was not believed");
                return Some(why);
            }
        }
        None
    }

    /// Whose is the name, by DNS? Few at once, and seldom about one name: anybody can make us ask.
    fn ask_dns(&mut self, name: &str) {
        let asked = self.asking.dns_asked.get(name).copied();
        let may = asked.is_none_or(|at| self.now.mono.saturating_duration_since(at) >= DNS_AGAIN)
            && self.realms.wants_txt(name)
            && self.outside.asks.dns_questions() < DNS_ASKED_MAX;
        if may {
            let cause = Cause::new(Standing::Other).of_realm(name.as_bytes());
            self.asking.dns_asked.insert(cause, name.to_owned(), self.now.mono);
            let id = self.outside.ask(Pending::Txt { name: name.to_owned() });
            self.outside.put(Output::LookupTxt { id, name: format!("_dots.{name}") });
        }
    }

    /// Homes of realms that are ours or that the operator vouches for may say more in their logs than strangers.
    pub(super) fn trust_homes(&mut self, known: &Known) {
        if let (Belief::Own | Belief::Pinned, Some(record)) = (known.belief, known.read()) {
            self.overlay.favour(known.key.label());
            for home in record.homes.clone() {
                self.overlay.trust(home);
            }
        }
    }

    /// LOOKUP-2: a record that is newer than ours: neighbours that are not the home's may not have it either. Realms that nobody
    /// here uses are passed on too, but few of those that one network tells: else whoever makes up a thousand names would make
    /// us spend at our neighbours what we may tell them.
    fn pass_on(&mut self, name: &str, from: PeerId, known: &Known, wanted: Wanted) {
        let Some(record) = known.record.clone().filter(|_| from != self.me) else { return };
        let is_vouched = matches!(known.belief, Belief::Own | Belief::Pinned | Belief::Txt);
        let is_used = is_vouched || wanted == Wanted::Here || self.met.is_met(name, self.now);
        if !is_used && !self.may_tell(self.network(from)) {
            return self.outside.count("realms_not_passed_on");
        }
        let body = encode(&LookupRequest::News { version: VERSION, record });
        let others: Vec<PeerId> =
            self.neighbours.iter().map(|(peer, _)| peer).filter(|p| *p != from).take(NEWS_MAX).collect();
        for peer in others {
            self.outside.request(Pending::Told, peer, Protocol::Lookup, body.clone());
        }
    }

    fn may_tell(&mut self, network: u64) -> bool {
        let now = self.now.mono;
        if let Some(bucket) = self.asking.news.get_mut(&network) {
            return bucket.take(now, NEWS, 1.0);
        }
        let mut bucket = TokenBucket::default();
        let may = bucket.take(now, NEWS, 1.0);
        self.asking.news.insert(Cause { network, ..Cause::new(Standing::Other) }, network, bucket);
        may
    }

    pub fn on_txt(&mut self, id: u64, records: &[String]) {
        if let Some(Pending::Txt { name }) = self.outside.asks.answered(id) {
            let change = self.realms.heard_txt(&name, records, self.now.wall);
            self.remember(change);
        }
    }

    /// Writes a change of belief down.
    pub(super) fn remember(&mut self, change: Option<Change>) {
        if let Some(change) = change {
            self.believed(&change);
            let record = encode(&Note::Realm { version: notes::VERSION, change });
            self.outside.append(Pending::Written, Stream::Realms, record, true);
        }
    }

    /// What we know is another thing now, and so is its digest; who waits for this realm is told.
    pub(super) fn believed(&mut self, change: &Change) {
        self.asking.digest = None;
        if let Change::Set(_, known) = change {
            self.overlay.realm_known(self.now, known.key.label());
        }
        if let Change::Set(name, _) = change
            && self.realms.lookup(name, self.now.wall).is_some()
        {
            self.asking.searches.release(name);
        }
    }
}
