//! One account's phones come and go at a serving peer as fast as they can. Somebody else who registers there afterwards is
//! called all the same, for what they say is charged to them.

use super::{A, B, Defence, Faults, Stage, expect};
use std::time::Duration;

/// Phones of one account.
const PHONES: usize = 10;
const ROUNDS: usize = 150;

pub fn quota_burner(without: Option<Defence>) -> Faults {
    let mut stage = Stage::new(without);
    let alice = stage.phone(A, A, "alice");
    let loud: Vec<usize> = (0..PHONES).map(|_| stage.phone(B, B, "eve")).collect();
    for round in 0..ROUNDS {
        for phone in &loud {
            stage.register(*phone, if round % 2 == 0 { 600 } else { 0 });
        }
        stage.wait(Duration::from_millis(130));
    }
    stage.phone(A, B, "carol");
    stage.wait(Duration::from_secs(4));
    let mut faults = Faults::new();
    let is_there = stage.replicates(A, "carol@r0.test", B);
    expect(&mut faults, is_there, "what a quiet account's phone says beside a loud one does not count");
    expect(
        &mut faults,
        stage.calls(alice, "carol@r0.test"),
        "a phone is not found that registered beside a loud one",
    );
    faults
}
