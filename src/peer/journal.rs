//! The binding journal: one record per REGISTER that changed something, written before its 200 (local, unsigned; DISK-10).
//! Replaying it gives the bindings that phones were promised.

use dots_sip::{
    Flow, Transport,
    listening::Listening,
    registrar::{Binding, BindingChange},
};
use dots_wire::{CborError, decode, encode};
use serde::de::DeserializeOwned;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::{collections::BTreeMap, net::SocketAddr};

const VERSION: u8 = 2;
/// The first release's: `true` for TCP in place of the transport's code, nothing of where the phone listens.
const VERSION_1: u8 = 1;

/// Version, AOR, what was put, which instances were removed.
type ChangeRecord<B> = (u8, String, Vec<B>, Vec<String>);

/// A [`BindingRecord`] as it is written: of what the binding holds nothing is copied.
#[derive(Serialize_tuple)]
struct Written<'a> {
    instance: &'a str,
    contact: &'a str,
    contact_params: &'a str,
    q: u16,
    call_id: &'a str,
    cseq: u32,
    path: &'a [String],
    server: Option<&'a str>,
    transport: u8,
    local: SocketAddr,
    remote: SocketAddr,
    listens: Option<(u8, u16)>,
    expires_at_ms: u64,
    #[serde(with = "serde_bytes")]
    grant: &'a [u8],
    granted_until_ms: u64,
}

#[derive(Deserialize_tuple)]
struct BindingRecord {
    instance: String,
    contact: String,
    contact_params: String,
    q: u16,
    call_id: String,
    cseq: u32,
    path: Vec<String>,
    server: Option<String>,
    transport: u8,
    local: SocketAddr,
    remote: SocketAddr,
    /// Transport and port, at the host of `remote`.
    listens: Option<(u8, u16)>,
    expires_at_ms: u64,
    #[serde(with = "serde_bytes")]
    grant: Vec<u8>,
    granted_until_ms: u64,
}

#[derive(Deserialize_tuple)]
struct BindingRecord1 {
    instance: String,
    contact: String,
    contact_params: String,
    q: u16,
    call_id: String,
    cseq: u32,
    path: Vec<String>,
    server: Option<String>,
    tcp: bool,
    local: SocketAddr,
    remote: SocketAddr,
    expires_at_ms: u64,
    #[serde(with = "serde_bytes")]
    grant: Vec<u8>,
    granted_until_ms: u64,
}

impl From<BindingRecord1> for BindingRecord {
    fn from(old: BindingRecord1) -> BindingRecord {
        let transport = if old.tcp { Transport::Tcp } else { Transport::Udp };
        BindingRecord {
            instance: old.instance,
            contact: old.contact,
            contact_params: old.contact_params,
            q: old.q,
            call_id: old.call_id,
            cseq: old.cseq,
            path: old.path,
            server: old.server,
            transport: transport.code(),
            local: old.local,
            remote: old.remote,
            // Found again with the next REGISTER; until then its flow is tried.
            listens: None,
            expires_at_ms: old.expires_at_ms,
            grant: old.grant,
            granted_until_ms: old.granted_until_ms,
        }
    }
}

pub fn encode_change(change: &BindingChange) -> Vec<u8> {
    let put: Vec<Written<'_>> = change.put.iter().map(written).collect();
    encode(&(VERSION, &change.aor, put, &change.removed))
}

/// The record of a change that only puts this binding: what compaction writes.
pub fn encode_binding(binding: Binding) -> Vec<u8> {
    encode_change(&BindingChange { aor: binding.aor.clone(), put: vec![binding], removed: Vec::new() })
}

pub fn decode_change(bytes: &[u8]) -> Result<BindingChange, CborError> {
    match version_of(bytes) {
        Some(VERSION_1) => change::<BindingRecord1>(bytes),
        Some(VERSION) | None => change::<BindingRecord>(bytes),
        Some(other) => Err(CborError::of_version(other)),
    }
}

/// The first number of the record: an array, then a small integer (RFC 8949 §3).
fn version_of(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [0x80..=0x97, version @ 0..=23, ..] => Some(*version),
        _ => None,
    }
}

fn change<B: Into<BindingRecord> + DeserializeOwned>(bytes: &[u8]) -> Result<BindingChange, CborError> {
    let (version, aor, put, removed): ChangeRecord<B> = decode(bytes)?;
    let put = put.into_iter().map(|b| binding(&aor, b.into())).collect::<Option<_>>();
    let put = put.ok_or_else(|| CborError::of_version(version))?;
    Ok(BindingChange { aor, put, removed })
}

/// The bindings that live after all `records`, in order; damaged records are skipped (their CRC was good, so only a
/// newer version can cause that) and counted.
pub fn replay(records: &[Vec<u8>], wall_ms: u64) -> (Vec<Binding>, usize) {
    let mut live: BTreeMap<(String, String), Binding> = BTreeMap::new();
    let mut skipped = 0;
    for bytes in records {
        let Ok(change) = decode_change(bytes) else {
            skipped += 1;
            continue;
        };
        for instance in change.removed {
            live.remove(&(change.aor.clone(), instance));
        }
        for b in change.put {
            live.insert((b.aor.clone(), b.instance.clone()), b);
        }
    }
    live.retain(|_, b| b.expires_at_ms > wall_ms);
    (live.into_values().collect(), skipped)
}

fn written(b: &Binding) -> Written<'_> {
    Written {
        instance: &b.instance,
        contact: &b.contact,
        contact_params: &b.contact_params,
        q: b.q,
        call_id: &b.call_id,
        cseq: b.cseq,
        path: &b.path,
        server: b.server.as_deref(),
        transport: b.flow.transport.code(),
        local: b.flow.local,
        remote: b.flow.remote,
        listens: b.listens.map(|at| (at.transport.code(), at.port)),
        expires_at_ms: b.expires_at_ms,
        grant: &b.grant,
        granted_until_ms: b.granted_until_ms,
    }
}

/// `None`: a transport that we do not know.
fn binding(aor: &str, r: BindingRecord) -> Option<Binding> {
    let transport = Transport::of_code(r.transport)?;
    let listens = match r.listens {
        Some((code, port)) => Some(Listening { transport: Transport::of_code(code)?, port }),
        None => None,
    };
    Some(Binding {
        aor: aor.to_owned(),
        instance: r.instance,
        contact: r.contact,
        contact_params: r.contact_params,
        q: r.q,
        call_id: r.call_id,
        cseq: r.cseq,
        path: r.path,
        server: r.server,
        flow: Flow {
            transport,
            // A connection does not survive the process that held it; its number is never used again.
            connection: if transport.is_reliable() { u64::MAX } else { 0 },
            local: r.local,
            remote: r.remote,
        },
        listens,
        expires_at_ms: r.expires_at_ms,
        grant: r.grant.into(),
        granted_until_ms: r.granted_until_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(instance: &str, expires_at_ms: u64) -> Binding {
        Binding {
            aor: "alice@a.test".into(),
            instance: instance.into(),
            contact: "sip:alice@192.0.2.1:5060".into(),
            contact_params: ";q=0.5".into(),
            q: 500,
            call_id: "c".into(),
            cseq: 7,
            path: vec!["<sip:p.test;lr>".into()],
            server: Some("127.0.0.1:5060".into()),
            flow: Flow {
                transport: Transport::Udp,
                connection: 0,
                local: "127.0.0.1:5060".parse().expect("an address"),
                remote: "[::1]:5061".parse().expect("an address"),
            },
            listens: Some(Listening { transport: Transport::Tcp, port: 5062 }),
            expires_at_ms,
            grant: vec![1, 2].into(),
            granted_until_ms: 9,
        }
    }

    #[test]
    fn what_was_put_and_not_removed_or_expired_lives() {
        let put =
            |b: Binding| encode_change(&BindingChange { aor: b.aor.clone(), put: vec![b], removed: vec![] });
        let gone = encode_change(&BindingChange {
            aor: "alice@a.test".into(),
            put: vec![],
            removed: vec!["one".into()],
        });
        let records =
            [put(sample("one", 100)), put(sample("two", 100)), put(sample("old", 5)), gone, vec![0xff]];
        let (live, skipped) = replay(&records, 50);
        assert_eq!(live, vec![sample("two", 100)]);
        assert_eq!(skipped, 1);
    }
}
