//! What comes from other peers.

use super::{OverlayCore, OverlayOutput, asks::Pending, gossip};
use crate::{
    dht,
    directory::Source,
    log::{Accepted, FORWARD_MAX, Head, Proof, sync},
    records::{
        Entry, Incarnation, Said,
        entry::{ENTRY_MAX, life_of},
    },
    transport::{GossipId, NetCommand, NetEvent, Protocol, RequestError, Verdict},
};
use dots_wire::{Allowance, Hash, Now, PeerId, bounded::Standing};
use std::time::Duration;

/// LOG-12d: entries out of order that one neighbour may pass on to us: each makes us ask for more.
const GAPS: Allowance = Allowance::new(5.0, 1_000.0);
/// What came from its author himself is passed on after this much, and of how much that is remembered; more is passed on at once.
const PASSED_ON_AFTER: Duration = Duration::from_millis(200);
const VERDICTS_MAX: usize = 2_048;
/// Proofs that we gossip or write down: a liar's keys cost it nothing, our disk and our neighbours cost us.
const PROOFS: Allowance = Allowance::new(10.0 / 60.0, 60.0);

impl OverlayCore {
    pub fn handle_net(&mut self, now: Now, event: NetEvent) {
        self.latest = now;
        match event {
            NetEvent::Connected { peer } => {
                self.directory.set_dead(peer, false);
                self.on_absent(peer, false);
                self.sync.on_connected(now, peer, &mut self.chains);
                self.puts.set_neighbours(true);
            }
            NetEvent::Disconnected { peer } => {
                self.directory.set_dead(peer, true);
                self.on_absent(peer, true);
                self.sync.on_disconnected(peer);
                self.puts.set_neighbours(!self.sync.neighbours().is_empty());
                self.gaps.remove(&peer);
            }
            NetEvent::Request { peer, protocol, id, body } => match protocol {
                Protocol::Log => {
                    let body = self.sync.answer(now, peer, &body, &mut self.chains);
                    self.net(NetCommand::Respond { id, body });
                }
                Protocol::Verify => {
                    let (me, directory) = (self.me, &self.directory);
                    let is_ours = |aor: Hash, instance: Hash| directory.holds((aor, instance, me));
                    self.pinger.on_request(now, peer, id, &body, is_ours);
                }
                // Answered by other rooms.
                _ => {}
            },
            NetEvent::Response { id, result } => self.on_response(now, id, result),
            NetEvent::Gossip { from, id, body } => self.on_gossip(now, from, id, &body),
            NetEvent::DhtOffer { from, key, value, held } => {
                self.on_offer(now, from, &key, &value, held.as_deref());
            }
            NetEvent::DhtValue { .. } | NetEvent::DhtDone { .. } => {}
            NetEvent::OtherVersion { .. }
            | NetEvent::Seen { .. }
            | NetEvent::StreamOpened { .. }
            | NetEvent::StreamRefused { .. }
            | NetEvent::StreamFrame { .. }
            | NetEvent::StreamClosed { .. } => {}
        }
        self.tell_changes();
        self.flush_sync();
        self.flush_verify();
        self.write_due(now);
    }

    fn on_response(&mut self, now: Now, id: u64, result: Result<Vec<u8>, RequestError>) {
        let body = result.ok();
        let brought = match self.asks.answered(id) {
            Some(Pending::Sync(id)) => self.sync.on_response(now, id, body.as_deref(), &mut self.chains),
            Some(Pending::Verify(id)) => return self.on_verified(now, id, body.as_deref()),
            Some(other) => return debug_assert!(false, "a request to a peer is no {other:?}"),
            None => return,
        };
        let Some(brought) = brought else { return };
        let before = self.chains.work();
        let (is_new, is_excused, last) = self.accept_all(now, &brought);
        let full =
            brought.entries.iter().map(|e| e.len()).sum::<usize>() + ENTRY_MAX > sync::ANSWER_BYTES_MAX;
        let work = self.chains.work() - before;
        let more = last.as_ref().filter(|_| full);
        self.sync.settle(now, &brought, &sync::Settled { is_new, is_excused, work, more }, &mut self.chains);
    }

    /// What a neighbour brought, in order. Was something of it new, is it we who took no more, and how far are we now?
    fn accept_all(&mut self, now: Now, brought: &sync::Brought) -> (bool, bool, Option<Head>) {
        let (from, mut is_new, mut is_excused, mut last) = (brought.from, false, false, None);
        for bytes in &brought.entries {
            // LOG-11: an answer counts only for what was asked.
            if life_of(bytes).map(|(author, _)| author) != Some(brought.author) {
                self.count("log_unasked");
                break;
            }
            match self.chains.accept(now, bytes) {
                Accepted::New { entry, restart } => {
                    self.on_entry(now, from, &entry, restart);
                    is_new = true;
                    last = Some(head_of(&entry));
                }
                Accepted::Filled { .. } => is_new = true,
                Accepted::Known { .. } | Accepted::Older => {}
                Accepted::Equivocation { author, mattered, first, second } => {
                    is_new = true;
                    self.on_proof(now, (author, mattered), &first, &second)
                }
                Accepted::RunsTwice => self.out.push_back(OverlayOutput::RunsTwice),
                // The rest of the chain does not fit either.
                Accepted::Throttled => {
                    is_excused = true;
                    self.count("log_throttled");
                    break;
                }
                Accepted::Refused | Accepted::Early => {
                    is_excused = true;
                    break;
                }
                Accepted::Gap { .. } | Accepted::GapOfUnknown { .. } => break,
                Accepted::Invalid => {
                    self.count("log_invalid");
                    break;
                }
            }
        }
        for (time, events) in self.chains.take_filled(now, brought.author) {
            let said = Said { author: brought.author, time, events: &events, dropped: 0, lost: &[] };
            self.hear(now, from, said);
        }
        (is_new, is_excused, last)
    }

    fn on_gossip(&mut self, now: Now, from: PeerId, id: GossipId, body: &[u8]) {
        let verdict = match gossip::read(&self.network, body) {
            None => Verdict::Reject,
            Some(gossip::Said::Proof(first, second)) => match self.chains.check_proof(&first, &second) {
                Proof::Of { author, mattered } => {
                    let news = self.is_told(now, mattered);
                    self.convicted(author, &first, &second, news);
                    if news { Verdict::Forward } else { Verdict::Ignore }
                }
                Proof::NotNeeded => Verdict::Ignore,
                Proof::False => {
                    self.count("log_invalid");
                    Verdict::Reject
                }
            },
            Some(gossip::Said::Entry(bytes)) => match self.on_gossiped_entry(now, from, id, &bytes) {
                Some(verdict) => verdict,
                None => return,
            },
        };
        self.net(NetCommand::GossipVerdict { id, verdict });
    }

    /// What becomes of it; `None`: that is said later.
    fn on_gossiped_entry(&mut self, now: Now, from: PeerId, id: GossipId, bytes: &[u8]) -> Option<Verdict> {
        let forward_if = |may: bool| if may { Verdict::Forward } else { Verdict::Ignore };
        Some(match self.chains.accept_whole(now, bytes) {
            Accepted::New { entry, restart } => {
                self.on_entry(now, from, &entry, restart);
                // LOG-6: what we take at the edge of our clock another one would not.
                let may_pass = entry.header.time.since(now.wall) <= FORWARD_MAX;
                // LOG-10a: its author tells all his neighbours himself. Who has it says so meanwhile, and is not told again.
                if may_pass && entry.header.author == from && self.verdicts.len() < VERDICTS_MAX {
                    self.verdicts.push_back((now.mono + PASSED_ON_AFTER, id));
                    return None;
                }
                forward_if(may_pass)
            }
            Accepted::Known { news } => forward_if(news),
            Accepted::Gap { author, incarnation, from: seq } => {
                self.fetch(now, from, author, incarnation, seq);
                Verdict::Forward
            }
            Accepted::GapOfUnknown { author, incarnation } => {
                self.fetch(now, from, author, incarnation, 0);
                Verdict::Ignore
            }
            Accepted::Equivocation { author, mattered, first, second } => {
                self.on_proof(now, (author, mattered), &first, &second);
                Verdict::Ignore
            }
            Accepted::RunsTwice => {
                self.out.push_back(OverlayOutput::RunsTwice);
                Verdict::Forward
            }
            Accepted::Throttled => {
                self.count("log_throttled");
                Verdict::Ignore
            }
            Accepted::Early => {
                self.count("log_early");
                Verdict::Ignore
            }
            Accepted::Older | Accepted::Refused | Accepted::Filled { .. } => Verdict::Ignore,
            Accepted::Invalid => {
                self.count("log_invalid");
                Verdict::Reject
            }
        })
    }

    /// `neighbour` passed on an entry and must have those before it.
    fn fetch(&mut self, now: Now, neighbour: PeerId, author: PeerId, incarnation: Incarnation, from: u64) {
        if !self.sync.neighbours().contains(&neighbour) {
            return;
        }
        if self.gaps.entry(neighbour).or_default().take(now.mono, GAPS, 1.0) {
            self.sync.want(now, neighbour, author, incarnation, from, &mut self.chains);
        } else {
            self.count("log_gap_refused");
        }
    }

    /// The next entry of another author, which `from` passed on.
    fn on_entry(&mut self, now: Now, from: PeerId, entry: &Entry, restart: bool) {
        if restart {
            self.directory.restarts(now, entry.header.author);
        }
        self.hear(now, from, entry.said());
    }

    fn hear(&mut self, now: Now, from: PeerId, said: Said<'_>) {
        let standing = match self.chains.is_trusted(said.author) {
            true => Standing::Trusted,
            false => Standing::Other,
        };
        let refused = self.directory.apply(now, said, Source { standing, from });
        if refused > 0 {
            self.count("directory_quota");
        }
        self.claim(now);
    }

    /// We caught somebody: tell everybody.
    fn on_proof(&mut self, now: Now, (author, mattered): (PeerId, bool), first: &[u8], second: &[u8]) {
        let news = self.is_told(now, mattered);
        if news {
            let body = gossip::proof(&self.network, first, second);
            self.net(NetCommand::Publish { body });
        }
        self.convicted(author, first, second, news);
    }

    /// LOG-7: is a conviction told and written down? Those of made-up keys, of which everybody has as many as he likes, spend
    /// nothing of what is for liars that somebody stood for.
    fn is_told(&mut self, now: Now, mattered: bool) -> bool {
        let purse = if mattered { &mut self.proofs } else { &mut self.proofs_of_nobody };
        purse.take(now.mono, PROOFS, 1.0)
    }

    /// `keep`: there is room to write it down. Who had nothing here can be caught again after a restart.
    fn convicted(&mut self, author: PeerId, first: &[u8], second: &[u8], keep: bool) {
        if author == self.me {
            // We never sign two: somebody else has our key.
            return self.out.push_back(OverlayOutput::RunsTwice);
        }
        tracing::warn!(%author, "two entries of one number: this peer's word no longer counts");
        self.count("log_equivocation");
        let mattered = self.directory.has_author(author) || self.chains.is_trusted(author);
        self.directory.drop_author(author);
        for pardoned in self.chains.take_pardoned() {
            self.directory.pardon(pardoned);
        }
        if keep && mattered {
            let proof = self.written.proof(first, second);
            proof.into_iter().flatten().for_each(|record| self.note(record));
        }
    }

    /// LOG-23: what a holder is offered. What it holds was checked when it came; of an offer each signature is checked once,
    /// and remembered, so that the same offer again costs a hash.
    fn on_offer(&mut self, now: Now, from: PeerId, key: &[u8], value: &[u8], held: Option<&[u8]>) {
        let (chains, directory) = (&self.chains, &self.directory);
        let standing = |h: &dht::Held| {
            if chains.is_convicted(h.serving) {
                dht::Standing::Refused
            } else if directory.is_granted((h.aor_id, h.instance, h.serving)) {
                dht::Standing::Granted
            } else {
                dht::Standing::Claimed
            }
        };
        let merged = dht::merge(key, held, value, now.wall, &mut self.checked, standing);
        for _ in 0..self.checked.take_count() {
            self.count("dht_signatures_checked");
        }
        match merged {
            Some(dht::Merged { value, ttl_secs, granted }) => {
                self.net(NetCommand::DhtStore { from, granted, key: key.to_vec(), value, ttl_secs });
            }
            None => self.count("dht_offer_refused"),
        }
    }
}

fn head_of(entry: &Entry) -> Head {
    let header = &entry.header;
    let (author, incarnation, seq) = (header.author, header.incarnation, header.seq);
    Head { author, shard: String::new(), incarnation, seq, hash: entry.hash }
}
