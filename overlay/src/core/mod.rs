//! The overlay core: log, directory, verification and DHT records composed. Links are separate, see [`crate::link`].
//!
//! ```text
//!  append(Bind) ─▶ author ─ Append ─▶ disk ─ durable ─▶ chains ─▶ directory ─▶ lookup
//!                                                 └────▶ Publish     ▲    └──▶ verifier ─▶ challenge ─▶ Attest ─▶ author
//!  Gossip, Response ─────────────────────────────────▶ chains ───────┘
//! ```
//!
//! A foreign binding enters as its author's word. The peer, which knows the realms, is told ([`OverlayOutput::NewBind`])
//! and answers [`OverlayCore::granted`] or [`OverlayCore::refused`]; only then is it verified, and keeps its room.
//!
//! Nothing here reads a clock, a socket or a disk, and the seed makes every random choice repeatable.

mod alive;
mod asks;
pub(crate) mod compacting;
mod gossip;
pub(crate) mod judging;
mod net;
#[cfg(test)]
mod tests;

use crate::{
    dht::{self, Puts},
    directory::{Claim, Directory, Found, Short, Source, is_over},
    log::{AuthorLog, BATCH, BATCH_LATER, Chains, Defence, Desk, Sync, Treasury},
    records::{Entry, Event, Incarnation, entry},
    transport::{GossipId, NetCommand, Protocol, Verdict},
    verify::{Asker, Pinger, Verifier, Watch},
};
use asks::{Asks, Pending};
use dots_wire::{Checked, Hash, Label20, Now, PeerId, SecretKey, TokenBucket, bounded::Standing};
use judging::Judging;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// How often what has ended is thrown out of the directory.
const SWEEP: Duration = Duration::from_secs(30);
/// Stored records looked at after a start, from the newest back: enough to find our last life.
const RESTORED_MAX: usize = 10_000;

/// What the core asks of whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverlayOutput {
    Net(NetCommand),
    /// Write this record to the log's segments, fdatasync, and call [`OverlayCore::durable`].
    Append {
        token: u64,
        record: Vec<u8>,
    },
    /// Of the log's segments a later start needs these records alone, in this order.
    Rewrite {
        records: Vec<Vec<u8>>,
    },
    /// Send an OPTIONS to this phone of ours and call [`OverlayCore::pinged`].
    PingPhone {
        id: u64,
        aor_id: Hash,
        instance: Hash,
        asker: Asker,
    },
    /// A phone of ours has registered at another peer and does not answer here: say that it is gone. Its next REGISTER
    /// brings it back.
    Moved {
        aor_id: Hash,
        instance: Hash,
    },
    /// Another peer says that it serves this phone. Check the grant by what is believed of the realm, and call
    /// [`OverlayCore::granted`] or [`OverlayCore::refused`]; of a realm that is not known say nothing.
    NewBind(Claim),
    /// [`OverlayCore::lookup`] of this AOR may answer otherwise now.
    DirectoryChanged {
        aor_id: Hash,
    },
    /// Our key signs entries somewhere else, later than here: stop.
    RunsTwice,
    Count(&'static str),
}

pub struct OverlayCore {
    key: SecretKey,
    me: PeerId,
    network: String,
    rng: ChaCha20Rng,
    latest: Now,
    desk: Desk,
    author: AuthorLog,
    chains: Chains,
    treasury: Treasury,
    sync: Sync,
    directory: Directory,
    verifier: Verifier,
    pinger: Pinger,
    /// Over our own phones.
    watch: Watch,
    puts: Puts,
    judging: Judging,
    /// Peers that do not answer: that a log of theirs is here makes the network no larger.
    absent: BTreeSet<PeerId>,
    /// Verdicts that wait until those who have the message said so.
    verdicts: VecDeque<(Instant, GossipId)>,
    gaps: BTreeMap<PeerId, TokenBucket>,
    /// Proofs told and written down: of whoever somebody stood for, and of all others.
    proofs: TokenBucket,
    proofs_of_nobody: TokenBucket,
    written: compacting::Written,
    sweep_at: Instant,
    /// Signatures of DHT records that were checked before.
    checked: Checked,
    asks: Asks,
    out: VecDeque<OverlayOutput>,
}

/// What of the log's segments a later start still needs, oldest first; `None`: they are short enough as they are. A new
/// life says all live bindings again, so of our own entries only the newest count (no life may come before them), and of
/// others' the proofs that convict them.
pub fn compacted(me: PeerId, records: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    if records.len() <= 2 * RESTORED_MAX {
        return None;
    }
    let (old, new) = records.split_at(records.len() - RESTORED_MAX);
    let is_proof = |r: &&Vec<u8>| Entry::read(r).is_some_and(|e| e.header().author != me);
    Some(old.iter().filter(is_proof).chain(new).cloned().collect())
}

impl OverlayCore {
    /// A new life of this key. `network`: gossip of another network is refused.
    pub fn new(key: SecretKey, network: String, seed: u64, now: Now) -> OverlayCore {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let me = key.peer_id();
        let author = AuthorLog::new(key.clone(), rng.random(), now);
        let jitter = Duration::from_millis(rng.random_range(0..10_000));
        OverlayCore {
            me,
            network,
            latest: now,
            chains: Chains::new(me, author.incarnation()),
            desk: Desk::default(),
            author,
            treasury: Treasury::default(),
            sync: Sync::new(now, jitter),
            directory: Directory::default(),
            verifier: Verifier::new(me),
            pinger: Pinger::new(key.clone()),
            watch: Watch::default(),
            absent: BTreeSet::new(),
            verdicts: VecDeque::new(),
            puts: Puts::default(),
            judging: Judging::default(),
            gaps: BTreeMap::new(),
            proofs: TokenBucket::default(),
            proofs_of_nobody: TokenBucket::default(),
            written: compacting::Written::default(),
            sweep_at: now.mono + SWEEP,
            checked: Checked::default(),
            asks: Asks::default(),
            out: VecDeque::new(),
            key,
            rng,
        }
    }

    /// For a simulation: as if this defence had not been built.
    pub fn disarm(&mut self, defence: Defence) {
        match defence {
            Defence::AuthorsGiveWay | Defence::UnpaidAreShort | Defence::JudgedFirst => {
                self.chains.disarm(defence)
            }
            Defence::RealmsPay => {
                self.chains.disarm(defence);
                self.desk.disarm();
            }
            Defence::Turns => self.sync.disarm(),
            // Whoever routes stands above.
            Defence::JudgedBefore => {}
        }
    }

    /// The log's segments, oldest first, before anything is appended: this life must be later than each before it, who
    /// was caught lying stays convicted, and what we revoked stays revoked. Live bindings are not taken from here; publish
    /// them with [`OverlayCore::append`].
    pub fn restore(&mut self, now: Now, records: &[Vec<u8>]) {
        self.latest = now;
        let mut seen: BTreeMap<(PeerId, Incarnation, u64), &[u8]> = BTreeMap::new();
        for record in records.iter().rev().take(RESTORED_MAX) {
            // LOG-5: an entry of an older format says nothing but whose life it was of.
            if let Some((_, life)) = entry::life_of(record).filter(|(author, _)| *author == self.me) {
                self.author.outlive(life);
            }
            let Some(entry) = Entry::read(record) else { continue };
            let header = entry.header();
            if header.author == self.me {
                for revoke in entry.revokes().filter(|r| !is_over(r.before, now.wall)) {
                    self.author.recall(revoke);
                }
                continue;
            }
            if let Some(other) = seen.insert((header.author, header.incarnation, header.seq), record)
                && self.chains.convict_by(other, record).is_some()
            {
                self.written.proof(other, record);
            }
        }
        self.chains.set_own(self.author.incarnation());
    }

    /// After a start, when all live bindings were appended: others learn what is left of the last life, and what is not.
    pub fn open(&mut self, now: Now) {
        self.latest = now;
        self.author.open(now, &self.directory);
        self.write_due(now);
    }

    /// Says `event` in our log, now or when its account may say more; others hear it when it is on disk.
    pub fn append(&mut self, now: Now, event: Event) {
        let (author, directory) = (&self.author, &self.directory);
        if let Some(event) = self.desk.say(now, event, |phone| author.is_bound(phone, directory)) {
            let realm = event.realm();
            self.append_of(now, realm, event, BATCH);
        }
    }

    /// The same of an event that does not say itself of which realm it is. `within`: who waits for it?
    fn append_of(&mut self, now: Now, realm: Label20, event: Event, within: Duration) {
        self.latest = now;
        if !self.author.append_of(now, realm, event, &self.directory, within) {
            self.count("log_full");
        }
        self.write_due(now);
    }

    /// `Append` with this token is on disk.
    pub fn durable(&mut self, now: Now, token: u64) {
        self.latest = now;
        let entries = match self.asks.written(token) {
            Some(Pending::Entry(token)) => self.author.durable(token),
            Some(Pending::Note) | None => return,
            Some(other) => return debug_assert!(false, "an append is no {other:?}"),
        };
        for entry in entries {
            // A checkpoint of ours is made of what stands here and of what comes, so nothing lapses by it.
            self.chains.put_own(&entry);
            self.directory.apply(now, entry.said(), Source { standing: Standing::Own, from: self.me });
            for event in &entry.events {
                match event {
                    Event::Bind(b) => {
                        self.puts.changed(now, b.aor_id);
                        self.pinger.on_bound(b.aor_id, b.instance);
                        if let Some(row) = self.directory.row_of((b.aor_id, b.instance, self.me)) {
                            self.watch.on_bound(now, row, &mut self.rng);
                        }
                    }
                    Event::Unbind(u) => self.puts.changed(now, u.aor_id),
                    _ => {}
                }
            }
            let body = gossip::entry(&self.network, &entry.bytes);
            self.net(NetCommand::Publish { body });
            self.sync.on_published(now, self.chains.authors());
        }
        self.tell_changes();
        self.compact_if_due();
        self.write_due(now);
    }

    /// Who serves this AOR of this realm, best first. Check grants before routing: they may have been revoked since.
    pub fn lookup(&self, aor_id: Hash, realm: Label20) -> Vec<Found> {
        self.directory.lookup(self.latest, aor_id, realm)
    }

    /// `peer` is known not to answer, or answers again: its bindings are stale, or are not.
    pub fn set_dead(&mut self, now: Now, peer: PeerId, dead: bool) {
        self.latest = now;
        self.directory.set_dead(peer, dead);
        self.on_absent(peer, dead);
        self.tell_changes();
    }

    /// `peer` is connected from this network: keys are free, so networks are asked in turn.
    pub fn seen(&mut self, peer: PeerId, network: u64) {
        self.sync.seen(peer, network);
    }

    /// This life: the highest number of all that this key has had here.
    pub fn incarnation(&self) -> Incarnation {
        self.author.incarnation()
    }

    /// A home of our own or of a pinned realm: it may say more than a stranger.
    pub fn trust(&mut self, peer: PeerId) {
        self.chains.trust(peer);
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Bindings in the directory.
    pub fn len(&self) -> usize {
        self.directory.len()
    }

    pub fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// The number of the newest entry that we hold of this peer's log.
    pub fn head(&self, author: PeerId) -> Option<u64> {
        self.chains.head(author)
    }

    /// What this peer says of some realm has not reached us.
    pub fn hears_in_part(&self, author: PeerId) -> bool {
        self.chains.is_in_part(author)
    }

    /// Which entry that is.
    pub fn head_hash(&self, author: PeerId) -> Option<Hash> {
        self.chains.head_hash(author)
    }

    /// Peers whose logs we hold, our own included.
    pub fn authors(&self) -> usize {
        self.chains.authors()
    }

    pub fn poll_output(&mut self) -> Option<OverlayOutput> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.desk.poll_timeout(),
            self.author.poll_timeout(&self.directory),
            self.sync.poll_timeout(),
            self.verifier.poll_timeout(),
            self.pinger.poll_timeout(),
            self.watch.poll_timeout(),
            self.verdicts.front().map(|(at, _)| *at),
            self.puts.poll_timeout(),
            self.judging.poll_timeout(),
            Some(self.sweep_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.latest = now;
        while let Some(event) = self.desk.due(now) {
            let realm = event.realm();
            self.append_of(now, realm, event, BATCH);
        }
        self.write_due(now);
        self.say_verdicts(now);
        self.sync.handle_timeout(now, &mut self.rng, &mut self.chains);
        self.flush_sync();
        let directory = &self.directory;
        let binding = |row: u64| directory.in_row(row);
        self.verifier.handle_timeout(now, &mut self.rng, self.sync.neighbours(), binding);
        self.pinger.handle_timeout(now);
        self.look_at_phones(now);
        self.flush_verify();
        self.put_due(now);
        self.judge_due(now);
        if self.sweep_at <= now.mono {
            self.sweep_at = now.mono + SWEEP;
            self.directory.sweep(now);
            self.chains.lapse(&self.directory.granted_by_author());
            self.desk.sweep(now);
            self.tell_changes();
        }
    }

    fn write_due(&mut self, now: Now) {
        for write in self.author.seal_due(now, &self.directory) {
            let record = write.entry.bytes.to_vec();
            self.written.add(record.len());
            let token = self.asks.append(Pending::Entry(write.token));
            self.out.push_back(OverlayOutput::Append { token, record });
        }
    }

    /// LOG-10a: what came from its author is passed on now.
    fn say_verdicts(&mut self, now: Now) {
        while let Some((_, id)) = self.verdicts.front().copied().filter(|(at, _)| *at <= now.mono) {
            self.verdicts.pop_front();
            self.net(NetCommand::GossipVerdict { id, verdict: Verdict::Forward });
        }
    }

    fn put_due(&mut self, now: Now) {
        let mut is_complete = None;
        while let Some(aor) = self.puts.take_due(now) {
            // LOG-24a: who asks has it from our log.
            if *is_complete.get_or_insert_with(|| self.is_complete()) {
                self.puts.rest(now, aor);
                continue;
            }
            for aor_id in self.directory.own_aors(aor) {
                self.put_aor(now, aor, aor_id);
            }
        }
    }

    fn put_aor(&mut self, now: Now, aor: Short, aor_id: Hash) {
        let live = self.directory.of_author(self.me, aor_id).filter(|b| b.until > now.wall);
        let value = dht::value(&self.key, live, now.wall);
        let Some(ttl_secs) = dht::ttl_secs(&value, now.wall) else { return };
        self.puts.put(now, aor);
        self.net(NetCommand::DhtPut { key: aor_id.0.to_vec(), value, ttl_secs });
    }

    fn flush_sync(&mut self) {
        while let Some(ask) = self.sync.poll_ask() {
            let (peer, protocol, body) = (ask.peer, Protocol::Log, ask.body);
            match self.asks.ask(Pending::Sync(ask.id)) {
                Some(id) => self.net(NetCommand::Request { id, peer, protocol, body }),
                None => {
                    self.count("overlay_asks_full");
                    self.sync.on_response(self.latest, ask.id, None, &mut self.chains);
                }
            }
        }
    }

    fn flush_verify(&mut self) {
        while let Some(c) = self.verifier.poll_challenge() {
            let (peer, protocol, body) = (c.peer, Protocol::Verify, c.body);
            match self.asks.ask(Pending::Verify(c.id)) {
                Some(id) => self.net(NetCommand::Request { id, peer, protocol, body }),
                None => {
                    self.count("overlay_asks_full");
                    self.verifier.on_response(self.latest, c.id, None, &mut self.rng);
                }
            }
        }
        while let Some(ping) = self.pinger.poll_ping() {
            let (id, aor_id, instance, asker) = (ping.id, ping.aor_id, ping.instance, ping.asker);
            self.out.push_back(OverlayOutput::PingPhone { id, aor_id, instance, asker });
        }
        while let Some((id, body)) = self.pinger.poll_reply() {
            self.net(NetCommand::Respond { id, body });
        }
    }

    fn tell_changes(&mut self) {
        for aor_id in self.directory.take_changed() {
            self.out.push_back(OverlayOutput::DirectoryChanged { aor_id });
        }
    }

    /// Writes a record that nobody waits for.
    fn note(&mut self, record: Vec<u8>) {
        self.written.add(record.len());
        let token = self.asks.append(Pending::Note);
        self.out.push_back(OverlayOutput::Append { token, record });
    }

    fn net(&mut self, command: NetCommand) {
        self.out.push_back(OverlayOutput::Net(command));
    }

    fn count(&mut self, name: &'static str) {
        self.out.push_back(OverlayOutput::Count(name));
    }
}
