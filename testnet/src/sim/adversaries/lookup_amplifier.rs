//! Made-up authors say that they serve a phone of somebody else's realm, with grants that no home signed and that name a record newer
//! than anybody has, so that nobody can say yet that they are false. A call to that phone, or a look-up of it, costs no check of any of
//! them.

use super::{A, B, Defence, Faults, Pen, Stage, checkpoint, expect, gossip};
use crate::sim::liar::{Draft, realm_record};
use dots_overlay::records::{Bind, Event, GrantProof};
use dots_wire::{Hash, decode, encode, sha256};
use std::time::Duration;

const AUTHORS: u32 = 4;
const OF_EACH: u32 = 8;
const CALLS: u64 = 5;

pub fn lookup_amplifier(without: Option<Defence>) -> Faults {
    let mut stage = Stage::new(without);
    let bob = stage.phone(B, B, "bob");
    stage.phone(A, A, "alice");
    stage.wait(Duration::from_secs(2));
    let (record, now) = (realm_record(&stage.world, A, "r0.test"), stage.world.now(A).wall);
    for n in 0..AUTHORS {
        let mut pen = Pen::new(&stage.world, A, 70 + n);
        let bind = |phone: u32| {
            let instance = format!("{n}-{phone}");
            let mut draft = Draft::bind(&stage.world, A, pen.author(), "alice@r0.test", &instance);
            draft.grant.realm_seq = now.0 + 30_000;
            // As the home would write it, but for the signature: that takes a check to see.
            let mut proof: GrantProof = decode(&draft.bytes()).expect("a grant");
            proof.root.signature.0[9] ^= 1;
            let grant = Some(encode(&proof).into());
            let (aor_id, realm, until) = (record.aor_id("alice@r0.test"), record.id(), draft.grant.not_after);
            let instance: Hash = sha256(instance.as_bytes());
            encode(&Event::Bind(Bind { aor_id, realm, instance, until, grant }))
        };
        let binds: Vec<Vec<u8>> = (0..OF_EACH).map(bind).collect();
        let events = std::iter::once(checkpoint()).chain(binds).collect();
        let entry = pen.write(now, events);
        gossip(&mut stage.world, stage.liar.host, &entry);
    }
    stage.wait(Duration::from_secs(2));
    let checks = |stage: &Stage| stage.world.hosts[B].count("grant_signatures_checked");
    let before = checks(&stage);
    let mut faults = Faults::new();
    for _ in 0..CALLS {
        expect(&mut faults, stage.calls(bob, "alice@r0.test"), "a phone that others lie about is not called");
    }
    let each = (checks(&stage) - before) / CALLS;
    expect(&mut faults, each <= 4, "each call makes its peer check what strangers say");
    faults
}
