//! `/dots/sip/3`: opening and accepting streams, and the frames on them.
//!
//! `libp2p-stream` would do, but it drops streams that arrive in a burst without a word to either side, and keeps a
//! queue for every connection there ever was. This is the same thing in small: [`Behaviour`] knows connections,
//! [`handler::Handler`] negotiates on one of them, [`task`] moves frames.

mod behaviour;
mod handler;
pub mod task;

pub use behaviour::{Behaviour, Event};

use crate::transport::NetEvent;

/// What the program hears, and, where a stream was opened, the way into it.
pub struct Said {
    pub event: NetEvent,
    pub writer: Option<task::Writer>,
}

impl From<NetEvent> for Said {
    fn from(event: NetEvent) -> Said {
        Said { event, writer: None }
    }
}
