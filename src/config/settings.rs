//! What was said: the flags of `dots up` and the keys of the file, under the same names.

use super::{
    LOG, NETWORK, Options, USER, default_data,
    values::{advertise, digest, memory, realm, resolve, serve, trust},
};
use crate::{failure::Failure, tables::MEMORY_BYTES};
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};

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
    /// What the peer's tables may take, MiB, or with K, M or G [default: 1G]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
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
            memory: self.memory.or(file.memory),
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
            memory: self.memory.as_deref().map(memory).transpose()?.unwrap_or(MEMORY_BYTES),
            log: self.log.unwrap_or_else(|| LOG.to_owned()),
            ready_file: self.ready_file,
        })
    }
}

const NETWORK_LEN_MAX: usize = 64;
