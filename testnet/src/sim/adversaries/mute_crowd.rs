//! Six neighbours, each with eighteen hundred logs of its own to tell of, which they show with another root as often as they
//! may, and none of which they deliver. Whoever starts among them still gets the logs that an honest neighbour has.

use super::{
    A, B, Defence, Faults, Stage, expect,
    mute_holder::{Answer, HEADS, head},
};
use crate::sim::liar::{Liar, Reply};
use dots_overlay::transport::Protocol;
use dots_wire::encode;
use std::time::Duration;

const LIARS: u32 = 6;
const TICK: Duration = Duration::from_millis(10);
/// So soon after a start an honest neighbour's log is there.
const SOON: Duration = Duration::from_secs(12);

pub fn mute_crowd(without: Option<Defence>) -> Faults {
    let mut stage = Stage::new(without);
    let carol = stage.phone(A, B, "carol");
    stage.wait(Duration::from_secs(3));
    let mut crowd: Vec<Liar> = (0..LIARS).map(|_| Liar::join(&mut stage.world)).collect();
    for (liar, n) in crowd.iter_mut().zip(1..) {
        let heads: Vec<_> = (n * HEADS..(n + 1) * HEADS).map(head).collect();
        let heads = encode(&Answer::Heads { heads, more: false });
        liar.reply = Some(Box::new(move |protocol, body| {
            let is_heads = body.windows(5).any(|w| w == b"Heads");
            match protocol {
                Protocol::Log if is_heads => Reply::Say(heads.clone()),
                Protocol::Log => Reply::Silence,
                _ => Reply::Refusal,
            }
        }));
    }
    // A forgets what it heard, and hears the crowd first.
    stage.world.crash(A);
    wait(&mut stage, &mut crowd, Duration::from_secs(5));
    stage.world.disconnect(A, B);
    stage.world.start(A);
    stage.world.hold_apart(A, B, Duration::from_secs(2));
    wait(&mut stage, &mut crowd, Duration::from_secs(2) + SOON);
    let alice = stage.phone(A, A, "alice");
    wait(&mut stage, &mut crowd, Duration::from_secs(1));
    let mut faults = Faults::new();
    let aor = stage.world.phones[carol].aor();
    let is_there = stage.replicates(A, &aor, B);
    expect(&mut faults, is_there, "an honest neighbour's log is not there after a start");
    let is_called = stage.calls(alice, &aor);
    expect(&mut faults, is_called, "a phone that registered elsewhere is not found after a start");
    faults
}

fn wait(stage: &mut Stage, crowd: &mut [Liar], time: Duration) {
    let end = stage.world.at + time;
    while stage.world.at < end {
        stage.world.run_for(TICK);
        stage.liar.look(&mut stage.world);
        crowd.iter_mut().for_each(|liar| liar.look(&mut stage.world));
    }
}
