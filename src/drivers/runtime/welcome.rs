//! What a peer says once it listens: to people on standard output, to scripts in the ready file.

use crate::{
    config::{self, HTTP_PORT, Options, P2P_PORT, SIP_PORT},
    datadir::{DataDir, Ports},
    drivers::sip::local_ip_toward,
    failure::Failure,
    peer::Config,
};
use serde::Serialize;
use std::{
    io::{IsTerminal, Write},
    net::IpAddr,
    path::Path,
};

/// The ready file: a contract that scripts depend on.
#[derive(Serialize)]
pub(super) struct Ready {
    pub peer_id: String,
    pub sip: Vec<String>,
    pub p2p: Vec<String>,
    pub http: String,
}

/// What is new since the last start, or worth a word.
pub(super) struct News {
    /// Of the first account, where this start made it.
    pub password: Option<String>,
    /// An account of the realm that was the default one until now.
    pub moved: Option<String>,
    /// What an earlier start chose.
    pub kept: Ports,
}

/// What to type into a phone, and what to do next. The password goes to a terminal, or else into a file that only we can
/// read.
pub(super) fn say(options: &Options, dir: &DataDir, config: &Config, news: &News) {
    let mut out = std::io::stdout();
    let password = news.password.as_ref().map(|password| match out.is_terminal() {
        true => format!("{password}   (shown only now)"),
        false => format!("in {}", dir.password_file().display()),
    });
    // The address toward the outside world: asking for the route sends nothing.
    let outward = local_ip_toward(([192, 0, 2, 1], SIP_PORT).into());
    let text = text(options, config, news, password.as_deref(), outward);
    // Nobody may be reading.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn text(
    options: &Options,
    config: &Config,
    news: &News,
    password: Option<&str>,
    outward: Option<IpAddr>,
) -> String {
    let routed = outward.and_then(|ip| {
        config.sip.iter().find(|s| s.parse().is_ok_and(|a: std::net::SocketAddr| a.ip() == ip))
    });
    let server = config.advertise.as_ref().or(routed).or(config.sip.first()).cloned().unwrap_or_default();
    let realm = config.realms.first().map(String::as_str).unwrap_or_default();
    let dots = match config::default_data() {
        Ok(data) if data == options.data => String::new(),
        _ => format!(" --data {}", options.data.display()),
    };
    let mut text = format!("dots {} is running. In a phone:\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&format!("  server    {server}\n"));
    match password {
        Some(password) => {
            text.push_str(&format!("  user      {}\n  password  {password}\n", options.user));
        }
        None => text.push_str(&format!("  user      as before; `dots account list{dots}` shows all\n")),
    }
    text.push_str(&format!("next: `dots account add bob{dots}`, a second phone for bob, and dial bob\n"));
    if let Some(aor) = &news.moved {
        text.push_str(&format!(
            "the default realm is {realm} now; {aor} is there as before, its phone needs the user name {aor}\n"
        ));
    }
    text.push_str(&kept_ports(options, &news.kept));
    text.push_str(&format!("realm {realm}\nHTTP http://{}\n", config.http));
    let best = best_of(&config.p2p, outward);
    for address in &best {
        text.push_str(&format!("peer {address}\n"));
    }
    if best.len() < config.p2p.len() {
        text.push_str(&format!("more addresses: dots status{dots}\n"));
    }
    text
}

/// Ports that are not the usual ones, because an earlier start found those taken.
fn kept_ports(options: &Options, kept: &Ports) -> String {
    let ports = [
        ("--sip", "SIP", kept.sip.filter(|_| options.sip.is_none()), SIP_PORT),
        ("--http", "HTTP", kept.http.filter(|_| options.http.is_none()), HTTP_PORT),
        ("--p2p", "peers", kept.p2p.filter(|_| options.p2p.is_empty()), P2P_PORT),
    ];
    let line = |(flag, what, kept, usual): (&str, &str, Option<u16>, u16)| {
        let port = kept.filter(|port| *port != usual)?;
        Some(format!(
            "port {port} for {what} is kept from an earlier start ({usual} was taken); {flag} changes it\n"
        ))
    };
    ports.into_iter().filter_map(line).collect()
}

/// The addresses that most others can use: those of one host, a public one if there is one, else the one toward the outside
/// world.
fn best_of(multiaddrs: &[String], outward: Option<IpAddr>) -> Vec<&String> {
    let rank = |multiaddr: &String| {
        let ip = multiaddr.split('/').nth(2).and_then(|host| host.parse::<IpAddr>().ok())?;
        let order = match ip {
            _ if ip.is_loopback() => 5,
            IpAddr::V4(v4) if !v4.is_private() && !v4.is_link_local() && !is_shared(v4) => 0,
            ip if Some(ip) == outward => 1,
            IpAddr::V4(v4) if !v4.is_link_local() => 2,
            IpAddr::V6(v6) if !v6.is_unique_local() && !v6.is_unicast_link_local() => 3,
            _ => 4,
        };
        Some((order, ip))
    };
    let best = multiaddrs.iter().filter_map(rank).min();
    // What has no address in it was asked for as it is.
    multiaddrs.iter().filter(|m| best.is_none() || rank(m) == best).collect()
}

/// 100.64.0.0/10, behind a carrier's NAT (RFC 6598 §7).
fn is_shared(ip: std::net::Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && (64..128).contains(&b)
}

/// Whole or not at all: written beside, then renamed.
pub(super) fn write_ready(file: &Path, ready: &Ready) -> Result<(), Failure> {
    let text = serde_json::to_string(ready).map_err(|e| Failure::Other(e.to_string()))?;
    let beside = file.with_extension("new");
    std::fs::write(&beside, text + "\n")
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|e| Failure::Other(format!("{}: {e}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_address_is_one_that_others_can_use() {
        let outward = "192.168.1.7".parse().ok();
        for (known, best) in [
            (vec!["127.0.0.1", "172.17.0.1", "192.168.1.7"], "192.168.1.7"),
            (vec!["127.0.0.1", "192.168.1.7", "203.0.113.9"], "203.0.113.9"),
            (vec!["127.0.0.1", "100.64.0.9", "10.0.0.9"], "10.0.0.9"),
            (vec!["127.0.0.1", "169.254.0.9", "2001:db8::1"], "2001:db8::1"),
            (vec!["127.0.0.1", "::1"], "127.0.0.1"),
        ] {
            let of = |ip: &str, rest: &str| {
                format!("/{}/{ip}/{rest}/p2p/16U", if ip.contains(':') { "ip6" } else { "ip4" })
            };
            let all: Vec<String> =
                known.iter().flat_map(|ip| [of(ip, "udp/4001/quic-v1"), of(ip, "tcp/4001")]).collect();
            let told = best_of(&all, outward);
            assert_eq!(told, [&of(best, "udp/4001/quic-v1"), &of(best, "tcp/4001")]);
        }
        let named = ["/dns4/a.test/tcp/4001".to_owned()];
        assert_eq!(best_of(&named, None), [&named[0]]);
    }

    #[test]
    fn a_port_from_another_day_says_so() {
        let options =
            config::Settings { data: Some("/d".into()), ..Default::default() }.options().expect("good");
        let kept = Ports { sip: Some(5070), http: Some(HTTP_PORT), ..Ports::default() };
        let told = kept_ports(&options, &kept);
        assert_eq!(
            told,
            "port 5070 for SIP is kept from an earlier start (5060 was taken); --sip changes it\n"
        );
        assert_eq!(kept_ports(&options, &Ports::default()), "");
    }
}
