//! What an operator wants to know of an SDP that passes: who could listen, and whether the address in it can work.
//! Nothing here changes a byte of it.

use std::net::{IpAddr, Ipv6Addr};

/// `peers-could-read` (SDES keys, or a fingerprint that a peer could swap) or `plain`. End to end against one's own
/// peer needs a phone that signs its fingerprint.
pub fn media_kind(sdp: &[u8]) -> &'static str {
    let keyed = |line: &[u8]| line.starts_with(b"a=crypto:") || line.starts_with(b"a=fingerprint:");
    if lines(sdp).any(keyed) { "peers-could-read" } else { "plain" }
}

/// The first address of a `c=` line that only its own network can reach.
pub fn private_address(sdp: &[u8]) -> Option<IpAddr> {
    lines(sdp)
        .filter_map(|line| line.strip_prefix(b"c=IN IP4 ").or_else(|| line.strip_prefix(b"c=IN IP6 ")))
        .filter_map(|address| std::str::from_utf8(address).ok()?.trim().parse().ok())
        .find(is_private)
}

/// Only reachable from its own network (RFC 1918, RFC 4193, RFC 6598, link-local, loopback).
pub fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => *v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn lines(sdp: &[u8]) -> impl Iterator<Item = &[u8]> {
    sdp.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l))
}

#[cfg(test)]
#[test]
fn what_is_seen_in_an_sdp() {
    let sdp = |c: &str, a: &str| format!("v=0\r\nc=IN {c}\r\nm=audio 4000 RTP/AVP 0\r\n{a}\r\n").into_bytes();
    assert_eq!(media_kind(&sdp("IP4 1.2.3.4", "a=sendrecv")), "plain");
    assert_eq!(
        media_kind(&sdp("IP4 1.2.3.4", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x")),
        "peers-could-read"
    );
    let private = |c: &str| private_address(&sdp(c, "")).is_some();
    for c in
        ["IP4 192.168.1.2", "IP4 10.0.0.1", "IP4 127.0.0.1", "IP4 100.64.1.1", "IP6 fd00::1", "IP6 fe80::1"]
    {
        assert!(private(c), "{c}");
    }
    for c in ["IP4 1.2.3.4", "IP6 2001:db8::1", "IP4 nonsense", "IP4 "] {
        assert!(!private(c), "{c}");
    }
}
