//! Where accounts gave right answers, and when last: 30 bytes for each place, for every phone has one or two.
//!
//! Only who knows an account's password makes it a place, so the table is as large as the operator's accounts let it be; one
//! account has a few, and its oldest makes way. Full, it takes somebody's: who is not remembered pays as a newcomer does.

use super::Place;
use dots_wire::Timestamp;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{collections::BTreeMap, time::Duration};

/// A right answer is remembered so long, give or take an hour.
pub const FAMILIAR_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Written again only when it has aged so much: a refresh each minute is no work.
const AGED_H: u32 = 24;
/// Places of one account: its phones at home and where they go.
const PER_ACCOUNT: usize = 32;
/// About 16 MB.
pub(crate) const PLACES: usize = if cfg!(test) { 1_000 } else { 500_000 };
/// In a map whose nodes are half full, as those of one that grows in no order are.
pub(crate) const PLACE_BYTES: usize = 32;

/// An account was right through a serving peer: what is written down, so that it is no stranger there after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Familiar {
    pub(super) account: u64,
    pub(super) place: u64,
    pub(super) hour: u32,
}

impl Familiar {
    /// A later word about one of these stands for the earlier ones.
    pub fn name(&self) -> (u64, u64) {
        (self.account, self.place)
    }

    /// Not so long ago that it is a stranger's again?
    pub fn is_live(&self, now: Timestamp) -> bool {
        is_familiar(self.hour, now)
    }
}

#[derive(Default)]
pub struct Been {
    /// (account, place): the hour of the last right answer.
    places: BTreeMap<(u64, u64), u32>,
}

impl Been {
    pub fn knows(&self, now: Timestamp, account: u64, place: Place) -> bool {
        self.places.get(&(account, place.short())).is_some_and(|at| is_familiar(*at, now))
    }

    /// `true`: it was not known, or it has aged.
    pub fn was_right(&mut self, now: Timestamp, account: u64, place: Place) -> bool {
        let key = (account, place.short());
        if self.places.get(&key).is_some_and(|at| hour(now).saturating_sub(*at) < AGED_H) {
            return false;
        }
        self.put(now, key, hour(now));
        true
    }

    pub fn recall(&mut self, now: Timestamp, familiar: &Familiar) {
        if familiar.is_live(now) {
            self.put(now, familiar.name(), familiar.hour);
        }
    }

    fn put(&mut self, now: Timestamp, key: (u64, u64), at: u32) {
        self.places.remove(&key);
        self.make_room(now, key.0);
        self.places.insert(key, at);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    fn make_room(&mut self, now: Timestamp, account: u64) {
        let of_account = |places: &BTreeMap<(u64, u64), u32>| -> Vec<((u64, u64), u32)> {
            let range = places.range((account, 0)..=(account, u64::MAX));
            range.map(|(key, at)| (*key, *at)).collect()
        };
        for (key, _) in of_account(&self.places).iter().filter(|(_, at)| !is_familiar(*at, now)) {
            self.places.remove(key);
        }
        let left = of_account(&self.places);
        let oldest = left.iter().min_by_key(|(_, at)| *at).filter(|_| left.len() >= PER_ACCOUNT);
        if let Some((oldest, _)) = oldest {
            self.places.remove(oldest);
        }
        if self.places.len() >= PLACES {
            // Names are hashes, so the next one is anybody's.
            let next = self.places.range((account.wrapping_add(1), 0)..).next().map(|(key, _)| *key);
            let next = next.or_else(|| self.places.first_key_value().map(|(key, _)| *key));
            next.and_then(|key| self.places.remove(&key));
        }
    }
}

pub fn hour(at: Timestamp) -> u32 {
    u32::try_from(at.0 / 3_600_000).unwrap_or(u32::MAX)
}

fn is_familiar(at: u32, now: Timestamp) -> bool {
    u64::from(hour(now).saturating_sub(at)) * 3_600 < FAMILIAR_FOR.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn place(n: u64) -> Place {
        Place(std::array::from_fn(|i| n.to_be_bytes().get(i).copied().unwrap_or_default()))
    }

    #[test]
    fn an_account_takes_its_own_oldest_places() {
        let mut been = Been::default();
        been.was_right(NOW, 7, place(0));
        for n in 0..1_000 {
            let now = NOW.plus(Duration::from_secs(n * 3_600 / 10));
            been.was_right(now, 8, place(n));
        }
        let late = NOW.plus(Duration::from_secs(100 * 3_600));
        assert!(been.knows(late, 7, place(0)) && !been.knows(late, 7, place(1)));
        let known: Vec<u64> = (0..1_000).filter(|n| been.knows(late, 8, place(*n))).collect();
        assert_eq!(known.len(), PER_ACCOUNT);
        assert!(known.iter().all(|n| *n > 950), "the newest: {known:?}");
        let over = NOW.plus(FAMILIAR_FOR + Duration::from_secs(3_600));
        assert!(!been.knows(over, 7, place(0)));
        been.was_right(over, 7, place(9));
        assert_eq!(been.places.range((7, 0)..(8, 0)).count(), 1, "what is forgotten leaves");
    }

    #[test]
    fn a_full_table_takes_a_newcomer_in() {
        let mut been = Been::default();
        for account in 0..3 * PLACES as u64 {
            been.was_right(NOW, account.wrapping_mul(0x9E37_79B9_7F4A_7C15), place(1));
            assert!(been.places.len() <= PLACES);
            assert!(been.knows(NOW, account.wrapping_mul(0x9E37_79B9_7F4A_7C15), place(1)));
        }
    }
}
