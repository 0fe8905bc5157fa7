//! Questions of calls that have waited for a while: is whoever was asked still there? How long each waits, `patience` says.

use super::{
    Peer,
    asks::{AuthQuestion, LookupQuestion, Pending, Search, Silence, Waiting},
    patience::{DOUBT, SILENT, end_of, next_look},
};
use dots_overlay::transport::RequestError;
use dots_wire::{Now, PeerId};
use std::time::Instant;

impl Peer {
    /// Questions that have waited until they were to be looked at.
    pub(super) fn look_at_questions(&mut self, now: Now) {
        while let Some(id) = self.outside.asks.due(now.mono) {
            match self.outside.asks.get(id) {
                Some(Pending::Lookup(LookupQuestion::Home { who: Waiting::Call(_), left, home, .. })) => {
                    let (home, is_last) = (*home, left.is_empty());
                    self.on_home_silent(now, id, home, is_last);
                }
                Some(Pending::Lookup(LookupQuestion::Dht { .. })) => {
                    self.outside.count("dht_searches_cut");
                    self.finder(now).on_dht_done(id);
                }
                Some(Pending::Auth(AuthQuestion::Home { home, since, .. })) => {
                    let (home, since) = (*home, *since);
                    self.on_judge_silent(now, id, home, since);
                }
                _ => {}
            }
        }
    }

    fn on_home_silent(&mut self, now: Now, id: u64, silence: Silence, is_last: bool) {
        let Silence { home, since, search } = silence;
        if self.was_heard(home, since) {
            // It is there: the same from now on.
            let search = Search { began: now.mono, ..search };
            let silence = Silence { since: now.mono, search, ..silence };
            if let Some(Pending::Lookup(LookupQuestion::Home { home, .. })) = self.outside.asks.get_mut(id) {
                *home = silence;
            }
            let end = end_of(&silence, true, is_last);
            return self.outside.asks.look_at(id, next_look(now.mono, now.mono, end));
        }
        let end = end_of(&silence, self.neighbours.contains(home), is_last);
        if now.mono < end {
            self.liveness.suspect(now, home, since);
            return self.outside.asks.look_at(id, end);
        }
        self.outside.count("homes_not_waited_for");
        if let Some(Pending::Lookup(asked)) = self.outside.asks.answered(id) {
            self.finder(now).on_lookup_reply(asked, Err(RequestError::Timeout));
        }
    }

    /// The home that is to judge a caller's answer: where nothing comes of it, the call goes on without it or fails now.
    fn on_judge_silent(&mut self, now: Now, id: u64, home: PeerId, since: Instant) {
        if self.was_heard(home, since) {
            if let Some(Pending::Auth(AuthQuestion::Home { since, .. })) = self.outside.asks.get_mut(id) {
                *since = now.mono;
            }
            return self.outside.asks.look_at(id, now.mono + DOUBT);
        }
        if now.mono < since + SILENT {
            self.liveness.suspect(now, home, since);
            return self.outside.asks.look_at(id, since + SILENT);
        }
        self.outside.count("homes_not_waited_for");
        if let Some(Pending::Auth(asked)) = self.outside.asks.answered(id) {
            self.authenticator(now).on_reply(asked, Err(RequestError::Timeout));
        }
    }

    fn was_heard(&self, peer: PeerId, since: Instant) -> bool {
        self.liveness.heard_at(peer).is_some_and(|at| at > since)
    }
}
