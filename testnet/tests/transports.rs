//! A phone over TCP beside one over UDP, and a phone over IPv6: each calls the others and is called.

use dots_testnet::{
    phones::{
        baresip::{Account, Baresip},
        plain::Plain,
    },
    process::Peer,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const PASSWORD: &str = "wonderland";

fn plain(peer: &Peer, server: &str, aor: &str) -> Plain {
    peer.account(aor, PASSWORD).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(aor.len() as u64);
    let mut phone = Plain::new(server, aor, PASSWORD, &mut rng).unwrap();
    assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200), "{aor}");
    phone
}

fn over_tcp(peer: &Peer, user: &str) -> Baresip {
    peer.account(&format!("{user}@a.test"), PASSWORD).unwrap();
    let server = peer.sip().unwrap();
    // All requests go to the peer over TCP, whatever host they name.
    let more = format!(";outbound=\"sip:{server};transport=tcp;lr\"");
    let account = Account { user, password: PASSWORD, server, transport: "tcp", more: &more, tone: 440.0 };
    let mut phone = Baresip::start(&account).unwrap();
    phone.wait_for(&["REGISTER_OK"], SOON).unwrap();
    phone
}

fn flow(peer: &Peer, aor: &str) -> String {
    let bindings = peer.client().unwrap().bindings().unwrap();
    bindings.into_iter().find(|b| b.aor == aor).map(|b| b.flow).unwrap_or_default()
}

#[test]
fn a_phone_over_tcp_calls_one_over_udp_and_is_called() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let mut tess = over_tcp(&peer, "tess");
    let mut caller = plain(&peer, peer.sip().unwrap(), "caller@a.test");
    let bob = plain(&peer, peer.sip().unwrap(), "bob@a.test").answer().unwrap();
    let (over_tcp, over_udp) = (flow(&peer, "tess@a.test"), flow(&peer, "bob@a.test"));
    assert!(
        over_tcp.starts_with("TCP 127.0.0.1:") && over_udp.starts_with("UDP 127.0.0.1:"),
        "{over_tcp}, {over_udp}"
    );

    let (status, dialog) = caller.invite("sip:tess@a.test", SOON).unwrap().unwrap();
    assert_eq!(status, 200);
    tess.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    assert_eq!(caller.bye(&dialog.unwrap(), SOON).unwrap(), Some(200));
    tess.wait_for(&["CALL_CLOSED"], SOON).unwrap();

    tess.dial(&format!("sip:bob@{}", peer.sip().unwrap())).unwrap();
    tess.wait_for(&["CALL_ESTABLISHED"], SOON).unwrap();
    tess.hangup().unwrap();
    dots_testnet::poll("bob is hung up on", SOON, || Ok((bob.ended() == 1).then_some(()))).unwrap();
    tess.stop().unwrap();
    peer.stop().unwrap();
}

#[test]
fn a_phone_over_ipv6_calls_one_over_ipv4_and_is_called() {
    // After the flags of every test peer: it listens on 127.0.0.1 as well.
    let mut peer = Peer::start("a.test", &["--sip", "[::1]:0"]).unwrap();
    let server =
        peer.ready().sip.iter().find(|at| at.starts_with("[::1]:")).expect("it listens there").clone();
    let six = plain(&peer, &server, "six@a.test").answer().unwrap();
    let four = plain(&peer, peer.sip().unwrap(), "four@a.test").answer().unwrap();
    assert!(flow(&peer, "six@a.test").starts_with("UDP [::1]:"), "{}", flow(&peer, "six@a.test"));
    for (server, aor, target, answering) in [
        (server.as_str(), "caller6@a.test", "four", &four),
        (peer.sip().unwrap(), "caller@a.test", "six", &six),
    ] {
        let mut caller = plain(&peer, server, aor);
        // What a phone dials that knows only its server.
        let (status, dialog) = caller.invite(&format!("sip:{target}@{server}"), SOON).unwrap().unwrap();
        assert_eq!(status, 200, "{aor} calls {target}");
        assert_eq!(caller.bye(&dialog.unwrap(), SOON).unwrap(), Some(200));
        assert_eq!(answering.ended(), 1, "{target}");
    }
    peer.stop().unwrap();
}

#[test]
fn two_peers_that_know_only_ipv6() {
    let mut a = Peer::start_six("a.test", &[]).unwrap();
    let mut b = Peer::start_six("b.test", &["--bootstrap", a.p2p().unwrap()]).unwrap();
    b.meets(&a).unwrap();
    a.meets(&b).unwrap();
    let bob = plain(&b, b.sip().unwrap(), "bob@b.test").answer().unwrap();
    let mut alice = plain(&a, a.sip().unwrap(), "alice@a.test");
    let (status, dialog) = alice.invite("sip:bob@b.test", SOON).unwrap().unwrap();
    assert_eq!(status, 200);
    assert_eq!(alice.bye(&dialog.unwrap(), SOON).unwrap(), Some(200));
    assert_eq!(bob.ended(), 1);
    a.stop().unwrap();
    b.stop().unwrap();
}
