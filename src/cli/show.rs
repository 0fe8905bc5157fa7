//! The commands that ask the running peer and show what it says.

use super::{
    Common,
    table::{duration, short, table, utc},
};
use crate::{drivers::store::ascii_realm, failure::Failure};
use clap::Subcommand;
use dots_clients::types::*;
use serde_json::json;
use std::fmt::Write;

#[derive(Debug, Subcommand)]
pub enum Alias {
    /// dots alias add 12 sip:me@….dots
    Add {
        alias: String,
        target: String,
    },
    List,
    Remove {
        alias: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Realm {
    /// Believe this name to belong to this key, whatever anybody says
    Pin { name: String, key: String },
    /// Forget what is believed of this name
    Forget { name: String },
}

pub fn status(common: &Common) -> Result<(), Failure> {
    let s = common.client()?.status()?;
    common.print(&s, || {
        let rows = [
            ("peer", s.peer_id.clone()),
            ("version", s.version.clone()),
            ("network", s.network.clone()),
            ("default realm", s.default_realm.clone()),
            ("home of", s.realms.join(", ")),
            ("since (UTC)", utc(s.started_at_ms)),
            ("SIP", s.sip.join(", ")),
            ("overlay", s.p2p.join("\n               ")),
            ("HTTP", s.http.clone()),
            ("peers", s.peers.to_string()),
            ("old peers", s.old_peers.to_string()),
            ("phones here", s.bindings.to_string()),
            ("directory", s.directory.to_string()),
            ("calls up", s.calls_active.to_string()),
            ("receipts", s.receipts.to_string()),
        ];
        let mut out = rows.iter().fold(String::new(), |out, (k, v)| out + &format!("{k:<14} {v}\n"));
        for warning in &s.warnings {
            let _ = writeln!(out, "warning: {warning}");
        }
        out
    })
}

pub fn peers(common: &Common) -> Result<(), Failure> {
    let list = common.client()?.peers()?;
    let row = |p: &PeerInfo| {
        let log = p.log_seq.map_or("-".into(), |s| s.to_string());
        let up = if p.connected { "connected" } else { "known" };
        let rtt = p.rtt_us.map_or("-".into(), |us| format!("{:.1} ms", us as f64 / 1000.0));
        vec![p.peer_id.clone(), up.into(), rtt, log, p.realms.join(","), p.addresses.join(",")]
    };
    let headings = ["PEER", "STATE", "RTT", "LOG", "REALMS", "ADDRESSES"];
    common.print(&json!({ "peers": list, "next": null }), || rows(&headings, &list, row, "no peers"))
}

pub fn bindings(common: &Common) -> Result<(), Failure> {
    let list = common.client()?.bindings()?;
    let row = |b: &BindingInfo| {
        vec![b.aor.clone(), b.contact.clone(), b.flow.clone(), b.state.clone(), utc(b.expires_at_ms)]
    };
    let headings = ["ACCOUNT", "CONTACT", "FLOW", "STATE", "UNTIL (UTC)"];
    common.print(&json!({ "bindings": list, "next": null }), || rows(&headings, &list, row, "no phones"))
}

pub fn lookup(common: &Common, aor: &str) -> Result<(), Failure> {
    let found = common.client()?.lookup(aor)?;
    let row = |b: &LookupBinding| {
        let by = b.attests.iter().map(|a| format!("{} {} {}", short(&a.by), a.outcome, utc(a.at_ms)));
        let by = by.collect::<Vec<_>>().join("; ");
        vec![b.state.clone(), b.serving.clone(), short(&b.instance), utc(b.until_ms), b.source.clone(), by]
    };
    common.print(&found, || {
        let exists = match found.exists {
            Some(true) => "exists",
            Some(false) => "does not exist",
            None => "may exist: no home has answered",
        };
        let headings = ["STATE", "SERVING", "INSTANCE", "UNTIL (UTC)", "FROM", "ATTESTED BY"];
        format!("{} {exists}\n{}", found.aor, rows(&headings, &found.bindings, row, "no phone is registered"))
    })
}

pub fn calls(common: &Common) -> Result<(), Failure> {
    let list = common.client()?.calls()?;
    let row = |c: &CallInfo| {
        let length = c.duration_ms.map_or("-".into(), duration);
        let cause = c.cause.iter().map(|cause| explained(cause));
        let note = cause.chain(c.warnings.iter().cloned()).collect::<Vec<_>>().join("; ");
        let started = utc(c.started_at_ms);
        vec![started, c.from.clone(), c.to.clone(), c.state.clone(), length, c.media.clone(), note]
    };
    let headings = ["STARTED (UTC)", "FROM", "TO", "STATE", "LENGTH", "MEDIA", "NOTE"];
    common.print(&json!({ "calls": list, "next": null }), || rows(&headings, &list, row, "no calls"))
}

/// The final status of a call that failed, and what it most often means.
fn explained(cause: &str) -> String {
    let meaning = match cause {
        "403" => "not allowed",
        "404" => "no such user",
        "408" => "no answer",
        "480" => "no phone of that user is reachable",
        "486" | "600" => "busy",
        "487" => "given up before it was answered",
        "488" | "606" => "no sound format in common",
        "503" => "its home cannot be asked, or is too busy",
        "603" => "declined",
        _ => return cause.to_owned(),
    };
    format!("{cause} {meaning}")
}

pub fn receipts(common: &Common, verify: bool) -> Result<(), Failure> {
    let list = common.client()?.receipts(verify)?;
    let row = |r: &ReceiptInfo| {
        let holds = match (r.verified, &r.error) {
            (Some(true), _) => "good".into(),
            (Some(false), error) => format!("BAD {}", error.as_deref().unwrap_or_default()),
            (None, error) => error.clone().unwrap_or_else(|| "-".into()),
        };
        let (a, b) = (short(&r.originating), short(&r.terminating));
        let start = utc(r.start_ms);
        vec![start, short(&r.call_id), duration(r.duration_ms), r.state.clone(), a, b, r.cause.clone(), holds]
    };
    let headings = ["START (UTC)", "CALL", "LENGTH", "STATE", "FROM PEER", "TO PEER", "CAUSE", "CHECK"];
    common
        .print(&json!({ "receipts": list, "next": null }), || rows(&headings, &list, row, "no receipts"))?;
    // A half-signed receipt is not bad: its other half is being asked for.
    let bad = list.iter().filter(|r| verify && r.verified != Some(true) && r.state != "half").count();
    if bad > 0 { Err(Failure::Unverified { bad, all: list.len() }) } else { Ok(()) }
}

pub fn alias(common: &Common, command: Alias) -> Result<(), Failure> {
    let client = common.client()?;
    match command {
        Alias::Add { alias, target } => {
            let before = client.aliases()?.into_iter().find(|a| a.alias == alias).map(|a| a.target);
            client.alias_put(&alias, &target)?;
            let mut said = json!({ "alias": alias, "target": target });
            if let Some(before) = &before {
                said["replaced"] = json!(before);
            }
            common.print(&said, || match before {
                Some(before) => format!("{alias} -> {target} (it was {before})\n"),
                None => format!("{alias} -> {target}\n"),
            })
        }
        Alias::Remove { alias } => {
            if !client.alias_remove(&alias)?.existed {
                return Err(Failure::Refused(format!("there is no alias {alias}")));
            }
            common.print(&json!({ "alias": alias }), || format!("removed {alias}\n"))
        }
        Alias::List => {
            let list = client.aliases()?;
            let row = |a: &AliasInfo| vec![a.alias.clone(), a.target.clone()];
            common.print(&json!({ "aliases": list, "next": null }), || {
                rows(&["ALIAS", "DIALS"], &list, row, "no aliases")
            })
        }
    }
}

pub fn realms(common: &Common, command: Option<Realm>) -> Result<(), Failure> {
    let client = common.client()?;
    match command {
        Some(Realm::Pin { name, key }) => {
            let name = ascii_realm(&name).unwrap_or(name);
            client.realm_pin(&name, &key)?;
            common.print(&json!({ "name": name, "key": key }), || format!("{name} is pinned to {key}\n"))
        }
        Some(Realm::Forget { name }) => {
            let name = ascii_realm(&name).unwrap_or(name);
            if !client.realm_forget(&name)?.existed {
                return Err(Failure::Refused(format!("nothing is believed of {name}")));
            }
            common.print(&json!({ "name": name }), || format!("forgot {name}\n"))
        }
        None => {
            let list = client.realms()?;
            let row = |r: &RealmInfo| {
                let homes = r.homes.iter().map(|h| short(h)).collect::<Vec<_>>().join(",");
                let rivals = r.rivals.iter().map(|k| short(k)).collect::<Vec<_>>().join(",");
                vec![r.name.clone(), r.belief.clone(), r.key.clone(), homes, utc(r.valid_until_ms), rivals]
            };
            let headings = ["REALM", "BELIEF", "KEY", "HOMES", "VALID UNTIL (UTC)", "OTHER KEYS"];
            common
                .print(&json!({ "realms": list, "next": null }), || rows(&headings, &list, row, "no realms"))
        }
    }
}

fn rows<T>(headings: &[&str], list: &[T], row: impl Fn(&T) -> Vec<String>, none: &str) -> String {
    table(headings, &list.iter().map(row).collect::<Vec<_>>(), none)
}
