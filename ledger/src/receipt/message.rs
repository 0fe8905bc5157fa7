//! What the two sides say to each other over `/dots/receipt/2`: requests and answers alike (RCPT-7).

use super::{Claim, Receipt, Refusal, VERSION, Whole};
use crate::limits::MESSAGE_MAX;
use dots_wire::{Hash, Signature, Signed, decode, encode};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Everything that a side knows and the other may lack; so any message may come late, twice or never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// "This is my measurement; what is yours?"
    Claim(Signed),
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
    pub claim: Signed,
    /// Under [`super::RECEIPT_DOMAIN`], over the receipt that follows from both claims.
    pub signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Refused {
    pub call_id: Hash,
    pub reason: Refusal,
}

#[derive(Serialize_tuple)]
struct Out<'a> {
    version: u8,
    message: &'a Message,
}

#[derive(Deserialize_tuple)]
struct In {
    version: u8,
    message: Message,
}

impl Message {
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&Out { version: VERSION, message: self })
    }

    pub fn read(bytes: &[u8]) -> Option<Message> {
        if bytes.len() > MESSAGE_MAX {
            return None;
        }
        let read: In = decode(bytes).ok()?;
        (read.version == VERSION).then_some(read.message)
    }

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
