//! `/dots/sip/2`: opening and accepting streams, and the frames on them.
//!
//! `libp2p-stream` would do, but it drops streams that arrive in a burst without a word to either side, and keeps a
//! queue for every connection there ever was. This is the same thing in small: [`Behaviour`] knows connections,
//! [`handler::Handler`] negotiates on one of them, [`task`] moves frames.

mod behaviour;
mod handler;
pub mod task;

pub use behaviour::{Behaviour, Event};
