//! From options and a data directory to a node that listens: keys, stores, sockets, the first account, the welcome.

use super::{Node, now};
use crate::{
    cli::exit::Failure,
    config::{Advertise, HTTP_PORT, Options, P2P_PORT, SIP_PORT},
    datadir::{DataDir, Ports, generate_password},
    drivers::{
        dns::Resolver,
        sip::{SipSockets, local_ip_toward},
        store::{AccountStore, Stores, account},
    },
    http::{self, ApiHandle, App, Metrics},
    peer::{Config, Peer, Recovered, Stream, journal, notes},
};
use dots_overlay::net::{Net, NetConfig, NetError};
use dots_wire::{PeerId, PublicKey, SecretKey};
use serde::Serialize;
use std::{
    collections::{BTreeMap, VecDeque},
    io::{ErrorKind, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Instant,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// Ports tried when the usual one is taken: 5060, 5070 … for SIP, 8080, 8081 … for HTTP.
const PORTS_TRIED: u16 = 20;
/// Accounts looked at together.
const ACCOUNTS_PAGE: usize = 4_096;
/// Answers of what runs beside the loop.
const LATER_MAX: usize = 1_024;

/// The ready file: a contract that scripts depend on.
#[derive(Serialize)]
struct Ready {
    peer_id: String,
    sip: Vec<String>,
    p2p: Vec<String>,
    http: String,
}

pub(super) async fn start(options: &Options, dir: &DataDir) -> Result<Node, Failure> {
    if let Some(file) = &options.ready_file {
        // Whoever waits for it must not read the one of the last run.
        let _ = std::fs::remove_file(file);
    }
    let mut ports = dir.ports()?;
    let sip = bind_sip(options, &mut ports).await?;
    let (listener, http_addr) = bind_http(options, &mut ports).await?;
    let (peer_key, realm_key) = (dir.peer_key()?, dir.realm_key()?);
    let net = start_net(options, &peer_key, &mut ports).await?;
    // The name that nobody can take is always ours; it is the default one where no other is given.
    let mut realms = options.realms.clone();
    let own = dots_overlay::names::self_certifying(&realm_key.public());
    if !realms.contains(&own) {
        realms.push(own);
    }
    ports.realms.clone_from(&realms);
    dir.keep_ports(&ports)?;
    let accounts = AccountStore::open(dir.path()).map_err(|e| Failure::data(dir.path(), e))?;
    let password = first_account(&accounts, options, &realms, dir)?;
    let mut stores = Stores::open(dir.path()).map_err(|e| Failure::data(dir.path(), e))?;
    let mut recovered = recover(&mut stores, peer_key.peer_id()).map_err(|e| Failure::data(dir.path(), e))?;
    recovered.changed = accounts.changed().map_err(|e| Failure::data(dir.path(), e))?;
    let concrete = concrete(&sip.bound);
    let config = Config {
        network: options.network.clone(),
        key: peer_key.clone(),
        realm_key,
        token_key: *dir.token_key()?,
        own_hosts: own_hosts(&concrete, options.advertise.as_ref()),
        realms,
        trusted: trusted(options)?,
        advertise: options.advertise.as_ref().map(|a| a.authority(&sip.bound)),
        sip: concrete.iter().map(SocketAddr::to_string).collect(),
        p2p: net.listen_addrs().to_vec(),
        http: http_addr.to_string(),
    };
    let ready = Ready {
        peer_id: peer_key.peer_id().to_string(),
        sip: config.sip.clone(),
        p2p: config.p2p.clone(),
        http: http_addr.to_string(),
    };
    let peer = Peer::new(config.clone(), recovered, rand::random(), now());
    let (disk, acks) = stores.start();
    let accounts = Arc::new(accounts);
    let metrics = Arc::new(Metrics::default());
    let (handle, api) = ApiHandle::channel();
    let name = options.advertise.as_ref().map(|a| a.host.clone());
    let app = App::new(handle, accounts.clone(), metrics.clone(), dir.http_token()?, http_addr, name);
    let (stop_http, stopped) = oneshot::channel::<()>();
    let http = tokio::spawn(http::serve(listener, app, async {
        let _ = stopped.await;
    }));
    let hosts = Hosts {
        known: config.own_hosts.clone(),
        bound: sip.bound.clone(),
        advertise: options.advertise.clone(),
    };
    dir.publish(&http_addr.to_string())?;
    welcome(options, dir, &config, password.as_deref())?;
    if let Some(file) = &options.ready_file {
        write_ready(file, &ready)?;
    }
    Ok(Node {
        peer,
        sender: sip.sender.clone(),
        sip,
        net,
        disk,
        acks,
        unwritten: VecDeque::new(),
        accounts,
        later: mpsc::channel(LATER_MAX),
        api,
        asked: BTreeMap::new(),
        asked_next: 0,
        metrics,
        next: VecDeque::new(),
        fatal: None,
        dns: Resolver::new(),
        hosts,
        look_at: Instant::now(),
        http,
        stop_http: Some(stop_http),
    })
}

/// The journals, cut down to what still counts.
fn recover(stores: &mut Stores, me: PeerId) -> Result<Recovered, crate::drivers::store::DiskError> {
    let bindings = stores.recover(Stream::Bindings)?;
    let (live, _) = journal::replay(&bindings, now().wall.0);
    let bindings: Vec<Vec<u8>> = if bindings.len() > live.len() * 2 + 1_000 {
        let kept: Vec<Vec<u8>> = live.into_iter().map(journal::encode_binding).collect();
        stores.compact(Stream::Bindings, &kept)?;
        kept
    } else {
        bindings
    };
    let realms = stores.recover(Stream::Realms)?;
    let kept = notes::compacted(&realms);
    if realms.len() > kept.len() * 2 + 1_000 {
        stores.compact(Stream::Realms, &kept)?;
    }
    let mut log = stores.recover(Stream::Log)?;
    if let Some(kept) = dots_overlay::core::compacted(me, &log) {
        stores.compact(Stream::Log, &kept)?;
        log = kept;
    }
    let receipts = stores.recover(Stream::Receipts)?;
    Ok(Recovered { bindings, realms: kept, log, receipts, changed: BTreeMap::new() })
}

/// `--trust-realm NAME=KEY`; the form was checked with the options.
fn trusted(options: &Options) -> Result<Vec<(String, PublicKey)>, Failure> {
    let pin = |(name, key): &(String, String)| {
        let bytes = hex::decode(key).ok().and_then(|b| <[u8; 33]>::try_from(b).ok());
        let bytes = bytes.ok_or_else(|| Failure::Usage(format!("--trust-realm {name}: not a key")))?;
        Ok((name.clone(), PublicKey(bytes)))
    };
    options.trust_realms.iter().map(pin).collect()
}

/// What was said, or QUIC and TCP on the port that was kept, or on the first free one from the usual one on.
async fn start_net(options: &Options, key: &SecretKey, ports: &mut Ports) -> Result<Net, Failure> {
    let start = |listen: Vec<String>| {
        Net::start(NetConfig {
            key: key.clone(),
            network: options.network.clone(),
            listen,
            bootstrap: options.bootstrap.clone(),
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
async fn bind_sip(options: &Options, ports: &mut Ports) -> Result<SipSockets, Failure> {
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

async fn bind_http(options: &Options, ports: &mut Ports) -> Result<(TcpListener, SocketAddr), Failure> {
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

/// The account `me` where the default realm has none yet; its password is said once. It is kept before the account is
/// made, so that no crash between the two leaves an account that nobody can open.
fn first_account(
    accounts: &AccountStore,
    options: &Options,
    realms: &[String],
    dir: &DataDir,
) -> Result<Option<String>, Failure> {
    let Some(realm) = realms.first() else { return Ok(None) };
    let broken = |e| Failure::data(dir.path(), e);
    let suffix = format!("@{realm}");
    let mut after: Option<String> = None;
    loop {
        let page = accounts.list(after.as_deref(), ACCOUNTS_PAGE).map_err(broken)?;
        if page.iter().any(|a| a.aor.ends_with(&suffix)) {
            return Ok(None);
        }
        match page.last() {
            Some(last) => after = Some(last.aor.clone()),
            None => break,
        }
    }
    let password = generate_password();
    let made = account(&format!("{}@{realm}", options.user), &password, true, now().wall.0)
        .map_err(|e| Failure::Usage(format!("--user: {e}")))?;
    if !std::io::stdout().is_terminal() {
        dir.keep_password(&password)?;
    }
    accounts.put(&made).map_err(broken)?;
    Ok(Some(password))
}

/// Every address that reaches us: a wildcard stands for this machine's interfaces.
fn concrete(bound: &[SocketAddr]) -> Vec<SocketAddr> {
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

fn interfaces() -> Vec<IpAddr> {
    if_addrs::get_if_addrs().map(|all| all.into_iter().map(|i| i.ip()).collect()).unwrap_or_default()
}

/// What this machine is called, watched: a laptop changes its network, and its phones still mean this peer.
pub(super) struct Hosts {
    known: Vec<String>,
    bound: Vec<SocketAddr>,
    advertise: Option<Advertise>,
}

impl Hosts {
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

/// What to type into a phone. The password goes to a terminal, or else into a file that only we can read.
fn welcome(options: &Options, dir: &DataDir, config: &Config, password: Option<&str>) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    // The address toward the outside world (asking for the route sends nothing), where we listen on it.
    let outward = local_ip_toward(([192, 0, 2, 1], SIP_PORT).into()).map(|ip| ip.to_string());
    let routed =
        config.sip.iter().find(|s| outward.as_ref().is_some_and(|ip| s.starts_with(&format!("{ip}:"))));
    let server = config.advertise.as_ref().or(routed).or(config.sip.first()).cloned().unwrap_or_default();
    let realm = config.realms.first().map(String::as_str).unwrap_or_default();
    let mut text = format!("dots {} is running. In a softphone:\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&format!("  server    {server}\n"));
    match password {
        Some(password) => {
            text.push_str(&format!("  user      {}\n", options.user));
            if out.is_terminal() {
                text.push_str(&format!("  password  {password}   (shown only now)\n"));
            } else {
                let file = dir.password_file();
                text.push_str(&format!("  password  in {}\n", file.display()));
            }
        }
        None => text.push_str("  user      as before; `dots account list` shows all\n"),
    }
    text.push_str(&format!("realm {realm}; more users: dots account add NAME@{realm}\n"));
    text.push_str(&format!("HTTP http://{}\n", config.http));
    for address in &config.p2p {
        text.push_str(&format!("peer {address}\n"));
    }
    // Nobody may be reading.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
    Ok(())
}

/// Whole or not at all: written beside, then renamed.
fn write_ready(file: &Path, ready: &Ready) -> Result<(), Failure> {
    let text = serde_json::to_string(ready).map_err(|e| Failure::Other(e.to_string()))?;
    let beside = file.with_extension("new");
    std::fs::write(&beside, text + "\n")
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|e| Failure::Other(format!("{}: {e}", file.display())))
}
