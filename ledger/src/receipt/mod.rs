//! The receipt: who called whom, when and how long, signed by both serving peers (docs/spec/6-receipts.md): facts (RCPT-1), and
//! what is signed (RCPT-3) and can be checked by anybody (RCPT-4).
//!
//! Each side *claims* its own measurement, once, under a domain of its own. The receipt is a function of the two
//! claims ([`agree`]) and so both sides compute the same bytes; nothing else is ever signed under
//! [`RECEIPT_DOMAIN`]. That is why no key signs two receipts of one call.

mod claim;
mod message;
mod seal;
mod stored;
#[cfg(test)]
mod tests;

pub use claim::{CLAIM_DOMAIN, Claim, Refusal, agree, is_within};
pub use message::{Half, Message, Refused, read_bundle, write_bundle};
#[cfg(test)]
pub(crate) use seal::sealing;
pub use seal::{BATCH_MAX, Place, Seal, Sealed, Seals, Signer};
pub use stored::{ClaimNote, Close, CloseNote, EndNote, HalfNote, OpenNote, Stored, WholeNote};

use crate::limits::{DURATION_MAX, NETWORK_MAX};
use dots_wire::{Checked, Hash, PeerId, PublicKey, Timestamp, decode, encode, sha256};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::fmt;

pub const RECEIPT_DOMAIN: &str = "dots/receipt/1";
pub const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    Caller,
    Callee,
}

impl Side {
    pub fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// How a call ended; of two the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndCause {
    Bye,
    /// No BYE came: the session timer or the six hours ended it. Its duration is an upper bound.
    Expired,
    /// The other serving peer went away and did not come back while the call was up.
    PeerLost,
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndCause::Bye => "bye",
            EndCause::Expired => "expired",
            EndCause::PeerLost => "peer-lost",
        })
    }
}

/// RCPT-1: what both sides knew when the call was answered; equal on both, or there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Facts {
    pub network: String,
    /// SHA-256(nonce_caller || nonce_callee).
    pub call_id: Hash,
    pub nonce_caller: Hash,
    pub nonce_callee: Hash,
    /// Peers by their bare keys: to read a record costs no arithmetic on the curve.
    pub caller_peer: PublicKey,
    pub callee_peer: PublicKey,
    pub caller_home: PublicKey,
    pub callee_home: PublicKey,
    /// SHA-256 of the caller's call grant.
    pub grant: Hash,
    /// Who called and who answered, hashed with `salt`.
    pub caller_party: Hash,
    pub callee_party: Hash,
    pub salt: Hash,
}

impl Facts {
    pub fn check(&self) -> Result<(), ReceiptError> {
        let id = sha256(&[self.nonce_caller.0, self.nonce_callee.0].concat());
        if id != self.call_id {
            return Err(ReceiptError::CallId);
        }
        if self.caller_peer == self.callee_peer {
            return Err(ReceiptError::OnePeer);
        }
        if self.network.len() > NETWORK_MAX {
            return Err(ReceiptError::Network);
        }
        Ok(())
    }

    pub fn peer(&self, side: Side) -> PeerId {
        PeerId(match side {
            Side::Caller => self.caller_peer,
            Side::Callee => self.callee_peer,
        })
    }

    /// Which of the two serving peers this one is.
    pub fn side(&self, peer: PeerId) -> Option<Side> {
        [Side::Caller, Side::Callee].into_iter().find(|s| self.peer(*s) == peer)
    }
}

/// RCPT-3: what both sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Receipt {
    pub version: u8,
    pub facts: Facts,
    /// The earlier of both sides' clocks at the answer.
    pub start: Timestamp,
    /// The lower of both measurements.
    pub duration_ms: u64,
    pub cause: EndCause,
    /// The side that has lost its measurement by a restart: the duration is the other's, bounded by wall time.
    pub after_restart: Option<Side>,
    /// Media figures; null in this version, for no peer sees media.
    pub media: (),
}

impl Receipt {
    /// Reads and checks everything that needs no signature.
    pub fn read(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        let receipt: Receipt = decode(bytes).map_err(|_| ReceiptError::NotARecord)?;
        if receipt.version != VERSION {
            return Err(ReceiptError::Version);
        }
        if encode(&receipt) != bytes {
            return Err(ReceiptError::NotARecord);
        }
        receipt.facts.check()?;
        if u128::from(receipt.duration_ms) > DURATION_MAX.as_millis() {
            return Err(ReceiptError::Duration);
        }
        Ok(receipt)
    }
}

/// The bytes of a [`Receipt`] and one seal under [`RECEIPT_DOMAIN`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct HalfSigned {
    #[serde(with = "serde_bytes")]
    pub receipt: Vec<u8>,
    pub side: Side,
    pub seal: Seal,
}

impl HalfSigned {
    pub fn sign(signer: &mut Signer, side: Side, receipt: &Receipt) -> HalfSigned {
        let receipt = encode(receipt);
        let seal = signer.seal(RECEIPT_DOMAIN, &receipt);
        HalfSigned { receipt, side, seal }
    }

    pub fn verify(&self, checked: &mut Checked) -> Result<Receipt, ReceiptError> {
        let receipt = Receipt::read(&self.receipt)?;
        verify(checked, &receipt, &self.receipt, self.side, &self.seal)?;
        Ok(receipt)
    }

    /// With the other side's seal, which must hold; ours does.
    pub fn complete(
        &self,
        checked: &mut Checked,
        receipt: &Receipt,
        other: &Seal,
    ) -> Result<Whole, ReceiptError> {
        verify(checked, receipt, &self.receipt, self.side.other(), other)?;
        Ok(self.with(other.clone()))
    }

    /// With the other side's seal, unchecked.
    pub(crate) fn with(&self, other: Seal) -> Whole {
        let own = self.seal.clone();
        let (caller, callee) = match self.side {
            Side::Caller => (own, other),
            Side::Callee => (other, own),
        };
        Whole { receipt: self.receipt.clone(), caller, callee }
    }
}

/// The bytes of a [`Receipt`] and both seals. It stands for itself: whoever holds it can check it (RCPT-4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Whole {
    #[serde(with = "serde_bytes")]
    pub receipt: Vec<u8>,
    pub caller: Seal,
    pub callee: Seal,
}

impl Whole {
    pub fn seal_mut(&mut self, side: Side) -> &mut Seal {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }

    pub fn seal(&self, side: Side) -> &Seal {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    /// Both seals, and every rule that can be checked without having been there.
    pub fn verify(&self, checked: &mut Checked) -> Result<Receipt, ReceiptError> {
        let receipt = Receipt::read(&self.receipt)?;
        verify(checked, &receipt, &self.receipt, Side::Caller, &self.caller)?;
        verify(checked, &receipt, &self.receipt, Side::Callee, &self.callee)?;
        Ok(receipt)
    }
}

fn verify(
    checked: &mut Checked,
    receipt: &Receipt,
    bytes: &[u8],
    side: Side,
    seal: &Seal,
) -> Result<(), ReceiptError> {
    let key = receipt.facts.peer(side).0;
    seal.verify(checked, &key, RECEIPT_DOMAIN, bytes).map_err(|_| ReceiptError::Signature(side))
}

/// Why a receipt does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("these bytes are no receipt")]
    NotARecord,
    #[error("the receipt is of another version")]
    Version,
    #[error("the receipt is of another network")]
    Network,
    #[error("the call id is not the hash of the two nonces")]
    CallId,
    #[error("both sides are one peer")]
    OnePeer,
    #[error("the duration is more than a call can last, or more than this peer measured")]
    Duration,
    #[error("the signature of the {0:?}'s peer does not hold")]
    Signature(Side),
    #[error("the receipt is not what the two claims say")]
    NotAgreed,
    #[error("this peer is no side of the call, or knew it otherwise")]
    NotOurs,
}
