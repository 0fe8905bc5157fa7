//! A generator that takes the server's core measures itself. Where there are two, the server gets the first for itself, and we
//! the others.

use super::cpu;
use crate::{Error, Result, command::Said};
use std::process::Command;

/// Ends it for us; the server ends anyway.
pub struct Apart {
    all: Option<String>,
}

/// Those processes and their children on one core, this one on the rest. With one core, nothing.
pub fn apart(roots: &[u32]) -> Result<Apart> {
    let count = std::thread::available_parallelism().map_err(Error::io("cores"))?.get();
    if count < 2 {
        eprintln!("one core: the server shares it with its generator");
        return Ok(Apart { all: None });
    }
    for id in cpu::tree(roots)? {
        pin(id, "0")?;
    }
    pin(std::process::id(), &format!("1-{}", count - 1))?;
    Ok(Apart { all: Some(format!("0-{}", count - 1)) })
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.all.as_ref().map(|all| pin(std::process::id(), all));
    }
}

/// taskset(1), with all threads that there are.
fn pin(id: u32, cores: &str) -> Result<()> {
    Said::of(
        Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", cores, &id.to_string()]),
        "",
    )?
    .ok()
    .map(drop)
}
