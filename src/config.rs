//! Configuration: a flag wins over the TOML file, the file over the default. Every flag of `dots up` has its key in
//! the file, under the same name; a key that is not one of them is an error, so a typing mistake is never silence.
//! [`Settings`] is what was said, [`Options`] what it means.

use crate::{drivers::store::ascii_realm, failure::Failure};
use clap::Args;
use dots_overlay::names::is_name;
use dots_sip::{Serve, auth::DigestOffer};
use serde::Deserialize;
use std::{
    fmt::Write,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

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

/// Flags of `dots up`, and keys of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Name of the first account, made at the first start
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Listen for SIP here, on UDP and TCP (repeatable) [default: port 5060 of all addresses]
    #[arg(long, value_name = "HOST:PORT")]
    pub sip: Vec<String>,
    /// The address that phones are told, instead of the local one
    #[arg(long, value_name = "HOST[:PORT]")]
    pub sip_advertise: Option<String>,
    /// Believe this realm name to belong to this key, whatever anybody says (repeatable)
    #[arg(long, value_name = "NAME=KEY")]
    pub trust_realm: Vec<String>,
    /// Listen for peers here (repeatable) [default: QUIC and TCP 4001 of all addresses]
    #[arg(long, value_name = "MULTIADDR")]
    pub p2p: Vec<String>,
    /// HTTP API [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// A peer to join by (repeatable)
    #[arg(long, value_name = "MULTIADDR")]
    pub bootstrap: Vec<String>,
    /// A domain for which this peer is home (repeatable; the first is what a bare IP means)
    #[arg(long, value_name = "NAME")]
    pub realm: Vec<String>,
    /// Which digest algorithms phones are offered and may answer: `md5`, `both` (MD5 on top) or `sha256`, for all realms of
    /// this peer or for one (repeatable) [default: both]
    #[arg(long, value_name = "[REALM=]OFFER")]
    pub digest: Vec<String>,
    /// Answer 423 to a registration for less than a minute, instead of raising it
    #[arg(long)]
    pub refuse_brief: bool,
    /// Accounts of this realm of ours may register Contacts at other hosts than their own, several in one REGISTER, and
    /// are called there (repeatable)
    #[arg(long, value_name = "NAME")]
    pub contacts_any: Vec<String>,
    /// Whose phones may register and call here: `own` (of the realms of this peer alone) or `all` [default: all]
    #[arg(long, value_name = "WHOSE")]
    pub serve: Option<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub no_mdns: bool,
    /// Peers of different networks never mix [default: dots]
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// What to log: `info`, `debug`, `dots_sip=trace,info` …
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Written, atomically, once everything listens
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// The data directory; on the command line it is a flag of every command.
    #[arg(skip)]
    pub data: Option<PathBuf>,
}

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

impl Settings {
    pub fn read(path: &Path) -> Result<Settings, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::Usage(format!("cannot read the configuration file {}: {e}", path.display()))
        })?;
        Settings::parse(&text).map_err(|e| {
            let e = e.trim_end().replace('\n', " ");
            Failure::Usage(format!("{}: {e}", path.display()))
        })
    }

    pub fn parse(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|e| match e.span() {
            Some(span) => {
                let line = text.get(..span.start).unwrap_or("").matches('\n').count() + 1;
                format!("line {line}: {}", e.message())
            }
            None => e.message().to_owned(),
        })
    }

    /// `self` where it says something, else `file`.
    pub fn over(self, file: Settings) -> Settings {
        fn list(a: Vec<String>, b: Vec<String>) -> Vec<String> {
            if a.is_empty() { b } else { a }
        }
        Settings {
            user: self.user.or(file.user),
            sip: list(self.sip, file.sip),
            sip_advertise: self.sip_advertise.or(file.sip_advertise),
            trust_realm: list(self.trust_realm, file.trust_realm),
            p2p: list(self.p2p, file.p2p),
            http: self.http.or(file.http),
            bootstrap: list(self.bootstrap, file.bootstrap),
            realm: list(self.realm, file.realm),
            digest: list(self.digest, file.digest),
            refuse_brief: self.refuse_brief || file.refuse_brief,
            contacts_any: list(self.contacts_any, file.contacts_any),
            serve: self.serve.or(file.serve),
            no_mdns: self.no_mdns || file.no_mdns,
            network: self.network.or(file.network),
            log: self.log.or(file.log),
            ready_file: self.ready_file.or(file.ready_file),
            data: self.data.or(file.data),
        }
    }

    /// Checks every value; the first wrong one is the answer.
    pub fn options(self) -> Result<Options, Failure> {
        let user = self.user.unwrap_or_else(|| USER.to_owned());
        if user.is_empty() || user.contains('@') || user.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            return Err(Failure::Usage(format!("--user {user:?}: a plain name is wanted, such as \"me\"")));
        }
        let mut sip = Vec::new();
        for text in &self.sip {
            sip.extend(resolve("--sip", text)?);
        }
        let http = match &self.http {
            Some(text) => resolve("--http", text)?.first().copied(),
            None => None,
        };
        for (flag, list) in [("--p2p", &self.p2p), ("--bootstrap", &self.bootstrap)] {
            if let Some(bad) = list.iter().find(|m| !m.starts_with('/')) {
                return Err(Failure::Usage(format!(
                    "{flag} {bad}: a multiaddr is wanted, such as /ip4/192.0.2.1/tcp/4001"
                )));
            }
        }
        let network = self.network.unwrap_or_else(|| NETWORK.to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if network.is_empty() || network.len() > NETWORK_LEN_MAX || !network.chars().all(plain) {
            return Err(Failure::Usage(format!(
                "--network {network:?}: letters, digits, '-', '.' and '_' only"
            )));
        }
        Ok(Options {
            data: match self.data {
                Some(data) => data,
                None => default_data()?,
            },
            user,
            sip: (!sip.is_empty()).then_some(sip),
            advertise: self.sip_advertise.as_deref().map(advertise).transpose()?,
            trust_realms: self.trust_realm.iter().map(|t| trust(t)).collect::<Result<_, _>>()?,
            p2p: self.p2p,
            http,
            bootstrap: self.bootstrap,
            realms: self.realm.iter().map(|r| realm("--realm", r)).collect::<Result<_, _>>()?,
            digest: self.digest.iter().map(|d| digest(d)).collect::<Result<_, _>>()?,
            refuse_brief: self.refuse_brief,
            contacts_any: self
                .contacts_any
                .iter()
                .map(|r| realm("--contacts-any", r))
                .collect::<Result<_, _>>()?,
            serve: self.serve.as_deref().map(serve).transpose()?.unwrap_or_default(),
            mdns: !self.no_mdns,
            network,
            log: self.log.unwrap_or_else(|| LOG.to_owned()),
            ready_file: self.ready_file,
        })
    }
}

const NETWORK_LEN_MAX: usize = 64;

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

fn resolve(flag: &str, text: &str) -> Result<Vec<SocketAddr>, Failure> {
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

fn advertise(text: &str) -> Result<Advertise, Failure> {
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
fn realm(flag: &str, text: &str) -> Result<String, Failure> {
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

fn trust(text: &str) -> Result<(String, String), Failure> {
    let bad = || Failure::Usage(format!("--trust-realm {text}: NAME=KEY is wanted, KEY being 66 hex digits"));
    let (name, key) = text.split_once('=').ok_or_else(bad)?;
    if key.len() != 66 || !key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad());
    }
    Ok((realm("--trust-realm", name)?, key.to_ascii_lowercase()))
}

fn digest(text: &str) -> Result<(Option<String>, DigestOffer), Failure> {
    let bad =
        || Failure::Usage(format!("--digest {text}: md5, both or sha256 is wanted, or REALM=… of these"));
    let (name, offer) = match text.split_once('=') {
        Some((name, offer)) => (Some(realm("--digest", name)?), offer),
        None => (None, text),
    };
    Ok((name, DigestOffer::parse(offer).ok_or_else(bad)?))
}

fn serve(text: &str) -> Result<Serve, Failure> {
    Serve::parse(text).ok_or_else(|| Failure::Usage(format!("--serve {text}: own or all is wanted")))
}

/// The effective configuration as a file that [`Settings::read`] takes, with what each key means.
pub fn print(o: &Options) -> String {
    let quote = |s: &str| toml::Value::String(s.to_owned()).to_string();
    let list = |l: Vec<String>| format!("[{}]", l.iter().map(|s| quote(s)).collect::<Vec<_>>().join(", "));
    let path = |p: &Path| quote(&p.to_string_lossy());
    let advertise = o.advertise.as_ref().map(|a| {
        let host = if a.host.contains(':') { format!("[{}]", a.host) } else { a.host.clone() };
        quote(&a.port.map_or(host.clone(), |p| format!("{host}:{p}")))
    });
    let sip = o.sip.as_ref().map(|l| list(l.iter().map(SocketAddr::to_string).collect()));
    let keys: [(&str, &str, Option<String>, &str); 17] = [
        ("data", "Data directory: keys, accounts, log and receipts.", Some(path(&o.data)), ""),
        ("user", "Name of the account that the first start makes.", Some(quote(&o.user)), ""),
        (
            "sip",
            "SIP on UDP and TCP. Not set: port 5060 of all addresses, or the next free one.",
            sip,
            "[\"0.0.0.0:5060\"]",
        ),
        (
            "sip-advertise",
            "HOST[:PORT] that phones are told. Not set: the local address toward each phone.",
            advertise,
            "\"sip.office.example\"",
        ),
        (
            "trust-realm",
            "NAME=KEY: this realm belongs to this key, whatever anybody says.",
            Some(list(o.trust_realms.iter().map(|(n, k)| format!("{}={k}", said_realm(n))).collect())),
            "",
        ),
        (
            "p2p",
            "Multiaddrs to listen on for peers. Empty: QUIC and TCP of all addresses.",
            Some(list(o.p2p.clone())),
            "",
        ),
        (
            "http",
            "HTTP API. Not set: 127.0.0.1:8080, or the next free port.",
            o.http.map(|h| quote(&h.to_string())),
            "\"127.0.0.1:8080\"",
        ),
        ("bootstrap", "Multiaddrs of peers to join by.", Some(list(o.bootstrap.clone())), ""),
        (
            "realm",
            "Domains for which this peer is home; the first is what a bare IP means.",
            Some(list(o.realms.iter().map(|r| said_realm(r)).collect())),
            "",
        ),
        (
            "digest",
            "Digest algorithms offered to phones: md5, both or sha256, for all realms or as REALM=OFFER.",
            Some(list(o.digest.iter().map(digest_text).collect())),
            "",
        ),
        (
            "refuse-brief",
            "Answer 423 to a registration for less than a minute, instead of raising it.",
            Some(o.refuse_brief.to_string()),
            "",
        ),
        (
            "contacts-any",
            "Realms whose accounts may register Contacts at other hosts than their own.",
            Some(list(o.contacts_any.clone())),
            "",
        ),
        (
            "serve",
            "Whose phones may register and call here: own (of the realms of this peer alone) or all.",
            Some(quote(o.serve.as_str())),
            "",
        ),
        ("no-mdns", "Do not look for peers on the local network.", Some((!o.mdns).to_string()), ""),
        ("network", "Peers of different networks never mix.", Some(quote(&o.network)), ""),
        ("log", "What to log.", Some(quote(&o.log)), ""),
        (
            "ready-file",
            "Written, atomically, once everything listens.",
            o.ready_file.as_deref().map(path),
            "\"/run/dots/ready.json\"",
        ),
    ];
    let mut out = String::from("# The effective configuration of `dots up`; use it with --config FILE.\n");
    for (key, meaning, value, example) in keys {
        let _ = match value {
            Some(value) => writeln!(out, "\n# {meaning}\n{key} = {value}"),
            None => writeln!(out, "\n# {meaning}\n# {key} = {example}"),
        };
    }
    out
}

/// As [`realm`] takes it.
fn said_realm(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.") }
}

fn digest_text((realm, offer): &(Option<String>, DigestOffer)) -> String {
    let offer = offer.as_str();
    realm.as_ref().map_or_else(|| offer.to_owned(), |r| format!("{}={offer}", said_realm(r)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Options, Failure> {
        let mut settings = Settings::parse(text).map_err(Failure::Usage)?;
        settings.data.get_or_insert("/d".into());
        settings.options()
    }

    #[test]
    fn what_is_printed_is_read_back_as_the_same() {
        let key = "02".repeat(33);
        let full = format!(
            "user='u'\nsip=['127.0.0.1:0','[::1]:5070']\nsip-advertise='[::1]:5080'\ntrust-realm=['a.test={key}']\n\
             p2p=['/ip4/127.0.0.1/tcp/0']\nhttp='127.0.0.1:0'\nbootstrap=['/dns/b.test/tcp/1']\nrealm=['A.test.']\n\
             digest=['md5','a.test=sha256']\nrefuse-brief=true\ncontacts-any=['a.test']\nserve='own'\nno-mdns=true\nnetwork='n-1'\nlog='debug'\nready-file='/r'\ndata='/d d'"
        );
        for text in ["", &full] {
            let o = options(text).expect("good");
            assert_eq!(options(&print(&o)), Ok(o));
        }
        assert_eq!(options(&full).expect("good").realms, ["a.test"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("colour = 1", "colour"),
            ("user = 3", "line 1"),
            ("user = 'a@b'", "--user"),
            ("sip = ['nowhere']", "--sip"),
            ("http = '1.2.3.4'", "--http"),
            ("p2p = ['127.0.0.1']", "--p2p"),
            ("bootstrap = ['x']", "--bootstrap"),
            ("realm = ['a..b']", "--realm"),
            ("serve = 'mine'", "own or all"),
            ("realm = ['localhost']", "try home.lan"),
            ("realm = ['office']", "try office.lan"),
            ("realm = ['192.0.2.1']", "domain name"),
            ("realm = ['abc.dots']", "made from a key"),
            ("network = 'a b'", "--network"),
            ("trust-realm = ['a.test']", "--trust-realm"),
            ("trust-realm = ['a.test=02']", "--trust-realm"),
            ("sip-advertise = 'a:b'", "--sip-advertise"),
            ("digest = ['sha1']", "--digest"),
            ("digest = ['a..b=md5']", "--digest"),
        ] {
            match options(text) {
                Err(Failure::Usage(why)) => assert!(why.contains(word), "{text}: {why}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_realm_is_taken_as_phones_write_it() {
        for (said, taken) in [
            ("Office.Example.", "office.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("office.", "office"),
        ] {
            let o = options(&format!("realm = ['{said}']")).expect(said);
            assert_eq!(o.realms, [taken]);
            assert_eq!(options(&print(&o)), Ok(o), "what is printed is taken again");
        }
    }

    #[test]
    fn a_level_is_ours_and_libraries_are_quieter() {
        for (said, filter) in [
            ("info", "warn,dots=info,libp2p_kad::behaviour=error"),
            ("DEBUG", "info,dots=debug"),
            ("dots_sip=trace,info", "dots_sip=trace,info"),
        ] {
            assert_eq!(options(&format!("log = '{said}'")).expect(said).filter(), filter);
        }
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flag = Settings { user: Some("flag".into()), ..Settings::default() };
        let file = Settings::parse("user = 'file'\nrealm = ['a.test']").expect("good");
        let both = flag.over(file);
        assert_eq!((both.user.as_deref(), both.realm.len()), (Some("flag"), 1));
    }
}
