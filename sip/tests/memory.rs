//! What a registered phone costs: every byte that the core has taken from the allocator and not given back, when twenty
//! thousand phones have registered and the last transaction is over.

#[path = "../../overlay/wire/tests/held/mod.rs"]
mod held;

use dots_sip::{
    Flow, Input, Now, Output, Transport,
    address::Addressing,
    auth::{AuthFailure, Challenge, Vouch},
    core::{Config, Core},
};
use held::chunks as taken;
use std::time::{Duration, Instant};

const PHONES: usize = 20_000;
/// As a softphone registers it, 250 bytes are the phone's own words: its Contact, its instance (twice), its Call-ID, its name.
const OWN_MAX: usize = 500;
/// One of a foreign realm has a grant of 300 bytes, and a place in the book of shares.
const FOREIGN_MAX: usize = 1_000;
const GRANT_BYTES: usize = 300;

struct Desk {
    core: Core,
    now: Now,
    realm: &'static str,
    registered: usize,
}

impl Desk {
    fn new(realm: &'static str) -> Desk {
        let addressing = Addressing {
            own_hosts: ["192.0.2.1".to_owned()].into(),
            default_realm: "own.example".into(),
            local_realms: ["own.example".to_owned()].into(),
            ..Addressing::default()
        };
        let config =
            Config { addressing, label: "aaaabbbbccccddddeeeeffffgggg2222".into(), ..Config::default() };
        let now = Now { mono: Instant::now(), wall_ms: 1_800_000_000_000 };
        Desk { core: Core::new(config, [1; 32], 1), now, realm, registered: 0 }
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let input = match output {
                Output::Send { bytes, .. } => {
                    self.registered += usize::from(bytes.starts_with(b"SIP/2.0 200 "));
                    continue;
                }
                Output::Challenge { id, realm, .. } => {
                    Input::Challenge { id, result: Ok(Challenge { realm, nonce: "n".repeat(120) }) }
                }
                Output::Verify { id, answer, .. } => {
                    let grant = if self.realm == "own.example" { 0 } else { GRANT_BYTES };
                    let vouch = Vouch {
                        aor: answer.aor.clone(),
                        grant: vec![1; grant].into(),
                        not_after_ms: self.now.wall_ms + 3_600_000,
                    };
                    let is_right = answer.response == "right";
                    Input::Verified { id, result: if is_right { Ok(vouch) } else { Err(AuthFailure::Wrong) } }
                }
                Output::Journal { id, .. } => Input::Journaled { id },
                _ => continue,
            };
            self.core.handle(self.now, input);
        }
    }

    fn says(&mut self, n: usize, cseq: u32, authorization: &str) {
        let (realm, [.., b, c]) = (self.realm, n.to_be_bytes());
        let port = 10_000 + n;
        let text = format!(
            "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP 10.7.{b}.{c}:5060;branch=z9hG4bK{n:08x}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:user{n:05}@{realm}>;tag={n:x}\r\nTo: <sip:user{n:05}@{realm}>\r\n\
             Call-ID: {n:016x}f81d4fae@10.7.{b}.{c}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:user{n:05}@10.7.{b}.{c}:5060>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-{n:012x}>\"\r\n\
             Expires: 3600\r\nUser-Agent: Somebody's Phone 1.2.3\r\n{authorization}Content-Length: 0\r\n\r\n"
        );
        let flow = Flow {
            transport: Transport::Udp,
            connection: 0,
            local: ([192, 0, 2, 1], 5060).into(),
            remote: ([10, 7, b, c], port as u16).into(),
        };
        self.core.handle(self.now, Input::Message { flow, bytes: text.into_bytes() });
        self.drain();
    }

    fn register(&mut self, n: usize, round: u32) {
        let realm = self.realm;
        self.says(n, 2 * round + 1, "");
        let answer = format!(
            "Authorization: Digest username=\"user{n:05}\",realm=\"{realm}\",nonce=\"{}\",uri=\"sip:{realm}\",\
             response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\r\n",
            "n".repeat(120)
        );
        self.says(n, 2 * round + 2, &answer);
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall_ms: self.now.wall_ms + time.as_millis() as u64 };
        while self.core.poll_timeout().is_some_and(|at| at <= self.now.mono) {
            self.core.handle_timeout(self.now);
            self.drain();
        }
    }
}

/// Bytes that a phone of this realm keeps taken: after its registration, and after a refresh.
fn cost(realm: &'static str) -> [usize; 2] {
    let mut desk = Desk::new(realm);
    // Tables that grow once and stay are paid for by the first.
    desk.register(PHONES, 0);
    desk.pass(Duration::from_secs(40));
    let before = taken();
    let mut costs = [0; 2];
    for (rounds, cost) in [0..1, 1..2].into_iter().zip(&mut costs) {
        for round in rounds {
            for n in 0..PHONES {
                desk.register(n, round);
            }
            desk.pass(Duration::from_secs(40));
        }
        *cost = (taken() - before) / PHONES;
    }
    assert_eq!(desk.registered, 2 * PHONES + 1);
    assert_eq!(desk.core.bindings().len(), PHONES + 1);
    assert!(desk.core.is_quiet());
    // Deregistered by time: nothing is left behind.
    desk.pass(Duration::from_secs(4_000));
    assert!(desk.core.bindings().is_empty());
    let left = taken().saturating_sub(before) / PHONES;
    assert!(left <= 64, "{left} bytes of each phone that is gone");
    costs
}

#[test]
fn a_registered_phone_costs_half_a_kilobyte() {
    let own = cost("own.example");
    let foreign = cost("far.example");
    println!("bytes per phone: own {own:?}, foreign {foreign:?}");
    assert!(own.iter().all(|bytes| *bytes <= OWN_MAX), "own phones: {own:?}");
    assert!(foreign.iter().all(|bytes| *bytes <= FOREIGN_MAX), "foreign phones: {foreign:?}");
}
