//! Requests from addresses that belong to nobody. All of 127.0.0.0/8 is this machine, so a socket may have any address of it,
//! and each batch leaves from a new one. Answers go to sockets that nobody reads. They stay open for a while: a closed one
//! would make the kernel tell the server "port unreachable", which a forged address does not.

use super::{batch::Batch, phone};
use crate::{Error, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

const OPEN_MAX: usize = 512;

pub struct Forgers {
    server: SocketAddr,
    realm: String,
    users: usize,
    open: VecDeque<UdpSocket>,
    count: u64,
}

impl Forgers {
    pub fn new(server: SocketAddr, realm: &str, users: usize) -> Forgers {
        Forgers { server, realm: realm.to_owned(), users, open: VecDeque::new(), count: 0 }
    }

    /// `many` requests, one batch from one address. Every other one pretends to answer a challenge.
    pub fn send(&mut self, batch: &mut Batch, many: usize, rng: &mut ChaCha8Rng) -> Result<usize> {
        // 127.64.0.0 and up: not where the honest ones are.
        let address = Ipv4Addr::new(127, rng.random_range(64..=254), rng.random(), rng.random_range(1..=254));
        let socket = UdpSocket::bind((address, 0)).map_err(Error::io(format!("bind to {address}")))?;
        socket.connect(self.server).map_err(Error::io("connect"))?;
        let at = socket.local_addr().map_err(Error::io("local address"))?;
        for _ in 0..many.min(Batch::MAX) {
            self.count += 1;
            let user = rng.random_range(0..self.users.max(1));
            let guess = self.count.is_multiple_of(2).then_some("0123456789abcdef0123456789abcdef");
            phone::write_stranger(batch.add(), &self.realm, at, user, self.count, guess);
        }
        let sent = batch.send(&socket);
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(socket);
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_sip::message::Message;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    #[test]
    fn every_batch_has_an_address_of_its_own() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut forgers = Forgers::new(server.local_addr().unwrap(), "a.test", 10);
        let (mut batch, mut rng) = (Batch::default(), ChaCha8Rng::seed_from_u64(1));
        let mut from = BTreeSet::new();
        for _ in 0..20 {
            assert_eq!(forgers.send(&mut batch, 3, &mut rng).unwrap(), 3);
            for _ in 0..3 {
                let mut buffer = [0; 2_048];
                let (length, address) = server.recv_from(&mut buffer).unwrap();
                let message = Message::parse(buffer[..length].to_vec()).unwrap();
                assert_eq!(message.method(), "REGISTER");
                from.insert(address);
            }
        }
        assert_eq!(from.len(), 20);
    }
}
