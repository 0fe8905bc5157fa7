//! One real peer. It is the binary `dots` next to the running test (`target/debug/dots`), on a data directory of its
//! own that outlives the process, so that a test can kill the peer and start it again on what it left behind.

use crate::{Error, Result, command::Said, free_port, poll};
use serde::Deserialize;
use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

/// What is taken for never.
const READY: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// The ready file, as the peer writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ready {
    pub peer_id: String,
    pub sip: Vec<String>,
    pub p2p: Vec<String>,
    pub http: String,
}

pub struct Peer {
    dir: PathBuf,
    /// Removed with the peer, where nobody named a directory.
    _temporary: Option<tempfile::TempDir>,
    binary: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
    ready: Ready,
}

/// `dots`, beside this program or in the directory above `deps/`. `cargo test` does not build it, so one that is older
/// than its sources is refused: its test would say something about yesterday's peer.
pub fn binary() -> Result<PathBuf> {
    static FOUND: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find_binary().map_err(|e| e.to_string())).clone().map_err(Error::Other)
}

fn find_binary() -> Result<PathBuf> {
    let near = target_directories()?.into_iter().map(|d| d.join("dots")).find(|p| p.is_file());
    let near = near
        .ok_or_else(|| Error::Other("no `dots` in the target directory: run `cargo build --bins`".into()))?;
    match newer_source(&near)? {
        Some(source) => {
            let why = format!("`dots` is older than {source}: run `cargo build --bins`");
            Err(Error::Other(why))
        }
        None => Ok(near),
    }
}

/// The release build of the same sources, if there is one.
pub fn release_binary() -> Result<Option<PathBuf>> {
    let found = target_directories()?.into_iter().map(|d| d.with_file_name("release").join("dots"));
    for path in found.filter(|p| p.is_file()) {
        if newer_source(&path)?.is_none() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Where this program lies, and above that: tests lie in `deps/`.
fn target_directories() -> Result<Vec<PathBuf>> {
    let here = std::env::current_exe().map_err(Error::io("own path"))?;
    Ok(here.ancestors().skip(1).take(2).map(Path::to_owned).collect())
}

/// By Cargo's own list of what a binary was made from; one that was put there by other means has none.
fn newer_source(binary: &Path) -> Result<Option<String>> {
    let list = std::fs::read_to_string(binary.with_extension("d")).unwrap_or_default();
    let built = changed(binary)?;
    let mut sources = list.split_once(": ").map_or("", |(_, list)| list).split_whitespace();
    let newer = sources.find(|source| changed(Path::new(source)).is_ok_and(|at| at > built));
    Ok(newer.map(str::to_owned))
}

fn changed(path: &Path) -> Result<SystemTime> {
    let at = std::fs::metadata(path).and_then(|m| m.modified());
    at.map_err(Error::io(path.display().to_string()))
}

impl Peer {
    /// A peer that is ready. `flags` come after those that every test peer gets.
    pub fn start(realm: &str, flags: &[&str]) -> Result<Peer> {
        Peer::start_from(&binary()?, None, realm, flags)
    }

    /// The same from a certain binary, in a directory that outlives it.
    pub fn start_from(binary: &Path, dir: Option<&Path>, realm: &str, flags: &[&str]) -> Result<Peer> {
        let (sip, http, p2p) = (free_port()?, free_port()?, free_port()?);
        let at =
            [format!("127.0.0.1:{sip}"), format!("127.0.0.1:{http}"), format!("/ip4/127.0.0.1/tcp/{p2p}")];
        Peer::start_at(at, binary, dir, realm, flags)
    }

    /// A peer that knows nothing but IPv6, at ports that it chooses itself.
    pub fn start_six(realm: &str, flags: &[&str]) -> Result<Peer> {
        let at = ["[::1]:0", "[::1]:0", "/ip6/::1/tcp/0"].map(str::to_owned);
        Peer::start_at(at, &binary()?, None, realm, flags)
    }

    fn start_at(
        at: [String; 3],
        binary: &Path,
        dir: Option<&Path>,
        realm: &str,
        flags: &[&str],
    ) -> Result<Peer> {
        let (dir, temporary) = match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir).map_err(Error::io(dir.display().to_string()))?;
                (dir.to_owned(), None)
            }
            None => {
                let temporary = tempfile::tempdir().map_err(Error::io("temporary directory"))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let network = format!("testnet-{}", std::process::id());
        let mut all: Vec<String> =
            ["--no-mdns", "--network", &network, "--realm", realm].map(str::to_owned).to_vec();
        all.extend(flags.iter().map(|&f| f.to_owned()));
        let binary = binary.to_owned();
        let mut peer =
            Peer { dir, _temporary: temporary, binary, flags: all, child: None, ready: Ready::default() };
        peer.run(&at)?;
        Ok(peer)
    }

    /// A peer that is ready and has joined by `other`.
    pub fn join(other: &Peer, realm: &str, flags: &[&str]) -> Result<Peer> {
        let mut all = vec!["--bootstrap", other.p2p()?];
        all.extend(flags);
        let peer = Peer::start(realm, &all)?;
        peer.meets(other)?;
        Ok(peer)
    }

    /// Waits until the peer knows `other` and its realms.
    pub fn meets(&self, other: &Peer) -> Result<()> {
        let (client, met) = (self.client()?, other.ready.peer_id.clone());
        poll("the peers meet", READY, || {
            let peers = client.peers().map_err(|e| Error::Other(e.to_string()))?;
            Ok(peers.iter().any(|p| p.peer_id == met && !p.realms.is_empty()).then_some(()))
        })
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
    /// The process, while there is one.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
    pub fn ready(&self) -> &Ready {
        &self.ready
    }
    /// Where phones find the peer: `127.0.0.1:5060`.
    pub fn sip(&self) -> Result<&str> {
        let first = self.ready.sip.first();
        first.map(String::as_str).ok_or_else(|| Error::Other("the peer listens nowhere for SIP".into()))
    }

    /// Where peers find the peer, its id included.
    pub fn p2p(&self) -> Result<&str> {
        let first = self.ready.p2p.first();
        first.map(String::as_str).ok_or_else(|| Error::Other("the peer listens nowhere for peers".into()))
    }

    /// The HTTP API, with the token of the data directory.
    pub fn client(&self) -> Result<dots_clients::Client> {
        let path = self.data().join("http.token");
        let token = std::fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
        Ok(dots_clients::Client::new(self.ready.http.clone(), Some(token)))
    }

    /// What the peer counts, as text for Prometheus.
    pub fn metrics(&self) -> Result<String> {
        let address = &self.ready.http;
        let mut stream = TcpStream::connect(address).map_err(Error::io(address))?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut text = String::new();
        let read = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut text));
        read.map_err(Error::io("metrics"))?;
        Ok(text)
    }

    /// `dots` with these words, on this peer's data directory, whether the peer runs or not.
    pub fn dots(&self, words: &[&str], stdin: &str) -> Result<Said> {
        Said::of(Command::new(&self.binary).args(words).arg("--data").arg(self.data()), stdin)
    }

    /// `dots account add`, the password on standard input.
    pub fn account(&self, aor: &str, password: &str) -> Result<()> {
        let said = self.dots(&["account", "add", aor, "--password-stdin"], &format!("{password}\n"))?;
        said.ok().map(drop)
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().map_err(Error::io("kill"))?;
        child.wait().map_err(Error::io("wait"))?;
        Ok(())
    }

    /// SIGTERM, a clean end, and no panic in all its lives.
    pub fn stop(&mut self) -> Result<()> {
        self.ask_to_stop()?;
        match self.ended()? {
            Some(status) if !status.success() => {
                Err(Error::Other(format!("the peer ended with {status}\n{}", self.log())))
            }
            // A task that panics takes nobody with it; it is a broken promise all the same.
            _ if self.log().contains("panicked at") => {
                Err(Error::Other(format!("the peer panicked\n{}", self.log())))
            }
            _ => Ok(()),
        }
    }

    /// SIGTERM alone: several can end at the same time.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.child.as_ref().map_or(Ok(()), terminate)
    }

    /// Waits for the end that was asked for. `None`: it had none to come.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        let exit = poll("the peer stops", STOP, || child.try_wait().map_err(Error::io("wait")));
        if exit.is_err() {
            child.kill().map_err(Error::io("kill"))?;
            child.wait().map_err(Error::io("wait"))?;
        }
        exit.map(Some)
    }

    /// Has the process ended by itself?
    pub fn is_gone(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else { return Ok(true) };
        Ok(child.try_wait().map_err(Error::io("wait"))?.is_some())
    }

    /// Starts again on the same data, at the same addresses (the phones know no others).
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let at = self.addresses()?;
        self.run(&at)
    }

    /// Starts again, and is killed `after` that, wherever its start has got to.
    pub fn restart_and_kill(&mut self, after: Duration) -> Result<()> {
        self.kill()?;
        let at = self.addresses()?;
        self.spawn(&at)?;
        std::thread::sleep(after);
        self.kill()
    }

    /// `--sip`, `--http` and `--p2p` that mean where it listened.
    fn addresses(&self) -> Result<[String; 3]> {
        let p2p = self.p2p()?.split("/p2p/").next().unwrap_or_default();
        Ok([self.sip()?.to_owned(), self.ready.http.clone(), p2p.to_owned()])
    }

    /// What the peer said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn run(&mut self, at: &[String; 3]) -> Result<()> {
        let ready = self.spawn(at)?;
        let Some(child) = &mut self.child else { return Ok(()) };
        let said = poll("the ready file", READY, || {
            if let Some(status) = child.try_wait().map_err(Error::io("wait"))? {
                return Err(Error::Other(format!("the peer ended with {status} before it was ready")));
            }
            read_ready(&ready)
        });
        self.ready = said.map_err(|e| Error::Other(format!("{e}\n{}", self.log())))?;
        Ok(())
    }

    /// Returns where the ready file will be.
    fn spawn(&mut self, [sip, http, p2p]: &[String; 3]) -> Result<PathBuf> {
        let ready = self.dir.join("ready");
        let _ = std::fs::remove_file(&ready);
        let log =
            File::options().create(true).append(true).open(self.dir.join("log")).map_err(Error::io("log"))?;
        let copy = log.try_clone().map_err(Error::io("log"))?;
        let child = Command::new(&self.binary)
            .args(["up", "--sip", sip, "--http", http, "--p2p", p2p, "--data"])
            .arg(self.data())
            .arg("--ready-file")
            .arg(&ready)
            .args(&self.flags)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy)
            .spawn()
            .map_err(Error::io("dots up"))?;
        self.child = Some(child);
        Ok(ready)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.data().display(), self.log());
        }
        let _ = self.kill();
    }
}

fn read_ready(path: &Path) -> Result<Option<Ready>> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    let ready = serde_json::from_str(&text);
    ready.map(Some).map_err(|e| Error::Other(format!("ready file: {e}: {text}")))
}

/// SIGTERM through kill(1): the workspace has no unsafe code, and std has no signals.
pub(crate) fn terminate(child: &Child) -> Result<()> {
    let id = child.id().to_string();
    Command::new("kill").args(["-TERM", &id]).status().map_err(Error::io("kill"))?;
    Ok(())
}
