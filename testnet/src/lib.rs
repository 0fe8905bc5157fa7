//! Real networks on one machine: real `dots` processes, real phones, real sound. What a test here sees is what a user
//! would; nothing of the peer is mocked, and a peer that dies is killed with SIGKILL.
//!
//! - [`process`]: one `dots`, its data directory, its life; [`command`]: `dots` as a user types it.
//! - [`machine`]: a machine of its own, a network namespace.
//! - [`network`]: several of them, joined, until Ctrl-C.
//! - [`phones`]: baresip (sound) and SIPp (load); [`crowd`]: users by the hundred; [`marks`]: registrations that are
//!   remembered.
//! - [`kamailio`]: another program's proxy, beside which we are measured and behind which phones stand.
//! - [`bench`]: what things cost, beside Kamailio; [`flood`]: more than a server can take; [`proof`]: promises kept for thousands
//!   of phones.
//! - [`sim`]: the other way round: whole peers in virtual time, with a network and disks that fail on purpose.
//! - [`circles`]: files of one folder that depend on each other all around; [`trace`]: which clause of the specifications is
//!   cited where.
//! - [`fields`]: everything that can grow.
//! - [`tone`]: WAV files and how much of their power lies at one frequency, so that "they heard each other" is a number.

pub mod bench;
pub mod circles;
pub mod command;
pub mod crowd;
pub mod fields;
pub mod flood;
pub mod kamailio;
pub mod machine;
pub mod marks;
pub mod network;
pub mod phones;
pub mod process;
pub mod proof;
pub mod sim;
pub mod tone;
pub mod trace;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    net::{TcpListener, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

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

/// Where [`free_port`] looks: below the ports that the system gives away by itself (32768 and up on Linux), so that nobody
/// takes one between two lives of its owner.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port on 127.0.0.1, UDP and TCP, that was free a moment ago and that this process has not handed out before; even (RTP
/// and TLS neighbours expect that).
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pairs = u32::from(PORTS.end - PORTS.start) / 2;
    for _ in 0..pairs {
        // Processes at the same time begin at different places.
        let place =
            std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % pairs;
        let port = PORTS.start + place as u16 * 2;
        let free =
            UdpSocket::bind(("127.0.0.1", port)).and_then(|_udp| TcpListener::bind(("127.0.0.1", port)));
        if free.is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Other("no free port".into()))
}
