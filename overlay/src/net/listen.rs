//! Multiaddrs as text, and listening on them.

use super::{
    NetError,
    behaviour::Behaviour,
    limits::{LISTEN_MAX, LISTEN_SETTLE},
};
use futures::StreamExt;
use libp2p::{Multiaddr, Swarm, core::transport::ListenerId, multiaddr::Protocol, swarm::SwarmEvent};
use std::{collections::HashMap, net::TcpListener};
use tokio::time::{Instant, timeout_at};

pub fn parse(text: &str) -> Result<Multiaddr, NetError> {
    text.trim().parse().map_err(|e: libp2p::multiaddr::Error| NetError::Address {
        address: text.to_owned(),
        reason: e.to_string(),
    })
}

/// Listens on all of `addresses`, or on none. Returns what is listened on: wildcards become the addresses of the
/// interfaces, port 0 the port.
pub async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[String]) -> Result<Vec<String>, NetError> {
    let mut waiting: HashMap<ListenerId, String> = HashMap::new();
    let mut wildcard = false;
    for text in addresses {
        let address = parse(text)?;
        let fail = |reason: String| NetError::Listen { address: text.clone(), reason };
        is_free(&address).map_err(|e| fail(e.to_string()))?;
        wildcard |= is_wildcard(&address);
        let id = swarm.listen_on(address).map_err(|e| fail(e.to_string()))?;
        waiting.insert(id, text.clone());
    }
    let mut found = Vec::new();
    let last = Instant::now() + LISTEN_MAX;
    let mut until = last;
    while !waiting.is_empty() || wildcard {
        if waiting.is_empty() {
            until = last.min(Instant::now() + LISTEN_SETTLE);
        }
        let event = match timeout_at(until, swarm.select_next_some()).await {
            Ok(event) => event,
            Err(_) => break,
        };
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                waiting.remove(&listener_id);
                found.push(address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                if let Some(address) = waiting.remove(&listener_id) {
                    let reason = reason.err().map_or("it was closed".to_owned(), |e| e.to_string());
                    return Err(NetError::Listen { address, reason });
                }
            }
            SwarmEvent::ListenerError { listener_id, error } => {
                if let Some(address) = waiting.remove(&listener_id) {
                    return Err(NetError::Listen { address, reason: error.to_string() });
                }
            }
            _ => {}
        }
    }
    if let Some((_, address)) = waiting.into_iter().next() {
        return Err(NetError::Listen { address, reason: "the host has no such address".to_owned() });
    }
    let me = *swarm.local_peer_id();
    let text = |a: Multiaddr| a.with_p2p(me).map_or_else(|a| a.to_string(), |a| a.to_string());
    Ok(found.into_iter().map(text).collect())
}

/// libp2p binds TCP ports with SO_REUSEPORT, so a second program of the same user would take every other connection
/// without an error. Binding without it first tells.
fn is_free(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => std::net::IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        // A wildcard of IPv6 would also take IPv4 here, which libp2p's does not.
        Some(Protocol::Tcp(port)) if port > 0 && !(ip.is_ipv6() && ip.is_unspecified()) => {
            TcpListener::bind((ip, port)).map(drop)
        }
        _ => Ok(()),
    }
}

fn is_wildcard(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => ip.is_unspecified(),
        _ => false,
    }
}
