//! Configuration: a flag wins over the TOML file, the file over the default. Every flag of `dots up` has its key in
//! the file, under the same name; a key that is not one of them is an error, so a typing mistake is never silence.
//! [`Settings`] is what was said, [`Options`] what it means.

mod print;
mod settings;
mod values;

pub use print::print;
pub use settings::Settings;

use crate::failure::Failure;
use dots_sip::{Serve, auth::DigestOffer};
use std::{net::SocketAddr, path::PathBuf};

/// Peers of different networks never mix; this is the one that everybody means.
pub const NETWORK: &str = "dots";
pub const USER: &str = "me";
pub const LOG: &str = "info";
/// Quieter for the libraries than for us: what goes on in one is of use to whoever looks for a fault (`--log debug` shows
/// their INFO). Kademlia warns of having no peers at each start of a first peer, which is no fault at all.
const LIBRARIES: [(&str, &str); 5] =
    [("error", "error"), ("warn", "warn"), ("info", "warn"), ("debug", "info"), ("trace", "debug")];
const KADEMLIA: &str = "libp2p_kad::behaviour=error";
/// Where SIP and HTTP listen when nothing is said and nothing else is there.
pub const SIP_PORT: u16 = 5060;
pub const HTTP_PORT: u16 = 8080;
/// Where peers meet, QUIC and TCP.
pub const P2P_PORT: u16 = 4001;

/// The effective configuration of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub data: PathBuf,
    /// The account that the first start makes in the default realm.
    pub user: String,
    /// `None`: 5060 of all addresses, IPv4 and IPv6 (taken: 5070, 5080 …; the choice is kept).
    pub sip: Option<Vec<SocketAddr>>,
    /// `HOST[:PORT]`
    pub advertise: Option<Advertise>,
    /// (name, key as hex)
    pub trust_realms: Vec<(String, String)>,
    /// Multiaddrs; empty: QUIC and TCP of all addresses.
    pub p2p: Vec<String>,
    /// `None`: 127.0.0.1:8080 (taken: 8081 …; the choice is kept).
    pub http: Option<SocketAddr>,
    /// Multiaddrs.
    pub bootstrap: Vec<String>,
    /// Domains for which this peer is home; the first is the default realm. Empty: the self-certifying one.
    pub realms: Vec<String>,
    /// (realm; none: all of this peer's, what its phones are offered), the later one wins.
    pub digest: Vec<(Option<String>, DigestOffer)>,
    /// Refuse a brief registration (423) instead of raising it to the minimum.
    pub refuse_brief: bool,
    /// Realms whose accounts may register Contacts at other hosts.
    pub contacts_any: Vec<String>,
    /// Whose phones may register and call here.
    pub serve: Serve,
    pub mdns: bool,
    pub network: String,
    /// What the tables may take, bytes: never less than they do.
    pub memory: usize,
    pub log: String,
    pub ready_file: Option<PathBuf>,
}

/// What `--sip-advertise` says: a name or an address without brackets, and a port where one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    pub host: String,
    pub port: Option<u16>,
}

impl Advertise {
    /// `host:port`, IPv6 in brackets; without a port, the one that we listen on.
    pub fn authority(&self, bound: &[SocketAddr]) -> String {
        let port = self.port.or(bound.first().map(SocketAddr::port)).unwrap_or(SIP_PORT);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl Options {
    /// The filter that `--log` means: a level alone is ours.
    pub fn filter(&self) -> String {
        let level = self.log.trim().to_ascii_lowercase();
        match LIBRARIES.iter().find(|(ours, _)| *ours == level) {
            Some((ours, theirs)) if *ours == "debug" || *ours == "trace" => format!("{theirs},dots={ours}"),
            Some((ours, theirs)) => format!("{theirs},dots={ours},{KADEMLIA}"),
            None => self.log.clone(),
        }
    }
}

/// `$XDG_DATA_HOME/dots`, else `~/.local/share/dots`.
pub fn default_data() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // The XDG specification: a relative path there is to be ignored.
    if let Some(home) = set("XDG_DATA_HOME").filter(|p| p.is_absolute()) {
        return Ok(home.join("dots"));
    }
    set("HOME").map(|home| home.join(".local/share/dots")).ok_or_else(|| {
        Failure::Usage("neither XDG_DATA_HOME nor HOME is set: say where to keep data with --data DIR".into())
    })
}

#[cfg(test)]
mod tests;
