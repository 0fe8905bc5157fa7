//! NET-1: one key, two types: a peer's secp256k1 key as ours and as libp2p's.

use dots_wire::{PeerId, SecretKey};
use libp2p::identity::{Keypair, secp256k1};

pub fn keypair(key: &SecretKey) -> Keypair {
    let mut bytes = key.to_bytes();
    let secret = secp256k1::SecretKey::try_from_bytes(&mut bytes[..])
        .expect("a valid scalar is one in both libraries");
    secp256k1::Keypair::from(secret).into()
}

pub fn to_libp2p(peer: PeerId) -> libp2p::PeerId {
    libp2p::PeerId::from_bytes(&peer.to_bytes()).expect("an identity multihash of 37 bytes is a peer id")
}

/// `None`: the key is of another kind than ours.
pub fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_bytes(&peer.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NET-1.
    #[test]
    fn both_libraries_name_a_key_alike() {
        let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
        let libp2p = keypair(&key).public().to_peer_id();
        assert_eq!(libp2p.to_string(), key.peer_id().to_string());
        assert_eq!(to_libp2p(key.peer_id()), libp2p);
        assert_eq!(from_libp2p(&libp2p), Some(key.peer_id()));
        assert_eq!(from_libp2p(&libp2p::PeerId::random()), None);
    }
}
