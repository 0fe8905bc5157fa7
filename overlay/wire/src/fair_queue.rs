//! What waits for its turn when more comes than can be done: one line for each cause, served in turn. When there is no more
//! room, the longest line loses what waits longest in it: whoever sends most pays, and what is kept is fresh (a sender
//! that was not answered has repeated itself meanwhile).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

/// What an item costs beside its own bytes: its places in the line and in the maps.
const ITEM_BYTES: usize = 96;

pub struct FairQueue<K, T> {
    lines: BTreeMap<K, Line<T>>,
    /// Whose turn it is, lowest number first: every cause that has something waiting, once.
    turns: BTreeMap<u64, K>,
    turn_next: u64,
    /// The lines by their bytes; of equal ones the last is that whose turn is next, so its item has waited longest.
    longest: BTreeSet<(usize, Reverse<u64>)>,
    bytes: usize,
    bytes_max: usize,
}

struct Line<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    turn: u64,
}

impl<K: Ord + Clone, T> FairQueue<K, T> {
    /// Keeps at most `bytes_max` bytes, with what the places themselves cost.
    pub fn new(bytes_max: usize) -> FairQueue<K, T> {
        FairQueue {
            lines: BTreeMap::new(),
            turns: BTreeMap::new(),
            turn_next: 0,
            longest: BTreeSet::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// `bytes`: of the item, what it points to included. Answers how many items had to go for it, maybe itself.
    pub fn push(&mut self, cause: K, item: T, bytes: usize) -> usize {
        let cost = bytes + ITEM_BYTES;
        let mut line = match self.leave(&cause) {
            Some(line) => line,
            None => Line { items: VecDeque::new(), bytes: 0, turn: self.new_turn() },
        };
        line.items.push_back((cost, item));
        line.bytes += cost;
        self.bytes += cost;
        self.enter(cause, line);
        let mut lost = 0;
        while self.bytes > self.bytes_max {
            let (_, Reverse(turn)) = self.longest.last().expect("what has bytes has a line");
            let heaviest = self.turns.get(turn).expect("each line has its turn").clone();
            self.take(&heaviest, Turn::Keeps);
            lost += 1;
        }
        lost
    }

    /// The next item: each cause has one turn before any has another.
    pub fn pop(&mut self) -> Option<T> {
        let cause = self.turns.first_key_value()?.1.clone();
        Some(self.take(&cause, Turn::Had))
    }

    pub fn is_empty(&self) -> bool {
        debug_assert_eq!(self.turns.is_empty(), self.bytes == 0);
        self.lines.is_empty()
    }

    /// The oldest item of a line that stands.
    fn take(&mut self, cause: &K, turn: Turn) -> T {
        let mut line = self.leave(cause).expect("who has a turn has a line");
        let (cost, item) = line.items.pop_front().expect("a line that stands has something");
        line.bytes -= cost;
        self.bytes -= cost;
        if !line.items.is_empty() {
            if turn == Turn::Had {
                line.turn = self.new_turn();
            }
            self.enter(cause.clone(), line);
        }
        item
    }

    fn new_turn(&mut self) -> u64 {
        self.turn_next += 1;
        self.turn_next
    }

    fn enter(&mut self, cause: K, line: Line<T>) {
        let other = self.turns.insert(line.turn, cause.clone());
        debug_assert!(other.is_none(), "a turn is one line's");
        self.longest.insert((line.bytes, Reverse(line.turn)));
        self.lines.insert(cause, line);
    }

    fn leave(&mut self, cause: &K) -> Option<Line<T>> {
        let line = self.lines.remove(cause)?;
        let indexed = self.longest.remove(&(line.bytes, Reverse(line.turn)));
        debug_assert!(indexed && self.turns.contains_key(&line.turn), "each line stands in both indexes");
        self.turns.remove(&line.turn);
        Some(line)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It lost something without being served.
    Keeps,
    Had,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut FairQueue<u8, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn causes_take_turns_and_each_keeps_its_order() {
        let mut queue = FairQueue::new(1 << 20);
        for (cause, item) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (3, 31)] {
            assert_eq!(queue.push(cause, item, 100), 0);
        }
        assert_eq!(drain(&mut queue), [10, 20, 30, 11, 31, 12]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_longest_line_loses_its_oldest() {
        let mut queue = FairQueue::new(10 * (100 + ITEM_BYTES));
        queue.push(2, 20, 100);
        let lost: usize = (0..20).map(|n| queue.push(1, n, 100)).sum();
        assert_eq!(lost, 11);
        assert_eq!(drain(&mut queue), [20, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn what_is_larger_than_everything_is_not_kept() {
        let mut queue = FairQueue::new(1_000);
        queue.push(1, 1, 100);
        assert_eq!(queue.push(2, 2, 2_000), 1, "itself: its own line is the longest");
        assert_eq!(drain(&mut queue), [1]);
    }

    #[test]
    fn a_cause_that_comes_again_has_one_turn() {
        let mut queue = FairQueue::new(2 * (100 + ITEM_BYTES));
        queue.push(1, 10, 100);
        queue.push(2, 20, 100);
        queue.push(2, 21, 100);
        // Line 2 was the longest and lost 20; line 1 ends, and begins anew behind the other.
        assert_eq!(queue.pop(), Some(10));
        queue.push(1, 11, 100);
        assert_eq!(drain(&mut queue), [21, 11]);
    }

    /// Forged sources: each comes once. What is kept is what came last, whoever sent it.
    #[test]
    fn of_causes_that_have_equally_much_the_oldest_goes() {
        let mut queue = FairQueue::new(3 * (100 + ITEM_BYTES));
        for (cause, item) in [(5, 1), (9, 2), (1, 3), (7, 4), (3, 5)] {
            queue.push(cause, item, 100);
        }
        assert_eq!(drain(&mut queue), [3, 4, 5]);
    }

    proptest::proptest! {
        /// Whatever is pushed and taken: the bytes stay bounded, and a cause that keeps within its equal share loses nothing.
        #[test]
        fn nobody_pays_for_another(pushes in proptest::collection::vec((0u8..8, 1usize..400), 1..300)) {
            let share = 400 + ITEM_BYTES;
            let mut queue = FairQueue::new(8 * share);
            // Cause 9 has one item of at most its share.
            queue.push(9, 999, 1);
            for (n, (cause, bytes)) in pushes.iter().enumerate() {
                queue.push(*cause % 7, u32::try_from(n).expect("few"), *bytes);
                proptest::prop_assert!(queue.bytes <= queue.bytes_max);
                proptest::prop_assert_eq!(queue.lines.len(), queue.longest.len());
                proptest::prop_assert_eq!(queue.lines.len(), queue.turns.len());
            }
            proptest::prop_assert!(drain(&mut queue).contains(&999));
        }
    }
}
