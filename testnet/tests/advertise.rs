//! `--sip-advertise`: what a phone is told of where the peer is, instead of the local address.

use dots_testnet::{phones::plain::Plain, process::Peer};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// The values of a header, one per line.
fn lines<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    message.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[test]
fn the_advertised_name_stands_in_via_and_record_route() {
    for (advertised, written) in
        [("sip.office.example:5099", "sip.office.example:5099"), ("[2001:db8::1]:5062", "[2001:db8::1]:5062")]
    {
        let mut peer = Peer::start("a.test", &["--sip-advertise", advertised]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut phone = |aor: &str| {
            peer.account(aor, "a password").unwrap();
            let mut phone = Plain::new(peer.sip().unwrap(), aor, "a password", &mut rng).unwrap();
            assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200));
            phone
        };
        let (mut alice, bob) = (phone("alice@a.test"), phone("bob@a.test").answer().unwrap());
        // That name is the peer's own: what is dialled there is in its realm.
        let (status, dialog) = alice.invite(&format!("sip:bob@{advertised}"), SOON).unwrap().unwrap();
        assert_eq!(status, 200);
        let invite = bob.invited().unwrap();
        let via = lines(&invite, "Via").first().copied().unwrap_or_default().to_owned();
        assert!(via.starts_with(&format!("SIP/2.0/UDP {written};")), "{invite}");
        let routes = lines(&invite, "Record-Route");
        assert!(!routes.is_empty() && routes.iter().all(|r| r.contains(&format!("@{written}"))), "{invite}");
        assert!(!routes.concat().contains(peer.sip().unwrap()), "{invite}");
        assert_eq!(alice.bye(&dialog.unwrap(), SOON).unwrap(), Some(200), "and its routes lead back");
        assert_eq!(bob.ended(), 1);
        let status = peer.client().unwrap().status().unwrap();
        assert_eq!(status.sip, peer.ready().sip, "where it listens is another matter");
        peer.stop().unwrap();
    }
}

#[test]
fn a_name_without_a_port_gets_the_real_one() {
    let mut peer = Peer::start("a.test", &["--sip-advertise", "sip.office.example"]).unwrap();
    let port = peer.sip().unwrap().rsplit(':').next().unwrap().to_owned();
    assert!(peer.log().contains(&format!("  server    sip.office.example:{port}\n")), "{}", peer.log());
    peer.stop().unwrap();
}
