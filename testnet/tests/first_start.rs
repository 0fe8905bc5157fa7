//! `dots up` and nothing else, on a machine that has never seen it: a network namespace with one address. Making one
//! takes root; without it this test says so and proves nothing.

use dots_testnet::{
    command::Said,
    machine::{Home, Machine, Up},
    phones::plain::Plain,
    poll,
    process::{Ready, binary},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

const SOON: Duration = Duration::from_secs(20);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

#[test]
fn nothing_is_said_and_a_phone_registers() {
    let Some(machine) = Machine::new().unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let first = Home::new(dir.path(), "first", "HOME", ".local/share/dots").unwrap();
    let second = Home::new(dir.path(), "second", "XDG_DATA_HOME", "dots").unwrap();
    let at = &machine.address;

    let mut one = Up::start(&machine, &first, &["up"]).unwrap();
    let welcome = one.welcome().unwrap();
    let file = first.data.join("me.password");
    for line in [
        format!("  server    {at}:5060\n"),
        "  user      me\n".to_owned(),
        format!("  password  in {}\n", file.display()),
        "HTTP http://127.0.0.1:8080\n".to_owned(),
        "next: `dots account add bob`".to_owned(),
        "more addresses: dots status\n".to_owned(),
        format!("peer /ip4/{at}/tcp/4001/p2p/16U"),
        format!("peer /ip4/{at}/udp/4001/quic-v1/p2p/16U"),
    ] {
        assert!(welcome.contains(&line), "{line:?} is not in\n{welcome}");
    }
    assert_eq!(welcome.matches("peer /ip").count(), 2, "the best address alone: {welcome}");
    let err = one.said("err");
    assert!(!err.contains("known peers") && !err.contains("libp2p"), "{err}");
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
    let status =
        Said::of(&mut machine.dots(&first, &["status", "--json"]).unwrap(), "").unwrap().json().unwrap();
    assert!(status["default_realm"].as_str().is_some_and(|r| r.ends_with(".dots")), "{status}");
    assert_eq!((&status["bindings"], &status["network"]), (&1.into(), &"dots".into()), "{status}");

    // Another user of the same machine finds the usual ports taken, and on one LAN the two find each other.
    let up = ["up", "--ready-file", second.path.join("ready").to_str().unwrap()].map(str::to_owned);
    let up = up.each_ref().map(String::as_str);
    let mut two = Up::start(&machine, &second, &up).unwrap();
    let welcome = two.welcome().unwrap();
    assert!(welcome.contains(&format!("  server    {at}:5070\n")), "{welcome}");
    let err = two.said("err");
    assert!(err.lines().any(|l| l.contains("5060 is taken") && l.contains("5070")), "{err}");
    let ready = two.ready().unwrap();
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
        let peers = Said::of(&mut machine.dots(&first, &["peers", "--json"]).unwrap(), "")?.list("peers")?;
        Ok(peers.iter().any(|p| p["peer_id"] == ready.peer_id.as_str()).then_some(()))
    })
    .unwrap();

    // It keeps its ports though the usual ones are free now.
    one.stop().unwrap();
    two.stop().unwrap();
    fs::remove_file(second.path.join("ready")).unwrap();
    let mut two = Up::start(&machine, &second, &up).unwrap();
    let welcome = two.welcome().unwrap();
    assert!(welcome.contains("  user      as before") && !welcome.contains("password"), "{welcome}");
    assert!(welcome.contains("port 5070 for SIP is kept") && welcome.contains("port 4002"), "{welcome}");
    let again = two.ready().unwrap();
    concrete(&again);
    assert_eq!(again.peer_id, ready.peer_id);
    two.stop().unwrap();

    // A name comes later: a second first account, and a word about the one that was there.
    let realm = status["default_realm"].as_str().unwrap();
    let mut one = Up::start(&machine, &first, &["up", "--realm", "a.test"]).unwrap();
    let welcome = one.welcome().unwrap();
    let moved = format!("the default realm is a.test now; me@{realm} is there as before");
    assert!(welcome.contains("  user      me\n") && welcome.contains(&moved), "{welcome}");
    one.stop().unwrap();
    let mut one = Up::start(&machine, &first, &["up", "--realm", "a.test"]).unwrap();
    assert!(!one.welcome().unwrap().contains("default realm"), "it is said once");
    one.stop().unwrap();
}

#[test]
fn a_machine_without_ipv6_starts_again() {
    let Some(machine) = Machine::new().unwrap() else { return };
    for which in ["all", "default", "lo", "eth0"] {
        let file = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
        let write = format!("echo 1 > {file}");
        machine.run(&["sh", "-c", &write]).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), "home", "HOME", ".local/share/dots").unwrap();
    for start in 1..=2 {
        let mut up = Up::start(&machine, &home, &["up"]).unwrap();
        let welcome = up.welcome().unwrap();
        assert!(
            welcome.contains(&format!("  server    {}:5060\n", machine.address)),
            "start {start}: {welcome}"
        );
        let status =
            Said::of(&mut machine.dots(&home, &["status", "--json"]).unwrap(), "").unwrap().json().unwrap();
        assert!(!status["sip"].to_string().contains("[::"), "{status}");
        up.stop().unwrap();
    }
}

#[test]
fn on_a_terminal_the_password_is_shown_and_not_kept() {
    let Some(machine) = Machine::new().unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), "home", "HOME", ".local/share/dots").unwrap();
    // script(1) gives it a terminal of its own, and goes with it.
    let up = format!("{} up", binary().unwrap().display());
    let words = ["script", "-qfec", &up, "/dev/null"].map(str::to_owned);
    let mut up = Up::run(machine.command(&home, &words), &home).unwrap();
    let welcome = up.welcome().unwrap();
    let line = welcome.lines().find_map(|l| l.strip_prefix("  password  ")).expect("it is shown");
    let (password, rest) = line.split_once(' ').unwrap();
    assert_eq!(rest.trim(), "(shown only now)");
    assert!(!home.data.join("me.password").exists(), "and nowhere kept");
    let (at, mut rng) = (&machine.address, ChaCha8Rng::seed_from_u64(1));
    let mut phone = Plain::new(&format!("{at}:5060"), &format!("me@{at}"), password, &mut rng).unwrap();
    assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200));
}
