//! CPU time of a server: user and system time of all its processes, as the kernel counts it (proc(5), `/proc/PID/stat`).
//! Time on the clock says little on a machine that others use too.

use crate::{Error, Result};
use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

/// What is still being written when the last answer is out belongs to the work: we wait until it is done.
const CALM: Duration = Duration::from_millis(300);
const CALM_MAX: Duration = Duration::from_secs(5);

/// Ticks of `/proc` in one second.
pub fn ticks_per_second() -> Result<f64> {
    let out = Command::new("getconf").arg("CLK_TCK").output().map_err(Error::io("getconf"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    text.trim().parse().map_err(|_| Error::Other(format!("getconf CLK_TCK: {text}")))
}

/// Ticks that these processes and all their children have used so far, once they rest.
pub fn used(roots: &[u32]) -> Result<u64> {
    let (mut last, end) = (ticks(roots)?, Instant::now() + CALM_MAX);
    loop {
        std::thread::sleep(CALM);
        let now = ticks(roots)?;
        // One tick is what an idle server may use meanwhile.
        if now <= last + 1 || Instant::now() >= end {
            return Ok(now);
        }
        last = now;
    }
}

/// These processes and all their children.
pub fn tree(roots: &[u32]) -> Result<Vec<u32>> {
    Ok(family(roots)?.into_iter().map(|(id, _)| id).collect())
}

/// Ticks that they have used up to now, at rest or not.
pub fn ticks(roots: &[u32]) -> Result<u64> {
    Ok(family(roots)?.into_iter().map(|(_, stat)| stat.ticks).sum())
}

fn family(roots: &[u32]) -> Result<Vec<(u32, Stat)>> {
    let mut all: BTreeMap<u32, Stat> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").map_err(Error::io("/proc"))?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(text) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        all.extend(parse(&text).map(|stat| (id, stat)));
    }
    let (mut found, mut todo) = (Vec::new(), roots.to_vec());
    while let Some(id) = todo.pop() {
        let stat = all.get(&id).ok_or_else(|| Error::Other(format!("the server (process {id}) is gone")))?;
        todo.extend(all.iter().filter(|(_, s)| s.parent == id).map(|(id, _)| *id));
        found.push((id, *stat));
    }
    Ok(found)
}

#[derive(Clone, Copy)]
struct Stat {
    parent: u32,
    ticks: u64,
}

/// `PID (name) state ppid … utime stime …`; the name may hold anything, brackets too.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: number(11)?.checked_add(number(12)?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks() {
        let stat = parse("7 (a) b) S 3 7 7 0 -1 4194560 1 0 0 0 250 13 9 9 20 0 1 0 5 6").unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 263));
        assert!(parse("7 (a").is_none());
    }

    #[test]
    fn work_is_counted() {
        let before = ticks(&[std::process::id()]).unwrap();
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        assert!(ticks(&[std::process::id()]).unwrap() > before);
        assert!(ticks(&[u32::MAX]).is_err());
    }
}
