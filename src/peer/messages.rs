//! What peers say to each other beyond the log: `/dots/auth/2`, `/dots/lookup/2` and the envelope of `/dots/sip/3`.
//! CBOR arrays behind a version (`docs/spec/4-peer-messages.md`).

use dots_trust::answer::Answer;
use dots_wire::{Hash, PeerId, Signed, encode};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::sync::Arc;

pub const VERSION: u8 = 2;
/// Of an envelope.
pub const ENVELOPE: u8 = 3;

/// LEG-1: one SIP message between two serving peers. `grant` and `realm` come with every request outside a dialog;
/// `nonce` with an INVITE and with its 2xx: both together name the receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Envelope {
    pub version: u8,
    #[serde(with = "serde_bytes")]
    pub sip: Vec<u8>,
    pub grant: Option<serde_bytes::ByteBuf>,
    pub realm: Option<Signed>,
    pub nonce: Option<Hash>,
    /// The second part of the grant, oldest first: reserved, and refused where there is one (`dots_trust::records::OnBehalf`).
    pub on_behalf: Vec<Signed>,
}

/// What goes with a message in its envelope; written beside the message's own bytes, so that they are copied once.
#[derive(Clone, Debug, Default)]
pub struct With<'a> {
    pub grant: Option<Arc<[u8]>>,
    pub realm: Option<&'a Signed>,
    pub nonce: Option<Hash>,
}

impl With<'_> {
    /// The bytes of an [`Envelope`] with this message.
    pub fn envelope(&self, sip: &[u8]) -> Vec<u8> {
        let grant = self.grant.as_deref().map(Bytes::new);
        let nobody: &[Signed] = &[];
        encode(&(ENVELOPE, Bytes::new(sip), grant, self.realm, self.nonce, nobody))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthRequest {
    /// A serving peer wants to challenge phones of this realm.
    Lease { version: u8, realm: String },
    /// A phone's answer, returned to the home whose lease it names.
    Verify { version: u8, answer: Box<Answer> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthReply {
    /// `dots_trust::lease`, for the peer that asked.
    Lease {
        lease: serde_bytes::ByteBuf,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookupRequest {
    /// "Of these realms I am home, what I know of others has this digest, and my clock says this"; answered with the other's
    /// own, and, where the digests differ, with some of those that it knows.
    Realms { version: u8, records: Vec<Signed>, digest: Hash, time_ms: u64 },
    /// The records of these realms, by name.
    Named { version: u8, names: Vec<String> },
    /// A newer record of one realm; answered with nothing new.
    News { version: u8, record: Signed },
    /// Asked of a home: where is this account? `grant`: of a call to it that the asker serves, with its caller's realm record;
    /// who shows one is also told whether the account exists.
    Aor { version: u8, aor: String, grant: Option<serde_bytes::ByteBuf>, realm: Option<Signed> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookupReply {
    Realms {
        records: Vec<Signed>,
        time_ms: u64,
    },
    Aor {
        /// Told to who shows a caller's grant.
        exists: Option<bool>,
        bindings: Vec<FoundBinding>,
        /// The home has just started: that it knows of no binding does not mean that there is none.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unsure: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    #[test]
    fn an_envelope_is_written_as_it_is_read() {
        let sip = b"BYE sip:a SIP/2.0\r\n\r\n".to_vec();
        let bare = Envelope {
            version: ENVELOPE,
            sip: sip.clone(),
            grant: None,
            realm: None,
            nonce: None,
            on_behalf: Vec::new(),
        };
        assert_eq!(With::default().envelope(&sip), encode(&bare));
        let nonce = Some(Hash([7; 32]));
        let with = With { grant: Some([1, 2, 3].into()), realm: None, nonce };
        let full = Envelope { grant: Some(ByteBuf::from([1, 2, 3])), nonce, ..bare };
        assert_eq!(with.envelope(&sip), encode(&full));
        assert_eq!(dots_wire::decode::<Envelope>(&with.envelope(&sip)).ok(), Some(full));
    }
}
