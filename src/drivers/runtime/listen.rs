//! Addresses to listen on: what was said, what an earlier start chose, or the first free port from the usual one on. What is
//! chosen is kept, so that phones stay right.

use super::hosts::interfaces;
use crate::{
    config::{HTTP_PORT, Options, P2P_PORT, SIP_PORT},
    datadir::Ports,
    drivers::sip::SipSockets,
    failure::Failure,
};
use dots_overlay::net::{Net, NetConfig, NetError};
use dots_wire::SecretKey;
use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::net::TcpListener;

/// Ports tried when the usual one is taken: 5060, 5070 … for SIP, 8080, 8081 … for HTTP.
const PORTS_TRIED: u16 = 20;

/// What was said, or QUIC and TCP on the port that was kept, or on the first free one from the usual one on.
pub(super) async fn peers(options: &Options, key: &SecretKey, ports: &mut Ports) -> Result<Net, Failure> {
    let start = |listen: Vec<String>| {
        Net::start(NetConfig {
            key: key.clone(),
            network: options.network.clone(),
            listen,
            bootstrap: options.bootstrap.clone(),
            known: Some(options.data.join("known-peers")),
            mdns: options.mdns,
        })
    };
    let failure = |e: NetError| match e {
        NetError::Listen { address, reason } => Failure::Listen { address, reason },
        NetError::Address { .. } | NetError::Network(_) => Failure::Usage(e.to_string()),
        NetError::Transport(_) => Failure::Other(e.to_string()),
    };
    if !options.p2p.is_empty() {
        return start(options.p2p.clone()).await.map_err(failure);
    }
    // A bind to [::] says nothing: where IPv6 is turned off (most containers) it succeeds, and no address ever comes.
    let has_v6 = interfaces().iter().any(IpAddr::is_ipv6);
    let all = |port: u16| {
        let v4 = [format!("/ip4/0.0.0.0/udp/{port}/quic-v1"), format!("/ip4/0.0.0.0/tcp/{port}")];
        let v6 = [format!("/ip6/::/udp/{port}/quic-v1"), format!("/ip6/::/tcp/{port}")];
        v4.into_iter().chain(v6.into_iter().filter(|_| has_v6)).collect::<Vec<_>>()
    };
    if let Some(port) = ports.p2p {
        return start(all(port)).await.map_err(failure);
    }
    let mut last = None;
    for port in (P2P_PORT..).take(usize::from(PORTS_TRIED)) {
        match start(all(port)).await {
            Ok(net) => {
                if port != P2P_PORT {
                    tracing::warn!(port, "port {P2P_PORT} for peers is taken; this peer keeps {port}");
                }
                ports.p2p = Some(port);
                return Ok(net);
            }
            Err(e @ NetError::Listen { .. }) => last = Some(e),
            Err(e) => return Err(failure(e)),
        }
    }
    Err(last.map_or_else(|| Failure::Other("no port is free for peers".into()), failure))
}

/// What was said, or what was kept, or the first free port from the usual one on.
pub(super) async fn sip(options: &Options, ports: &mut Ports) -> Result<SipSockets, Failure> {
    if let Some(addresses) = &options.sip {
        return SipSockets::bind(addresses).await.map_err(|(address, e)| taken(address, e, None));
    }
    if let Some(port) = ports.sip {
        return bind_all(port).await.map_err(|(address, e)| taken(address, e, Some(SIP_PORT)));
    }
    let mut last = None;
    for port in (SIP_PORT..).step_by(10).take(usize::from(PORTS_TRIED)) {
        match bind_all(port).await {
            Ok(sockets) => {
                if port != SIP_PORT {
                    tracing::warn!(port, "SIP port {SIP_PORT} is taken; this peer keeps {port}");
                }
                ports.sip = Some(port);
                return Ok(sockets);
            }
            Err(e) => last = Some(e),
        }
    }
    let none = || Failure::Other("no SIP port is free".into());
    Err(last.map_or_else(none, |(address, e)| taken(address, e, None)))
}

/// SIP on every address; on a machine without IPv6, on IPv4 alone.
async fn bind_all(port: u16) -> Result<SipSockets, (SocketAddr, std::io::Error)> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    match SipSockets::bind(&[v4, (Ipv6Addr::UNSPECIFIED, port).into()]).await {
        Err((address, e)) if address.is_ipv6() && e.kind() != ErrorKind::AddrInUse => {
            SipSockets::bind(&[v4]).await
        }
        bound => bound,
    }
}

/// `kept`: the port was chosen at an earlier start, because this usual one was taken or free then.
fn taken(address: SocketAddr, e: std::io::Error, kept: Option<u16>) -> Failure {
    let reason = match kept {
        None => e.to_string(),
        Some(_) => {
            format!("{e} (the port that the first start chose; `ports` in the data directory keeps it)")
        }
    };
    Failure::Listen { address: address.to_string(), reason }
}

pub(super) async fn http(options: &Options, ports: &mut Ports) -> Result<(TcpListener, SocketAddr), Failure> {
    let kept = ports.http.filter(|_| options.http.is_none());
    let failure = |address: SocketAddr, e: std::io::Error| taken(address, e, kept);
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let candidates: Vec<SocketAddr> = match (options.http, ports.http) {
        (Some(address), _) => vec![address],
        (None, Some(port)) => vec![local(port)],
        (None, None) => (HTTP_PORT..HTTP_PORT + PORTS_TRIED).map(local).collect(),
    };
    let mut last = None;
    for address in candidates {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let bound = listener.local_addr().map_err(|e| failure(address, e))?;
                if options.http.is_none() {
                    if ports.http.is_none() && bound.port() != HTTP_PORT {
                        let port = bound.port();
                        tracing::warn!(port, "HTTP port {HTTP_PORT} is taken; this peer keeps {port}");
                    }
                    ports.http = Some(bound.port());
                }
                return Ok((listener, bound));
            }
            Err(e) => last = Some(failure(address, e)),
        }
    }
    Err(last.unwrap_or_else(|| Failure::Other("no HTTP port is free".into())))
}
