//! "A first call" of README.md with baresip, as somebody does it who types what stands there.

use dots_testnet::{
    phones::baresip::{Account, Baresip},
    poll,
    process::Peer,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// The two ways of step 5 for which nobody has to ask DNS: as a user alone, and by the server as the outbound proxy.
#[test]
fn alice_dials_bob_as_the_readme_says() {
    let mut a = Peer::start("a.example", &[]).unwrap();
    let mut b = Peer::join(&a, "b.example", &[]).unwrap();
    a.meets(&b).unwrap();
    a.account("alice@a.example", "wonderland").unwrap();
    b.account("bob@b.example", "builder").unwrap();
    let (server_a, server_b) = (a.sip().unwrap().to_owned(), b.sip().unwrap().to_owned());
    let phone = |user, password, server: &str, more: &str| {
        let account = Account { user, password, server, transport: "udp", more, tone: 440.0 };
        let mut phone = Baresip::start(&account).unwrap();
        phone.wait_for(&["REGISTER_OK"], SOON).unwrap();
        phone
    };
    let mut bob = phone("bob", "builder", &server_b, "");
    let outbound = format!(";outbound=\"sip:{server_a}\"");
    for (more, dialled) in [("", "bob%40b.example"), (outbound.as_str(), "bob@b.example")] {
        let mut alice = phone("alice", "wonderland", &server_a, more);
        alice.dial(dialled).unwrap();
        alice.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap_or_else(|e| panic!("{dialled}: {e}"));
        bob.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
        alice.hangup().unwrap();
        bob.wait_for(&["CALL_CLOSED"], SOON).unwrap();
        alice.stop().unwrap();
    }
    let receipts = poll("both receipts are whole", SOON, || {
        let said = a.dots(&["receipts", "--verify", "--json"], "")?.list("receipts")?;
        Ok((said.len() == 2 && said.iter().all(|r| r["state"] == "whole")).then_some(said))
    });
    assert!(receipts.unwrap().iter().all(|r| r["verified"] == true));
    bob.stop().unwrap();
    a.stop().unwrap();
    b.stop().unwrap();
}
