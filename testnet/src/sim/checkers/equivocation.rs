//! Nobody ever signs two entries of one number in one life, or two receipts of one call.

use super::Faults;
use crate::sim::World;

pub fn equivocation(world: &World) -> Faults {
    let said = world.watch.contradictions.iter().map(|c| format!("equivocation: {c}"));
    let fatal = world.hosts.iter().filter_map(|h| h.fatal.as_ref());
    let caught = world.hosts.iter().enumerate().filter(|(_, h)| h.count("log_equivocation") > 0);
    said.chain(fatal.map(|why| format!("equivocation: a peer stopped: {why}")))
        .chain(caught.map(|(i, _)| format!("equivocation: peer {i} has convicted somebody")))
        .collect()
}
