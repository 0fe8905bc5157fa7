//! From options and a data directory to a node that listens: keys, stores, sockets, the first account, the welcome.

use super::{
    Node,
    hosts::{Hosts, concrete},
    listen, now,
    welcome::{self, Ready},
};
use crate::{
    config::Options,
    datadir::{DataDir, Ports, generate_password},
    drivers::{
        dns::Resolver,
        store::{AccountStore, StoreError, Stores, account},
    },
    failure::Failure,
    http::{self, ApiHandle, App, Metrics},
    peer::{
        Config, Peer, Recovered, Stream,
        account::Account,
        journal,
        notes::{self, Note},
    },
};
use dots_sip::{address::realm_of, auth::DigestOffer, registrar::Brief};
use dots_wire::{PeerId, PublicKey, encode};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::IsTerminal,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};

/// Accounts looked at together.
const ACCOUNTS_PAGE: usize = 4_096;
/// Answers of what runs beside the loop.
const LATER_MAX: usize = 1_024;

pub(super) async fn start(options: &Options, dir: &DataDir) -> Result<Node, Failure> {
    if let Some(file) = &options.ready_file {
        // Whoever waits for it must not read the one of the last run.
        let _ = std::fs::remove_file(file);
    }
    let mut ports = dir.ports()?;
    let kept = ports.clone();
    let sip = listen::sip(options, &mut ports).await?;
    let (listener, http_addr) = listen::http(options, &mut ports).await?;
    let (peer_key, realm_key) = (dir.peer_key()?, dir.realm_key()?);
    let net = listen::peers(options, &peer_key, &mut ports).await?;
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
    let moved = moved(&accounts, &kept, &realms).map_err(|e| Failure::data(dir.path(), e))?;
    let mut stores = Stores::open(dir.path()).map_err(|e| Failure::data(dir.path(), e))?;
    let mut recovered = recover(&mut stores, peer_key.peer_id()).map_err(|e| Failure::data(dir.path(), e))?;
    unhide(&accounts, &realms, &mut recovered.realms).map_err(|e| Failure::data(dir.path(), e))?;
    recovered.changed = accounts.changed().map_err(|e| Failure::data(dir.path(), e))?;
    let hosts = Hosts::new(sip.bound.clone(), options.advertise.clone());
    let config = Config {
        network: options.network.clone(),
        key: peer_key.clone(),
        realm_key,
        token_key: *dir.token_key()?,
        own_hosts: hosts.known().to_vec(),
        digest: digests(options, &realms),
        brief: if options.refuse_brief { Brief::Refuse } else { Brief::Raise },
        contacts_any: options.contacts_any.iter().cloned().collect(),
        serve: options.serve,
        ports: own_ports(&sip.bound, http_addr, net.listen_addrs()),
        realms,
        trusted: trusted(options)?,
        advertise: options.advertise.as_ref().map(|a| a.authority(&sip.bound)),
        sip: concrete(&sip.bound).iter().map(SocketAddr::to_string).collect(),
        p2p: net.listen_addrs().to_vec(),
        http: http_addr.to_string(),
        disarmed: None,
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
    dir.publish(&http_addr.to_string())?;
    let news = welcome::News { password, moved, kept };
    welcome::say(options, dir, &config, &news);
    if let Some(file) = &options.ready_file {
        welcome::write_ready(file, &ready)?;
    }
    Ok(Node {
        peer,
        sip,
        datagrams: Vec::new(),
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

/// The first account of the realm that was the default one until now, where it is another today: its phone, which knows
/// only this peer's address, means an account of the new one.
fn moved(accounts: &AccountStore, kept: &Ports, realms: &[String]) -> Result<Option<String>, StoreError> {
    let Some(before) = kept.realms.first().filter(|before| realms.first() != Some(before)) else {
        return Ok(None);
    };
    Ok(of_realm(accounts, before)?.map(|account| account.aor))
}

fn of_realm(accounts: &AccountStore, realm: &str) -> Result<Option<Account>, StoreError> {
    let mut after: Option<String> = None;
    loop {
        let mut page = accounts.list(after.as_deref(), ACCOUNTS_PAGE)?;
        if let Some(at) = page.iter().position(|a| realm_of(&a.aor) == realm) {
            return Ok(Some(page.swap_remove(at)));
        }
        match page.pop() {
            Some(last) => after = Some(last.aor),
            None => return Ok(None),
        }
    }
}

/// An alias never hides an account. Neither can be made beside the other; but a new realm, or an earlier version, may have
/// brought them together. Then the account is the one that is called.
fn unhide(accounts: &AccountStore, realms: &[String], notes: &mut Vec<Vec<u8>>) -> Result<(), StoreError> {
    for (alias, target) in notes::replay(notes).aliases {
        for aor in realms.iter().map(|realm| format!("{alias}@{realm}")) {
            if accounts.get(&aor)?.is_some() {
                tracing::warn!(alias, target, "this alias is not used: there is an account {aor}");
                let gone = Note::AliasGone { version: notes::VERSION, alias: alias.clone() };
                notes.push(encode(&gone));
            }
        }
    }
    Ok(())
}

/// Ports at which this peer listens.
fn own_ports(sip: &[SocketAddr], http: SocketAddr, p2p: &[String]) -> BTreeSet<u16> {
    // A multiaddress names its port behind `tcp` or `udp`.
    let of_peers = p2p.iter().flat_map(|at| at.split('/')).filter_map(|part| part.parse().ok());
    sip.iter().map(SocketAddr::port).chain([http.port()]).chain(of_peers).collect()
}

/// `--digest`: what is said of one realm wins over what is said of all.
fn digests(options: &Options, realms: &[String]) -> BTreeMap<String, DigestOffer> {
    let of = |realm: &String| {
        let named =
            |wanted: Option<&String>| options.digest.iter().rev().find(|(name, _)| name.as_ref() == wanted);
        named(Some(realm)).or_else(|| named(None)).map(|(_, offer)| *offer)
    };
    realms.iter().filter_map(|realm| Some((realm.clone(), of(realm)?))).collect()
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
    if of_realm(accounts, realm).map_err(broken)?.is_some() {
        return Ok(None);
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
