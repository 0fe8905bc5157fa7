//! What is gossiped on the log topic (LOG-10): entries, and proofs that somebody lied.

use dots_wire::{decode, encode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

const VERSION: u8 = 2;

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Envelope {
    version: u8,
    network: String,
    said: Said,
}

#[derive(Serialize, Deserialize)]
pub enum Said {
    Entry(ByteBuf),
    /// Two entries of one author that contradict each other.
    Proof(ByteBuf, ByteBuf),
}

pub fn entry(network: &str, bytes: &[u8]) -> Vec<u8> {
    say(network, Said::Entry(ByteBuf::from(bytes)))
}

/// The same bytes from whoever says it, so that gossip carries it once.
pub fn proof(network: &str, first: &[u8], second: &[u8]) -> Vec<u8> {
    let (first, second) = if first <= second { (first, second) } else { (second, first) };
    say(network, Said::Proof(ByteBuf::from(first), ByteBuf::from(second)))
}

fn say(network: &str, said: Said) -> Vec<u8> {
    encode(&Envelope { version: VERSION, network: network.to_owned(), said })
}

/// `None`: of another network or version, or not gossip.
pub fn read(network: &str, bytes: &[u8]) -> Option<Said> {
    let envelope: Envelope = decode(bytes).ok()?;
    (envelope.version == VERSION && envelope.network == network).then_some(envelope.said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::attack;

    /// A change here is a new version of the record, or a CHANGELOG line before the first release.
    #[test]
    fn golden_bytes() {
        assert_eq!(hex::encode(entry("main", &[1, 2])), GOLDEN_ENTRY);
        assert_eq!(hex::encode(proof("main", &[1, 2], &[3])), GOLDEN_PROOF);
    }

    #[test]
    fn what_is_said_is_read_by_this_network_and_version_alone() {
        let said = entry("main", &[1, 2]);
        assert!(matches!(read("main", &said), Some(Said::Entry(e)) if e == [1, 2]));
        let both = proof("main", &[1, 2], &[3]);
        assert!(matches!(read("main", &both), Some(Said::Proof(a, b)) if a == [1, 2] && b == [3]));
        assert!(read("other", &said).is_none());
        let mut newer = said.clone();
        newer[1] = VERSION + 1;
        assert!(read("main", &newer).is_none());
        attack("entry", &said, |b| read("main", b).is_some());
        attack("proof", &both, |b| read("main", b).is_some());
    }

    const GOLDEN_ENTRY: &str = "8302646d61696ea165456e747279420102";
    const GOLDEN_PROOF: &str = "8302646d61696ea16550726f6f66824201024103";
}
