//! A whole peer that is sent what no peer of this version sends: it refuses, counts, and goes on.

use super::*;
use crate::peer::{Config, Input, Output, Peer, Recovered};
use dots_overlay::transport::{NetCommand, NetEvent, Protocol};
use dots_wire::Now;
use std::time::{Duration, Instant};

struct Victim {
    peer: Peer,
    now: Now,
}

impl Victim {
    fn new() -> Victim {
        let config = Config {
            network: "main".into(),
            key: key(1),
            realm_key: key(10),
            token_key: [3; 32],
            realms: vec!["a.test".into()],
            trusted: Vec::new(),
            own_hosts: vec!["192.0.2.1".into()],
            advertise: None,
            digest: Default::default(),
            brief: Default::default(),
            contacts_any: Default::default(),
            serve: Default::default(),
            ports: Default::default(),
            sip: Vec::new(),
            p2p: Vec::new(),
            http: String::new(),
            disarmed: None,
        };
        let now = Now { mono: Instant::now(), wall: NOW };
        let mut victim = Victim { peer: Peer::new(config, Recovered::default(), 1, now), now };
        victim.outputs();
        victim
    }

    fn outputs(&mut self) -> Vec<Output> {
        // So much later that no limit on strangers is in the way.
        self.now.mono += Duration::from_secs(2);
        self.now.wall = self.now.wall.plus(Duration::from_secs(2));
        std::iter::from_fn(|| self.peer.poll_output()).collect()
    }

    /// Does it take this request of a stranger's? One that is refused is refused at once, once, and counted.
    fn takes(&mut self, protocol: Protocol, body: &[u8]) -> bool {
        let request = NetEvent::Request { peer: key(2).peer_id(), protocol, id: 77, body: body.to_vec() };
        self.peer.handle(self.now, Input::Net(request));
        let outputs = self.outputs();
        let refused = |o: &&Output| matches!(o, Output::Net(NetCommand::Respond { id: 77, body: None }));
        let refusals = outputs.iter().filter(refused).count();
        assert_eq!(refusals, bad_messages(&outputs));
        refusals == 0
    }

    fn takes_frame(&mut self, body: &[u8]) -> bool {
        self.peer.legs(self.now).on_frame(key(2).peer_id(), body);
        bad_messages(&self.outputs()) == 0
    }
}

fn bad_messages(outputs: &[Output]) -> usize {
    outputs.iter().filter(|o| matches!(o, Output::Count("bad_peer_message"))).count()
}

/// AUTH-2, LOOKUP-1, LOOKUP-2.
#[test]
fn requests_are_of_this_version_and_whole() {
    let mut victim = Victim::new();
    let auth = |version| {
        [
            AuthRequest::Lease { version, realm: "a.test".into() },
            AuthRequest::Verify { version, answer: answer(Some("urn:uuid:1"), None) },
        ]
    };
    let lookup = |version| {
        [
            LookupRequest::Realms {
                version,
                records: vec![realm_record(&key(11))],
                digest: Hash([8; 32]),
                time_ms: NOW.0,
            },
            LookupRequest::News { version, record: realm_record(&key(11)) },
            LookupRequest::Named { version, names: vec!["a.test".into()] },
            LookupRequest::Aor { version, aor: "alice@a.test".into(), grant: None, realm: None },
        ]
    };
    for request in auth(VERSION) {
        attack("auth", &encode(&request), |b| victim.takes(Protocol::Auth, b));
    }
    for request in lookup(VERSION) {
        attack("lookup", &encode(&request), |b| victim.takes(Protocol::Lookup, b));
    }
    for other in [0, VERSION + 1, u8::MAX] {
        assert!(auth(other).iter().all(|r| !victim.takes(Protocol::Auth, &encode(r))), "version {other}");
        assert!(lookup(other).iter().all(|r| !victim.takes(Protocol::Lookup, &encode(r))), "version {other}");
    }
}

/// LEG-1.
#[test]
fn an_envelope_is_of_this_version_and_whole() {
    let mut victim = Victim::new();
    attack("envelope", &encode(&envelope()), |b| victim.takes_frame(b));
    let newer = Envelope { version: ENVELOPE + 1, ..envelope() };
    assert!(!victim.takes_frame(&encode(&newer)));
    let empty = Envelope { sip: Vec::new(), ..envelope() };
    assert!(!victim.takes_frame(&encode(&empty)));
}
