//! A table of what was acknowledged: nothing is taken back, so an entry is admitted or refused before anybody is told "yes".
//!
//! Who is admitted is the [`Book`]'s matter.

use super::{
    Cause, Limits, Weight,
    book::{Book, OverShare},
};
use std::{borrow::Borrow, collections::BTreeMap};

pub struct Promises<K, V> {
    book: Book,
    entries: BTreeMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    cause: Cause,
    bytes: usize,
}

impl<K: Ord + Weight, V: Weight> Promises<K, V> {
    pub fn new(limits: Limits) -> Promises<K, V> {
        Promises { book: Book::new(limits), entries: BTreeMap::new() }
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// For changes that leave the weight as it is; others go through [`Promises::insert`].
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.book.bytes()
    }

    /// Would one more entry of `own_bytes` (key, value and their heap) be admitted?
    pub fn admits(&self, cause: Cause, own_bytes: usize) -> Result<(), OverShare> {
        self.book.admits(cause, self.book.weight(own_bytes))
    }

    /// Admits an entry, or hands it back and says whose share is used up. What stands under this key is replaced only where
    /// the new one is admitted.
    pub fn insert(&mut self, cause: Cause, key: K, value: V) -> Result<Option<V>, (OverShare, K, V)> {
        let own = size_of::<K>() + size_of::<V>() + key.heap_bytes() + value.heap_bytes();
        let bytes = self.book.weight(own);
        let old = self.entries.get(&key).map(|entry| (entry.cause, entry.bytes));
        // A promise that is renewed and no larger is never refused.
        let renews = old.is_some_and(|(held_by, held)| held_by == cause && bytes <= held);
        if let Some((held_by, held)) = old {
            self.book.discharge(held_by, held);
        }
        if !renews && let Err(why) = self.book.admits(cause, bytes) {
            if let Some((held_by, held)) = old {
                self.book.charge(held_by, held);
            }
            return Err((why, key, value));
        }
        self.book.charge(cause, bytes);
        Ok(self.entries.insert(key, Entry { value, cause, bytes }).map(|entry| entry.value))
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.book.discharge(entry.cause, entry.bytes);
        Some(entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Standing, *};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits::new(64 * 1_024, 512);

    fn cause(standing: Standing, network: u64, realm: u64, who: u64) -> Cause {
        Cause { standing, network, realm, who }
    }

    fn check<K: Ord + Weight, V: Weight>(table: &Promises<K, V>, limits: Limits) {
        assert_eq!(table.entries.values().map(|e| e.bytes).sum::<usize>(), table.bytes());
        assert!(table.bytes() <= LIMITS.bytes && table.len() <= LIMITS.entries);
        for level in 0..3 {
            let shared = table.bytes() - table.book.used(Standing::Own);
            assert_eq!(table.book.at_level(level), shared, "each level adds up");
        }
        for standing in Standing::ALL {
            let others = Standing::ALL.iter().filter(|s| **s != standing);
            let reserved: usize = others.map(|s| limits.reserve(*s)).sum();
            assert!(table.book.used(standing) + reserved <= limits.bytes, "a reserve is entered");
        }
    }

    #[test]
    fn one_account_fills_its_share_and_others_still_get_in() {
        let mut table: Promises<u64, ()> = Promises::new(LIMITS);
        let hog = cause(Standing::Other, 1, 1, 1);
        let taken = (0..10_000).take_while(|key| table.insert(hog, *key, ()).is_ok()).count();
        assert!((200..300).contains(&taken), "an account gets half: {taken}");
        assert_eq!(table.admits(hog, 16), Err(OverShare::Who));
        for who in 2..30 {
            assert!(table.insert(cause(Standing::Other, 1, 1, who), 20_000 + who, ()).is_ok(), "{who}");
        }
        check(&table, LIMITS);
    }

    #[test]
    fn a_thousand_names_of_one_network_leave_room_for_another() {
        let mut table: Promises<u64, ()> = Promises::new(LIMITS);
        for key in 0..10_000 {
            let _ = table.insert(cause(Standing::Other, 1, key % 50, key), key, ());
        }
        assert_eq!(table.admits(cause(Standing::Other, 1, 3, 77_777), 16), Err(OverShare::Network));
        for who in 0..20 {
            assert!(table.insert(cause(Standing::Other, 2, 1, who), 20_000 + who, ()).is_ok());
        }
        check(&table, LIMITS);
    }

    #[test]
    fn own_promises_have_their_reserve_and_no_brake() {
        let mut table: Promises<u64, ()> = Promises::new(LIMITS.reserving([500, 0, 0, 0]));
        for key in 0..10_000 {
            let _ = table.insert(cause(Standing::Other, key, 0, 0), key, ());
        }
        let own = (20_000..30_000).take_while(|key| table.insert(Cause::OWN, *key, ()).is_ok()).count();
        assert!(own >= 255, "{own}");
        check(&table, LIMITS.reserving([500, 0, 0, 0]));
    }

    #[test]
    fn a_promise_is_renewed_though_its_cause_is_over_its_share() {
        let mut table: Promises<u64, String> = Promises::new(LIMITS);
        let hog = cause(Standing::Other, 1, 1, 1);
        let mut key = 0;
        while table.insert(hog, key, "a".repeat(100)).is_ok() {
            key += 1;
        }
        assert_eq!(table.insert(hog, 0, "b".repeat(100)), Ok(Some("a".repeat(100))));
        let refused = table.insert(hog, 0, "c".repeat(5_000));
        assert!(matches!(refused, Err((OverShare::Who, 0, _))));
        assert_eq!(table.get(&0), Some(&"b".repeat(100)), "what was promised stands");
        check(&table, LIMITS);
    }

    proptest! {
        #[test]
        fn the_books_balance_and_something_stays_free(
            steps in proptest::collection::vec((0usize..4, 0u64..4, 0u64..4, 0u64..6, 0u64..300, 0usize..600), 1..400),
        ) {
            let mut table: Promises<u64, String> = Promises::new(LIMITS.reserving([300, 0, 100, 0]));
            for (kind, network, realm, who, name, size) in steps {
                match size % 5 {
                    0 => { table.remove(&name); }
                    _ => {
                        let before = table.get(&name).cloned();
                        let cause = cause(Standing::ALL[kind], network, realm, who);
                        if table.insert(cause, name, "f".repeat(size)).is_err() {
                            prop_assert_eq!(table.get(&name).cloned(), before, "refused, and nothing taken back");
                        }
                    }
                }
                check(&table, LIMITS.reserving([300, 0, 100, 0]));
                // A network that holds nothing yet gets a small promise in, but where one's own realms took the room.
                let newcomer = cause(Standing::Other, 77, 77, 77);
                prop_assert!(table.admits(newcomer, 16).is_ok() || table.book.used(Standing::Own) > LIMITS.bytes / 10 * 3);
            }
        }
    }
}
