//! What got a 200 is there: a binding until it ends or is removed, a removal for good. And the log on disk is a chain.

use super::{Faults, agreement::bindings};
use crate::sim::{World, phone::Promise};
use dots::peer::Stream;
use dots_overlay::records::{Entry, Incarnation};
use dots_wire::Hash;
use std::{collections::BTreeMap, time::Duration};

/// Clocks of phone and peer are read at different ends of a packet's way.
const MARGIN: Duration = Duration::from_secs(2);

/// Looks at one running peer.
pub fn durability(world: &mut World, host: usize) -> Faults {
    let held: Vec<(String, String)> = bindings(world, host)
        .iter()
        .map(|b| {
            let text = |name: &str| b[name].as_str().unwrap_or_default().to_owned();
            (text("aor"), text("contact"))
        })
        .collect();
    let mut faults = Vec::new();
    for (index, phone) in world.phones.iter().enumerate() {
        let key = (phone.aor(), phone.contact());
        match phone.promise(world.hosts[host].address) {
            Promise::Bound { until } if until > world.at + MARGIN && !held.contains(&key) => {
                faults.push(format!(
                    "durability: peer {host} has lost the binding of phone {index} ({})",
                    key.0
                ));
            }
            Promise::Gone if held.contains(&key) => {
                faults.push(format!("durability: peer {host} binds phone {index} ({}) again", key.0));
            }
            _ => {}
        }
    }
    faults.extend(chain(world, host));
    faults
}

/// Our own entries of each life: from 0 on, each naming the one before.
fn chain(world: &World, host: usize) -> Faults {
    let mut faults = Vec::new();
    let mut ends: BTreeMap<Incarnation, (u64, Hash)> = BTreeMap::new();
    for record in world.hosts[host].disk.acknowledged(Stream::Log) {
        let Some(entry) = Entry::read(&record) else {
            faults.push(format!("durability: peer {host} has a record in its log that is no entry"));
            continue;
        };
        if entry.header().author != world.hosts[host].id {
            continue;
        }
        let Some(entry) = entry.verify() else {
            faults.push(format!("durability: peer {host} has an entry in its log with a wrong signature"));
            continue;
        };
        let first = match entry.is_checkpoint() {
            // Cut behind it: what was before is of no use to a later start.
            true => (entry.header.seq, entry.header.prev),
            false => (0, Hash([0; 32])),
        };
        let expected = ends.get(&entry.header.incarnation).copied().unwrap_or(first);
        if (entry.header.seq, entry.header.prev) != expected {
            let (seq, wanted) = (entry.header.seq, expected.0);
            faults.push(format!(
                "durability: entry {seq} of peer {host} does not follow, {wanted} was expected"
            ));
        }
        ends.insert(entry.header.incarnation, (entry.header.seq + 1, entry.hash));
    }
    faults
}
