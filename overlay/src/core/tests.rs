//! Three cores over a network that loses every third gossip message.

use super::*;
use crate::{
    directory::State,
    records::{Bind, Header, Revoke, Unbind, entry::VERSION},
    transport::{NetEvent, Verdict},
    verify::Sign,
};
use dots_wire::{Label20, Timestamp, bounded::Cause, encode};

mod crowd;

/// What is said of a realm's bindings, and in which network its home is.
type Judges = Box<dyn Fn(Label20) -> (Option<bool>, u64)>;

const REALM: Label20 = Label20([4; 20]);

struct Net {
    now: Now,
    keys: Vec<SecretKey>,
    cores: Vec<OverlayCore>,
    disks: Vec<Vec<Vec<u8>>>,
    wire: VecDeque<(usize, NetEvent)>,
    /// Answers to come: inbound id -> (who asked, its id).
    /// Who has asked, if he still lives, and under which id.
    asked: BTreeMap<u64, (Option<usize>, u64)>,
    ids: u64,
    rng: ChaCha20Rng,
    loss: f64,
    alive: bool,
    /// What the peers say of a binding; none: they do not know its realm.
    judge: Option<bool>,
    judges: Option<Judges>,
    counts: BTreeMap<&'static str, usize>,
    verdicts_against: usize,
    runs_twice: usize,
    /// Phones that moved away: from whom.
    moved: Vec<usize>,
    puts: Vec<(Vec<u8>, Vec<u8>)>,
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

impl Net {
    fn new(peers: u8, loss: f64, seed: u64) -> Net {
        let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
        let keys: Vec<SecretKey> = (1..=peers).map(key).collect();
        let cores =
            keys.iter().map(|k| OverlayCore::new(k.clone(), "test".into(), seed, now)).collect::<Vec<_>>();
        let mut net = Net {
            now,
            disks: vec![vec![]; cores.len()],
            keys,
            cores,
            wire: VecDeque::new(),
            asked: BTreeMap::new(),
            ids: 0,
            rng: ChaCha20Rng::seed_from_u64(seed),
            loss,
            alive: true,
            judge: Some(true),
            judges: None,
            counts: BTreeMap::new(),
            verdicts_against: 0,
            runs_twice: 0,
            moved: vec![],
            puts: vec![],
        };
        for a in 0..net.cores.len() {
            net.connect(a);
        }
        net
    }

    fn connect(&mut self, a: usize) {
        for b in (0..self.cores.len()).filter(|b| *b != a) {
            let peer = self.keys[b].peer_id();
            self.wire.push_back((a, NetEvent::Connected { peer }));
        }
    }

    /// What is on its way to `a`, and what it has asked, was of a life that is over.
    fn ends(&mut self, a: usize) {
        self.wire.retain(|(to, _)| *to != a);
        self.asked.values_mut().filter(|(asker, _)| *asker == Some(a)).for_each(|(asker, _)| *asker = None);
    }

    fn restart(&mut self, a: usize) {
        self.ends(a);
        self.cores[a] = OverlayCore::new(self.keys[a].clone(), "test".into(), self.ids, self.now);
        self.cores[a].restore(self.now, &self.disks[a].clone());
        self.cores[a].open(self.now);
        self.connect(a);
    }

    fn index(&self, peer: PeerId) -> usize {
        self.keys.iter().position(|k| k.peer_id() == peer).expect("one of us")
    }

    fn collect(&mut self) {
        for at in 0..self.cores.len() {
            while let Some(output) = self.cores[at].poll_output() {
                self.on_output(at, output);
            }
        }
    }

    fn on_output(&mut self, at: usize, output: OverlayOutput) {
        match output {
            OverlayOutput::Append { token, record } => {
                self.disks[at].push(record);
                self.cores[at].durable(self.now, token);
            }
            OverlayOutput::PingPhone { id, .. } => {
                let sign = if self.alive { Sign::Life } else { Sign::Silence };
                self.cores[at].pinged(self.now, id, sign);
            }
            OverlayOutput::DirectoryChanged { .. } => {}
            OverlayOutput::Rewrite { records } => self.disks[at] = records,
            OverlayOutput::NewBind(claim) => {
                let judges = self.judges.as_ref();
                let (judge, network) = judges.map_or((self.judge, 0), |judges| judges(claim.realm));
                let cause = Cause { network, ..Cause::new(Standing::Other).of_realm(&claim.realm.0) };
                match judge {
                    Some(true) => self.cores[at].granted(self.now, claim.binding, cause),
                    Some(false) => self.cores[at].refused(self.now, claim.binding),
                    None => {}
                }
            }
            OverlayOutput::Moved { .. } => self.moved.push(at),
            OverlayOutput::RunsTwice => self.runs_twice += 1,
            OverlayOutput::Count(name) => *self.counts.entry(name).or_default() += 1,
            OverlayOutput::Net(command) => self.on_command(at, command),
        }
    }

    fn on_command(&mut self, at: usize, command: NetCommand) {
        self.ids += 1;
        let me = self.keys[at].peer_id();
        match command {
            NetCommand::Publish { body } => {
                for other in (0..self.cores.len()).filter(|o| *o != at) {
                    if !self.rng.random_bool(self.loss) {
                        let event = NetEvent::Gossip { from: me, id: self.ids, body: body.clone() };
                        self.wire.push_back((other, event));
                    }
                }
            }
            NetCommand::Request { id, peer, protocol, body } => {
                if self.rng.random_bool(self.loss) {
                    let result = Err(crate::transport::RequestError::Timeout);
                    return self.wire.push_back((at, NetEvent::Response { id, result }));
                }
                self.asked.insert(self.ids, (Some(at), id));
                let event = NetEvent::Request { peer: me, protocol, id: self.ids, body };
                self.wire.push_back((self.index(peer), event));
            }
            NetCommand::Respond { id, body } => {
                let Some((asker, id)) = self.asked.remove(&id) else { panic!("answered twice") };
                *self.counts.entry("log_answer_bytes").or_default() += body.as_ref().map_or(0, Vec::len);
                let result = body.ok_or(crate::transport::RequestError::Refused);
                self.wire.extend(asker.map(|asker| (asker, NetEvent::Response { id, result })));
            }
            NetCommand::GossipVerdict { verdict, .. } => {
                self.verdicts_against += usize::from(verdict == Verdict::Reject)
            }
            NetCommand::DhtPut { key, value, .. } => self.puts.push((key, value)),
            other => panic!("the overlay core does not say {other:?}"),
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            self.collect();
            while let Some((at, event)) = self.wire.pop_front() {
                self.cores[at].handle_net(self.now, event);
                self.collect();
            }
            let Some(at) = self.cores.iter().filter_map(OverlayCore::poll_timeout).min() else { break };
            if at > end {
                break;
            }
            self.tick(at);
            for core in &mut self.cores {
                core.handle_timeout(self.now);
            }
        }
        self.tick(end);
    }

    fn tick(&mut self, to: Instant) {
        let step = to.saturating_duration_since(self.now.mono);
        self.now = Now { mono: self.now.mono + step, wall: self.now.wall.plus(step) };
    }

    fn bind(&mut self, at: usize, aor: u8, phone: u8) {
        let bind = Bind {
            aor_id: Hash([aor; 32]),
            realm: REALM,
            instance: Hash([phone; 32]),
            until: self.now.wall.plus(Duration::from_secs(3_600)),
            grant: None,
        };
        self.cores[at].append(self.now, Event::Bind(bind));
    }

    /// What each core says of these AORs, attestations aside (they go on spreading).
    fn views(&self, aors: u8) -> Vec<Vec<Vec<(PeerId, Hash, Timestamp)>>> {
        let of = |core: &OverlayCore, aor: u8| {
            let mut found: Vec<_> = core
                .lookup(Hash([aor; 32]), REALM)
                .into_iter()
                .map(|f| (f.serving, f.instance, f.until))
                .collect();
            found.sort();
            found
        };
        self.cores.iter().map(|core| (0..aors).map(|aor| of(core, aor)).collect()).collect()
    }

    fn assert_agreed(&self, aors: u8, bindings: usize) {
        let views = self.views(aors);
        assert!(views.windows(2).all(|w| w[0] == w[1]), "{views:?}");
        assert_eq!(views[0].iter().map(Vec::len).sum::<usize>(), bindings);
        assert_eq!((self.verdicts_against, self.runs_twice), (0, 0));
    }
}

#[test]
fn three_peers_agree_whatever_was_lost() {
    for seed in 0..20 {
        let mut net = Net::new(3, 0.33, seed);
        for n in 0..20u8 {
            net.bind(usize::from(n % 3), n, 1);
            net.pass(Duration::from_millis(30));
        }
        net.bind(1, 0, 2);
        let gone = Unbind { aor_id: Hash([1; 32]), instance: Hash([1; 32]) };
        net.cores[1].append(net.now, Event::Unbind(gone));
        net.pass(Duration::from_secs(60));
        net.assert_agreed(20, 20);
    }
}

#[test]
fn at_five_percent_loss_five_quiet_seconds_are_enough() {
    for seed in 100..150 {
        let mut net = Net::new(5, 0.05, seed);
        for n in 0..20u8 {
            net.bind(usize::from(n % 5), n, 1);
            net.pass(Duration::from_millis(30));
        }
        net.pass(Duration::from_secs(5));
        net.assert_agreed(20, 20);
    }
}

#[test]
fn a_binding_is_pending_then_verified_by_others() {
    let mut net = Net::new(3, 0.0, 1);
    // Each says that it is there, so that all know who all are.
    (0..3).for_each(|at| net.cores[at].open(net.now));
    net.pass(Duration::from_millis(60));
    net.bind(0, 7, 1);
    net.pass(Duration::from_millis(60));
    let state = |net: &Net, at: usize| net.cores[at].lookup(Hash([7; 32]), REALM).first().map(|f| f.state);
    assert_eq!(state(&net, 1), Some(State::Pending));
    net.pass(Duration::from_secs(2));
    for at in 0..3 {
        assert_eq!(state(&net, at), Some(State::Verified));
    }
    let found = net.cores[2].lookup(Hash([7; 32]), REALM);
    assert_eq!(found.first().map(|f| f.attested.len()), Some(1), "LOG-21a: the first to look says so");
    net.pass(Duration::from_secs(1_500));
    let found = net.cores[2].lookup(Hash([7; 32]), REALM);
    let attested = found.first().map(|f| f.attested.clone()).unwrap_or_default();
    assert_eq!(attested.len(), 2, "LOG-21b: a second one says so too");
    net.pass(Duration::from_secs(1_500));
    let found = net.cores[2].lookup(Hash([7; 32]), REALM);
    assert_eq!(found.first().map(|f| &f.attested), Some(&attested), "what is known is not said again");
    net.alive = false;
    net.pass(Duration::from_secs(80));
    for at in 0..3 {
        assert_eq!(state(&net, at), Some(State::Stale), "LOG-15a: its serving peer says so");
    }
    net.alive = true;
    net.pass(Duration::from_secs(70));
    for at in 0..3 {
        assert_eq!(state(&net, at), Some(State::Verified), "and takes it back");
    }
    let found = net.cores[2].lookup(Hash([7; 32]), REALM);
    assert_eq!(
        found.first().map(|f| f.attested.len()),
        Some(3),
        "both verifiers' words, and the serving peer's"
    );
    assert_eq!(net.puts, [], "LOG-24a: who asks has it from the log");
}

/// LOG-24a: a peer whose log others pass on may not hear ours from us.
#[test]
fn what_not_all_are_told_is_put_where_they_look() {
    let mut net = Net::new(3, 0.0, 1);
    net.wire.clear();
    for (at, other) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        let peer = net.keys[other].peer_id();
        net.wire.push_back((at, NetEvent::Connected { peer }));
    }
    net.bind(2, 9, 1);
    net.pass(Duration::from_secs(2));
    net.bind(0, 7, 1);
    net.pass(Duration::from_secs(1_500));
    let puts = net.puts.iter().filter(|(k, _)| *k == [7; 32]).count();
    assert!((1..=3).contains(&puts), "off the hot path, and refreshed: {puts}");
}

/// LOG-10a.
#[test]
fn what_comes_from_its_author_is_passed_on_after_a_pause() {
    let mut net = Net::new(1, 0.0, 1);
    let author = key(2).peer_id();
    net.cores[0].handle_net(net.now, NetEvent::Connected { peer: author });
    let mut other = OverlayCore::new(key(2), "test".into(), 2, net.now);
    other.open(net.now);
    let mut bodies = Vec::new();
    while let Some(output) = other.poll_output() {
        match output {
            OverlayOutput::Append { token, .. } => other.durable(net.now, token),
            OverlayOutput::Net(NetCommand::Publish { body }) => bodies.push(body),
            _ => {}
        }
    }
    let body = bodies.pop().expect("an entry of its start");
    let verdicts = |net: &mut Net| {
        let out = std::iter::from_fn(|| net.cores[0].poll_output());
        out.filter(|o| {
            matches!(o, OverlayOutput::Net(NetCommand::GossipVerdict { verdict: Verdict::Forward, .. }))
        })
        .count()
    };
    net.cores[0].handle_net(net.now, NetEvent::Gossip { from: author, id: 1, body: body.clone() });
    assert_eq!(verdicts(&mut net), 0);
    net.now.mono += Duration::from_millis(200);
    assert!(net.cores[0].poll_timeout().is_some_and(|at| at <= net.now.mono));
    net.cores[0].handle_timeout(net.now);
    assert_eq!(verdicts(&mut net), 1);
    // Of whoever is not the author nobody knows whom he told.
    let mut net = Net::new(1, 0.0, 1);
    net.cores[0].handle_net(net.now, NetEvent::Gossip { from: key(3).peer_id(), id: 1, body });
    assert_eq!(verdicts(&mut net), 1);
}

#[test]
fn what_a_lonely_peer_has_to_put_waits_for_its_first_neighbour() {
    let mut net = Net::new(1, 0.0, 1);
    net.bind(0, 7, 1);
    net.pass(Duration::from_secs(60));
    assert_eq!(net.puts, [], "nobody is there to hold it");
    let peer = key(2).peer_id();
    let puts = |net: &mut Net, events: &[NetEvent]| {
        for event in events {
            net.cores[0].handle_net(net.now, event.clone());
        }
        net.cores[0].handle_timeout(net.now);
        let out = std::iter::from_fn(|| net.cores[0].poll_output());
        out.filter(|out| matches!(out, OverlayOutput::Net(NetCommand::DhtPut { .. }))).count()
    };
    let came_and_went = [NetEvent::Connected { peer }, NetEvent::Disconnected { peer }];
    assert_eq!(puts(&mut net, &came_and_went), 0, "it has gone again");
    assert_eq!(puts(&mut net, &[NetEvent::Connected { peer }]), 1);
}

#[test]
fn a_restarted_peer_says_its_bindings_again_and_the_rest_lapses() {
    let mut net = Net::new(3, 0.0, 1);
    net.bind(0, 1, 1);
    net.bind(0, 2, 1);
    net.pass(Duration::from_secs(5));
    net.assert_agreed(3, 2);
    net.restart(0);
    net.bind(0, 1, 1);
    net.pass(Duration::from_secs(60));
    net.assert_agreed(3, 1);
    assert_eq!(net.disks[0].len(), net.disks[0].iter().filter(|r| Entry::read(r).is_some()).count());
}

#[test]
fn a_liar_loses_everything_everywhere() {
    let mut net = Net::new(3, 0.0, 1);
    net.bind(0, 1, 1);
    net.pass(Duration::from_secs(1));
    let first = Entry::read(&net.disks[0][0]).and_then(|e| e.verify()).expect("an entry");
    let header = Header { time: first.header.time.plus(Duration::from_millis(1)), ..first.header.clone() };
    assert_eq!(header.version, VERSION);
    let gone = Event::Unbind(Unbind { aor_id: Hash([1; 32]), instance: Hash([1; 32]) });
    let second = Entry::seal(&key(1), header, vec![encode(&gone)]);
    let body = gossip::entry("test", &second.bytes);
    let from = key(1).peer_id();
    net.wire.push_back((1, NetEvent::Gossip { from, id: 999, body }));
    net.pass(Duration::from_secs(5));
    for at in [1, 2] {
        assert!(net.cores[at].lookup(Hash([1; 32]), REALM).is_empty(), "one saw it, both know it");
    }
    assert_eq!(net.counts.get("log_equivocation"), Some(&2));
    assert_eq!(net.runs_twice, 1, "it hears that somebody has its key");
    net.restart(2);
    net.pass(Duration::from_secs(30));
    assert!(net.cores[2].lookup(Hash([1; 32]), REALM).is_empty(), "a conviction survives a restart");
}

#[test]
fn a_key_that_runs_twice_is_noticed_by_the_older_one() {
    let mut net = Net::new(2, 0.0, 1);
    net.bind(0, 1, 1);
    net.pass(Duration::from_secs(1));
    let mut later = net.now;
    later.wall = later.wall.plus(Duration::from_secs(5));
    let mut copy = OverlayCore::new(key(1), "test".into(), 99, later);
    copy.append(later, Event::Unbind(Unbind { aor_id: Hash([1; 32]), instance: Hash([1; 32]) }));
    later.mono += Duration::from_secs(1);
    copy.handle_timeout(later);
    let Some(OverlayOutput::Append { record, .. }) = copy.poll_output() else { panic!("an entry is due") };
    let body = gossip::entry("test", &record);
    net.wire.push_back((1, NetEvent::Gossip { from: key(1).peer_id(), id: 999, body }));
    net.pass(Duration::from_secs(15));
    assert!(net.runs_twice > 0, "anti-entropy brings it home");
}

/// LOG-17: where a phone was before it is looked at when it registers elsewhere, and not where it is.
#[test]
fn a_phone_that_moved_is_looked_at_where_it_was() {
    for (answers, moved) in [(true, vec![]), (false, vec![0])] {
        let mut net = Net::new(3, 0.0, 1);
        net.bind(0, 1, 1);
        net.bind(0, 1, 2);
        net.pass(Duration::from_secs(2));
        net.alive = answers;
        net.bind(1, 1, 1);
        net.pass(Duration::from_secs(2));
        assert_eq!(net.moved, moved, "another phone of the same person stays");
        net.pass(Duration::from_secs(60));
        assert_eq!(net.moved, moved, "once");
    }
}

#[test]
fn gossip_of_another_network_is_refused() {
    let mut net = Net::new(2, 0.0, 1);
    let body = gossip::entry("other", b"");
    net.wire.push_back((1, NetEvent::Gossip { from: key(1).peer_id(), id: 999, body }));
    net.pass(Duration::from_secs(1));
    assert_eq!(net.verdicts_against, 1);
}

#[test]
fn a_binding_that_no_home_granted_is_dropped_and_never_attested() {
    let mut net = Net::new(2, 0.0, 1);
    net.judge = Some(false);
    net.bind(0, 1, 1);
    net.pass(Duration::from_secs(20));
    assert!(net.cores[1].lookup(Hash([1; 32]), REALM).is_empty());
    assert_eq!(net.cores[0].lookup(Hash([1; 32]), REALM).len(), 1, "our own phone rings");
    assert_eq!(net.disks[1].len(), 0, "nothing was attested");
}

#[test]
fn bindings_of_an_unknown_realm_wait_and_are_judged_when_it_is_known() {
    let mut net = Net::new(2, 0.0, 1);
    net.judge = None;
    for aor in 0..200u8 {
        net.bind(0, aor, 1);
    }
    net.pass(Duration::from_secs(20));
    assert_eq!(net.disks[1].len(), 0, "nobody knows whether to believe it: nothing is attested");
    net.judge = Some(true);
    net.cores[1].realm_known(net.now, Label20([5; 20]));
    net.cores[1].realm_known(net.now, REALM);
    net.pass(Duration::from_secs(1));
    let granted = (0..200u8)
        .filter(|n| net.cores[1].directory().is_granted((Hash([*n; 32]), Hash([1; 32]), key(1).peer_id())));
    assert_eq!(granted.count(), 200);
    net.pass(Duration::from_secs(10));
    let found = net.cores[0].lookup(Hash([7; 32]), REALM);
    assert_eq!(found.first().map(|f| f.state), Some(State::Verified));
}

/// LOG-18.
#[test]
fn a_revocation_outlives_the_home_that_said_it_and_the_peer_that_heard_it() {
    let mut net = Net::new(2, 0.0, 1);
    let (aor_id, before) = (Hash([1; 32]), net.now.wall);
    net.cores[0].append(net.now, Event::Revoke(Revoke { aor_id, before }));
    net.pass(Duration::from_secs(5));
    for again in [0, 1, 0] {
        net.restart(again);
        net.pass(Duration::from_secs(20));
        for core in &net.cores {
            assert_eq!(core.directory().revoked_before(aor_id, key(1).peer_id()), Some(before));
        }
    }
    net.pass(Duration::from_secs(3_700));
    net.restart(0);
    net.pass(Duration::from_secs(20));
    assert_eq!(
        net.cores[0].directory().revoked_before(aor_id, key(1).peer_id()),
        None,
        "then nobody needs it"
    );
}

/// A peer with one neighbour, which tells it what it likes.
fn hears(bodies: impl IntoIterator<Item = Vec<u8>>) -> (OverlayCore, Vec<OverlayOutput>) {
    let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000) };
    let mut core = OverlayCore::new(key(1), "test".into(), 1, now);
    let from = key(2).peer_id();
    core.handle_net(now, NetEvent::Connected { peer: from });
    while core.poll_output().is_some() {}
    for (id, body) in bodies.into_iter().enumerate() {
        core.handle_net(now, NetEvent::Gossip { from, id: id as u64, body });
    }
    let out = std::iter::from_fn(|| core.poll_output()).collect();
    (core, out)
}

fn invented(n: u32, seq: u64, aor: u8) -> (SecretKey, Entry) {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    let key = SecretKey::from_bytes(&bytes).expect("a scalar");
    let header = Header {
        version: VERSION,
        author: key.peer_id(),
        incarnation: Incarnation { started: Timestamp(1), random: 1 },
        shard: String::new(),
        seq,
        prev: Hash([0; 32]),
        time: Timestamp(1_000_000),
        count: 0,
        events_root: Hash([0; 32]),
    };
    let event = Event::Unbind(Unbind { aor_id: Hash([aor; 32]), instance: Hash([1; 32]) });
    let entry = Entry::seal(&key, header, vec![encode(&event)]);
    (key, entry)
}

#[test]
fn proofs_against_keys_that_nobody_knows_cost_nothing() {
    let proof = |n: u32| gossip::proof("test", &invented(n, 0, 1).1.bytes, &invented(n, 0, 2).1.bytes);
    let (core, out) = hears((0..50).map(proof));
    let is_ignored = |o: &OverlayOutput| {
        matches!(o, OverlayOutput::Net(NetCommand::GossipVerdict { verdict: Verdict::Ignore, .. }))
    };
    assert_eq!(out.len(), 50, "each is let go at once");
    assert!(out.iter().all(is_ignored), "not written down, not passed on");
    assert!(!core.chains.is_convicted(invented(0, 0, 1).0.peer_id()));
    // The same against keys that did speak: told on, but not without end, and on disk only if they had a binding.
    let spoken = |n: u32| [gossip::entry("test", &invented(n, 0, 1).1.bytes), proof(n), proof(n)];
    let (core, out) = hears((0..200).flat_map(spoken));
    assert!(core.chains.is_convicted(invented(199, 0, 1).0.peer_id()), "their word no longer counts");
    let told = |o: &&OverlayOutput| matches!(o, OverlayOutput::Net(NetCommand::GossipVerdict { id, verdict: Verdict::Forward }) if id % 3 > 0);
    assert_eq!(out.iter().filter(told).count(), 60);
    assert!(!out.iter().any(|o| matches!(o, OverlayOutput::Append { .. })));
}

/// LOG-7: what made-up keys say twice leaves room for the proof against somebody whom a home stands for.
#[test]
fn a_crowd_of_made_up_liars_hides_no_liar_that_mattered() {
    let mut net = Net::new(3, 0.0, 5);
    net.bind(1, 1, 1);
    net.pass(Duration::from_secs(15));
    let (liar, from) = (net.keys[1].peer_id(), net.keys[2].peer_id());
    let head = net.cores[0].head(liar).expect("its log is here");
    let held = net.cores[0].chains.range(liar, net.cores[1].incarnation(), head, usize::MAX);
    let first = Entry::read(held.first().expect("its newest entry")).expect("an entry").checked_before();
    let event = encode(&Event::Unbind(Unbind { aor_id: Hash([1; 32]), instance: Hash([9; 32]) }));
    let second = Entry::seal(&net.keys[1], first.header.clone(), vec![event]);
    let spoken = |n: u32| {
        let entry = |aor| invented(n, 0, aor).1.bytes;
        [gossip::entry("test", &entry(1)), gossip::proof("test", &entry(1), &entry(2))]
    };
    let bodies = (0..200).flat_map(spoken).chain([gossip::proof("test", &first.bytes, &second.bytes)]);
    let core = &mut net.cores[0];
    while core.poll_output().is_some() {}
    for (id, body) in bodies.enumerate() {
        core.handle_net(net.now, NetEvent::Gossip { from, id: id as u64, body });
    }
    assert!(core.chains.is_convicted(liar));
    let out: Vec<OverlayOutput> = std::iter::from_fn(|| core.poll_output()).collect();
    let told = OverlayOutput::Net(NetCommand::GossipVerdict { id: 400, verdict: Verdict::Forward });
    assert!(out.contains(&told), "it is told on");
    assert_eq!(out.iter().filter(|o| matches!(o, OverlayOutput::Append { .. })).count(), 2, "and kept");
}

/// LOG-12d.
#[test]
fn entries_out_of_order_of_unknown_authors_are_not_passed_on_and_fetched_with_measure() {
    let (_, out) = hears((0..1_100).map(|n| gossip::entry("test", &invented(n, 7, 1).1.bytes)));
    let forward = Verdict::Forward;
    let told = |o: &&OverlayOutput| matches!(o, OverlayOutput::Net(NetCommand::GossipVerdict { verdict, .. }) if *verdict == forward);
    assert_eq!(out.iter().filter(told).count(), 0);
    let refused = out.iter().filter(|o| **o == OverlayOutput::Count("log_gap_refused"));
    assert_eq!(refused.count(), 100);
    // The same author again and again: its own purse.
    let (_, first) = invented(1, 0, 1);
    let many = (2..1_500).map(|seq| gossip::entry("test", &invented(1, seq, 1).1.bytes));
    let (_, out) = hears(std::iter::once(gossip::entry("test", &first.bytes)).chain(many));
    assert!(out.iter().filter(told).count() <= 1_000);
}

/// LOG-13: as many phones as their homes grant, at a peer that nobody trusts; each is found at every other peer.
#[test]
fn two_thousand_phones_that_roam_at_a_stranger_are_found_everywhere() {
    let mut net = Net::new(3, 0.05, 11);
    let name = |n: u32| {
        let mut aor = [9; 32];
        aor[..4].copy_from_slice(&n.to_be_bytes());
        Hash(aor)
    };
    let until = net.now.wall.plus(Duration::from_secs(3_600));
    for n in 0..2_000 {
        // A grant with its path has about this size.
        let grant = Some(vec![7; 300].into());
        let bind = Bind { aor_id: name(n), realm: REALM, instance: Hash([1; 32]), until, grant };
        net.cores[0].append(net.now, Event::Bind(bind));
        if n % 100 == 0 {
            net.pass(Duration::from_millis(50));
        }
    }
    net.pass(Duration::from_secs(15));
    for (at, core) in net.cores.iter().enumerate() {
        let found = (0..2_000).filter(|n| !core.lookup(name(*n), REALM).is_empty()).count();
        assert_eq!(found, 2_000, "at peer {at}; {:?}", net.counts);
    }
    assert_eq!(net.counts.get("log_throttled"), None, "{:?}", net.counts);
}
