//! Says goodbye in somebody else's name: nobody would wait for him any more.
//!
//! Defence: a goodbye counts only when the peer itself has signed it, in the life in which we know it.

use super::death_liar::latest;
use dots_overlay::liveness::{
    LiveRequest,
    message::{Hearsay, Notice, NoticeKind, VERSION},
};
use dots_wire::{PeerId, SecretKey, Signed};

pub fn says(liar: &SecretKey, network: &str, victim: PeerId) -> LiveRequest {
    let word = Notice {
        version: VERSION,
        network: network.to_owned(),
        peer: victim,
        life: latest(),
        about: NoticeKind::Left,
    };
    let signed = Signed::new(liar, "dots/live/1", &word);
    LiveRequest::Probe {
        version: VERSION,
        life: latest(),
        next_ms: 60_000,
        news: vec![Hearsay::Notice(signed)],
    }
}
