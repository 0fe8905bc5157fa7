//! What a registered phone costs its peer: every byte that all tables of the composition together hold of it somewhat more than a minute
//! after it has registered, with the disk and the account store outside.

#[path = "../overlay/wire/tests/held/mod.rs"]
mod held;

use dots::peer::{Config, Input, Output, Peer, Recovered};
use dots_sip::{Flow, Transport};
use dots_trust::{
    accounts::account,
    digest::{Algorithm, ha1, response},
};
use dots_wire::{Now, SecretKey, Timestamp};
use std::time::{Duration, Instant};

const PHONES: usize = 4_000;
/// These grow the tables that begin with some room.
const FIRST: usize = 500;
/// All tables together; 250 of it are the phone's own words: its Contact, its instance (twice), its Call-ID, its name; 90 are for the
/// minute's ping, and 200 are small tables, of pings for one, that so few phones fill to the brim: of 40,000 each costs 1,370.
const BYTES_MAX: usize = 1_650;

fn config() -> Config {
    let key = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar");
    Config {
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
    }
}

struct World {
    peer: Peer,
    now: Now,
    registered: usize,
    nonce: Option<String>,
}

impl World {
    fn new() -> World {
        let now = Now { mono: Instant::now(), wall: Timestamp(1_700_000_000_000) };
        let peer = Peer::new(config(), Recovered::default(), 1, now);
        let mut world = World { peer, now, registered: 0, nonce: None };
        world.drain();
        world
    }

    /// A disk that writes at once, and a store that has every account.
    fn drain(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            let input = match output {
                Output::Append { token, .. } => Input::Appended { token },
                Output::GetAccount { id, aor } => {
                    let account = account(&aor, "secret", true, 0).expect("a good account");
                    Input::Account { id, account: Ok(Some(account)) }
                }
                Output::SipSend { bytes, .. } => {
                    let text = String::from_utf8(bytes).expect("text");
                    self.registered += usize::from(text.starts_with("SIP/2.0 200 "));
                    let nonce = text.split_once("nonce=\"").and_then(|(_, rest)| rest.split_once('"'));
                    self.nonce = nonce.map(|(nonce, _)| nonce.to_owned());
                    continue;
                }
                _ => continue,
            };
            self.peer.handle(self.now, input);
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some(at) = self.peer.poll_timeout().filter(|at| *at <= until) {
            self.go_to(at.max(self.now.mono));
            self.peer.handle_timeout(self.now);
            self.drain();
        }
        self.go_to(until);
    }

    fn go_to(&mut self, at: Instant) {
        let time = at.duration_since(self.now.mono);
        self.now = Now { mono: at, wall: self.now.wall.plus(time) };
    }

    fn says(&mut self, n: usize, cseq: u32, authorization: &str) {
        let [.., b, c] = n.to_be_bytes();
        let port = 10_000 + n;
        let text = format!(
            "REGISTER sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.7.{b}.{c}:5060;branch=z9hG4bK{n:08x}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:user{n:05}@a.test>;tag={n:x}\r\nTo: <sip:user{n:05}@a.test>\r\n\
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
        self.peer.handle(self.now, Input::Sip { flow, bytes: text.into_bytes() });
        self.drain();
    }

    fn register(&mut self, n: usize) {
        self.says(n, 1, "");
        let nonce = self.nonce.take().expect("a challenge");
        let (md5, user) = (Algorithm::Md5, format!("user{n:05}"));
        let ha1 = ha1(md5, &user, "a.test", "secret");
        let answer = response(md5, &ha1, "REGISTER", "sip:a.test", &nonce, 1, "x", "auth");
        let authorization = format!(
            "Authorization: Digest username=\"{user}\",realm=\"a.test\",nonce=\"{nonce}\",uri=\"sip:a.test\",\
             response=\"{answer}\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\r\n"
        );
        self.says(n, 2, &authorization);
    }

    fn register_all(&mut self, phones: std::ops::Range<usize>) {
        for n in phones {
            self.register(n);
            if n % 10 == 9 {
                self.pass(Duration::from_millis(20));
            }
        }
        // Each has been pinged, and its silence is over.
        self.pass(Duration::from_secs(75));
    }
}

#[test]
fn a_registered_phone_costs_its_peer_about_a_kilobyte() {
    let mut world = World::new();
    world.register_all(0..FIRST);
    let before = held::chunks();
    world.register_all(FIRST..FIRST + PHONES);
    let each = (held::chunks() - before) / PHONES;
    assert_eq!(world.registered, FIRST + PHONES);
    assert!(world.peer.is_quiet());
    println!("bytes per phone, all tables of the peer: {each}");
    assert!(each <= BYTES_MAX, "{each}");
    // An hour and a half later nobody has refreshed. What is left: where its account has been, the nonce that it answered, a put
    // that finds nobody to hold it, and the log since its last checkpoint, with the words that they have gone.
    world.pass(Duration::from_secs(5_400));
    let left = held::chunks().saturating_sub(before) / PHONES;
    println!("left of a phone that is gone: {left}");
    assert!(left <= LEFT_MAX, "{left}");
}

/// Of 40,000 each leaves 570; of so few the small tables stay full.
const LEFT_MAX: usize = 1_000;
