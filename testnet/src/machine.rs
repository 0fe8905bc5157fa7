//! A machine of its own: a network namespace with one address, one cable from here, and, where it is wanted, a name server.
//! Making one takes root.

use crate::{
    Error, Result,
    command::Said,
    poll,
    process::{Ready, binary, terminate},
};
use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// What is taken for never.
const SOON: Duration = Duration::from_secs(30);
/// One process makes at most so many.
const MACHINES: u32 = 8;

/// It goes with the value.
pub struct Machine {
    name: String,
    pub address: String,
}

impl Machine {
    /// `None`: we may not.
    pub fn new() -> Result<Option<Machine>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (id, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // 198.18.0.0/15 is for tests (RFC 2544); each machine takes four addresses of it.
        let net = 0xc612_0000 + (id.wrapping_mul(MACHINES).wrapping_add(number)) % 0x8000 * 4;
        let address = |host: u32| Ipv4Addr::from(net + host).to_string();
        let (name, cable) = (format!("dots-{id}-{number}"), format!("dots{}-{number}", id % 1_000_000));
        // What a test that was killed left under this name.
        let _ = ip(&format!("netns del {name}"));
        if let Err(why) = ip(&format!("netns add {name}")) {
            let said = why.to_string();
            if !said.contains("permitted") && !said.contains("denied") {
                return Err(why);
            }
            eprintln!("skipped, no network namespace can be made here: {why}");
            return Ok(None);
        }
        let machine = Machine { name: name.clone(), address: address(2) };
        for words in [
            format!("-n {name} link set lo up"),
            format!("link add {cable} type veth peer name eth0 netns {name}"),
            format!("addr add {}/30 dev {cable}", address(1)),
            format!("link set {cable} up"),
            format!("-n {name} addr add {}/30 dev eth0", address(2)),
            format!("-n {name} link set eth0 up"),
        ] {
            ip(&words)?;
        }
        Ok(Some(machine))
    }

    /// `dots` on that machine, for a user with this home and nothing else in the environment.
    pub fn dots(&self, home: &Home, words: &[&str]) -> Result<Command> {
        let mut all = vec![binary()?.display().to_string()];
        all.extend(words.iter().map(|&w| w.to_owned()));
        Ok(self.command(home, &all))
    }

    /// Any command for that user.
    pub fn command(&self, home: &Home, words: &[String]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env(home.variable, &home.path);
        command
    }

    /// Any command, to its end.
    pub fn run(&self, words: &[&str]) -> Result<()> {
        Said::of(Command::new("ip").args(["netns", "exec", &self.name]).args(words), "")?.ok().map(drop)
    }

    /// A name server (dnsmasq) that knows these TXT records and nothing else; all that is started on this machine from now
    /// on asks it.
    pub fn name_server(&self, txt: &[(&str, &str)]) -> Result<NameServer> {
        let etc = self.etc();
        fs::create_dir_all(&etc).map_err(Error::io(etc.display().to_string()))?;
        // ip-netns(8): it lies over /etc/resolv.conf there.
        fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.1\n").map_err(Error::io("resolv.conf"))?;
        let log = tempfile::NamedTempFile::new().map_err(Error::io("log"))?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"])
            .args(["--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces"])
            .args(["--user=root", "--pid-file=", "--log-facility=-"]);
        for (name, text) in txt {
            command.arg(format!("--txt-record={name},{text}"));
        }
        let copy = || log.as_file().try_clone().map_err(Error::io("log"));
        command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
        let mut server = NameServer(command.spawn().map_err(Error::io("dnsmasq (package dnsmasq-base)"))?);
        let said = || fs::read_to_string(log.path()).unwrap_or_default();
        poll("the name server", SOON, || {
            if server.0.try_wait().map_err(Error::io("wait"))?.is_some() {
                return Err(Error::Other(said()));
            }
            Ok(said().contains("started, version").then_some(()))
        })?;
        Ok(server)
    }

    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its end of the cable goes with it, and so the cable.
        let _ = ip(&format!("netns del {}", self.name));
        let _ = fs::remove_dir_all(self.etc());
        // Only where nobody else needs it.
        let _ = fs::remove_dir("/etc/netns");
    }
}

fn ip(words: &str) -> Result<()> {
    Said::of(Command::new("ip").args(words.split(' ')), "")?.ok().map(drop)
}

pub struct NameServer(Child);

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a user's data directory will be.
pub struct Home {
    variable: &'static str,
    pub path: PathBuf,
    pub data: PathBuf,
}

impl Home {
    /// `variable`: the one of the environment that says where; `below`: the data directory in it.
    pub fn new(dir: &Path, name: &str, variable: &'static str, below: &str) -> Result<Home> {
        let path = dir.join(name);
        fs::create_dir(&path).map_err(Error::io(path.display().to_string()))?;
        Ok(Home { variable, data: path.join(below), path })
    }
}

/// A peer of that machine's, at its address.
pub struct Node<'a> {
    machine: &'a Machine,
    home: Home,
    up: Up,
    ready: Ready,
    words: Vec<String>,
}

impl<'a> Node<'a> {
    /// `number`: which one of the machine's; 0 has the usual ports. It finds nobody by itself.
    pub fn start(
        machine: &'a Machine,
        dir: &Path,
        number: u16,
        realm: &str,
        bootstrap: Option<&Node<'_>>,
    ) -> Result<Node<'a>> {
        let home = Home::new(dir, &number.to_string(), "HOME", ".local/share/dots")?;
        let (ready, at) = (home.path.join("ready").display().to_string(), &machine.address);
        let sip = format!("{at}:{}", 5060 + number);
        let http = format!("127.0.0.1:{}", 8080 + number);
        let p2p = format!("/ip4/{at}/tcp/{}", 4001 + number);
        let mut words = vec!["up", "--no-mdns", "--realm", realm, "--ready-file", &ready];
        words.extend(["--sip", &sip, "--http", &http, "--p2p", &p2p]);
        words.extend(bootstrap.iter().flat_map(|other| ["--bootstrap", other.p2p()]));
        let up = Up::start(machine, &home, &words)?;
        let words = words.into_iter().map(str::to_owned).collect();
        let ready = up.ready()?;
        Ok(Node { machine, home, up, ready, words })
    }

    /// On what it left behind, and now by `bootstrap`.
    pub fn start_again(self, bootstrap: &Node<'_>) -> Result<Node<'a>> {
        let Node { machine, home, up, mut words, .. } = self;
        up.stop()?;
        fs::remove_file(home.path.join("ready")).map_err(Error::io("the ready file"))?;
        words.extend(["--bootstrap", bootstrap.p2p()].map(str::to_owned));
        let up = Up::start(machine, &home, &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        let ready = up.ready()?;
        Ok(Node { machine, home, up, ready, words })
    }

    /// `dots` with these words, on its data directory.
    pub fn dots(&self, words: &[&str], stdin: &str) -> Result<Said> {
        Said::of(&mut self.machine.dots(&self.home, words)?, stdin)
    }

    pub fn ready(&self) -> &Ready {
        &self.ready
    }
    pub fn sip(&self) -> &str {
        self.ready.sip.first().map_or("", String::as_str)
    }
    fn p2p(&self) -> &str {
        self.ready.p2p.first().map_or("", String::as_str)
    }

    /// Waits until it knows `other`.
    pub fn meets(&self, other: &Node<'_>) -> Result<()> {
        poll("the peers meet", SOON, || {
            let peers = self.dots(&["peers", "--json"], "")?.list("peers")?;
            Ok(peers.iter().any(|p| p["peer_id"] == other.ready.peer_id.as_str()).then_some(()))
        })
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.up.said("err")
    }
    pub fn stop(self) -> Result<()> {
        self.up.stop()
    }
}

/// A `dots up` that was started by hand.
pub struct Up {
    child: Child,
    home: PathBuf,
}

impl Up {
    pub fn start(machine: &Machine, home: &Home, words: &[&str]) -> Result<Up> {
        Up::run(machine.dots(home, words)?, home)
    }

    pub fn run(mut command: Command, home: &Home) -> Result<Up> {
        let file = |name: &str| File::create(home.path.join(name)).map_err(Error::io("what it says"));
        command.stdin(Stdio::null()).stdout(file("out")?).stderr(file("err")?);
        Ok(Up { child: command.spawn().map_err(Error::io("dots up"))?, home: home.path.clone() })
    }

    /// So far, on "out" or "err".
    pub fn said(&self, name: &str) -> String {
        fs::read_to_string(self.home.join(name)).unwrap_or_default()
    }

    /// All of its welcome.
    pub fn welcome(&mut self) -> Result<String> {
        let said = poll("the welcome", SOON, || {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait"))? {
                return Err(Error::Other(format!("it ended with {status}")));
            }
            let out = self.said("out");
            Ok((out.contains("\npeer /") && out.ends_with('\n')).then_some(out))
        });
        self.or_all_it_said(said)
    }

    /// What it wrote into `ready` in its home, where it was told to.
    pub fn ready(&self) -> Result<Ready> {
        let ready = poll("the ready file", SOON, || {
            Ok(fs::read_to_string(self.home.join("ready")).ok().and_then(|t| serde_json::from_str(&t).ok()))
        });
        self.or_all_it_said(ready)
    }

    /// As SIGTERM ends it.
    pub fn stop(mut self) -> Result<()> {
        terminate(&self.child)?;
        let status = poll("it stops", SOON, || self.child.try_wait().map_err(Error::io("wait")))?;
        if status.success() { Ok(()) } else { Err(Error::Other(format!("it ended with {status}"))) }
    }

    fn or_all_it_said<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| Error::Other(format!("{e}: {}{}", self.said("out"), self.said("err"))))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
