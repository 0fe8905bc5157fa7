//! Rows that were promised an end: none is taken back, and each cause has its share.

use dots_wire::bounded::{Book, Cause, Limits};
use std::collections::BTreeMap;

pub struct Table<K, V> {
    rows: BTreeMap<K, Row<V>>,
    book: Book,
}

struct Row<V> {
    cause: Cause,
    weight: usize,
    value: V,
}

impl<K: Ord + Copy, V> Table<K, V> {
    pub fn new(limits: Limits) -> Table<K, V> {
        Table { rows: BTreeMap::new(), book: Book::new(limits) }
    }

    /// May this cause hold a row of so many bytes more?
    pub fn admits(&self, cause: Cause, bytes: usize) -> bool {
        self.book.admits(cause, self.book.weight(bytes)).is_ok()
    }

    /// The caller has asked whether it is admitted.
    pub fn insert(&mut self, cause: Cause, key: K, bytes: usize, value: V) {
        let weight = self.book.weight(bytes);
        self.book.charge(cause, weight);
        let before = self.rows.insert(key, Row { cause, weight, value });
        debug_assert!(before.is_none(), "each key is given once");
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.rows.get_mut(key).map(|row| &mut row.value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.book.discharge(row.cause, row.weight);
        Some(row.value)
    }

    /// Rows for which `is_over` says so.
    pub fn over(&self, is_over: impl Fn(&V) -> bool) -> Vec<K> {
        self.rows.iter().filter(|(_, row)| is_over(&row.value)).map(|(key, _)| *key).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.rows.is_empty(), self.book.bytes() == 0, "what went was given back");
        self.rows.len()
    }
}
