//! Who a name belongs to, by DNS: a liar claims it first and is heard first, then its owner comes. A real name server, in a
//! network namespace; without root this test says so and proves nothing.

use dots_testnet::{
    Result,
    machine::{Machine, Node},
    poll,
};
use dots_wire::sha256;
use serde_json::Value;
use std::time::Duration;

/// A name that DNS may know and that nobody has in the world (ICANN, 2024).
const REALM: &str = "office.internal";
const SOON: Duration = Duration::from_secs(90);

/// What the peer says of the name: belief and key.
fn belief(node: &Node<'_>) -> Result<Option<(String, String)>> {
    let realms = node.dots(&["realms", "--json"], "")?.list("realms")?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    Ok(realms.iter().find(|r| r["name"] == REALM).map(|r| (text(&r["belief"]), text(&r["key"]))))
}

fn key(node: &Node<'_>) -> String {
    let (belief, key) = belief(node).unwrap().expect("its own realm");
    assert_eq!(belief, "own");
    key
}

#[test]
fn the_owner_of_a_dns_name_is_believed_whoever_came_first() {
    let Some(machine) = Machine::new().unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let start = |n, realm, bootstrap| Node::start(&machine, dir.path(), n, realm, bootstrap).unwrap();
    // The owner writes its key into DNS before anybody has heard of it.
    let owner = start(0, REALM, None);
    let owners = key(&owner);
    let value = format!("dots-key-hash={}", sha256(&hex::decode(&owners).unwrap()));
    let _dns = machine.name_server(&[(&format!("_dots.{REALM}"), &value)]).unwrap();

    let liar = start(1, REALM, None);
    assert_ne!(key(&liar), owners);
    let witness = start(2, "witness.test", Some(&liar));
    witness.meets(&liar).unwrap();
    let owner = owner.start_again(&witness).unwrap();
    let settled =
        poll("DNS is believed", SOON, || Ok(belief(&witness)?.filter(|(belief, _)| belief == "dns")));
    let settled = settled.unwrap_or_else(|e| panic!("{e}: {:?} {}", belief(&witness), witness.log()));
    assert_eq!(settled.1, owners);
    // The liar's accounts are nobody's, the owner's are found.
    for (node, account) in [(&liar, "mallory"), (&owner, "bob")] {
        node.dots(&["account", "add", &format!("{account}@{REALM}")], "").unwrap().ok().unwrap();
    }
    let exists = |account: &str| {
        let words = ["lookup", &format!("{account}@{REALM}"), "--json"];
        witness.dots(&words, "").unwrap().json().unwrap()["exists"].clone()
    };
    assert_eq!((exists("bob"), exists("mallory")), (true.into(), false.into()));
    for node in [owner, liar, witness] {
        node.stop().unwrap();
    }
}
