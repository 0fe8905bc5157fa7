//! Drives a core through REGISTERs, each challenged first, in a world that answers at once. For counting instructions, which
//! depend on no machine and no load:
//!
//! ```text
//! cargo build --release -p dots-sip --example registers
//! valgrind --tool=callgrind target/release/examples/registers 2000
//! ```

use dots_sip::{
    Flow, Input, Now, Output, Transport,
    address::Addressing,
    auth::{Challenge, Vouch},
    core::{Config, Core},
};
use std::time::{Duration, Instant};

const REALM: &str = "office.example";

/// What the core sends, while it gets every answer that it asks for.
fn drain(core: &mut Core, now: Now) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    while let Some(output) = core.poll_output() {
        let input = match output {
            Output::Send { bytes, .. } => {
                sent.push(bytes);
                continue;
            }
            Output::Challenge { id, realm, .. } => {
                Input::Challenge { id, result: Ok(Challenge { realm, nonce: "n".repeat(124) }) }
            }
            Output::Verify { id, answer, .. } => {
                let not_after_ms = now.wall_ms + 86_400_000;
                Input::Verified { id, result: Ok(Vouch { aor: answer.aor, grant: [].into(), not_after_ms }) }
            }
            Output::Journal { id, .. } => Input::Journaled { id },
            _ => continue,
        };
        core.handle(now, input);
    }
    sent
}

fn register(phone: usize, cseq: usize, credentials: &str) -> Vec<u8> {
    format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-{phone}-{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:user{phone}@{REALM}>;tag={phone}\r\nTo: <sip:user{phone}@{REALM}>\r\n\
         Call-ID: {phone}-1234@192.0.2.7\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:user{phone}@192.0.2.7:5062;transport=UDP>\r\n{credentials}Expires: 3600\r\n\
         User-Agent: phone\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn main() {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let addressing = Addressing {
        own_hosts: ["192.0.2.1".to_owned()].into(),
        default_realm: REALM.to_owned(),
        local_realms: [REALM.to_owned()].into(),
        ..Addressing::default()
    };
    let mut core = Core::new(Config { addressing, ..Config::default() }, [7; 32], 1);
    let [local, remote] = [([192, 0, 2, 1], 5060).into(), ([192, 0, 2, 7], 5062).into()];
    let flow = Flow { transport: Transport::Udp, connection: 0, local, remote };
    let mut now = Now { mono: Instant::now(), wall_ms: 1_800_000_000_000 };
    let mut answers = [0usize; 2];
    for round in 0..2 {
        for phone in 0..count {
            let credentials = format!(
                "Authorization: Digest username=\"user{phone}\",realm=\"{REALM}\",cnonce=\"6b8b4567\",nc=00000001,qop=auth,\
                 uri=\"sip:{REALM}\",nonce=\"{}\",response=\"3b1b6e5e53d2a2f1b8d6a2d9c1f0e4aa\",algorithm=MD5,opaque=\"646f7473\"\r\n",
                "n".repeat(124)
            );
            for (at, credentials) in ["", &credentials].into_iter().enumerate() {
                let bytes = register(phone, 2 * round + at + 1, credentials);
                core.handle(now, Input::Message { flow, bytes });
                let expected = [b"SIP/2.0 401", b"SIP/2.0 200"][at].as_slice();
                answers[at] += drain(&mut core, now).iter().filter(|sent| sent.starts_with(expected)).count();
            }
        }
        now = Now { mono: now.mono + Duration::from_secs(1800), wall_ms: now.wall_ms + 1_800_000 };
        core.handle_timeout(now);
        drain(&mut core, now);
    }
    assert_eq!(answers, [2 * count; 2]);
    println!("{} REGISTERs, each asked for its password first", 2 * count);
}
