//! Links: SIP between two peers rides on one long-lived framed stream, `/dots/sip/3` (docs/spec/3-sip-link.md).
//!
//! A stream per message costs six times as much, and a stream alone loses what was in flight when its connection
//! breaks. So each frame has a number and is kept until it is acknowledged; after a reconnect within five seconds the
//! rest is sent again and duplicates are dropped. Within one life of both peers every frame arrives in order and
//! exactly once, or its sender is told [`LinkOutput::Down`].
//!
//! ```text
//!             send                StreamOpened          Hello
//!   nothing ────────▶ opening ─────────────────▶ open ────────▶ ready ──┐ Data, Ack
//!      ▲                 ▲ every 0.5 s              │              │ ◀──┘
//!      └── Down, 5 s ────┴──────── StreamClosed ────┴──────────────┘
//! ```
//!
//! What a body means is not known here.

mod frame;
mod peer;
#[cfg(test)]
mod tests;

pub use frame::{BODY_MAX, FRAME_MAX, Frame};
pub use peer::{DOWN_AFTER, QUEUE_BYTES, QUEUE_FRAMES};

use crate::transport::{NetCommand, NetEvent, StreamId};
use dots_wire::{
    Now, PeerId,
    bounded::{Cause, Limits, Promises},
    sha256,
};
use peer::Link;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Peers with a link. At the limit one goes that nobody misses ([`Link::missed_until`]), else the new one is refused.
pub const LINKS_MAX: usize = 4_096;
/// Each peer has one, so there are no shares to divide.
pub(crate) const LINKS: Limits = Limits::new(4 * 1024 * 1024, LINKS_MAX);
/// A link with a stream and nothing under way for this long may be given up for another peer's.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes queued toward all peers together. A queue takes no more than what is still free, so that many slow ones leave room.
pub const QUEUED_MAX: usize = 16 * 1024 * 1024;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQueued {
    /// The queue toward that peer is full, there is no room for one more link, or the body is longer than [`BODY_MAX`].
    #[error("the link to that peer is full")]
    Full,
    /// Nobody was reached there a moment ago.
    #[error("nobody is reached there")]
    Unreached,
}

impl NotQueued {
    pub fn counter(self) -> &'static str {
        match self {
            NotQueued::Full => "link_full",
            NotQueued::Unreached => "link_unreached",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOutput {
    Net(NetCommand),
    /// The next body from `peer`: in order, once.
    Deliver {
        peer: PeerId,
        body: Vec<u8>,
    },
    /// `peer` was out of reach for five seconds or has started anew: what was queued toward it is dropped.
    Down {
        peer: PeerId,
    },
    /// What was queued toward `peer` at `since` has not been acknowledged: is it there?
    Doubt {
        peer: PeerId,
        since: Instant,
    },
}

/// The links of one peer.
pub struct Links {
    me: PeerId,
    seed: u64,
    /// Links that there ever were: each has a session of its own, so that one that was given up for room and comes
    /// again is not taken for the one before, whose numbers are forgotten here.
    made: u64,
    links: Promises<PeerId, Box<Link>>,
    /// Bytes that are queued in all of them.
    queued: usize,
    streams: BTreeMap<StreamId, PeerId>,
    /// When each link next has something to do; `armed` finds its entry here.
    timers: BTreeSet<(Instant, PeerId)>,
    armed: BTreeMap<PeerId, Instant>,
    out: VecDeque<LinkOutput>,
}

impl Links {
    /// `seed`: random, new at every start.
    pub fn new(me: PeerId, seed: u64) -> Links {
        Links {
            me,
            seed,
            made: 0,
            links: Promises::new(LINKS),
            queued: 0,
            streams: BTreeMap::new(),
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    /// Queues `body` toward `peer`, opening a stream if there is none. `initial`: a new request, refused first when
    /// the queue fills; what ends or answers older work still passes.
    pub fn send(&mut self, now: Now, peer: PeerId, body: Vec<u8>, initial: bool) -> Result<(), NotQueued> {
        if peer == self.me || !self.ensure(now.mono, peer) {
            return Err(NotQueued::Full);
        }
        let room = QUEUED_MAX.saturating_sub(self.queued);
        let link = self.links.get_mut(&peer).ok_or(NotQueued::Full)?;
        let result = link.send(now.mono, body, initial, room, &mut self.out);
        self.rearm(peer);
        result
    }

    pub fn handle_net(&mut self, now: Now, event: &NetEvent) {
        match event {
            NetEvent::StreamOpened { peer, stream, outbound } => {
                self.on_opened(now.mono, *peer, *stream, *outbound)
            }
            NetEvent::StreamRefused { peer } => {
                if let Some(link) = self.links.get_mut(peer) {
                    link.on_refused(now.mono, &mut self.out);
                    self.rearm(*peer);
                }
            }
            NetEvent::StreamFrame { stream, frame } => self.on_frame(now.mono, *stream, frame),
            NetEvent::StreamClosed { stream } => self.on_closed(now.mono, *stream),
            NetEvent::Connected { peer } => {
                if let Some(link) = self.links.get_mut(peer) {
                    link.on_connected(now.mono, &mut self.out);
                    self.rearm(*peer);
                }
            }
            NetEvent::Disconnected { peer } => {
                if let Some(stream) = self.links.get(peer).and_then(|link| link.current()) {
                    self.on_closed(now.mono, stream);
                }
            }
            _ => {}
        }
    }

    /// `peer` does not answer: nobody need wait for it. What comes later opens a stream anew.
    pub fn give_up(&mut self, now: Now, peer: PeerId) {
        if let Some(link) = self.links.get_mut(&peer) {
            if let Some(closed) = link.give_up(now.mono, &mut self.out) {
                self.streams.remove(&closed);
            }
            self.rearm(peer);
        }
    }

    pub fn poll_output(&mut self) -> Option<LinkOutput> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn handle_timeout(&mut self, now: Now) {
        // Each link once: one whose next moment is now again waits for the next call.
        let due: Vec<PeerId> =
            self.timers.iter().take_while(|(at, _)| *at <= now.mono).map(|(_, p)| *p).collect();
        for peer in due {
            if let Some(link) = self.links.get_mut(&peer) {
                if let Some(closed) = link.on_timeout(now.mono, &mut self.out) {
                    self.streams.remove(&closed);
                }
                self.rearm(peer);
            }
        }
    }

    fn on_opened(&mut self, now: Instant, peer: PeerId, stream: StreamId, outbound: bool) {
        if peer == self.me || !self.ensure(now, peer) {
            return self.out.push_back(LinkOutput::Net(NetCommand::StreamClose { stream }));
        }
        let Some(link) = self.links.get_mut(&peer) else { return };
        let loser = link.on_opened(now, self.me, stream, outbound, &mut self.out);
        if loser != Some(stream) {
            self.streams.insert(stream, peer);
        }
        if let Some(loser) = loser {
            self.streams.remove(&loser);
        }
        self.rearm(peer);
    }

    fn on_frame(&mut self, now: Instant, stream: StreamId, bytes: &[u8]) {
        // Frames of a stream that lost to another one are not read; they come again on the one that stayed.
        let Some(peer) = self.streams.get(&stream).copied() else { return };
        let Some(link) = self.links.get_mut(&peer) else { return };
        let fine = Frame::decode(bytes).is_some_and(|f| link.on_frame(now, f, &mut self.out).is_ok());
        if !fine {
            self.out.push_back(LinkOutput::Net(NetCommand::StreamClose { stream }));
            return self.on_closed(now, stream);
        }
        if link.current() != Some(stream) {
            self.streams.remove(&stream);
        }
        self.rearm(peer);
    }

    fn on_closed(&mut self, now: Instant, stream: StreamId) {
        let Some(peer) = self.streams.remove(&stream) else { return };
        if let Some(link) = self.links.get_mut(&peer) {
            link.on_closed(now, &mut self.out);
        }
        self.rearm(peer);
    }

    /// A link for `peer`; `false`: there are too many, and none is idle.
    fn ensure(&mut self, now: Instant, peer: PeerId) -> bool {
        if self.links.contains(&peer) {
            return true;
        }
        if self.links.len() >= LINKS_MAX {
            // LINK-12: a link without a stream costs nobody anything; with one, an hour's silence comes before a minute's.
            let idle = self.links.iter().filter_map(|(peer, link)| Some((link.missed_until(IDLE)?, *peer)));
            let Some((_, peer)) = idle.min().filter(|(at, _)| *at <= now) else { return false };
            self.forget(peer);
        }
        let session = self.next_session();
        let link = Box::new(Link::new(peer, session, now));
        self.links.insert(Cause::OWN, peer, link).is_ok()
    }

    /// LINK-4: of this life and of this link alone.
    fn next_session(&mut self) -> u64 {
        self.made += 1;
        let hash = sha256(&[self.seed.to_be_bytes(), self.made.to_be_bytes()].concat());
        hash.0.iter().take(8).fold(0, |session, byte| session << 8 | u64::from(*byte))
    }

    fn forget(&mut self, peer: PeerId) {
        if let Some(mut link) = self.links.remove(&peer) {
            self.queued -= link.count().1;
            link.say_bye(&mut self.out);
            if let Some(stream) = link.close(&mut self.out) {
                self.streams.remove(&stream);
            }
        }
        self.rearm(peer);
    }

    fn rearm(&mut self, peer: PeerId) {
        let next = self.links.get_mut(&peer).and_then(|link| {
            let (before, after) = link.count();
            self.queued = self.queued + after - before;
            link.deadline()
        });
        if let Some(old) = self.armed.remove(&peer) {
            self.timers.remove(&(old, peer));
        }
        if let Some(next) = next {
            self.armed.insert(peer, next);
            self.timers.insert((next, peer));
        }
    }
}
