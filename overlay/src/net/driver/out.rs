//! What the program is to hear, in order, as long as its queue has no place for it.

use crate::transport::NetEvent;
use std::collections::VecDeque;

/// Bounded by who fills it: above its mark the driver takes nothing more from the swarm.
#[derive(Default)]
pub struct Out(VecDeque<NetEvent>);

impl Out {
    pub fn say(&mut self, event: NetEvent) {
        self.0.push_back(event);
    }

    pub fn take(&mut self) -> Option<NetEvent> {
        self.0.pop_front()
    }

    /// There was no place for it: it is the next again.
    pub fn put_back(&mut self, event: NetEvent) {
        self.0.push_front(event);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
