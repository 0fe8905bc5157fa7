//! An address in a call that the other side cannot reach: said in the log and in `dots calls`. Two peers at a public
//! address, in a network namespace; without root this test says so and proves nothing.

use dots_testnet::{
    machine::{Machine, Node},
    phones::plain::Plain,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const PASSWORD: &str = "a long password";

fn phone(node: &Node<'_>, aor: &str, rng: &mut ChaCha8Rng) -> Plain {
    node.dots(&["account", "add", aor, "--password-stdin"], PASSWORD).unwrap().ok().unwrap();
    let mut phone = Plain::new(node.sip(), aor, PASSWORD, rng).unwrap();
    assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200));
    phone
}

#[test]
fn a_private_address_toward_a_public_peer_is_warned_of() {
    let Some(machine) = Machine::new().unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(&machine, dir.path(), 0, "a.test", None).unwrap();
    let b = Node::start(&machine, dir.path(), 1, "b.test", Some(&a)).unwrap();
    a.meets(&b).unwrap();
    b.meets(&a).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut alice = phone(&a, "alice@a.test", &mut rng);
    let bob = phone(&b, "bob@b.test", &mut rng).answer().unwrap();
    for (address, is_private) in [("203.0.113.7", false), ("10.9.8.7", true), ("100.64.1.1", true)] {
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
        );
        let (status, dialog) = alice.offer("sip:bob@b.test", &sdp, SOON).unwrap().unwrap();
        assert_eq!(status, 200);
        assert!(
            bob.invited().is_some_and(|invite| invite.ends_with(&sdp)),
            "it passes as it is, warned of or not"
        );
        let calls = a.dots(&["calls", "--json"], "").unwrap().list("calls").unwrap();
        let call = calls.iter().find(|c| c["state"] == "up").expect("it is up");
        assert_eq!(call["warnings"].to_string().contains(address), is_private, "{call}");
        assert_eq!(a.dots(&["calls"], "").unwrap().ok().unwrap().contains(address), is_private);
        let logged = a.log().lines().any(|l| l.contains("WARN") && l.contains(address));
        assert_eq!(logged, is_private, "{}", a.log());
        assert_eq!(alice.bye(&dialog.unwrap(), SOON).unwrap(), Some(200));
    }
    a.stop().unwrap();
    b.stop().unwrap();
}
