//! A message that may have to be sent again, as small as its hop allows: to a phone go bytes, so bytes are kept and no
//! index of them; a peer is handed the message itself, which is shared.

use super::weight::block;
use crate::{Output, cx::Cx, hop::Hop, message::Message};

#[derive(Debug)]
pub(super) enum Kept {
    Bytes(Box<[u8]>),
    Message(Message),
}

impl Kept {
    pub fn of(hop: &Hop, message: &Message) -> Kept {
        match hop {
            Hop::Phone(_) => Kept::Bytes(message.raw().into()),
            Hop::Peer(_) => Kept::Message(message.clone()),
        }
    }

    /// What it takes of memory.
    pub fn bytes(&self) -> usize {
        match self {
            Kept::Bytes(bytes) => block(bytes.len()),
            Kept::Message(message) => message.held_bytes(),
        }
    }

    /// To the hop that it was kept for.
    pub fn send(&self, cx: &mut Cx<'_>, hop: &Hop) {
        match (self, hop) {
            (Kept::Bytes(bytes), Hop::Phone(flow)) => {
                cx.out(Output::Send { flow: *flow, bytes: bytes.to_vec() })
            }
            (Kept::Message(message), Hop::Peer(_)) => cx.send(hop, message.clone()),
            _ => debug_assert!(false, "what is kept for one kind of hop goes to no other"),
        }
    }
}
