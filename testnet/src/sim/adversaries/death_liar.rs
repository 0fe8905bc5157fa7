//! Says of everybody that he is dead, in whatever life: calls toward him would fail at once, without his doing anything.
//!
//! Defence: hearsay makes us probe, no more; the victim answers.

use dots_overlay::{
    liveness::{
        LiveRequest,
        message::{Generation, Hearsay, VERSION},
    },
    records::Incarnation,
};
use dots_wire::{PeerId, Timestamp};

pub fn says(victim: PeerId) -> LiveRequest {
    let news = vec![Hearsay::Dead { peer: victim, life: latest() }];
    LiveRequest::Probe { version: VERSION, life: latest(), next_ms: 60_000, news }
}

/// A life that no other can be later than.
pub fn latest() -> Generation {
    let incarnation = Incarnation { started: Timestamp(u64::MAX), random: u64::MAX };
    Generation { incarnation, count: u32::MAX }
}
