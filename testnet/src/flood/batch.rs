//! Datagrams that leave together: one system call for up to [`Batch::MAX`] of them. Their buffers are used again.

use rustix::{
    io::Errno,
    net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg},
};
use std::{io::IoSlice, net::UdpSocket};

#[derive(Default)]
pub struct Batch {
    texts: Vec<Vec<u8>>,
    used: usize,
}

impl Batch {
    pub const MAX: usize = 32;

    /// An empty buffer for one more.
    pub fn add(&mut self) -> &mut Vec<u8> {
        if self.used == self.texts.len() {
            self.texts.push(Vec::with_capacity(1_024));
        }
        self.used += 1;
        let text = &mut self.texts[self.used - 1];
        text.clear();
        text
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
    pub fn len(&self) -> usize {
        self.used
    }
    pub fn is_full(&self) -> bool {
        self.used >= Self::MAX
    }

    /// Sends all through a connected socket. How many the kernel took: what it had no room for is lost, as on a wire.
    pub fn send(&mut self, socket: &UdpSocket) -> usize {
        let texts = &self.texts[..std::mem::take(&mut self.used)];
        let slices: Vec<[IoSlice<'_>; 1]> = texts.iter().map(|text| [IoSlice::new(text)]).collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            texts.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut headers: Vec<MMsgHdr<'_>> =
            slices.iter().zip(&mut controls).map(|(slice, control)| MMsgHdr::new(slice, control)).collect();
        let mut sent = 0;
        while let Some(rest) = headers.get_mut(sent..).filter(|rest| !rest.is_empty()) {
            match sendmmsg(socket, rest, SendFlags::DONTWAIT) {
                Ok(0) => break,
                Ok(count) => sent += count,
                // The first is what an earlier datagram met; telling it clears it.
                Err(Errno::CONNREFUSED | Errno::INTR) => {}
                Err(_) => break,
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_datagram_of_its_own() {
        let (server, phone) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        phone.connect(server.local_addr().unwrap()).unwrap();
        let mut batch = Batch::default();
        for round in 0..2 {
            for n in 0..Batch::MAX {
                assert!(!batch.is_full());
                batch.add().extend_from_slice(format!("{round}/{n}").as_bytes());
            }
            assert!(batch.is_full());
            assert_eq!(batch.send(&phone), Batch::MAX);
            assert!(batch.is_empty());
            for n in 0..Batch::MAX {
                let mut buffer = [0; 64];
                let length = server.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], format!("{round}/{n}").as_bytes());
            }
        }
        assert_eq!(batch.send(&phone), 0);
    }

    #[test]
    fn a_dead_server_stops_nobody() {
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.connect(server.local_addr().unwrap()).unwrap();
        drop(server);
        let mut batch = Batch::default();
        for _ in 0..3 {
            batch.add().extend_from_slice(b"anybody there?");
            batch.add().extend_from_slice(b"anybody?");
            assert!(batch.send(&phone) > 0);
        }
    }
}
