//! When nobody asks for anything any more, nothing is left under way; and no peer ever heard nonsense from an honest one.

use super::Faults;
use crate::sim::World;

/// What honest peers and phones never make anybody count.
const NEVER: [&str; 5] = ["bad_peer_message", "log_invalid", "log_full", "link_full", "overlay_via_refused"];

pub fn calm(world: &World) -> Faults {
    let mut faults = Vec::new();
    for (index, host) in world.hosts.iter().enumerate() {
        if host.peer.as_ref().is_some_and(|p| !p.is_quiet()) {
            faults.push(format!("calm: something is still under way at peer {index}"));
        }
        for name in NEVER.iter().filter(|name| host.count(name) > 0) {
            faults.push(format!("calm: peer {index} counted {} {name}", host.count(name)));
        }
    }
    faults
}
