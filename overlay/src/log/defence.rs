//! What keeps one neighbour, author or phone from spending what belongs to others. A simulation switches one off, to see that
//! its adversary then gets through and that a checker notices; a peer never does.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// Authors for whom nobody has paid make room for newcomers.
    AuthorsGiveWay,
    /// Of an author for whom nobody has paid little is kept.
    UnpaidAreShort,
    /// Words of one account are few, and a realm's group that is over is dropped alone.
    RealmsPay,
    /// A realm's first word at an author is judged before it is charged.
    JudgedFirst,
    /// Neighbours are asked in turn.
    Turns,
    /// What nobody has judged is not looked at by whoever routes.
    JudgedBefore,
}
