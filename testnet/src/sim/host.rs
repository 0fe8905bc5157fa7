//! One machine: a peer that runs on it or not, its disk, its keys, its clock.

use super::{SKEW_MS_MAX, World, disk::Disk};
use dots::{
    drivers::store::account,
    peer::{Config, Peer, api::Reply},
};
use dots_overlay::transport::NetEvent;
use dots_wire::{PeerId, SecretKey};
use rand::Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

pub struct Host {
    pub id: PeerId,
    pub key: SecretKey,
    /// The realm that is homed here.
    pub realm: String,
    /// Where phones find it.
    pub address: SocketAddr,
    pub config: Config,
    pub skew_ms: i64,
    /// None: killed, or a machine whose part a test plays.
    pub peer: Option<Peer>,
    pub is_puppet: bool,
    /// Its process stands still, and its connections stand: nobody is told.
    pub is_hung: bool,
    /// Counts its processes.
    pub life: u32,
    pub disk: Disk,
    /// Randomness and time of the last start, and the randomness that the next one must take.
    pub last_start: (u64, Duration),
    pub repeated: Option<u64>,
    /// What the peer counted, over all lives.
    pub counts: BTreeMap<&'static str, u64>,
    pub replies: BTreeMap<u64, Reply>,
    pub fatal: Option<String>,
    /// DHT values held here.
    pub dht: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What came for a machine without a peer.
    pub heard: VecDeque<NetEvent>,
}

impl Host {
    pub fn is_running(&self) -> bool {
        self.peer.is_some() || self.is_puppet
    }

    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }
}

impl World {
    /// A machine with a fresh key, home of `rN.test`; not started yet.
    pub fn add_host(&mut self) -> usize {
        let index = self.hosts.len();
        let (key, realm_key) = (SecretKey::generate(&mut self.rng), SecretKey::generate(&mut self.rng));
        let realm = format!("r{index}.test");
        let address: SocketAddr = ([10, 0, 0, u8::try_from(index + 1).unwrap_or(u8::MAX)], 5060).into();
        let config = Config {
            network: "sim".to_owned(),
            key: key.clone(),
            realm_key,
            token_key: self.rng.random(),
            realms: vec![realm.clone()],
            trusted: Vec::new(),
            own_hosts: vec![address.ip().to_string()],
            advertise: None,
            digest: Default::default(),
            brief: Default::default(),
            contacts_any: Default::default(),
            serve: Default::default(),
            ports: Default::default(),
            sip: vec![address.to_string()],
            p2p: Vec::new(),
            http: String::new(),
            disarmed: None,
        };
        self.hosts.push(Host {
            id: key.peer_id(),
            key,
            realm,
            address,
            config,
            skew_ms: self.rng.random_range(-SKEW_MS_MAX..=SKEW_MS_MAX),
            peer: None,
            is_puppet: false,
            is_hung: false,
            life: 0,
            disk: Disk::default(),
            last_start: (0, Duration::ZERO),
            repeated: None,
            counts: BTreeMap::new(),
            replies: BTreeMap::new(),
            fatal: None,
            dht: BTreeMap::new(),
            heard: VecDeque::new(),
        });
        index
    }

    /// An account as `dots account add` makes it, before the peer starts.
    pub fn add_account(&mut self, host: usize, user: &str, password: &str, roaming: bool) {
        let aor = format!("{user}@{}", self.hosts[host].realm);
        let made = account(&aor, password, roaming, 0).expect("a good name and password");
        self.hosts[host].disk.accounts.insert(aor, made);
    }
}
