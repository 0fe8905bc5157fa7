//! Within five seconds of quiet every peer says of every AOR what the registrars hold.

use super::Faults;
use crate::sim::World;
use dots::peer::api::Request;
use dots_wire::sha256;
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// Look-ups ask a home: long enough for that on a network that loses nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// (serving peer, hash of the instance).
type Row = (String, String);

pub fn agreement(world: &mut World) -> Faults {
    let running: Vec<usize> = (0..world.hosts.len()).filter(|h| world.hosts[*h].peer.is_some()).collect();
    let mut aors: BTreeSet<String> = world.phones.iter().map(|p| p.aor()).collect();
    aors.insert(format!("nobody@{}", world.hosts[0].realm));
    let before = truth(world, &running);
    let mut asked = Vec::new();
    for host in &running {
        for aor in &aors {
            asked.push((*host, aor.clone(), world.put_question(*host, Request::Lookup { aor: aor.clone() })));
        }
    }
    world.run_for(PATIENCE);
    let after = truth(world, &running);
    let of = |all: &[(String, Row)], aor: &str| -> BTreeSet<Row> {
        all.iter().filter(|(a, _)| a == aor).map(|(_, row)| row.clone()).collect()
    };
    let mut faults = Vec::new();
    for (host, aor, id) in asked {
        // A phone that lost answer after answer still repeats its REGISTER: there is no quiet about it.
        if of(&before, &aor) != of(&after, &aor) {
            continue;
        }
        let expected = of(&before, &aor);
        match world.hosts[host].replies.remove(&id) {
            None => faults.push(format!("agreement: peer {host} does not answer about {aor}")),
            Some(reply) => {
                let said = rows(&reply.body["bindings"]);
                if said != expected {
                    let (said, expected) = (named(world, &said), named(world, &expected));
                    faults.push(format!(
                        "agreement: peer {host} says {aor} is at {said}, the registrars {expected}"
                    ));
                }
                let exists = !aor.starts_with("nobody@");
                if reply.body["exists"] != Value::Bool(exists) {
                    faults
                        .push(format!("agreement: peer {host} says {aor} exists: {}", reply.body["exists"]));
                }
            }
        }
    }
    faults
}

/// Live bindings, by the registrars' own word.
fn truth(world: &mut World, running: &[usize]) -> Vec<(String, Row)> {
    let mut all = Vec::new();
    for host in running {
        let serving = world.hosts[*host].id.to_string();
        for row in bindings(world, *host) {
            let instance = sha256(row["instance"].as_str().unwrap_or_default().as_bytes()).to_string();
            all.push((row["aor"].as_str().unwrap_or_default().to_owned(), (serving.clone(), instance)));
        }
    }
    all
}

/// `GET /v1/bindings`; empty for a peer that is not running.
pub fn bindings(world: &mut World, host: usize) -> Vec<Value> {
    let reply = world.ask(host, Request::Bindings, Duration::ZERO);
    reply.and_then(|r| r.body.as_array().cloned()).unwrap_or_default()
}

fn rows(bindings: &Value) -> BTreeSet<Row> {
    let own = |b: &Value| {
        let instance = b["instance"].as_str().unwrap_or_default();
        // A peer knows the names of its own phones, and of others' the hash.
        let instance =
            if b["source"] == "own" { sha256(instance.as_bytes()).to_string() } else { instance.to_owned() };
        (b["serving"].as_str().unwrap_or_default().to_owned(), instance)
    };
    bindings.as_array().into_iter().flatten().map(own).collect()
}

fn named(world: &World, rows: &BTreeSet<Row>) -> String {
    let name = |(serving, instance): &Row| {
        let host = world.hosts.iter().position(|h| h.id.to_string() == *serving);
        let phone = world.phones.iter().position(|p| {
            [p.instance.clone(), format!("<{}>", p.instance)]
                .iter()
                .any(|i| sha256(i.as_bytes()).to_string() == *instance)
        });
        format!("peer {host:?} phone {phone:?}")
    };
    format!("[{}]", rows.iter().map(name).collect::<Vec<_>>().join(", "))
}
