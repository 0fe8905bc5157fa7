//! What the two sides say to each other over `/dots/receipt/2`: requests and answers alike (RCPT-7).

use super::{Claim, Receipt, Refusal, Seal, Sealed, Whole};
use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_MAX};
use dots_wire::{Hash, decode, encode};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Everything that a side knows and the other may lack; so any message may come late, twice or never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// "This is my measurement; what is yours?"
    Claim(Sealed),
    /// "I know both claims, and have signed what follows from them."
    Half(Half),
    /// "I hold both signatures; here they are."
    Whole(Whole),
    /// Only as an answer: "I will not sign."
    Refused(Refused),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Half {
    /// The sender's own claim.
    pub claim: Sealed,
    /// Under [`super::RECEIPT_DOMAIN`], over the receipt that follows from both claims.
    pub seal: Seal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Refused {
    pub call_id: Hash,
    pub reason: Refusal,
}

/// RCPT-7: of what travels between peers; stored records have their own.
pub const BUNDLE_VERSION: u8 = 2;

#[derive(Serialize_tuple)]
struct Out<'a> {
    version: u8,
    messages: &'a [Option<Message>],
}

#[derive(Deserialize_tuple)]
struct In {
    version: u8,
    messages: Vec<Option<Message>>,
}

/// Messages about so many calls, each about another one; in an answer also none where there is nothing to say.
pub fn write_bundle(messages: &[Option<Message>]) -> Vec<u8> {
    debug_assert!(messages.len() <= BUNDLE_MAX, "bundles are cut before they are written");
    encode(&Out { version: BUNDLE_VERSION, messages })
}

pub fn read_bundle(bytes: &[u8]) -> Option<Vec<Option<Message>>> {
    if bytes.len() > BUNDLE_BYTES_MAX {
        return None;
    }
    let read: In = decode(bytes).ok()?;
    (read.version == BUNDLE_VERSION && read.messages.len() <= BUNDLE_MAX).then_some(read.messages)
}

impl Message {
    /// The call that it is about, unchecked.
    pub fn call_id(&self) -> Option<Hash> {
        match self {
            Message::Claim(claim) | Message::Half(Half { claim, .. }) => {
                claim.peek::<Claim>().ok().map(|c| c.facts.call_id)
            }
            Message::Whole(whole) => Receipt::read(&whole.receipt).ok().map(|r| r.facts.call_id),
            Message::Refused(refused) => Some(refused.call_id),
        }
    }
}
