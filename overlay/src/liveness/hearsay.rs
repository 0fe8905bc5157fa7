//! What others ask and say: questions are answered, hearsay makes us look, words are checked.

use super::{
    Detector, LivenessOutput, MemberState,
    limits::*,
    message::{self, Generation, Hearsay, LiveReply, LiveRequest, Notice, NoticeKind, VERSION},
};
use crate::transport::InboundId;
use dots_wire::{Now, PeerId, Signed};

impl Detector {
    /// `from` asks; it is answered at once, but where somebody else must be asked first.
    pub fn on_ask(&mut self, now: Now, from: PeerId, inbound: InboundId, ask: LiveRequest) {
        match ask {
            LiveRequest::Hello { word, .. } => {
                self.on_own_word(now, from, &word);
                let reply = LiveReply::Welcome {
                    word: self.own_word(),
                    secret: message::secret(&self.own_secret, from),
                };
                self.out.push_back(LivenessOutput::Reply { inbound, reply });
            }
            LiveRequest::Probe { life, next_ms, news, .. } => {
                self.on_probe(now, from, inbound, life, next_ms);
                for news in news.into_iter().take(NEWS_PER_MESSAGE) {
                    self.on_news(now, from, news);
                }
            }
            LiveRequest::Reach { target, nonce, .. } => self.on_reach(now, from, inbound, target, nonce),
            LiveRequest::Show { asker, nonce, .. } => {
                let tag = message::tag(&message::secret(&self.own_secret, asker), nonce);
                self.out.push_back(LivenessOutput::Reply { inbound, reply: LiveReply::Shown(tag) });
            }
        }
        self.heard(now, from);
    }

    fn on_probe(&mut self, now: Now, from: PeerId, inbound: InboundId, life: Generation, next_ms: u32) {
        // LIVE-9: its key's own word of a later life: it runs twice, and the asker is the older one.
        let newer = self.words.get(&from).filter(|word| {
            Notice::peek(word, &self.network).is_some_and(|w| w.life.incarnation > life.incarnation)
        });
        let newer = newer.cloned();
        if newer.is_some() {
            self.count("live_runs_twice_told");
        } else {
            self.note_life(from, life);
        }
        if let Some(member) = self.members.get_mut(&from) {
            member.exchanged = Some(now.mono);
        }
        self.promised(now.mono, from, next_ms);
        let reply = LiveReply::Alive { life: self.life, next_ms: self.next_ms(), time: now.wall, newer };
        self.out.push_back(LivenessOutput::Reply { inbound, reply });
    }

    /// `from` asks us to try one of our neighbours for it; nobody else is dialled on a stranger's word.
    fn on_reach(&mut self, now: Now, from: PeerId, inbound: InboundId, target: PeerId, nonce: u64) {
        let known = self.members.get(&target).is_some_and(|m| m.connected);
        let may = self.members.get_mut(&from).is_some_and(|m| m.help.take(now.mono, HELP, 1.0));
        if !known || !may {
            return self.out.push_back(LivenessOutput::Reply { inbound, reply: LiveReply::Silent });
        }
        let id = self.number_for(now.mono, inbound);
        let ask = LiveRequest::Show { version: VERSION, asker: from, nonce };
        self.out.push_back(LivenessOutput::Ask { id, peer: target, ask });
    }

    fn on_news(&mut self, now: Now, from: PeerId, news: Hearsay) {
        match news {
            Hearsay::Notice(word) => self.on_word(now, from, &word),
            Hearsay::Suspect { peer, life } => self.on_accusation(now, from, peer, life, false),
            Hearsay::Dead { peer, life } => self.on_accusation(now, from, peer, life, true),
        }
    }

    fn on_accusation(&mut self, now: Now, from: PeerId, peer: PeerId, life: Generation, dead: bool) {
        if peer == self.me {
            if dead && life == self.life && self.refutations.take(now.mono, REFUTATIONS, 1.0) {
                self.refute(now);
            }
            return;
        }
        let of_other_network = |by: u64, of: Option<u64>| of != Some(by);
        let by = self.members.get(&from).and_then(|m| m.chosen);
        let Some(member) = self.members.get_mut(&peer) else { return };
        if member.is_past(life) || member.state.is_gone() {
            return;
        }
        if dead
            && let Some(network) = by.filter(|by| of_other_network(*by, member.chosen))
            && member.accused(from, network, life)
            && member.state == MemberState::Suspect
            && member.probe.is_some_and(|p| p.steps >= STEPS_BEFORE_OTHERS)
        {
            return self.died(now, peer, false);
        }
        if self.is_credulous {
            return self.set_state(peer, MemberState::Dead);
        }
        // LIVE-5: we look ourselves, as often as its bringer may make us.
        if self.members.get_mut(&from).is_some_and(|m| m.hearsay.take(now.mono, HEARSAY, 1.0)) {
            self.begin_probe(now, peer, true);
        } else {
            self.count("live_hearsay_refused");
        }
    }

    /// "I am not dead": a later life than the one that is called so.
    fn refute(&mut self, now: Now) {
        self.life.count = self.life.count.saturating_add(1);
        self.words.remove(&self.me);
        let news = Hearsay::Notice(self.own_word());
        self.count("live_refuted");
        self.tell(now.mono, &news, TELL_OWN, self.me);
    }

    /// A word, from whoever.
    pub(super) fn on_word(&mut self, now: Now, from: PeerId, signed: &Signed) {
        let Some(word) = Notice::peek(signed, &self.network) else { return };
        let about_us = word.peer == self.me;
        let known = self.members.get(&word.peer).map(|m| (m.life, m.state));
        let is_news = match known {
            _ if about_us => word.life.incarnation > self.life.incarnation,
            Some((life, state)) => {
                life.is_none_or(|l| word.life > l)
                    || (word.about == NoticeKind::Left
                        && life == Some(word.life)
                        && state != MemberState::Left)
            }
            None => false,
        };
        if !is_news {
            return;
        }
        if !self.members.get_mut(&from).is_some_and(|m| m.words.take(now.mono, WORDS, 1.0)) {
            return self.count("live_words_refused");
        }
        if !word.is_true(signed) && !self.is_credulous {
            return self.count("live_forged_word");
        }
        if about_us {
            if word.about == NoticeKind::Alive {
                self.out.push_back(LivenessOutput::RunsTwice);
            }
            return;
        }
        self.believe(now, &word, signed);
        self.tell(now.mono, &Hearsay::Notice(signed.clone()), TELL_OTHERS, word.peer);
    }

    /// A peer's word of itself, from itself: the connection proves who brings it, but not which of its lives.
    pub(super) fn on_own_word(&mut self, now: Now, from: PeerId, signed: &Signed) {
        match Notice::peek(signed, &self.network) {
            Some(word) if word.peer == from => self.on_word(now, from, signed),
            _ => self.count("live_forged_word"),
        }
    }

    fn believe(&mut self, now: Now, word: &Notice, signed: &Signed) {
        self.note_life(word.peer, word.life);
        match word.about {
            NoticeKind::Alive => {
                self.words.insert(word.peer, signed.clone());
                let Some(member) = self.members.get_mut(&word.peer) else { return };
                let life = word.life;
                member.accusers.retain(|(_, _, said)| *said >= life);
                // It says so somewhere: is it there for us?
                if member.state.is_gone() {
                    member.again = AGAIN;
                    self.ask_again(now, word.peer);
                }
            }
            NoticeKind::Left => {
                let Some(member) = self.members.get_mut(&word.peer) else { return };
                member.probe = None;
                member.again = AGAIN_MAX;
                self.timers.cancel(&super::Timer::Step(word.peer));
                self.timers.cancel(&super::Timer::Promise(word.peer));
                self.timers.set(super::Timer::Again(word.peer), now.mono + AGAIN_MAX);
                self.set_state(word.peer, MemberState::Left);
            }
        }
    }

    /// The connection is the peer's own: the life that it tells is its, or an older one's of the same key.
    pub(super) fn note_life(&mut self, peer: PeerId, life: Generation) {
        if let Some(member) = self.members.get_mut(&peer)
            && member.life.is_none_or(|known| known < life)
        {
            member.life = Some(life);
        }
    }
}
