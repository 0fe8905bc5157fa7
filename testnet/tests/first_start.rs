//! `dots up` and nothing else, on a machine that has never seen it: a network namespace with one address. Making one
//! takes root; without it this test says so and proves nothing.

use dots_testnet::{
    Error, Result,
    command::Said,
    phones::plain::Plain,
    poll,
    process::{Ready, binary},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    fs::{self, File},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(20);
/// One for each test here.
const MACHINES: u32 = 3;

/// A machine of its own, one cable from here. It goes with the value.
struct Machine {
    name: String,
    address: String,
}

impl Machine {
    /// `None`: we may not. `number`: which one of this process.
    fn new(number: u32) -> Option<Machine> {
        let id = std::process::id();
        // 198.18.0.0/15 is for tests (RFC 2544); each machine takes four addresses of it.
        let net = 0xc612_0000 + (id * MACHINES + number) % 0x8000 * 4;
        let address = |host: u32| Ipv4Addr::from(net + host).to_string();
        let machine = Machine { name: format!("dots-{id}-{number}"), address: address(2) };
        let (name, cable) = (&machine.name, format!("dots{}-{number}", id % 1_000_000));
        if let Err(why) = ip(&format!("netns add {name}")) {
            let may_not = why.to_string().contains("permitted") || why.to_string().contains("denied");
            assert!(may_not, "{why}");
            eprintln!("skipped, no network namespace can be made here: {why}");
            // There is nothing to remove.
            std::mem::forget(machine);
            return None;
        }
        for words in [
            format!("-n {name} link set lo up"),
            format!("link add {cable} type veth peer name eth0 netns {name}"),
            format!("addr add {}/30 dev {cable}", address(1)),
            format!("link set {cable} up"),
            format!("-n {name} addr add {}/30 dev eth0", address(2)),
            format!("-n {name} link set eth0 up"),
        ] {
            ip(&words).unwrap();
        }
        Some(machine)
    }

    /// `dots` on that machine, for a user with this home and nothing else in the environment.
    fn dots(&self, home: &Home, words: &[&str]) -> Command {
        let mut all = vec![binary().unwrap().display().to_string()];
        all.extend(words.iter().map(|&w| w.to_owned()));
        self.command(home, &all)
    }

    fn command(&self, home: &Home, words: &[String]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env(home.variable, &home.path);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its end of the cable goes with it, and so the cable.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// Any command on that machine.
fn ip_exec(machine: &Machine, words: &[&str]) -> Result<()> {
    Said::of(Command::new("ip").args(["netns", "exec", &machine.name]).args(words), "")?.ok().map(drop)
}

fn ip(words: &str) -> Result<()> {
    Said::of(Command::new("ip").args(words.split(' ')), "")?.ok().map(drop)
}

/// Where a user's data directory will be.
struct Home {
    variable: &'static str,
    path: PathBuf,
    data: PathBuf,
}

impl Home {
    fn new(dir: &Path, name: &str, variable: &'static str, below: &str) -> Home {
        let path = dir.join(name);
        fs::create_dir(&path).unwrap();
        Home { variable, data: path.join(below), path }
    }
}

/// A `dots up` that was started by hand.
struct Up {
    child: Child,
    home: PathBuf,
}

impl Up {
    fn start(machine: &Machine, home: &Home, words: &[&str]) -> Up {
        Up::run(machine.dots(home, words), home)
    }

    fn run(mut command: Command, home: &Home) -> Up {
        let file = |name: &str| File::create(home.path.join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        Up { child: command.spawn().unwrap(), home: home.path.clone() }
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.home.join(name)).unwrap_or_default()
    }

    /// All of its welcome.
    fn welcome(&mut self) -> String {
        let said = poll("the welcome", SOON, || {
            if let Some(status) = self.child.try_wait().map_err(|e| Error::Other(e.to_string()))? {
                return Err(Error::Other(format!("it ended with {status}")));
            }
            let out = self.said("out");
            Ok((out.contains("\npeer /") && out.ends_with('\n')).then_some(out))
        });
        said.unwrap_or_else(|e| panic!("{e}: {}{}", self.said("out"), self.said("err")))
    }

    fn ready(&self) -> Ready {
        poll("the ready file", SOON, || {
            Ok(fs::read_to_string(self.home.join("ready")).ok().and_then(|t| serde_json::from_str(&t).ok()))
        })
        .unwrap_or_else(|e| panic!("{e}: {}{}", self.said("out"), self.said("err")))
    }

    fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        let status =
            poll("it stops", SOON, || self.child.try_wait().map_err(|e| Error::Other(e.to_string())));
        assert!(status.unwrap().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

#[test]
fn nothing_is_said_and_a_phone_registers() {
    let Some(machine) = Machine::new(0) else { return };
    let dir = tempfile::tempdir().unwrap();
    let first = Home::new(dir.path(), "first", "HOME", ".local/share/dots");
    let second = Home::new(dir.path(), "second", "XDG_DATA_HOME", "dots");
    let at = &machine.address;

    let mut one = Up::start(&machine, &first, &["up"]);
    let welcome = one.welcome();
    let file = first.data.join("me.password");
    for line in [
        format!("  server    {at}:5060\n"),
        "  user      me\n".to_owned(),
        format!("  password  in {}\n", file.display()),
        "HTTP http://127.0.0.1:8080\n".to_owned(),
        format!("peer /ip4/{at}/tcp/4001/p2p/16U"),
        format!("peer /ip4/{at}/udp/4001/quic-v1/p2p/16U"),
    ] {
        assert!(welcome.contains(&line), "{line:?} is not in\n{welcome}");
    }
    assert!(!welcome.contains("0.0.0.0") && !welcome.contains("[::]"), "{welcome}");
    let password = fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(password.len() >= 16 && !welcome.contains(&password) && !one.said("err").contains(&password));
    assert_eq!(mode(&first.data), 0o700);
    for name in ["peer.key", "realm.key", "token.key", "http.token", "me.password"] {
        assert_eq!(mode(&first.data.join(name)), 0o600, "{name}");
    }
    // Server, user and password are all that a phone is given.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut phone = Plain::new(&format!("{at}:5060"), &format!("me@{at}"), &password, &mut rng).unwrap();
    assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200));
    let status = Said::of(&mut machine.dots(&first, &["status", "--json"]), "").unwrap().json().unwrap();
    assert!(status["default_realm"].as_str().is_some_and(|r| r.ends_with(".dots")), "{status}");
    assert_eq!((&status["bindings"], &status["network"]), (&1.into(), &"dots".into()), "{status}");

    // Another user of the same machine finds the usual ports taken, and on one LAN the two find each other.
    let up = ["up", "--ready-file", second.path.join("ready").to_str().unwrap()].map(str::to_owned);
    let up = up.each_ref().map(String::as_str);
    let mut two = Up::start(&machine, &second, &up);
    let welcome = two.welcome();
    assert!(welcome.contains(&format!("  server    {at}:5070\n")), "{welcome}");
    let err = two.said("err");
    assert!(err.lines().any(|l| l.contains("5060 is taken") && l.contains("5070")), "{err}");
    let ready = two.ready();
    assert_eq!(mode(&second.data), 0o700);
    let concrete = |ready: &Ready| {
        assert!(ready.sip.contains(&format!("{at}:5070")), "{ready:?}");
        assert!(ready.sip.contains(&"127.0.0.1:5070".to_owned()), "{ready:?}");
        assert!(ready.p2p.iter().any(|p| p.starts_with(&format!("/ip4/{at}/tcp/4002/p2p/"))), "{ready:?}");
        assert!(
            !format!("{ready:?}").contains("0.0.0.0") && !format!("{ready:?}").contains("/ip6/::/"),
            "{ready:?}"
        );
        assert_eq!(ready.http, "127.0.0.1:8081");
    };
    concrete(&ready);
    poll("the two find each other", SOON, || {
        let peers = Said::of(&mut machine.dots(&first, &["peers", "--json"]), "")?.list("peers")?;
        Ok(peers.iter().any(|p| p["peer_id"] == ready.peer_id.as_str()).then_some(()))
    })
    .unwrap();

    // It keeps its ports though the usual ones are free now.
    one.stop();
    two.stop();
    fs::remove_file(second.path.join("ready")).unwrap();
    let mut two = Up::start(&machine, &second, &up);
    let welcome = two.welcome();
    assert!(welcome.contains("  user      as before") && !welcome.contains("password"), "{welcome}");
    let again = two.ready();
    concrete(&again);
    assert_eq!(again.peer_id, ready.peer_id);
    two.stop();
}

#[test]
fn a_machine_without_ipv6_starts_again() {
    let Some(machine) = Machine::new(1) else { return };
    for which in ["all", "default", "lo", "eth0"] {
        let file = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
        let write = format!("echo 1 > {file}");
        ip_exec(&machine, &["sh", "-c", &write]).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), "home", "HOME", ".local/share/dots");
    for start in 1..=2 {
        let mut up = Up::start(&machine, &home, &["up"]);
        let welcome = up.welcome();
        assert!(
            welcome.contains(&format!("  server    {}:5060\n", machine.address)),
            "start {start}: {welcome}"
        );
        let status = Said::of(&mut machine.dots(&home, &["status", "--json"]), "").unwrap().json().unwrap();
        assert!(!status["sip"].to_string().contains("[::"), "{status}");
        up.stop();
    }
}

#[test]
fn on_a_terminal_the_password_is_shown_and_not_kept() {
    let Some(machine) = Machine::new(2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), "home", "HOME", ".local/share/dots");
    // script(1) gives it a terminal of its own, and goes with it.
    let up = format!("{} up", binary().unwrap().display());
    let words = ["script", "-qfec", &up, "/dev/null"].map(str::to_owned);
    let mut up = Up::run(machine.command(&home, &words), &home);
    let welcome = up.welcome();
    let line = welcome.lines().find_map(|l| l.strip_prefix("  password  ")).expect("it is shown");
    let (password, rest) = line.split_once(' ').unwrap();
    assert_eq!(rest.trim(), "(shown only now)");
    assert!(!home.data.join("me.password").exists(), "and nowhere kept");
    let (at, mut rng) = (&machine.address, ChaCha8Rng::seed_from_u64(1));
    let mut phone = Plain::new(&format!("{at}:5060"), &format!("me@{at}"), password, &mut rng).unwrap();
    assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200));
}
