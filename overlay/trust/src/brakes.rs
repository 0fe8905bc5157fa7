//! How often a password may be guessed at: the brakes of a home (AUTH-6).
//!
//! Every answer takes a token before it is judged, and a right one gives it back; so what counts is wrong answers, and a
//! thousand at once are no more than one after the other. Who pays depends on what the home has seen in the last 30 days:
//!
//! ```text
//!   the answer came through   a right answer before?          it is charged to
//!   ───────────────────────   ─────────────────────────────   ──────────────────────────────────────────────
//!   the home itself           from this address               (account, address): a bucket of its own
//!                             no                              the account at home; the address's network [*]
//!   a serving peer            from this address through it    (account, peer, address): a bucket of its own
//!                             through it                      (account, peer)
//!                             no                              the account among strangers; this address at that peer; the
//!                                                             peer, or what it has for addresses without a fault; its
//!                                                             network [*]
//!
//!   [*] where the account's bucket is empty: what it has for networks that did not try it lately; (account, network)
//! ```
//!
//! So others' guesses lock nobody out of a place where he has been before, never out of his home by way of other
//! peers, and no guesser closes the peer that he sits at for the phones beside him: his own address is empty first (and his
//! serving peer stops him before, `visitors.rs`). No bucket is everybody's. The address that a serving peer names is its
//! word alone: a peer that makes addresses up has what it has for faultless ones once more, and no more of any account.
//! Where an account has been right elsewhere is written down ([`Familiar`]): after a restart nobody is a stranger.

mod been;
pub(crate) use been::{PLACE_BYTES, PLACES};

use been::Been;
pub use been::Familiar;
use dots_wire::{
    Allowance, Hash, Now, PeerId, Timestamp, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing, Weight},
    sha256,
};
use std::time::Instant;

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
/// What one account has besides for networks that did not guess at it lately, when its own bucket is empty: else one guess in
/// five seconds, from anywhere, would shut it out of every new place for good.
const ACCOUNT_SPARED: Allowance = Allowance::new(0.2, 10.0);
/// One network at one account, then: two tries, and another after eight minutes. So it takes a hundred networks to shut an
/// account out.
const TRIES: Allowance = Allowance::new(0.002, 2.0);
/// One network of phones at home: an office behind one address, whose phones have an old password.
const NETWORK_AT_HOME: Allowance = Allowance::new(1.0, 60.0);
/// One serving peer that never brought a right answer for this account, and the network that it is in.
const PEER: Allowance = Allowance::new(1.0, 30.0);
const PEER_NETWORK: Allowance = Allowance::new(4.0, 60.0);
/// What it has besides for addresses that gave no wrong answer of late, when its own bucket is empty.
const FAULTLESS: Allowance = Allowance::new(1.0, 30.0);
/// One address at a serving peer, as that peer calls it.
const SOURCE: Allowance = Allowance::new(0.1, 10.0);

/// Buckets that are not full.
pub(crate) const BUCKETS: Limits = Limits::new(8 << 20, 50_000);

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

    /// Beside its account, which a stranger does not choose.
    fn short(self) -> u64 {
        self.0.iter().take(8).fold(0, |n, byte| (n << 8) | u64::from(*byte))
    }
}

/// The names are hashes: whatever a stranger writes takes as much room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Payer {
    Place(Place),
    Pair(Place),
    AtHome(u64),
    Elsewhere(u64),
    SparedAtHome(u64),
    SparedElsewhere(u64),
    /// Account and network.
    Tries(u64, u64),
    NetworkAtHome(u64),
    Source(Place),
    Peer(PeerId),
    Faultless(PeerId),
    PeerNetwork(u64),
}

impl Payer {
    fn allowance(self) -> Allowance {
        match self {
            Payer::Place(..) | Payer::Pair(..) => FAMILIAR,
            Payer::AtHome(_) => ACCOUNT_AT_HOME,
            Payer::Elsewhere(_) => ACCOUNT_ELSEWHERE,
            Payer::SparedAtHome(_) | Payer::SparedElsewhere(_) => ACCOUNT_SPARED,
            Payer::Tries(..) => TRIES,
            Payer::NetworkAtHome(_) => NETWORK_AT_HOME,
            Payer::Source(_) => SOURCE,
            Payer::Peer(_) => PEER,
            Payer::Faultless(_) => FAULTLESS,
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
    /// Too much comes from there: later.
    Strangers,
}

/// What a judged answer was charged to.
#[derive(Clone, Copy, Debug)]
pub struct Charged {
    payers: [Option<Payer>; 5],
}

pub struct Brakes {
    been: Been,
    buckets: Cache<Payer, Bucket>,
}

impl Default for Brakes {
    fn default() -> Brakes {
        Brakes { been: Been::default(), buckets: Cache::new(BUCKETS) }
    }
}

impl Brakes {
    /// May an answer for `account` be judged? It is charged as if it were wrong.
    pub fn take(&mut self, now: Now, account: &str, via: &Via) -> Result<Charged, Braked> {
        let name = Cause::name(account.as_bytes());
        let charged = self.payers(now, name, via);
        for payer in charged.payers.into_iter().flatten() {
            if !self.has(now.mono, payer) {
                use Payer::{Faultless, NetworkAtHome, Peer, PeerNetwork, Source, Tries};
                // Who guesses at an account that has nothing left has emptied it himself.
                let is_spared = charged.payers.iter().flatten().any(|payer| matches!(payer, Tries(..)));
                let is_place = match payer {
                    Source(_) => !is_spared,
                    Peer(_) | Faultless(_) | PeerNetwork(_) | NetworkAtHome(_) => true,
                    _ => false,
                };
                return Err(if is_place { Braked::Strangers } else { Braked::Account });
            }
        }
        self.charge(now.mono, charged, via, 1.0);
        Ok(charged)
    }

    fn has(&self, now: Instant, payer: Payer) -> bool {
        self.buckets.get(&payer).is_none_or(|bucket| bucket.0.has(now, payer.allowance(), 1.0))
    }

    /// The answer was right: it cost nothing, and its place is a familiar one from now on. What is returned is to be written
    /// down, at most once a day for each account and peer.
    pub fn was_right(&mut self, now: Now, account: &str, via: &Via, charged: Charged) -> Option<Familiar> {
        self.charge(now.mono, charged, via, -1.0);
        let name = Cause::name(account.as_bytes());
        let pair = (!via.is_home).then(|| Place::at(name, via.serving, None));
        self.been.was_right(now.wall, name, Place::at(name, via.serving, Some(via.source)));
        let is_new = pair.is_some_and(|pair| self.been.was_right(now.wall, name, pair));
        let place = pair.filter(|_| is_new)?;
        Some(Familiar { account: name, place: place.short(), hour: been::hour(now.wall) })
    }

    /// What an earlier life has written down.
    pub fn recall(&mut self, now: Timestamp, familiar: &Familiar) {
        self.been.recall(now, familiar);
    }

    /// It could not be judged: nobody guessed anything.
    pub fn was_not_judged(&mut self, now: Now, via: &Via, charged: Charged) {
        self.charge(now.mono, charged, via, -1.0);
    }

    fn payers(&self, now: Now, name: u64, via: &Via) -> Charged {
        let been = |place: Place| self.been.knows(now.wall, name, place);
        let place = Place::at(name, via.serving, Some(via.source));
        let pair = Place::at(name, via.serving, None);
        let payers = match via.is_home {
            _ if been(place) => [Some(Payer::Place(place)), None, None, None, None],
            true => {
                let [account, tries] =
                    self.of_account(now, name, via, [Payer::AtHome(name), Payer::SparedAtHome(name)]);
                [account, tries, Some(Payer::NetworkAtHome(via.network)), None, None]
            }
            false if been(pair) => [Some(Payer::Pair(pair)), None, None, None, None],
            false => {
                let [account, tries] =
                    self.of_account(now, name, via, [Payer::Elsewhere(name), Payer::SparedElsewhere(name)]);
                let source = Payer::Source(Place::at(0, via.serving, Some(via.source)));
                let faultless = |b: &Bucket| b.0.is_full(now.mono, SOURCE);
                let peer = match self.has(now.mono, Payer::Peer(via.serving)) {
                    false if self.buckets.get(&source).is_none_or(faultless) => Payer::Faultless(via.serving),
                    _ => Payer::Peer(via.serving),
                };
                [account, tries, Some(source), Some(peer), Some(Payer::PeerNetwork(via.network))]
            }
        };
        Charged { payers }
    }

    /// What an account pays with that was never right there: its own bucket, or, where others have emptied that, what it has for
    /// networks that did not try it lately.
    fn of_account(&self, now: Now, name: u64, via: &Via, [own, spared]: [Payer; 2]) -> [Option<Payer>; 2] {
        match self.has(now.mono, own) {
            true => [Some(own), None],
            false => [Some(spared), Some(Payer::Tries(name, via.network))],
        }
    }

    fn charge(&mut self, now: Instant, charged: Charged, via: &Via, tokens: f64) {
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
