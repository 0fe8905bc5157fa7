//! A receipt that is whole at one side is whole at the other, in the same bytes. Look when both had time to finish.

use super::Faults;
use crate::sim::World;
use dots::peer::Stream;
use dots_ledger::receipt::{Receipt, Stored, Whole};
use dots_wire::{Checked, Hash, PeerId};
use std::collections::BTreeMap;

pub fn receipts(world: &World) -> Faults {
    let mut faults = Vec::new();
    let held: Vec<BTreeMap<Hash, Whole>> =
        (0..world.hosts.len()).map(|h| whole(world, h, &mut faults)).collect();
    for (host, mine) in held.iter().enumerate() {
        for (id, whole) in mine {
            let Ok(receipt) = Receipt::read(&whole.receipt) else { continue };
            for peer in [receipt.facts.caller_peer, receipt.facts.callee_peer].map(PeerId) {
                let other = world.host_of(peer).and_then(|h| held.get(h)?.get(id));
                if other != Some(whole) {
                    let what = if other.is_some() { "another one" } else { "none" };
                    faults.push(format!(
                        "receipts: peer {host} holds a whole receipt of call {id}, peer {:?} {what}",
                        world.host_of(peer)
                    ));
                }
            }
        }
    }
    faults
}

/// Whole receipts on the disk of this host.
pub fn whole(world: &World, host: usize, faults: &mut Faults) -> BTreeMap<Hash, Whole> {
    let mut found = BTreeMap::new();
    for record in world.hosts[host].disk.acknowledged(Stream::Receipts) {
        let Some(stored) = Stored::read(&record) else {
            faults.push(format!("receipts: peer {host} has a record that it cannot read"));
            continue;
        };
        if let Stored::Whole(note) = stored {
            match note.whole.verify(&mut Checked::default()) {
                Ok(receipt) => {
                    found.insert(receipt.facts.call_id, note.whole);
                }
                Err(why) => faults.push(format!("receipts: peer {host} holds a bad one: {why}")),
            }
        }
    }
    found
}
