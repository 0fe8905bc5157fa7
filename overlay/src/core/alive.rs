//! Which phones are there: ours, which we look after ourselves, and others', at which we look as a verifier. And how many peers
//! there are to tell.

use super::{BATCH, BATCH_LATER, OverlayCore, OverlayOutput};
use crate::{
    directory::News,
    records::{Attest, AttestKind, Event, Life},
    verify::{Asker, Sign},
};
use dots_wire::{Hash, Now, PeerId};
use std::collections::BTreeSet;

/// To so many each peer is connected, so that all may know all.
const COMPLETE_MAX: usize = 64;

impl OverlayCore {
    /// The ping of `PingPhone` `id` has ended; any response of the phone is life.
    pub fn pinged(&mut self, now: Now, id: u64, sign: Sign) {
        self.latest = now;
        if let Some(ended) = self.pinger.on_pinged(now, id, sign) {
            let (aor_id, instance) = ended.phone;
            if ended.has_moved {
                self.out.push_back(OverlayOutput::Moved { aor_id, instance });
            }
            if let Some((row, life)) = self.row_of_own(ended.phone).zip(ended.life) {
                let said = match ended.is_unreachable {
                    true => self.watch.on_unreachable(now, row),
                    false => self.watch.on_life(now, row, life, &mut self.rng),
                };
                self.say_own(now, ended.phone, said);
            }
        }
        self.flush_verify();
        self.write_due(now);
    }

    /// LOG-25: a call to this phone of ours ran out without a word, or its connection closed.
    pub fn unanswered(&mut self, now: Now, aor_id: Hash, instance: Hash) {
        self.latest = now;
        let Some(row) = self.row_of_own((aor_id, instance)) else { return };
        let said = self.watch.on_unanswered(now, row);
        self.say_own(now, (aor_id, instance), said);
        self.look_at_phones(now);
        self.flush_verify();
        self.write_due(now);
    }

    /// A phone of ours has registered: it is there.
    pub fn registered(&mut self, now: Now, aor_id: Hash, instance: impl Fn() -> Hash) {
        // Most have nothing to be taken back.
        if self.watch.is_calm() {
            return;
        }
        let instance = instance();
        let Some(row) = self.row_of_own((aor_id, instance)) else { return };
        let said = self.watch.on_registered(now, row);
        self.say_own(now, (aor_id, instance), said);
        self.write_due(now);
    }

    fn row_of_own(&self, (aor_id, instance): (Hash, Hash)) -> Option<u64> {
        self.directory.row_of((aor_id, instance, self.me))
    }

    /// What changed of a phone of ours.
    fn say_own(&mut self, now: Now, phone: (Hash, Hash), said: Option<Life>) {
        let Some(life) = said else { return };
        self.count(if life == Life::Alive { "phones_back" } else { "phones_silent" });
        let realm = self.directory.realm_of((phone.0, phone.1, self.me));
        let proof = self.pinger.own_word(now, phone, life);
        let event = Event::Attest(Attest { kind: AttestKind::ServingAlive, proof });
        self.append_of(now, realm, event, BATCH);
    }

    /// LOG-25.
    pub(super) fn look_at_phones(&mut self, now: Now) {
        loop {
            let directory = &self.directory;
            let Some(row) = self.watch.next(now, |row| directory.in_row(row).is_some()) else { return };
            let Some((aor_id, instance, _)) = self.directory.in_row(row) else { continue };
            if !self.pinger.look(now, (aor_id, instance), Asker::Watch) {
                self.count("pings_put_off");
            }
        }
    }

    /// What a serving peer says of its phone goes into our log, if it changes what is known: at once where it is the first word on a
    /// new binding, else with others (LOG-21b).
    pub(super) fn on_verified(&mut self, now: Now, id: u64, body: Option<&[u8]>) {
        let Some((what, life, event)) = self.verifier.on_response(now, id, body, &mut self.rng) else {
            return;
        };
        let within = match self.directory.is_news(now.wall, what, self.me, life) {
            None => return self.count("attests_without_news"),
            Some(News::First) => BATCH,
            Some(News::Change) => BATCH_LATER,
        };
        let realm = self.directory.realm_of(what);
        self.append_of(now, realm, event, within);
        self.write_due(now);
    }

    pub(super) fn on_absent(&mut self, peer: PeerId, is_absent: bool) {
        match is_absent && self.chains.head(peer).is_some() && self.absent.len() < COMPLETE_MAX {
            true => self.absent.insert(peer),
            false => self.absent.remove(&peer),
        };
    }

    /// Is everybody whose log we hold our neighbour, and do we hold everybody's? Then nobody has to be told by other ways.
    pub(super) fn is_complete(&self) -> bool {
        let neighbours: &BTreeSet<PeerId> = self.sync.neighbours();
        let few = !neighbours.is_empty()
            && neighbours.len() <= COMPLETE_MAX
            && self.chains.authors() <= 2 * COMPLETE_MAX + 1;
        few && neighbours.iter().all(|peer| self.chains.head(*peer).is_some())
            && self.chains.heads().all(|head| {
                let author = head.author;
                author == self.me || neighbours.contains(&author) || self.absent.contains(&author)
            })
    }
}
