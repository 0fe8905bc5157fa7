//! One end of a dialog, and its bytes in a token (TOK-4).
//!
//! Up to four tokens ride in one INVITE, so a side is short: an instance is 8 bytes of its hash, a peer the 20 of its label.

use crate::{Flow, Transport, hop::PeerLabel};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;

/// One end of a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A registered phone: its newest binding is used, wherever it came from since. In an opened token `instance`
    /// is what [`short_instance`] makes of it.
    Phone {
        aor: String,
        instance: String,
    },
    /// A phone that called without being registered: the flow it called on.
    Flow(Flow),
    Peer(PeerLabel),
}

/// TOK-4.
pub(super) fn write(out: &mut Vec<u8>, side: &Side) {
    match side {
        Side::Phone { aor, instance } => {
            out.push(b'a');
            write_text(out, aor);
            out.extend_from_slice(&instance_hash(instance));
        }
        Side::Flow(flow) => {
            out.push(flow.transport.code());
            out.extend_from_slice(&flow.connection.to_be_bytes());
            write_text(out, &flow.local.to_string());
            write_text(out, &flow.remote.to_string());
        }
        Side::Peer(label) => match label_bytes(label) {
            Some(bytes) => {
                out.push(b'P');
                out.extend_from_slice(&bytes);
            }
            None => {
                out.push(b'p');
                write_text(out, label);
            }
        },
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..255).unwrap_or(bytes);
    out.push(u8::try_from(bytes.len()).unwrap_or(255));
    out.extend_from_slice(bytes);
}

pub(super) fn read(rest: &mut &[u8]) -> Option<Side> {
    let (kind, tail) = rest.split_first()?;
    *rest = tail;
    match kind {
        b'a' => {
            let aor = read_text(rest)?;
            let (hash, tail) = rest.split_at_checked(INSTANCE_BYTES)?;
            *rest = tail;
            Some(Side::Phone { aor, instance: data_encoding::HEXLOWER.encode(hash) })
        }
        b'P' => {
            let (label, tail) = rest.split_at_checked(LABEL_BYTES)?;
            *rest = tail;
            Some(Side::Peer(data_encoding::BASE32_NOPAD.encode(label).to_ascii_lowercase().into()))
        }
        b'p' => Some(Side::Peer(read_text(rest)?.into())),
        code => {
            let transport = Transport::of_code(*code)?;
            let (number, tail) = rest.split_at_checked(8)?;
            *rest = tail;
            let connection = u64::from_be_bytes(number.try_into().ok()?);
            let local: SocketAddr = read_text(rest)?.parse().ok()?;
            let remote: SocketAddr = read_text(rest)?.parse().ok()?;
            Some(Side::Flow(Flow { transport, connection, local, remote }))
        }
    }
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    let (length, tail) = rest.split_first()?;
    let (text, tail) = tail.split_at_checked(usize::from(*length))?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

/// Of a peer's label: 32 characters of base32.
const LABEL_BYTES: usize = 20;
/// Instances are told apart within one AOR only.
const INSTANCE_BYTES: usize = 8;

/// An instance as opened tokens name it.
pub fn short_instance(instance: &str) -> String {
    data_encoding::HEXLOWER.encode(&instance_hash(instance))
}

fn instance_hash(instance: &str) -> [u8; INSTANCE_BYTES] {
    let hash = Sha256::digest(instance.as_bytes());
    let mut out = [0; INSTANCE_BYTES];
    out.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    out
}

/// The bytes of a label that is exactly what [`read`] will write again.
fn label_bytes(label: &str) -> Option<Vec<u8>> {
    let bytes = data_encoding::BASE32_NOPAD.decode(label.to_ascii_uppercase().as_bytes()).ok()?;
    let same = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase() == label;
    (same && bytes.len() == LABEL_BYTES).then_some(bytes)
}
