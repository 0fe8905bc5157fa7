//! Says goodbye in somebody else's name: nobody would wait for him any more.
//!
//! Defence: a goodbye counts only when the peer itself has signed it, in the life in which we know it.

use super::death_liar::latest;
use dots_overlay::liveness::{
    Ask,
    message::{About, News, VERSION, Word},
};
use dots_wire::{PeerId, SecretKey, Signed};

pub fn says(liar: &SecretKey, network: &str, victim: PeerId) -> Ask {
    let word = Word {
        version: VERSION,
        network: network.to_owned(),
        peer: victim,
        life: latest(),
        about: About::Left,
    };
    let signed = Signed::new(liar, "dots/live/1", &word);
    Ask::Probe { version: VERSION, life: latest(), next_ms: 60_000, news: vec![News::Word(signed)] }
}
