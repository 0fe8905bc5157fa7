//! Where a home let its phones register elsewhere, until the serving peer's log says so itself. A 200 that a phone got there
//! is our promise too: where parts of that log were dropped on the way to us, our grant counts until it ends.

use dots_wire::{Hash, PeerId, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Roaming phones whose grants we remember; at the limit the oldest goes.
const ROAMING_MAX: usize = 200_000;
/// A serving peer whose log reaches us, and that has not said in it by then what we granted, has bound nothing: our answer
/// was lost, or the phone took leave.
const ROAMING_UNHEARD: Duration = Duration::from_secs(1);

/// Where we let phones of our realms register elsewhere. The serving peer's log says the same a moment later, and from
/// then on that is what counts, for it also says when the phone has gone.
#[derive(Default)]
pub struct Roaming {
    at: BTreeMap<String, BTreeMap<PeerId, Granted>>,
    order: VecDeque<(String, PeerId)>,
}

#[derive(Clone, Copy)]
struct Granted {
    until: Timestamp,
    /// The newest entry of the serving peer's log that we had then.
    head: Option<Hash>,
    at: Timestamp,
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
        while self.order.len() >= ROAMING_MAX {
            if let Some((aor, serving)) = self.order.pop_front() {
                self.forget(&aor, Some(serving));
            }
        }
        let peers = self.at.entry(aor.to_owned()).or_default();
        if peers.insert(serving, Granted { until, head, at: now }).is_none() {
            self.order.push_back((aor.to_owned(), serving));
        }
    }

    /// The password has changed, or the account is gone; or just this peer is out.
    pub fn forget(&mut self, aor: &str, serving: Option<PeerId>) {
        match serving {
            None => {
                self.at.remove(aor);
            }
            Some(serving) => {
                if let Some(peers) = self.at.get_mut(aor) {
                    peers.remove(&serving);
                    if peers.is_empty() {
                        self.at.remove(aor);
                    }
                }
            }
        }
    }

    /// Serving peers of which we do not know better, by what we have of their logs.
    pub fn of(
        &self,
        aor: &str,
        now: Timestamp,
        heard: impl Fn(PeerId) -> Heard,
    ) -> impl Iterator<Item = (PeerId, Timestamp)> {
        let peers = self.at.get(aor).into_iter().flatten();
        let unheard = peers.filter(move |(peer, granted)| {
            let Heard { head, in_part } = heard(**peer);
            let is_silent = now.since(granted.at) < ROAMING_UNHEARD && granted.head == head;
            granted.until > now && (in_part || is_silent)
        });
        unheard.map(|(peer, granted)| (*peer, granted.until))
    }
}

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
        roaming.forget("alice@a.net", None);
        assert_eq!(known(&roaming, 50, 7), 0);
    }
}
