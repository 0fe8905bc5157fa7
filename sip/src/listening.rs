//! Where a phone listens, if that is not where it sends from.
//!
//! Phones behind a NAT are reached only on the flow of their REGISTER (RFC 5626 §5.3). But Cisco's 7900, PBXs, gateways and
//! SIPp send from one port and listen on another, with no NAT between: then the top Via, the Contact and the source of the
//! request name one IP address, and the Contact means what it says (RFC 3261 §10.3). Such a port is the *other target* of
//! the binding, and the flow is what is left when it is silent.
//!
//! Over TCP the other target is a connection that we open, so it is for phones of our own realms, and for others only at
//! the very address that their own connection came from: there they were reached before. Where that is the same address the
//! connection is used while it stands.
//!
//! A stranger chooses that port, so some are never taken: ports below 1024 (services), listeners of ours, addresses that
//! mean more than one host. Loopback needs no rule of its own: the address is the source's.

use crate::{
    Flow, Transport,
    address::Addressing,
    message::{Message, Via},
    uri::Uri,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

/// RFC 3261 §19.1.2, §18.2.2: where no port is named.
const SIP_PORT: u16 = 5060;
/// Below are the services of a machine, no phones.
const PORT_MIN: u16 = 1024;

/// What is ours, so that nothing is sent to ourselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    pub addressing: &'a Addressing,
    /// Ports at which this peer listens, for whatever.
    pub ports: &'a BTreeSet<u16>,
}

/// Where a phone listens, at the host of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    pub transport: Transport,
    pub port: u16,
}

impl Listening {
    /// The way there, beside the flow of its REGISTER. Over TCP it is whichever connection leads there, and one is opened
    /// where there is none: its number is 0.
    pub fn beside(self, flow: &Flow) -> Flow {
        // As the socket knows the address: IPv4 may be written in IPv6 there.
        let mut remote = flow.remote;
        remote.set_port(self.port);
        Flow { transport: self.transport, connection: 0, remote, ..*flow }
    }

    /// Is it the address that the flow itself comes from?
    pub fn is_at(self, flow: &Flow) -> bool {
        self.transport == flow.transport && self.port == flow.remote.port()
    }
}

/// The port in this Contact, where it is one of the host that `request` came from, and no NAT is between.
pub(crate) fn listens_at(
    contact: &Uri<'_>,
    request: &Message,
    flow: &Flow,
    ours: Ours<'_>,
) -> Option<Listening> {
    let via = request.via()?;
    if ip_of(via.host()) != Some(flow.remote.ip().to_canonical()) {
        return None;
    }
    // A phone that sends by TCP and names UDP forgot to say which: it is reached on its connection.
    let wanted: &[Transport] = match flow.transport {
        Transport::Udp => &[Transport::Udp, Transport::Tcp],
        Transport::Tcp => &[Transport::Tcp],
    };
    let (at, transport) =
        wanted.iter().find_map(|transport| Some((address_of(contact, *transport)?, *transport)))?;
    let is_taken = at.ip() == flow.remote.ip().to_canonical() && may_be_reached(at, flow, ours);
    is_taken.then_some(Listening { transport, port: at.port() })
}

/// Where an answer to this request goes (RFC 3261 §18.2.2): the port in Via, where the phone names its own address there and
/// did not ask for the port that it sent from (RFC 3581 §4); else back where it came from.
pub(crate) fn answered_at(via: &Via<'_>, flow: &Flow, ours: Ours<'_>) -> SocketAddr {
    let source = flow.remote.ip().to_canonical();
    if flow.transport != Transport::Udp || via.param("rport").is_some() || ip_of(via.host()) != Some(source) {
        return flow.remote;
    }
    let at = SocketAddr::new(flow.remote.ip(), via.port().unwrap_or(SIP_PORT));
    if may_be_reached(at, flow, ours) { at } else { flow.remote }
}

/// The address in a Contact that is an IP address and wants this transport.
pub(crate) fn address_of(uri: &Uri<'_>, transport: Transport) -> Option<SocketAddr> {
    let wanted = uri.param("transport").unwrap_or("udp");
    let fits = wanted.eq_ignore_ascii_case(transport.as_str())
        && uri.scheme().eq_ignore_ascii_case("sip")
        && uri.param("maddr").is_none();
    let ip = ip_of(uri.host()).filter(|_| fits)?;
    Some(SocketAddr::new(ip, uri.port().unwrap_or(SIP_PORT)))
}

/// May a phone on `flow` make us send there?
pub(crate) fn may_be_reached(at: SocketAddr, flow: &Flow, ours: Ours<'_>) -> bool {
    let ip = at.ip().to_canonical();
    let is_one_host = match ip {
        IpAddr::V4(v4) => {
            !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified() && !v4.is_link_local()
        }
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified() && !v6.is_unicast_link_local(),
    };
    let is_here = || {
        let host = match ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        ip.is_loopback() || ip == flow.local.ip().to_canonical() || ours.addressing.is_own_host(&host)
    };
    let is_own_port = ours.ports.contains(&at.port()) || at.port() == flow.local.port();
    let is_own_listener = is_own_port && is_here();
    // What listens on loopback is for programs of this machine, and the phone is one only if it came from there.
    let is_others_loopback = ip.is_loopback() && !flow.remote.ip().to_canonical().is_loopback();
    is_one_host && at.port() >= PORT_MIN && !is_own_listener && !is_others_loopback
}

fn ip_of(host: &str) -> Option<IpAddr> {
    let inside = host.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(host);
    inside.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn flow(transport: Transport, remote: &str) -> Flow {
        let local = if remote.starts_with("127.") { "127.0.0.1:5060" } else { "192.0.2.1:5060" };
        Flow { transport, connection: 0, local: at(local), remote: at(remote) }
    }

    fn register(via: &str) -> Message {
        let text = format!(
            "REGISTER sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK1\r\nFrom: <sip:a@a.test>;tag=1\r\n\
             To: <sip:a@a.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(text.into_bytes()).expect("a message")
    }

    fn addressing() -> Addressing {
        Addressing { own_hosts: ["192.0.2.1".to_owned()].into(), ..Addressing::default() }
    }

    #[test]
    fn a_contact_counts_where_source_via_and_contact_name_one_host() {
        let (addressing, ports) = (addressing(), BTreeSet::from([8080, 4001]));
        let ours = Ours { addressing: &addressing, ports: &ports };
        let (udp, far) = (Transport::Udp, "198.51.100.7:49152");
        for (why, remote, transport, via, contact, expected) in [
            (
                "another port",
                far,
                udp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7:5060",
                Some("198.51.100.7:5060"),
            ),
            ("no port is 5060", far, udp, "198.51.100.7", "sip:a@198.51.100.7", Some("198.51.100.7:5060")),
            (
                "Via in its source port",
                far,
                udp,
                "198.51.100.7:49152",
                "sip:198.51.100.7:6000;transport=UDP",
                Some("198.51.100.7:6000"),
            ),
            ("NAT: a private Via", far, udp, "10.0.0.9:5060", "sip:a@198.51.100.7:5060", None),
            ("NAT: a private Contact", far, udp, "198.51.100.7:5060", "sip:a@10.0.0.9:5060", None),
            ("a third party", far, udp, "198.51.100.7:5060", "sip:a@203.0.113.1:5060", None),
            ("a name", far, udp, "198.51.100.7:5060", "sip:a@phone.test:5060", None),
            ("a Via that is a name", far, udp, "phone.test", "sip:a@198.51.100.7:5060", None),
            ("a service", far, udp, "198.51.100.7:5060", "sip:a@198.51.100.7:53", None),
            (
                "over TCP",
                far,
                Transport::Tcp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7:5060;transport=tcp",
                Some("TCP 198.51.100.7:5060"),
            ),
            (
                "over TCP, at its own port",
                far,
                Transport::Tcp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7:49152;transport=tcp",
                Some("TCP 198.51.100.7:49152"),
            ),
            (
                "over TCP, and it forgot to say so",
                far,
                Transport::Tcp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7:5060",
                None,
            ),
            (
                "over TCP, a service",
                far,
                Transport::Tcp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7:22;transport=tcp",
                None,
            ),
            (
                "wants TCP",
                far,
                udp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7:5060;transport=tcp",
                Some("TCP 198.51.100.7:5060"),
            ),
            ("wants TLS", far, udp, "198.51.100.7:5060", "sips:a@198.51.100.7:5061", None),
            ("maddr", far, udp, "198.51.100.7:5060", "sip:a@198.51.100.7:5060;maddr=203.0.113.1", None),
            (
                "loopback",
                "127.0.0.1:49152",
                udp,
                "127.0.0.1:6000",
                "sip:a@127.0.0.1:6000",
                Some("127.0.0.1:6000"),
            ),
            ("our SIP listener", "127.0.0.1:49152", udp, "127.0.0.1:6000", "sip:a@127.0.0.1:5060", None),
            ("our other listeners", "127.0.0.1:49152", udp, "127.0.0.1:6000", "sip:a@127.0.0.1:4001", None),
            (
                "our public listener, from here",
                "192.0.2.1:49152",
                udp,
                "192.0.2.1:6000",
                "sip:a@192.0.2.1:8080",
                None,
            ),
            (
                "their 8080",
                far,
                udp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7:8080",
                Some("198.51.100.7:8080"),
            ),
            ("link-local", "169.254.1.1:49152", udp, "169.254.1.1:5060", "sip:a@169.254.1.1:5060", None),
            ("multicast", "224.0.1.75:49152", udp, "224.0.1.75:5060", "sip:a@224.0.1.75:5060", None),
            (
                "IPv6",
                "[2001:db8::7]:49152",
                udp,
                "[2001:DB8::7]:5060",
                "sip:a@[2001:db8:0::7]:5070",
                Some("[2001:db8::7]:5070"),
            ),
            (
                "IPv4 in IPv6",
                "[::ffff:198.51.100.7]:49152",
                udp,
                "198.51.100.7:5060",
                "sip:a@198.51.100.7",
                Some("[::ffff:198.51.100.7]:5060"),
            ),
        ] {
            let got = listens_at(
                &Uri::parse(contact).expect(contact),
                &register(via),
                &flow(transport, remote),
                ours,
            );
            let got = got.map(|found| found.beside(&flow(transport, remote)));
            let got = got.map(|there| (there.transport, there.remote));
            let expected = expected.map(|text| match text.strip_prefix("TCP ") {
                Some(text) => (Transport::Tcp, at(text)),
                None => (Transport::Udp, at(text)),
            });
            assert_eq!(got, expected, "{why}");
        }
    }

    /// RFC 3261 §18.2.2, RFC 3581 §4.
    #[test]
    fn an_answer_goes_where_via_says_unless_a_nat_or_rport_is_between() {
        let (addressing, ports) = (addressing(), BTreeSet::new());
        let ours = Ours { addressing: &addressing, ports: &ports };
        let (udp, source) = (Transport::Udp, "198.51.100.7:49152");
        for (why, transport, via, expected) in [
            ("the port in Via", udp, "198.51.100.7:5070", "198.51.100.7:5070"),
            ("5060 where there is none", udp, "198.51.100.7", "198.51.100.7:5060"),
            ("rport", udp, "198.51.100.7:5070;rport", source),
            ("another address", udp, "10.0.0.9:5070", source),
            ("a name", udp, "phone.test:5070", source),
            ("a service", udp, "198.51.100.7:53", source),
            ("a connection", Transport::Tcp, "198.51.100.7:5070", source),
        ] {
            let request = register(via);
            let got = answered_at(&request.via().expect("a Via"), &flow(transport, source), ours);
            assert_eq!(got, at(expected), "{why}");
        }
    }
}
