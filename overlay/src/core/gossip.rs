//! What is gossiped on the log topic (LOG-10): entries, and proofs that somebody lied.

use dots_wire::{decode, encode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

const VERSION: u8 = 1;

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

pub fn proof(network: &str, first: &[u8], second: &[u8]) -> Vec<u8> {
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
