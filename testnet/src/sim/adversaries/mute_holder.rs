//! A neighbour tells of eighteen hundred logs and delivers none of them. Whoever starts beside it still gets the logs that
//! others have, and so finds a phone that registered elsewhere before.

use super::{A, B, Defence, Faults, Stage, expect};
use crate::sim::liar::Reply;
use dots_overlay::{log::Head, records::Incarnation, transport::Protocol};
use dots_wire::{Hash, SecretKey, Timestamp, encode};
use serde::Serialize;
use std::time::Duration;

pub const HEADS: u32 = 1_800;
/// So soon after a start an honest neighbour's log is there.
const SOON: Duration = Duration::from_secs(12);

#[derive(Serialize)]
pub enum Answer {
    Heads { heads: Vec<Head>, more: bool },
}

pub fn mute_holder(without: Option<Defence>) -> Faults {
    let mut stage = Stage::new(without);
    let carol = stage.phone(A, B, "carol");
    stage.wait(Duration::from_secs(3));
    let heads = encode(&Answer::Heads { heads: (0..HEADS).map(head).collect(), more: false });
    stage.liar.reply = Some(Box::new(move |protocol, body| {
        let is_heads = body.windows(5).any(|w| w == b"Heads");
        match protocol {
            Protocol::Log if is_heads => Reply::Say(heads.clone()),
            Protocol::Log => Reply::Silence,
            _ => Reply::Refusal,
        }
    }));
    // A forgets what it heard, and hears the liar first.
    stage.world.crash(A);
    stage.wait(Duration::from_secs(5));
    stage.world.disconnect(A, B);
    stage.world.start(A);
    stage.world.hold_apart(A, B, Duration::from_secs(2));
    stage.wait(Duration::from_secs(2) + SOON);
    let alice = stage.phone(A, A, "alice");
    stage.wait(Duration::from_secs(1));
    let mut faults = Faults::new();
    let aor = stage.world.phones[carol].aor();
    let is_there = stage.replicates(A, &aor, B);
    expect(&mut faults, is_there, "an honest neighbour's log is not there after a start");
    let is_called = stage.calls(alice, &aor);
    expect(&mut faults, is_called, "a phone that registered elsewhere is not found after a start");
    faults
}

pub fn head(n: u32) -> Head {
    let mut bytes = [5; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    let author = SecretKey::from_bytes(&bytes).expect("a scalar").peer_id();
    let incarnation = Incarnation { started: Timestamp(1), random: 1 };
    Head { author, shard: String::new(), incarnation, seq: 9, hash: Hash([1; 32]) }
}
