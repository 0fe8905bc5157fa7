//! What this machine is called: its addresses and names, by which phones mean this peer.

use crate::config::Advertise;
use std::net::{IpAddr, SocketAddr};

/// Every address that reaches us: a wildcard stands for this machine's interfaces.
pub(super) fn concrete(bound: &[SocketAddr]) -> Vec<SocketAddr> {
    let interfaces = interfaces();
    let usable = |ip: &IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mut found = Vec::new();
    for address in bound {
        if !address.ip().is_unspecified() {
            found.push(*address);
            continue;
        }
        let same = interfaces.iter().filter(|ip| ip.is_ipv4() == address.is_ipv4()).filter(|ip| usable(ip));
        found.extend(same.map(|ip| SocketAddr::new(*ip, address.port())));
    }
    // The address that a phone should be told first: not loopback, IPv4.
    found.sort_by_key(|a| (a.ip().is_loopback(), a.is_ipv6()));
    found
}

pub(super) fn interfaces() -> Vec<IpAddr> {
    if_addrs::get_if_addrs().map(|all| all.into_iter().map(|i| i.ip()).collect()).unwrap_or_default()
}

/// What this machine is called, watched: a laptop changes its network, and its phones still mean this peer.
pub(super) struct Hosts {
    known: Vec<String>,
    bound: Vec<SocketAddr>,
    advertise: Option<Advertise>,
}

impl Hosts {
    pub(super) fn new(bound: Vec<SocketAddr>, advertise: Option<Advertise>) -> Hosts {
        let known = own_hosts(&concrete(&bound), advertise.as_ref());
        Hosts { known, bound, advertise }
    }

    pub(super) fn known(&self) -> &[String] {
        &self.known
    }

    /// The names now, where they are others than at the last look.
    pub(super) fn changed(&mut self) -> Option<Vec<String>> {
        let now = own_hosts(&concrete(&self.bound), self.advertise.as_ref());
        (now != self.known).then(|| {
            self.known.clone_from(&now);
            now
        })
    }
}

fn own_hosts(concrete: &[SocketAddr], advertise: Option<&Advertise>) -> Vec<String> {
    let written = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let mut hosts: Vec<String> = concrete.iter().map(|a| written(a.ip())).collect();
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        let name = name.trim().to_ascii_lowercase();
        hosts.push(format!("{name}.local"));
        hosts.push(name);
    }
    if let Some(advertise) = advertise {
        let host = advertise.host.to_ascii_lowercase();
        hosts.push(host.parse().map_or(host, written));
    }
    hosts
}
