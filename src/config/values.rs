//! One value of a flag or of a key of the file: what it means, or one sentence about what is wanted.

use super::Advertise;
use crate::{drivers::store::ascii_realm, failure::Failure, tables};
use dots_overlay::names::is_name;
use dots_sip::{Serve, auth::DigestOffer};
use std::net::{SocketAddr, ToSocketAddrs};

pub(super) fn resolve(flag: &str, text: &str) -> Result<Vec<SocketAddr>, Failure> {
    let found: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|e| {
            Failure::Usage(format!("{flag} {text}: HOST:PORT is wanted, such as 192.0.2.1:5060 ({e})"))
        })?
        .collect();
    if found.is_empty() {
        return Err(Failure::Usage(format!("{flag} {text}: that host has no address")));
    }
    Ok(found)
}

pub(super) fn advertise(text: &str) -> Result<Advertise, Failure> {
    let bad = || Failure::Usage(format!("--sip-advertise {text}: HOST or HOST:PORT is wanted"));
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Advertise { host: address.ip().to_string(), port: Some(address.port()) });
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        return Ok(Advertise { host: ip.to_string(), port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().map_err(|_| bad())?)),
        None => (text, None),
    };
    // A host may be one label: it is resolved where the phones are.
    let host = ascii_realm(host.trim_end_matches('.')).ok_or_else(bad)?.to_ascii_lowercase();
    if !is_name(&host) {
        return Err(bad());
    }
    Ok(Advertise { host, port })
}

/// A domain name, in the form that phones write it. One label alone is hardly meant: nothing tells it from a host of the local
/// network, or from the realm of the same name at somebody else's; with a dot behind it, it is.
pub(super) fn realm(flag: &str, text: &str) -> Result<String, Failure> {
    let bad = |why: String| Failure::Usage(format!("{flag} {text}: {why}"));
    let wanted = || bad("a domain name is wanted, such as office.example".into());
    let name = ascii_realm(text.trim()).ok_or_else(wanted)?.to_ascii_lowercase();
    let is_absolute = name.ends_with('.');
    let name = name.trim_end_matches('.').to_owned();
    if name == "localhost" || name.ends_with(".localhost") {
        return Err(bad("that name means this very machine, at every peer: try home.lan".into()));
    }
    if name.ends_with(".dots") {
        return Err(bad(
            "names in .dots are made from a key; each peer has its own without being told".into()
        ));
    }
    if !is_name(&name) {
        return Err(wanted());
    }
    if !name.contains('.') && !is_absolute {
        return Err(bad(format!(
            "that is one label; try {name}.lan, or a domain of yours, or `{name}.` with the dot if just this is meant"
        )));
    }
    Ok(name)
}

pub(super) fn trust(text: &str) -> Result<(String, String), Failure> {
    let bad = || Failure::Usage(format!("--trust-realm {text}: NAME=KEY is wanted, KEY being 66 hex digits"));
    let (name, key) = text.split_once('=').ok_or_else(bad)?;
    if key.len() != 66 || !key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad());
    }
    Ok((realm("--trust-realm", name)?, key.to_ascii_lowercase()))
}

pub(super) fn digest(text: &str) -> Result<(Option<String>, DigestOffer), Failure> {
    let bad =
        || Failure::Usage(format!("--digest {text}: md5, both or sha256 is wanted, or REALM=… of these"));
    let (name, offer) = match text.split_once('=') {
        Some((name, offer)) => (Some(realm("--digest", name)?), offer),
        None => (None, text),
    };
    Ok((name, DigestOffer::parse(offer).ok_or_else(bad)?))
}

/// A size with K, M or G behind it, or in MiB. The tables have their sizes, so less than they take is refused at once, not at
/// night when they fill.
pub(super) fn memory(text: &str) -> Result<usize, Failure> {
    let bad = || Failure::Usage(format!("--memory {text}: a size is wanted, such as 2G or 1500M"));
    let (number, unit) = match text.trim().to_ascii_uppercase() {
        t if t.ends_with('K') => (t.trim_end_matches('K').to_owned(), 1 << 10),
        t if t.ends_with('M') => (t.trim_end_matches('M').to_owned(), 1 << 20),
        t if t.ends_with('G') => (t.trim_end_matches('G').to_owned(), 1 << 30),
        t => (t, 1 << 20),
    };
    let size = number.trim().parse::<usize>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(bad)?;
    match tables::bytes() {
        needed if size < needed => Err(Failure::Usage(format!(
            "--memory {text}: the tables of a peer may take {} MiB (docs/limits.md says which)",
            needed.div_ceil(1 << 20)
        ))),
        _ => Ok(size),
    }
}

pub(super) fn serve(text: &str) -> Result<Serve, Failure> {
    Serve::parse(text).ok_or_else(|| Failure::Usage(format!("--serve {text}: own or all is wanted")))
}
