//! NET-11: reaching peers that are not connected.
//!
//! Work for such a peer waits: its known addresses are dialled; where there are none, or none answers, Kademlia is asked
//! for it once, then what it says is dialled. What is not done after five seconds is given up.
//!
//! Anybody's phone can name a realm whose homes are dead, so places are shared ([`Places`]): what we do of our own accord and
//! calls have room that questions for strangers cannot take, and where all is taken the oldest of these gives way, so that whoever
//! is there is reached within the time that it takes. A peer that was not reached is not tried again for a moment: its work is
//! refused at once, and takes no place.

use super::{Driver, asked::ToSend};
use crate::{
    net::{identity, limits::*},
    transport::{NetEvent, Protocol, RequestError, RequestId},
};
use dots_wire::{
    PeerId,
    bounded::{Cache, Cause, Standing, Weight},
};
use libp2p::{
    Multiaddr,
    swarm::{
        DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::time::Instant;

#[derive(Default)]
pub struct Reach {
    places: Places,
}

/// Peers that are being looked for, and those that were not reached lately.
struct Places {
    reaching: Cache<PeerId, Reaching>,
    unreached: Cache<PeerId, Instant>,
}

impl Default for Places {
    fn default() -> Places {
        Places { reaching: Cache::new(REACHING), unreached: Cache::new(UNREACHED) }
    }
}

/// What became of work for a peer that is not connected.
struct Placed {
    /// Somebody has to dial.
    is_new: bool,
    /// It is not done: this work, or that of others which gave way.
    refused: Vec<(PeerId, Vec<Work>)>,
}

impl Places {
    fn put(&mut self, now: Instant, peer: PeerId, work: Work) -> Placed {
        let lately = |at: &Instant| now.saturating_duration_since(*at) < UNREACHED_FOR;
        let nobody = Placed { is_new: false, refused: Vec::new() };
        if self.unreached.get(&peer).is_some_and(lately) {
            return Placed { refused: vec![(peer, vec![work])], ..nobody };
        }
        let Some(entry) = self.reaching.get_mut(&peer) else {
            let standing = work.standing();
            let entry = Reaching { since: now, looked_up: false, standing, work: vec![work] };
            return Placed { is_new: true, refused: self.place(peer, entry) };
        };
        let mut refused = Vec::new();
        if entry.work.len() >= REACHING_WORK_MAX {
            let worst = entry.work.iter().enumerate().max_by_key(|(at, w)| (w.standing(), *at));
            match worst.filter(|(_, worst)| worst.standing() > work.standing()).map(|(at, _)| at) {
                Some(at) => refused.push((peer, vec![entry.work.remove(at)])),
                None => return Placed { refused: vec![(peer, vec![work])], ..nobody },
            }
        }
        let standing = work.standing();
        entry.work.push(work);
        // Whoever waits for it with the best standing pays for its place.
        if standing < entry.standing
            && let Some(mut entry) = self.reaching.remove(&peer)
        {
            entry.standing = standing;
            refused.extend(self.place(peer, entry));
        }
        Placed { refused, ..nobody }
    }

    /// Gives back what lost its place to it.
    fn place(&mut self, peer: PeerId, entry: Reaching) -> Vec<(PeerId, Vec<Work>)> {
        let placed = self.reaching.insert(Cause::new(entry.standing), peer, entry);
        debug_assert!(placed.is_stored, "every standing has room for one");
        placed.evicted.into_iter().map(|(peer, entry)| (peer, entry.work)).collect()
    }

    /// Nobody is there.
    fn not_reached(&mut self, now: Instant, peer: PeerId) -> Vec<Work> {
        self.unreached.insert(Cause::new(Standing::Other), peer, now);
        self.reaching.remove(&peer).map(|entry| entry.work).unwrap_or_default()
    }

    fn reached(&mut self, peer: PeerId) -> Vec<Work> {
        self.unreached.remove(&peer);
        self.reaching.remove(&peer).map(|entry| entry.work).unwrap_or_default()
    }

    fn late(&self, now: Instant) -> Vec<PeerId> {
        let late = |r: &Reaching| now.saturating_duration_since(r.since) >= REQUEST_TIMEOUT;
        self.reaching.iter().filter(|(_, r)| late(r)).map(|(peer, _)| *peer).collect()
    }
}

/// What is to be done once a peer is connected.
pub enum Work {
    Request { id: RequestId, protocol: Protocol, body: Vec<u8> },
    Stream,
}

impl Work {
    /// Who wants it: ourselves, a call, or anybody's phone; a receipt waits for whoever wants to sign it, and nobody for that.
    fn standing(&self) -> Standing {
        match self {
            Work::Request { protocol: Protocol::Auth | Protocol::Lookup | Protocol::Receipt, .. } => {
                Standing::Other
            }
            Work::Request { .. } => Standing::Own,
            Work::Stream => Standing::Met,
        }
    }
}

struct Reaching {
    since: Instant,
    /// The best of all work.
    standing: Standing,
    looked_up: bool,
    work: Vec<Work>,
}

impl Driver {
    pub(super) fn reach(&mut self, peer: PeerId, work: Work) {
        let libp2p = identity::to_libp2p(peer);
        if self.swarm.is_connected(&libp2p) {
            return self.perform(peer, work);
        }
        if peer == self.me {
            return self.give_up(peer, vec![work]);
        }
        let placed = self.reach.places.put(Instant::now(), peer, work);
        for (peer, work) in placed.refused {
            self.give_up(peer, work);
        }
        if placed.is_new {
            self.dial(peer, Vec::new());
        }
    }

    /// Dials a peer at what we and the other behaviours know of it, and at `more`.
    pub(super) fn dial(&mut self, peer: PeerId, more: Vec<Multiaddr>) {
        let mut addresses = self.dialer.addresses(peer);
        addresses.extend(more);
        let opts = DialOpts::peer_id(identity::to_libp2p(peer))
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            // From the listening port two peers that dial each other at once would both be clients.
            .allocate_new_port()
            .build();
        match self.swarm.dial(opts) {
            // Already under way or done: that dial's end is reported too.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                tracing::trace!(%peer, %error, "not dialled");
                self.not_reached(peer);
            }
        }
    }

    /// A dial failed: asks Kademlia, or gives up.
    pub(super) fn not_reached(&mut self, peer: PeerId) {
        let Some(entry) = self.reach.places.reaching.get_mut(&peer) else { return };
        if !entry.looked_up {
            entry.looked_up = true;
            return self.look_up(peer);
        }
        let work = self.reach.places.not_reached(Instant::now(), peer);
        self.give_up(peer, work);
    }

    /// Kademlia's answer to [`Driver::look_up`].
    pub(super) fn looked_up(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            self.not_reached(peer);
        } else if self.reach.places.reaching.contains(&peer) {
            self.dial(peer, addresses);
        }
    }

    /// `peer` is connected.
    pub(super) fn reached(&mut self, peer: PeerId) {
        for work in self.reach.places.reached(peer) {
            self.perform(peer, work);
        }
    }

    fn perform(&mut self, peer: PeerId, work: Work) {
        let cause = Cause { standing: work.standing(), ..self.payer(peer, false) };
        match work {
            Work::Request { id, protocol, body } => self.ask(cause, ToSend { id, peer, protocol, body }),
            Work::Stream => self.swarm.behaviour_mut().streams.open(identity::to_libp2p(peer)),
        }
    }

    fn give_up(&mut self, peer: PeerId, work: Vec<Work>) {
        for work in work {
            self.counters.unreached.add();
            self.out.say(match work {
                Work::Request { id, .. } => NetEvent::Response { id, result: Err(RequestError::Unreachable) },
                Work::Stream => NetEvent::StreamRefused { peer },
            });
        }
    }

    pub(super) fn expire_reaching(&mut self, now: Instant) {
        for peer in self.reach.places.late(now) {
            let work = self.reach.places.not_reached(now, peer);
            self.give_up(peer, work);
        }
    }
}

impl Weight for Reaching {
    /// Each place is one of few; the work in it has a limit of its own.
    fn heap_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_wire::SecretKey;
    use std::time::Duration;

    fn peer(n: u32) -> PeerId {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
    }

    fn ask(id: u32, protocol: Protocol) -> Work {
        Work::Request { id: id.into(), protocol, body: Vec::new() }
    }

    #[test]
    fn dead_homes_of_made_up_realms_take_no_place_from_calls_and_from_whoever_is_there() {
        let (mut places, t0) = (Places::default(), Instant::now());
        let at = |ms: u64| t0 + Duration::from_millis(ms);
        for n in 0..20 {
            assert!(places.put(t0, peer(n), Work::Stream).is_new);
            assert!(places.put(t0, peer(100 + n), ask(n, Protocol::Log)).is_new);
        }
        let mut refused = 0;
        for n in 0..2_000 {
            // A flood of a thousand per second, and one whose home answers within a tenth of one.
            refused += places.put(at(n.into()), peer(1_000 + n), ask(n, Protocol::Auth)).refused.len();
            if n == 1_000 {
                assert!(places.put(at(1_000), peer(500), ask(0, Protocol::Auth)).is_new);
            }
            if n == 1_100 {
                assert_eq!(places.reached(peer(500)).len(), 1, "its work is still there");
            }
        }
        assert!(refused > 1_500, "{refused}");
        assert!(
            (0..20).all(|n| places.reaching.contains(&peer(n)) && places.reaching.contains(&peer(100 + n)))
        );
        assert!(places.reaching.len() <= REACHING_MAX);
    }

    #[test]
    fn questions_for_strangers_refuse_no_call_toward_the_same_peer() {
        let (mut places, t0) = (Places::default(), Instant::now());
        assert!(places.put(t0, peer(1), ask(0, Protocol::Auth)).is_new);
        for n in 1..200 {
            let refused = places.put(t0, peer(1), ask(n, Protocol::Lookup)).refused.len();
            assert_eq!(refused, usize::from(n >= REACHING_WORK_MAX as u32), "{n}");
        }
        let call = places.put(t0, peer(1), Work::Stream);
        assert!(!call.is_new);
        let gone = &call.refused[..];
        assert!(
            matches!(gone, [(at, work)] if *at == peer(1) && matches!(work[..], [Work::Request { id: 31, .. }]))
        );
        // The place is a call's now: a flood of dead homes does not take it.
        for n in 0..2_000 {
            places.put(t0, peer(1_000 + n), ask(n, Protocol::Auth));
        }
        let work = places.reached(peer(1));
        assert_eq!(work.len(), REACHING_WORK_MAX);
        assert!(work.iter().any(|work| matches!(work, Work::Stream)));
    }

    #[test]
    fn who_was_not_reached_is_refused_without_a_place_for_a_moment() {
        let (mut places, t0) = (Places::default(), Instant::now());
        assert!(places.put(t0, peer(1), Work::Stream).is_new);
        let joined = places.put(t0, peer(1), ask(1, Protocol::Auth));
        assert!(!joined.is_new && joined.refused.is_empty(), "one dial for both");
        assert_eq!(places.late(t0 + REQUEST_TIMEOUT), [peer(1)]);
        assert_eq!(places.not_reached(t0, peer(1)).len(), 2);
        for ms in [0, 10, 4_000] {
            let again = places.put(t0 + Duration::from_millis(ms), peer(1), Work::Stream);
            assert!(!again.is_new && again.refused.len() == 1 && places.reaching.is_empty());
        }
        assert!(places.put(t0 + UNREACHED_FOR, peer(1), Work::Stream).is_new, "it may be back");
        places.not_reached(t0 + UNREACHED_FOR, peer(1));
        assert!(places.reached(peer(1)).is_empty());
        assert!(places.put(t0 + UNREACHED_FOR, peer(1), Work::Stream).is_new, "it was there meanwhile");
    }
}
