//! Multiaddrs as text, and listening on them.

use super::{
    NetError,
    behaviour::Behaviour,
    limits::{LISTEN_MAX, LISTEN_SETTLE, SHUTDOWN_POLL},
};
use futures::StreamExt;
use libp2p::{Multiaddr, Swarm, core::transport::ListenerId, multiaddr::Protocol, swarm::SwarmEvent};
use std::{
    collections::HashMap,
    error::Error,
    io,
    net::{IpAddr, TcpListener, UdpSocket},
};
use tokio::time::{Instant, sleep, timeout_at};

pub fn parse(text: &str) -> Result<Multiaddr, NetError> {
    let fail = |reason: String| NetError::Address { address: text.to_owned(), reason };
    let address: Multiaddr =
        text.trim().parse().map_err(|e: libp2p::multiaddr::Error| fail(e.to_string()))?;
    if address.is_empty() { Err(fail("it is empty".to_owned())) } else { Ok(address) }
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
        let id = swarm.listen_on(address).map_err(|e| fail(reasons(&e)))?;
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
fn is_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        // Would take IPv4 here too, which libp2p's does not.
        Some(Protocol::Ip6(ip)) if ip.is_unspecified() => return Ok(()),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port > 0 => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port > 0 => UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// A QUIC endpoint keeps its port until its last connection has drained, a moment after the swarm is gone.
pub async fn wait_until_free(addresses: &[String]) {
    for address in addresses.iter().filter_map(|a| parse(a).ok()) {
        while is_free(&address).is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse) {
            sleep(SHUTDOWN_POLL).await;
        }
    }
}

/// libp2p's errors keep the reason to themselves unless asked.
fn reasons(error: &dyn Error) -> String {
    let mut reasons = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        reasons.push(error.to_string());
        next = error.source();
    }
    reasons.retain(|r| !r.is_empty());
    reasons.dedup();
    reasons.join(": ")
}

fn is_wildcard(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => ip.is_unspecified(),
        _ => false,
    }
}
