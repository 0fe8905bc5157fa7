//! What is known of one other peer.
//!
//! ```text
//!              2 steps without an answer             2.9 s without one,  or two whom we chose say so
//!    alive ─────────────────────────────▶ suspect ──────────────────────────────────────────────────▶ dead
//!      ▲  ▲                                  │                                                          │
//!      │  └────────── anything heard ────────┘◀──────────────── anything heard ──────────────────────────┘
//!      └──────────────── a later life, or a new connection ───────────── left ◀── its own signed goodbye
//! ```

use super::{
    limits::*,
    message::{Generation, ProofSecret},
};
use dots_wire::{PeerId, TokenBucket};
use std::time::{Duration, Instant};

/// What a peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    Alive,
    /// It does not answer just now: others are tried first.
    Suspect,
    /// It does not answer.
    Dead,
    /// It said goodbye.
    Left,
}

impl MemberState {
    /// Is it pointless to wait for it?
    pub fn is_gone(self) -> bool {
        matches!(self, MemberState::Dead | MemberState::Left)
    }
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
pub struct ProbeState {
    pub since: Instant,
    /// Questions asked so far.
    pub steps: u32,
    pub nonce: u64,
    /// Somebody else reported it.
    pub reported: bool,
}

pub struct Member {
    pub state: MemberState,
    pub connected: bool,
    /// We dialled it, at an address of this network.
    pub chosen: Option<u64>,
    pub life: Option<Generation>,
    /// What it gave us, to know a tag of its by.
    pub secret: Option<ProofSecret>,
    /// Anything came from it.
    pub heard: Instant,
    /// One of us asked the other and was answered.
    pub exchanged: Option<Instant>,
    pub rtt: Duration,
    pub probe: Option<ProbeState>,
    /// The pause before a dead one is probed again.
    pub again: Duration,
    /// Who says that it is dead, and in which life: neighbours of other networks whom we chose.
    pub accusers: Vec<(PeerId, u64, Generation)>,
    pub hearsay: TokenBucket,
    pub words: TokenBucket,
    pub help: TokenBucket,
}

impl Member {
    pub fn new(now: Instant) -> Member {
        Member {
            state: MemberState::Alive,
            connected: false,
            chosen: None,
            life: None,
            secret: None,
            heard: now,
            exchanged: None,
            rtt: Duration::ZERO,
            probe: None,
            again: AGAIN,
            accusers: Vec::new(),
            hearsay: TokenBucket::default(),
            words: TokenBucket::default(),
            help: TokenBucket::default(),
        }
    }

    /// How long a question of ours waits for its answer before the next is asked.
    pub fn step(&self) -> Duration {
        (self.rtt * 2).clamp(STEP, STEP_MAX)
    }

    pub fn answered_after(&mut self, rtt: Duration) {
        self.rtt = if self.rtt.is_zero() { rtt } else { (self.rtt * 7 + rtt) / 8 };
    }

    /// Has `said` been overtaken by what we know of its lives?
    pub fn is_past(&self, said: Generation) -> bool {
        self.life.is_some_and(|known| said < known)
    }

    /// Notes an accusation; `true`: enough peers of different networks agree.
    pub fn accused(&mut self, by: PeerId, network: u64, life: Generation) -> bool {
        self.accusers.retain(|(_, other, _)| *other != network);
        if self.accusers.len() < ACCUSERS {
            self.accusers.push((by, network, life));
        }
        self.accusers.len() >= ACCUSERS
    }
}
