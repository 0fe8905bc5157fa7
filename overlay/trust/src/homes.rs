//! Which home is asked: the one place that picks.
//!
//! A realm names up to eight homes. Whoever wants a lease, a verdict or a look-up asks those that he is connected to first,
//! in the order of the record, so that all peers begin with the same ones. A record that has run out still says who may
//! have the next one. The home that stands for a party in a receipt is picked without looking at anybody's connections,
//! for both sides of the call must name the same one.

use crate::names::{Known, Realms};
use dots_wire::{PeerId, Timestamp};

/// Who may answer for a realm, the first to ask first. Never this peer itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Homes {
    /// By a record that holds.
    Now(Vec<PeerId>),
    /// By one that has run out: they may have a newer one, and answer for nothing else.
    Former(Vec<PeerId>),
    /// No record says.
    Unknown,
}

impl Homes {
    pub fn of(
        realms: &Realms,
        realm: &str,
        me: PeerId,
        now: Timestamp,
        is_connected: impl Fn(PeerId) -> bool,
    ) -> Homes {
        let Some(record) = realms.get(realm).and_then(Known::read) else { return Homes::Unknown };
        let mut homes: Vec<PeerId> = record.homes.iter().copied().filter(|home| *home != me).collect();
        homes.sort_by_key(|home| !is_connected(*home));
        if record.valid_until > now { Homes::Now(homes) } else { Homes::Former(homes) }
    }

    /// Those that may be asked for a lease, a verdict or a look-up.
    pub fn to_ask(&self) -> &[PeerId] {
        match self {
            Homes::Now(homes) => homes,
            Homes::Former(_) | Homes::Unknown => &[],
        }
    }

    /// Those that may be asked for a newer record.
    pub fn to_ask_for_record(&self) -> &[PeerId] {
        match self {
            Homes::Now(homes) | Homes::Former(homes) => homes,
            Homes::Unknown => &[],
        }
    }
}

/// The home that stands for a party of this realm in a receipt.
pub fn principal(realms: &Realms, realm: &str, now: Timestamp) -> Option<PeerId> {
    realms.lookup(realm, now)?.homes.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        names::Belief,
        records::{
            Callers, RealmRecord, Serving,
            realm::{REALM_VERSION, VALID_MAX},
        },
    };
    use dots_wire::{Hash, SecretKey};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn key(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar")
    }

    fn peer(n: u8) -> PeerId {
        key(n).peer_id()
    }

    fn realms() -> Realms {
        let mut realms = Realms::default();
        realms.pin("a.test", key(9).public(), Belief::Pinned);
        let record = RealmRecord {
            version: REALM_VERSION,
            name: "a.test".into(),
            key: key(9).public(),
            seq: 1,
            homes: vec![peer(1), peer(2), peer(3)],
            serving: Serving::Any,
            callers: Callers::Any,
            aor_salt: Hash([0; 32]),
            valid_until: NOW.plus(VALID_MAX),
        };
        realms.accept(&record.sign(&key(9)), peer(1), NOW).expect("a good record");
        realms
    }

    #[test]
    fn who_is_connected_is_asked_first_and_nobody_asks_himself() {
        let realms = realms();
        let late = NOW.plus(VALID_MAX * 2);
        let none: &[u8] = &[];
        for (why, me, connected, now, to_ask, for_record) in [
            ("in the order of the record", 7, none, NOW, &[1, 2, 3][..], &[1, 2, 3][..]),
            ("connected ones first", 7, &[3, 2], NOW, &[2, 3, 1], &[2, 3, 1]),
            ("never this peer", 2, &[2, 3], NOW, &[3, 1], &[3, 1]),
            ("a record that ran out", 7, &[2], late, &[], &[2, 1, 3]),
        ] {
            let near = |p: PeerId| connected.iter().any(|n| peer(*n) == p);
            let homes = Homes::of(&realms, "a.test", peer(me), now, near);
            let peers = |numbers: &[u8]| numbers.iter().map(|n| peer(*n)).collect::<Vec<_>>();
            assert_eq!(homes.to_ask(), peers(to_ask), "{why}");
            assert_eq!(homes.to_ask_for_record(), peers(for_record), "{why}");
        }
        assert_eq!(Homes::of(&realms, "b.test", peer(7), NOW, |_| true), Homes::Unknown);
        assert_eq!(principal(&realms, "a.test", NOW), Some(peer(1)), "whoever asks");
        assert_eq!(principal(&realms, "a.test", late), None);
    }
}
