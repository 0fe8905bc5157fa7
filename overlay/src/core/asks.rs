//! Questions of this core under way: one table of ids, each with what its answer continues, in the manner of the peer's own.
//!
//! The parts number what they ask themselves; here each question is one row more, so that no id has to carry in its bits whose
//! it is. An answer is given once: the row leaves with it, and a second answer finds nothing.
//!
//! Each part bounds what it has under way, and a question that it has given up keeps its row until whoever carries it says
//! so. A question that finds the table full has failed at once: it is not sent, its part is told so and tries again in its
//! own time, and it is counted. Records for the disk are always taken: a peer that cannot write says nothing new.

use std::collections::BTreeMap;

/// Questions to peers. The parts ask up to 16 and 32 at once, and a carrier answers each within seconds.
const QUESTIONS_MAX: usize = 1_024;

/// What an answer continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A question of anti-entropy, by its number.
    Sync(u64),
    /// A challenge of the verifier, by its number.
    Verify(u64),
    /// An entry of ours that goes to the disk, by its token.
    Entry(u64),
    /// A record that goes to the disk; nobody waits.
    Note,
}

impl Pending {
    fn is_question(self) -> bool {
        matches!(self, Pending::Sync(_) | Pending::Verify(_))
    }
}

#[derive(Default)]
pub struct Asks {
    open: BTreeMap<u64, Pending>,
    questions: usize,
    last: u64,
}

impl Asks {
    /// A new question; its id goes out with it. `None`: there is no room, and it has failed.
    pub fn ask(&mut self, what: Pending) -> Option<u64> {
        debug_assert!(what.is_question(), "records are appended");
        if self.questions >= QUESTIONS_MAX {
            return None;
        }
        self.questions += 1;
        Some(self.insert(what))
    }

    /// A record that goes to the disk.
    pub fn append(&mut self, what: Pending) -> u64 {
        debug_assert!(!what.is_question(), "questions have a limit");
        self.insert(what)
    }

    fn insert(&mut self, what: Pending) -> u64 {
        self.last += 1;
        let before = self.open.insert(self.last, what);
        debug_assert!(before.is_none(), "an id is given once");
        self.last
    }

    /// The answer to a question is there: what it continues. `None`: nobody waits for it (any more).
    pub fn answered(&mut self, id: u64) -> Option<Pending> {
        let what = self.take(id, true)?;
        self.questions = self.questions.checked_sub(1).expect("every open question was counted");
        Some(what)
    }

    /// A record is on the disk: what that continues.
    pub fn written(&mut self, id: u64) -> Option<Pending> {
        self.take(id, false)
    }

    /// No answer continues what is no question: a peer's word on an id of ours is not the disk's.
    fn take(&mut self, id: u64, question: bool) -> Option<Pending> {
        if self.open.get(&id)?.is_question() != question {
            return None;
        }
        self.open.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_continues_what_was_asked_and_does_so_once() {
        let mut asks = Asks::default();
        let (sync, entry) = (asks.ask(Pending::Sync(7)), asks.append(Pending::Entry(7)));
        let sync = sync.expect("room");
        assert_ne!(sync, entry);
        assert_eq!((asks.answered(entry), asks.written(sync)), (None, None), "each by its own");
        assert_eq!(asks.written(entry), Some(Pending::Entry(7)));
        assert_eq!(asks.written(entry), None);
        assert_eq!(asks.answered(sync), Some(Pending::Sync(7)));
        assert_eq!((asks.questions, asks.open.len()), (0, 0));
    }

    #[test]
    fn a_full_table_takes_no_question_and_every_record() {
        let mut asks = Asks::default();
        let ids: Vec<u64> = (0..).map_while(|n| asks.ask(Pending::Verify(n))).collect();
        assert_eq!(ids.len(), QUESTIONS_MAX);
        let note = asks.append(Pending::Note);
        assert_eq!(asks.ask(Pending::Sync(1)), None);
        assert_eq!(asks.written(note), Some(Pending::Note));
        assert_eq!(asks.ask(Pending::Sync(1)), None, "a record made no room");
        assert_eq!(asks.answered(ids[0]), Some(Pending::Verify(0)));
        assert!(asks.ask(Pending::Sync(1)).is_some());
    }
}
