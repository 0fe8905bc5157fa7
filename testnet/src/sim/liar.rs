//! A hostile peer: a key, a place in the network, and a test that decides what it says.
//!
//! It has no [`dots::peer::Peer`] behind it. Its connections, links and signatures are real, so that what it sends is
//! refused for what it says and not for how it says it.

use super::World;
use dots::peer::messages::{AuthReply, AuthRequest, Envelope, VERSION};
use dots_overlay::{
    grant,
    link::{LinkOutput, Links},
    records::{
        Entry, Event, Grant, Header, Incarnation, Permit, RealmRecord, Scope, entry, grant::GRANT_VERSION,
    },
    transport::{NetCommand, NetEvent, Protocol, RequestError, StreamId},
};
use dots_sip::message::Message;
use dots_trust::lease::{Lease, Stamp};
use dots_wire::{Hash, PeerId, SecretKey, Signed, Timestamp, decode, encode, sha256};
use serde_bytes::ByteBuf;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often a liar looks at what came.
const TICK: Duration = Duration::from_millis(10);

/// What a liar says to a question.
pub enum Reply {
    Say(Vec<u8>),
    Refusal,
    /// Nothing, and the asker waits.
    Silence,
}

pub type Answering = dyn FnMut(Protocol, &[u8]) -> Reply;

pub struct Liar {
    pub host: usize,
    pub key: SecretKey,
    links: Links,
    /// SIP messages that came over its links.
    pub heard: Vec<(PeerId, Message)>,
    /// What it was asked, and did not answer.
    pub asked: Vec<(Protocol, Vec<u8>)>,
    /// It tells nobody anything unless this says so.
    pub reply: Option<Box<Answering>>,
    answers: BTreeMap<u64, Result<Vec<u8>, RequestError>>,
    streams: BTreeMap<PeerId, StreamId>,
    requests: u64,
    /// Its log.
    incarnation: Incarnation,
    seq: u64,
    prev: Hash,
}

impl Liar {
    /// A new machine, connected to all that run.
    pub fn join(world: &mut World) -> Liar {
        let host = world.add_host();
        world.hosts[host].is_puppet = true;
        world.hosts[host].skew_ms = 0;
        let now = world.now(host);
        let key = world.hosts[host].key.clone();
        let liar = Liar {
            host,
            links: Links::new(key.peer_id(), 1),
            key,
            heard: Vec::new(),
            asked: Vec::new(),
            reply: None,
            answers: BTreeMap::new(),
            streams: BTreeMap::new(),
            requests: 0,
            incarnation: Incarnation { started: now.wall, random: 1 },
            seq: 0,
            prev: Hash([0; 32]),
        };
        for other in 0..host {
            world.connect(host, other);
        }
        liar
    }

    pub fn id(&self) -> PeerId {
        self.key.peer_id()
    }

    /// Lets time pass, with the liar awake.
    pub fn wait(&mut self, world: &mut World, time: Duration) {
        let end = world.at + time;
        while world.at < end {
            world.run_for(TICK);
            self.look(world);
        }
    }

    /// Hears what came, and answers.
    pub fn look(&mut self, world: &mut World) {
        let now = world.now(self.host);
        while let Some(event) = world.hosts[self.host].heard.pop_front() {
            match event {
                NetEvent::Response { id, result } => {
                    self.answers.insert(id, result);
                }
                NetEvent::Request { id, protocol, body, .. } => {
                    let reply = self.reply.as_mut().map_or(Reply::Refusal, |reply| reply(protocol, &body));
                    self.asked.push((protocol, body));
                    match reply {
                        Reply::Say(body) => {
                            world.command(self.host, NetCommand::Respond { id, body: Some(body) })
                        }
                        Reply::Refusal => world.command(self.host, NetCommand::Respond { id, body: None }),
                        Reply::Silence => {}
                    }
                }
                event => {
                    if let NetEvent::StreamOpened { peer, stream, .. } = event {
                        self.streams.insert(peer, stream);
                    }
                    self.links.handle_net(now, &event);
                }
            }
        }
        if self.links.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.links.handle_timeout(now);
        }
        while let Some(output) = self.links.poll_output() {
            match output {
                LinkOutput::Net(command) => world.command(self.host, command),
                LinkOutput::Deliver { peer, body } => {
                    let envelope: Envelope = decode(&body).expect("honest peers send envelopes");
                    let message = Message::parse_lenient(envelope.sip).expect("with SIP in them");
                    self.heard.push((peer, message));
                }
                LinkOutput::Down { .. } | LinkOutput::Doubt { .. } => {}
            }
        }
    }

    /// Puts bytes on the link toward `to`.
    pub fn send_raw(&mut self, world: &mut World, to: usize, body: Vec<u8>) {
        let now = world.now(self.host);
        self.links.send(now, world.hosts[to].id, body, false).expect("the liar's link has room");
        self.look(world);
    }

    pub fn send(&mut self, world: &mut World, to: usize, envelope: &Envelope) {
        self.send_raw(world, to, encode(envelope));
    }

    /// Puts a frame on the stream toward `to` that the link would never write.
    pub fn break_protocol(&mut self, world: &mut World, to: usize, frame: Vec<u8>) {
        if let Some(stream) = self.streams.get(&world.hosts[to].id).copied() {
            world.command(self.host, NetCommand::StreamSend { stream, frame });
        }
    }

    /// Asks over a request protocol and waits for the answer.
    pub fn ask(
        &mut self,
        world: &mut World,
        to: usize,
        protocol: Protocol,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        self.requests += 1;
        let id = self.requests;
        let peer = world.hosts[to].id;
        world.command(self.host, NetCommand::Request { id, peer, protocol, body });
        loop {
            self.wait(world, TICK);
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
        }
    }

    pub fn ask_auth(&mut self, world: &mut World, home: usize, request: &AuthRequest) -> AuthReply {
        let answer = self.ask(world, home, Protocol::Auth, encode(request)).expect("the home answers");
        decode(&answer).expect("with something readable")
    }

    pub fn nonce(&mut self, world: &mut World, home: usize) -> String {
        let realm = world.hosts[home].realm.clone();
        match self.ask_auth(world, home, &AuthRequest::Lease { version: VERSION, realm }) {
            AuthReply::Lease { lease } => {
                let lease = Lease::read(&lease).expect("a whole lease");
                Stamp::new(&self.key, [0; 16]).nonce(&lease, [192, 0, 2, 66].into())
            }
            other => panic!("no lease but {other:?}"),
        }
    }

    /// Its next log entry, gossiped.
    pub fn publish(&mut self, world: &mut World, events: &[Event]) {
        let now = world.now(self.host);
        let header = Header {
            version: entry::VERSION,
            author: self.id(),
            incarnation: self.incarnation,
            shard: String::new(),
            seq: self.seq,
            prev: self.prev,
            time: now.wall,
            count: 0,
            events_root: Hash([0; 32]),
        };
        let sealed = Entry::seal(&self.key, header, events.iter().map(encode).collect());
        self.seq += 1;
        self.prev = sealed.hash;
        let said: BTreeMap<&str, ByteBuf> = [("Entry", ByteBuf::from(sealed.bytes.to_vec()))].into();
        world.command(self.host, NetCommand::Publish { body: encode(&(2u8, "sim", said)) });
        self.wait(world, Duration::from_millis(300));
    }

    /// The final answer to the request with this Call-ID, if there was one.
    pub fn status_of(&self, call_id: &str) -> Option<u16> {
        let mine = self.heard.iter().filter(|(_, m)| m.call_id() == Some(call_id));
        mine.filter_map(|(_, m)| m.status()).rfind(|s| *s >= 200)
    }

    /// Methods of the requests that came to it.
    pub fn requests(&self) -> BTreeSet<String> {
        self.heard.iter().filter(|(_, m)| m.is_request()).map(|(_, m)| m.method().to_owned()).collect()
    }

    /// The record of the realm that it owns, as a home would sign it.
    pub fn realm(&self, world: &World) -> (RealmRecord, Signed) {
        let realm_key = &world.hosts[self.host].config.realm_key;
        let record = realm_record(world, self.host, &world.hosts[self.host].realm);
        let signed = record.sign(realm_key);
        (record, signed)
    }
}

/// What a home of `name` with the realm key of `host` says.
pub fn realm_record(world: &World, host: usize, name: &str) -> RealmRecord {
    let realm_key = &world.hosts[host].config.realm_key;
    let now = world.now(host).wall;
    RealmRecord {
        version: dots_overlay::records::realm::REALM_VERSION,
        name: name.to_owned(),
        key: realm_key.public(),
        seq: now.0,
        homes: vec![world.hosts[host].id],
        serving: dots_overlay::records::Serving::Any,
        callers: dots_overlay::records::Callers::Any,
        aor_salt: dots_wire::hmac_sha256(realm_key.to_bytes().as_slice(), b"dots/aor-salt/1"),
        valid_until: now.plus(Duration::from_secs(24 * 3600)),
    }
}

/// A grant and how it is signed; every field can be bent before [`Draft::sign`].
#[derive(Clone)]
pub struct Draft {
    pub grant: Grant,
    pub signer: SecretKey,
}

impl Draft {
    /// What `home` would grant: `caller` may send `method` to `target` through `serving`.
    pub fn call(
        world: &World,
        home: usize,
        serving: PeerId,
        caller: &str,
        method: &str,
        target: &str,
    ) -> Draft {
        let permit = Permit::Call {
            method: method.to_owned(),
            signed: sha256(target.as_bytes()),
            target: sha256(target.as_bytes()),
        };
        Draft::of(world, home, serving, caller, permit, Duration::from_secs(50))
    }

    pub fn bind(world: &World, home: usize, serving: PeerId, aor: &str, instance: &str) -> Draft {
        let permit = Permit::Bind { instance: sha256(instance.as_bytes()) };
        Draft::of(world, home, serving, aor, permit, Duration::from_secs(3_000))
    }

    fn of(world: &World, home: usize, serving: PeerId, aor: &str, permit: Permit, life: Duration) -> Draft {
        let record = realm_record(world, home, &world.hosts[home].realm);
        let time: Timestamp = world.now(home).wall;
        let grant = Grant {
            version: GRANT_VERSION,
            permit,
            scope: Scope::Aor(record.aor_id(aor)),
            realm: record.id(),
            realm_seq: record.seq,
            home: world.hosts[home].id,
            serving,
            time,
            not_after: time.plus(life),
        };
        Draft { grant, signer: world.hosts[home].key.clone() }
    }

    pub fn bytes(&self) -> ByteBuf {
        let proof = grant::sign(&self.signer, std::slice::from_ref(&self.grant)).pop();
        ByteBuf::from(encode(&proof.expect("one grant, one proof")))
    }

    /// As a home says it of a phone that it serves itself, unsigned.
    pub fn spoken(&self) -> ByteBuf {
        ByteBuf::from(encode(&self.grant))
    }
}
