//! Which of the addresses that a peer says of itself are worth keeping.
//!
//! A peer behind a router lists its loopback and private addresses too; for a stranger they lead nowhere, or to the wrong
//! host. So an address counts only if it is at least as public as the one at which we see that peer: on one machine all
//! count, in one office private and public ones, across the internet public ones.

use libp2p::{Multiaddr, multiaddr::Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Loopback,
    Private,
    Public,
}

/// NET-9: whether `address`, said by a peer that we see at `seen`, may be dialled and told to others.
pub fn is_plausible(address: &Multiaddr, seen: &Multiaddr) -> bool {
    let Some(said) = scope(address) else { return false };
    scope(seen).is_none_or(|seen| said >= seen)
}

/// Whence a connection comes, for counting: an IPv4 address, the /64 of an IPv6 address, nothing for this host.
pub fn origin(address: &Multiaddr) -> Option<IpAddr> {
    let ip = match host(address)? {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    };
    let here = ip.is_loopback() || address.iter().next() == Some(Protocol::Ip6(Ipv6Addr::LOCALHOST));
    (!here).then_some(ip)
}

/// The address itself, this host's too: whose network is charged.
pub fn host(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

/// `None`: neither an IP address nor a name comes first.
fn scope(address: &Multiaddr) -> Option<Scope> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => of(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => of(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => Some(Scope::Public),
        _ => None,
    }
}

fn of(ip: IpAddr) -> Option<Scope> {
    let private = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || is_shared(ip),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match ip {
        _ if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => None,
        _ if ip.is_loopback() => Some(Scope::Loopback),
        // A link-local address is nothing without the interface, which a multiaddr seldom names.
        IpAddr::V6(ip) if Ipv6Addr::is_unicast_link_local(&ip) => None,
        _ if private => Some(Scope::Private),
        _ => Some(Scope::Public),
    }
}

/// RFC 6598: addresses behind a carrier's NAT.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && (64..128).contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NET-9.
    #[test]
    fn addresses_count_from_where_they_can_be_reached() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/9", true),
            ("/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/tcp/9", false),
            ("/ip4/127.0.0.1/tcp/1", "/ip4/203.0.113.1/tcp/9", false),
            ("/ip4/192.168.1.2/tcp/1", "/ip4/127.0.0.1/tcp/9", true),
            ("/ip4/192.168.1.2/tcp/1", "/ip4/10.0.0.1/udp/9/quic-v1", true),
            ("/ip4/192.168.1.2/tcp/1", "/ip4/203.0.113.1/tcp/9", false),
            ("/ip4/100.64.0.1/tcp/1", "/ip4/203.0.113.1/tcp/9", false),
            ("/ip4/203.0.113.7/tcp/1", "/ip4/127.0.0.1/tcp/9", true),
            ("/ip6/::1/tcp/1", "/ip6/2001:db8::1/tcp/9", false),
            ("/ip6/::ffff:127.0.0.1/tcp/1", "/ip4/203.0.113.1/tcp/9", false),
            ("/ip6/fe80::1/tcp/1", "/ip6/::1/tcp/9", false),
            ("/ip4/0.0.0.0/tcp/1", "/ip4/127.0.0.1/tcp/9", false),
            ("/ip4/224.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/9", false),
            ("/dns/peer.example.org/tcp/1", "/ip4/203.0.113.1/tcp/9", true),
            ("/memory/1", "/ip4/127.0.0.1/tcp/9", false),
        ];
        for (said, seen, plausible) in cases {
            let parse = |a: &str| a.parse::<Multiaddr>().expect("a multiaddr");
            assert_eq!(is_plausible(&parse(said), &parse(seen)), plausible, "{said} from {seen}");
        }
    }

    #[test]
    fn a_host_is_counted_by_what_it_cannot_change_at_will() {
        let origin = |a: &str| super::origin(&a.parse().expect("a multiaddr")).map(|ip| ip.to_string());
        assert_eq!(origin("/ip4/203.0.113.1/tcp/9").as_deref(), Some("203.0.113.1"));
        assert_eq!(origin("/ip6/::ffff:203.0.113.1/tcp/9").as_deref(), Some("203.0.113.1"));
        assert_eq!(origin("/ip6/2001:db8:1:2:3:4:5:6/udp/9/quic-v1").as_deref(), Some("2001:db8:1:2::"));
        for here in ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/memory/1"] {
            assert_eq!(origin(here), None);
        }
    }
}
