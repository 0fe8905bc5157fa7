//! How often a password may be guessed at: the brakes of a home (AUTH-6; attacks 6 and 22).
//!
//! Every answer takes a token before it is judged, and a right one gives it back; so what counts is wrong answers, and a
//! thousand at once are no more than one after the other. Who pays depends on what the home has seen in the last 30 days:
//!
//! ```text
//!   the answer came through   a right answer before?          it is charged to
//!   ───────────────────────   ─────────────────────────────   ──────────────────────────────────────────────
//!   the home itself           from this address               (account, address): a bucket of its own
//!                             no                              the account at home; the address's network
//!   a serving peer            from this address through it    (account, peer, address): a bucket of its own
//!                             through it                      (account, peer)
//!                             no                              the account among strangers; the peer; its network;
//!                                                             all strangers together
//! ```
//!
//! So others' guesses lock nobody out of a place where he has been before, and never out of his home by way of other
//! peers. The address that a serving peer names is its word alone: it can spare, and never resets anything.

use dots_wire::{
    Allowance, Hash, Now, PeerId, Timestamp, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight},
    sha256,
};
use std::time::{Duration, Instant};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    pub serving: PeerId,
    /// Is that this very home?
    pub is_home: bool,
    /// The phone's address, as the serving peer calls it.
    pub source: Hash,
    /// Network of the phone at home, of the serving peer elsewhere ([`dots_wire::bounded::network_of`]).
    pub network: u64,
}

/// A place where an account has been: five slips at once, then one in ten seconds.
const FAMILIAR: Allowance = Allowance::new(0.1, 6.0);
/// One account, by whoever was never right before: all of them together make less than one guess in two seconds.
const ACCOUNT_AT_HOME: Allowance = Allowance::new(0.2, 10.0);
const ACCOUNT_ELSEWHERE: Allowance = Allowance::new(0.2, 10.0);
/// One network of phones at home: an office behind one address, whose phones have an old password.
const NETWORK_AT_HOME: Allowance = Allowance::new(1.0, 60.0);
/// One serving peer that never brought a right answer for this account, and the network that it is in.
const PEER: Allowance = Allowance::new(1.0, 30.0);
const PEER_NETWORK: Allowance = Allowance::new(4.0, 60.0);
/// All of them together.
const STRANGERS: Allowance = Allowance::new(20.0, 200.0);

/// A right answer is remembered so long.
const FAMILIAR_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Places of accounts (about 230 bytes each with their cause), and buckets that are not full.
const PLACES: Limits = Limits::new(32 << 20, 200_000);
const BUCKETS: Limits = Limits::new(16 << 20, 100_000);

/// Where an account gave answers: (account, serving peer, its name of the address), or (account, serving peer). 128 bits of the hash:
/// every phone has one or two, so they are short, and nobody finds another that is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place([u8; 16]);

impl Place {
    fn at(account: u64, serving: PeerId, source: Option<Hash>) -> Place {
        let (account, key) = (account.to_be_bytes(), serving.0.0);
        let text = match &source {
            Some(source) => [account.as_slice(), &key, &source.0].concat(),
            None => [account.as_slice(), &key].concat(),
        };
        let hash = sha256(&text);
        Place(std::array::from_fn(|i| hash.0[i]))
    }
}

impl Weight for Place {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The names are hashes: whatever a stranger writes takes as much room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Payer {
    Place(Place),
    Pair(Place),
    AtHome(u64),
    Elsewhere(u64),
    NetworkAtHome(u64),
    Peer(PeerId),
    PeerNetwork(u64),
}

impl Payer {
    fn allowance(self) -> Allowance {
        match self {
            Payer::Place(..) | Payer::Pair(..) => FAMILIAR,
            Payer::AtHome(_) => ACCOUNT_AT_HOME,
            Payer::Elsewhere(_) => ACCOUNT_ELSEWHERE,
            Payer::NetworkAtHome(_) => NETWORK_AT_HOME,
            Payer::Peer(_) => PEER,
            Payer::PeerNetwork(_) => PEER_NETWORK,
        }
    }
}

impl Weight for Payer {
    fn heap_bytes(&self) -> usize {
        0
    }
}

struct Bucket(TokenBucket);

impl Weight for Bucket {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Whose bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Braked {
    /// This account was tried too often from there: trying again at once does not help.
    Account,
    /// Too much comes from there, or from strangers at all: later.
    Strangers,
}

/// What a judged answer was charged to.
#[derive(Clone, Copy, Debug)]
pub struct Charged {
    payers: [Option<Payer>; 3],
    is_stranger: bool,
}

pub struct Brakes {
    /// Where accounts gave right answers, and when last.
    been: Cache<Place, Timestamp>,
    buckets: Cache<Payer, Bucket>,
    strangers: TokenBucket,
}

impl Default for Brakes {
    fn default() -> Brakes {
        Brakes { been: Cache::new(PLACES), buckets: Cache::new(BUCKETS), strangers: TokenBucket::default() }
    }
}

impl Brakes {
    /// May an answer for `account` be judged? It is charged as if it were wrong.
    pub fn take(&mut self, now: Now, account: &str, via: &Via) -> Result<Charged, Braked> {
        let name = Cause::name(account.as_bytes());
        let charged = self.payers(now.wall, name, via);
        if charged.is_stranger && !self.strangers.has(now.mono, STRANGERS, 1.0) {
            return Err(Braked::Strangers);
        }
        for payer in charged.payers.into_iter().flatten() {
            let has = |b: &Bucket| b.0.has(now.mono, payer.allowance(), 1.0);
            if !self.buckets.get(&payer).is_none_or(has) {
                let is_account =
                    !matches!(payer, Payer::NetworkAtHome(_) | Payer::Peer(_) | Payer::PeerNetwork(_));
                return Err(if is_account { Braked::Account } else { Braked::Strangers });
            }
        }
        self.charge(now.mono, charged, via, 1.0);
        Ok(charged)
    }

    /// The answer was right: it cost nothing, and its place is a familiar one from now on.
    pub fn was_right(&mut self, now: Now, account: &str, via: &Via, charged: Charged) {
        self.charge(now.mono, charged, via, -1.0);
        let name = Cause::name(account.as_bytes());
        let cause = Cause::new(Standing::Other).by(account.as_bytes());
        let pair = (!via.is_home).then(|| Place::at(name, via.serving, None));
        for place in [Some(Place::at(name, via.serving, Some(via.source))), pair].into_iter().flatten() {
            // Written again only when it has aged: a refresh each minute is no work.
            let is_recent = |at: &Timestamp| now.wall.since(*at) < FAMILIAR_FOR / 30;
            if !self.been.get(&place).is_some_and(is_recent) {
                self.been.insert(cause, place, now.wall);
            }
        }
    }

    /// It could not be judged: nobody guessed anything.
    pub fn was_not_judged(&mut self, now: Now, via: &Via, charged: Charged) {
        self.charge(now.mono, charged, via, -1.0);
    }

    fn payers(&self, now: Timestamp, name: u64, via: &Via) -> Charged {
        let been = |p: Place| self.been.get(&p).is_some_and(|at| now.since(*at) < FAMILIAR_FOR);
        let place = Place::at(name, via.serving, Some(via.source));
        let pair = Place::at(name, via.serving, None);
        let known = |payers| Charged { payers, is_stranger: false };
        match via.is_home {
            _ if been(place) => known([Some(Payer::Place(place)), None, None]),
            true => known([Some(Payer::AtHome(name)), Some(Payer::NetworkAtHome(via.network)), None]),
            false if been(pair) => known([Some(Payer::Pair(pair)), None, None]),
            false => Charged {
                payers: [
                    Some(Payer::Elsewhere(name)),
                    Some(Payer::Peer(via.serving)),
                    Some(Payer::PeerNetwork(via.network)),
                ],
                is_stranger: true,
            },
        }
    }

    fn charge(&mut self, now: Instant, charged: Charged, via: &Via, tokens: f64) {
        if charged.is_stranger {
            self.strangers.charge(now, STRANGERS, tokens);
        }
        let cause = Cause { network: via.network, ..Cause::new(Standing::Other) };
        for payer in charged.payers.into_iter().flatten() {
            match self.buckets.get_mut(&payer) {
                Some(bucket) => bucket.0.charge(now, payer.allowance(), tokens),
                None if tokens > 0.0 => {
                    let mut bucket = TokenBucket::default();
                    bucket.charge(now, payer.allowance(), tokens);
                    self.buckets.insert(cause, payer, Bucket(bucket));
                }
                None => {}
            }
        }
    }

    /// Forgets buckets that are full again.
    pub fn sweep(&mut self, now: Instant) {
        self.buckets.retain(|payer, bucket| !bucket.0.is_full(now, payer.allowance()));
    }
}

#[cfg(test)]
mod tests;
