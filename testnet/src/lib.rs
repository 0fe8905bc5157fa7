//! Real networks on one machine: real `dots` processes, real phones, real sound. What a test here sees is what a user
//! would; nothing of the peer is mocked, and a peer that dies is killed with SIGKILL.
//!
//! - [`process`]: one `dots`, its data directory, its life; [`command`]: `dots` as a user types it.
//! - [`network`]: several of them, joined, until Ctrl-C.
//! - [`phones`]: baresip (sound) and SIPp (load); [`crowd`]: users by the hundred; [`marks`]: registrations that are
//!   remembered.
//! - [`bench`]: what a REGISTER and a call cost, beside Kamailio.
//! - [`sim`]: the other way round: whole peers in virtual time, with a network and disks that fail on purpose.
//! - [`tone`]: WAV files and how much of their power lies at one frequency, so that "they heard each other" is a number.

pub mod bench;
pub mod command;
pub mod crowd;
pub mod marks;
pub mod network;
pub mod phones;
pub mod process;
pub mod sim;
pub mod tone;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// Everything that goes wrong with a foreign program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |e| Error::Io(what, e)
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// Asks `look` until it answers. Only for what foreign programs cannot announce: a file, an open port, an exit.
pub fn poll<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(Error::Other(format!("{what}: not within {limit:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The randomness of one run. Its seed is printed, and `DOTS_SEED=<seed>` repeats it.
pub fn random() -> ChaCha8Rng {
    let seed = std::env::var("DOTS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("DOTS_SEED={seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// A UDP port on 127.0.0.1 that was free a moment ago, even (RTP and TLS neighbours expect that).
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").map_err(Error::io("bind"))?;
        let port = socket.local_addr().map_err(Error::io("local address"))?.port();
        if port % 2 == 0 && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Other("no free port".into()))
}
