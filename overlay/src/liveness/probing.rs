//! Asking, and waiting for answers.

use super::{
    Asked, Detector, LivenessOutput, MemberState, Timer,
    limits::*,
    member::ProbeState,
    message::{self, Hearsay, LiveReply, LiveRequest, Notice, NoticeKind, VERSION},
};
use dots_wire::{Now, PeerId};
use rand::{Rng, seq::IteratorRandom};
use std::time::{Duration, Instant};

impl Detector {
    /// From one neighbour's turn to the next one's.
    pub(super) fn pause(&self) -> Duration {
        let neighbours = u32::try_from(self.turns.len().max(1)).unwrap_or(u32::MAX);
        (ROUND_MIN / neighbours).max(Duration::from_secs(1) / PROBES_PER_SECOND)
    }

    fn round(&self) -> Duration {
        self.pause() * u32::try_from(self.turns.len().max(1)).unwrap_or(u32::MAX)
    }

    /// By then every neighbour hears of us again.
    pub(super) fn next_ms(&self) -> u32 {
        let promise = (self.round() * 3 / 2 + PROMISE_SLACK).min(PROMISE_MAX);
        u32::try_from(promise.as_millis()).unwrap_or(u32::MAX)
    }

    /// LIVE-2: the next neighbour that neither asked us nor answered us within half a round is probed.
    pub(super) fn next_turn(&mut self, now: Now) {
        if self.turns.is_empty() {
            return;
        }
        let half = self.round() / 2;
        let fresh = |at: Option<Instant>| at.is_some_and(|at| now.mono.saturating_duration_since(at) < half);
        for _ in 0..self.turns.len() {
            let Some(peer) = self.turns.pop_front() else { break };
            self.turns.push_back(peer);
            let member = self.members.get(&peer);
            if member.is_some_and(|m| m.probe.is_none() && !fresh(m.exchanged)) {
                self.begin_probe(now, peer, false);
                break;
            }
        }
        self.timers.set(Timer::Round, now.mono + self.pause());
    }

    /// `reported`: there is a reason to doubt. One that is under way already takes the doubt over.
    pub(super) fn begin_probe(&mut self, now: Now, peer: PeerId, reported: bool) {
        let nonce = self.rng.random();
        let Some(member) = self.members.get_mut(&peer) else { return };
        match &mut member.probe {
            Some(probe) => probe.reported |= reported,
            None => {
                member.probe = Some(ProbeState { since: now.mono, steps: 0, nonce, reported });
                self.step(now, peer);
            }
        }
    }

    /// The next question of a probe, and what its silence so far means.
    pub(super) fn step(&mut self, now: Now, peer: PeerId) {
        let unwell = self.unwell_until.is_some_and(|until| now.mono < until);
        let Some(member) = self.members.get_mut(&peer) else { return };
        let (step, was, has_secret) = (member.step(), member.state, member.secret.is_some());
        let Some(probe) = &mut member.probe else { return };
        let (steps, waited, nonce) =
            (probe.steps, now.mono.saturating_duration_since(probe.since), probe.nonce);
        probe.steps += 1;
        let suspect_at = if probe.reported { STEPS_SUSPECT_REPORTED } else { STEPS_SUSPECT };
        let (suspect_at, dead_after) = match unwell {
            true => (suspect_at * 2, DEAD_AFTER * 2),
            false => (suspect_at, DEAD_AFTER),
        };
        let (reported, since) = (probe.reported, probe.since);
        if waited >= dead_after {
            return self.died(now, peer, true);
        }
        if steps >= suspect_at && was == MemberState::Alive {
            self.set_state(peer, MemberState::Suspect);
            self.tell_of(now, peer, if reported { TELL_OTHERS } else { TELL_OWN }, false);
        }
        self.ask_whether_it_is_there(now.mono, peer);
        if HELP_AT_STEPS.contains(&steps) && has_secret {
            self.ask_helpers(now.mono, peer, nonce);
        }
        self.timers
            .set(Timer::Step(peer), (now.mono + step).min(since + dead_after).max(now.mono + LATE / 4));
    }

    fn ask_whether_it_is_there(&mut self, now: Instant, peer: PeerId) {
        let Some(member) = self.members.get(&peer) else { return };
        if member.secret.is_none() {
            return self.hello(now, peer);
        }
        let (next_ms, news) = (self.next_ms(), self.news.take());
        let id = self.number(Asked::Probe(peer, now));
        let ask = LiveRequest::Probe { version: VERSION, life: self.life, next_ms, news };
        self.out.push_back(LivenessOutput::Ask { id, peer, ask });
    }

    pub(super) fn hello(&mut self, now: Instant, peer: PeerId) {
        let word = self.own_word();
        let id = self.number(Asked::Hello(peer, now));
        self.out.push_back(LivenessOutput::Ask {
            id,
            peer,
            ask: LiveRequest::Hello { version: VERSION, word },
        });
    }

    /// That we live, signed once per life.
    pub(super) fn own_word(&mut self) -> dots_wire::Signed {
        let (key, network, life) = (&self.key, &self.network, self.life);
        self.words
            .entry(self.me)
            .or_insert_with(|| Notice::sign(key, network, life, NoticeKind::Alive))
            .clone()
    }

    /// Three others, of different networks where we know them, try it for us.
    fn ask_helpers(&mut self, now: Instant, target: PeerId, nonce: u64) {
        let able =
            |p: &&PeerId| **p != target && self.members.get(p).is_some_and(|m| m.state == MemberState::Alive);
        let mut helpers: Vec<PeerId> =
            self.turns.iter().filter(able).copied().choose_multiple(&mut self.rng, HELPERS * 2);
        let mut networks = Vec::new();
        helpers.retain(|p| {
            let network = self.members.get(p).and_then(|m| m.chosen);
            let seen = network.is_some_and(|n| networks.contains(&n));
            networks.extend(network);
            !seen
        });
        for peer in helpers.into_iter().take(HELPERS) {
            let id = self.number(Asked::Reach { target, nonce, since: now });
            let ask = LiveRequest::Reach { version: VERSION, target, nonce };
            self.out.push_back(LivenessOutput::Ask { id, peer, ask });
        }
    }

    /// `ours`: by our own probe.
    pub(super) fn died(&mut self, now: Now, peer: PeerId, ours: bool) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        member.probe = None;
        let again = member.again;
        member.again = (again * 2).min(AGAIN_MAX);
        self.timers.cancel(&Timer::Step(peer));
        self.timers.set(Timer::Again(peer), now.mono + again);
        let is_news = !member.state.is_gone();
        self.set_state(peer, MemberState::Dead);
        if is_news {
            self.tell_of(now, peer, if ours { TELL_OWN } else { TELL_OTHERS }, true);
        }
    }

    /// Is a dead one back? One question; the next later.
    pub(super) fn ask_again(&mut self, now: Now, peer: PeerId) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        if !self.agains.take(now.mono, AGAINS, 1.0) {
            return self.timers.set(Timer::Again(peer), now.mono + AGAIN_MAX);
        }
        let again = member.again;
        member.again = (again * 2).min(AGAIN_MAX);
        self.ask_whether_it_is_there(now.mono, peer);
        self.timers.set(Timer::Again(peer), now.mono + again);
    }

    fn tell_of(&mut self, now: Now, peer: PeerId, how_many: usize, dead: bool) {
        let Some(life) = self.members.get(&peer).and_then(|m| m.life) else { return };
        let news = if dead { Hearsay::Dead { peer, life } } else { Hearsay::Suspect { peer, life } };
        self.tell(now.mono, &news, how_many, peer);
    }

    /// At once to some neighbours, and to others as it comes.
    pub(super) fn tell(&mut self, now: Instant, news: &Hearsay, how_many: usize, but: PeerId) {
        if !self.news.add(news) {
            return;
        }
        let others = self.turns.iter().filter(|p| **p != but).copied();
        let told = others.choose_multiple(&mut self.rng, how_many);
        let next_ms = self.next_ms();
        for peer in told {
            let id = self.number(Asked::Probe(peer, now));
            let ask =
                LiveRequest::Probe { version: VERSION, life: self.life, next_ms, news: vec![news.clone()] };
            self.out.push_back(LivenessOutput::Ask { id, peer, ask });
        }
    }

    /// The answer to [`LivenessOutput::Ask`] `id`. `Err(true)`: nobody is at the addresses where it was looked for.
    pub fn on_reply(&mut self, now: Now, id: u64, reply: Result<LiveReply, bool>) {
        if let Some((inbound, _)) = self.shows.remove(&id) {
            let reply = match reply {
                Ok(LiveReply::Shown(tag)) => LiveReply::Shown(tag),
                _ => LiveReply::Silent,
            };
            return self.out.push_back(LivenessOutput::Reply { inbound, reply });
        }
        let Some(asked) = self.asks.remove(&id) else { return };
        match (asked, reply) {
            (Asked::Hello(peer, since) | Asked::Probe(peer, since), Ok(reply)) => {
                self.on_answer(now, peer, since, reply);
            }
            (Asked::Hello(peer, _) | Asked::Probe(peer, _), Err(true)) => {
                let absent = self.members.get(&peer).is_some_and(|m| !m.connected && m.probe.is_some());
                if absent {
                    self.died(now, peer, true);
                }
            }
            (Asked::Reach { target, nonce, .. }, Ok(LiveReply::Shown(tag))) => {
                let secret = self.members.get(&target).and_then(|m| m.secret);
                let asked = self.members.get(&target).and_then(|m| m.probe).is_some_and(|p| p.nonce == nonce);
                if asked && secret.is_some_and(|secret| message::tag(&secret, nonce) == tag) {
                    self.count("live_through_others");
                    self.alive(now, target);
                } else if asked {
                    self.count("live_forged_tag");
                }
            }
            _ => {}
        }
    }

    fn on_answer(&mut self, now: Now, peer: PeerId, since: Instant, reply: LiveReply) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        member.answered_after(now.mono.saturating_duration_since(since));
        member.exchanged = Some(now.mono);
        match reply {
            LiveReply::Welcome { word, secret } => {
                self.on_own_word(now, peer, &word);
                if let Some(member) = self.members.get_mut(&peer) {
                    member.secret = Some(secret);
                }
            }
            LiveReply::Alive { life, next_ms, time, newer } => {
                self.note_life(peer, life);
                self.promised(now.mono, peer, next_ms);
                self.out.push_back(LivenessOutput::Clock { peer, time });
                if let Some(word) = newer {
                    self.on_word(now, peer, &word);
                }
            }
            // No answer to this question, but something that it has sent.
            LiveReply::Shown(_) | LiveReply::Silent => {}
        }
        self.alive(now, peer);
    }

    pub(super) fn promised(&mut self, now: Instant, peer: PeerId, next_ms: u32) {
        let within = Duration::from_millis(next_ms.into()).clamp(ROUND_MIN, PROMISE_MAX);
        if self.members.get(&peer).is_some_and(|m| m.connected) {
            self.timers.set(Timer::Promise(peer), now + within);
        }
    }
}
