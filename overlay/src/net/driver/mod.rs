//! The one task that owns the swarm: waits, passes one thing on, writes out what came of it.

mod asked;
mod asking;
mod dht;
mod gossip;
mod out;
mod peers;
mod reach;
mod requests;
mod streams;
mod swarm;
mod table;

use super::{
    NetConfig, behaviour::Behaviour, counters::Counters, dialer::Dialer, identity, known, limits::*,
    streams::Said,
};
use crate::transport::{NetCommand, Protocol, SIP_STREAM};
use dots_wire::PeerId;
use futures::StreamExt;
use libp2p::{Multiaddr, Swarm, multiaddr};
use std::{io, path::PathBuf, sync::Arc, time::Instant};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

pub struct Driver {
    pub(super) swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<NetCommand>,
    events: mpsc::Sender<Said>,
    out: out::Out,
    counters: Arc<Counters>,
    me: PeerId,
    version: String,
    /// By these protocols a peer of our version is known: who lacks one is of another.
    known_by: Vec<libp2p::StreamProtocol>,
    dialer: Dialer,
    peers: peers::Peers,
    reach: reach::Reach,
    requests: requests::Requests,
    dht: dht::Dht,
    gossip: gossip::Gossip,
    streams: streams::Streams,
    ticked: Instant,
    /// Where known peers are kept, what was written last, and when to look again.
    known: Option<PathBuf>,
    remembered: known::KnownPeers,
    remember_at: Instant,
}

impl Driver {
    pub fn new(
        swarm: Swarm<Behaviour>,
        config: &NetConfig,
        bootstrap: Vec<Multiaddr>,
        commands: mpsc::Receiver<NetCommand>,
        events: mpsc::Sender<Said>,
        counters: Arc<Counters>,
    ) -> Driver {
        let me = config.key.peer_id();
        let now = Instant::now();
        let mut dialer = Dialer::new(me);
        let remembered = config.known.as_deref().map(known::load).unwrap_or_default();
        for (peer, addresses) in remembered.clone() {
            dialer.recall(now, peer, addresses);
        }
        for address in bootstrap {
            let peer = address.iter().find_map(|part| match part {
                multiaddr::Protocol::P2p(peer) => identity::from_libp2p(&peer),
                _ => None,
            });
            dialer.bootstrap(now, address, peer);
        }
        let names = Protocol::ALL.iter().map(|protocol| protocol.name()).chain([SIP_STREAM]);
        Driver {
            swarm,
            commands,
            events,
            out: out::Out::default(),
            counters,
            me,
            version: super::behaviour::network_version(&config.network),
            known_by: names
                .map(|name| super::behaviour::name(name, &config.network).expect("the swarm speaks it"))
                .collect(),
            dialer,
            peers: peers::Peers::default(),
            reach: reach::Reach::default(),
            requests: requests::Requests::default(),
            dht: dht::Dht::new(now),
            gossip: gossip::Gossip::new(&config.network),
            streams: streams::Streams::default(),
            ticked: now,
            known: config.known.clone(),
            remembered,
            remember_at: now + REMEMBER_EVERY,
        }
    }

    pub async fn run(mut self) {
        let events = self.events.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(event) = self.out.take() {
                if let Err(full) = self.events.try_send(event.into()) {
                    self.out.put_back(full.into_inner().event);
                    break;
                }
            }
            let room = self.out.len() < OUT_HIGH;
            tokio::select! {
                place = events.reserve(), if !self.out.is_empty() => match (place, self.out.take()) {
                    (Ok(place), Some(event)) => place.send(event.into()),
                    // Nobody listens any more.
                    _ => break,
                },
                // A command adds one event or two: with these the queue stays bounded too.
                command = self.commands.recv(), if self.out.len() < 2 * OUT_HIGH => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                event = self.swarm.select_next_some(), if room => self.on_swarm(event),
                Some(ended) = self.streams.tasks.join_next() => self.on_stream_ended(ended),
                _ = tick.tick() => self.on_tick(Instant::now()),
            }
        }
        self.close().await;
    }

    fn on_command(&mut self, command: NetCommand) {
        match command {
            NetCommand::Request { id, peer, protocol, body } => self.on_request(id, peer, protocol, body),
            NetCommand::Respond { id, body } => self.on_respond(id, body),
            NetCommand::Disconnect { peer } => {
                let peer = identity::to_libp2p(peer);
                // No search waits for it either. Who comes back is added anew.
                self.swarm.behaviour_mut().kad.remove_peer(&peer);
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            NetCommand::OpenStream { peer } => self.on_open_stream(peer),
            NetCommand::StreamSend { .. } | NetCommand::StreamClose { .. } => {
                debug_assert!(false, "what is about an open stream goes to its own task");
            }
            NetCommand::Publish { body } => self.on_publish(body),
            NetCommand::GossipVerdict { id, verdict } => self.on_verdict(id, verdict),
            NetCommand::DhtGet { id, key } => self.on_dht_get(id, key),
            NetCommand::DhtPut { key, value, ttl_secs } => self.on_dht_put(key, value, ttl_secs),
            NetCommand::DhtStore { from, granted, key, value, ttl_secs } => {
                let cause = self.payer(from, granted);
                self.on_dht_store(cause, key, value, ttl_secs);
            }
        }
    }

    fn on_tick(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.ticked) > SILENT_MAX - PING_EVERY - PING_MAX;
        self.ticked = now;
        self.expire_unheard(now, late || self.out.len() >= OUT_HIGH);
        self.dial_due(now);
        self.walk(now);
        self.expire_silent(now);
        self.expire_reaching(now);
        self.expire_requests(now);
        self.expire_verdicts(now);
        self.sweep_records(now);
        if self.remember_at <= now {
            self.remember_at = now + REMEMBER_EVERY;
            self.remember(|path, known| {
                tokio::task::spawn_blocking(move || report(known::save(&path, &known)));
            });
        }
    }

    /// Writes down whom we know, where that has changed. Nobody known is no reason to forget whom we knew.
    fn remember(&mut self, write: impl FnOnce(PathBuf, known::KnownPeers)) {
        let Some(path) = self.known.clone() else { return };
        let known = self.dialer.remembered();
        if !known.is_empty() && known != self.remembered {
            self.remembered = known.clone();
            write(path, known);
        }
    }

    /// The program has let go of its streams: they end after what is queued, then connections close, so that the others need not wait for a timeout.
    async fn close(&mut self) {
        self.remember(|path, known| report(known::save(&path, &known)));
        let _ =
            timeout(SHUTDOWN_MAX, async { while self.streams.tasks.join_next().await.is_some() {} }).await;
        let peers: Vec<libp2p::PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        let _ = timeout(SHUTDOWN_MAX, closed).await;
    }
}

fn report(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!(%error, "the list of known peers could not be written");
    }
}
