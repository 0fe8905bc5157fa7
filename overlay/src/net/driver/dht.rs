//! Kademlia: values for the core, addresses for us.

use super::Driver;
use crate::{
    net::{identity, limits::*},
    transport::{NetEvent, RequestId},
};
use dots_wire::{
    Hash, PeerId,
    bounded::{Cache, Cause, Weight},
    sha256,
};
use libp2p::kad::{
    Event, GetClosestPeersError, GetRecordOk, InboundRequest, PeerInfo, QueryId, QueryResult, Quorum, Record,
    RecordKey, store::RecordStore,
};
use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

pub struct Dht {
    /// Whose room each record takes in the store.
    held: Cache<Vec<u8>, Room>,
    gets: HashMap<QueryId, Get>,
    look_ups: HashMap<QueryId, PeerId>,
    sweep_at: Instant,
    /// The look around that is under way.
    walk: Option<QueryId>,
    walk_at: Instant,
    walks_in_vain: u32,
}

struct Get {
    id: RequestId,
    /// Twenty holders give the same value; one copy is enough.
    said: BTreeSet<Hash>,
}

/// What a record takes of the store, and who pays.
struct Room {
    bytes: usize,
    cause: Cause,
}

impl Weight for Room {
    fn heap_bytes(&self) -> usize {
        self.bytes
    }
}

impl Dht {
    pub fn new(now: Instant) -> Dht {
        Dht {
            held: Cache::new(RECORDS),
            gets: HashMap::new(),
            look_ups: HashMap::new(),
            sweep_at: now + SWEEP_EVERY,
            walk: None,
            walk_at: now + WALK_FIRST,
            walks_in_vain: 0,
        }
    }
}

impl Driver {
    pub(super) fn on_dht_get(&mut self, id: RequestId, key: Vec<u8>) {
        if self.dht.gets.len() >= QUERIES_MAX || key.len() > RECORD_KEY_MAX {
            return self.out.say(NetEvent::DhtDone { id });
        }
        let query = self.swarm.behaviour_mut().kad.get_record(RecordKey::from(key));
        self.dht.gets.insert(query, Get { id, said: BTreeSet::new() });
    }

    /// Puts at the closest peers. Here too, but what we hold of others is not ours to overwrite: then the core is
    /// offered its own value, and merges.
    pub(super) fn on_dht_put(&mut self, key: Vec<u8>, value: Vec<u8>, ttl_secs: u32) {
        if value.len() > RECORD_MAX || key.len() > RECORD_KEY_MAX {
            return self.counters.records_refused.add();
        }
        if self.swarm.behaviour().kad.iter_queries().count() >= PUTS_MAX {
            return self.counters.puts_dropped.add();
        }
        let record = record(key.clone(), value.clone(), ttl_secs);
        if !self.make_room(Cause::OWN, &key, &value) {
            return self.counters.records_refused.add();
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        let held = kad.store_mut().get(&record.key).map(|r| r.into_owned());
        let held = held.filter(|r| r.value != value && !r.is_expired(Instant::now()));
        // A quorum that is reached ends the query, also toward those that are still being dialled.
        if let Err(error) = kad.put_record(record, Quorum::All) {
            tracing::debug!(%error, "a record was not put");
        }
        if let Some(held) = held {
            let value_held = held.value.clone();
            let _ = kad.store_mut().put(held);
            self.out.say(NetEvent::DhtOffer { from: self.me, key, value, held: Some(value_held) });
        }
    }

    pub(super) fn on_dht_store(&mut self, cause: Cause, key: Vec<u8>, value: Vec<u8>, ttl_secs: u32) {
        let fits = value.len() <= RECORD_MAX && key.len() <= RECORD_KEY_MAX;
        if !fits || !self.make_room(cause, &key, &value) {
            return self.counters.records_refused.add();
        }
        let record = record(key, value, ttl_secs);
        if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().put(record) {
            tracing::debug!(%error, "a record was not stored");
        }
    }

    /// LOG-23a: a store that is full would refuse all: who has most gives way. `false`: that is the newcomer himself.
    fn make_room(&mut self, cause: Cause, key: &[u8], value: &[u8]) -> bool {
        // Whoever adds to what is there does not get it into his power: it stays with who pays for it, unless a better one does.
        let known = self.dht.held.get(key).map(|room| room.cause);
        let cause = known.filter(|known| known.standing <= cause.standing).unwrap_or(cause);
        let room = Room { bytes: value.len(), cause };
        let inserted = self.dht.held.insert(cause, key.to_vec(), room);
        let store = self.swarm.behaviour_mut().kad.store_mut();
        for (gone, _) in &inserted.evicted {
            store.remove(&RecordKey::from(gone.clone()));
            self.counters.records_evicted.add();
        }
        if !inserted.is_stored && inserted.replaced.is_some() {
            store.remove(&RecordKey::from(key.to_vec()));
        }
        inserted.is_stored
    }

    pub(super) fn sweep_records(&mut self, now: Instant) {
        if self.dht.sweep_at <= now {
            self.dht.sweep_at = now + SWEEP_EVERY;
            let store = self.swarm.behaviour_mut().kad.store_mut();
            store.retain(|_, record| !record.is_expired(now));
            self.dht.held.retain(|key, _| store.get(&RecordKey::from(key.clone())).is_some());
        }
    }

    /// Asks the network where `peer` listens.
    pub(super) fn look_up(&mut self, peer: PeerId) {
        if self.dht.look_ups.len() >= QUERIES_MAX {
            return self.looked_up(peer, Vec::new());
        }
        let query = self.swarm.behaviour_mut().kad.get_closest_peers(identity::to_libp2p(peer));
        self.dht.look_ups.insert(query, peer);
    }

    /// Looks around: who is closest to a random key? Kademlia's own table remembers twenty of the far half of a network.
    pub(super) fn walk(&mut self, now: Instant) {
        let wanted = self.neighbours() > 0 && self.dialer.wanted(self.neighbours()) > 0;
        if wanted && self.dht.walk.is_none() && self.dht.walk_at <= now {
            let key: [u8; 32] = rand::random();
            self.dht.walk = Some(self.swarm.behaviour_mut().kad.get_closest_peers(key.to_vec()));
        }
    }

    fn on_walked(&mut self, peers: Vec<PeerInfo>) {
        let now = Instant::now();
        let mut new = false;
        for found in peers {
            if let Some(peer) = identity::from_libp2p(&found.peer_id) {
                let addresses = self.plausible(found.addrs);
                new |= self.dialer.learn(now, peer, addresses);
            }
        }
        self.dht.walks_in_vain = if new { 0 } else { self.dht.walks_in_vain.saturating_add(1) };
        let doublings = self.dht.walks_in_vain.saturating_sub(WALKS_IN_VAIN).min(8);
        self.dht.walk_at = now + (WALK_FIRST * 2u32.pow(doublings)).min(WALK_MAX);
    }

    pub(super) fn on_kad(&mut self, event: Event) {
        match event {
            Event::InboundRequest {
                request: InboundRequest::PutRecord { source, record: Some(record), .. },
            } => self.on_offer(&source, record),
            Event::OutboundQueryProgressed { id, result, step, .. } => self.on_query(id, result, step.last),
            _ => {}
        }
    }

    fn on_offer(&mut self, source: &libp2p::PeerId, record: Record) {
        let Some(from) = self.announce(source) else { return };
        if record.value.len() > RECORD_MAX || record.key.as_ref().len() > RECORD_KEY_MAX {
            return self.counters.records_refused.add();
        }
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let held = store.get(&record.key).filter(|r| !r.is_expired(Instant::now()));
        let held = held.map(|r| r.value.clone());
        self.out.say(NetEvent::DhtOffer { from, key: record.key.to_vec(), value: record.value, held });
    }

    fn on_query(&mut self, query: QueryId, result: QueryResult, last: bool) {
        match result {
            QueryResult::GetRecord(result) => {
                if let Ok(GetRecordOk::FoundRecord(found)) = result {
                    self.on_found(query, found.record.value);
                }
                if last && let Some(get) = self.dht.gets.remove(&query) {
                    self.out.say(NetEvent::DhtDone { id: get.id });
                }
            }
            QueryResult::GetClosestPeers(result) if last => {
                let peers = match result {
                    Ok(ok) => ok.peers,
                    Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                if self.dht.walk.take_if(|walk| *walk == query).is_some() {
                    return self.on_walked(peers);
                }
                let Some(peer) = self.dht.look_ups.remove(&query) else { return };
                let libp2p = identity::to_libp2p(peer);
                let found = peers.into_iter().find(|p| p.peer_id == libp2p);
                let addresses: Vec<_> = found.map(|p| p.addrs).unwrap_or_default();
                let addresses = self.plausible(addresses);
                self.looked_up(peer, addresses);
            }
            _ => {}
        }
    }

    fn on_found(&mut self, query: QueryId, value: Vec<u8>) {
        let Some(get) = self.dht.gets.get_mut(&query) else { return };
        if value.len() <= RECORD_MAX && get.said.len() < VALUES_MAX && get.said.insert(sha256(&value)) {
            let id = get.id;
            self.out.say(NetEvent::DhtValue { id, value });
        }
    }
}

fn record(key: Vec<u8>, value: Vec<u8>, ttl_secs: u32) -> Record {
    let ttl = Duration::from_secs(u64::from(ttl_secs.max(1))).min(RECORD_TTL_MAX);
    Record { key: RecordKey::from(key), value, publisher: None, expires: Some(Instant::now() + ttl) }
}
