//! Questions of calls that have waited for a while: is whoever was asked still there? How long each waits, `patience` says.

use super::{
    Peer,
    asks::{AuthQuestion, LookupQuestion, Pending, Search, Silence, Waiting},
    patience::{DOUBT, SILENT, end_of, next_look},
};
use dots_wire::{Now, PeerId};
use std::time::Instant;

/// What goes on as if it had not been answered.
pub(super) enum Overdue {
    Lookup(LookupQuestion),
    Auth(AuthQuestion),
    /// With what was found so far.
    Dht(u64),
}

impl Peer {
    /// The next question that is waited for no longer; those that may wait on are looked at later.
    pub(super) fn next_overdue(&mut self, now: Now) -> Option<Overdue> {
        while let Some(id) = self.outside.asks.due(now.mono) {
            let overdue = match self.outside.asks.get(id) {
                Some(Pending::Lookup(LookupQuestion::Home { who: Waiting::Call(_), left, home, .. })) => {
                    let (home, is_last) = (*home, left.is_empty());
                    self.on_home_silent(now, id, home, is_last)
                }
                Some(Pending::Lookup(LookupQuestion::Dht { .. })) => {
                    self.outside.count("dht_searches_cut");
                    Some(Overdue::Dht(id))
                }
                Some(Pending::Auth(AuthQuestion::Home { home, since, .. })) => {
                    let (home, since) = (*home, *since);
                    self.on_judge_silent(now, id, home, since)
                }
                _ => None,
            };
            if overdue.is_some() {
                return overdue;
            }
        }
        None
    }

    fn on_home_silent(&mut self, now: Now, id: u64, silence: Silence, is_last: bool) -> Option<Overdue> {
        let Silence { home, since, search } = silence;
        if self.was_heard(home, since) {
            // It is there: the same from now on.
            let search = Search { began: now.mono, ..search };
            let silence = Silence { since: now.mono, search, ..silence };
            if let Some(Pending::Lookup(LookupQuestion::Home { home, .. })) = self.outside.asks.get_mut(id) {
                *home = silence;
            }
            let end = end_of(&silence, true, is_last);
            self.outside.asks.look_at(id, next_look(now.mono, now.mono, end));
            return None;
        }
        let end = end_of(&silence, self.neighbours.contains(home), is_last);
        if now.mono < end {
            self.liveness.suspect(now, home, since);
            self.outside.asks.look_at(id, end);
            return None;
        }
        self.outside.count("homes_not_waited_for");
        match self.outside.asks.answered(id) {
            Some(Pending::Lookup(asked)) => Some(Overdue::Lookup(asked)),
            _ => None,
        }
    }

    /// The home that is to judge a caller's answer: where nothing comes of it, the call goes on without it or fails now.
    fn on_judge_silent(&mut self, now: Now, id: u64, home: PeerId, since: Instant) -> Option<Overdue> {
        if self.was_heard(home, since) {
            if let Some(Pending::Auth(AuthQuestion::Home { since, .. })) = self.outside.asks.get_mut(id) {
                *since = now.mono;
            }
            self.outside.asks.look_at(id, now.mono + DOUBT);
            return None;
        }
        if now.mono < since + SILENT {
            self.liveness.suspect(now, home, since);
            self.outside.asks.look_at(id, since + SILENT);
            return None;
        }
        self.outside.count("homes_not_waited_for");
        match self.outside.asks.answered(id) {
            Some(Pending::Auth(asked)) => Some(Overdue::Auth(asked)),
            _ => None,
        }
    }

    fn was_heard(&self, peer: PeerId, since: Instant) -> bool {
        self.liveness.heard_at(peer).is_some_and(|at| at > since)
    }
}
