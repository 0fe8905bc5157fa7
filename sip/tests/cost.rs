//! What a request costs: how often its bytes are read, written and copied, and what is left of it when it is answered.

mod common;
#[path = "../../overlay/wire/tests/held/mod.rs"]
mod held;

use common::*;
use dots_sip::{
    Input, Now,
    input::{RemoteTarget, Resolution},
    message::tally::Tally,
};
use std::time::Duration;

fn tally_of(peer: &mut Peer) -> Tally {
    std::mem::take(&mut peer.tally)
}

#[test]
fn an_invite_across_two_peers_is_parsed_twice_in_all_and_a_register_once() {
    let mut w = World::new();
    w.a.register(w.now, "alice", 1);
    let register = tally_of(&mut w.a);
    assert_eq!(register.parsed, 1, "{register:?}");
    w.b.register(w.now, "bob", 2);
    tally_of(&mut w.b);
    w.a.resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    w.a.phone(w.now, 1, &invite(1, "c1", "alice", "bob%40b.test", "a.test"));
    assert!(w.carry_one());
    assert_eq!(w.b.got(2).method(), "INVITE");
    let (a, b) = (tally_of(&mut w.a), tally_of(&mut w.b));
    println!("REGISTER {register:?}, INVITE at A {a:?}, at B {b:?}");
    assert_eq!((a.parsed, b.parsed), (1, 1), "the phone's datagram, and the link's bytes");
    // The copies for B and for the phone; the Via is stamped in the buffer that it came in.
    assert_eq!((a.written, b.written), (1, 1));
    assert_eq!((register.written, register.copied), (1, 0), "the 200");
    assert_eq!(
        (a.copied, b.copied),
        (0, 1),
        "only what may be sent again over UDP is kept beside what is sent"
    );
}

const PHONES: u16 = 10_000;

#[test]
fn a_finished_transaction_keeps_its_key_and_its_answer() {
    let mut a = Peer::new(LABEL_A, "a.test");
    let mut now = World::new().now;
    let round = |a: &mut Peer, now: Now, cseq: u16| {
        for phone in 1..=PHONES {
            let user = format!("user{phone}");
            let text = request("REGISTER", "sip:127.0.0.1", phone, &format!("r{phone}"), &user, &user, "")
                .replace("CSeq: 1 ", &format!("CSeq: {cseq} "))
                .replace("REGISTERr", &format!("R{cseq}r"))
                .replace("\n\n", &format!("\nAuthorization: Digest username=\"{user}\",realm=\"a.test\",nonce=\"nonce\",uri=\"sip:127.0.0.1\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n\n"));
            a.phone(now, phone, &text);
            assert_eq!(a.got(phone).status(), Some(200), "{user}");
        }
        a.counts = Vec::new();
        a.inbox.shrink_to_fit();
    };
    round(&mut a, now, 1);
    now = Now { mono: now.mono + Duration::from_secs(33), wall_ms: now.wall_ms + 33_000 };
    a.core.handle_timeout(now);
    a.drain(now);
    let before = held::bytes();
    round(&mut a, now, 2);
    let each = held::bytes().saturating_sub(before) / usize::from(PHONES);
    println!("a finished REGISTER holds {each} bytes");
    assert!(each <= 700, "{each} bytes");
    now = Now { mono: now.mono + Duration::from_secs(33), wall_ms: now.wall_ms + 33_000 };
    a.core.handle_timeout(now);
    let left = held::bytes().saturating_sub(before) / usize::from(PHONES);
    assert!(left < 50, "{left} bytes are left of a transaction that is over");
    a.handle(now, Input::Drain);
}
