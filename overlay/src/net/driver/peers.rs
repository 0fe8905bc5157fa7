//! Who is connected.
//!
//! A connection proves a key; that the peer is of our network is known once it says so (identify) or has used one of our
//! protocols, whose names carry the network's. Only then does the program hear of it.

use super::Driver;
use crate::{
    net::{
        address::{host, is_plausible, origin},
        dialer::Dial,
        identity,
        limits::*,
    },
    transport::NetEvent,
};
use dots_wire::{
    PeerId,
    bounded::{Cache, Cause, Standing, Weight},
};
use libp2p::{
    Multiaddr,
    core::ConnectedPoint,
    identify, mdns, ping,
    swarm::{ConnectionId, DialError, dial_opts::DialOpts},
};
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    net::IpAddr,
    time::{Duration, Instant},
};

#[derive(Default)]
pub struct Peers {
    connected: HashMap<libp2p::PeerId, Connected>,
    announced: usize,
    /// Incoming connections by network, address and peer.
    places: Incoming,
    /// Whence each incoming connection comes, and how many come from there.
    incoming: HashMap<ConnectionId, IpAddr>,
    origins: HashMap<IpAddr, usize>,
    /// Dials of bootstrap addresses without a peer id.
    bootstrap: HashMap<ConnectionId, usize>,
}

/// NET-10: addresses cost more than keys, networks more than addresses: where there are too many connections from outside, the
/// network with most of them loses one, there the address with most, its oldest.
struct Incoming(Cache<Id, ()>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id(ConnectionId);

impl Weight for Id {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Default for Incoming {
    fn default() -> Incoming {
        Incoming(Cache::new(INCOMING))
    }
}

impl Incoming {
    /// Gives back those that lose their place to it.
    fn put(&mut self, connection: ConnectionId, peer: PeerId, ip: Option<IpAddr>) -> Vec<ConnectionId> {
        let cause = Cause::new(Standing::Other).by(&peer.to_bytes());
        let cause = ip.map_or(cause, |ip| cause.from(ip).of_realm(ip.to_string().as_bytes()));
        let placed = self.0.insert(cause, Id(connection), ());
        debug_assert!(placed.is_stored, "every network has room for one");
        placed.evicted.into_iter().map(|(Id(connection), ())| connection).collect()
    }

    fn remove(&mut self, connection: ConnectionId) {
        self.0.remove(&Id(connection));
    }
}

struct Connected {
    peer: PeerId,
    announced: bool,
    since: Instant,
    connections: BTreeMap<ConnectionId, Connection>,
    agent: String,
    rtt: Option<Duration>,
}

struct Connection {
    address: Multiaddr,
    dialled: bool,
    /// When it was opened, or a ping on it was answered.
    heard: Instant,
}

/// An agent's name is shown to people.
const AGENT_MAX: usize = 64;

impl Driver {
    pub(super) fn on_established(
        &mut self,
        peer: libp2p::PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let bootstrap = self.peers.bootstrap.remove(&connection);
        let Some(ours) = identity::from_libp2p(&peer) else {
            self.counters.foreign_key.add();
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        if let Some(index) = bootstrap {
            self.dialer.answered(Instant::now(), index, ours);
        }
        if endpoint.is_listener() && self.is_crowded(endpoint.get_remote_address()) {
            self.counters.crowded.add();
            self.swarm.close_connection(connection);
            return;
        }
        let entry = self.peers.connected.entry(peer).or_insert_with(|| Connected {
            peer: ours,
            announced: false,
            since: Instant::now(),
            connections: BTreeMap::new(),
            agent: String::new(),
            rtt: None,
        });
        let address = endpoint.get_remote_address().clone();
        let dialled = endpoint.is_dialer();
        entry.connections.insert(connection, Connection { address, dialled, heard: Instant::now() });
        if endpoint.is_listener() {
            for gone in self.peers.places.put(connection, ours, host(endpoint.get_remote_address())) {
                self.counters.displaced.add();
                self.swarm.close_connection(gone);
            }
        }
        if let Some(origin) = origin(endpoint.get_remote_address()).filter(|_| endpoint.is_listener()) {
            *self.peers.origins.entry(origin).or_insert(0) += 1;
            self.peers.incoming.insert(connection, origin);
        }
        if let ConnectedPoint::Dialer { address, .. } = endpoint {
            self.dialer.shown(Instant::now(), ours, [without_peer(address)]);
            self.dialer.chose(ours);
        }
        self.reached(ours);
    }

    pub(super) fn on_closed(&mut self, peer: &libp2p::PeerId, connection: ConnectionId) {
        self.peers.places.remove(connection);
        if let Some(origin) = self.peers.incoming.remove(&connection)
            && let Entry::Occupied(mut count) = self.peers.origins.entry(origin)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let Some(entry) = self.peers.connected.get_mut(peer) else { return };
        entry.connections.remove(&connection);
        if !entry.connections.is_empty() {
            return;
        }
        let (ours, announced) = (entry.peer, entry.announced);
        self.peers.connected.remove(peer);
        self.dialer.disconnected(Instant::now(), ours);
        if announced {
            self.peers.announced = self.peers.announced.saturating_sub(1);
            self.out.say(NetEvent::Disconnected { peer: ours });
        }
    }

    fn is_crowded(&self, address: &Multiaddr) -> bool {
        let count = origin(address).and_then(|o| self.peers.origins.get(&o));
        count.is_some_and(|count| *count >= CONNECTIONS_PER_ADDRESS)
    }

    /// Peers that never said of which network they are.
    pub(super) fn expire_silent(&mut self, now: Instant) {
        let late = |e: &Connected| !e.announced && now.saturating_duration_since(e.since) >= IDENTIFY_MAX;
        let late: Vec<libp2p::PeerId> =
            self.peers.connected.iter().filter(|(_, e)| late(e)).map(|(peer, _)| *peer).collect();
        for peer in late {
            self.counters.silent.add();
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// `peer` is known to be of our network: the program hears of it, once. `None`: it is not connected.
    pub(super) fn announce(&mut self, peer: &libp2p::PeerId) -> Option<PeerId> {
        let entry = self.peers.connected.get_mut(peer)?;
        let ours = entry.peer;
        if !entry.announced {
            entry.announced = true;
            self.peers.announced += 1;
            self.dialer.connected(Instant::now(), ours);
            self.out.say(NetEvent::Connected { peer: ours });
        }
        Some(ours)
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, connection_id, info } = event else { return };
        let Some(entry) = self.peers.connected.get_mut(&peer_id) else { return };
        let ours = entry.peer;
        if info.protocol_version != self.version {
            self.counters.foreign_network.add();
            return self.on_foreign(peer_id, ours, &info.protocol_version);
        }
        // NET-3a: with the same name for one thing and another for the next it would be half a neighbour.
        if !self.known_by.iter().all(|name| info.protocols.contains(name)) {
            self.counters.other_version.add();
            self.out.say(NetEvent::OtherVersion { peer: ours });
            return self.on_foreign(peer_id, ours, &info.agent_version);
        }
        entry.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect();
        let Some(seen) = entry.connections.get(&connection_id) else { return };
        let said = info.listen_addrs.into_iter().map(|a| without_peer(&a));
        let addresses: Vec<Multiaddr> =
            said.filter(|a| is_plausible(a, &seen.address)).take(ADDRESSES_MAX).collect();
        for address in &addresses {
            self.swarm.behaviour_mut().kad.add_address(&peer_id, address.clone());
        }
        self.dialer.shown(Instant::now(), ours, addresses);
        self.announce(&peer_id);
        // It may have been announced before we knew an address of it.
        self.dialer.connected(Instant::now(), ours);
        self.seen(&peer_id, connection_id);
    }

    fn on_foreign(&mut self, peer: libp2p::PeerId, ours: PeerId, version: &str) {
        tracing::debug!(peer = %ours, ?version, "a peer of another network or version");
        self.dialer.foreign(Instant::now(), ours);
        self.swarm.behaviour_mut().kad.remove_peer(&peer);
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_ping(&mut self, event: ping::Event) {
        match event.result {
            Ok(rtt) => {
                if let Some(entry) = self.peers.connected.get_mut(&event.peer) {
                    entry.rtt = Some(rtt);
                    if let Some(connection) = entry.connections.get_mut(&event.connection) {
                        connection.heard = Instant::now();
                    }
                    self.seen(&event.peer, event.connection);
                }
            }
            // See `expire_unheard`.
            Err(error) => tracing::debug!(peer = %event.peer, %error, "a ping failed"),
        }
    }

    /// Connections on which nothing has been answered for too long. `waited`: we were not listening ourselves.
    pub(super) fn expire_unheard(&mut self, now: Instant, waited: bool) {
        let mut unheard = Vec::new();
        for (id, connection) in self.peers.connected.values_mut().flat_map(|e| e.connections.iter_mut()) {
            if waited {
                connection.heard = now;
            } else if now.saturating_duration_since(connection.heard) >= SILENT_MAX {
                unheard.push(*id);
            }
        }
        for connection in unheard {
            self.counters.pings_lost.add();
            self.swarm.close_connection(connection);
        }
    }

    /// Who is charged for what `peer` wants us to hold: the network from which it is connected, then itself.
    pub(super) fn payer(&self, peer: PeerId, granted: bool) -> Cause {
        let standing = if granted { Standing::Met } else { Standing::Other };
        let cause = Cause::new(standing).by(&peer.to_bytes());
        if peer == self.me {
            return Cause::OWN;
        }
        let connected = self.peers.connected.get(&identity::to_libp2p(peer));
        let mut addresses = connected.into_iter().flat_map(|c| c.connections.values());
        addresses.find_map(|c| host(&c.address)).map_or(cause, |ip| cause.from(ip))
    }

    /// Who is charged for a question of `peer`: those that we dialled have chosen nobody's company but ours.
    pub(super) fn asker(&self, peer: PeerId) -> Cause {
        let connected = self.peers.connected.get(&identity::to_libp2p(peer));
        let is_chosen = connected.is_some_and(|c| c.connections.values().any(|c| c.dialled));
        let standing = if is_chosen { Standing::Met } else { Standing::Other };
        Cause { standing, ..self.payer(peer, false) }
    }

    pub(super) fn neighbours(&self) -> usize {
        self.peers.announced
    }

    /// NET-9: of what others tell of a peer that counts which is at least as public as the least public of those that we see:
    /// across the internet nobody makes us dial this host or what is behind our router.
    pub(super) fn plausible(&self, told: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
        let connections = || self.peers.connected.values().flat_map(|peer| peer.connections.values());
        let told = told.into_iter().map(|address| without_peer(&address));
        // Where a name leads we do not know.
        let fits =
            |address: &Multiaddr, seen: &Multiaddr| host(seen).is_none() || is_plausible(address, seen);
        told.filter(|address| connections().any(|seen| fits(address, &seen.address)))
            .take(ADDRESSES_MAX)
            .collect()
    }

    fn seen(&mut self, peer: &libp2p::PeerId, connection: ConnectionId) {
        let Some(entry) = self.peers.connected.get(peer).filter(|e| e.announced) else { return };
        let Some(connection) = entry.connections.get(&connection) else { return };
        let event = NetEvent::Seen {
            peer: entry.peer,
            address: without_peer(&connection.address).to_string(),
            agent: entry.agent.clone(),
            rtt: entry.rtt,
            dialled: connection.dialled,
        };
        self.out.say(event);
    }

    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        for (peer, address) in found {
            if let Some(peer) = identity::from_libp2p(&peer) {
                self.dialer.learn(Instant::now(), peer, [without_peer(&address)]);
            }
        }
    }

    pub(super) fn on_dial_failed(
        &mut self,
        peer: Option<libp2p::PeerId>,
        connection: ConnectionId,
        error: &DialError,
    ) {
        self.counters.dials_failed.add();
        tracing::debug!(?peer, %error, "a dial failed");
        if let Some(index) = self.peers.bootstrap.remove(&connection)
            && matches!(error, DialError::LocalPeerId { .. })
        {
            self.dialer.answered(Instant::now(), index, self.me);
        }
        let peer = peer.as_ref().and_then(identity::from_libp2p);
        let Some(peer) = peer else { return };
        let libp2p = identity::to_libp2p(peer);
        if self.swarm.is_connected(&libp2p) {
            return;
        }
        // Whoever asks us would dial it too, and wait. If nobody is there it is us who are cut off.
        if self.peers.announced > 0 && matches!(error, DialError::Transport(_)) {
            self.swarm.behaviour_mut().kad.remove_peer(&libp2p);
        }
        self.not_reached(peer);
    }

    pub(super) fn dial_due(&mut self, now: Instant) {
        for dial in self.dialer.due(now, self.peers.announced) {
            match dial {
                Dial::Peer(peer) => self.dial(peer, Vec::new()),
                Dial::Bootstrap(index, address) => {
                    let opts = DialOpts::unknown_peer_id().address(address).allocate_new_port().build();
                    let connection = opts.connection_id();
                    if self.swarm.dial(opts).is_ok() {
                        self.peers.bootstrap.insert(connection, index);
                    }
                }
            }
        }
    }
}

pub fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, libp2p::multiaddr::Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    fn peer(n: usize) -> PeerId {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
    }

    /// Connections of an adversary, from the addresses that it has, as many as it likes.
    fn held(crowd: impl Fn(usize) -> IpAddr) {
        let mut places = Incoming::default();
        let id = ConnectionId::new_unchecked;
        let honest = |n: usize| IpAddr::from([198, 51, n as u8, 1]);
        for n in 0..40 {
            assert!(places.put(id(n), peer(n), Some(honest(n))).is_empty());
        }
        for n in 100..2_100 {
            places.put(id(n), peer(n), Some(crowd(n)));
            assert!(places.0.len() <= INCOMING_MAX);
        }
        assert!((0..40).all(|n| places.0.contains(&Id(id(n)))), "nobody else loses his");
        assert!(!places.put(id(50), peer(50), Some(honest(50))).contains(&id(50)));
        assert!(places.0.contains(&Id(id(50))), "and whoever comes gets in");
        places.remove(id(50));
        assert!(!places.0.contains(&Id(id(50))));
    }

    #[test]
    fn connections_of_one_network_keep_nobody_else_out() {
        held(|_| [203, 0, 113, 7].into());
        held(|n| [203, 0, 113, n as u8].into());
        // One machine with a /48 of IPv6, and another with twelve addresses in as many networks.
        held(|n| IpAddr::from([0x2001, 0xdb8, 1, n as u16, 0, 0, 0, 1]));
        held(|n| [203, (n % 12) as u8, 113, 7].into());
    }
}
