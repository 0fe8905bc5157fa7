//! The peer `dots`: the cores composed (`peer`) and the drivers around them.

pub mod peer;
