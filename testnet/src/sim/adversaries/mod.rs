//! Lies, one file each: what somebody hostile does to a small network, and what honest users still get. Each runs against the
//! shipping code, and once more with its defence switched off: then its checker must complain.

mod author_flood;
pub mod death_liar;
pub mod forged_goodbye;
mod log_filler;
mod lookup_amplifier;
mod mute_crowd;
mod mute_holder;
mod quota_burner;

pub use author_flood::author_flood;
pub use log_filler::log_filler;
pub use lookup_amplifier::lookup_amplifier;
pub use mute_crowd::mute_crowd;
pub use mute_holder::mute_holder;
pub use quota_burner::quota_burner;

use super::{
    World,
    checkers::Faults,
    liar::Liar,
    phone::{Phone, Plan},
};
use dots::peer::api::Request;
use dots_overlay::{
    log::Defence,
    records::{Entry, Event, Header, Incarnation, entry},
    transport::NetCommand,
};
use dots_wire::{Hash, SecretKey, Timestamp, encode};
use serde_bytes::ByteBuf;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

const PASSWORD: &str = "a good long password";

/// Two honest peers, A and B, each home of a realm, and one place for whoever lies.
pub struct Stage {
    pub world: World,
    pub liar: Liar,
}

pub const A: usize = 0;
pub const B: usize = 1;

impl Stage {
    /// alice@r0.test and carol@r0.test have accounts at A, bob@r1.test at B.
    pub fn new(without: Option<Defence>) -> Stage {
        let mut world = World::new(11);
        for (host, users) in [(A, ["alice", "carol"]), (B, ["bob", "eve"])] {
            world.add_host();
            world.hosts[host].skew_ms = 0;
            world.hosts[host].config.disarmed = without;
            for user in users {
                world.add_account(host, user, PASSWORD, true);
            }
            world.start(host);
        }
        world.run_for(Duration::from_secs(1));
        let liar = Liar::join(&mut world);
        let mut stage = Stage { world, liar };
        stage.wait(Duration::from_secs(1));
        stage
    }

    /// One more honest peer.
    pub fn newcomer(&mut self, without: Option<Defence>) -> usize {
        let host = self.world.add_host();
        self.world.hosts[host].skew_ms = 0;
        self.world.hosts[host].config.disarmed = without;
        self.world.start(host);
        host
    }

    pub fn wait(&mut self, time: Duration) {
        self.liar.wait(&mut self.world, time);
    }

    /// A phone of `home`'s realm that has registered at `server`.
    pub fn phone(&mut self, home: usize, server: usize, user: &str) -> usize {
        let index = self.world.phones.len();
        let port = 6_000 + u16::try_from(index).expect("few phones");
        let (server, realm) = (self.world.hosts[server].address, self.world.hosts[home].realm.clone());
        let address = ([10, 1, 0, 9], port).into();
        self.world.phones.push(Phone::new(address, server, user, &realm, PASSWORD, index as u64));
        self.register(index, 600);
        index
    }

    pub fn register(&mut self, phone: usize, expires: u32) {
        let at = self.world.at;
        self.world.phones[phone].register(at, expires);
        self.world.carry(phone);
    }

    /// Does this peer know from its own copy of `serving`'s log that a phone of `aor` is there? What a home remembers of its own
    /// grants, and what the DHT holds, find the phone too: they hide that a log did not come.
    pub fn replicates(&mut self, host: usize, aor: &str, serving: usize) -> bool {
        let request = Request::Lookup { aor: aor.to_owned() };
        let reply = self.world.ask(host, request, Duration::from_secs(10));
        let serving = self.world.hosts[serving].id.to_string();
        let bindings = reply.map(|reply| reply.body["bindings"].clone()).unwrap_or_default();
        let is_it = |b: &Value| b["source"] == "directory" && b["serving"] == serving.as_str();
        bindings.as_array().is_some_and(|bindings| bindings.iter().any(is_it))
    }

    /// Does a call get through, first try?
    pub fn calls(&mut self, phone: usize, target: &str) -> bool {
        let plan = Plan { talk: Some(Duration::from_secs(1)), patience: Duration::from_secs(10) };
        let at = self.world.at;
        let id = self.world.phones[phone].call(at, target, plan);
        self.world.carry(phone);
        self.wait(Duration::from_secs(12));
        let answered = |m: &dots_sip::message::Message| {
            m.call_id() == Some(id.as_str()) && m.method() == "INVITE" && m.status() == Some(200)
        };
        self.world.phones[phone].received.iter().any(|(_, m)| answered(m))
    }
}

/// The log of a made-up author.
pub struct Pen {
    key: SecretKey,
    header: Header,
}

impl Pen {
    pub fn new(world: &World, host: usize, n: u32) -> Pen {
        let mut bytes = [3; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let key = SecretKey::from_bytes(&bytes).expect("a scalar");
        let now = world.now(host).wall;
        let header = Header {
            version: entry::VERSION,
            author: key.peer_id(),
            incarnation: Incarnation { started: now, random: 1 },
            shard: String::new(),
            seq: 0,
            prev: Hash([0; 32]),
            time: now,
            count: 0,
            events_root: Hash([0; 32]),
        };
        Pen { key, header }
    }

    pub fn author(&self) -> dots_wire::PeerId {
        self.header.author
    }

    pub fn incarnation(&self) -> Incarnation {
        self.header.incarnation
    }

    /// Its next entry, of events as they are encoded.
    pub fn write(&mut self, time: Timestamp, events: Vec<Vec<u8>>) -> Entry {
        self.header.time = time;
        let entry = Entry::seal(&self.key, self.header.clone(), events);
        (self.header.seq, self.header.prev) = (self.header.seq + 1, entry.hash);
        entry
    }
}

/// As gossip carries it.
fn gossip(world: &mut World, host: usize, entry: &Entry) {
    let said: BTreeMap<&str, ByteBuf> = [("Entry", ByteBuf::from(entry.bytes.to_vec()))].into();
    world.command(host, NetCommand::Publish { body: encode(&(2u8, "sim", said)) });
}

fn checkpoint() -> Vec<u8> {
    encode(&Event::Checkpoint(dots_overlay::records::Checkpoint { root: Hash([0; 32]), count: 0 }))
}

/// A complaint, if it is not so.
fn expect(faults: &mut Faults, so: bool, what: &str) {
    if !so {
        faults.push(what.to_owned());
    }
}
