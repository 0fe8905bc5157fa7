//! Keys cost nothing: more authors are made up than a table holds, each with one good entry. A peer that joins afterwards is
//! still heard: its log counts, and a phone that roams there is called.

use super::{A, Defence, Faults, Pen, Stage, checkpoint, expect, gossip};
use std::time::Duration;

/// More than anybody holds, slowly enough that each is looked at.
const AUTHORS: u32 = 10_400;
const AT_ONCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(250);

pub fn author_flood(without: Option<Defence>) -> Faults {
    let mut stage = Stage::new(without);
    for n in 0..AUTHORS {
        let mut pen = Pen::new(&stage.world, A, n + 1);
        let entry = pen.write(stage.world.now(A).wall, vec![checkpoint()]);
        gossip(&mut stage.world, stage.liar.host, &entry);
        if n % AT_ONCE == 0 {
            stage.world.run_for(PAUSE);
        }
    }
    stage.wait(Duration::from_secs(2));
    let newcomer = stage.newcomer(without);
    stage.wait(Duration::from_secs(5));
    let alice = stage.phone(A, A, "alice");
    stage.phone(A, newcomer, "carol");
    stage.wait(Duration::from_secs(5));
    let mut faults = Faults::new();
    let is_there = stage.replicates(A, "carol@r0.test", newcomer);
    expect(&mut faults, is_there, "a newcomer's log does not count");
    expect(&mut faults, stage.calls(alice, "carol@r0.test"), "a phone that roams at a newcomer is not found");
    faults
}
