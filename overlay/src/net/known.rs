//! The peers that we knew, on disk: one address a line, each with its peer id, the most wanted first. A peer that comes back
//! after its bootstrap peers have gone finds the network by them.
//!
//! Only peers that we were connected to are written; what others tell of is not. What is read is no more than what a
//! bootstrap address would be: somewhere to dial.

use super::{
    identity,
    limits::{ADDRESSES_REMEMBERED, FILE_MAX, REMEMBERED_MAX},
    listen::parse,
};
use dots_wire::PeerId;
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub type KnownPeers = Vec<(PeerId, Vec<Multiaddr>)>;

pub fn load(path: &Path) -> KnownPeers {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
    if let Err(error) = read
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "the list of known peers cannot be read: starting without it");
    }
    let mut known = KnownPeers::new();
    for line in text.lines() {
        let Ok(address) = parse(line) else { continue };
        let Some((bare, peer)) = split(&address) else { continue };
        let room = known.len() < REMEMBERED_MAX;
        match known.iter_mut().find(|(p, _)| *p == peer) {
            Some((_, addresses)) if addresses.len() < ADDRESSES_REMEMBERED => addresses.push(bare),
            Some(_) => {}
            None if room => known.push((peer, vec![bare])),
            None => break,
        }
    }
    known
}

fn split(address: &Multiaddr) -> Option<(Multiaddr, PeerId)> {
    let peer = address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => identity::from_libp2p(&peer),
        _ => None,
    })?;
    Some((address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect(), peer))
}

/// Whole or not at all.
pub fn save(path: &Path, known: &KnownPeers) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    for (peer, addresses) in known {
        for address in addresses {
            writeln!(file, "{address}/p2p/{peer}")?;
        }
    }
    file.sync_data()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;

    #[test]
    fn what_is_written_is_read_and_rubbish_is_passed_over() {
        let path = std::env::temp_dir().join(format!("dots-known-{}", std::process::id()));
        let peer = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id();
        let at = |text: &str| text.parse::<Multiaddr>().expect("a multiaddr");
        let known = vec![
            (peer(1), vec![at("/ip4/192.0.2.1/udp/4001/quic-v1"), at("/ip4/192.0.2.1/tcp/4001")]),
            (peer(2), vec![at("/dns/b.test/tcp/4001")]),
        ];
        assert_eq!(load(&path), KnownPeers::new(), "there is none at the first start");
        save(&path, &known).expect("written");
        assert_eq!(load(&path), known);
        let text = fs::read_to_string(&path).expect("a text");
        fs::write(&path, format!("rubbish\n/ip4/1.2.3.4/tcp/1\n\n{text}\n/p2p/x\n")).expect("written");
        assert_eq!(load(&path), known, "each line for itself");
        fs::remove_file(&path).expect("removed");
    }
}
