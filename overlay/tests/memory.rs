//! What a binding costs in memory, with everything that the overlay keeps for it: directory, own log, chains, verification,
//! planned puts.

#[path = "../wire/tests/held/mod.rs"]
mod held;

use dots_overlay::{
    core::{OverlayCore, OverlayOutput},
    records::{Bind, Event},
    transport::{NetCommand, NetEvent},
};
use dots_wire::{
    Label20, Now, SecretKey, Timestamp,
    bounded::{Cause, Standing},
};
use std::time::{Duration, Instant};

const PHONES: usize = 10_000;
/// A grant with its path, in a batch of a few.
const GRANT: usize = 500;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn bind(now: Now, n: usize, grant: usize) -> Event {
    let name = dots_wire::sha256(&n.to_be_bytes());
    let instance = dots_wire::sha256(&name.0);
    let until = now.wall.plus(Duration::from_secs(3_600));
    let grant = (grant > 0).then(|| vec![7; grant].into());
    Event::Bind(Bind { aor_id: name, realm: Label20([4; 20]), instance, until, grant })
}

/// Everything that a core says: what is written is on disk at once, what is claimed is granted.
fn drain(core: &mut OverlayCore, now: Now, published: &mut Vec<Vec<u8>>) {
    while let Some(output) = core.poll_output() {
        match output {
            OverlayOutput::Append { token, .. } => core.durable(now, token),
            OverlayOutput::NewBind(claim) => core.granted(now, claim.binding, Cause::new(Standing::Other)),
            OverlayOutput::Net(NetCommand::Publish { body }) => published.push(body),
            _ => {}
        }
    }
}

fn pass(now: &mut Now, time: Duration) {
    *now = Now { mono: now.mono + time, wall: now.wall.plus(time) };
}

/// A peer at which so many phones registered, ten in each batch.
fn serving(grant: usize) -> (OverlayCore, Now, Vec<Vec<u8>>, usize) {
    let mut now = Now { mono: Instant::now(), wall: Timestamp(1_700_000_000_000) };
    let mut core = OverlayCore::new(key(1), "main".into(), 1, now);
    let mut published = Vec::new();
    drain(&mut core, now, &mut published);
    let before = held::bytes();
    let mut of_test = 0;
    for n in 0..PHONES {
        core.append(now, bind(now, n, grant));
        if n % 10 == 9 {
            pass(&mut now, Duration::from_millis(20));
            core.handle_timeout(now);
            let from = published.len();
            drain(&mut core, now, &mut published);
            of_test += published[from..].iter().map(Vec::capacity).sum::<usize>();
        }
    }
    // A minute later all is said, and what comes for a moment has gone.
    for _ in 0..60 {
        pass(&mut now, Duration::from_secs(1));
        core.handle_timeout(now);
        drain(&mut core, now, &mut published);
    }
    let held = held::bytes() - before;
    let held = held - of_test - published.capacity() * size_of::<Vec<u8>>();
    (core, now, published, held)
}

#[test]
fn what_a_binding_costs() {
    let (core, _, _, home) = serving(0);
    assert_eq!(core.len(), PHONES);
    drop(core);
    let (core, now, published, roaming) = serving(GRANT);
    drop(core);
    let before = held::bytes();
    let mut reader = OverlayCore::new(key(2), "main".into(), 2, now);
    let from = key(1).peer_id();
    reader.handle_net(now, NetEvent::Connected { peer: from });
    for (id, body) in published.iter().enumerate() {
        reader.handle_net(now, NetEvent::Gossip { from, id: id as u64, body: body.clone() });
        drain(&mut reader, now, &mut Vec::new());
    }
    let replica = held::bytes() - before;
    assert_eq!(reader.len(), PHONES);
    let each = |bytes: usize| bytes / PHONES;
    eprintln!(
        "a binding at its home {} B, with a grant of {GRANT} B at the peer that serves it {} B, in a replica {} B",
        each(home),
        each(roaming),
        each(replica)
    );
    assert!(each(home) < HOME_MAX, "{}", each(home));
    assert!(each(roaming) < ROAMING_MAX, "{}", each(roaming));
    assert!(each(replica) < REPLICA_MAX, "{}", each(replica));
}

/// Bytes of a binding without a grant, all tables of the overlay together.
const HOME_MAX: usize = 1_400;
/// The same with a grant, which is held once.
const ROAMING_MAX: usize = 3_000;
/// At a peer that follows the log, with the log.
const REPLICA_MAX: usize = 2_400;
