//! What a core has to say, in order. The rule of every core stands here: whoever feeds a core takes all that it says before
//! it is fed again; debug builds assert it.

use std::collections::VecDeque;

pub struct Outbox<T>(VecDeque<T>);

impl<T> Default for Outbox<T> {
    fn default() -> Outbox<T> {
        Outbox(VecDeque::new())
    }
}

impl<T> Outbox<T> {
    /// At the beginning of each `handle`.
    pub fn assert_drained(&self) {
        debug_assert!(self.0.is_empty(), "a core is fed again only when all that it said was taken");
    }

    pub fn push(&mut self, output: T) {
        self.0.push_back(output);
    }

    /// For `poll_output`.
    pub fn poll(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Extend<T> for Outbox<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, outputs: I) {
        self.0.extend(outputs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_in_the_order_they_were_said() {
        let mut out = Outbox::default();
        out.assert_drained();
        out.extend([1, 2]);
        out.push(3);
        assert_eq!(std::iter::from_fn(|| out.poll()).collect::<Vec<_>>(), [1, 2, 3]);
        out.assert_drained();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "all that it said")]
    fn a_core_that_is_fed_too_early_is_noticed() {
        let mut out = Outbox::default();
        out.push(1);
        out.assert_drained();
    }
}
