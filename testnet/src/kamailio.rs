//! Debian's Kamailio: what we are measured beside (`testnet/bench/kamailio.cfg`), and what stands between phones and their peer
//! (`testnet/scenarios/edge.cfg`).

use crate::{Error, Result, free_port, phones::plain::Plain, poll, process::terminate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

const READY: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

pub struct Kamailio {
    child: Child,
    /// Its files.
    dir: tempfile::TempDir,
    pub server: String,
}

impl Kamailio {
    /// The reference, at a port of its own.
    pub fn start() -> Result<Kamailio> {
        Kamailio::run("bench/kamailio.cfg", &[])
    }

    /// Between phones and the peer at `peer` (`IP:PORT`).
    pub fn before(peer: &str) -> Result<Kamailio> {
        let port = peer.rsplit_once(':').map_or("", |(_, port)| port);
        let (uri, port) = (format!("PEER=\"sip:{peer}\""), format!("PEER_PORT={port}"));
        Kamailio::run("scenarios/edge.cfg", &["-A", &uri, "-A", &port])
    }

    fn run(config: &str, more: &[&str]) -> Result<Kamailio> {
        version().ok_or_else(|| {
            Error::Other("no kamailio: `testnet/check` and `testnet/bench/run` install what is needed".into())
        })?;
        let dir = tempfile::tempdir().map_err(Error::io("temporary directory"))?;
        let server = format!("127.0.0.1:{}", free_port()?);
        let log = File::create(dir.path().join("log")).map_err(Error::io("log"))?;
        let copy = log.try_clone().map_err(Error::io("log"))?;
        let child = Command::new(program())
            .arg("-f")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(config))
            .args(["-DD", "-E", "-m", "512", "-M", "16", "-Y"])
            .arg(dir.path())
            .arg("-P")
            .arg(dir.path().join("pid"))
            .args(["-l", &format!("udp:{server}"), "-l", &format!("tcp:{server}")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .map_err(Error::io("kamailio"))?;
        let mut kamailio = Kamailio { child, dir, server };
        kamailio.wait_until_it_answers()?;
        Ok(kamailio)
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let mut probe = Plain::new(&self.server, "probe@a.test", "secret", &mut ChaCha8Rng::from_os_rng())?;
        poll("Kamailio answers", READY, || {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait"))? {
                return Err(Error::Other(format!("kamailio ended with {status}\n{}", self.log())));
            }
            Ok(probe.options(Duration::from_millis(300))?.filter(|status| *status == 200))
        })?;
        Ok(())
    }
}

impl Drop for Kamailio {
    /// SIGTERM: it ends its children itself, which SIGKILL would leave behind.
    fn drop(&mut self) {
        let ended = terminate(&self.child)
            .and_then(|()| poll("Kamailio stops", STOP, || self.child.try_wait().map_err(Error::io("wait"))));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// `5.6.3`, where it is installed.
pub fn version() -> Option<String> {
    let out = Command::new(program()).arg("-v").output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// Debian puts it where only root's PATH leads.
fn program() -> &'static str {
    const DEBIAN: &str = "/usr/sbin/kamailio";
    if Path::new(DEBIAN).is_file() { DEBIAN } else { "kamailio" }
}
