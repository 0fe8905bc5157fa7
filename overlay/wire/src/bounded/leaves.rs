//! Causes as a table knows them: what each holds, and its entries from the oldest. Entries name their cause by a number,
//! so that a long path costs an entry four bytes.

use super::{Cause, Standing};
use std::collections::{BTreeMap, VecDeque};

/// Causes told apart; beyond it the newcomers of one network count as one, and beyond that those of one standing.
pub(super) const CAUSES_MAX: usize = 65_536;
/// Causes that stand for whole networks come on top, but not without end.
const NETWORKS_MAX: usize = 2 * CAUSES_MAX;

pub(super) struct Leaf<K> {
    pub cause: Cause,
    pub bytes: usize,
    pub entries: usize,
    /// (serial, key), oldest first; some may be gone from the table already.
    pub order: VecDeque<(u64, K)>,
}

pub(super) struct Leaves<K> {
    numbers: BTreeMap<Cause, u32>,
    leaves: Vec<Option<Leaf<K>>>,
    free: Vec<u32>,
    used: [usize; Standing::COUNT],
}

impl<K> Leaves<K> {
    pub fn new() -> Leaves<K> {
        Leaves { numbers: BTreeMap::new(), leaves: Vec::new(), free: Vec::new(), used: [0; Standing::COUNT] }
    }

    /// The number of this cause, or of the wider one that stands for it.
    pub fn number(&mut self, cause: Cause) -> u32 {
        let known = self.numbers.len();
        let cause = match self.numbers.contains_key(&cause) || known < CAUSES_MAX {
            true => cause,
            false if known < NETWORKS_MAX => Cause { realm: 0, who: 0, ..cause },
            false => Cause::new(cause.standing),
        };
        if let Some(number) = self.numbers.get(&cause) {
            return *number;
        }
        // Most causes hold one entry, and there are as many as there are phones: room for one, not for the four of a first push.
        let leaf = Leaf { cause, bytes: 0, entries: 0, order: VecDeque::with_capacity(1) };
        let number = match self.free.pop() {
            Some(number) => {
                let place = self.leaves.get_mut(number as usize).expect("a free place was one");
                debug_assert!(place.is_none(), "a free place is empty");
                *place = Some(leaf);
                number
            }
            None => {
                self.leaves.push(Some(leaf));
                u32::try_from(self.leaves.len() - 1).expect("causes are bounded far below that")
            }
        };
        self.numbers.insert(cause, number);
        number
    }

    pub fn leaf(&mut self, number: u32) -> &mut Leaf<K> {
        let leaf = self.leaves.get_mut(number as usize).and_then(Option::as_mut);
        leaf.expect("an entry's cause lives as long as the entry")
    }

    pub fn charge(&mut self, number: u32, bytes: usize) {
        let leaf = self.leaf(number);
        leaf.bytes += bytes;
        leaf.entries += 1;
        let standing = leaf.cause.standing;
        self.used[standing as usize] += bytes;
    }

    pub fn discharge(&mut self, number: u32, bytes: usize) {
        let leaf = self.leaf(number);
        leaf.bytes = leaf.bytes.checked_sub(bytes).expect("what is given back was charged");
        leaf.entries = leaf.entries.checked_sub(1).expect("an entry that goes was counted");
        let (standing, is_empty) = (leaf.cause.standing, leaf.entries == 0);
        let used = &mut self.used[standing as usize];
        *used = used.checked_sub(bytes).expect("what is given back was charged");
        if is_empty {
            self.drop_if_empty(number);
        }
    }

    /// Forgets a cause that holds nothing.
    pub fn drop_if_empty(&mut self, number: u32) {
        let place = self.leaves.get_mut(number as usize).expect("a number is a place");
        if place.as_ref().is_some_and(|leaf| leaf.entries == 0) {
            let leaf = place.take().expect("looked at a line above");
            let known = self.numbers.remove(&leaf.cause);
            debug_assert_eq!(known, Some(number), "each cause has one number");
            self.free.push(number);
        }
    }

    pub fn used(&self, standing: Standing) -> usize {
        self.used[standing as usize]
    }

    pub fn used_by_all(&self) -> usize {
        self.used.iter().sum()
    }

    /// The causes of one standing with their bytes, in the order of their paths.
    pub fn of(&self, standing: Standing) -> impl Iterator<Item = (Cause, u32, usize)> {
        let (first, last) =
            (Cause::new(standing), Cause { network: u64::MAX, realm: u64::MAX, who: u64::MAX, standing });
        self.numbers.range(first..=last).filter_map(|(cause, number)| {
            let leaf = self.leaves.get(*number as usize)?.as_ref()?;
            Some((*cause, *number, leaf.bytes))
        })
    }
}
