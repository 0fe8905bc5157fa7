//! The UDP socket of a phone of ours. It can be told to mangle what it sends: a third of the datagrams then leave broken in
//! a seeded way, while the others keep the exchange going, so that rubbish meets a peer in every state, not at its door
//! alone.

use crate::{Error, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Mutex,
    time::Duration,
};

pub struct Wire {
    socket: UdpSocket,
    mangler: Option<Mutex<ChaCha8Rng>>,
}

impl Wire {
    /// At the address of ours that `server` would see.
    pub fn bind(server: SocketAddr) -> Result<Wire> {
        let socket = UdpSocket::bind((local_toward(server)?, 0)).map_err(Error::io("bind"))?;
        Ok(Wire { socket, mangler: None })
    }

    /// From now on.
    pub fn mangle(&mut self, rng: ChaCha8Rng) {
        self.mangler = Some(Mutex::new(rng));
    }

    pub fn address(&self) -> Result<SocketAddr> {
        self.socket.local_addr().map_err(Error::io("local address"))
    }
    pub fn patience(&self, limit: Duration) -> Result<()> {
        self.socket.set_read_timeout(Some(limit)).map_err(Error::io("timeout"))
    }
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer)
    }

    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> Result<()> {
        let mut sent = bytes.to_vec();
        if let Some(mut rng) = self.mangler.as_ref().and_then(|rng| rng.lock().ok())
            && rng.random_ratio(1, 3)
        {
            sent = mangled(bytes, &mut rng);
        }
        // ECONNREFUSED of an earlier datagram may be told here; a datagram may be lost anyway.
        let _ = self.socket.send_to(&sent, to);
        Ok(())
    }
}

/// Connecting a UDP socket sends nothing; it asks the kernel for the route.
fn local_toward(server: SocketAddr) -> Result<IpAddr> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let route = UdpSocket::bind((any, 0)).and_then(|s| s.connect(server).and_then(|()| s.local_addr()));
    route.map(|at| at.ip()).map_err(Error::io(format!("the way to {server}")))
}

/// What a hostile or broken phone might put anywhere.
const PIECES: [&[u8]; 20] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b";",
    b",",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"%00",
    b"%",
    b"@",
    b":",
    b" ",
    b"[::",
    b"-1",
    b"99999999999999999999",
    b"\xff\xfe",
    b"\r\n\r\n",
];
const DATAGRAM_MAX: usize = 60_000;

/// One to three changes.
pub fn mangled(bytes: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        change(&mut out, rng);
    }
    out.truncate(DATAGRAM_MAX);
    out
}

fn change(out: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let (a, b) = (rng.random_range(0..=out.len()), rng.random_range(0..=out.len()));
    let (start, end) = (a.min(b), a.max(b));
    match rng.random_range(0..9) {
        0 => out.iter_mut().skip(start).take(1).for_each(|byte| *byte = rng.random()),
        1 => out.truncate(start),
        2 => drop(out.drain(start..end.min(start + 40))),
        3 => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            out.splice(start..start, piece.iter().copied());
        }
        4 => {
            let long = vec![rng.random_range(b' '..b'z'); rng.random_range(1..3_000)];
            out.splice(start..start, long);
        }
        5 => {
            let again = out[start..end].to_vec();
            out.splice(end..end, again);
        }
        // The rest works on lines, which is where meaning is.
        kind => {
            let mut lines: Vec<Vec<u8>> = out.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let (i, j) = (rng.random_range(0..=lines.len()), rng.random_range(0..=lines.len()));
            match kind {
                6 if i < lines.len() => drop(lines.remove(i)),
                7 if i < lines.len() && j < lines.len() => lines.swap(i, j),
                _ if i < lines.len() => lines.insert(j, lines[i].clone()),
                _ => {}
            }
            *out = lines.concat();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_same_seed_breaks_it_the_same_way() {
        let message = b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\nbody".as_slice();
        let all = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..2_000).map(|_| mangled(message, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert!(all(2).iter().filter(|m| *m != message).count() > 1_800);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        (0..2_000).for_each(|_| drop(mangled(b"", &mut rng)));
    }
}
