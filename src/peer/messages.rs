//! What peers say to each other beyond the log: `/dots/auth/2`, `/dots/lookup/2` and the envelope of `/dots/sip/2`.
//! CBOR arrays behind a version (`docs/spec/4-peer-messages.md`).

use dots_sip::auth::{Answer, Purpose};
use dots_wire::{Hash, PeerId, Signed};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

pub const VERSION: u8 = 1;

/// One SIP message between two serving peers. `grant` and `realm` come with every request outside a dialog;
/// `nonce` with an INVITE and with its 2xx: both together name the receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Envelope {
    pub version: u8,
    #[serde(with = "serde_bytes")]
    pub sip: Vec<u8>,
    pub grant: Option<serde_bytes::ByteBuf>,
    pub realm: Option<Signed>,
    pub nonce: Option<Hash>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthRequest {
    /// A serving peer wants nonces to hand to phones of this realm.
    Nonces { version: u8, realm: String, count: u8 },
    /// A phone's answer, returned to the home that minted its nonce.
    Verify { version: u8, answer: Box<AnswerRecord> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthReply {
    Nonces {
        nonces: Vec<String>,
    },
    /// For whom and until when the grant itself says.
    Granted {
        grant: serde_bytes::ByteBuf,
    },
    Wrong,
    Stale,
    Forbidden,
    /// Too many wrong answers of late, or no such realm here: ask again later.
    Unavailable,
}

/// [`Answer`] as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct AnswerRecord {
    pub method: String,
    pub username: String,
    pub realm: String,
    pub nonce: String,
    pub uri: String,
    pub response: String,
    pub algorithm: String,
    pub qop: String,
    pub nc: u32,
    pub cnonce: String,
    pub aor: String,
    /// The claimed instance (REGISTER), or nothing.
    pub instance: Option<String>,
    /// The canonical target of any other request, or nothing.
    pub target: Option<String>,
    /// Where the phone is, under a key of the serving peer: tells sources apart and names none.
    pub source: Hash,
}

impl AnswerRecord {
    pub fn new(a: &Answer, source: Hash) -> AnswerRecord {
        let (instance, target) = match &a.purpose {
            Purpose::Register { instance } => (Some(instance.clone()), None),
            Purpose::Request { target } => (None, Some(target.clone())),
        };
        AnswerRecord {
            method: a.method.clone(),
            username: a.username.clone(),
            realm: a.realm.clone(),
            nonce: a.nonce.clone(),
            uri: a.uri.clone(),
            response: a.response.clone(),
            algorithm: a.algorithm.clone(),
            qop: a.qop.clone(),
            nc: a.nc,
            cnonce: a.cnonce.clone(),
            aor: a.aor.clone(),
            instance,
            target,
            source,
        }
    }

    /// `None` where it names both purposes or none.
    pub fn into_answer(self) -> Option<Answer> {
        let purpose = match (self.instance, self.target) {
            (Some(instance), None) => Purpose::Register { instance },
            (None, Some(target)) => Purpose::Request { target },
            _ => return None,
        };
        Some(Answer {
            method: self.method,
            username: self.username,
            realm: self.realm,
            nonce: self.nonce,
            uri: self.uri,
            response: self.response,
            algorithm: self.algorithm,
            qop: self.qop,
            nc: self.nc,
            cnonce: self.cnonce,
            aor: self.aor,
            purpose,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookupRequest {
    /// "These realms I am home of, or have heard of, and my clock says this"; answered with the other's.
    Realms { version: u8, records: Vec<Signed>, time_ms: u64 },
    /// A newer record of one realm; answered with nothing new.
    News { version: u8, record: Signed },
    /// Asked of a home: does this account exist, and where is it?
    Aor { version: u8, aor: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookupReply {
    Realms {
        records: Vec<Signed>,
        time_ms: u64,
    },
    Aor {
        exists: bool,
        bindings: Vec<FoundBinding>,
    },
    /// Not a home of that realm.
    NotHome,
}

/// A serving peer that the home believes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct FoundBinding {
    pub serving: PeerId,
    pub until_ms: u64,
    /// The home holds it for stale: try it last.
    pub stale: bool,
}
