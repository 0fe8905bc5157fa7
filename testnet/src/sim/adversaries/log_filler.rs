//! A stranger writes as much as his purse allows, of events that nobody knows, four kilobytes each. Others keep little of it,
//! pass little of it on, and everybody else's log is whole.

use super::{A, B, Defence, Faults, Pen, Stage, checkpoint, expect, gossip};
use dots_overlay::{records::Incarnation, transport::Protocol};
use dots_wire::{PeerId, decode, encode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::time::Duration;

const ENTRIES: usize = 80;
const EVENTS: usize = 10;
const EVENT_BYTES: usize = 4_000;
/// What a stranger's log may take, and one entry more.
const KEPT_MAX: usize = 128 * 1024;

#[derive(Serialize)]
enum Question {
    Range { version: u8, author: PeerId, shard: String, incarnation: Incarnation, from: u64 },
}

#[derive(Deserialize)]
enum Answer {
    Entries { entries: Vec<ByteBuf> },
}

pub fn log_filler(without: Option<Defence>) -> Faults {
    let mut stage = Stage::new(without);
    let alice = stage.phone(A, A, "alice");
    stage.phone(B, B, "bob");
    stage.wait(Duration::from_secs(2));
    let mut pen = Pen::new(&stage.world, A, 1);
    for n in 0..ENTRIES {
        let junk = if n == 0 { vec![checkpoint()] } else { vec![vec![b'x'; EVENT_BYTES]; EVENTS] };
        let entry = pen.write(stage.world.now(A).wall, junk);
        gossip(&mut stage.world, stage.liar.host, &entry);
        stage.wait(Duration::from_millis(50));
    }
    stage.wait(Duration::from_secs(2));
    let mut faults = Faults::new();
    let kept = held(&mut stage, pen.author(), pen.incarnation());
    expect(&mut faults, kept <= KEPT_MAX, &format!("{kept} bytes of a stranger's log are kept"));
    expect(&mut faults, stage.calls(alice, "bob@r1.test"), "an honest phone is not called");
    faults
}

/// Bytes of this log that A gives to whoever asks: all that it has.
fn held(stage: &mut Stage, author: PeerId, incarnation: Incarnation) -> usize {
    let (mut from, mut bytes) = (0, 0);
    loop {
        let question = Question::Range { version: 2, author, shard: String::new(), incarnation, from };
        let answer = stage.liar.ask(&mut stage.world, A, Protocol::Log, encode(&question));
        let Ok(Answer::Entries { entries }) = answer.map(|body| decode(&body).expect("an answer")) else {
            return bytes;
        };
        let read = |e: &ByteBuf| dots_overlay::records::Entry::read(e).map(|e| e.header().seq);
        let Some(last) = entries.last().and_then(read) else { return bytes };
        bytes += entries.iter().map(|e| e.len()).sum::<usize>();
        from = last + 1;
    }
}
