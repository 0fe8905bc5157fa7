//! The effective configuration as a file, with what each key means.

use super::Options;
use dots_sip::auth::DigestOffer;
use std::{fmt::Write, net::SocketAddr, path::Path};

/// The effective configuration as a file that [`super::Settings::read`] takes, with what each key means.
pub fn print(o: &Options) -> String {
    let quote = |s: &str| toml::Value::String(s.to_owned()).to_string();
    let list = |l: Vec<String>| format!("[{}]", l.iter().map(|s| quote(s)).collect::<Vec<_>>().join(", "));
    let path = |p: &Path| quote(&p.to_string_lossy());
    let advertise = o.advertise.as_ref().map(|a| {
        let host = if a.host.contains(':') { format!("[{}]", a.host) } else { a.host.clone() };
        quote(&a.port.map_or(host.clone(), |p| format!("{host}:{p}")))
    });
    let sip = o.sip.as_ref().map(|l| list(l.iter().map(SocketAddr::to_string).collect()));
    let keys: [(&str, &str, Option<String>, &str); 18] = [
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
        (
            "memory",
            "What the tables may take. They have their sizes: less than these is refused.",
            Some(quote(&format!("{}M", o.memory >> 20))),
            "",
        ),
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

/// As the flags take it.
fn said_realm(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.") }
}

fn digest_text((realm, offer): &(Option<String>, DigestOffer)) -> String {
    let offer = offer.as_str();
    realm.as_ref().map_or_else(|| offer.to_owned(), |r| format!("{}={offer}", said_realm(r)))
}
