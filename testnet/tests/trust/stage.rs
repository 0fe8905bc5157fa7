//! Two honest peers with a phone each, and a liar who is connected to both.

use dots::peer::messages::{ENVELOPE, Envelope, LookupRequest, VERSION};
use dots_overlay::transport::Protocol;
use dots_sip::message::Message;
use dots_testnet::sim::{World, liar::Liar, phone::Phone};
use dots_wire::{Hash, Signed, encode};
use serde_bytes::ByteBuf;
use std::time::Duration;

pub const A: usize = 0;
pub const B: usize = 1;
pub const ALICE: usize = 0;
pub const BOB: usize = 1;
pub const PASSWORD: &str = "a good long password";

pub struct Stage {
    pub world: World,
    pub liar: Liar,
}

impl Stage {
    /// alice@r0.test at A, bob@r1.test at B; the liar owns r2.test, and both have heard so.
    pub fn new() -> Stage {
        let mut world = World::new(7);
        for (host, users) in [(A, ["alice", "ann"]), (B, ["bob", "ben"])] {
            world.add_host();
            world.hosts[host].skew_ms = 0;
            for user in users {
                world.add_account(host, user, PASSWORD, true);
            }
            world.start(host);
        }
        world.run_for(Duration::from_secs(1));
        let liar = Liar::join(&mut world);
        let mut stage = Stage { world, liar };
        let record = stage.liar.realm(&stage.world).1;
        stage.tell_realm(record);
        assert_eq!(stage.add_phone(A, A, "alice"), ALICE);
        assert_eq!(stage.add_phone(B, B, "bob"), BOB);
        stage
    }

    pub fn tell_realm(&mut self, record: Signed) {
        let time_ms = self.world.now(A).wall.0;
        let body = encode(&LookupRequest::Realms {
            version: VERSION,
            records: vec![record],
            digest: Hash([0; 32]),
            time_ms,
        });
        for host in [A, B] {
            self.liar.ask(&mut self.world, host, Protocol::Lookup, body.clone()).expect("answered");
        }
    }

    /// A phone of `home`'s realm, registered at `server` if that works.
    pub fn add_phone(&mut self, home: usize, server: usize, user: &str) -> usize {
        let index = self.world.phones.len();
        let address = ([10, 1, 0, 9], 6_000 + index as u16).into();
        let (server, realm) = (self.world.hosts[server].address, self.world.hosts[home].realm.clone());
        self.world.phones.push(Phone::new(address, server, user, &realm, PASSWORD, index as u64));
        self.with_phone(index, |phone, at| {
            phone.register(at, 600);
        });
        self.wait(2);
        index
    }

    pub fn with_phone<T>(&mut self, phone: usize, act: impl FnOnce(&mut Phone, Duration) -> T) -> T {
        let at = self.world.at;
        let done = act(&mut self.world.phones[phone], at);
        self.world.carry(phone);
        done
    }

    pub fn wait(&mut self, seconds: u64) {
        self.liar.wait(&mut self.world, Duration::from_secs(seconds));
    }

    /// Requests that reached this phone; pings aside.
    pub fn reached(&self, phone: usize) -> Vec<String> {
        let all = self.world.phones[phone].received.iter();
        let requests = all.filter(|(_, m)| m.is_request() && m.method() != "OPTIONS");
        requests.map(|(_, m)| m.method().to_owned()).collect()
    }

    /// The last final answer that this phone got to a request of this method.
    pub fn answered(&self, phone: usize, method: &str) -> Option<u16> {
        self.last_answer(phone, method).and_then(Message::status)
    }

    pub fn last_answer(&self, phone: usize, method: &str) -> Option<&Message> {
        let mut all = self.world.phones[phone].received.iter().map(|(_, m)| m);
        all.rfind(|m| !m.is_request() && m.method() == method)
    }

    pub fn count(&self, host: usize, counter: &str) -> u64 {
        self.world.hosts[host].count(counter)
    }

    /// A request as the liar writes it.
    pub fn request(&self, draft: &Request) -> Vec<u8> {
        let host = self.liar.id().host();
        let via = draft.via.clone().unwrap_or(host.clone());
        let Request { method, from, target, call_id, to_tag, more, .. } = draft;
        format!(
            "{method} sip:{target} SIP/2.0\r\nVia: SIP/2.0/DOTS {via};branch=z9hG4bK{call_id}{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=x\r\nTo: <sip:{target}>{to_tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:c@{host}>\r\n{more}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// Sends it to B and gives back the final answer.
    pub fn attempt(&mut self, draft: &Request, grant: Option<ByteBuf>, realm: Option<Signed>) -> Option<u16> {
        let sip = self.request(draft);
        let envelope = Envelope { version: ENVELOPE, sip, grant, realm, nonce: None, on_behalf: Vec::new() };
        self.liar.send(&mut self.world, B, &envelope);
        self.wait(1);
        self.liar.status_of(&draft.call_id)
    }
}

/// What stands in a request.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub from: String,
    pub target: String,
    pub call_id: String,
    pub to_tag: String,
    pub more: String,
    /// The host in the top Via; none: the liar's own.
    pub via: Option<String>,
}

impl Request {
    pub fn new(method: &str, from: &str, target: &str, call_id: &str) -> Request {
        Request {
            method: method.to_owned(),
            from: from.to_owned(),
            target: target.to_owned(),
            call_id: call_id.to_owned(),
            to_tag: String::new(),
            more: String::new(),
            via: None,
        }
    }
}
