//! The bytes of everything that peers say to each other and that a peer writes down, and what it refuses.
//! A change here is a new version of the record, or a CHANGELOG line before the first release.

#[path = "../../../overlay/wire/tests/hostile/mod.rs"]
pub(crate) mod hostile;
mod records;
mod refusals;

use super::{
    account::{Account, Digests, Spelt},
    journal::{decode_change, encode_change},
    messages::{
        AuthReply, AuthRequest, ENVELOPE, Envelope, FoundBinding, LookupReply, LookupRequest, VERSION,
    },
    notes::{self, Note},
};
use dots_overlay::{
    names::{Belief, Change, Realms},
    records::{
        Callers, RealmRecord, Serving,
        realm::{REALM_VERSION, VALID_MAX},
    },
};
use dots_sip::{
    Flow, Transport,
    registrar::{Binding, BindingChange},
};
use dots_trust::answer::Answer;
use dots_wire::{Hash, SecretKey, Signed, Timestamp, decode, encode};
use hostile::attack;
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Of the realm `a.test`, whose home is peer 1.
fn realm_record(realm_key: &SecretKey) -> Signed {
    let record = RealmRecord {
        version: REALM_VERSION,
        name: "a.test".into(),
        key: realm_key.public(),
        seq: 3,
        homes: vec![key(1).peer_id()],
        serving: Serving::Any,
        callers: Callers::Any,
        aor_salt: Hash([9; 32]),
        valid_until: NOW.plus(VALID_MAX),
    };
    record.sign(realm_key)
}

fn envelope() -> Envelope {
    let sip = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/DOTS p.test;branch=z9hG4bK1\r\nFrom: <sip:a@a.test>;tag=1\r\n\
        To: <sip:b@a.test>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    Envelope {
        version: ENVELOPE,
        sip: sip.to_vec(),
        grant: None,
        realm: None,
        nonce: None,
        on_behalf: Vec::new(),
    }
}

fn answer(instance: Option<&str>, target: Option<&str>) -> Box<Answer> {
    Box::new(Answer {
        method: if instance.is_some() { "REGISTER" } else { "INVITE" }.into(),
        username: "alice".into(),
        realm: "a.test".into(),
        nonce: "n".into(),
        uri: "sip:a.test".into(),
        response: "00".into(),
        algorithm: "SHA-256".into(),
        qop: "auth".into(),
        nc: 1,
        cnonce: "c".into(),
        aor: "alice@a.test".into(),
        instance: instance.map(str::to_owned),
        target: target.map(str::to_owned),
        source: Hash([4; 32]),
    })
}

fn account() -> Account {
    let digests = |n: u8| Digests { sha256: format!("{n}1"), md5: format!("{n}2") };
    Account {
        aor: "alice@a.test".into(),
        short: digests(1),
        full: digests(2),
        escaped: digests(3),
        roaming: true,
        changed_at_ms: 7,
        spelt: Vec::new(),
    }
}

fn spelt_account() -> Account {
    let digests = Digests { sha256: "41".into(), md5: "42".into() };
    let spelt = vec![Spelt { username: "9903%231".into(), digests }];
    Account { aor: "9903#1@a.test".into(), spelt, ..account() }
}

fn binding() -> Binding {
    Binding {
        aor: "alice@a.test".into(),
        instance: "urn:uuid:1".into(),
        contact: "sip:alice@192.0.2.1:5060".into(),
        contact_params: ";q=0.5".into(),
        q: 500,
        call_id: "c".into(),
        cseq: 7,
        path: vec!["<sip:p.test;lr>".into()],
        server: Some("192.0.2.9:5060".into()),
        flow: Flow {
            transport: Transport::Udp,
            connection: 0,
            local: "127.0.0.1:5060".parse().expect("an address"),
            remote: "[2001:db8::1]:5061".parse().expect("an address"),
        },
        listens: None,
        expires_at_ms: 1_700_000_003_600,
        grant: vec![1, 2].into(),
        granted_until_ms: 1_700_000_003_000,
    }
}

fn change() -> BindingChange {
    BindingChange { aor: "alice@a.test".into(), put: vec![binding()], removed: vec!["urn:uuid:2".into()] }
}
