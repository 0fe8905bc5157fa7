//! Who a name belongs to, by DNS: a liar claims it first and is heard first, then its owner comes. A real name server, in a
//! network namespace; without root this test says so and proves nothing.

use dots_testnet::{
    Result,
    command::Said,
    machine::{Home, Machine, Up},
    poll,
};
use dots_wire::sha256;
use serde_json::Value;
use std::{path::Path, time::Duration};

/// A name that DNS may know and that nobody has in the world (ICANN, 2024).
const REALM: &str = "office.internal";
const SOON: Duration = Duration::from_secs(90);

struct Node {
    home: Home,
    up: Up,
    p2p: String,
}

fn start(machine: &Machine, home: Home, n: u16, realm: &str, bootstrap: Option<&str>) -> Node {
    let ready = home.path.join("ready");
    let (sip, http, p2p) = (
        format!("127.0.0.1:{}", 5060 + n),
        format!("127.0.0.1:{}", 8080 + n),
        format!("/ip4/127.0.0.1/tcp/{}", 4001 + n),
    );
    let mut words = vec!["up", "--no-mdns", "--realm", realm, "--sip", &sip, "--http", &http, "--p2p", &p2p];
    words.extend(["--ready-file", ready.to_str().unwrap()]);
    words.extend(bootstrap.into_iter().flat_map(|at| ["--bootstrap", at]));
    let up = Up::start(machine, &home, &words).unwrap();
    let p2p = up.ready().unwrap().p2p[0].clone();
    Node { home, up, p2p }
}

/// What the peer says of the name: belief and key.
fn belief(machine: &Machine, node: &Node) -> Result<Option<(String, String)>> {
    let realms = Said::of(&mut machine.dots(&node.home, &["realms", "--json"])?, "")?.list("realms")?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    Ok(realms.iter().find(|r| r["name"] == REALM).map(|r| (text(&r["belief"]), text(&r["key"]))))
}

fn key(machine: &Machine, node: &Node) -> String {
    let (belief, key) = belief(machine, node).unwrap().expect("its own realm");
    assert_eq!(belief, "own");
    key
}

#[test]
fn the_owner_of_a_dns_name_is_believed_whoever_came_first() {
    let Some(machine) = Machine::new().unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let home = |name: &str| Home::new(Path::new(dir.path()), name, "HOME", ".local/share/dots").unwrap();
    // The owner finds out its key, writes it into DNS, and goes away for a while.
    let owner = start(&machine, home("owner"), 0, REALM, None);
    let owners = key(&machine, &owner);
    owner.up.stop().unwrap();
    let value = format!("dots-key-hash={}", sha256(&hex::decode(&owners).unwrap()));
    let _dns = machine.name_server(&[(&format!("_dots.{REALM}"), &value)]).unwrap();

    let liar = start(&machine, home("liar"), 1, REALM, None);
    let liars = key(&machine, &liar);
    assert_ne!(liars, owners);
    let witness = start(&machine, home("witness"), 2, "witness.test", Some(&liar.p2p));
    poll("the liar is heard", SOON, || {
        let peers = Said::of(&mut machine.dots(&witness.home, &["peers", "--json"])?, "")?.list("peers")?;
        Ok((!peers.is_empty()).then_some(()))
    })
    .unwrap();
    let owner = start(&machine, owner.home, 0, REALM, Some(&witness.p2p));
    let settled = poll("DNS is believed", SOON, || {
        Ok(belief(&machine, &witness)?.filter(|(belief, _)| belief == "dns"))
    });
    let settled = settled
        .unwrap_or_else(|e| panic!("{e}: {:?} {}", belief(&machine, &witness), witness.up.said("err")));
    assert_eq!(settled.1, owners);
    // The liar's accounts are nobody's; the owner's are found.
    for (node, account) in [(&liar, "mallory"), (&owner, "bob")] {
        let aor = format!("{account}@{REALM}");
        Said::of(&mut machine.dots(&node.home, &["account", "add", &aor]).unwrap(), "")
            .unwrap()
            .ok()
            .unwrap();
    }
    let exists = |account: &str| {
        let words = ["lookup", &format!("{account}@{REALM}"), "--json"].map(str::to_owned);
        let words = words.each_ref().map(String::as_str);
        Said::of(&mut machine.dots(&witness.home, &words).unwrap(), "").unwrap().json().unwrap()["exists"]
            .clone()
    };
    assert_eq!((exists("bob"), exists("mallory")), (true.into(), false.into()));
    for node in [owner, liar, witness] {
        node.up.stop().unwrap();
    }
}
