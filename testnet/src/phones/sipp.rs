//! SIPp, the load generator: one scenario file, a CSV of users, so many calls per second. It counts itself; the counts
//! come from its statistics file, not from its exit status alone.

use crate::{Error, Result, free_port, process::terminate};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A run that is to be made.
pub struct Run<'a> {
    /// A name in `testnet/scenarios`, without `.xml`.
    pub scenario: &'a str,
    /// `IP:PORT` of the peer; `None` for a scenario that only answers.
    pub target: Option<&'a str>,
    /// Lines of the injection file: fields of one user, parted by `;`.
    pub users: &'a [String],
    pub calls: usize,
    pub rate: usize,
    /// The local port; 0 for any.
    pub port: u16,
    /// What is asked for, as digest-uri: else SIPp writes the peer's address there.
    pub uri: &'a str,
    /// `-key NAME VALUE` for the scenario.
    pub keys: &'a [(&'a str, &'a str)],
    /// `-cid_str`: Call-IDs that a second run repeats. `None`: unique ones.
    pub call_ids: Option<&'a str>,
}

/// Of SIPp's words about what went wrong.
const TOLD_MAX: usize = 4_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub successful: u64,
    pub failed: u64,
}

/// A SIPp that runs, with its files.
pub struct Sipp {
    child: Child,
    dir: tempfile::TempDir,
}

impl Sipp {
    pub fn start(run: &Run<'_>) -> Result<Sipp> {
        let dir = tempfile::tempdir().map_err(Error::io("temporary directory"))?;
        let users = dir.path().join("users.csv");
        let mut lines = String::from("SEQUENTIAL\n");
        for line in run.users {
            lines.push_str(line);
            lines.push('\n');
        }
        std::fs::write(&users, lines).map_err(Error::io("users.csv"))?;
        let port = if run.port == 0 { free_port()? } else { run.port };
        let mut command = Command::new("sipp");
        command.args(run.target).arg("-sf").arg(scenario(run.scenario));
        if !run.users.is_empty() {
            command.arg("-inf").arg(&users);
        }
        for (name, value) in run.keys {
            command.args(["-key", name, value]);
        }
        if let Some(call_ids) = run.call_ids {
            command.args(["-cid_str", call_ids]);
        }
        // Twice the time that it has to take, and some.
        let seconds = 60 + 2 * run.calls / run.rate.max(1);
        let log = std::fs::File::create(dir.path().join("out")).map_err(Error::io("out"))?;
        let child = command
            .args(["-m", &run.calls.to_string(), "-r", &run.rate.to_string(), "-l", "1000"])
            .args(["-i", "127.0.0.1", "-p", &port.to_string(), "-nostdin", "-aa"])
            .args([
                "-timeout",
                &seconds.to_string(),
                "-recv_timeout",
                "10000",
                "-fd",
                "1",
                "-trace_err",
                "-error_file",
            ])
            .arg(dir.path().join("errors"))
            .args(["-auth_uri", run.uri])
            .args(["-trace_stat", "-stf"])
            .arg(dir.path().join("stat.csv"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(Error::io("out"))?)
            .stderr(log)
            .spawn()
            .map_err(Error::io("sipp (package sip-tester)"))?;
        Ok(Sipp { child, dir })
    }

    /// Waits for the end of all calls.
    pub fn finish(mut self) -> Result<Counts> {
        self.child.wait().map_err(Error::io("wait"))?;
        self.counts()
    }

    /// Ends a SIPp that would wait for ever, as those that answer do.
    pub fn stop(mut self) -> Result<Counts> {
        terminate(&self.child)?;
        self.child.wait().map_err(Error::io("wait"))?;
        self.counts()
    }

    /// What went wrong, in SIPp's words.
    pub fn errors(&self) -> String {
        let errors = std::fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default();
        // It also tells each ping that it answered, and each answer that came twice.
        let is_noise = |line: &str| line.contains("Automatic response mode") || line.contains(": Dead call ");
        let mut told = true;
        let mut lines = String::new();
        for line in errors.lines() {
            // Lines of a message follow the one that says what is wrong with it.
            if line.contains(": ") && line.contains('\t') {
                told = !is_noise(line);
            }
            if told && lines.len() < TOLD_MAX {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        lines
    }

    fn counts(&self) -> Result<Counts> {
        let path = self.dir.path().join("stat.csv");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let counts = parse(&text).ok_or_else(|| {
            let out = std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
            Error::Other(format!("SIPp counted nothing: {}{out}", self.errors()))
        })?;
        if counts.failed > 0 || counts.successful == 0 {
            let out = std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
            eprintln!(
                "--- SIPp: {counts:?}\n{}\n{}",
                self.errors(),
                out.chars().take(2_000).collect::<String>()
            );
        }
        Ok(counts)
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.xml"))
}

/// The cumulative columns of the last line.
fn parse(text: &str) -> Option<Counts> {
    let mut lines = text.lines().filter(|l| !l.trim().is_empty());
    let head: Vec<&str> = lines.next()?.split(';').collect();
    let last: Vec<&str> = lines.next_back()?.split(';').collect();
    let column = |name: &str| last.get(head.iter().position(|h| *h == name)?)?.parse().ok();
    Some(Counts { successful: column("SuccessfulCall(C)")?, failed: column("FailedCall(C)")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let text = "A;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);\nx;1;1;0;\nx;1;2;3;\n";
        assert_eq!(parse(text), Some(Counts { successful: 2, failed: 3 }));
        assert_eq!(parse("A;B\n"), None);
    }
}
