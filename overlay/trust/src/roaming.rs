//! Where a home let its phones register elsewhere, until the serving peer's log says so itself. A 200 that a phone got there
//! is our promise too: where parts of that log were dropped on the way to us, our grant counts until it ends.

use dots_wire::{
    Hash, PeerId, PublicKey, Timestamp,
    bounded::{Cache, Cause, Limits, Standing, Weight},
};
use std::time::Duration;

/// Roaming phones whose grants we remember, each charged to its account: one that registers everywhere loses its own.
pub(crate) const ROAMING: Limits = Limits::new(12 << 20, 65_536);
/// A serving peer whose log reaches us, and that has not said in it by then what we granted, has bound nothing: our answer
/// was lost, or the phone took leave.
const ROAMING_UNHEARD: Duration = Duration::from_secs(1);

/// Where we let phones of our realms register elsewhere. The serving peer's log says the same a moment later, and from
/// then on that is what counts, for it also says when the phone has gone.
pub struct Roaming {
    /// By the name of the AOR, so that its serving peers stand together.
    at: Cache<(u64, PeerId), Granted>,
}

impl Default for Roaming {
    fn default() -> Roaming {
        Roaming { at: Cache::new(ROAMING) }
    }
}

#[derive(Clone, Copy)]
struct Granted {
    until: Timestamp,
    /// The newest entry of the serving peer's log that we had then.
    head: Option<Hash>,
    at: Timestamp,
}

impl Weight for Granted {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// What we have of a serving peer's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// The newest entry.
    pub head: Option<Hash>,
    /// What it says of some realm is missing.
    pub in_part: bool,
}

impl Roaming {
    pub fn granted(
        &mut self,
        now: Timestamp,
        aor: &str,
        serving: PeerId,
        until: Timestamp,
        head: Option<Hash>,
    ) {
        let cause = Cause::new(Standing::Own).by(aor.as_bytes());
        self.at.insert(cause, (cause.who, serving), Granted { until, head, at: now });
    }

    /// The password has changed, or the account is gone.
    pub fn forget(&mut self, aor: &str) {
        let gone: Vec<(u64, PeerId)> = self.granted_to(aor).map(|(place, _)| *place).collect();
        for place in gone {
            self.at.remove(&place);
        }
    }

    fn granted_to(&self, aor: &str) -> impl Iterator<Item = (&(u64, PeerId), &Granted)> {
        let name = Cause::name(aor.as_bytes());
        self.at.range((name, LOWEST)..=(name, HIGHEST))
    }

    /// Serving peers of which we do not know better, by what we have of their logs.
    pub fn of(
        &self,
        aor: &str,
        now: Timestamp,
        heard: impl Fn(PeerId) -> Heard,
    ) -> impl Iterator<Item = (PeerId, Timestamp)> {
        let unheard = self.granted_to(aor).filter(move |((_, peer), granted)| {
            let Heard { head, in_part } = heard(*peer);
            let is_silent = now.since(granted.at) < ROAMING_UNHEARD && granted.head == head;
            granted.until > now && (in_part || is_silent)
        });
        unheard.map(|((_, peer), granted)| (*peer, granted.until))
    }
}

/// No peer is before the one, or behind the other.
const LOWEST: PeerId = PeerId(PublicKey([0; 33]));
const HIGHEST: PeerId = PeerId(PublicKey([255; 33]));

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    #[test]
    fn a_home_knows_where_it_let_its_phones_go() {
        let mut roaming = Roaming::default();
        let peer = SecretKey::from_bytes(&[3; 32]).expect("a scalar").peer_id();
        roaming.granted(Timestamp(0), "alice@a.net", peer, Timestamp(100), Some(Hash([7; 32])));
        let known = |r: &Roaming, at: u64, head: u8| {
            let heard = Heard { head: Some(Hash([head; 32])), in_part: false };
            r.of("alice@a.net", Timestamp(at), |_| heard).count()
        };
        assert_eq!(known(&roaming, 50, 7), 1);
        assert_eq!(known(&roaming, 50, 8), 0, "its log speaks for itself now");
        assert_eq!(known(&roaming, 100, 7), 0);
        roaming.granted(Timestamp(0), "alice@a.net", peer, Timestamp(3_600_000), None);
        let heard = Heard { head: Some(Hash([7; 32])), in_part: true };
        let in_part = |r: &Roaming, at: u64| r.of("alice@a.net", Timestamp(at), |_| heard).count();
        assert_eq!(known(&roaming, 1_500, 7), 0, "the log reaches us and does not say it");
        assert_eq!(in_part(&roaming, 3_599_999), 1, "what it says did not all reach us");
        assert_eq!(in_part(&roaming, 3_600_000), 0);
        roaming.forget("alice@a.net");
        assert_eq!(known(&roaming, 50, 7), 0);
    }

    /// One account that is right at ever new peers fills the table alone.
    #[test]
    fn an_account_that_roams_everywhere_forgets_its_own_places() {
        let mut roaming = Roaming::default();
        let peer = |n: u32| {
            let mut key = [2; 33];
            key[1..5].copy_from_slice(&n.to_be_bytes());
            PeerId(PublicKey(key))
        };
        let go = |r: &mut Roaming, aor: &str, n: u32| {
            r.granted(Timestamp(0), aor, peer(n), Timestamp(3_600_000), None);
        };
        let heard = Heard { head: None, in_part: true };
        go(&mut roaming, "alice@a.net", 1);
        (0..100_000).for_each(|n| go(&mut roaming, "mallory@a.net", n));
        assert!(roaming.at.len() <= 65_536 && roaming.at.bytes() <= ROAMING.bytes);
        go(&mut roaming, "bob@a.net", 2);
        for (aor, place) in [("alice@a.net", 1), ("bob@a.net", 2), ("mallory@a.net", 99_999)] {
            let mut at = roaming.of(aor, Timestamp(1), |_| heard).map(|(peer, _)| peer);
            assert!(at.any(|at| at == peer(place)), "{aor}");
        }
        assert!(roaming.of("mallory@a.net", Timestamp(1), |_| heard).all(|(at, _)| at != peer(0)));
    }
}
