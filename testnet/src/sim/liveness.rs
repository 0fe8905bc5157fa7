//! The failure detector alone, a thousand at once: how soon is a death noticed, how often is a living peer called dead, and
//! what does it cost?
//!
//! Messages are lost and take their time; machines stand still for two seconds now and then, and what came meanwhile is
//! read afterwards; processes are killed and come back. Each node knows the `degree` next to it on a ring and as many at
//! random. One seed gives one run.

use super::adversaries::{death_liar, forged_goodbye};
use crate::{Error, Result};
use dots_overlay::{
    liveness::{Detector, LiveReply, LiveRequest, LivenessOutput, MemberState},
    records::Incarnation,
};
use dots_wire::{Now, PeerId, SecretKey, Timestamp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::{Duration, Instant},
};

#[derive(Clone, Debug, clap::Args)]
pub struct LivenessPlan {
    #[arg(long, default_value_t = 1_000)]
    pub nodes: usize,
    #[arg(long, default_value_t = 50.0)]
    pub hours: f64,
    /// Neighbours of each node
    #[arg(long, default_value_t = 16)]
    pub degree: usize,
    /// Messages lost, of 1, each way
    #[arg(long, default_value_t = 0.05)]
    pub loss: f64,
    /// How often a machine stands still, a minute and machine
    #[arg(long, default_value_t = 0.1)]
    pub pauses: f64,
    #[arg(long, default_value_t = 2_000)]
    pub pause_ms: u64,
    /// Seconds between two kills in the whole network
    #[arg(long, default_value_t = 60)]
    pub kill_every: u64,
    /// Of the nodes, how many lie all the time
    #[arg(long, default_value_t = 0)]
    pub liars: usize,
    #[arg(long, value_enum, default_value_t = LivenessLie::Death)]
    pub lie: LivenessLie,
    /// Switch the defence off: everybody is believed
    #[arg(long)]
    pub credulous: bool,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What a liar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LivenessLie {
    Death,
    Goodbye,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct LivenessOutcome {
    pub node_hours: f64,
    pub kills: usize,
    /// Until a neighbour of a killed node tried others first, and until it called it dead; milliseconds, sorted.
    pub noticed_ms: Vec<u64>,
    pub dead_ms: Vec<u64>,
    /// Neighbours that never noticed within the 15 s that the node was gone.
    pub missed: usize,
    pub false_deaths: usize,
    pub false_suspicions: usize,
    pub false_goodbyes: usize,
    pub messages: u64,
    pub bytes: u64,
    pub counts: BTreeMap<&'static str, u64>,
}

impl LivenessOutcome {
    pub fn false_per_node_hour(&self) -> f64 {
        self.false_deaths as f64 / self.node_hours
    }

    pub fn report(&self) -> String {
        let q = |all: &[u64], q: f64| all.get(((all.len() as f64 - 1.0) * q) as usize).copied().unwrap_or(0);
        let seconds = self.node_hours * 3_600.0;
        format!(
            "{:.0} node-hours, {} kills\n\
             suspect (others are tried first): p50 {} ms, p99 {} ms, most {} ms; missed by {} neighbours\n\
             dead: p50 {} ms, p99 {} ms, most {} ms\n\
             false deaths: {} = {:.1e} per node-hour; false suspicions {:.2} per node-hour; false goodbyes: {}\n\
             messages {:.1}/s and node, {:.0} B/s of payload\n{:?}",
            self.node_hours,
            self.kills,
            q(&self.noticed_ms, 0.5),
            q(&self.noticed_ms, 0.99),
            q(&self.noticed_ms, 1.0),
            self.missed,
            q(&self.dead_ms, 0.5),
            q(&self.dead_ms, 0.99),
            q(&self.dead_ms, 1.0),
            self.false_deaths,
            self.false_per_node_hour(),
            self.false_suspicions as f64 / self.node_hours,
            self.false_goodbyes,
            self.messages as f64 / seconds,
            self.bytes as f64 / seconds,
            self.counts,
        )
    }
}

pub fn run(plan: &LivenessPlan) -> Result<()> {
    if plan.nodes < 3 || plan.degree < 2 || plan.degree >= plan.nodes || !(0.0..1.0).contains(&plan.loss) {
        return Err(Error::Other("at least 3 nodes, 2 neighbours each, and a loss below 1".into()));
    }
    let outcome = LivenessSim::new(plan.clone()).run();
    println!("{}", outcome.report());
    Ok(())
}

/// How long a killed node stays away.
const AWAY: Duration = Duration::from_secs(15);
/// A question that is not answered ends then.
const TIMEOUT: Duration = Duration::from_secs(5);
/// All meet in the first seconds; what is measured begins after.
const SETTLED: Duration = Duration::from_secs(30);
const LATENCY_MS: std::ops::RangeInclusive<u64> = 2..=80;
/// UDP, IP and QUIC around each message, and its acknowledgement.
const OVERHEAD: u64 = 110;

enum Event {
    Wake(usize),
    LiveRequest { from: usize, to: usize, id: u64, ask: LiveRequest },
    LiveReply { to: usize, life: u64, id: u64, reply: LiveReply },
    Timeout { to: usize, life: u64, id: u64 },
    Pause(usize),
    Kill,
    Back(usize),
    Lie(usize),
}

struct Node {
    key: SecretKey,
    detector: Detector,
    neighbours: Vec<usize>,
    life: u64,
    started: Duration,
    up: bool,
    paused_until: Duration,
    wake_at: Option<Duration>,
}

pub struct LivenessSim {
    plan: LivenessPlan,
    rng: ChaCha8Rng,
    base: Instant,
    at: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    nodes: Vec<Node>,
    of: BTreeMap<PeerId, usize>,
    /// Who was asked: inbound number -> (asker, its life, its number).
    inbound: BTreeMap<u64, (usize, u64, u64)>,
    killed_at: BTreeMap<usize, (Duration, BTreeSet<usize>, BTreeSet<usize>)>,
    outcome: LivenessOutcome,
}

impl LivenessSim {
    pub fn new(plan: LivenessPlan) -> LivenessSim {
        let rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let base = Instant::now();
        let mut sim = LivenessSim {
            rng,
            base,
            at: Duration::ZERO,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            nodes: Vec::new(),
            of: BTreeMap::new(),
            inbound: BTreeMap::new(),
            killed_at: BTreeMap::new(),
            outcome: LivenessOutcome::default(),
            plan,
        };
        let neighbours = sim.topology();
        for (at, neighbours) in neighbours.into_iter().enumerate() {
            let key = SecretKey::generate(&mut sim.rng);
            let detector = sim.detector(&key, 0);
            sim.of.insert(key.peer_id(), at);
            sim.nodes.push(Node {
                key,
                detector,
                neighbours,
                life: 0,
                started: Duration::ZERO,
                up: true,
                paused_until: Duration::ZERO,
                wake_at: None,
            });
        }
        sim
    }

    fn detector(&mut self, key: &SecretKey, life: u64) -> Detector {
        let now = self.now();
        let incarnation = Incarnation { started: Timestamp(now.wall.0 + life), random: self.rng.random() };
        let detector = Detector::new(key.clone(), "sim".into(), incarnation, self.rng.random(), now);
        if self.plan.credulous { detector.credulous() } else { detector }
    }

    fn topology(&mut self) -> Vec<Vec<usize>> {
        let n = self.plan.nodes;
        let mut sets = vec![BTreeSet::new(); n];
        for a in 0..n {
            for step in 1..=self.plan.degree / 4 {
                let b = (a + step) % n;
                sets[a].insert(b);
                sets[b].insert(a);
            }
            while sets[a].len() < self.plan.degree * 3 / 4 {
                let b = self.rng.random_range(0..n);
                if b != a {
                    sets[a].insert(b);
                    sets[b].insert(a);
                }
            }
        }
        sets.into_iter().map(|s| s.into_iter().collect()).collect()
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX);
        Now { mono: self.base + self.at, wall: Timestamp(1_700_000_000_000 + ms) }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((self.at + after, self.next)));
        self.events.insert(self.next, event);
    }

    pub fn run(mut self) -> LivenessOutcome {
        let end = SETTLED + Duration::from_secs_f64(self.plan.hours * 3_600.0);
        for a in 0..self.nodes.len() {
            self.meet(a);
            if self.plan.pauses > 0.0 {
                let after = self.until_pause();
                self.schedule(after, Event::Pause(a));
            }
        }
        for liar in 0..self.plan.liars.min(self.nodes.len()) {
            self.schedule(SETTLED, Event::Lie(liar));
        }
        self.schedule(SETTLED, Event::Kill);
        while let Some(Reverse((at, number))) = self.queue.pop() {
            if at > end {
                break;
            }
            self.at = at;
            if let Some(event) = self.events.remove(&number) {
                self.handle(event);
            }
        }
        self.outcome.node_hours = self.nodes.len() as f64 * end.as_secs_f64() / 3_600.0;
        self.outcome.noticed_ms.sort_unstable();
        self.outcome.dead_ms.sort_unstable();
        self.outcome
    }

    fn until_pause(&mut self) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(0.0..2.0) * 60.0 / self.plan.pauses)
    }

    /// `a` is connected to each of its neighbours that is up: the one with the lower number has dialled.
    fn meet(&mut self, a: usize) {
        for b in self.nodes[a].neighbours.clone() {
            if !self.nodes[b].up {
                continue;
            }
            for (me, other) in [(a, b), (b, a)] {
                let peer = self.nodes[other].key.peer_id();
                let now = self.now();
                let detector = &mut self.nodes[me].detector;
                detector.on_connected(now, peer);
                detector.on_chosen(peer, (me < other).then_some(other as u64));
            }
        }
        for node in self.nodes[a].neighbours.clone().into_iter().chain([a]) {
            self.drain(node);
        }
    }

    fn handle(&mut self, event: Event) {
        // What comes to a machine that stands still is read when it goes on.
        if let Event::Wake(to)
        | Event::LiveRequest { to, .. }
        | Event::LiveReply { to, .. }
        | Event::Timeout { to, .. } = event
            && self.nodes[to].paused_until > self.at
        {
            let after = self.nodes[to].paused_until - self.at;
            // Its timers come first, as those of a program whose loop was held up.
            let after =
                if matches!(event, Event::Wake(_)) { after } else { after + Duration::from_micros(1) };
            return self.schedule(after, event);
        }
        let now = self.now();
        match event {
            Event::Wake(at) => {
                let node = &mut self.nodes[at];
                if node.up && node.wake_at.is_some_and(|w| w <= self.at) {
                    node.wake_at = None;
                    node.detector.handle_timeout(now);
                    self.drain(at);
                }
            }
            Event::LiveRequest { from, to, id, ask } => {
                if self.nodes[to].up {
                    let peer = self.nodes[from].key.peer_id();
                    self.next += 1;
                    let inbound = self.next;
                    self.inbound.insert(inbound, (from, self.nodes[from].life, id));
                    self.nodes[to].detector.on_ask(now, peer, inbound, ask);
                    self.drain(to);
                }
            }
            Event::LiveReply { to, life, id, reply } => {
                if self.nodes[to].up && self.nodes[to].life == life {
                    self.nodes[to].detector.on_reply(now, id, Ok(reply));
                    self.drain(to);
                }
            }
            Event::Timeout { to, life, id } => {
                if self.nodes[to].up && self.nodes[to].life == life {
                    self.nodes[to].detector.on_reply(now, id, Err(false));
                    self.drain(to);
                }
            }
            Event::Pause(at) => {
                self.nodes[at].paused_until = self.at + Duration::from_millis(self.plan.pause_ms);
                // Two that overlap would be a longer one.
                let after = Duration::from_millis(self.plan.pause_ms) + self.until_pause();
                self.schedule(after, Event::Pause(at));
            }
            Event::Kill => self.kill(),
            Event::Back(at) => self.come_back(at),
            Event::Lie(at) => self.lie(at),
        }
    }

    fn kill(&mut self) {
        self.schedule(Duration::from_secs(self.plan.kill_every), Event::Kill);
        let at = self.rng.random_range(0..self.nodes.len());
        if self.nodes[at].up && self.at < SETTLED + Duration::from_secs_f64(self.plan.hours * 3_600.0) - AWAY
        {
            self.nodes[at].up = false;
            self.outcome.kills += 1;
            // Who could not hear it a moment ago knows already.
            let me = self.nodes[at].key.peer_id();
            let doubts = |n: &&usize| self.nodes[**n].detector.state(me) != Some(MemberState::Alive);
            let known: BTreeSet<usize> = self.nodes[at].neighbours.iter().filter(doubts).copied().collect();
            self.killed_at.insert(at, (self.at, known, BTreeSet::new()));
            self.schedule(AWAY, Event::Back(at));
        }
    }

    fn come_back(&mut self, at: usize) {
        if let Some((since, noticed, _)) = self.killed_at.remove(&at) {
            // One that has started anew meanwhile never met it.
            let knew = |n: &&usize| self.nodes[**n].up && self.nodes[**n].started <= since;
            let knew = self.nodes[at].neighbours.iter().filter(knew);
            self.outcome.missed += knew.filter(|n| !noticed.contains(n)).count();
        }
        let key = self.nodes[at].key.clone();
        let life = self.nodes[at].life + 1;
        let detector = self.detector(&key, life);
        let node = &mut self.nodes[at];
        (node.detector, node.life, node.up, node.wake_at) = (detector, life, true, None);
        node.started = self.at;
        self.meet(at);
    }

    /// One lie about each neighbour of each neighbour.
    fn lie(&mut self, liar: usize) {
        self.schedule(Duration::from_millis(500), Event::Lie(liar));
        if !self.nodes[liar].up {
            return;
        }
        let key = self.nodes[liar].key.clone();
        for to in self.nodes[liar].neighbours.clone() {
            let circle = &self.nodes[to].neighbours;
            let about = circle[self.rng.random_range(0..circle.len())];
            if about == liar {
                continue;
            }
            let victim = self.nodes[about].key.peer_id();
            let ask = match self.plan.lie {
                LivenessLie::Death => death_liar::says(victim),
                LivenessLie::Goodbye => forged_goodbye::says(&key, "sim", victim),
            };
            let after = Duration::from_millis(self.rng.random_range(LATENCY_MS));
            self.schedule(after, Event::LiveRequest { from: liar, to, id: u64::MAX, ask });
        }
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.nodes[at].detector.poll_output() {
            self.on_output(at, output);
        }
        let base = self.base;
        if let Some(next) = self.nodes[at].detector.poll_timeout() {
            let next = next.saturating_duration_since(base);
            if self.nodes[at].wake_at.is_none_or(|w| next < w) {
                self.nodes[at].wake_at = Some(next);
                self.schedule(next.saturating_sub(self.at), Event::Wake(at));
            }
        }
    }

    fn on_output(&mut self, at: usize, output: LivenessOutput) {
        match output {
            LivenessOutput::Ask { id, peer, ask } => {
                self.outcome.messages += 1;
                self.outcome.bytes += OVERHEAD + size(&ask);
                let Some(to) = self.of.get(&peer).copied() else { return };
                let life = self.nodes[at].life;
                self.schedule(TIMEOUT, Event::Timeout { to: at, life, id });
                if !self.rng.random_bool(self.plan.loss) {
                    let after = Duration::from_millis(self.rng.random_range(LATENCY_MS));
                    self.schedule(after, Event::LiveRequest { from: at, to, id, ask });
                }
            }
            LivenessOutput::Reply { inbound, reply } => {
                self.outcome.messages += 1;
                self.outcome.bytes += OVERHEAD + 60;
                let Some((to, life, id)) = self.inbound.remove(&inbound) else { return };
                if !self.rng.random_bool(self.plan.loss) {
                    let after = Duration::from_millis(self.rng.random_range(LATENCY_MS));
                    self.schedule(after, Event::LiveReply { to, life, id, reply });
                }
            }
            LivenessOutput::State { peer, state } => self.on_state(at, peer, state),
            LivenessOutput::Clock { .. } => {}
            LivenessOutput::RunsTwice => *self.outcome.counts.entry("runs_twice").or_default() += 1,
            LivenessOutput::Count(name) => *self.outcome.counts.entry(name).or_default() += 1,
        }
    }

    fn on_state(&mut self, at: usize, peer: PeerId, state: MemberState) {
        let Some(other) = self.of.get(&peer).copied() else { return };
        let Some((since, noticed, dead)) = self.killed_at.get_mut(&other) else {
            match state {
                MemberState::Dead => self.outcome.false_deaths += 1,
                MemberState::Suspect => self.outcome.false_suspicions += 1,
                MemberState::Left => self.outcome.false_goodbyes += 1,
                MemberState::Alive => {}
            }
            return;
        };
        let ms = u64::try_from((self.at - *since).as_millis()).unwrap_or(u64::MAX);
        match state {
            MemberState::Suspect if noticed.insert(at) => self.outcome.noticed_ms.push(ms),
            MemberState::Dead if dead.insert(at) => {
                self.outcome.dead_ms.push(ms);
                if noticed.insert(at) {
                    self.outcome.noticed_ms.push(ms);
                }
            }
            _ => {}
        }
    }
}

fn size(ask: &LiveRequest) -> u64 {
    match ask {
        LiveRequest::Probe { news, .. } => 40 + 80 * news.len() as u64,
        LiveRequest::Hello { .. } => 170,
        LiveRequest::Reach { .. } | LiveRequest::Show { .. } => 60,
    }
}
