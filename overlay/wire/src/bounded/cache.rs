//! A table of what can be asked for again: full, it takes from the heaviest cause, its oldest entries first.
//!
//! Room is made for many at once, so that the look at all causes is paid by a sixty-fourth of the table.

use super::{Cause, Limits, Standing, Weight, leaves::Leaves, shares::fair_level};
use std::{borrow::Borrow, collections::BTreeMap, ops::RangeBounds};

pub struct Cache<K, V> {
    limits: Limits,
    entries: BTreeMap<K, Entry<V>>,
    leaves: Leaves<K>,
    next_serial: u64,
}

struct Entry<V> {
    value: V,
    leaf: u32,
    serial: u64,
    bytes: usize,
}

/// What an insertion did.
#[derive(Debug, PartialEq, Eq)]
pub struct Inserted<K, V> {
    /// `false`: its cause has no share that could hold it.
    pub is_stored: bool,
    /// The value that stood under this key.
    pub replaced: Option<V>,
    /// What went to make room.
    pub evicted: Vec<(K, V)>,
}

impl<K: Ord + Clone + Weight, V: Weight> Cache<K, V> {
    pub fn new(limits: Limits) -> Cache<K, V> {
        assert!(limits.reserved() <= limits.bytes, "reserves are parts of the table");
        Cache { limits, entries: BTreeMap::new(), leaves: Leaves::new(), next_serial: 0 }
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// For changes that leave the weight as it is.
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

    /// By key, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Those from one key to another, in order.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        self.entries.range(keys).map(|(key, entry)| (key, &entry.value))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes charged, of all entries together.
    pub fn bytes(&self) -> usize {
        self.leaves.used_by_all()
    }

    /// Puts an entry, as the newest of its cause; one that stood under this key goes first.
    pub fn insert(&mut self, cause: Cause, key: K, value: V) -> Inserted<K, V> {
        let replaced = self.remove(&key);
        let own = size_of::<K>() + size_of::<V>() + key.heap_bytes() + value.heap_bytes();
        let bytes = self.limits.charge(own);
        let mut evicted = Vec::new();
        if !self.has_room(cause.standing, bytes) {
            self.make_room(cause, bytes, &mut evicted);
        }
        if !self.has_room(cause.standing, bytes) {
            return Inserted { is_stored: false, replaced, evicted };
        }
        let leaf = self.leaves.number(cause);
        self.next_serial += 1;
        let serial = self.next_serial;
        self.leaves.charge(leaf, bytes);
        self.leaves.leaf(leaf).order.push_back((serial, key.clone()));
        self.entries.insert(key, Entry { value, leaf, serial, bytes });
        debug_assert!(self.bytes() <= self.limits.bytes, "a cache is never over its limit");
        Inserted { is_stored: true, replaced, evicted }
    }

    /// Changes an entry where it stands, as the newest of its cause then. What went to make room, where it has grown; `None`:
    /// there is no such entry.
    pub fn update(&mut self, key: &K, change: impl FnOnce(&mut V)) -> Option<Vec<(K, V)>> {
        let entry = self.entries.get_mut(key)?;
        change(&mut entry.value);
        let own = size_of::<K>() + size_of::<V>() + key.heap_bytes() + entry.value.heap_bytes();
        let (number, before, bytes) = (entry.leaf, entry.bytes, self.limits.charge(own));
        let cause = self.leaves.leaf(number).cause;
        if bytes > before && !self.has_room(cause.standing, bytes - before) {
            let value = self.remove(key)?;
            return Some(self.insert(cause, key.clone(), value).evicted);
        }
        self.next_serial += 1;
        let entry = self.entries.get_mut(key)?;
        (entry.serial, entry.bytes) = (self.next_serial, bytes);
        self.leaves.leaf(number).order.push_back((self.next_serial, key.clone()));
        // In this order, for a cause that holds nothing is forgotten.
        self.leaves.charge(number, bytes);
        self.leaves.discharge(number, before);
        self.sweep(number);
        Some(Vec::new())
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.sweep(entry.leaf);
        self.leaves.discharge(entry.leaf, entry.bytes);
        Some(entry.value)
    }

    /// Places of what is gone are swept when they are more than the living ones.
    fn sweep(&mut self, number: u32) {
        let leaf = self.leaves.leaf(number);
        if leaf.order.len() > 2 * leaf.entries + 16 {
            let entries = &self.entries;
            leaf.order.retain(|(serial, key)| entries.get::<K>(key).is_some_and(|e| e.serial == *serial));
        }
    }

    /// Keeps what `keep` says; the rest is returned.
    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) -> Vec<(K, V)> {
        let gone: Vec<K> =
            self.entries.iter().filter(|(k, e)| !keep(k, &e.value)).map(|(k, _)| k.clone()).collect();
        gone.into_iter().filter_map(|key| self.remove(&key).map(|value| (key, value))).collect()
    }

    fn has_room(&self, standing: Standing, bytes: usize) -> bool {
        let others = Standing::ALL.iter().filter(|s| **s != standing);
        let held: usize = others.map(|s| self.leaves.used(*s).max(self.limits.reserve(*s))).sum();
        held + self.leaves.used(standing) + bytes <= self.limits.bytes
    }

    /// Makes room for `bytes` of the cause `newcomer`, and for a sixty-fourth of the table more.
    fn make_room(&mut self, newcomer: Cause, bytes: usize, evicted: &mut Vec<(K, V)>) {
        let number = self.leaves.number(newcomer);
        let newcomer = Newcomer { cause: self.leaves.leaf(number).cause, bytes };
        // Between standings only what is over the reserves is shared.
        let shared = self.limits.bytes - self.limits.reserved();
        let shared = shared.saturating_sub(self.limits.bytes / 64);
        let over = |cache: &Self, standing: Standing| {
            let new = if standing == newcomer.cause.standing { bytes } else { 0 };
            (cache.leaves.used(standing) + new).saturating_sub(cache.limits.reserve(standing))
        };
        let level = fair_level(Standing::ALL.iter().map(|s| over(self, *s)), shared);
        for standing in Standing::ALL {
            if over(self, standing) > level {
                let target = self.limits.reserve(standing) + level;
                self.cut(standing, target, newcomer, evicted);
            }
        }
        self.leaves.drop_if_empty(number);
    }

    /// Cuts a standing down to `target`, level by level: networks, realms, accounts.
    fn cut(&mut self, standing: Standing, target: usize, newcomer: Newcomer, evicted: &mut Vec<(K, V)>) {
        let leaves = self.leaves.of(standing);
        let leaves: Vec<Held> =
            leaves.map(|(cause, number, bytes)| (cause, number, bytes + newcomer.adds_to(cause))).collect();
        self.cut_group(&leaves, target, &[|c| c.network, |c| c.realm, |c| c.who], newcomer, evicted);
    }

    /// Cuts these causes, one group of the path, down to `target`: its heaviest children first, each to its fair part, and
    /// no more of them than it takes. Returns the bytes that went.
    fn cut_group(
        &mut self,
        leaves: &[Held],
        target: usize,
        levels: &[fn(&Cause) -> u64],
        newcomer: Newcomer,
        evicted: &mut Vec<(K, V)>,
    ) -> usize {
        let Some((level, below)) = levels.split_first() else {
            let cut = |(_, number, _): &Held| self.cut_leaf(*number, target, newcomer, evicted);
            return leaves.iter().map(cut).sum();
        };
        let children = leaves.chunk_by(|one, other| level(&one.0) == level(&other.0));
        let mut children: Vec<(usize, u64, &[Held])> = children
            .map(|child| (child.iter().map(|(_, _, bytes)| bytes).sum(), self.oldest(child), child))
            .collect();
        let fair = fair_level(children.iter().map(|(size, ..)| *size), target);
        // Of equals the one with the oldest entry gives first.
        children.sort_unstable_by_key(|(size, oldest, _)| (std::cmp::Reverse(*size), *oldest));
        let excess = children.iter().map(|(size, ..)| size).sum::<usize>().saturating_sub(target);
        let mut freed = 0;
        for (_, _, child) in children.into_iter().filter(|(size, ..)| *size > fair) {
            if freed >= excess {
                break;
            }
            freed += self.cut_group(child, fair, below, newcomer, evicted);
        }
        freed
    }

    fn oldest(&mut self, leaves: &[Held]) -> u64 {
        let oldest = |(_, number, _): &Held| self.leaves.leaf(*number).order.front().map(|(s, _)| *s);
        leaves.iter().filter_map(oldest).min().unwrap_or(u64::MAX)
    }

    /// Takes the oldest entries of one cause until it holds no more than `keeps`; returns the bytes that went.
    fn cut_leaf(
        &mut self,
        number: u32,
        keeps: usize,
        newcomer: Newcomer,
        evicted: &mut Vec<(K, V)>,
    ) -> usize {
        let mut freed = 0;
        loop {
            let leaf = self.leaves.leaf(number);
            if leaf.entries == 0 || leaf.bytes + newcomer.adds_to(leaf.cause) <= keeps {
                return freed;
            }
            let is_last = leaf.entries == 1;
            let (serial, key) = leaf.order.pop_front().expect("every entry has its place in the order");
            if self.entries.get(&key).is_none_or(|entry| entry.serial != serial) {
                continue;
            }
            let entry = self.entries.remove(&key).expect("looked at a line above");
            self.leaves.discharge(number, entry.bytes);
            evicted.push((key, entry.value));
            freed += entry.bytes;
            if is_last {
                return freed;
            }
        }
    }
}

/// A cause, its number, and the bytes that it holds.
type Held = (Cause, u32, usize);

/// Whose entry needs room, and how much: its cause pays with what it holds already.
#[derive(Clone, Copy)]
struct Newcomer {
    cause: Cause,
    bytes: usize,
}

impl Newcomer {
    fn adds_to(self, cause: Cause) -> usize {
        if cause == self.cause { self.bytes } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits::new(64 * 1_024, 512);

    fn cause(standing: Standing, network: u64, realm: u64, who: u64) -> Cause {
        Cause { standing, network, realm, who }
    }

    fn check<K: Ord + Clone + Weight, V: Weight>(cache: &Cache<K, V>) {
        let charged: usize = cache.entries.values().map(|e| e.bytes).sum();
        assert_eq!(charged, cache.bytes());
        assert!(cache.bytes() <= cache.limits.bytes && cache.len() <= cache.limits.entries);
        for standing in Standing::ALL {
            let reserved: usize =
                Standing::ALL.iter().filter(|s| **s != standing).map(|s| cache.limits.reserve(*s)).sum();
            assert!(cache.leaves.used(standing) + reserved <= cache.limits.bytes, "a reserve is entered");
        }
        let of_leaves: usize =
            Standing::ALL.iter().flat_map(|s| cache.leaves.of(*s)).map(|(_, _, b)| b).sum();
        assert_eq!(of_leaves, cache.bytes());
    }

    #[test]
    fn a_flood_takes_from_itself() {
        let mut cache: Cache<u64, ()> = Cache::new(LIMITS);
        let quiet = cause(Standing::Other, 1, 1, 1);
        for key in 0..10 {
            assert!(cache.insert(quiet, key, ()).is_stored);
        }
        for key in 1_000..100_000 {
            // Many names of one network.
            let flood = cause(Standing::Other, 2, key % 7, key % 1_000);
            assert!(cache.insert(flood, key, ()).is_stored);
        }
        check(&cache);
        assert!((0..10).all(|key| cache.contains(&key)), "who holds little keeps it");
        assert!(cache.len() > 400, "the table is used");
    }

    #[test]
    fn two_floods_share_and_a_newcomer_gets_in() {
        let mut cache: Cache<u64, ()> = Cache::new(LIMITS);
        for key in 0..10_000u64 {
            cache.insert(cause(Standing::Other, 1 + key % 2, 0, 0), key, ());
        }
        let sizes: Vec<usize> = cache.leaves.of(Standing::Other).map(|(_, _, bytes)| bytes).collect();
        assert!(sizes.len() == 2 && sizes[0].abs_diff(sizes[1]) <= LIMITS.bytes / 32, "{sizes:?}");
        let late = cause(Standing::Other, 3, 0, 0);
        for key in 20_000..20_100 {
            assert!(cache.insert(late, key, ()).is_stored);
        }
        assert!((20_000..20_100).all(|key| cache.contains(&key)));
        check(&cache);
    }

    #[test]
    fn nobody_enters_the_reserve_of_another() {
        let mut cache: Cache<u64, ()> = Cache::new(LIMITS.reserving([500, 0, 0, 0]));
        for key in 0..10_000 {
            cache.insert(cause(Standing::Other, key, 0, 0), key, ());
        }
        check(&cache);
        for key in 20_000..20_250 {
            let inserted = cache.insert(Cause::OWN, key, ());
            assert!(inserted.is_stored && inserted.evicted.is_empty(), "one's own reserve is free");
        }
        check(&cache);
    }

    #[test]
    fn bytes_count_and_what_is_too_large_for_its_share_is_not_stored() {
        let mut cache: Cache<u64, String> = Cache::new(LIMITS);
        let giant = cause(Standing::Other, 9, 0, 0);
        assert!(!cache.insert(giant, 1, "x".repeat(LIMITS.bytes)).is_stored);
        for key in 10..40 {
            assert!(cache.insert(cause(Standing::Other, key, 0, 0), key, "y".repeat(1_000)).is_stored);
        }
        let inserted = cache.insert(giant, 2, "x".repeat(8_000));
        assert!(inserted.is_stored);
        check(&cache);
        assert_eq!(cache.remove(&2).map(|s| s.len()), Some(8_000));
        assert_eq!(cache.remove(&2), None);
        check(&cache);
    }

    #[test]
    fn an_entry_put_again_is_the_newest_and_moves_to_its_new_cause() {
        let mut cache: Cache<u64, u8> = Cache::new(Limits::new(10_000, 4));
        let (one, two) = (cause(Standing::Other, 1, 0, 0), cause(Standing::Other, 2, 0, 0));
        for key in 0..3 {
            cache.insert(one, key, 0);
        }
        assert_eq!(cache.insert(two, 0, 1).replaced, Some(0));
        assert_eq!(cache.leaves.of(Standing::Other).count(), 2);
        for key in 10..14 {
            cache.insert(one, key, 0);
        }
        assert_eq!(cache.get(&0), Some(&1), "it is another's now");
        check(&cache);
    }

    #[test]
    fn an_entry_that_is_changed_is_charged_anew_and_the_newest() {
        let mut cache: Cache<u64, String> = Cache::new(LIMITS);
        let one = cause(Standing::Other, 1, 0, 0);
        for key in 0..100 {
            cache.insert(one, key, "x".repeat(100));
        }
        for round in 0..1_000 {
            assert_eq!(cache.update(&(round % 5), |text| text.truncate(90)), Some(vec![]));
            check(&cache);
        }
        assert!(cache.leaves.leaf(0).order.len() < 250, "places of what was are swept");
        assert_eq!(cache.update(&999, |_| unreachable!("it is not there")), None);
        cache.update(&0, |text| text.push('y'));
        // It grows beyond what is free: the oldest go, and neither this one nor what was changed last.
        let evicted = cache.update(&1, |text| *text = "z".repeat(60_000)).expect("it is there");
        check(&cache);
        assert!(!evicted.is_empty() && evicted.iter().all(|(key, _)| *key > 4), "{evicted:?}");
        assert!((0..5).all(|key| cache.contains(&key)) && cache.get(&1).is_some_and(|z| z.len() == 60_000));
    }

    proptest! {
        #[test]
        fn who_holds_no_more_than_a_fair_share_loses_nothing_to_others(
            steps in proptest::collection::vec((0u8..3, 0u64..4, 0u64..4, 0u64..6, 0u64..300, 0usize..600), 1..400),
        ) {
            let mut cache: Cache<u64, String> = Cache::new(LIMITS.reserving([200, 100, 0, 0]));
            // Five networks at most share what no reserve holds: a tenth is less than anybody's part.
            let quiet = cause(Standing::Other, 99, 0, 0);
            let share = LIMITS.bytes * 7 / 10 / 10;
            let mut key = 1_000_000;
            while cache.bytes() + 300 < share {
                key += 1;
                prop_assert!(cache.insert(quiet, key, "q".repeat(50)).is_stored);
            }
            for (kind, network, realm, who, name, size) in steps {
                let standing = Standing::ALL[usize::from(kind) % 4];
                match size % 7 {
                    0 => { cache.remove(&name); }
                    1 => { cache.update(&name, |text| *text = "u".repeat(size)); }
                    _ => { cache.insert(cause(standing, network, realm, who), name, "f".repeat(size)); }
                }
                check(&cache);
            }
            prop_assert!((1_000_001..=key).all(|key| cache.contains(&key)));
        }
    }
}
