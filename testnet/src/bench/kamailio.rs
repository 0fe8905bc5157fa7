//! The reference: Debian's Kamailio with `testnet/bench/kamailio.cfg`.

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
    _dir: tempfile::TempDir,
    pub server: String,
}

impl Kamailio {
    pub fn start() -> Result<Kamailio> {
        version()
            .ok_or_else(|| Error::Other("no kamailio: `testnet/bench/run` installs what is needed".into()))?;
        let dir = tempfile::tempdir().map_err(Error::io("temporary directory"))?;
        let server = format!("127.0.0.1:{}", free_port()?);
        let log = File::create(dir.path().join("log")).map_err(Error::io("log"))?;
        let copy = log.try_clone().map_err(Error::io("log"))?;
        let child = Command::new("kamailio")
            .arg("-f")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/kamailio.cfg"))
            .args(["-DD", "-E", "-m", "512", "-M", "16", "-Y"])
            .arg(dir.path())
            .arg("-P")
            .arg(dir.path().join("pid"))
            .args(["-l", &format!("udp:{server}"), "-l", &format!("tcp:{server}")])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .map_err(Error::io("kamailio"))?;
        let mut kamailio = Kamailio { child, _dir: dir, server };
        kamailio.wait_until_it_answers()?;
        Ok(kamailio)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let mut probe = Plain::new(&self.server, "probe@a.test", "secret", &mut ChaCha8Rng::from_os_rng())?;
        let log = self._dir.path().join("log");
        poll("Kamailio answers", READY, || {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait"))? {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(Error::Other(format!("kamailio ended with {status}\n{log}")));
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
    let out = Command::new("kamailio").arg("-v").output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}
