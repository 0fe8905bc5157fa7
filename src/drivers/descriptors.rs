//! File descriptors. Sockets and files share one table of the process: a stranger who opens connections until it is full
//! would take HTTP, the other peers and the disk with it. So we take as large a table as we get, and phones may have half.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For all phones over TCP, all peers, HTTP and the disk.
const WANTED: u64 = 65_536;

/// Shells and services often start a program with 1,024, and let it have more.
pub fn raise() {
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(WANTED, |most| most.min(WANTED));
    if now.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: now.maximum };
        if let Err(e) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%e, "no more file descriptors can be had");
        }
    }
}

/// What phones may have of it.
pub fn for_phones() -> usize {
    let now = getrlimit(Resource::Nofile).current.unwrap_or(WANTED);
    usize::try_from(now / 2).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_get_half_of_what_there_is() {
        raise();
        let now = getrlimit(Resource::Nofile);
        let wanted = now.maximum.map_or(WANTED, |most| most.min(WANTED));
        assert!(now.current.is_none_or(|current| current >= wanted));
        assert!(for_phones() >= 1 && now.current.is_none_or(|current| for_phones() as u64 <= current / 2));
    }
}
