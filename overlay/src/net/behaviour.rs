//! NET-2, NET-3, NET-7: the swarm: which transports and protocols, and what is changed of their defaults.

use super::{NetError, codec::Codec, identity, limits::*, streams};
use crate::transport::{KADEMLIA, LOG_TOPIC, Protocol, SIP_STREAM, for_each_protocol};
use dots_wire::{SecretKey, sha256};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, connection_limits, gossipsub, identify, identity::Keypair, kad,
    mdns, noise, ping, quic, request_response, swarm::NetworkBehaviour, swarm::behaviour::toggle::Toggle,
    tcp, yamux,
};
use std::collections::HashMap;

pub type Requests = request_response::Behaviour<Codec>;

// A request names its protocol, and one behaviour with five names would send each request by whichever name the other
// side likes: so there is one for each row of the table.
macro_rules! asking {
    ($($(#[$doc:meta])* $variant:ident $field:ident $row:tt)*) => {
        #[derive(NetworkBehaviour)]
        pub struct Asking {
            $(pub $field: Requests,)*
        }

        impl Asking {
            fn new(mut requests: impl FnMut(Protocol) -> Result<Requests, NetError>) -> Result<Asking, NetError> {
                Ok(Asking { $($field: requests(Protocol::$variant)?,)* })
            }

            pub fn of(&mut self, protocol: Protocol) -> &mut Requests {
                match protocol { $(Protocol::$variant => &mut self.$field,)* }
            }
        }

        impl AskingEvent {
            /// Of which protocol it is, and what happened there.
            pub fn of(self) -> (Protocol, request_response::Event<Vec<u8>, Vec<u8>>) {
                match self { $(AskingEvent::$variant(event) => (Protocol::$variant, event),)* }
            }
        }
    };
}
for_each_protocol!(asking);

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// First, so that nobody else keeps a connection that is refused.
    pub limits: connection_limits::Behaviour,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub kad: kad::Behaviour<kad::store::MemoryStore>,
    pub gossip: gossipsub::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub requests: Asking,
    pub streams: streams::Behaviour,
}

/// What identify says of the network; who says another is of another.
pub fn network_version(network: &str) -> String {
    format!("dots/{network}")
}

pub fn topic(network: &str) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(format!("{LOG_TOPIC}/{network}"))
}

/// `what` of one network: two networks have no protocol in common.
pub fn name(what: &str, network: &str) -> Result<StreamProtocol, NetError> {
    StreamProtocol::try_from_owned(format!("{what}/{network}"))
        .map_err(|_| NetError::Network(network.to_owned()))
}

pub fn swarm(key: &SecretKey, network: &str, mdns: bool) -> Result<Swarm<Behaviour>, NetError> {
    let keypair = identity::keypair(key);
    let fail = |e: &dyn std::fmt::Display| NetError::Transport(e.to_string());
    let transports = || {
        SwarmBuilder::with_existing_identity(keypair.clone())
            .with_tokio()
            .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, muxer)
            .map_err(|e| fail(&e))
            .map(|b| b.with_quic_config(quic_limits))
    };
    let behaviour = behaviour(&keypair, network, mdns)?;
    let config = |config: libp2p::swarm::Config| {
        config
            .with_idle_connection_timeout(IDLE_MAX)
            .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
            // QUIC before TCP: a kept stream on it has half the latency and four times the rate.
            .with_smart_dial()
    };
    // A host without a resolver can still use addresses in numbers.
    match transports()?.with_dns() {
        Ok(b) => {
            let b = b.with_behaviour(|_| behaviour).map_err(|e| fail(&e))?;
            Ok(b.with_swarm_config(config).build())
        }
        Err(error) => {
            tracing::warn!(%error, "no DNS: bootstrap addresses with names will not work");
            let b = transports()?.with_behaviour(|_| behaviour).map_err(|e| fail(&e))?;
            Ok(b.with_swarm_config(config).build())
        }
    }
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MUXED_MAX as usize);
    config
}

fn quic_limits(mut config: quic::Config) -> quic::Config {
    config.handshake_timeout = QUIC_HANDSHAKE_MAX;
    config.max_idle_timeout = u32::try_from(QUIC_IDLE_MAX.as_millis()).unwrap_or(u32::MAX);
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_concurrent_stream_limit = MUXED_MAX;
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = QUIC_CONNECTION_WINDOW;
    config
}

fn behaviour(keypair: &Keypair, network: &str, mdns: bool) -> Result<Behaviour, NetError> {
    let me = keypair.public().to_peer_id();
    let requests = |protocol: Protocol| -> Result<Requests, NetError> {
        let config = request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(REQUESTS_PER_CONNECTION);
        let name = name(protocol.name(), network)?;
        let codec = Codec { request_max: protocol.request_max() };
        Ok(Requests::with_codec(codec, [(name, request_response::ProtocolSupport::Full)], config))
    };
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(HANDSHAKES_MAX))
        .with_max_pending_outgoing(Some(HANDSHAKES_MAX))
        .with_max_established_incoming(Some(CONNECTIONS_IN_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER))
        .with_max_established(Some(CONNECTIONS_MAX));
    let identify = identify::Config::new(network_version(network), keypair.public())
        .with_agent_version(concat!("dots/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        // Its cache keeps what peers say of themselves, loopback included; ours does not.
        .with_cache_size(0);
    let ping = ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_MAX);
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        kad: kademlia(me, name(KADEMLIA, network)?),
        gossip: gossip(network)?,
        mdns: multicast(me, mdns).into(),
        requests: Asking::new(requests)?,
        streams: streams::Behaviour::new(name(SIP_STREAM, network)?),
    })
}

fn kademlia(me: libp2p::PeerId, name: StreamProtocol) -> kad::Behaviour<kad::store::MemoryStore> {
    let store = kad::store::MemoryStoreConfig {
        max_records: RECORDS_MAX,
        max_value_bytes: RECORD_MAX + 1,
        // Provider records are not used; none gets in.
        max_providers_per_key: 1,
        max_provided_keys: 1,
    };
    let mut config = kad::Config::new(name);
    config
        // The core looks at each record before it is held.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        // The core puts its records again; a holder does not pass on what it cannot vouch for.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_record_ttl(Some(RECORD_TTL_MAX))
        .set_caching(kad::Caching::Disabled)
        // S/Kademlia: no single liar on the way decides where a query ends.
        .disjoint_query_paths(true)
        .set_query_timeout(QUERY_MAX)
        .set_substreams_timeout(KAD_STREAM_MAX)
        .set_max_packet_size(KAD_PACKET_MAX)
        .set_periodic_bootstrap_interval(Some(BOOTSTRAP_EVERY));
    let store = kad::store::MemoryStore::with_config(me, store);
    let mut kad = kad::Behaviour::with_config(me, store, config);
    // Else it serves nobody before an external address is confirmed, which is never.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

/// The protocol keeps libp2p's name, for with another it is version 1.1 at most, and only from 1.2 on a peer can say that
/// it has a message already; the topic carries the network's name.
///
/// NET-6: messages carry no sender and no signature: what is in them is signed by its author. The id is the hash of the
/// content, so one entry is one message, whoever publishes it.
fn gossip(network: &str) -> Result<gossipsub::Behaviour, NetError> {
    let fail = |e: &dyn std::fmt::Display| NetError::Transport(e.to_string());
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId::new(&sha256(&message.data).0))
        .validate_messages()
        .max_transmit_size(GOSSIP_MAX)
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_initial_delay(HEARTBEAT_FIRST)
        .history_length(HISTORY)
        .history_gossip(HISTORY_TOLD)
        .publish_queue_duration(PUBLISH_QUEUED_MAX)
        .forward_queue_duration(FORWARD_QUEUED_MAX)
        .connection_handler_queue_len(GOSSIP_QUEUE)
        // LOG-10a: who has a message says so, however short it is.
        .idontwant_message_size_threshold(0)
        // Our own entries go to every neighbour: in a small network everybody has them after one hop.
        .flood_publish(true)
        .build()
        .map_err(|e| fail(&e))?;
    let mut gossip =
        gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).map_err(|e| fail(&e))?;
    gossip
        .with_peer_score(scores(network), gossipsub::PeerScoreThresholds::default())
        .map_err(|e| fail(&e))?;
    gossip.subscribe(&topic(network)).map_err(|e| fail(&e))?;
    Ok(gossip)
}

/// Only what a peer does wrong counts: passing on what is invalid, grafting against the rules. Four invalid messages
/// within minutes and its gossip is not asked for, nine and it is not heard. Many peers at one address are no offence
/// (an office, a test), a quiet peer is no bad peer, and neither is a busy one: that it does not bring what it told of
/// counts from the seventh time in a row.
fn scores(network: &str) -> gossipsub::PeerScoreParams {
    let topic_score = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.99,
        ..Default::default()
    };
    gossipsub::PeerScoreParams {
        topics: HashMap::from([(topic(network).hash(), topic_score)]),
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_threshold: 6.0,
        slow_peer_weight: 0.0,
        ..Default::default()
    }
}

/// A host without multicast is no reason not to start.
fn multicast(me: libp2p::PeerId, wanted: bool) -> Option<mdns::tokio::Behaviour> {
    if !wanted {
        return None;
    }
    mdns::tokio::Behaviour::new(mdns::Config::default(), me)
        .inspect_err(|error| tracing::warn!(%error, "no multicast DNS: peers on this LAN will not be found"))
        .ok()
}
