//! What we ask of peers that are connected (NET-4). A connection carries so many streams and no more, so a peer has a line: what is
//! beyond those under way waits for one to end, its time running. A home at which an office comes back after a power cut is
//! asked for all its phones within a second, and none of them is refused for that.
//!
//! What we ask of our own accord, probes and logs, is little and waits for nobody. The table is shared: a home that is mute takes
//! no question from another one.

use super::table::Table;
use crate::{
    net::limits::{ASKED, REQUEST_TIMEOUT, UNDER_WAY_PER_PEER},
    transport::{Protocol, RequestId},
};
use dots_wire::{
    PeerId,
    bounded::{Cause, Standing},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

pub struct Asked {
    rows: Table<RequestId, Row>,
    lines: BTreeMap<PeerId, Line>,
}

struct Row {
    peer: PeerId,
    since: Instant,
    /// It has a place in the line, or waits for one.
    is_in_line: bool,
    waits: Option<ToSend>,
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub struct ToSend {
    pub id: RequestId,
    pub peer: PeerId,
    pub protocol: Protocol,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Line {
    under_way: usize,
    /// Some of them were given up meanwhile.
    waiting: VecDeque<RequestId>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Placed {
    Send(ToSend),
    Waits,
    /// Its cause has no room for it.
    Full,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { rows: Table::new(ASKED), lines: BTreeMap::new() }
    }
}

impl Asked {
    pub fn put(&mut self, now: Instant, cause: Cause, ask: ToSend) -> Placed {
        let bytes = ask.body.len();
        if !self.rows.admits(cause, bytes) {
            return Placed::Full;
        }
        let ToSend { id, peer, .. } = ask;
        let is_in_line = cause.standing != Standing::Own;
        let mut row = Row { peer, since: now, is_in_line, waits: None };
        let mut placed = Placed::Waits;
        let line = is_in_line.then(|| self.lines.entry(peer).or_default());
        match line {
            Some(line) if line.under_way >= UNDER_WAY_PER_PEER => {
                line.waiting.push_back(id);
                row.waits = Some(ask);
            }
            line => {
                line.into_iter().for_each(|line| line.under_way += 1);
                placed = Placed::Send(ask);
            }
        }
        self.rows.insert(cause, id, bytes, row);
        placed
    }

    /// It was answered, or will not be: the next in that line. The caller sends it.
    pub fn ended(&mut self, id: RequestId) -> Option<ToSend> {
        let row = self.rows.remove(&id).filter(|row| row.is_in_line)?;
        let line = self.lines.get_mut(&row.peer).expect("a row in a line has one");
        if row.waits.is_none() {
            line.under_way = line.under_way.checked_sub(1).expect("what is under way was counted");
        }
        let mut next = None;
        while next.is_none() && line.under_way < UNDER_WAY_PER_PEER {
            let Some(id) = line.waiting.pop_front() else { break };
            next = self.rows.get_mut(&id).and_then(|row| row.waits.take());
        }
        line.under_way += usize::from(next.is_some());
        if line.under_way == 0 && line.waiting.is_empty() {
            self.lines.remove(&row.peer);
        }
        next
    }

    /// What has waited for its turn too long.
    pub fn late(&self, now: Instant) -> Vec<RequestId> {
        let late = |row: &Row| now.saturating_duration_since(row.since) >= REQUEST_TIMEOUT;
        self.rows.over(|row| row.waits.is_some() && late(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::limits::ASKED_MAX;
    use dots_wire::{SecretKey, bounded::network_of};
    use std::{net::Ipv4Addr, time::Duration};

    fn peer(n: u8) -> PeerId {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
    }

    fn cause(standing: Standing, network: u8, who: u64) -> Cause {
        let network = network_of(Ipv4Addr::new(192, 0, network, 1).into());
        Cause { network, ..Cause::new(standing) }.by(&who.to_be_bytes())
    }

    fn ask(id: RequestId, peer: PeerId) -> ToSend {
        ToSend { id, peer, protocol: Protocol::Auth, body: vec![1; 500] }
    }

    #[test]
    fn what_is_beyond_those_under_way_waits_for_its_turn_and_none_is_refused() {
        let (now, mut asked, mut sent) = (Instant::now(), Asked::default(), VecDeque::new());
        let home = cause(Standing::Other, 1, 1);
        for id in 0..1_000 {
            match asked.put(now, home, ask(id, peer(1))) {
                Placed::Send(ask) => sent.push_back(ask.id),
                Placed::Waits => assert!(sent.len() >= UNDER_WAY_PER_PEER),
                Placed::Full => panic!("{id} was refused"),
            }
        }
        assert_eq!(sent.len(), UNDER_WAY_PER_PEER);
        // Our own questions, and those to others, wait for none of that.
        assert!(matches!(asked.put(now, cause(Standing::Own, 1, 1), ask(5_000, peer(1))), Placed::Send(_)));
        assert!(matches!(asked.put(now, cause(Standing::Other, 2, 2), ask(5_001, peer(2))), Placed::Send(_)));
        let mut answered = Vec::new();
        while let Some(id) = sent.pop_front() {
            answered.push(id);
            sent.extend(asked.ended(id).map(|next| next.id));
            assert!(sent.len() <= UNDER_WAY_PER_PEER);
        }
        assert_eq!(answered, (0..1_000).collect::<Vec<_>>(), "in the order in which they were asked");
        assert_eq!((asked.ended(5_000), asked.ended(5_001)), (None, None));
        assert_eq!((asked.rows.len(), asked.lines.len()), (0, 0));
    }

    #[test]
    fn a_mute_home_is_waited_for_no_longer_than_any_and_its_line_goes_on() {
        let (now, mut asked) = (Instant::now(), Asked::default());
        for id in 0..200 {
            asked.put(now, cause(Standing::Other, 1, 1), ask(id, peer(1)));
        }
        assert!(asked.late(now + REQUEST_TIMEOUT - Duration::from_millis(1)).is_empty());
        let late = asked.late(now + REQUEST_TIMEOUT);
        assert_eq!(late.len(), 200 - UNDER_WAY_PER_PEER, "the swarm knows how long the others have waited");
        assert!(late.into_iter().all(|id| asked.ended(id).is_none()), "given up, and nothing is sent for it");
        assert!((0..UNDER_WAY_PER_PEER as u64).all(|id| asked.ended(id).is_none()));
        assert_eq!((asked.rows.len(), asked.lines.len()), (0, 0));
        assert_eq!(asked.ended(7), None, "an end comes once");
    }

    #[test]
    fn mute_homes_take_no_question_of_ours_and_none_to_who_answers() {
        let (now, mut asked, mut next) = (Instant::now(), Asked::default(), 0);
        let mut fill = |asked: &mut Asked, cause: &dyn Fn(u64) -> Cause| {
            (0..20_000u64).fold(0, |taken, n| {
                next += 1;
                taken + usize::from(asked.put(now, cause(n), ask(next, peer(1))) != Placed::Full)
            })
        };
        let mute = fill(&mut asked, &|_| cause(Standing::Other, 1, 1));
        assert!((1_000..ASKED_MAX / 3).contains(&mute), "{mute}");
        assert!(asked.rows.admits(cause(Standing::Other, 2, 2), 500), "another home");
        fill(&mut asked, &|n| cause(Standing::Other, (n % 20) as u8, n));
        assert!(asked.rows.admits(cause(Standing::Other, 201, 3_000_000), 500), "and another still");
        let own = fill(&mut asked, &|n| cause(Standing::Own, 1, n));
        assert!(own > ASKED_MAX / 3 - 100, "{own}: probes, and what others have of the log");
    }
}
