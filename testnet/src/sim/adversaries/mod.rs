//! Lies, one file each: what a stranger says, and what he hopes for. The checkers are in `tests/`; each lie is also told to a
//! peer whose defence is switched off, and must succeed there.

pub mod death_liar;
pub mod forged_goodbye;
